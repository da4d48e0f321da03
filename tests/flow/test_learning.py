"""Which candidates a cut-off plans."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import polars as pl

from decisions import flow
from decisions.domain import Domain
from decisions.store.database import Database
from tests.integration.coins import COINS

START = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def planned(db: Database, domain: Domain, *, day: int) -> dict[str, str]:
    """The verdicts of a day's cut-off, by candidate."""
    now = START + day * DAY
    flow.begin(db, domain, now=START, seed=11)
    flow.catch_up(db, domain, until=now, holder="test")
    flow.settle(db, domain, as_of=now, holder="test")
    for number in flow.plan_generations(db, domain, cutoff=now, seed=11):
        flow.train_generation(db, domain, number, holder="test")
        flow.evaluate_generation(db, domain, number, holder="test")
    flow.judge_cutoff(db, domain, cutoff=now, holder="test")
    rows = db.read("generation/described", domain=domain.name).filter(pl.col("cutoff") == now)
    return dict(rows.select("policy", "outcome").iter_rows())


def test_what_was_rejected_is_not_trained_again_until_its_recipe_changes(
    database: Database,
) -> None:
    fixed = replace(COINS, recipes={"worst": "first", "means": "first"})

    days = [planned(database, fixed, day=day) for day in (3, 4)]
    again = planned(database, fixed, day=3)
    changed = planned(database, replace(fixed, recipes={"worst": "second"}), day=5)

    assert days[0] == {"means": "promote", "worst": "reject"}
    assert set(days[1]) == {"means"}
    assert again == days[0]
    assert set(changed) == {"means", "worst"}


def test_what_learns_from_history_is_trained_at_every_cut_off(database: Database) -> None:
    days = [planned(database, COINS, day=day) for day in (3, 4)]

    assert days[0]["worst"] == "reject"
    assert set(days[1]) == {"means", "worst"}


def test_a_cut_off_made_up_for_ignores_later_verdicts(database: Database) -> None:
    fixed = replace(COINS, recipes={"worst": "first"})
    later = planned(database, fixed, day=5)

    earlier = planned(database, fixed, day=4)

    assert later["worst"] == "reject"
    assert set(earlier) == {"means", "worst"}
