# ruff: noqa: S608  (statements of a tampering superuser)
"""Ledgers that are longer than one read: what differs early is named, and all else is checked."""

from collections.abc import Generator
from contextlib import contextmanager
from datetime import timedelta

import polars as pl
import pytest
from typer.testing import CliRunner

from decisions.cli.audit import app
from decisions.store import audit
from decisions.store.database import Database
from decisions.store.decision_log import Logged, append
from tests.conftest import copied
from tests.store.samples import NOW, START, begun, decided, outcomes, units

_EARLY, _LATER = 4, 130_000  # rows of each kind in two batches: more than one read takes
_COLUMN = {"unit": "reference", "decision": "arm", "outcome": "reward"}
_OTHER = {"unit": "'x'", "decision": "'x'", "outcome": "0.5"}


def _named(
    batch: pl.DataFrame, decisions: pl.DataFrame
) -> tuple[tuple[Logged, pl.DataFrame], ...]:
    return ("unit", batch), ("decision", decisions), ("outcome", outcomes(decisions))


@pytest.fixture(scope="module")
def long_log(postgres_url: str, template: str) -> Generator[Database]:
    with copied(postgres_url, template) as db:
        begun(db)
        for rows, start in ((_EARLY, START), (_LATER, START + timedelta(hours=1))):
            batch = units(rows, start=start)
            decisions = decided(batch, k=1)
            for name, frame in _named(batch, decisions):
                append(db, "payments", name, str(rows), frame, now=NOW)
        yield db


def _write(db: Database, statement: str) -> str:
    """Runs a superuser's statement that returns one value."""
    with db.transaction("owner") as connection:
        connection.exec_driver_sql("set local session_replication_role = replica")
        return str(connection.exec_driver_sql(statement).scalar())


@contextmanager
def _altered(db: Database, kind: str) -> Generator[str]:
    """The key and its value of an early row of `kind`, while a superuser's edit lasts."""
    key = "unit_id" if kind == "unit" else "decision_id"
    row = decided(units(_EARLY))[key][1]
    column, where = _COLUMN[kind], f"where {key} = {row}"
    stored = _write(db, f"select {column} from {kind} {where}")
    change = f"update {kind} set {column} = {{}} {where} returning 1"
    _write(db, change.format(_OTHER[kind]))
    yield f"{key} {row}"
    _write(db, change.format(f"'{stored}'"))


@pytest.mark.parametrize("kind", _COLUMN)
def test_an_early_row_that_was_altered_is_named_and_other_kinds_are_checked(
    long_log: Database, kind: str
) -> None:
    with _altered(long_log, kind) as row:
        found = audit.verify(long_log)

    assert found.broken is not None
    assert (found.broken.kind, found.broken.problem) == (kind, "the row was edited")
    assert row in str(found.broken.row)
    assert found.rows == 2 * (_EARLY + _LATER) + 2  # the two other kinds, and how it began


def test_the_command_ends_with_status_1_and_the_row(
    long_log: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DECISIONS_DATABASE_URL", long_log.url)

    with _altered(long_log, "unit") as row:
        command = CliRunner().invoke(app, ["verify"])

    assert (command.exit_code, row in command.output) == (1, True), command.output
