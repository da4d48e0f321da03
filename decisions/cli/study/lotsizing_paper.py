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

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from decisions.cli.report import Workbench
from decisions.cli.study.lotsizing_runs import Training, finished, stored
from decisions.domains.lotsizing.instance import packaged
from decisions.policy import FloatArray
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
    workers: int | None = None,
) -> None:
    """Runs of both methods, seeds 1 to `seeds`; the bands are held to runs of full length."""
    plant = packaged(instance)
    trainings = {
        (method, seed): Training(
            instance=plant,
            config=replace(
                kind.paper(), total_steps=steps, curve_interval=WINDOW, checkpoint_interval=20_000
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
    done = stored(
        bench,
        {
            keys[which]: partial(finished, training, _checkpoint(bench.folder, keys[which]))
            for which, training in trainings.items()
        },
        "runs as published",
        workers=workers,
    )
    runs = {
        method: [done[keys[method, seed]] for seed in range(1, seeds + 1)] for method in METHODS
    }
    report(bench, instance, runs, steps=steps)


def _checkpoint(folder: Path, key: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{key}.safetensors"


def windows(curve: Sequence[tuple[int, int, float | None]]) -> FloatArray:
    """The mean training return of each window in which an episode ended, (windows,)."""
    return np.array([mean for _, _, mean in curve if mean is not None], dtype=np.float64)


def report(
    bench: Workbench, instance: str, runs: Mapping[str, Sequence[Any]], *, steps: int
) -> None:
    """Holds the highest window of each run to its band."""
    for method, found in runs.items():
        highest = [float(windows(one["curve"]).max()) for one in found]
        low, high = BANDS.get((instance, method), (-np.inf, np.inf))
        inside = all(low <= value <= high for value in highest)
        whole = steps >= STEPS
        bench.check(
            f"{instance}, {method}: highest window, mean of {len(found)} seeds",
            float(np.mean(highest)),
            f"every seed within {low:g} to {high:g}"
            + ("" if whole else f" after {STEPS:,} steps; here {steps:,}: reported"),
            ok=inside if whole else None,
            interval=(min(highest), max(highest)),
        )
        for what in ("sampled", "greedy"):
            values = [one[what] for one in found]
            bench.check(
                f"{instance}, {method}: last policy on 1,000 episodes, {what}",
                float(np.mean(values)),
                "reported",
                ok=None,
                interval=(min(values), max(values)),
            )
    bench.section(_table(runs, steps))


def _table(runs: Mapping[str, Sequence[Any]], steps: int) -> str:
    tenths = np.linspace(0, 1, 11)[1:]
    lines = [
        f"## Mean training return by window, {steps:,} steps",
        "",
        "In brackets under `value` above: the least and the greatest of the seeds.",
        "",
        "| run | highest | first | " + " | ".join(f"{at:.0%}" for at in tenths) + " |",
        "|---" * 13 + "|",
    ]
    for method, found in runs.items():
        for seed, one in enumerate(found, start=1):
            course = windows(one["curve"])
            at = [course[round(share * (len(course) - 1))] for share in tenths]
            cells = " | ".join(f"{value:.0f}" for value in (course.max(), course[0], *at))
            lines.append(f"| {method}, seed {seed} | {cells} |")
    return "\n".join(lines)
