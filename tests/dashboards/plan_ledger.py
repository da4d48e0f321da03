"""Two plants as weeks of planning leave them, for the planner's page: written by the store alone.

Their days are simulated under a rotation; how policies learned and were judged is made up.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from decisions.domains.lotsizing.forecast import forecast
from decisions.domains.lotsizing.instance import Instance, generate
from decisions.domains.lotsizing.plant import Plant, PlantState, Setups
from decisions.evaluation import Estimate, Evaluation
from decisions.frames import DECISIONS, OUTCOMES, SLOTS, UNITS, unit_id
from decisions.gate import GateRule, judge
from decisions.policy import FloatArray, IntArray
from decisions.seeds import stream
from decisions.store import artifacts, decision_log, generations
from decisions.store.database import Database
from decisions.store.decision_log import Logged
from tests.dashboards.samples import DAY, START, begun, estimate

HORIZON = 14  # periods of a nominal plan
PERIODS = 20
INSTANCE = replace(
    generate(6, 3, stream(5, "plan ledger"), name="6x3"),
    production=np.array([[0, 0, 24, 21, 9, 5], [8, 30, 0, 12, 6, 26], [9, 17, 33, 0, 20, 0]]),
)
GROUPS = ((3, 4), (2, 6), (1,))  # nobody makes item 5
COSTS = {  # cost units a period
    "idle": 75.4,
    "H1 static assignment": 18.1,
    "H2 grouped rotation": 17.4,
    "H3 improved rotation": 16.9,
    "H4 rollout": 16.2,
    "lower bound": 15.1,
}
CANDIDATES = {"pdppo-1": 16.6, "pdppo-2": 17.9, "ppo-1": 18.6, "ppo-2": 19.9}

Groups = Sequence[Sequence[int]]
Row = dict[str, Any]


def planned(
    db: Database,
    domain: str = "lotsizing",
    *,
    instance: Instance = INSTANCE,
    groups: Groups = GROUPS,
    periods: int = PERIODS,
) -> None:
    """Two plants of one instance, decided day after day; then policies learned from them."""
    begun(db, domain)
    for number in (1, 2):
        decided(db, domain, f"{instance.name}/{number}", instance, groups, periods=periods)
    judged(db, domain, instance=instance, now=START + periods * DAY)


def decided(
    db: Database, domain: str, name: str, instance: Instance, groups: Groups, *, periods: int
) -> None:
    """Units, decisions and all outcomes but the last of one plant."""
    plant, rng = Plant(instance, backend="numpy"), stream(7, "plan ledger", name)
    state = PlantState(
        rng.integers(10, 60, (1, instance.items)).astype(np.int32),
        np.array([[group[0] for group in groups]], dtype=np.int16),
        np.zeros(1, dtype=np.int32),
    )
    brought: Row = {"demand": [], "lost": [], "produced": []}
    brought |= {"setup_cost": 0.0, "lost_cost": 0.0, "holding_cost": 0.0}
    units: list[Row] = []
    decisions: list[Row] = []
    outcomes: list[Row] = []
    for period in range(periods):
        day = START + period * DAY
        observed = day - timedelta(minutes=1)
        number = unit_id(int(observed.timestamp()) // 60, int(name.rsplit("/")[-1]))
        known = {
            "plant": name,
            "instance": instance.digest,
            "period": period,
            "inventory": state.inventory[0].tolist(),
            "set_up": state.set_up[0].tolist(),
            "horizon_left": HORIZON,
        }
        units.append(
            {
                "unit_id": number,
                "reference": f"{name}/{period}",
                "observed_at": observed,
                "payload": json.dumps(known | brought),
            }
        )
        decisions.append(_decision(number, day, plant, state, groups))
        state, brought = _lived(plant, state, _rotated(state, groups), rng)
        cost = brought["setup_cost"] + brought["lost_cost"] + brought["holding_cost"]
        outcomes.append({"decision_id": number * SLOTS, "reward": -cost, "observed_at": day + DAY})
    now = START + (periods + 1) * DAY
    frames: dict[Logged, pl.DataFrame] = {
        "unit": pl.DataFrame(units, schema=UNITS),
        "decision": pl.DataFrame(decisions, schema=DECISIONS),
        "outcome": pl.DataFrame(outcomes[:-1], schema=OUTCOMES),
    }
    for kind, frame in frames.items():
        done = decision_log.append(db, domain, kind, f"{name} {kind}", frame, now=now)
        assert done.quarantined.is_empty()


def _rotated(state: PlantState, groups: Groups) -> Setups:
    """Each machine goes over to the item of its group with the least stock once that is low."""
    action = np.zeros_like(state.set_up)
    for machine, group in enumerate(groups):
        current = int(state.set_up[0, machine])
        stock = {item: int(state.inventory[0, item - 1]) for item in group}
        least = min(stock, key=lambda item: (stock[item], item), default=0)
        stays = current in stock and not (stock[least] < 9 and stock[current] > stock[least] + 35)
        action[0, machine] = current if stays else least
    return action


def _made(plant: Plant, state: PlantState, action: Setups) -> tuple[IntArray, IntArray, float]:
    """Net units by machine (M,) and by item (I,) of an action, and what its set-ups cost."""
    post, cost = plant.apply(state, action)
    chosen, instance = action[0], plant.instance
    place = (np.arange(instance.machines), np.maximum(chosen - 1, 0))
    loss = np.where(chosen != state.set_up[0], instance.setup_loss[place], 0)
    by_machine = np.where(chosen > 0, instance.production[place] - loss, 0)
    by_item = (post.inventory - state.inventory)[0].astype(np.int64)
    return by_machine, by_item, float(cost[0])


def _lived(
    plant: Plant, state: PlantState, action: Setups, rng: np.random.Generator
) -> tuple[PlantState, Row]:
    """The next state, and what the period brought, as the next unit tells it."""
    instance = plant.instance
    post, setup_cost = plant.apply(state, action)
    demand = rng.binomial(20, 0.4, (1, instance.items))
    following, lost_cost, holding_cost = plant.advance_with(post, demand)
    return following, {
        "demand": demand[0].tolist(),
        "lost": np.maximum(demand - post.inventory, 0)[0].tolist(),
        "produced": (post.inventory - state.inventory)[0].tolist(),
        "setup_cost": float(setup_cost[0]),
        "lost_cost": float(lost_cost[0]),
        "holding_cost": float(holding_cost[0]),
    }


def _decision(number: int, day: datetime, plant: Plant, state: PlantState, groups: Groups) -> Row:
    """A row of DECISIONS: the rotation's action, its plan under mean demand, its forecast."""
    instance, first = plant.instance, state
    plan: list[FloatArray] = []
    produced, costs = [], []
    for _ in range(HORIZON):
        action = _rotated(state, groups)
        by_machine, by_item, cost = _made(plant, state, action)
        plan += [action[0].astype(np.float64), by_machine.astype(np.float64)]
        produced.append(by_item)
        costs.append(cost)
        mean = np.rint(instance.mean_demand).astype(np.int64)[None]
        state = plant.advance_with(plant.apply(state, action)[0], mean)[0]
    ahead = forecast(
        instance,
        inventory=first.inventory,
        produced=np.array([produced]),
        setup_cost=np.array([costs]),
    )
    nominal = np.concatenate([*plan, ahead.rows()[0]])
    expected = ahead.setup_cost + ahead.lost_cost + ahead.holding_cost
    return {
        "decision_id": number * SLOTS,
        "unit_id": number,
        "slot": 0,
        "parent_id": None,
        "generation": 0,
        "arm": "exploit",
        "decided_at": day,
        "eligible": [],
        "scores": [-float(expected[0, 0])],
        "probabilities": [],
        "action": nominal[: 2 * instance.machines].tolist(),
        "nominal": nominal.tolist(),
        "propensity": 1.0,
        "arm_propensity": 1.0,
        "uniform": 0.5,
    }


