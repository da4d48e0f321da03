"""A database that goes away and comes back costs nothing but the time it was away."""

import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from decisions import flow
from decisions.errors import StoreError
from decisions.flow import deciding
from decisions.stack.postgres import create_database, running_postgres
from decisions.store import audit, decision_log
from decisions.store.database import Database, migrate
from tests.integration.coins import COINS

START = datetime(2026, 3, 1, tzinfo=UTC)
END = START + timedelta(days=1)


def test_work_begun_before_an_outage_is_completed_after_it(postgres_folder: Path) -> None:
    folder = postgres_folder / "begun"
    with running_postgres(folder) as url:
        before = Database(create_database(url, "decisions"))
        migrate(before)
        flow.begin(before, COINS, now=START, seed=11)
        flow.arrive(before, COINS, start=START, end=END, holder="task")

    with pytest.raises(StoreError, match=r"cannot be reached.*nothing was written"):
        flow.decide(before, COINS, now=END, holder="task")

    with running_postgres(folder) as url:
        after = Database(create_database(url, "decisions"))
        taken = flow.decide(after, COINS, now=END, holder="task")

        assert taken == 300
        assert decision_log.pending(after, COINS.name, END).is_empty()
        assert audit.verify(after).broken is None


def _live_with_retries(db: Database, days: int, errors: list[str], done: threading.Event) -> None:
    """All days, as a scheduler's task with retries lives them: the same call again and again."""
    until = START + timedelta(days=days)
    while not done.is_set():
        try:
            flow.catch_up(db, COINS, until=until, holder="task")
            flow.settle(db, COINS, as_of=until, holder="task")
        except StoreError as error:
            errors.append(str(error))
            time.sleep(0.2)
        else:
            done.set()


def _contents(db: Database) -> dict[str, list[str]]:
    with db.reading() as connection:
        return {
            table: [
                str(row[0])
                for row in connection.exec_driver_sql(
                    f"select (to_jsonb(t) - 'seal')::text from {table} as t order by 1"  # noqa: S608
                )
            ]
            for table in ("unit", "decision", "outcome", "quarantine")
        }


def test_a_server_that_goes_away_under_a_running_task_costs_only_a_retry(
    postgres_folder: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deciding, "BATCH", 50)
    days, folder = 6, postgres_folder / "outage"
    errors: list[str] = []
    done = threading.Event()
    with running_postgres(folder) as url:
        db = Database(create_database(url, "decisions"))
        migrate(db)
        flow.begin(db, COINS, now=START, seed=11)
        task = threading.Thread(target=_live_with_retries, args=(db, days, errors, done))
        task.start()
        while not decision_log.count(db, COINS.name, since=START, until=START + timedelta(days)):
            time.sleep(0.02)
    time.sleep(1.5)
    assert not done.is_set()
    with running_postgres(folder) as again:
        assert Database(create_database(again, "decisions")) == db
        task.join(timeout=60)
        done.set()
        monkeypatch.undo()
        flow.begin(database, COINS, now=START, seed=11)
        _live_with_retries(database, days, [], threading.Event())

        assert errors
        assert all("cannot be reached" in error for error in errors), set(errors)
        assert _contents(db) == _contents(database)
        assert audit.verify(db).broken is None
