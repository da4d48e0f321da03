"""The schema grows by files that are never edited, from nothing or with rows in it."""

import shutil
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from sqlalchemy import create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.pool import NullPool

from decisions.errors import StoreError
from decisions.evaluation import Evaluation, unchanged, unknown
from decisions.gate import GateRule, judge
from decisions.store import audit, generations, migrations
from decisions.store.database import Database, migrate
from decisions.store.decision_log import append, history
from tests.store.samples import NOW, START, begun, decided, outcomes, units

HEAD = max(path.stem[:4] for path in (migrations.SQL / "alembic" / "versions").glob("0*.py"))
REVISION = f'''"""More."""

from decisions.store.migrations import apply

revision = "9999"
down_revision = "{HEAD}"


def upgrade() -> None:
    apply("9999_more.sql")
'''

BACK_TO_FIRST = """
drop table
    measurement, diagnosis, announcement, tally, decided_through, review, correction cascade;
alter table evaluation drop constraint evaluation_role_check;
alter table evaluation add constraint evaluation_role_check check (
    role in ('candidate', 'champion', 'difference', 'estimate', 'check', 'refusal')
);
alter table verdict drop constraint verdict_outcome_check;
alter table verdict add constraint verdict_outcome_check check (
    outcome in ('promote', 'hold', 'reject')
);
delete from migration where file > '0002';
update alembic_version set version_num = '0001';
"""


def upgrade(db: Database, folder: Path) -> None:
    url = make_url(db.url).set(drivername="postgresql+psycopg")
    with create_engine(url, poolclass=NullPool).connect() as connection:
        migrations.upgrade(connection, folder=folder)


def with_another(tmp_path: Path, statement: str) -> Path:
    folder = tmp_path / "sql"
    shutil.copytree(migrations.SQL, folder)
    (folder / "alembic" / "versions" / "9999_more.py").write_text(REVISION)
    (folder / "migrations" / "9999_more.sql").write_text(statement)
    return folder


def test_migrating_again_changes_nothing(database: Database) -> None:
    migrate(database)
    migrate(database)


def test_a_further_migration_keeps_the_rows_of_the_first_schema(
    database: Database, tmp_path: Path
) -> None:
    begun(database)
    append(database, "payments", "unit", "a", units(3), now=NOW)
    append(database, "payments", "decision", "a", decided(units(3)), now=NOW)
    folder = with_another(tmp_path, "alter table decision add column extra integer; select 1;")

    upgrade(database, folder)
    upgrade(database, folder)

    stored = history(database, "payments", since=START, until=NOW, as_of=NOW)
    assert len(stored) == 3
    assert audit.verify(database).broken is None


def test_the_second_migration_counts_the_decisions_of_the_first_schema(
    database: Database,
) -> None:
    begun(database)
    for part in range(2):
        batch = units(3, first=3 * part)
        rows = decided(batch).with_columns(arm=pl.Series(["explore", "explore", "control"]))
        append(database, "payments", "unit", f"part {part}", batch, now=NOW)
        append(database, "payments", "decision", f"part {part}", rows, now=NOW)
    counted = database.read("tally/by_arm", domain="payments")
    with database.transaction("owner") as connection:
        connection.exec_driver_sql(BACK_TO_FIRST)

    migrate(database)

    assert counted.select("generation", "arm", "decisions").rows() == [
        (0, "control", 2),
        (0, "explore", 4),
    ]
    assert database.read("tally/by_arm", domain="payments").equals(counted)
    assert audit.verify(database).broken is None


def test_rows_of_the_first_schema_are_kept_and_those_of_later_ones_are_taken(
    database: Database,
) -> None:
    begun(database)
    batch, taken = units(3), decided(units(3))
    known = outcomes(taken).head(2)
    append(database, "payments", "unit", "a", batch, now=NOW)
    append(database, "payments", "decision", "a", taken, now=NOW)
    append(database, "payments", "outcome", "a", known, now=NOW)
    refused, same = unknown(n=3), unchanged("the same artifact", n=3)
    held = Evaluation(candidate=refused, champion=refused, difference=refused, refusal="no rows")
    first, second = generations.plan(
        database,
        "payments",
        cutoff=NOW,
        policies=["one", "two"],
        seed=1,
        config={},
        code_version="test",
        now=NOW,
    )
    judge_as(database, first, held)
    with database.transaction("owner") as connection:
        connection.exec_driver_sql(BACK_TO_FIRST)

    migrate(database)
    judge_as(database, first, held)  # stored already, and the same
    judge_as(database, second, same)
    later = known.head(1).with_columns(
        pl.col("observed_at") + timedelta(hours=1), reward=pl.lit(0.0)
    )
    corrected = append(database, "payments", "outcome", "b", later, now=NOW)

    verdicts = database.read("generation/timeline", domain="payments")["verdict"].to_list()
    stored = history(database, "payments", since=START, until=NOW, as_of=NOW)
    assert (corrected.written, stored["reward"].to_list()) == (1, [0.0, 1.0, None])
    assert verdicts == [None, "hold", "unchanged"]
    assert audit.verify(database).broken is None


def judge_as(database: Database, number: int, evaluation: Evaluation) -> None:
    generations.record_evaluation(database, "payments", number, 0, evaluation, now=NOW)
    verdict = judge(evaluation, GateRule())
    generations.record_verdict(database, "payments", number, verdict, now=NOW)


@pytest.mark.parametrize("table", ["measurement", "diagnosis", "announcement", "tally"])
def test_the_tables_of_the_second_migration_are_only_added_to(
    database: Database, table: str
) -> None:
    with (
        pytest.raises(StoreError, match="only ever added to"),
        database.transaction("owner") as connection,
    ):
        connection.exec_driver_sql(f"delete from {table}")  # noqa: S608


def test_a_migration_that_fails_leaves_nothing_behind(database: Database, tmp_path: Path) -> None:
    folder = with_another(tmp_path, "create table half (a integer); select 1 / 0;")

    with pytest.raises(Exception, match="division by zero"):
        upgrade(database, folder)

    with database.transaction("owner") as connection:
        found = connection.exec_driver_sql("select to_regclass('half') is null").scalar_one()
        revision = connection.exec_driver_sql("select version_num from alembic_version")
        assert (found, revision.scalar_one()) == (True, HEAD)


def test_an_edited_migration_is_an_error(database: Database, tmp_path: Path) -> None:
    folder = with_another(tmp_path, "select 1;")
    upgrade(database, folder)
    (folder / "migrations" / "9999_more.sql").write_text("select 2;")

    with pytest.raises(StoreError, match=r"9999_more.sql has digest .* never edited"):
        upgrade(database, folder)


def test_every_statement_says_its_grain_and_order() -> None:
    for path in (migrations.SQL / "queries").glob("*/*.sql"):
        text = path.read_text()
        statement = "\n".join(line for line in text.splitlines() if not line.startswith("--"))
        assert text.startswith("-- "), path
        assert "-- Grain: " in text, path
        assert statement.strip().count(";") == 1, path
        assert statement == statement.lower(), path
        if statement.startswith("select") and " from" in statement.replace("\n", " "):
            one_row = "-- Grain: one row." in text or path.stem in {"check", "count"}
            assert one_row or "order by" in statement, path
