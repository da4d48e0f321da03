"""An outcome that is known again corrects the first: both stay, the newest counts."""

from datetime import datetime, timedelta

import polars as pl
import pytest

from decisions.frames import OUTCOMES
from decisions.store import audit
from decisions.store.database import Database
from decisions.store.decision_log import Appended, append, history, unsettled
from tests.store.samples import NOW, START, begun, decided, outcomes, units

HOUR = timedelta(hours=1)


@pytest.fixture
def first(database: Database) -> pl.DataFrame:
    """Outcomes of three decisions, stored: rewards of one, known at the same time."""
    begun(database)
    append(database, "payments", "unit", "a", units(4), now=NOW)
    taken = decided(units(4))
    append(database, "payments", "decision", "a", taken, now=NOW)
    known = outcomes(taken).head(3)
    append(database, "payments", "outcome", "a", known, now=NOW)
    return known


def put(database: Database, frame: pl.DataFrame, batch: str = "b") -> Appended:
    return append(database, "payments", "outcome", batch, frame, now=NOW)


def known_at(database: Database, as_of: datetime) -> list[tuple[float | None, datetime | None]]:
    stored = history(database, "payments", since=START, until=NOW, as_of=as_of)
    return list(stored.select("reward", "reward_at").iter_rows())


def test_a_correction_is_stored_beside_the_first_and_counts_from_its_own_time_on(
    database: Database, first: pl.DataFrame
) -> None:
    at = first["observed_at"][0]
    correction = first.head(1).with_columns(reward=pl.lit(0.0), observed_at=at + 2 * HOUR)
    again = first.head(1).with_columns(observed_at=at + 4 * HOUR)  # won back

    done = put(database, pl.concat([correction, first[1:2]]))
    repeated = put(database, pl.concat([correction, first[1:2]]))
    last = put(database, again, "c")

    assert (done.written, done.present, len(done.quarantined)) == (1, 1, 0)
    assert (repeated.written, repeated.present) == (0, 2)
    assert last.written == 1
    assert [known_at(database, at + hours * HOUR)[0] for hours in (-1, 0, 1, 2, 3, 4)] == [
        (None, None),
        (1.0, at),
        (1.0, at),
        (0.0, at + 2 * HOUR),
        (0.0, at + 2 * HOUR),
        (1.0, at + 4 * HOUR),
    ]
    assert known_at(database, NOW)[1:] == [(1.0, at), (1.0, at), (None, None)]
    waiting = unsettled(database, "payments", as_of=NOW, maturity=2 * (NOW - START))
    assert len(waiting) == 1
    with database.reading() as connection:
        counted = connection.exec_driver_sql(
            "select kind, sum(row_count) from seal where kind in ('outcome', 'correction')"
            " group by kind order by kind"
        ).all()
    assert [tuple(row) for row in counted] == [("correction", 2), ("outcome", 3)]
    assert audit.verify(database).broken is None


def test_first_and_correction_may_come_in_one_batch_and_in_any_order(
    database: Database, first: pl.DataFrame
) -> None:
    at = first["observed_at"][0]
    last = decided(units(4))["decision_id"][3]
    both = pl.DataFrame(
        {"decision_id": [last] * 2, "reward": [0.0, 1.0], "observed_at": [at + HOUR, at]},
        schema=OUTCOMES,
    )
    earlier = first.head(1).with_columns(observed_at=at - HOUR / 2, reward=pl.lit(0.0))

    done = put(database, both)
    put(database, earlier, "late")

    assert (done.written, len(done.quarantined)) == (2, 0)
    assert [known_at(database, at + hours * HOUR)[3] for hours in (0, 1)] == [
        (1.0, at),
        (0.0, at + HOUR),
    ]
    assert known_at(database, at - HOUR / 4)[0] == (0.0, at - HOUR / 2)
    assert known_at(database, at)[0] == (1.0, at)
    assert audit.verify(database).broken is None


def test_another_reward_of_the_same_moment_is_set_aside_and_holds_up_no_other(
    database: Database, first: pl.DataFrame
) -> None:
    at = first["observed_at"][0]
    disputed = first.head(1).with_columns(reward=pl.lit(0.0))
    fresh = outcomes(decided(units(4)))[3:]
    correction = first[1:2].with_columns(reward=pl.lit(0.0), observed_at=at + HOUR)
    put(database, correction)
    also_disputed = correction.with_columns(reward=pl.lit(1.0))

    done = put(database, pl.concat([disputed, fresh, also_disputed]), "c")

    reason = "another outcome is stored for the same time: a correction has its own"
    assert done.written == 1
    assert done.quarantined["problem"].to_list() == [reason] * 2
    assert known_at(database, NOW)[0] == (1.0, at)


def test_a_forged_correction_is_found(database: Database, first: pl.DataFrame) -> None:
    at = first["observed_at"][0]
    put(database, first.head(1).with_columns(reward=pl.lit(0.0), observed_at=at + HOUR))

    with database.transaction("owner") as connection:
        connection.exec_driver_sql("alter table correction disable trigger all")
        connection.exec_driver_sql("update correction set reward = 1")

    broken = audit.verify(database).broken
    assert broken is not None
    assert broken.kind == "correction"
