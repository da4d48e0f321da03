"""The frames that cross boundaries: their columns, their types, and the rules their rows keep."""

from datetime import datetime

import numpy as np
import numpy.typing as npt
import polars as pl

from decisions.errors import DataError
from decisions.policy import BoolArray, Draw

UTC_TIME = pl.Datetime("us", "UTC")

UNITS = pl.Schema(
    {
        "unit_id": pl.Int64(),
        "reference": pl.String(),  # the source's own name of the unit
        "observed_at": UTC_TIME,
        "payload": pl.String(),  # the domain's unit columns as one JSON object
    }
)
DECISIONS = pl.Schema(
    {
        "decision_id": pl.Int64(),
        "unit_id": pl.Int64(),
        "slot": pl.Int16(),  # a unit may need several decisions
        "parent_id": pl.Int64(),  # the decision this one follows up (a retry), or null
        "generation": pl.Int32(),  # whose policy acted
        "arm": pl.String(),
        "decided_at": UTC_TIME,
        "eligible": pl.List(pl.Int16()),  # ascending; empty for a box of actions
        "scores": pl.List(pl.Float64()),  # aligned with eligible; empty where none are predicted
        "probabilities": pl.List(pl.Float64()),  # aligned with eligible, marginal
        "action": pl.List(pl.Float64()),
        "nominal": pl.List(pl.Float64()),
        "propensity": pl.Float64(),
        "arm_propensity": pl.Float64(),
        "uniform": pl.Float64(),
    }
)
OUTCOMES = pl.Schema({"decision_id": pl.Int64(), "reward": pl.Float64(), "observed_at": UTC_TIME})

_RANK_BITS, _SLOT_BITS = 24, 6
UNITS_A_MINUTE, SLOTS = 1 << _RANK_BITS, 1 << _SLOT_BITS


def unit_id(minute: int, rank: int) -> int:
    """The time-ordered id of the `rank`-th unit observed in an epoch `minute`."""
    return minute << _RANK_BITS | rank


def minute_of(unit: pl.Expr) -> pl.Expr:
    """The epoch minute in which units of these ids were observed."""
    return unit // UNITS_A_MINUTE


def decision_id(unit: pl.Expr, slot: pl.Expr) -> pl.Expr:
    """The id of a unit's decision: as unique, and as ordered in time, as the unit's."""
    return unit.cast(pl.Int64) * SLOTS + slot.cast(pl.Int64)


