"""Training steps a second of our PPO against Stable-Baselines3's, on the 20x10 plant.

The peer's PPO is as it comes (rollouts of 256 periods, batches of 256, 10 epochs) over eight of
our `PlantEnv` in its `DummyVecEnv`; ours is `PPO` with its defaults (32 plants, batches of 400, 4
epochs), and once more over 256 plants in batches of 1600 with 3 epochs, which is faster and learns
less from a step. All have actors and critics of 128-128 units of their own and the full
observation; the peer's choices are not masked. The number of epochs is the larger part of the
difference, so passes of a step through an update are compared too. Sides take turns in rounds of
one run, on one thread and on two; a ratio is the median over rounds. Rates are by processor time,
all threads together, since those by wall-clock time follow what else the machine does. The bar of
25 is the project's.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from statistics import median

from decisions.cli.bench.peers import library
from decisions.cli.report import Workbench
from decisions.domains.lotsizing.environment import PlantEnvironment
from decisions.domains.lotsizing.gymnasium_environments import PlantEnv
from decisions.domains.lotsizing.instance import packaged
from decisions.domains.lotsizing.plant import Plant
from decisions.rl.ppo import PPO, threads, train

INSTANCE, ROUNDS, WANTED = "20x10", 3, 25.0
PEER_PLANTS, PEER_PERIODS = 8, 256
OUR_STEPS = 25_600
PEER_EPOCHS = 10
OURS = {
    "PPO": PPO(),
    "PPO, 256 plants": replace(PPO(), environments=256, minibatch_size=1600, epochs=3),
}

Side = Callable[[int], float]


def ours(config: PPO) -> Side:
    """Steps a processor second of a whole run of ours on so many threads."""

    def measure(count: int) -> float:
        environment = PlantEnvironment(Plant(packaged(INSTANCE), threads=count))
        # Spreading the starts takes steps that nothing is learned from: they do not count.
        method = replace(config, total_steps=OUR_STEPS, threads=count, spread_starts=False)
        began = time.process_time()
        trained = train(environment, method, seed=1)
        return trained.curve[-1].step / (time.process_time() - began)

    return measure


def theirs(count: int) -> float:
    """Steps a processor second of Stable-Baselines3: one rollout and the update after it."""
    sb3 = library("stable_baselines3")
    environment = PlantEnvironment(Plant(packaged(INSTANCE)), masked=False)
    plants = sb3.common.vec_env.DummyVecEnv([lambda: PlantEnv(environment)] * PEER_PLANTS)
    with threads(count):
        agent = sb3.PPO(
            "MlpPolicy",
            plants,
            n_steps=PEER_PERIODS,
            n_epochs=PEER_EPOCHS,
            batch_size=256,
            policy_kwargs={"net_arch": [128, 128]},
            seed=1,
            device="cpu",
        )
        steps = PEER_PLANTS * PEER_PERIODS
        began = time.process_time()
        agent.learn(steps)
        return steps / (time.process_time() - began)


SIDES: dict[str, Side] = {
    **{name: ours(replace(config, spread_starts=False)) for name, config in OURS.items()},
    "Stable-Baselines3": theirs,
}


def run(bench: Workbench) -> None:
    """Rounds on one thread and on two."""
    for side in SIDES.values():
        side(1)  # imports, compiled kernels
    for count in (1, 2):
        rates: dict[str, list[float]] = {name: [] for name in SIDES}
        for _ in bench.track(range(ROUNDS), f"{count} thread{'s' * (count > 1)}"):
            for name, side in SIDES.items():
                rates[name].append(side(count))
        _report(bench, rates, count)


def _report(bench: Workbench, rates: dict[str, list[float]], count: int) -> None:
    label = f"{count} thread{'s' * (count > 1)}"
    theirs = rates["Stable-Baselines3"]
    for name, found in rates.items():
        bench.check(
            f"{name}, steps a processor second, {label}",
            round(median(found)),
            "-",
            ok=None,
            interval=(min(found), max(found)),
        )
    for name, config in OURS.items():
        ratios = [a / b for a, b in zip(rates[name], theirs, strict=True)]
        bench.check(
            f"{name} over Stable-Baselines3, {label}",
            median(ratios),
            f"at least {WANTED:g}",
            ok=median(ratios) >= WANTED,
            interval=(min(ratios), max(ratios)),
        )
        passes = [ratio * config.epochs / PEER_EPOCHS for ratio in ratios]
        bench.check(
            f"{name} over Stable-Baselines3, passes through updates, {label}",
            median(passes),
            "-",
            ok=None,
            interval=(min(passes), max(passes)),
        )
