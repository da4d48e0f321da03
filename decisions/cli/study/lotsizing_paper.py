"""Does the published behaviour come out again: PDPPO and PPO as their authors ran them?

Preset `paper` of both methods: stock alone is seen, unscaled; nothing is masked; only the last
layer of the actor learns; returns are Monte Carlo sums, neither scaled nor normalised, at a
discount of 0.9; each update takes 40 steps on the whole of the last 2,400 transitions. One run
takes 1,000,000 steps and is stored when it ends; a killed one goes on from its checkpoint.

The statistic is the published one: the mean return of the *training* episodes within each window
of 4,000 steps (40 episodes), and of these 250 windows the highest. A maximum over noisy windows
is optimistic, and nobody could deploy the policy that it belongs to; beside it stands what the
last policy earns on 1,000 episodes of its own. The bands are drawn around one or two runs by
method and instance logged by the authors, widened.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np

from decisions.cli.report import Workbench
from decisions.cli.study.lotsizing_runs import Training, finished, stored
from decisions.domains.lotsizing.instance import packaged
from decisions.policy import FloatArray
from decisions.rl.checkpoints import unpacked
from decisions.rl.pdppo import PDPPO
from decisions.rl.ppo import PPO

STEPS, WINDOW = 1_000_000, 4_000
METHODS: Mapping[str, type[PPO]] = {"PDPPO": PDPPO, "PPO": PPO}
BANDS = {
    ("20x10", "PDPPO"): (-5300.0, -4000.0),
    ("20x10", "PPO"): (-6200.0, -4700.0),
    ("25x10", "PDPPO"): (-10600.0, -6800.0),
    ("25x10", "PPO"): (-11000.0, -8800.0),
    ("25x15", "PDPPO"): (-8500.0, -5900.0),
    ("25x15", "PPO"): (-10500.0, -7600.0),
}


def run(
    bench: Workbench,
    *,
    instance: str = "20x10",
    seeds: int = 1,
    steps: int = STEPS,
    so_far: bool = False,
    workers: int | None = None,
) -> None:
    """Runs of both methods, seeds 1 to `seeds`; the bands are held to runs of full length.

    With `so_far` nothing is trained: what is told is where the checkpoints of the runs stand.
    """
    plant = packaged(instance)
    trainings = {
        (method, seed): Training(
            instance=plant,
            config=replace(
                kind.paper(),
                total_steps=steps,
                curve_interval=WINDOW,
                checkpoint_interval=5 * WINDOW,
            ),
            seed=seed,
            observation="inventory",
            scaled=False,
            masked=False,
        )
        for seed in range(1, seeds + 1)
        for method, kind in METHODS.items()
    }
    keys = {which: f"{instance}-{steps}-{which[0].lower()}-{which[1]}" for which in trainings}
    checkpoints = {key: _checkpoint(bench.folder, key) for key in keys.values()}
    if so_far:
        done = {key: told for key, path in checkpoints.items() if (told := _standing(path))}
    else:
        jobs = {
            keys[which]: partial(finished, training, checkpoints[keys[which]])
            for which, training in trainings.items()
        }
        done = stored(bench, jobs, "runs as published", workers=workers)
    runs = {
        method: {
            seed: done[keys[method, seed]]
            for seed in range(1, seeds + 1)
            if keys[method, seed] in done
        }
        for method in METHODS
    }
    report(bench, instance, runs)


def _standing(checkpoint: Path) -> dict[str, Any] | None:
    """The curve of a run that is not finished, as `finished` tells it; None before it began."""
    if not checkpoint.exists():
        return None
    tensors, _ = unpacked(checkpoint.read_bytes(), checkpoint.name)
    rows = cast("list[list[float]]", tensors["curve"].tolist())
    return {
        "curve": [
            [int(step), int(episodes), None if math.isnan(mean) else mean]
            for step, episodes, mean, _ in rows
        ]
    }


def _checkpoint(folder: Path, key: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{key}.safetensors"


def windows(curve: Sequence[tuple[int, int, float | None]]) -> FloatArray:
    """The mean training return of each window in which an episode ended, (windows,)."""
    return np.array([mean for _, _, mean in curve if mean is not None], dtype=np.float64)


Runs = Mapping[str, Mapping[int, Any]]
"""Of each method, by seed."""


def report(bench: Workbench, instance: str, runs: Runs) -> None:
    """Holds the highest window of each run of full length to its band."""
    for method, found in runs.items():
        low, high = BANDS.get((instance, method), (-np.inf, np.inf))
        for seed, one in found.items():
            steps, highest = one["curve"][-1][0], float(windows(one["curve"]).max())
            whole = steps == STEPS
            bench.check(
                f"{instance}, {method}, seed {seed}: highest window in {steps:,} steps",
                highest,
                f"{low:g} to {high:g}" + ("" if whole else f" after {STEPS:,} steps: reported"),
                ok=low <= highest <= high if whole else None,
            )
            for how, what in (("sampled", "drawn"), ("greedy", "greedy")):
                if how in one:
                    bench.check(
                        f"{instance}, {method}, seed {seed}: last policy, {what}",
                        one[how],
                        "reported, 1,000 episodes",
                        ok=None,
                    )
    ended = [one["curve"][-1][0] == STEPS for found in runs.values() for one in found.values()]
    bench.check(
        f"runs of {STEPS:,} steps",
        float(sum(ended)),
        f"all of {len(ended)}, of both methods",
        ok=all(ended) and all(runs.values()),
    )
    bench.section(_table(runs))


def _table(runs: Runs) -> str:
    tenths = np.linspace(0, 1, 11)
    lines = [
        "## Mean training return by window",
        "",
        "From the first window to the last that there is, at tenths of the way.",
        "",
        "| run | steps | highest | " + " | ".join(f"{at:.0%}" for at in tenths) + " |",
        "|---" * 14 + "|",
    ]
    for method, found in runs.items():
        for seed, one in found.items():
            course = windows(one["curve"])
            at = [course[round(share * (len(course) - 1))] for share in tenths]
            cells = " | ".join(f"{value:.0f}" for value in (course.max(), *at))
            lines.append(f"| {method}, seed {seed} | {one['curve'][-1][0]:,} | {cells} |")
    return "\n".join(lines)
