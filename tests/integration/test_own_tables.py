"""An organisation's own SQL tables: from an attempt that arrives to its settled decision."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import psycopg
import pytest
from psycopg import sql

from decisions import flow
from decisions.domains.payments import DOMAIN, WORLD
from decisions.domains.payments.tables import TIME_COLUMN, checked
from decisions.domains.payments.transactions import with_transactions
from decisions.errors import DataError
from decisions.store import audit
from decisions.store.database import Database
from decisions.store.own_tables import OwnTables

START = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
SCHEMA = 'Shop "north"'  # a name that only a quoted identifier can carry
COLUMNS = {pl.String(): "text", pl.Boolean(): "boolean", pl.Float64(): "double precision"}
N = 40


def attempts() -> pl.DataFrame:
    day = (START - datetime(1970, 1, 1, tzinfo=UTC)).days
    made = WORLD.environment.arrivals(day, np.arange(N, dtype=np.int64), per_day=N)
    return made.drop("parent_id").with_columns(retry_of=pl.lit(None, pl.String()))


def outcomes() -> pl.DataFrame:
    return attempts().select(
        "reference",
        reward=(pl.int_range(pl.len()) % 3 > 0).cast(pl.Float64),
        observed_at=pl.lit(START + DAY + timedelta(hours=1)),
    )


def put(url: str, table: str, frame: pl.DataFrame) -> None:
    def kind(dtype: pl.DataType) -> str:
        if dtype.is_temporal():
            return "timestamptz"
        return "integer" if dtype.is_integer() else COLUMNS[dtype]  # pyright: ignore[reportArgumentType]  (the three other types there are)

    name = sql.Identifier(SCHEMA, table)
    columns = sql.SQL(", ").join(
        sql.SQL("{} {}").format(sql.Identifier(column), sql.SQL(kind(dtype)))  # type: ignore[arg-type]
        for column, dtype in frame.schema.items()
    )
    places = sql.SQL(", ").join(sql.Placeholder() for _ in frame.columns)
    with psycopg.connect(url, autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute(sql.SQL("create table {} ({})").format(name, columns))
        insert = sql.SQL("insert into {} values ({})").format(name, places)
        cursor.executemany(insert, frame.rows())


def admin(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql.SQL(statement).format(sql.Identifier(SCHEMA)))  # type: ignore[arg-type]


@pytest.fixture
def shop(database: Database) -> OwnTables:
    admin(database.url, "create schema {}")
    put(database.url, "attempts", attempts())
    put(database.url, "outcomes", outcomes())
    admin(database.url, "grant usage on schema {} to decisions_reader")
    admin(database.url, "grant select on all tables in schema {} to decisions_reader")
    return OwnTables(database, SCHEMA, {str(table): time for table, time in TIME_COLUMN.items()})


def test_own_attempts_arrive_are_decided_and_settled(database: Database, shop: OwnTables) -> None:
    domain = with_transactions(DOMAIN, shop)
    flow.begin(database, domain, now=START, seed=5)

    taken = flow.catch_up(database, domain, until=START + DAY, holder="test")
    early = flow.settle(database, domain, as_of=START + DAY, holder="test")
    settled = flow.settle(database, domain, as_of=START + 2 * DAY, holder="test")

    seen = flow.history(
        database, domain, since=START, until=START + 2 * DAY, as_of=START + 2 * DAY
    )
    wanted = {row["reference"]: row["reward"] for row in outcomes().iter_rows(named=True)}
    assert (taken, early, settled) == (N, 0, N)
    assert dict(seen.select("reference", "reward").iter_rows()) == wanted
    assert seen["amount_minor"].sum() == attempts()["amount_minor"].sum()
    assert audit.verify(database).broken is None


def test_only_the_span_asked_for_is_read(shop: OwnTables) -> None:
    half = START + timedelta(hours=12)

    first = shop("attempts", START, half)
    second = shop("attempts", half, START + DAY)

    assert 0 < first.height < N
    assert first.height + second.height == N
    assert first["observed_at"].max() < half  # type: ignore[operator]


def test_a_table_that_is_missing_hidden_or_without_zone_is_a_named_error(
    database: Database, shop: OwnTables
) -> None:
    assert shop.has("attempts")
    assert not shop.has("decisions")
    with pytest.raises(DataError, match=r"no table .*decisions with a column decided_at"):
        shop("decisions", START, START + DAY)
    admin(database.url, "revoke select on all tables in schema {} from decisions_reader")
    assert shop.has("attempts")  # hidden is not absent
    with pytest.raises(DataError, match="grant usage"):
        shop("attempts", START, START + DAY)
    admin(database.url, "grant select on all tables in schema {} to decisions_reader")
    admin(database.url, "alter table {}.attempts alter column observed_at type timestamp")
    with pytest.raises(DataError, match="wanted timestamp with time zone"):
        shop("attempts", START, START + DAY)
    with pytest.raises(DataError, match="wanted one of"):
        shop("attempts; drop table unit", START, START + DAY)


def test_arrays_with_nulls_or_of_two_dimensions_and_rows_without_a_time_are_refused(
    database: Database, shop: OwnTables
) -> None:
    admin(
        database.url,
        "create table {}.decisions as select reference, observed_at as decided_at,"
        " 'rules-7' as policy, 'explore' as arm, array[0, null, 12, 14] as eligible,"
        " array[.25, .25, .25, .25]::float8[] as probabilities, 0 as action, .25::float8"
        " as propensity from {0}.attempts".replace("{}", "{0}"),
    )
    admin(database.url, "grant select on all tables in schema {} to decisions_reader")
    logged = shop("decisions", START, START + DAY)
    assert logged["eligible"].to_list() == [[0, None, 12, 14]] * N
    with pytest.raises(DataError, match=r"column eligible: saw \[0,null,12,14\]"):
        checked(logged, "decisions")

    admin(database.url, "update {}.decisions set eligible = array[array[0, 1], array[12, 14]]")
    with pytest.raises(DataError, match=r"decisions: column eligible holds .* dimensions"):
        shop("decisions", START, START + DAY)

    admin(database.url, "update {}.attempts set observed_at = null where hour = 0")
    with pytest.raises(DataError, match="column observed_at: saw None, wanted a value"):
        checked(shop("attempts", START, START + DAY), "attempts")
