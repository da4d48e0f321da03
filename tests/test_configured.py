"""Commands, tasks and pages run the domain that is configured, and replay knows who decided."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from decisions import flow
from decisions.configured import configured_domain, configured_domains
from decisions.domain import Domain
from decisions.domains.payments import DOMAIN
from decisions.domains.payments.transactions import with_transactions
from decisions.errors import DataError
from decisions.replay import explain, replay, sample
from decisions.settings import Settings
from decisions.store import decision_log
from decisions.store.database import Database
from tests.domains.payments.test_payments_transactions import (
    N,
    attempts,
    decisions,
    outcomes,
    spans,
)

START = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
PLANT = Path(__file__).parents[1] / "decisions/domains/lotsizing/instances/tiny_2x1.json"


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A folder with attempts and outcomes."""
    attempts().write_parquet(tmp_path / "attempts.parquet")
    outcomes().write_parquet(tmp_path / "outcomes.parquet")
    return tmp_path


def test_what_is_configured_decides_who_decides(shop: Path) -> None:
    here = configured_domain("payments", Settings(payments_transactions=str(shop)))
    decisions().write_parquet(shop / "decisions.parquet")
    there = configured_domain("payments", Settings(payments_transactions=str(shop)))

    assert here.world is not None
    assert here.logged is None
    assert there.world is None
    assert there.logged is not None
    assert configured_domain("payments", Settings()) is DOMAIN


def test_an_own_plant_is_the_lot_sizing_that_everyone_sees() -> None:
    given = Settings(lotsizing_plant=PLANT)

    own = configured_domain("lotsizing", given)

    assert own.actions != configured_domain("lotsizing", Settings()).actions
    assert {domain.name for domain in configured_domains(given)} >= {"payments", "lotsizing"}
    with pytest.raises(DataError, match="no domain 'nosuch'"):
        configured_domain("nosuch", given)


def test_the_specimen_that_swings_runs_beside_simulated_payments_alone(shop: Path) -> None:
    given = Settings(payments_transactions=str(shop))

    assert "payments_published" in {domain.name for domain in configured_domains(Settings())}
    assert "payments_published" not in {domain.name for domain in configured_domains(given)}


@pytest.fixture
def ingested(database: Database, shop: Path) -> Domain:
    """Payments whose decisions another system took, stored."""
    decisions().write_parquet(shop / "decisions.parquet")
    domain = configured_domain("payments", Settings(payments_transactions=str(shop)))
    flow.begin(database, domain, now=START, seed=5)
    flow.ingest_log(database, domain, start=START, end=START + DAY, holder="test")
    return domain


def test_decisions_that_another_system_took_are_never_recomputed(
    database: Database, ingested: Domain
) -> None:
    ids = [row["decision_id"] for row in stored(database)]

    for domain in (ingested, DOMAIN, with_transactions(DOMAIN, spans())):
        again = replay(database, domain, ids)
        words, equal = explain(database, domain, ids[0])
        assert (again.stored.height, again.elsewhere.height) == (0, N)
        assert equal is None
        assert "taken elsewhere" in words
        assert "NOT EQUAL" not in words
        assert sample(database, domain, 10, 1) == (N, N, [])


def test_decisions_of_both_kinds_are_told_apart_row_by_row(
    database: Database, ingested: Domain
) -> None:
    later = attempts().with_columns(
        observed_at=attempts()["observed_at"] + DAY, reference="own " + attempts()["reference"]
    )
    own = replace(with_transactions(DOMAIN, spans(attempts=later)), name=ingested.name)
    taken = flow.catch_up(database, own, until=START + 2 * DAY, holder="test")

    present, elsewhere, ids = sample(database, own, 1000, 1)

    assert (taken, present, elsewhere, len(ids)) == (N, 2 * N, N, N)
    assert replay(database, own, ids).equal


def stored(database: Database) -> list[dict[str, int]]:
    rows = decision_log.history(
        database, "payments", since=START, until=START + DAY, as_of=START + DAY
    )
    return rows.select("decision_id").to_dicts()


def test_the_command_replays_the_configured_domain(
    database: Database, ingested: Domain, shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DECISIONS_DATABASE_URL", database.url)
    monkeypatch.setenv("DECISIONS_PAYMENTS_TRANSACTIONS", str(shop))
    monkeypatch.setenv("DECISIONS_HOME", str(shop / "home"))
    app = typer.Typer()
    app.command()(import_module("decisions.cli.replay").replay)
    decision = str(stored(database)[0]["decision_id"])

    explained = CliRunner().invoke(app, [decision, "--domain", ingested.name])

    assert explained.exit_code == 0
    assert "taken again  no: taken elsewhere" in explained.stdout
