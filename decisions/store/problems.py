"""Why a row may not be stored, as far as the row and its batch alone can tell."""

from collections.abc import Callable
from datetime import datetime
from typing import Protocol

import polars as pl

from decisions.frames import DECISIONS, OUTCOMES, UNITS, conform, minute_of, with_chosen
from decisions.store.decision_rules import ZERO_BYTE, Batch, rules


class Problems(Protocol):
    """The first broken rule of each row, or null, in order."""

    def __call__(self, frame: pl.DataFrame, *, now: datetime) -> pl.Series:
        """Raises DataError when a column is missing or has another type."""
        ...


def first(frame: pl.DataFrame, rules: dict[str, pl.Expr]) -> pl.Series:
    """The first rule, by name, that each row does not keep; null where it keeps all.

    A rule that is null for a row counts as broken.
    """
    broken = (
        pl.when(~kept.fill_null(value=False)).then(pl.lit(rule)) for rule, kept in rules.items()
    )
    return frame.select(pl.coalesce(*broken).cast(pl.String()).alias("problem")).to_series()


def unit_problems(units: pl.DataFrame, *, now: datetime) -> pl.Series:
    """Why each row of a UNITS frame may not be stored, or null."""
    conform(units, UNITS, "units")
    minute = pl.col("observed_at").dt.epoch("s") // 60
    return first(
        units,
        {
            "reference is missing": pl.col("reference").str.len_bytes() > 0,
            "reference is given twice": pl.col("reference").is_unique(),
            "unit_id is not a number of 0 or more": pl.col("unit_id") >= 0,
            "unit_id is given twice": pl.col("unit_id").is_unique(),
            "observed_at lies in the future": pl.col("observed_at") <= now,
            "unit_id is not of the minute of observed_at": minute_of(pl.col("unit_id")) == minute,
            "payload is not a JSON object": pl.col("payload").str.starts_with("{")
            & pl.col("payload").str.ends_with("}"),
            "text holds a zero byte": ~pl.col("payload").str.contains(ZERO_BYTE, literal=True)
            & ~pl.col("reference").str.contains(ZERO_BYTE, literal=True),
        },
    )


def decision_row_problems(decisions: pl.DataFrame, *, now: datetime) -> pl.Series:
    """Why each row of a DECISIONS frame may not be stored, or null.

    An ordinary batch, of a finite set of actions, is told to be good as a whole where it is.
    """
    conform(decisions, DECISIONS, "decisions")
    table, batch = rules(now), Batch(decisions, now)
    if batch.ordinary and all(rule.whole(batch) for rule in table.values()):
        return pl.repeat(None, len(decisions), dtype=pl.String(), eager=True)
    return first(with_chosen(decisions), {name: rule.kept for name, rule in table.items()})


def outcome_problems(outcomes: pl.DataFrame, *, now: datetime) -> pl.Series:
    """Why each row of an OUTCOMES frame may not be stored, or null."""
    conform(outcomes, OUTCOMES, "outcomes")
    return first(
        outcomes,
        {
            "decision_id is not a number of 0 or more": pl.col("decision_id") >= 0,
            "decision_id is given twice for one time": pl.struct(
                "decision_id", "observed_at"
            ).is_unique(),
            "reward is missing or not finite": pl.col("reward").is_finite(),
            "observed_at lies in the future": pl.col("observed_at") <= now,
        },
    )


PROBLEMS: dict[str, Problems | Callable[..., pl.Series]] = {
    "unit": unit_problems,
    "decision": decision_row_problems,
    "outcome": outcome_problems,
}
