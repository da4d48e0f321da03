"""Periods of a 20x10 plant a second: one compiled call for a batch against one-at-a-time loops.

Every side gets the same model, the full observation and possible actions that were drawn
beforehand, and lives whole episodes with their resets. Sides take turns in rounds of one run, and
a ratio is the median over rounds. The peer ("plain") is a single Gymnasium environment as they
are usually written, with a loop over machines and numpy over items; its costs and observations
are checked against ours on the same demand first. Our own `PlantEnv` is shown as well: it is one
plant in the same compiled kernel, so what a batch gains on it is the price of calling from Python
once a period. `PlantVectorEnv` is the batch through Gymnasium's interface, which copies what it
returns. Wall-clock speeds of a machine that does other work say little, and load flatters the
ratio of two threads to one. So the bar is on what one thread does in a second of its own processor
time, each side in turn: the project's 200 times the peer.
"""

import os
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from decisions.cli.report import Workbench
from decisions.domains.lotsizing.batch import PlantBatch
from decisions.domains.lotsizing.environment import PlantEnvironment
from decisions.domains.lotsizing.gymnasium_environments import (
    SEED,
    PlantEnv,
    PlantVectorEnv,
    first_episode,
)
from decisions.domains.lotsizing.instance import Instance, packaged
from decisions.domains.lotsizing.plant import Plant
from decisions.domains.lotsizing.simulation import realised_demand
from decisions.policy import IntArray
from decisions.rl.environment import Features
from decisions.seeds import RowKeys, stream

THREADS, ROWS, ROUNDS, ROUND_S = 2, 4096, 9, 0.7
IDLE_LOAD = 0.5  # of the last minute, before we begin
WANTED, WANTED_RATIO = 5e6, 200
PROCESSOR = ", by its processor time"

Step = Callable[[], None]
Actions = npt.NDArray[np.int64]


class PlainEnv(gymnasium.Env[Features, Actions]):
    """The same plant as a plain Gymnasium environment: a loop over machines, numpy over items."""

    def __init__(self, instance: Instance) -> None:
        """Nothing is prepared: the instance's arrays are read as they are."""
        self.instance = instance
        machines, items = instance.machines, instance.items
        width = items + machines * (items + 1) + 1
        self.observation_space = spaces.Box(0.0, 1.0, (width,), dtype=np.float32)
        self.action_space = spaces.MultiDiscrete(np.full(machines, items + 1))

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Features, dict[str, Any]]:
        """A random first state and the demand of the whole episode."""
        super().reset(seed=seed, options=options)
        rng, instance = self.np_random, self.instance
        set_up = [rng.choice(np.flatnonzero(row)) + 1 for row in instance.production]
        demand = rng.binomial(20, 0.4, size=(instance.horizon, instance.items))
        self.begin(rng.integers(0, instance.capacity), np.array(set_up), demand)
        return self._observation(), {}

    def begin(self, inventory: IntArray, set_up: IntArray, demand: IntArray) -> None:
        """An episode from a state, with its demand (periods, I)."""
        self.inventory, self.set_up, self.demand, self.period = inventory, set_up, demand, 0

    def step(self, action: Actions) -> tuple[Features, float, bool, bool, dict[str, Any]]:
        """One period."""
        instance, setup = self.instance, 0.0
        for machine, item in enumerate(action):
            if item > 0:
                quantity = instance.production[machine, item - 1]
                if self.set_up[machine] != item:
                    quantity -= instance.setup_loss[machine, item - 1]
                    setup += instance.setup_cost[machine, item - 1]
                self.inventory[item - 1] += quantity
            self.set_up[machine] = item
        left = self.inventory - self.demand[self.period]
        self.inventory = np.minimum(np.maximum(left, 0), instance.capacity)
        lost = float(instance.lost_sales_cost @ np.maximum(-left, 0))
        holding = float(instance.holding_cost @ self.inventory)
        self.period += 1
        info = {"setup_cost": setup, "lost_cost": lost, "holding_cost": holding}
        truncated = self.period == instance.horizon
        return self._observation(), -float(setup + lost + holding), False, truncated, info

    def _observation(self) -> Features:
        codes = np.zeros((self.instance.machines, self.instance.items + 1))
        codes[np.arange(self.instance.machines), self.set_up] = 1
        time = [self.period / self.instance.horizon]
        parts = (self.inventory / self.instance.capacity, codes.ravel(), time)
        return np.concatenate(parts).astype(np.float32)


def run(bench: Workbench) -> None:
    """Checks that all sides are one model, then times them in turn."""
    load = os.getloadavg()[0]
    instance = packaged("20x10")
    environment = PlantEnvironment(Plant(instance, threads=THREADS))
    check_same_model(bench, instance)
    sides: dict[str, tuple[Step, int]] = {
        "batch": (_batch(environment), ROWS),
        "batch, 1 thread": (_batch(PlantEnvironment(Plant(instance))), ROWS),
        "PlantVectorEnv": (_vector(environment), ROWS),
        "PlantEnv": (_single(PlantEnv(PlantEnvironment(Plant(instance)))), 1),
        "plain": (_single(PlainEnv(instance)), 1),
    }
    clocks = {"": time.perf_counter, PROCESSOR: time.thread_time}
    speeds: dict[str, list[float]] = {f"{name}{clock}": [] for name in sides for clock in clocks}
    for _ in bench.track(range(ROUNDS), "rounds"):
        for name, (step, rows) in sides.items():
            began = {clock: read() for clock, read in clocks.items()}
            calls = _calls(step)
            for clock, read in clocks.items():
                speeds[name + clock].append(calls * rows / (read() - began[clock]))
    _report(bench, speeds, load)


