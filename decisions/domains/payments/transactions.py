"""An organisation's own payments instead of the simulator: tables in, checked, a `World` out."""

import logging
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

import polars as pl

from decisions.domain import Domain, Log
from decisions.domains.payments.simulator import UNITS
from decisions.domains.payments.tables import Reader, Table, checked
from decisions.errors import DataError
from decisions.frames import DECISIONS, decision_problems

log = logging.getLogger(__name__)
ROUNDING = 1e-6  # by which probabilities of a log may miss their sum, or the propensity its own
LOOKBACK = timedelta(days=7)  # how much older an attempt may be than its decision and outcome


@dataclass(frozen=True)
class TransactionsWorld:
    """Attempts and outcomes as an organisation's own systems record them."""

    read: Reader

    def arrivals(self, start: datetime, end: datetime, settled: pl.DataFrame) -> pl.DataFrame:
        """The attempts of [start, end), checked; a retry's `parent_reference` is `retry_of`."""
        del settled
        attempts = checked(self.read("attempts", start, end), "attempts")
        return _arrivals(attempts).sort("observed_at", "reference")

    def outcomes(self, decisions: pl.DataFrame, as_of: datetime) -> pl.DataFrame:
        """The outcomes recorded up to `as_of` by reference, checked: whatever they are of.

        They are read from the earliest attempt of `decisions` on, and for LOOKBACK at least. Not
        from the decision on: an outcome that lies before its decision cannot be its consequence,
        and the store sets it aside saying so, where it would be passed over in silence here.

        Raises:
            DataError: see `checked`.
        """
        since = as_of - LOOKBACK
        earliest = decisions["observed_at"].min()
        if isinstance(earliest, datetime):
            since = min(since, earliest)
        return checked(self.read("outcomes", since, as_of + timedelta(microseconds=1)), "outcomes")


def _arrivals(attempts: pl.DataFrame) -> pl.DataFrame:
    """`attempts` in the form of arrivals: `parent_reference` in place of `retry_of`."""
    columns = [name for name in UNITS if name != "parent_id"]
    return attempts.select("reference", "observed_at", *columns, parent_reference="retry_of")


def logged(read: Reader, start: datetime, end: datetime) -> Log:
    """Decisions that another system took in [start, end), and outcomes recorded in [start, end).

    Each is read by its own time, so spans that follow one another bring every row once, and an
    outcome comes with the span in which it became known: also that of an earlier decision, with
    its attempt, up to LOOKBACK before `start`. Attempts without a decision are left out, and so
    are their outcomes; an outcome of no attempt of that time stays in, for the store to match.

    Probabilities that miss a sum of one by up to 1e-6, as single precision does, are divided by
    their sum, and the propensity is taken from them (`_renormalised`); how many is logged.

    Where the number behind a draw was not kept, `uniform` is the middle of the interval that
    gives the logged action, so replaying the row gives it again.

    Raises:
        DataError: see `checked`; or a decision without an attempt, or before it; an outcome
            before its decision; a propensity that is not the probability of the action;
            probabilities that do not sum to one; an action that is not eligible.
    """
    earliest = start - LOOKBACK
    attempts = checked(read("attempts", earliest, end), "attempts")
    known = checked(read("outcomes", earliest, end), "outcomes")
    seen = checked(read("decisions", earliest, end), "decisions").with_row_index("row")
    raw = seen.filter(pl.col("decided_at") >= start)
    _check_attempts(raw, attempts)
    raw = _renormalised(raw)
    decisions = _as_logged(raw)
    _check_decisions(decisions, raw, end)
    outcomes = known.join(
        seen.select("reference", "decided_at"), on="reference", how="left", validate="m:1"
    )
    _check_order(outcomes, "outcomes", after="decided_at", of="its decision", column="observed_at")
    undecided = pl.col("decided_at").is_null() & pl.col("reference").is_in(
        attempts["reference"].implode()
    )
    outcomes = outcomes.filter(pl.col("observed_at") >= start, ~undecided).drop("decided_at")
    named = pl.concat([raw["reference"], outcomes["reference"]]).unique()
    arrivals = _arrivals(attempts.filter(pl.col("reference").is_in(named.implode())))
    return Log(
        arrivals=arrivals.sort("observed_at", "reference"),
        decisions=decisions.sort("decided_at", "reference"),
        outcomes=outcomes,
    )


