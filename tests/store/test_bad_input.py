"""Rows that break a rule are set aside with the reason; the others are stored."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from decisions.errors import DataError, StoreError
from decisions.frames import DECISIONS, month_bounds
from decisions.store import audit
from decisions.store.database import Database
from decisions.store.decision_log import append, assign_units, history, pending
from decisions.store.problems import decision_row_problems
from tests.store.samples import NOW, START, begun, decided, outcomes, units

NAN = float("nan")
INF = float("inf")


def first_row(frame: pl.DataFrame, column: str, value: object) -> pl.DataFrame:
    rest = frame[column].to_list()[1:]
    return frame.with_columns(pl.Series(column, [value, *rest], dtype=frame.schema[column]))


@pytest.mark.parametrize(
    ("column", "value", "problem"),
    [
        ("slot", 1, "decision_id is not that of its unit and slot"),
        ("arm", "", "arm is missing"),
        ("arm", None, "arm is missing"),
        ("arm", "expl\0re", "text holds a zero byte"),
        ("arm_propensity", 0.0, "arm_propensity is not above 0 and finite"),
        ("arm_propensity", INF, "arm_propensity is not above 0 and finite"),
        ("uniform", 1.0, "uniform is not in [0, 1)"),
        ("uniform", -0.5, "uniform is not in [0, 1)"),
        ("nominal", [NAN], "nominal holds a number that is not finite"),
        ("nominal", None, "a list is missing"),
        ("scores", [0.1, None, 0.2], "a list holds a missing number"),
        ("scores", [0.1, NAN, 0.2], "scores hold a number that is not finite"),
        ("propensity", None, "propensity is not above 0 and finite"),
        ("propensity", 0.0, "propensity is not above 0 and finite"),
        ("action", [7.0], "action is not eligible"),
        ("eligible", [1, 0, 2], "eligible is not ascending"),
        ("decided_at", NOW + timedelta(seconds=1), "decided_at lies in the future"),
    ],
)
def test_a_bad_decision_is_named(column: str, value: object, problem: str) -> None:
    bad = first_row(decided(units(3)), column, value)

    assert decision_row_problems(bad, now=NOW).to_list() == [problem, None, None]


def test_a_ragged_decision_is_named_beside_the_others() -> None:
    rows = decided(units(4)).to_dicts()
    rows[0]["probabilities"] = [0.5, 0.5]
    rows[1]["scores"][0] = NAN
    rows[2]["arm"] = ""

    assert decision_row_problems(pl.DataFrame(rows, DECISIONS), now=NOW).to_list() == [
        "probabilities and eligible differ in length",
        "scores hold a number that is not finite",
        "arm is missing",
        None,
    ]


def test_bad_decisions_go_to_quarantine_once_and_the_others_are_stored(database: Database) -> None:
    begun(database)
    append(database, "payments", "unit", "a", units(4), now=NOW)
    good = decided(units(5))  # the fifth unit is not stored
    bad = first_row(good, "scores", [NAN, 0.1, 0.2])
    bad = bad.with_columns(
        generation=pl.when(pl.int_range(pl.len()) == 1).then(9).otherwise(0).cast(pl.Int32),
        parent_id=pl.when(pl.int_range(pl.len()) == 2).then(5).cast(pl.Int64),
    )

    results = [append(database, "payments", "decision", "a", bad, now=NOW) for _ in range(2)]

    assert results[0].quarantined["problem"].to_list() == [
        "scores hold a number that is not finite",
        "generation is not stored",
        "parent decision is not stored",
        "unit is not stored",
    ]
    assert [(each.written, each.present) for each in results] == [(1, 0), (0, 1)]
    with database.reading() as connection:
        rows = connection.exec_driver_sql("select reason, content from quarantine").all()
    assert len(rows) == 4
    assert "NaN" in next(row.content for row in rows if row.reason.startswith("scores"))
    corrected = append(database, "payments", "decision", "a", good.head(4), now=NOW)
    assert (corrected.written, corrected.present) == (3, 1)
    stored = history(database, "payments", since=START, until=NOW, as_of=NOW)
    assert stored.select(list(DECISIONS)).equals(good.head(4))
    assert audit.verify(database).broken is None


def test_a_zero_byte_in_one_row_blocks_no_other(database: Database) -> None:
    begun(database)
    arrived = first_row(units(3), "reference", "a\0b").select(
        "reference", "observed_at", "payload"
    )

    stored = append(
        database, "payments", "unit", "a", assign_units(database, "payments", arrived), now=NOW
    )
    ids = assign_units(database, "payments", arrived.tail(2))
    taken = append(
        database, "payments", "decision", "a", first_row(decided(ids), "arm", "a\0b"), now=NOW
    )

    assert (stored.written, taken.written) == (2, 1)
    assert stored.quarantined["problem"].to_list() == ["text holds a zero byte"]
    assert taken.quarantined["problem"].to_list() == ["text holds a zero byte"]
    assert pending(database, "payments", NOW)["unit_id"].to_list() == [ids["unit_id"][0]]
    assert audit.verify(database).broken is None


def test_a_bad_decision_taken_again_is_the_same_row_of_quarantine(database: Database) -> None:
    begun(database)
    append(database, "payments", "unit", "a", units(3), now=NOW)
    bad = decided(units(3)).with_columns(scores=pl.lit([NAN, 0.1, 0.2]))
    twice = decided(units(3))[:1]

    def kept(frame: pl.DataFrame, day: int) -> int:
        now = NOW + timedelta(days=day)
        again = frame.with_columns(decided_at=pl.col("decided_at") + timedelta(days=day))
        done = append(database, "payments", "decision", f"{day}", again, now=now)
        assert (done.written, len(done.quarantined)) == (0, len(frame))
        with database.reading() as connection:
            return connection.exec_driver_sql("select count(*) from quarantine").scalar_one()

    assert [kept(bad, day) for day in range(4)] == [3] * 4
    later = twice.with_columns(decided_at=pl.col("decided_at") + timedelta(seconds=1))
    assert [kept(pl.concat([twice, later]), day) for day in range(2)] == [5] * 2
    other = bad.with_columns(scores=pl.lit([NAN, 0.1, 0.3]))
    assert kept(other, 4) == 8
    assert audit.verify(database).broken is None


def test_outcomes_must_follow_their_decisions(database: Database) -> None:
    begun(database)
    append(database, "payments", "unit", "a", units(6), now=NOW)
    decisions = decided(units(7))
    append(database, "payments", "decision", "a", decisions.head(6), now=NOW)
    given = outcomes(decisions)
    given = given.with_columns(
        reward=pl.Series([NAN, None, INF, 1.0, 1.0, 1.0, 1.0]),
        observed_at=pl.when(pl.int_range(pl.len()) == 3)
        .then(START)
        .when(pl.int_range(pl.len()) == 4)
        .then(NOW + timedelta(days=1))
        .otherwise("observed_at"),
    )

    done = append(database, "payments", "outcome", "a", given, now=NOW)
    twice = append(database, "payments", "outcome", "b", pl.concat([given[5:6]] * 2), now=NOW)

    assert done.written == 1
    assert done.quarantined.sort("decision_id")["problem"].to_list() == [
        "reward is missing or not finite",
        "reward is missing or not finite",
        "reward is missing or not finite",
        "outcome lies before its decision",
        "observed_at lies in the future",
        "decision is not stored",
    ]
    assert (
        twice.quarantined["problem"].to_list() == ["decision_id is given twice for one time"] * 2
    )


def test_bad_units_are_named(database: Database) -> None:
    good = units(5)
    given = good.with_columns(
        payload=pl.Series(["[]", None, '{"a": "\0"}', "{}", "{}"]),
        reference=pl.Series(["a", "b", "c", "d", "d"]),
    )

    done = append(database, "payments", "unit", "a", given, now=NOW)

    assert done.seal is None
    assert done.quarantined["problem"].to_list() == [
        "payload is not a JSON object",
        "payload is not a JSON object",
        "text holds a zero byte",
        "reference is given twice",
        "reference is given twice",
    ]


def test_arrivals_that_contradict_each_other_are_set_aside(database: Database) -> None:
    later = START + timedelta(minutes=2)
    rows = units(5).drop("unit_id").with_columns(reference=pl.Series(["b", "a", "c", "a", None]))
    late = rows.with_columns(reference=pl.Series(["d", "c", "e", "b", None]), observed_at=later)
    given = pl.concat([rows, rows, late[1:3]])  # everything twice, and "c" again with another time

    def put(batch: str, arrivals: pl.DataFrame) -> list[tuple[str | None, str]]:
        assigned = assign_units(database, "payments", arrivals)
        done = append(database, "payments", "unit", batch, assigned, now=NOW)
        return sorted(
            done.quarantined.select(pl.col("reference").fill_null("-"), "problem").iter_rows()
        )

    first, second = put("a", given), put("a", given)

    twice = "reference is given twice"
    assert first == [("-", "reference is missing"), *[("a", twice)] * 2, *[("c", twice)] * 2]
    assert second == first
    with database.reading() as connection:
        stored = connection.exec_driver_sql("select reference from unit order by 1").scalars()
        kept = connection.exec_driver_sql("select count(*) from quarantine").scalar_one()
        assert (list(stored), kept) == (["b", "e"], 5)
    assert audit.verify(database).broken is None


def test_a_frame_of_another_form_is_refused_whole(database: Database) -> None:
    with pytest.raises(DataError, match="missing columns"):
        append(database, "payments", "unit", "a", units(1).drop("payload"), now=NOW)
    with pytest.raises(DataError, match="wanted one of"):
        append(database, "payments", "verdict", "a", units(1), now=NOW)  # pyright: ignore[reportArgumentType]


def test_an_empty_batch_writes_nothing(database: Database) -> None:
    done = append(database, "payments", "decision", "a", decided(units(0)), now=NOW)

    assert (done.written, done.present, done.seal) == (0, 0, None)


def test_a_reference_belongs_to_one_unit(database: Database) -> None:
    append(database, "payments", "unit", "a", units(1), now=NOW)
    other = units(1, first=1).with_columns(reference=units(1)["reference"])

    with pytest.raises(StoreError, match="unit_domain_reference_key"):
        append(database, "payments", "unit", "b", other, now=NOW)


BOUNDS = """
select coalesce(max(pg_get_expr(relpartbound, oid)), '') from pg_class where relname = '{}'
"""


def test_a_writer_can_neither_block_a_month_nor_misplace_it(database: Database) -> None:
    for statement in (
        "select open_month('2026_01', 0, 9000000000000000000)",
        "select open_month(cast('infinity' as date))",
        "select open_month(cast('0001-01-01 BC' as date))",
        "select open_month(cast('1969-12-31' as date))",
        "select open_month(cast('20000-01-01' as date))",
    ):
        with (
            pytest.raises(
                StoreError, match=r"not exist|out of range|cannot convert|wanted one of"
            ),
            database.transaction() as connection,
        ):
            connection.exec_driver_sql(statement)
    for month in (datetime(1970, 1, 1), datetime(2025, 12, 31), datetime(2026, 2, 28)):  # noqa: DTZ001
        with database.transaction() as connection:
            connection.exec_driver_sql("set local timezone = 'Asia/Tokyo'")
            connection.exec_driver_sql(f"select open_month('{month:%Y-%m-%d}')")
        with database.reading() as connection:
            found = connection.exec_driver_sql(BOUNDS.format(f"decision_{month:%Y_%m}"))
            low, high = month_bounds(month.replace(tzinfo=UTC))
            assert found.scalar_one() == f"FOR VALUES FROM ('{low}') TO ('{high}')"
    begun(database)
    append(database, "payments", "unit", "a", units(2), now=NOW)
    assert append(database, "payments", "decision", "a", decided(units(2)), now=NOW).written == 2
