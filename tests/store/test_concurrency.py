"""Two writers never fork the chain; a server that goes away loses nothing that was confirmed."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from decisions.errors import ConflictingRecord, LeaseLost, StackError, StoreError
from decisions.stack.postgres import create_database, running_postgres
from decisions.store import audit, leases
from decisions.store.database import Database, migrate
from decisions.store.decision_log import append, history
from tests.store.samples import NOW, START, begun, decided, units


def test_writers_at_the_same_time_leave_one_chain(database: Database) -> None:
    begun(database)

    def work(part: int) -> int:
        batch = units(20, start=START + timedelta(days=31 * (part // 2), minutes=part))
        append(database, "payments", "unit", f"{part}", batch, now=NOW + timedelta(200))
        decisions = decided(batch)
        later = NOW + timedelta(200)
        return append(
            database, "payments", "decision", f"{part % 3}", decisions, now=later
        ).written

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(work, range(10))) == [20] * 10

    found = audit.verify(database)
    assert found.broken is None
    assert found.head.number == 22


def test_the_same_batch_twice_at_the_same_time_is_written_once(database: Database) -> None:
    begun(database)
    append(database, "payments", "unit", "a", units(500), now=NOW)
    decisions = decided(units(500))

    def work(_: int) -> int:
        return append(database, "payments", "decision", "a", decisions, now=NOW).written

    with ThreadPoolExecutor(2) as pool:
        assert sum(pool.map(work, range(4))) == 500


def test_a_stale_lease_stops_an_append(database: Database) -> None:
    stale = leases.acquire(database, "x", holder="one", seconds=60)
    fresh = leases.acquire(database, "x", holder="one", seconds=60)

    with pytest.raises(LeaseLost):
        append(database, "payments", "unit", "a", units(1), now=NOW, lease=stale)

    assert append(database, "payments", "unit", "a", units(1), now=NOW, lease=fresh).written == 1


def test_a_release_that_fails_does_not_hide_why_the_work_ended(database: Database) -> None:
    def work(cause: Exception | None) -> None:
        with (
            leases.leased(database, "x", holder="one", seconds=60),
            database.transaction("owner") as connection,
        ):
            connection.exec_driver_sql("alter table lease rename to lost")
            if cause is not None:
                connection.commit()
                raise cause

    with pytest.raises(ValueError, match="the cause") as ended:
        work(ValueError("the cause"))
    with database.transaction("owner") as connection:
        connection.exec_driver_sql("alter table lost rename to lease")
    with pytest.raises(StoreError):
        work(None)

    assert ended.value.__context__ is None


def test_a_server_that_restarts_keeps_what_it_confirmed(postgres_folder: Path) -> None:
    with running_postgres(postgres_folder / "restarted") as url:
        db = Database(create_database(url, "decisions"))
        with pytest.raises(StoreError, match="has no schema yet"):
            append(db, "payments", "unit", "a", units(3), now=NOW)
        migrate(db)
        begun(db)
        append(db, "payments", "unit", "a", units(3), now=NOW)
        with pytest.raises(StackError, match="already runs over"):
            _second_server(postgres_folder / "restarted")
    with pytest.raises(StoreError, match=r"cannot be reached.*may be repeated"):
        append(db, "payments", "decision", "a", decided(units(3)), now=NOW)
    with running_postgres(postgres_folder / "restarted") as url:
        again = Database(create_database(url, "decisions"))
        append(again, "payments", "decision", "a", decided(units(3)), now=NOW)
        stored = history(again, "payments", since=START, until=NOW, as_of=NOW)
        assert len(stored) == 3
        assert audit.verify(again).broken is None
        with pytest.raises(ConflictingRecord):
            append(again, "payments", "decision", "b", decided(units(3), seed=2), now=NOW)


def _second_server(data: Path) -> None:
    with running_postgres(data, patience_s=0.2):
        pass