def _renormalised(raw: pl.DataFrame) -> pl.DataFrame:
    """`raw` with rounded probabilities put right: divided by a sum that is off by up to ROUNDING.

    Where the listed probability of the action is within ROUNDING of the propensity, it takes its
    place. Single precision gives a sum of 1.0000000055, where the store wants one to 1e-9 and the
    propensity to the bit; what is further off is left for the rules to refuse.
    """
    total = pl.col("probabilities").list.sum()
    rounded = ((total - 1).abs() > 1e-9) & ((total - 1).abs() <= ROUNDING)
    scaled = raw.with_columns(
        pl.when(rounded)
        .then(pl.col("probabilities") / total)
        .otherwise("probabilities")
        .alias("probabilities")
    )
    chosen = (
        scaled.select("row", "action", "eligible", "probabilities")
        .explode("eligible", "probabilities")
        .filter(pl.col("eligible") == pl.col("action"))
        .select("row", chosen="probabilities")
    )
    joined = scaled.join(chosen, on="row", how="left", validate="1:1", maintain_order="left")
    near = ((pl.col("chosen") - pl.col("propensity")).abs() <= ROUNDING).fill_null(value=False)
    exact = joined.with_columns(
        propensity=pl.when(near).then("chosen").otherwise("propensity")
    ).drop("chosen")
    changed = int((exact["propensity"] != raw["propensity"]).sum())
    scaled_rows = int(raw.select(rounded.sum()).item())
    if changed or scaled_rows:
        facts = {"renormalised": scaled_rows, "propensities": changed, "decisions": len(raw)}
        log.info("rounded probabilities of a log were put right", extra=facts)
    return exact


def _check_attempts(raw: pl.DataFrame, attempts: pl.DataFrame) -> None:
    times = attempts.select("reference", "observed_at")
    joined = raw.join(times, on="reference", how="left", maintain_order="left")
    orphans = joined.filter(pl.col("observed_at").is_null())
    if orphans.height:
        raise DataError(
            f"decisions: row {orphans['row'][0]} (reference {orphans['reference'][0]!r}) is not"
            f" among the attempts of the last {LOOKBACK.days} days ({orphans.height} such rows)"
        )
    _check_order(joined, "decisions", after="observed_at", of="its attempt", column="decided_at")


def _check_order(frame: pl.DataFrame, table: Table, *, column: str, after: str, of: str) -> None:
    """Raises DataError at the first row whose time in `column` lies before that in `after`."""
    early = frame.filter(pl.col(column) < pl.col(after))
    if early.height:
        row = early.row(0, named=True)
        place = f"row {row['row']} " if "row" in row else ""
        raise DataError(
            f"{table}: {place}(reference {row['reference']!r}), column {column}: saw"
            f" {row[column]}, wanted no earlier than {of} at {row[after]}"
            f" ({early.height} such rows)"
        )


def _check_decisions(decisions: pl.DataFrame, raw: pl.DataFrame, now: datetime) -> None:
    ids = pl.int_range(pl.len(), dtype=pl.Int64)
    form = decisions.with_columns(decision_id=ids, unit_id=ids).select(list(DECISIONS))
    problems = decision_problems(form, now=now)
    broken = problems.is_not_null().arg_true()
    if len(broken):
        first = int(broken[0])
        raise DataError(
            f"decisions: row {raw['row'][first]} (reference {raw['reference'][first]!r}):"
            f" {problems[first]} ({len(broken)} such rows)"
        )


def _as_logged(raw: pl.DataFrame) -> pl.DataFrame:
    """`raw` in the form of frames.DECISIONS, `reference` in place of the ids."""
    place = (
        raw.select("row", "eligible", "probabilities", "action")
        .explode("eligible", "probabilities")
        .group_by("row", maintain_order=True)
        .agg(
            below=pl.col("probabilities").filter(pl.col("eligible") < pl.col("action")).sum(),
            likely=pl.col("eligible").get(pl.col("probabilities").arg_max()),
        )
    )
    number = pl.col("action").cast(pl.Float64).reshape((-1, 1)).arr.to_list()
    nominal = place["likely"].cast(pl.Float64).reshape((-1, 1)).arr.to_list().alias("nominal")
    return raw.with_columns(
        number.alias("action"),
        nominal,
        place["below"],
        pl.col("eligible").cast(DECISIONS["eligible"]),
        slot=pl.lit(0, pl.Int16()),
        parent_id=pl.lit(None, pl.Int64()),
        generation=pl.lit(0, pl.Int32()),
        scores=pl.lit([], pl.List(pl.Float64())),
        arm_propensity=pl.col("propensity"),
    ).select(
        "reference",
        *(name for name in DECISIONS if name not in ("decision_id", "unit_id", "uniform")),
        (pl.col("below") + pl.col("propensity") / 2).alias("uniform"),
    )


def with_transactions(domain: Domain, read: Reader) -> Domain:
    """The payments domain over an organisation's own tables instead of the simulator."""
    return replace(domain, world=TransactionsWorld(read))


def with_log(domain: Domain, read: Reader) -> Domain:
    """The payments domain over decisions that the organisation's own system took.

    Nothing is decided here. Generation 0 stands for that system: its rows are logged under it,
    while its policy, the champion that candidates are first compared with, is the uniform one.
    """
    return replace(domain, world=None, logged=partial(logged, read))