def month_bounds(month: datetime) -> tuple[int, int]:
    """First and one-past-last decision id of the calendar month that contains `month`."""
    first = month.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    after = first.replace(year=first.year + first.month // 12, month=first.month % 12 + 1)
    low, high = (int(t.timestamp()) // 60 for t in (first, after))
    return unit_id(low, 0) * SLOTS, unit_id(high, 0) * SLOTS


def rows_of(values: npt.NDArray[np.generic], mask: BoolArray) -> pl.Series:
    """The masked entries of each row of `values` (n, k), as one list a row."""
    flat = pl.Series(values[mask])
    ends = mask.sum(axis=1)
    return (
        pl.DataFrame({"row": np.repeat(np.arange(len(mask)), ends), "value": flat})
        .group_by("row", maintain_order=True)
        .agg("value")["value"]
    )


def decided(
    units: pl.DataFrame, draw: Draw, eligible: BoolArray, *, generation: int, now: datetime
) -> pl.DataFrame:
    """The DECISIONS frame of one draw over `units` (`unit_id`, `slot`, `parent_id`), in order."""
    n, finite = len(draw.propensity), draw.probabilities is not None
    empty = pl.Series("none", [[]], dtype=pl.List(pl.Float64())).new_from_index(0, n)
    probabilities, scores = draw.probabilities, draw.scores
    return pl.DataFrame(
        {
            "decision_id": units.select(decision_id(pl.col("unit_id"), pl.col("slot")))["unit_id"],
            "unit_id": units["unit_id"],
            "slot": units["slot"],
            "parent_id": units["parent_id"],
            "generation": pl.repeat(generation, n, dtype=pl.Int32(), eager=True),
            "arm": pl.Series(draw.arm.astype(str)),
            "decided_at": pl.repeat(now, n, dtype=UTC_TIME, eager=True),
            "eligible": rows_of(
                np.tile(np.arange(eligible.shape[1], dtype=np.int64), (n, 1)), eligible
            )
            if finite
            else empty,
            "scores": empty if scores is None else rows_of(scores, eligible),
            "probabilities": empty if probabilities is None else rows_of(probabilities, eligible),
            "action": pl.Series(draw.action).arr.to_list(),
            "nominal": pl.Series(draw.nominal).arr.to_list(),
            "propensity": draw.propensity,
            "arm_propensity": draw.arm_propensity,
            "uniform": draw.uniform,
        }
    ).cast(DECISIONS)


_SAME_LENGTH = pl.col("probabilities").list.len() == pl.col("eligible").list.len()


def _chosen(decisions: pl.DataFrame) -> pl.Series:
    """The logged probability of each row's own action; null where it is not eligible.

    It is null, too, where the two lists differ in length: such a row has no such probability.
    """
    return (
        decisions.select(
            pl.when(_SAME_LENGTH).then(pl.col("eligible", "probabilities")),
            pl.col("action").list.first(),
        )
        .with_row_index("row")
        .explode("eligible", "probabilities", empty_as_null=True)
        .group_by("row", maintain_order=True)
        .agg(pl.col("probabilities").filter(pl.col("eligible") == pl.col("action")).first())
    )["probabilities"]


def with_chosen(decisions: pl.DataFrame) -> pl.DataFrame:
    """A DECISIONS frame with the column `chosen` that `decision_rules` reads beside the others."""
    return decisions.with_columns(_chosen(decisions).alias("chosen"))


def decision_problems(decisions: pl.DataFrame, *, now: datetime) -> pl.Series:
    """Why each row of a DECISIONS frame may not be stored: the first broken rule, or null.

    Raises:
        DataError: a column is missing or has another type (then no row can be judged).
    """
    conform(decisions, DECISIONS, "decisions")
    broken = (
        pl.when(~kept.fill_null(value=False)).then(pl.lit(rule))
        for rule, kept in decision_rules(now).items()
    )
    return with_chosen(decisions).select(pl.coalesce(*broken).alias("problem")).to_series()


def decision_rules(now: datetime) -> dict[str, pl.Expr]:
    """What each row of `with_chosen` keeps, by the name of its being broken; null is broken."""
    probabilities, scores, propensity = (
        pl.col(name) for name in ("probabilities", "scores", "propensity")
    )
    finite = pl.col("eligible").list.len() > 0
    return {
        "probabilities and eligible differ in length": _SAME_LENGTH,
        "decision_id is not a number of 0 or more": pl.col("decision_id") >= 0,
        "decision_id is given twice": pl.col("decision_id").is_unique(),
        "decided_at lies in the future": pl.col("decided_at") <= now,
        "action is empty or not finite": (pl.col("action").list.len() > 0)
        & pl.col("action").list.eval(pl.element().is_finite()).list.all(),
        "eligible is not ascending": pl.col("eligible").list.diff().list.min().fill_null(1) > 0,
        "scores hold a number that is not finite": scores.list.eval(
            pl.element().is_finite()
        ).list.all(),
        "probabilities hold a negative or missing number": ~finite
        | (
            (probabilities.list.min() >= 0)
            & (probabilities.list.eval(pl.element().is_finite()).list.all())
        ),
        "probabilities do not sum to one": ~finite
        | ((probabilities.list.sum() - 1).abs() <= 1e-9),
        "action is not eligible": ~finite | pl.col("chosen").is_not_null(),
        "propensity is not above 0 and finite": (propensity > 0) & propensity.is_finite(),
        "propensity is not the probability of the action": ~finite
        | (propensity == pl.col("chosen")),
    }


def conform(frame: pl.DataFrame, schema: pl.Schema, what: str) -> pl.DataFrame:
    """`frame` with exactly the columns of `schema`, in its order.

    Raises:
        DataError: columns missing, unexpected or of another type, each named.
    """
    missing = [name for name in schema if name not in frame.columns]
    unexpected = [name for name in frame.columns if name not in schema]
    wrong = [
        f"{name} is {frame.schema[name]}, wanted {dtype}"
        for name, dtype in schema.items()
        if name in frame.columns and frame.schema[name] != dtype
    ]
    if missing or unexpected or wrong:
        raise DataError(
            f"{what}: missing columns {missing}; unexpected columns {unexpected};"
            f" types: {'; '.join(wrong) or 'as wanted'}"
        )
    return frame.select(list(schema))
