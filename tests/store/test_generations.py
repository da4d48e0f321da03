"""Generations are planned once, and what is said of them stays."""

from datetime import timedelta

import pytest

from decisions.errors import ArtifactAltered, ConflictingRecord, LeaseLost, StoreError
from decisions.evaluation import Estimate, Evaluation, unknown
from decisions.gate import GateRule, judge
from decisions.store import artifacts, generations, leases
from decisions.store.database import Database
from tests.store.samples import NOW, START, begun


def planned(db: Database, policies: list[str]) -> list[int]:
    return generations.plan(
        db,
        "payments",
        cutoff=NOW,
        policies=policies,
        seed=7,
        config={"window_days": 30, "limit": float("inf")},
        code_version="test",
        now=NOW,
    )


def evaluated(value: float = 0.1) -> Evaluation:
    estimate = Estimate(
        value=value, lower=0.05, upper=0.15, level=0.95, method="normal", n=100, effective_n=80.5
    )
    return Evaluation(
        candidate=estimate,
        champion=estimate,
        difference=estimate,
        estimates={"dr": unknown(n=3), "ips": estimate},
        checks={"churn": 0.1, "ess": float("inf")},
        refusal="too little",
    )


def test_a_plan_is_made_once(database: Database) -> None:
    begun(database)

    assert planned(database, ["a", "b"]) == [1, 2]
    assert planned(database, ["b", "a"]) == [2, 1]
    assert planned(database, ["c", "a"]) == [3, 1]
    third = generations.generation(database, "payments", 3)
    assert (third.parent, third.policy, third.cutoff) == (0, "c", NOW)
    assert third.config == {"window_days": 30, "limit": "inf"}


def test_a_plan_needs_a_champion(database: Database) -> None:
    with pytest.raises(StoreError, match="has no champion to improve on"):
        planned(database, ["a"])
    with pytest.raises(StoreError, match="had no champion yet"):
        generations.champion(database, "payments")


def test_rolling_back_is_promoting_an_older_number(database: Database) -> None:
    begun(database)
    planned(database, ["a"])
    later = NOW + timedelta(days=1)
    generations.promote(database, "payments", 1, by="gate", reason="better", now=NOW)
    generations.promote(database, "payments", 1, by="gate", reason="better", now=NOW)
    generations.promote(database, "payments", 0, by="someone", reason="worse after all", now=later)

    assert generations.champion(database, "payments") == 0
    assert generations.champion_at(database, "payments", NOW) == 1
    assert generations.champion_at(database, "payments", START) == 0
    with pytest.raises(StoreError, match="had no champion at"):
        generations.champion_at(database, "payments", START - timedelta(seconds=1))
    with pytest.raises(StoreError, match="foreign key"):
        generations.promote(database, "payments", 9, by="gate", reason="", now=NOW)


def test_an_artifact_is_the_bytes_that_were_recorded(database: Database) -> None:
    begun(database)
    planned(database, ["a"])
    content = artifacts.pack({"model.txt": b"tree", "a.json": b"{}"})

    def record(content: bytes) -> str:
        return generations.record_artifact(
            database, "payments", 1, content, rows=10, details={"gamma": 2.5}, now=NOW
        )

    digest = record(content)

    assert record(content) == digest == artifacts.digest(content)
    assert generations.artifact(database, "payments", 1) == content
    assert artifacts.unpack(content) == {"model.txt": b"tree", "a.json": b"{}"}
    with pytest.raises(ConflictingRecord, match="digest"):
        record(b"other")
    with pytest.raises(StoreError, match="no policy yet"):
        generations.artifact(database, "payments", 0)
    with database.transaction("owner") as connection:
        connection.exec_driver_sql("set local session_replication_role = replica")
        connection.exec_driver_sql("alter table artifact drop constraint artifact_check")
        connection.exec_driver_sql("update artifact set content = 'x' where true")
    with pytest.raises(ArtifactAltered, match="the policy is not loaded"):
        generations.artifact(database, "payments", 1)


def test_bytes_that_are_no_archive_are_refused() -> None:
    with pytest.raises(ArtifactAltered):
        artifacts.unpack(b"not a tar" * 200)


def test_an_evaluation_comes_back_whole(database: Database) -> None:
    begun(database)
    planned(database, ["a"])
    given = evaluated()

    for _ in range(2):
        generations.record_evaluation(
            database, "payments", 1, 0, given, now=NOW + timedelta(hours=1)
        )

    assert generations.evaluation(database, "payments", 0) is None
    found = generations.evaluation(database, "payments", 1)
    assert found is not None
    assert found[0] == 0
    assert repr(found[1]) == repr(given)  # NaN is not equal to itself
    with pytest.raises(ConflictingRecord, match=r"candidate.*with value"):
        generations.record_evaluation(database, "payments", 1, 0, evaluated(0.2), now=NOW)


def test_a_verdict_comes_back_whole(database: Database) -> None:
    begun(database)
    planned(database, ["a"])
    given = judge(evaluated(), GateRule(limits={"churn": (0, 0.3), "absent": (0, 1)}))

    generations.record_verdict(database, "payments", 1, given, now=NOW)

    assert generations.verdict(database, "payments", 1) == given
    assert generations.verdict(database, "payments", 0) is None
    (found,) = generations.verdicts(database, "payments", NOW)
    assert (found.number, found.verdict, found.judged_at) == (1, given, NOW)


def test_a_stale_worker_writes_nothing(database: Database) -> None:
    begun(database)
    planned(database, ["a"])
    first = leases.acquire(database, "payments 1", holder="one", seconds=60)
    with pytest.raises(LeaseLost, match="worked on by one"):
        leases.acquire(database, "payments 1", holder="two", seconds=60)
    second = leases.acquire(database, "payments 1", holder="one", seconds=0)
    third = leases.acquire(database, "payments 1", holder="two", seconds=60)

    for stale in (first, second):
        with pytest.raises(LeaseLost, match="nothing of this step was written"):
            generations.record_evaluation(
                database, "payments", 1, 0, evaluated(), now=NOW, lease=stale
            )
    assert generations.evaluation(database, "payments", 1) is None
    generations.record_evaluation(database, "payments", 1, 0, evaluated(), now=NOW, lease=third)
    leases.release(database, third)
    assert leases.acquire(database, "payments 1", holder="three", seconds=1).token == 4


def test_diagnostics_are_stored_by_name(database: Database) -> None:
    begun(database)

    for hours in (0, 1):
        generations.record_diagnostics(
            database,
            "payments",
            0,
            {"entropy": 0.5, "auc": float("nan")},
            now=NOW + timedelta(hours=hours),
        )

    with pytest.raises(ConflictingRecord, match=r"with value = 0\.5"):
        generations.record_diagnostics(database, "payments", 0, {"entropy": 0.6}, now=NOW)
