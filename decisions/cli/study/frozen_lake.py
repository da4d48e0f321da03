"""Do the corrected agents walk the modified Frozen Lake as well as can be?

Each map's best return over 100 steps is known exactly, by backward induction, and so is that of
moving at random; agents are trained on each map with the defaults of `decisions.rl`, which were
not tuned here, and their last policies play 1,000 episodes each that training did not meet. A
share of the optimum is the mean return over the best one of that map. The agents see the tile and
the time. The rewards make it best to loiter beside the goal, so the share of episodes that reach
it is reported apart, next to the largest possible one.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from decisions.cli.report import Workbench
from decisions.cli.study.lotsizing_runs import drawn, episode_returns, stored
from decisions.domains.lotsizing.simulation import evaluation_episodes
from decisions.evaluation import mean_estimate
from decisions.rl.frozen_lake import (
    FrozenLake,
    LakeState,
    best_values,
    lake_of_seed,
    reach_probability,
    uniform_values,
)
from decisions.rl.pdppo import PDPPO
from decisions.rl.policies import acting
from decisions.rl.ppo import PPO, train
from decisions.seeds import RowKeys

STEPS, EPISODES = 200_000, 1_000
WANTED = 0.9
METHODS: Mapping[str, Callable[..., PPO]] = {
    "PPO": PPO,
    "PDPPO": partial(PDPPO, advantage="max"),
    "split": partial(PDPPO, advantage="split", eta=1.0, eta_0=0.0),
}


def run(
    bench: Workbench, *, maps: int = 5, steps: int = STEPS, workers: int | None = None
) -> None:
    """Every method on the maps of seeds 1 to `maps`, with one training seed each."""
    jobs = {
        f"{method.lower()}-{number}": partial(agent, method, number, steps)
        for number in range(1, maps + 1)
        for method in METHODS
    }
    done = stored(bench, jobs, "agents on the ice", workers=workers)
    report(
        bench,
        {
            method: [done[f"{method.lower()}-{number}"] for number in range(1, maps + 1)]
            for method in METHODS
        },
    )


def agent(method: str, number: int, steps: int) -> dict[str, Any]:
    """What an agent of one map earns, beside what the best one and a random one would."""
    lake = replace(lake_of_seed(number), time=True)
    actor = train(
        lake,
        METHODS[method](total_steps=steps, bootstrap_truncation=False),
        seed=number,
    ).actor
    episodes = evaluation_episodes(EPISODES)
    values, _ = best_values(lake)
    return {
        "optimum": float(values[0, 0]),
        "random": float(uniform_values(lake)[0]),
        "reachable": reach_probability(lake),
        "greedy": float(episode_returns(lake, acting(lake, actor), episodes).mean()),
        "sampled": float(episode_returns(lake, drawn(lake, actor, episodes), episodes).mean()),
        "reached": reached(lake, acting(lake, actor), episodes),
    }


def reached(
    lake: FrozenLake, act: Callable[[LakeState], npt.NDArray[np.generic]], episodes: RowKeys
) -> float:
    """The share of episodes that come to the goal."""
    n = len(episodes.rows)
    going, came = np.ones(n, dtype=np.bool_), np.zeros(n, dtype=np.bool_)
    state = lake.reset(episodes)
    for period in range(lake.horizon):
        post, _ = lake.apply(state, act(state))
        state, _, ended = lake.advance(post, episodes, np.full(n, period))
        came |= going & (state.cell == lake.goal)
        going &= ~ended
    return float(came.mean())


def report(bench: Workbench, found: Mapping[str, list[Mapping[str, Any]]]) -> None:
    """Shares of the optimum, averaged over maps, and all maps."""
    for method, maps in found.items():
        for how in ("greedy", "sampled"):
            shares = np.array([one[how] / one["optimum"] for one in maps])
            mean = mean_estimate(shares)
            bench.check(
                f"{method}, {how}: share of the optimum, mean of {len(maps)} maps",
                mean.value,
                f">= {WANTED:g}" if how == "greedy" else "reported",
                ok=mean.value >= WANTED if how == "greedy" else None,
                interval=(mean.lower, mean.upper),
            )
    lines = [
        "## Maps",
        "",
        "| map | optimum | random | "
        + " | ".join(f"{method}, greedy" for method in found)
        + " | goal reachable | "
        + " | ".join(f"{method} reaches it" for method in found)
        + " |",
        "|---" * (4 + 2 * len(found)) + "|",
    ]
    for number, row in enumerate(zip(*found.values(), strict=True), start=1):
        cells = [
            f"{row[0]['optimum']:.2f}",
            f"{row[0]['random']:.2f}",
            *(f"{one['greedy']:.2f}" for one in row),
            f"{row[0]['reachable']:.2f}",
            *(f"{one['reached']:.2f}" for one in row),
        ]
        lines.append(f"| {number} | {' | '.join(cells)} |")
    bench.section("\n".join(lines))
