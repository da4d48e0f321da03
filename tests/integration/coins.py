"""A domain of three coins: tiny, but whole. The best coin depends on the unit's colour."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from decisions.actions import ActionSet
from decisions.domain import Domain
from decisions.evaluation import Evaluation, mean_estimate
from decisions.gate import GateRule
from decisions.policy import BoolArray, Draw, FloatArray, Policy, choose, pick
from decisions.seeds import RowKeys

CHANCE = np.array([[0.2, 0.5, 0.8], [0.8, 0.5, 0.2]])  # by colour and coin
UNITS = pl.Schema({"colour": pl.Int64(), "weight": pl.Float64(), "parent_id": pl.Int64()})
EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


@dataclass(frozen=True)
class Table:
    """Probabilities by colour, (2, 3); the score is the same number."""

    shares: tuple[tuple[float, ...], ...]

    def probabilities(self, context: pl.DataFrame, eligible: BoolArray) -> FloatArray:
        p = np.where(eligible, np.array(self.shares)[context["colour"].to_numpy()], 0.0)
        return p / p.sum(axis=1, keepdims=True)

    def act(self, context: pl.DataFrame, eligible: BoolArray, keys: RowKeys) -> Draw:
        p = self.probabilities(context, eligible)
        uniform = keys.uniforms("action")[:, 0]
        action = choose(p, uniform)
        return Draw(
            action=action[:, None].astype(float),
            nominal=p.argmax(axis=1)[:, None].astype(float),
            propensity=pick(p, action),
            arm=np.full(len(p), "explore"),
            arm_propensity=pick(p, action),
            uniform=uniform,
            probabilities=p,
            scores=p,
        )


@dataclass(frozen=True)
class CoinWorld:
    """`per_day` units a day; an outcome a minute after its decision; a loss may be retried."""

    per_day: int = 300

    def arrivals(self, start: datetime, end: datetime, settled: pl.DataFrame) -> pl.DataFrame:
        day = (start - EPOCH) // timedelta(days=1)
        ranks = np.arange(self.per_day)
        u = RowKeys(3, day * 1_000_000 + ranks).uniforms("unit", columns=2)
        first = pl.DataFrame(
            {
                "reference": [f"{day}-{rank}" for rank in ranks],
                "observed_at": [
                    start + timedelta(seconds=60 * int(rank) + 0.25) for rank in ranks
                ],
                "colour": (u[:, 0] < 0.5).astype(np.int64),
                "weight": u[:, 1] * 1e-9,
                "parent_id": [None] * self.per_day,
            },
            schema={"reference": pl.String(), "observed_at": pl.Datetime("us", "UTC")}
            | dict(UNITS),
        )
        lost = settled.filter((pl.col("reward") == 0) & pl.col("parent_id").is_null()).head(5)
        again = lost.select(
            pl.col("reference") + "-again",
            pl.lit(start).cast(pl.Datetime("us", "UTC")).alias("observed_at"),
            "colour",
            "weight",
            pl.col("decision_id").alias("parent_id"),
        )
        return pl.concat([first, again])

    def outcomes(self, decisions: pl.DataFrame, as_of: datetime) -> pl.DataFrame:
        colour = decisions["colour"].to_numpy()
        action = decisions["action"].list.first().cast(pl.Int64).to_numpy()
        u = RowKeys(4, decisions["unit_id"].to_numpy()).uniforms("outcome")[:, 0]
        reward = (u < CHANCE[colour, action]).astype(np.float64) if len(u) else u
        return decisions.select(
            "decision_id",
            pl.Series("reward", reward, dtype=pl.Float64()),
            observed_at=pl.col("decided_at") + timedelta(minutes=1),
        ).filter(pl.col("observed_at") <= as_of)


def observe(units: pl.LazyFrame) -> pl.LazyFrame:
    return units.select("colour", "weight")


def eligible(context: pl.DataFrame) -> BoolArray:
    return np.ones((context.height, 3), dtype=np.bool_)


def train_means(
    history: pl.LazyFrame, predecessors: Sequence[Policy], rng: np.random.Generator
) -> Policy:
    seen = history.collect().filter(pl.col("reward").is_not_null())
    colour = seen["colour"].to_numpy()
    action = seen["action"].list.first().to_numpy().astype(int)
    reward, n = seen["reward"].to_numpy(), np.zeros((2, 3)) + 1e-9
    total = np.zeros((2, 3))
    np.add.at(n, (colour, action), 1)
    np.add.at(total, (colour, action), reward)
    best = (total / n).argmax(axis=1)
    return Table(tuple(tuple(0.8 if k == b else 0.1 for k in range(3)) for b in best))


def train_worst(
    history: pl.LazyFrame, predecessors: Sequence[Policy], rng: np.random.Generator
) -> Policy:
    return Table(((0.8, 0.1, 0.1), (0.1, 0.1, 0.8)))


def evaluate(
    candidate: Policy, champion: Policy, data: pl.LazyFrame, rng: np.random.Generator
) -> Evaluation:
    seen = data.collect().filter(pl.col("reward").is_not_null())
    context = observe(seen.lazy()).collect()
    action = seen["action"].list.first().to_numpy().astype(np.int64)
    weighted = [
        pick(policy.probabilities(context, eligible(context)), action)
        / seen["propensity"].to_numpy()
        * seen["reward"].to_numpy()
        for policy in (candidate, champion)
        if isinstance(policy, Table)
    ]
    return Evaluation(
        candidate=mean_estimate(weighted[0]),
        champion=mean_estimate(weighted[1]),
        difference=mean_estimate(weighted[0] - weighted[1]),
        checks={"matured": float(seen.height)},
    )


def dump(policy: Policy) -> dict[str, bytes]:
    assert isinstance(policy, Table)
    return {"table.json": json.dumps(policy.shares).encode()}


def load(files: dict[str, bytes]) -> Policy:
    return Table(tuple(tuple(row) for row in json.loads(files["table.json"])))


def sample(n: int, rng: np.random.Generator) -> pl.DataFrame:
    return pl.DataFrame(
        {"colour": rng.integers(0, 2, n), "weight": rng.random(n), "parent_id": [None] * n},
        schema=UNITS,
    )


COINS = Domain(
    name="coins",
    title="Coins",
    reward="heads a toss",
    units=UNITS,
    sample=sample,
    actions=ActionSet(("left", "middle", "right")),
    baseline=Table(((1 / 3, 1 / 3, 1 / 3), (1 / 3, 1 / 3, 1 / 3))),
    observe=observe,
    eligible=eligible,
    candidates={"means": train_means, "worst": train_worst},
    evaluate=evaluate,
    gate=GateRule(limits={"matured": (50, float("inf"))}),
    dump=dump,
    load=load,
    maturity=timedelta(hours=1),
    holdout=timedelta(days=1),
    window=timedelta(days=2),
    world=CoinWorld(),
)


def with_world(world: CoinWorld) -> Domain:
    return replace(COINS, world=world)
