"""Small, valid frames for the tests of the store."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from decisions.frames import DECISIONS, OUTCOMES, UNITS, decision_id, unit_id
from decisions.store import generations
from decisions.store.database import Database

START = datetime(2026, 1, 5, 12, tzinfo=UTC)
NOW = START + timedelta(days=1)


def units(n: int, *, start: datetime = START, first: int = 0) -> pl.DataFrame:
    minute = int(start.timestamp()) // 60
    return pl.DataFrame(
        {
            "unit_id": [unit_id(minute, first + i) for i in range(n)],
            "reference": [f"{minute} {first + i}" for i in range(n)],
            "observed_at": [start] * n,
            "payload": [f'{{"amount_minor": {i}, "note": "é\\u0000"}}' for i in range(n)],
        },
        schema=UNITS,
    )


def decided(units: pl.DataFrame, *, k: int = 3, seed: int = 1) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    n = len(units)
    weights = rng.random((n, k))
    probabilities = weights / weights.sum(axis=1, keepdims=True)
    action = rng.integers(0, k, n)
    chosen = probabilities[np.arange(n), action]
    return pl.DataFrame(
        {
            "decision_id": units.select(decision_id(pl.col("unit_id"), pl.lit(0)))["unit_id"],
            "unit_id": units["unit_id"],
            "slot": [0] * n,
            "parent_id": [None] * n,
            "generation": [0] * n,
            "arm": ["explore"] * n,
            "decided_at": units["observed_at"] + timedelta(minutes=1),
            "eligible": [list(range(k))] * n,
            "scores": rng.random((n, k)).tolist(),
            "probabilities": probabilities.tolist(),
            "action": action[:, None].astype(float).tolist(),
            "nominal": action[:, None].astype(float).tolist(),
            "propensity": chosen,
            "arm_propensity": chosen,
            "uniform": rng.random(n),
        },
        schema=DECISIONS,
    )


def outcomes(decisions: pl.DataFrame) -> pl.DataFrame:
    return decisions.select(
        "decision_id",
        pl.lit(1.0).alias("reward"),
        (pl.col("decided_at") + timedelta(hours=1)).alias("observed_at"),
    ).cast(OUTCOMES)


def begun(db: Database, domain: str = "payments") -> None:
    """Generation 0, promoted."""
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
    generations.promote(db, domain, 0, by="test", reason="baseline", now=START)
