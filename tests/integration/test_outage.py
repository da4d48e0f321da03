"""A database that goes away and comes back costs nothing but the time it was away."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from decisions import flow
from decisions.errors import StoreError
from decisions.stack.postgres import create_database, running_postgres
from decisions.store import audit, decision_log
from decisions.store.database import Database, migrate
from integration.coins import COINS

START = datetime(2026, 3, 1, tzinfo=UTC)
END = START + timedelta(days=1)


def test_work_begun_before_an_outage_is_completed_after_it(tmp_path: Path) -> None:
    with running_postgres(tmp_path / "data") as url:
        before = Database(create_database(url, "decisions"))
        migrate(before)
        flow.begin(before, COINS, now=START, seed=11)
        flow.arrive(before, COINS, start=START, end=END, holder="task")

    with pytest.raises(StoreError, match=r"cannot be reached.*nothing was written"):
        flow.decide(before, COINS, now=END, holder="task")

    with running_postgres(tmp_path / "data") as url:
        after = Database(create_database(url, "decisions"))
        taken = flow.decide(after, COINS, now=END, holder="task")

        assert taken == 300
        assert decision_log.pending(after, COINS.name, END).is_empty()
        assert audit.verify(after).broken is None