def check_same_model(bench: Workbench, instance: Instance) -> None:
    """The plain environment costs what ours does, and one thread the same bits as two."""
    ours, plain = PlantEnv(PlantEnvironment(Plant(instance))), PlainEnv(instance)
    plant = ours.environment.plant
    worst, actions = 0.0, _actions(instance, 100, "parity")
    for series in range(5):
        ours.reset(seed=series)
        key = RowKeys(SEED, np.array([first_episode(series)], dtype=np.int64))
        start = plant.reset(key)
        demand = realised_demand(plant, key, instance.horizon)[0].astype(np.int64)
        plain.begin(start.inventory[0].astype(np.int64), start.set_up[0].astype(np.int64), demand)
        for action in actions:
            seen, reward, *_ = ours.step(action)
            theirs, their_reward, *_ = plain.step(action)
            worst = max(worst, abs(reward - their_reward), float(abs(seen - theirs).max()))
    bench.check(
        "largest difference from the plain environment, 500 periods",
        worst,
        "<= 1e-6",
        ok=worst <= 1e-6,
    )
    one, two = (
        PlantBatch(PlantEnvironment(Plant(instance, threads=threads)), _episodes(ROWS))
        for threads in (1, THREADS)
    )
    chosen = _actions(instance, 120 * ROWS, "threads").reshape(120, ROWS, instance.machines)
    same = True
    for action in chosen:
        one.step(action)
        two.step(action)
        same &= bool(
            (one.reward == two.reward).all() and (one.observation == two.observation).all()
        )
    bench.check(f"{THREADS} threads give the bits of one", str(same), "True", ok=same)


def _report(bench: Workbench, speeds: dict[str, list[float]], load: float) -> None:
    idle = load < IDLE_LOAD
    bench.check("load average before the run", load, f"idle below {IDLE_LOAD}", ok=None)
    bars = {"batch": f">= {WANTED:.0e} when idle"}
    ratios = {
        ("batch, 1 thread" + PROCESSOR, "plain" + PROCESSOR): f">= {WANTED_RATIO}",
        ("batch", "plain"): "reported",
        ("batch", "PlantEnv"): "reported",
    }
    shown = ["batch", "batch, 1 thread", "PlantVectorEnv", "PlantEnv", "plain"]
    for name in (*shown, "batch, 1 thread" + PROCESSOR, "plain" + PROCESSOR):
        value = median(speeds[name])
        bench.check(
            f"{name}: periods a second ({_size(name)})",
            value,
            bars.get(name, "reported"),
            ok=value >= WANTED if name in bars and idle else None,
            interval=(min(speeds[name]), max(speeds[name])),
        )
    for (side, peer), bar in ratios.items():
        each = [a / b for a, b in zip(speeds[side], speeds[peer], strict=True)]
        bench.check(
            f"{side} over {peer.removesuffix(PROCESSOR)}, median of {ROUNDS} rounds",
            median(each),
            bar,
            ok=None if bar == "reported" else median(each) >= WANTED_RATIO,
            interval=(min(each), max(each)),
        )


def _size(name: str) -> str:
    threads = f"{THREADS} threads" if name in ("batch", "PlantVectorEnv") else "1 thread"
    return threads if name.startswith(("PlantEnv", "plain")) else f"{threads}, {ROWS} plants"


def _calls(step: Step) -> int:
    """How many calls at least ROUND_S seconds took."""
    calls, began = 0, time.perf_counter()
    while time.perf_counter() - began < ROUND_S:
        for _ in range(8):
            step()
        calls += 8
    return calls


def _batch(environment: PlantEnvironment) -> Step:
    batch = PlantBatch(environment, _episodes(ROWS))
    return _in_turn(batch.step, _many_actions(environment.plant.instance))


def _vector(environment: PlantEnvironment) -> Step:
    vector = PlantVectorEnv(environment, ROWS)
    vector.reset(seed=0)
    return _in_turn(vector.step, _many_actions(environment.plant.instance))


def _single(env: PlantEnv | PlainEnv) -> Step:
    env.reset(seed=0)

    def step(action: Actions) -> None:
        if env.step(action)[3]:
            env.reset()

    return _in_turn(step, list(_actions(packaged("20x10"), 64, "single")))


def _in_turn(step: Callable[[Any], object], actions: list[Any]) -> Step:
    """A call without arguments that steps with one action after another, for ever."""
    turn = 0

    def call() -> None:
        nonlocal turn
        step(actions[turn])
        turn = (turn + 1) % len(actions)

    call()  # compiles
    return call


def _many_actions(instance: Instance) -> list[npt.NDArray[np.int16]]:
    drawn = _actions(instance, 8 * ROWS, "batch").astype(np.int16)
    return list(drawn.reshape(8, ROWS, instance.machines))


def _actions(instance: Instance, n: int, purpose: str) -> Actions:
    """Possible choices, uniform, (n, M)."""
    rng = stream(0, "lotsizing-env", purpose)
    mask = Plant(instance, "numpy").mask
    return np.stack([rng.choice(np.flatnonzero(row), n) for row in mask], axis=1)


def _episodes(n: int) -> RowKeys:
    return RowKeys(SEED, np.arange(n, dtype=np.int64) << 32)
