"""The tables that an organisation brings of its payments: their columns, conversions and rules."""

from collections.abc import Callable
from datetime import datetime
from typing import Literal, Protocol, cast

import polars as pl

from decisions.domains.payments.actions import COUNT
from decisions.domains.payments.simulator import UNITS
from decisions.errors import DataError
from decisions.frames import UTC_TIME, conform

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
_NULLABLE = {"retry_of"}
SCHEMAS: dict[Table, pl.Schema] = {
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
    """Where the tables are: `parquet.parquet_reader`, or a query bound to a database."""

    def __call__(self, table: Table, start: datetime, end: datetime) -> pl.DataFrame:
        """The table's rows whose TIME_COLUMN lies in [start, end), in any order."""
        ...


def checked(frame: pl.DataFrame, table: Table) -> pl.DataFrame:
    """`frame` with the columns and types of the table's schema, every rule of its rows kept.

    Rules about one column are checked by pandera on the collected frame, and those of the
    decision log by `frames.decision_problems`.

    Raises:
        DataError: naming table, row, reference, column, the value seen and the rule.
    """
    converted = frame.select(conversions(frame.schema, table, table))
    _check_columns(converted, table)
    return converted


def conversions(schema: pl.Schema, table: Table, what: str) -> list[pl.Expr]:
    """The columns of the table's schema, each converted from its type in `schema`.

    Integers and floats of another width, aware times of another zone or precision, and columns
    without any value (type Null) are converted; nothing else is.

    Raises:
        DataError: columns missing, unexpected or of a type that is not converted, each named
            after `what` (the table, or one file of it).
    """
    wanted = SCHEMAS[table]
    time = TIME_COLUMN[table]
    naive = schema.get(time)
    if isinstance(naive, pl.Datetime) and naive.time_zone is None:
        raise DataError(
            f"{what}: column {time} is {naive}, wanted a time with a zone, such as"
            ' Datetime("us", "UTC"): a naive time could mean any zone; attach the one it was'
            " recorded in"
        )
    after = {
        name: wanted[name] if name in wanted and _converts(dtype, wanted[name]) else dtype
        for name, dtype in schema.items()
    }
    conform(pl.DataFrame(schema=after), wanted, what)
    return [_converted(name, schema[name], dtype) for name, dtype in wanted.items()]


def _converts(seen: pl.DataType, wanted: pl.DataType) -> bool:
    """Whether values of type `seen` are converted to `wanted`."""
    if isinstance(seen, pl.List) and isinstance(wanted, pl.List):
        inner = (cast("pl.DataType", seen.inner), cast("pl.DataType", wanted.inner))
        return _converts(*inner)
    if isinstance(seen, pl.Datetime) and wanted == UTC_TIME:
        return seen.time_zone is not None
    if wanted == pl.Int64:
        return seen.is_integer() or seen == pl.Null
    return seen in (wanted, pl.Null) or (wanted == pl.Float64 and seen.is_float())


def _converted(name: str, seen: pl.DataType, wanted: pl.DataType) -> pl.Expr:
    if seen == wanted:
        return pl.col(name)
    if isinstance(seen, pl.Datetime):
        return pl.col(name).dt.convert_time_zone("UTC").dt.cast_time_unit("us")
    # Not strict: what does not fit becomes null, which the rules about rows then name.
    return pl.col(name).cast(wanted, strict=False)


def _rules(table: Table) -> dict[str, dict[str, Callable[[pl.Expr], pl.Expr]]]:
    """What each column's values must be, in words, by column."""
    if table == "outcomes":
        return {
            "reward": {"0 or 1": lambda c: c.is_in([0.0, 1.0])},
            "observed_at": {
                "once a reference and time: a correction has its own": lambda c: pl.struct(
                    "reference", c
                ).is_unique()
            },
        }
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
                unique=name == "reference" and table != "outcomes",
            )
            for name, dtype in SCHEMAS[table].items()
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