def judged(db: Database, domain: str, *, instance: Instance, now: datetime) -> None:
    """A generation of each candidate: none is surely better than H2, which stays the champion."""
    numbers = generations.plan(
        db,
        domain,
        cutoff=now,
        policies=list(CANDIDATES),
        seed=1,
        config={},
        code_version="test",
        now=now,
    )
    champion = COSTS["H2 grouped rotation"]
    for number, (policy, cost) in zip(numbers, CANDIDATES.items(), strict=True):
        evaluation = Evaluation(
            candidate=_simulated(-cost, 0.4),
            champion=_simulated(-champion, 0.3),
            difference=replace(
                estimate(champion - cost, 0.9),
                method="paired over episodes, common random numbers",
            ),
            estimates={name: _simulated(-each, 0.25) for name, each in COSTS.items()}
            | {"lower bound": _certain(-COSTS["lower bound"])},
            checks={"illegal_actions": 0.0, "episodes": 1000.0, "demand_drift": 1.7},
        )
        generations.record_artifact(
            db,
            domain,
            number,
            artifacts.pack({"policy.json": policy.encode()}),
            rows=0,
            details={
                "plant": instance.name,
                "instance": instance.digest,
                "curve": _curve(cost, number),
            },
            now=now,
        )
        generations.record_evaluation(db, domain, number, 0, evaluation, now=now)
        generations.record_verdict(db, domain, number, judge(evaluation, GateRule()), now=now)


def _simulated(value: float, half: float) -> Estimate:
    return replace(estimate(value, half), method="mean over episodes")


def _certain(value: float) -> Estimate:
    return replace(estimate(value, 0.0), method="Lagrangian relaxation", level=1.0, n=0)


def _curve(cost: float, seed: int) -> list[list[float]]:
    """Steps, mean, lower and upper reward: from a bad beginning down to `cost`."""
    rng = stream(seed, "plan ledger", "curve")
    steps = np.arange(0, 400_001, 20_000)
    mean = (
        cost + 160 * np.exp(-steps / 45_000 * 18 / cost) + np.abs(rng.normal(0, 0.4, len(steps)))
    )
    half = 0.03 * mean
    return np.stack([steps, -mean, -mean - half, -mean + half], axis=1).tolist()
