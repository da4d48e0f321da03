"""A store with a few judged generations, one of them refused and one promoted."""

from datetime import UTC, datetime, timedelta

import numpy as np

from decisions.evaluation import Estimate, Evaluation, unknown
from decisions.gate import GateRule, judge
from decisions.store import artifacts, generations
from decisions.store.database import Database

START = datetime(2026, 1, 5, tzinfo=UTC)
DAY = timedelta(days=1)


def estimate(value: float, half: float) -> Estimate:
    return Estimate(
        value=value,
        lower=value - half,
        upper=value + half,
        level=0.95,
        method="DR",
        n=1000,
        effective_n=700.0,
    )


def begun(db: Database, domain: str = "payments") -> None:
    generations.begin(
        db,
        domain,
        policy="baseline",
        cutoff=START,
        seed=1,
        config={},
        code_version="test",
        now=START,
    )
    generations.promote(db, domain, 0, by="begin", reason="the baseline comes first", now=START)


def passed(db: Database, now: datetime) -> int:
    """One candidate that passed the gate and was not promoted."""
    [number] = generations.plan(
        db,
        "payments",
        cutoff=now,
        policies=["squarecb"],
        seed=1,
        config={},
        code_version="test",
        now=now,
    )
    better = Evaluation(
        candidate=estimate(0.9, 0.01),
        champion=estimate(0.88, 0.01),
        difference=estimate(0.02, 0.005),
    )
    generations.record_evaluation(db, "payments", number, 0, better, now=now)
    generations.record_verdict(db, "payments", number, judge(better, GateRule()), now=now)
    return number


def judged(db: Database, domain: str = "payments", *, cutoffs: int = 5) -> None:
    """Two candidates a day: one improves a little each day, one is refused."""
    begun(db, domain)
    rng = np.random.default_rng(3)
    for day in range(1, cutoffs + 1):
        now = START + DAY * day
        numbers = generations.plan(
            db,
            domain,
            cutoff=now,
            policies=["squarecb", "fastcb"],
            seed=1,
            config={},
            code_version="test",
            now=now,
        )
        champion = generations.champion(db, domain)
        gain = 0.012 / day + float(rng.normal(0, 0.002)) - 0.004 * (day > 3)
        evaluations = [
            Evaluation(
                candidate=estimate(0.88 + 0.004 * day, 0.012),
                champion=estimate(0.875 + 0.004 * day, 0.012),
                difference=estimate(gain, 0.005),
            ),
            Evaluation(
                candidate=unknown(n=900),
                champion=unknown(n=900),
                difference=unknown(n=900),
                refusal="candidate: unsupported: effective sample size 12.0 of 900 rows",
            )
            if day % 2
            else Evaluation(
                candidate=estimate(0.87, 0.02),
                champion=estimate(0.89, 0.01),
                difference=estimate(-0.02, 0.008),
            ),
        ]
        for number, evaluation in zip(numbers, evaluations, strict=True):
            content = artifacts.pack({"policy.json": f"{number}".encode()})
            generations.record_artifact(db, domain, number, content, rows=10, details={}, now=now)
            generations.record_evaluation(db, domain, number, champion, evaluation, now=now)
            verdict = judge(evaluation, GateRule())
            generations.record_verdict(db, domain, number, verdict, now=now)
            if verdict.promoted:
                generations.promote(db, domain, number, by="gate", reason="passed", now=now)


def later(db: Database, *, minutes: int) -> None:
    """As if so much time had passed since leases were taken and given back."""
    with db.transaction() as connection:
        connection.exec_driver_sql(
            f"update lease set expires_at = expires_at - interval '{minutes} minutes'"  # noqa: S608
        )


def planned(database: Database, domain: str, *cutoffs: datetime) -> None:
    """A baseline, and candidates of some cut-offs that nobody has trained."""
    begun(database, domain)
    for cutoff in cutoffs:
        generations.plan(
            database,
            domain,
            cutoff=cutoff,
            policies=["one", "two"],
            seed=1,
            config={},
            code_version="test",
            now=cutoff,
        )
