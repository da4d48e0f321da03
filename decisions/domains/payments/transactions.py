"""An organisation's own payments instead of the simulator: tables in, checked, a `World` out."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Literal, Protocol, cast

import polars as pl

from decisions.domain import Domain, Log
from decisions.domains.payments.actions import COUNT
from decisions.domains.payments.simulator import UNITS
from decisions.errors import DataError
from decisions.frames import DECISIONS, OUTCOMES, UTC_TIME, conform, decision_problems

Table = Literal["attempts", "decisions", "outcomes"]

ATTEMPTS = pl.Schema(
    {
        "reference": pl.String(),
        "observed_at": UTC_TIME,
        **{name: dtype for name, dtype in UNITS.items() if name != "parent_id"},
        "retry_of": pl.String(),  # reference of the declined attempt that this one repeats
    }
)
RESULTS = pl.Schema({"reference": pl.String(), "reward": pl.Float64(), "observed_at": UTC_TIME})
LOGGED = pl.Schema(
    {
        "reference": pl.String(),
        "decided_at": UTC_TIME,
        "policy": pl.String(),
        "arm": pl.String(),
        "eligible": pl.List(pl.Int64()),
        "probabilities": pl.List(pl.Float64()),
        "action": pl.Int64(),
        "propensity": pl.Float64(),
    }
)
LOOKBACK = timedelta(days=7)  # how much older an attempt may be than its decision and outcome
_NULLABLE = {"retry_of"}
_SCHEMAS: dict[Table, pl.Schema] = {
    "attempts": ATTEMPTS,
    "decisions": LOGGED,
    "outcomes": RESULTS,
}
TIME_COLUMN: dict[Table, str] = {
    "attempts": "observed_at",
    "decisions": "decided_at",
    "outcomes": "observed_at",
}


class Reader(Protocol):
    """Where the tables are: `parquet_reader`, or a query that the caller binds to a database."""

    def __call__(self, table: Table, start: datetime, end: datetime) -> pl.DataFrame:
        """The table's rows whose TIME_COLUMN lies in [start, end), in any order."""
        ...


def has_table(folder: Path, table: Table) -> bool:
    """Whether `parquet_reader` would find the table in `folder`."""
    return (folder / f"{table}.parquet").exists() or (folder / table).is_dir()


def parquet_reader(folder: Path) -> Reader:
    """Reads `attempts.parquet`, or all Parquet files in `attempts/`; likewise the other tables."""

    def read(table: Table, start: datetime, end: datetime) -> pl.DataFrame:
        file, many = folder / f"{table}.parquet", folder / table
        if not has_table(folder, table):
            raise DataError(f"{folder} has neither {file.name} nor a folder {table}/ of Parquet")
        scanned = pl.scan_parquet(file if file.exists() else many / "*.parquet")
        time = TIME_COLUMN[table]
        schema = scanned.collect_schema()
        _aware(schema, table)
        between = pl.col(time).is_between(start, end, closed="left")
        return scanned.filter(between).collect()

    return read


def checked(frame: pl.DataFrame, table: Table) -> pl.DataFrame:
    """`frame` with the columns and types of the table's schema, every rule of its rows kept.

    Integers of another width, and aware times of another zone or precision, are converted;
    nothing else is. Rules about one column are checked by pandera on the collected frame, and
    those of the decision log by `frames.decision_problems`.

    Raises:
        DataError: naming table, row, reference, column, the value seen and the rule.
    """
    schema = _SCHEMAS[table]
    conformed = conform(_converted(frame, table), schema, table)
    _check_columns(conformed, table)
    return conformed


def _aware(schema: pl.Schema, table: Table) -> None:
    """Raises DataError where a time column has no zone: UTC is never assumed."""
    time = TIME_COLUMN[table]
    dtype = schema.get(time)
    if not isinstance(dtype, pl.Datetime) or dtype.time_zone is None:
        raise DataError(
            f"{table}: column {time} is {dtype}, wanted a time with a zone, such as"
            ' Datetime("us", "UTC"): a naive time could mean any zone; attach the one it was'
            " recorded in"
        )


