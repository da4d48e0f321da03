"""What `decisions report` reads from a ledger, and what it misses."""

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from decisions.cli.app import app
from decisions.cli.standing import shortcomings
from decisions.store.database import Database


def test_a_small_ledger_is_reported_domain_by_domain_and_what_it_lacks_is_said(
    ledger: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DECISIONS_DATABASE_URL", ledger.url)

    result = CliRunner().invoke(app, ["report", "--json"])

    assert result.exit_code == 1
    found = json.loads(result.stdout.splitlines()[-1])
    assert (found["name"], found["ok"]) == ("report", False)
    assert "payments_published has no generation" in found["missing"]
    domains = {each["domain"]: each for each in found["domains"]}
    payments = domains["payments"]
    assert (payments["generations"], payments["cutoffs"]) == (32, 16)
    assert sum(payments["verdicts"].values()) + payments["unjudged"] == 32
    assert domains["open_bandit"]["refusals"] == 1
    [squarecb] = [each for each in payments["series"] if each["series"] == "squarecb"]
    assert squarecb["verdict"] == "oscillating"
    assert squarecb["generations"] == 16
    assert 0 < squarecb["p"] < 0.01
    assert squarecb["action"]


def series(name: str, verdict: str, generations: int = 22) -> dict[str, Any]:
    words = {"explanation": "It swings.", "action": "Look."}
    return {"series": name, "verdict": verdict, "generations": generations, **words}


def standing(domain: str, *found: dict[str, Any], **changes: int) -> dict[str, Any]:
    return {"domain": domain, "unjudged": 0, "refusals": 0, "series": list(found)} | changes


STEADY = standing("payments", series("stabilised", "stable"), series("deployed", "stable"))
SWINGING = standing("payments_published", series("softmax", "oscillating"))


def test_a_first_day_is_well_where_practice_swings_and_the_stabilised_series_does_not() -> None:
    assert shortcomings([STEADY, SWINGING, standing("open_bandit", refusals=3)]) == []


def test_the_published_practice_is_not_wanted_beside_transactions_of_ones_own() -> None:
    assert shortcomings([STEADY], simulated=False) == []


@pytest.mark.parametrize(
    ("standings", "says"),
    [
        ([STEADY | {"refusals": 1}, SWINGING], "refused evaluations of payments: 1"),
        ([STEADY, SWINGING | {"unjudged": 2}], "2 candidates of payments_published have no"),
        ([STEADY], "payments_published has no generation"),
        (
            [STEADY, standing("payments_published", series("softmax", "oscillating", 19))],
            "no series of payments_published over 20 generations is called oscillating",
        ),
        (
            [standing("payments", series("stabilised", "stable", 19)), SWINGING],
            "payments has no series stabilised of 20 generations",
        ),
        (
            [standing("payments", series("stabilised", "oscillating")), SWINGING],
            "stabilised of payments is oscillating",
        ),
    ],
)
def test_what_a_first_day_lacks_is_named(standings: list[dict[str, Any]], says: str) -> None:
    [missing] = shortcomings(standings)

    assert missing.startswith(says)
