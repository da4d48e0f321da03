"""Doubles and texts come back as they went, and a batch hashes the same in any order."""

import math
import struct
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from decisions.errors import DataError, StoreError
from decisions.store import copy_format
from decisions.store.columns import content_digest, differing, fingerprints, flatten, type_name
from decisions.store.database import Database, raw
from decisions.store.records import KINDS

DOUBLES = st.floats(width=64) | st.sampled_from([-0.0, 5e-324, 1e308, math.nan, -math.inf])
TEXTS = st.text(st.characters(blacklist_characters="\0", blacklist_categories=("Cs",)))
SCHEMA = pl.Schema(
    {
        "number": pl.Int32(),
        "text": pl.String(),
        "real": pl.Float64(),
        "reals": pl.List(pl.Float64()),
        "whole": pl.List(pl.Int16()),
        "at": pl.Datetime("us", "UTC"),
        "raw": pl.Binary(),
        "claim": pl.Boolean(),
    }
)
ROW = st.tuples(
    st.none() | st.integers(-(2**31), 2**31 - 1),
    st.none() | TEXTS,
    st.none() | DOUBLES,
    st.lists(DOUBLES, max_size=5),
    st.lists(st.integers(-(2**15), 2**15 - 1), max_size=3),
    st.datetimes(datetime(1800, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    st.none() | st.binary(max_size=9),
    st.none() | st.booleans(),
)
ROWS = st.lists(ROW, max_size=12)
PAIR = st.tuples(ROW, ROW) | ROW.map(lambda row: (row, row))


def bits(frame: pl.DataFrame) -> list[Any]:
    def exact(value: Any) -> Any:
        if isinstance(value, float):
            return struct.pack("<d", value)
        return [exact(each) for each in value] if isinstance(value, list) else value

    return [[exact(value) for value in row] for row in frame.iter_rows()]


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(rows=ROWS)
def test_what_is_copied_in_comes_out_to_the_bit(database: Database, rows: list[Any]) -> None:
    frame = pl.DataFrame(rows, schema=SCHEMA, orient="row")

    with database.transaction("owner") as connection:
        driver = raw(connection)
        driver.execute(
            "create temporary table t (number int, text text, real float8, reals float8[],"
            " whole int2[], at timestamptz, raw bytea, claim boolean, seal bigint) on commit drop"
        )
        with driver.cursor() as cursor, cursor.copy("copy t from stdin (format binary)") as copy:
            copy.write(copy_format.encode(flatten(frame), len(frame)).filled(42))
        found = copy_format.fetch(driver, b"select * from t")

    assert bits(found.drop("seal")) == bits(frame)
    assert found["seal"].to_list() == [42] * len(frame)
    assert found.drop("seal").schema == SCHEMA
    mine, theirs = flatten(frame), flatten(found.drop("seal"))
    assert content_digest(mine, len(frame)) == content_digest(theirs, len(frame))


NUMBERS = st.lists(st.none() | st.integers(-(2**31), 2**31 - 1), max_size=5)


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(rows=st.lists(st.none() | NUMBERS, max_size=6))
def test_nulls_in_arrays_and_null_arrays_stay_null(
    database: Database, rows: list[list[int | None] | None]
) -> None:
    reals = [None if row is None else [None if x is None else x / 3 for x in row] for row in rows]

    with database.transaction("owner") as connection:
        driver = raw(connection)
        driver.execute("create temporary table t (i int[], r float8[]) on commit drop")
        with driver.cursor() as cursor:
            cursor.executemany(
                "insert into t values (%s, %s)", list(zip(rows, reals, strict=True))
            )
        stored = copy_format.fetch(driver, b"select i, r, i as again from t")

    assert stored["i"].to_list() == stored["again"].to_list() == rows
    assert stored["r"].to_list() == reals


def test_an_array_of_two_dimensions_is_refused_by_name(database: Database) -> None:
    with (
        database.reading() as connection,
        pytest.raises(DataError, match="column pairs holds an array of several dimensions"),
    ):
        copy_format.fetch(raw(connection), b"select '{{0,1},{2,3}}'::int[] as pairs")


def test_single_precision_is_read_as_it_is(database: Database) -> None:
    with database.reading() as connection:
        stored = copy_format.fetch(raw(connection), b"select 0.1::real as x, '{0.1}'::real[] as y")

    assert stored.schema == {"x": pl.Float32(), "y": pl.List(pl.Float32())}
    assert stored.row(0) == (pytest.approx(0.1), [pytest.approx(0.1)])


def test_a_digest_does_not_change_from_one_release_to_the_next() -> None:
    row = (1, "é", -0.0, [0.1, math.nan], [3], datetime(2026, 1, 2, tzinfo=UTC), b"\x00", True)
    frame = pl.DataFrame(
        [row, (None,) * 3 + ([], []) + row[5:6] + (None,) * 2], SCHEMA, orient="row"
    )

    columns = flatten(frame)

    assert content_digest(columns, 2).hex() == DIGEST
    assert [int(mark) for mark in fingerprints(columns, 2)] == MARKS


DIGEST = "9678d6c28922b0d9846b6687af9f761846452f7ad945f236d17817cee28c6ca9"
MARKS = [16848127723603571652, 11826833740825793701]


def test_the_types_in_a_digest_have_names_of_our_own() -> None:
    assert {name: type_name(dtype) for name, dtype in SCHEMA.items()} == {
        "number": "i32",
        "text": "text",
        "real": "f64",
        "reals": "list<f64>",
        "whole": "list<i16>",
        "at": "ts_us_utc",
        "raw": "bytes",
        "claim": "bool",
    }
    assert all(type_name(dtype) for kind in KINDS.values() for dtype in kind.schema.values())
    with pytest.raises(StoreError, match="UInt8 cannot be sealed"):
        content_digest(flatten(pl.DataFrame({"x": [1]}, {"x": pl.UInt8})), 1)


@settings(deadline=None)
@given(rows=st.lists(st.lists(DOUBLES, max_size=4), min_size=1, max_size=6), data=st.data())
def test_a_slice_hashes_as_the_rows_alone_do(rows: list[list[float]], data: st.DataObject) -> None:
    begin = data.draw(st.integers(0, len(rows) - 1))
    schema = {"x": pl.List(pl.Float64())}
    part = pl.DataFrame({"x": rows}, schema).slice(begin)
    alone = pl.DataFrame({"x": rows[begin:]}, schema)

    assert content_digest(flatten(part), len(part)) == content_digest(flatten(alone), len(part))
    assert fingerprints(flatten(part), len(part)).tolist() == (
        fingerprints(flatten(pl.DataFrame({"x": rows}, schema)), len(rows))[begin:].tolist()
    )


@settings(deadline=None)
@given(pairs=st.lists(PAIR, max_size=8))
def test_rows_differ_where_their_bits_do(pairs: list[tuple[Any, Any]]) -> None:
    left, right = (
        pl.DataFrame([pair[side] for pair in pairs], SCHEMA, orient="row") for side in (0, 1)
    )

    for name in SCHEMA:
        here, there = left.select(name), right.select(name)
        found = differing(flatten(here)[0], flatten(there)[0])
        wanted = [a != b for a, b in zip(bits(here), bits(there), strict=True)]
        assert found.tolist() == wanted