def _converted(frame: pl.DataFrame, table: Table) -> pl.DataFrame:
    _aware(frame.schema, table)
    wanted = _SCHEMAS[table]
    time = TIME_COLUMN[table]
    # Not strict: what does not fit becomes null, which the rules about rows then name.
    fitting = [
        pl.col(name).cast(dtype, strict=False)
        for name, dtype in wanted.items()
        if name in frame.columns and _widens(frame.schema[name], dtype)
    ]
    moment = pl.col(time).dt.convert_time_zone("UTC").dt.cast_time_unit("us")
    return frame.with_columns(moment, *fitting)


def _widens(seen: pl.DataType, wanted: pl.DataType) -> bool:
    """Whether `seen` is another width of the numbers, or lists of numbers, that `wanted` is."""
    if isinstance(seen, pl.List) and isinstance(wanted, pl.List):
        return _widens(cast("pl.DataType", seen.inner), cast("pl.DataType", wanted.inner))
    if wanted == pl.Int64:
        return seen.is_integer()
    return wanted == pl.Float64 and seen.is_float()


def _rules(table: Table) -> dict[str, dict[str, Callable[[pl.Expr], pl.Expr]]]:
    """What each column's values must be, in words, by column."""
    if table == "outcomes":
        return {"reward": {"0 or 1": lambda c: c.is_in([0.0, 1.0])}}
    if table == "decisions":
        return {
            "action": {f"an action from 0 to {COUNT - 1}": lambda c: c.is_between(0, COUNT - 1)},
            "eligible": {
                f"ascending actions from 0 to {COUNT - 1}": lambda c: (
                    (c.list.len() > 0)
                    & c.list.eval(
                        pl.element().is_between(0, COUNT - 1).fill_null(value=False)
                    ).list.all()
                    & (c.list.diff().list.min().fill_null(1) > 0)
                )
            },
            "probabilities": {
                "one for each of eligible": lambda c: (
                    c.list.len() == pl.col("eligible").list.len()
                ),
                "finite numbers of 0 or more": lambda c: c.list.eval(
                    (pl.element().is_finite() & (pl.element() >= 0)).fill_null(value=False)
                ).list.all(),
            },
            "arm": {"explore, exploit or control": lambda c: c.is_in(_ARMS)},
        }
    return {
        "amount_minor": {"above 0": lambda c: c > 0},
        "currency": {"EUR: convert other amounts first": lambda c: c == "EUR"},
        "hour": {"0 to 23": lambda c: c.is_between(0, 23)},
        "risk": {"a finite number": lambda c: c.is_finite()},
        "attempt_no": {"1 or more": lambda c: c >= 1},
    }


_ARMS = ["explore", "exploit", "control"]


def _check_columns(frame: pl.DataFrame, table: Table) -> None:
    """Raises DataError at the first row that breaks a rule about one column."""
    import pandera.polars as pa  # takes a second to import, and only own transactions need it

    def holds(rule: Callable[[pl.Expr], pl.Expr]) -> Callable[[pa.PolarsData], pl.LazyFrame]:
        def check(data: pa.PolarsData) -> pl.LazyFrame:
            return data.lazyframe.select(rule(pl.col(str(data.key))))

        return check

    rules = _rules(table)
    schema = pa.DataFrameSchema(
        {
            name: pa.Column(
                dtype,
                checks=[
                    pa.Check(holds(rule), name=f"wanted {words}")
                    for words, rule in rules.get(name, {}).items()
                ],
                nullable=name in _NULLABLE,
                unique=name == "reference",
            )
            for name, dtype in _SCHEMAS[table].items()
        },
        strict=True,
    )
    try:
        schema.validate(frame, lazy=True)
    except pa.errors.SchemaErrors as error:
        cases = cast("pl.DataFrame", error.failure_cases)
        raise DataError(_first_case(cases, frame, table)) from None


