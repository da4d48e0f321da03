from datetime import timedelta

import pytest
from typer.testing import CliRunner, Result

from decisions.cli.app import app
from decisions.errors import ArtifactAltered, StoreError
from decisions.stack.postgres import create_database
from decisions.store import artifacts, audit, generations
from decisions.store.database import Database
from tests.store.samples import NOW, START, begun


@pytest.fixture
def trained(database: Database, monkeypatch: pytest.MonkeyPatch) -> Database:
    """Champion 0; generations 1 and 2 planned, 1 trained."""
    begun(database)
    for day, policy in enumerate(("a", "b"), start=1):
        cutoff = START + timedelta(days=day)
        generations.plan(
            database,
            "payments",
            cutoff=cutoff,
            policies=[policy],
            seed=1,
            config={},
            code_version="test",
            now=cutoff,
        )
    for number in (0, 1):
        content = artifacts.pack({"a": b"%d" % number})
        generations.record_artifact(
            database, "payments", number, content, rows=1, details={}, now=NOW
        )
    monkeypatch.setenv("DECISIONS_DATABASE_URL", database.url)
    return database


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def test_a_person_promotes_and_rolls_back(trained: Database) -> None:
    forth = run("promote", "payments", "1", "--reason", "we know [better]", "--by", "Ada")
    again = run("promote", "payments", "1", "--reason", "we know", "--by", "Ada")
    back = run("promote", "payments", "0", "--reason", "complaints")

    assert (forth.exit_code, again.exit_code, back.exit_code) == (0, 0, 0)
    assert "before: generation 0 (baseline" in forth.output
    assert "now:    generation 1 (a," in forth.output
    assert "champion already" in again.output
    assert generations.champion(trained, "payments") == 0
    rows = trained.read("promotion/all").rows(named=True)
    assert [row["number"] for row in rows] == [0, 1, 0]
    assert (rows[1]["promoted_by"], rows[1]["reason"]) == ("Ada", "we know [better]")
    assert rows[2]["promoted_by"]
    assert audit.verify(trained).broken is None


def test_a_generation_that_cannot_act_is_refused(trained: Database) -> None:
    unknown = run("promote", "payments", "9", "--reason", "x")
    untrained = run("promote", "payments", "2", "--reason", "x")
    elsewhere = run("promote", "coins", "1", "--reason", "x")
    unexplained = [
        run("promote", "payments", "1", "--reason", " "),
        run("promote", "payments", "1"),
    ]
    with trained.transaction("owner") as connection:
        connection.exec_driver_sql("set local session_replication_role = replica")
        connection.exec_driver_sql("alter table artifact drop constraint artifact_check")
        connection.exec_driver_sql("update artifact set content = 'other'")
    altered = run("promote", "payments", "1", "--reason", "x")

    assert isinstance(unknown.exception, StoreError)
    assert str(unknown.exception) == "payments has no generation 9"
    assert isinstance(untrained.exception, StoreError)
    assert "train it first" in str(untrained.exception)
    assert str(elsewhere.exception) == "coins has no generation 1"
    assert [each.exit_code for each in unexplained] == [2, 2]
    assert isinstance(altered.exception, ArtifactAltered)
    assert len(trained.read("promotion/all")) == 1


def test_one_overtaken_by_a_later_promotion_is_told_so(trained: Database) -> None:
    later = NOW + timedelta(days=10_000)
    generations.promote(trained, "payments", 2, by="x", reason="x", now=later)

    done = run("promote", "payments", "1", "--reason", "x")

    assert done.exit_code == 1
    assert "generation 2 was promoted for a later time" in done.output


def test_a_promotion_for_the_past_is_what_runs_made_up_for_take(trained: Database) -> None:
    told = ["promote", "payments", "1", "--reason", "new press"]
    since = START + timedelta(days=2)

    present = run(*told)
    past = run(*told, "--since", f"{since:%Y-%m-%dT%H:%M:%S}")
    again = run(*told, "--since", f"{since:%Y-%m-%dT%H:%M:%S}")
    future = run(*told, "--since", "9000-01-01")

    assert (present.exit_code, past.exit_code, again.exit_code) == (0, 0, 0)
    assert "champion already" in again.output
    assert f"from {since:%Y-%m-%d %H:%M} UTC on take generation 1" in past.output
    assert future.exit_code == 2
    assert "is to come" in future.output
    instant = timedelta(microseconds=1)
    champions = [
        generations.champion_at(trained, "payments", time) for time in (since - instant, since)
    ]
    assert champions == [0, 1]
    assert len(trained.read("promotion/all")) == 3


def test_migrating_makes_the_schema_and_may_be_repeated(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    db = Database(create_database(postgres_url, "to_migrate"))
    monkeypatch.setenv("DECISIONS_DATABASE_URL", db.url)
    with pytest.raises(StoreError, match="run `decisions migrate` first"):
        generations.champion(db, "payments")

    assert [run("migrate").exit_code for _ in range(2)] == [0, 0]

    assert "up to date" in run("migrate").output
    assert generations.generations(db, "payments") == []
