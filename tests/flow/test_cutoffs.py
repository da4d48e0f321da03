"""A process runs what the DAGs run; one that is killed is followed by one that finishes."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from decisions import flow
from decisions.domain import Domain
from decisions.domains import domain_named
from decisions.errors import DataError, LeaseLost
from decisions.policy import Policy
from decisions.store import cycles, generations
from decisions.store.database import Database
from tests.conftest import copied
from tests.integration.coins import COINS

FIRST = datetime(2026, 3, 2, tzinfo=UTC)  # a Monday
DAYS = [FIRST + timedelta(days=day) for day in range(6)]
CUTOFFS = flow.scheduled(COINS, DAYS)
KEPT = (
    "number",
    "policy",
    "parent",
    "cutoff",
    "verdict",
    "value",
    "difference",
    "decisions_logged",
)


class Killed(BaseException):
    """What ends a process in the middle of a step, for this test."""


def processed(db: Database, *, killed_at: int | None = None) -> list[str]:
    """The steps that began, up to the one at which it was killed."""
    begun: list[str] = []

    def report(cutoff: datetime, step: str) -> None:
        begun.append(f"{cutoff:%d} {step}")
        if len(begun) - 1 == killed_at:
            raise Killed

    flow.process_cutoffs(db, COINS, CUTOFFS, first=DAYS[0], seed=11, holder="x", report=report)
    return begun


def outcome(db: Database) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """What generations, decisions and diagnoses there are."""
    timeline = db.read("generation/timeline")
    last = CUTOFFS[-1]
    rows = flow.history(db, COINS, since=DAYS[0] - flow.DAY, until=last, as_of=last)
    return (
        timeline.select(name for name in KEPT if name in timeline.columns),
        rows.select("decision_id", "action", "generation", "propensity", "reward", "decided_at"),
        db.read("diagnosis/history", domain=COINS.name).select("cutoff", "series", "verdict"),
    )


def test_cutoffs_are_processed_from_the_first_day_to_a_diagnosis_each(database: Database) -> None:
    begun = processed(database)

    assert sorted(cycles.diagnosed(database, COINS.name)) == CUTOFFS
    assert generations.generation(database, COINS.name, 0).cutoff == DAYS[0] - flow.DAY
    assert begun[:2] == ["02 decide", "02 diagnose"]
    assert begun[-6:-1] == [
        "07 train 9",
        "07 train 10",
        "07 evaluate 9",
        "07 evaluate 10",
        "07 diagnose",
    ]
    champion = generations.champion(database, COINS.name)
    assert generations.generation(database, COINS.name, champion).policy == "means"
    assert processed(database) == [f"{cutoff:%d} done" for cutoff in CUTOFFS]


def arrived(db: Database, domain: Domain, days: list[datetime]) -> list[datetime]:
    """The days before these on which units arrived, as the run that ends with them would want."""
    flow.process_cutoffs(
        db,
        domain,
        flow.scheduled(domain, days),
        first=days[0],
        seed=11,
        holder="x",
        report=lambda _at, _step: None,
    )
    batches = db.read("seal/batches", domain=domain.name, kind="unit")["batch"]
    return sorted(datetime.fromisoformat(batch.removeprefix("arrive/")) for batch in batches)


def test_a_longer_run_after_a_shorter_one_leaves_no_day_out(database: Database) -> None:
    thrice_weekly = replace(COINS, cadence=timedelta(days=7) / 3)
    days = [FIRST + flow.DAY * day for day in range(13)]  # its last cut-off is on a Saturday

    assert arrived(database, thrice_weekly, days[-4:])[0] == days[-5]
    assert arrived(database, thrice_weekly, days) == [days[0] - flow.DAY, *days[:-1]]


def test_nothing_is_put_before_the_history_of_successive_units(database: Database) -> None:
    successive = replace(COINS, cadence=timedelta(days=7) / 3, successive=True)
    days = [FIRST + flow.DAY * day for day in range(13)]
    begun = arrived(database, successive, days[-4:])

    assert arrived(database, successive, days) == begun
    assert set(flow.scheduled(successive, days)) == set(
        cycles.diagnosed(database, successive.name)
    )


@pytest.mark.parametrize("error", [DataError, np.linalg.LinAlgError])
def test_a_cutoff_that_cannot_be_trained_keeps_none_from_the_next(
    database: Database, error: type[Exception]
) -> None:
    trainings: list[int] = []

    def train(log: pl.LazyFrame, earlier: Sequence[Policy], rng: np.random.Generator) -> Policy:
        trainings.append(1)
        if len(trainings) == 1:
            raise error("no row explores")
        return COINS.candidates["means"](log, earlier, rng)

    domain = replace(COINS, candidates={"means": train})
    said = rf"1 cut-off failed; the first, 2026-03-03: {error.__name__}: no row explores"
    with pytest.raises(DataError, match=said) as raised:
        arrived(database, domain, DAYS)
    assert isinstance(raised.value.__cause__, error)

    assert sorted(cycles.diagnosed(database, COINS.name)) == [*CUTOFFS[:1], *CUTOFFS[2:]]
    arrived(database, domain, DAYS)
    assert sorted(cycles.diagnosed(database, COINS.name)) == CUTOFFS


def test_a_step_that_another_worker_took_over_is_repeated(database: Database) -> None:
    lost: list[str] = []

    def report(_cutoff: datetime, step: str) -> None:
        if step.startswith("train") and not lost:
            lost.append(step)
            raise LeaseLost("another worker has taken it over")

    flow.process_cutoffs(database, COINS, CUTOFFS, first=FIRST, seed=1, holder="x", report=report)

    assert lost
    assert sorted(cycles.diagnosed(database, COINS.name)) == CUTOFFS


def test_a_killed_process_is_resumed_to_the_same_end(
    database: Database, postgres_url: str, template: str
) -> None:
    for step in (1, 3, 5, 4, 4, 4):
        with pytest.raises(Killed):
            processed(database, killed_at=step)
    processed(database)

    with copied(postgres_url, template) as undisturbed:
        processed(undisturbed)
        wanted = outcome(undisturbed)
    for frame, other in zip(outcome(database), wanted, strict=True):
        assert frame.equals(other)


def test_weeks_begin_on_mondays_and_a_day_has_one_cutoff() -> None:
    weekly = domain_named("lotsizing")

    thrice_weekly = domain_named("payments_published")  # by cron on days 1, 4 and 6 of the week

    assert flow.scheduled(weekly, DAYS) == [FIRST + timedelta(hours=2)]
    assert [at.isoweekday() for at in flow.scheduled(thrice_weekly, DAYS)] == [1, 4, 6]
    assert flow.scheduled(weekly, DAYS[1:]) == []
    assert len(flow.scheduled(COINS, DAYS)) == len(DAYS)