def _first_case(cases: pl.DataFrame, frame: pl.DataFrame, table: Table) -> str:
    """What the first row of pandera's `cases` says, in our words."""
    first = cases.sort("index", nulls_last=True).row(0, named=True)
    row, check = first["index"], str(first["check"])
    words = {"not_nullable": "wanted a value", "field_uniqueness": "wanted only once"}
    reference = None if row is None else frame["reference"][row]
    return (
        f"{table}: row {row} (reference {reference!r}), column {first['column']}: saw"
        f" {first['failure_case']}, {words.get(check, check)}"
        f" ({cases['index'].n_unique()} rows broke a rule)"
    )


@dataclass(frozen=True)
class TransactionsWorld:
    """Attempts and outcomes as an organisation's own systems record them."""

    read: Reader

    def arrivals(self, start: datetime, end: datetime, settled: pl.DataFrame) -> pl.DataFrame:
        """The attempts of [start, end), checked; retries are among them, with `retry_of` set.

        A retry's `parent_id` is the decision of that reference among `settled`, null where it is
        not there.
        """
        attempts = checked(self.read("attempts", start, end), "attempts")
        return _with_parents(attempts, settled).sort("observed_at", "reference")

    def outcomes(self, decisions: pl.DataFrame, as_of: datetime) -> pl.DataFrame:
        """The outcomes of `decisions` recorded up to `as_of`, checked.

        They are read from the earliest attempt on, not from its decision: an outcome that lies
        before its decision cannot be its consequence, and the store sets it aside saying so.
        Read from the decision on, it would be passed over in silence.

        Raises:
            DataError: see `checked`.
        """
        if decisions.is_empty():
            return pl.DataFrame(schema=OUTCOMES)
        since = decisions["observed_at"].min()
        assert isinstance(since, datetime)
        known = checked(
            self.read("outcomes", since, as_of + timedelta(microseconds=1)), "outcomes"
        )
        return (
            decisions.select("decision_id", "reference")
            .join(known, on="reference", how="inner", validate="1:1", maintain_order="left")
            .match_to_schema(OUTCOMES, extra_columns="ignore")
        )


def _with_parents(attempts: pl.DataFrame, settled: pl.DataFrame) -> pl.DataFrame:
    """`attempts` in the form of arrivals: `parent_id` in place of `retry_of`."""
    parents = (
        settled.select(retry_of="reference", parent_id="decision_id")
        if settled.height
        else pl.DataFrame(schema={"retry_of": pl.String(), "parent_id": pl.Int64()})
    )
    return attempts.join(
        parents, on="retry_of", how="left", validate="m:1", maintain_order="left"
    ).select("reference", "observed_at", *UNITS)


def logged(read: Reader, start: datetime, end: datetime) -> Log:
    """Decisions that another system took in [start, end), and outcomes recorded in [start, end).

    Each is read by its own time, so spans that follow one another bring every row once, and an
    outcome comes with the span in which it became known: also that of an earlier decision, with
    its attempt, up to LOOKBACK before `start`. Attempts without either are left out.

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
    decisions = _as_logged(raw)
    _check_decisions(decisions, raw, end)
    outcomes = known.join(seen.select("reference", "decided_at"), on="reference", validate="1:1")
    _check_order(outcomes, "outcomes", after="decided_at", of="its decision", column="observed_at")
    outcomes = outcomes.filter(pl.col("observed_at") >= start).drop("decided_at")
    named = pl.concat([raw["reference"], outcomes["reference"]]).unique()
    arrivals = _with_parents(
        attempts.filter(pl.col("reference").is_in(named.implode())), pl.DataFrame()
    )
    return Log(
        arrivals=arrivals.sort("observed_at", "reference"),
        decisions=decisions.sort("decided_at", "reference"),
        outcomes=outcomes,
    )


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
