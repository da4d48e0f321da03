"""How much of PDPPO's published advantage over PPO survives when both are corrected?

Ten switches lead from what the authors' code does to what a correct PPO does; the table "The
switches" has them. Everything else is the same in all cells: the instance 20x10, 100,000 steps,
the networks, the schedule, and for runs of one seed the episodes and the first weights. A batch
is 800 transitions: eight whole episodes, so that a Monte Carlo return ends where its episode does.
It is learned from four times in halves. Rates start at 0.0005 (actor) and 0.001 (critics) and
fall in a straight line to a tenth, the entropy of a head counts by 0.03, ratios are clipped at
0.2 and gradients at norm 0.5. *Published* has all switches off, *corrected* all on, and three
methods run in both:

- PPO: one critic, of states;
- PDPPO: a critic of states and one of post-decision states; the larger of their advantages;
- split: both critics joined by Bellman's equation, where the demand of the decision's own period
  does not count in the advantage (`eta_0` = 0).

The authors learned from larger batches, more often, without clipping gradients or lowering rates
and with less entropy, and began with other weights (their own schedule is the study
`lotsizing-paper`), so "published" means the switches alone. Between the ends, except with
`--ends`, PPO and PDPPO run a Plackett-Burman design of twelve rows and its mirror image: every
switch is on in half of the 24 rows, and the effect of one, averaged over all settings of the
others, is the mean of its rows with it less that without; interactions of two switches do not
bias it.

A run is measured by its last policy on the 1,000 evaluation episodes, drawn as in training, and
greedy; scores are normalised so that idling is 0 and the grouped rotation H2 is 1. No maximum
over training is taken anywhere. Intervals have 95 %: of the interquartile mean over seeds, and of
differences of such means, seeds paired, by bootstrap; with five seeds they cover a little less
(93 %). A method is said to be better only where that interval excludes 0.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from scipy.special import stdtrit

from decisions.cli.report import Workbench
from decisions.cli.study.lotsizing_runs import Training, finished, stored
from decisions.domains.lotsizing.instance import Instance, packaged
from decisions.domains.lotsizing.plant import Plant
from decisions.domains.lotsizing.rotation import rotation_of
from decisions.domains.lotsizing.simulation import evaluation_episodes, simulate
from decisions.evaluation import Estimate
from decisions.policy import BoolArray, FloatArray
from decisions.rl.pdppo import PDPPO
from decisions.rl.ppo import PPO
from decisions.rl.run_statistics import (
    contrast_estimate,
    difference_estimate,
    interquartile_mean_estimate,
    learning_curve_area,
    normalised_score,
    probability_of_improvement,
)
from decisions.seeds import stream

INSTANCE = "20x10"
STEPS = 100_000
SCHEDULE: dict[str, Any] = {
    "environments": 8,
    "rollout_length": 100,  # the horizon: no rollout ends within an episode
    "spread_starts": False,
    "minibatch_size": 400,
    "epochs": 4,
    "learning_rate": 5e-4,
    "critic_learning_rate": 1e-3,
    "learning_rate_decay": True,
    "entropy_coefficient": 0.03,
    "value_coefficient": 1.0,
    "max_grad_norm": 0.5,
    "curve_interval": 5_000,
}


@dataclass(frozen=True, kw_only=True)
class Switch:
    """What one correction changes: fields of `Training`, and of its configuration, when off."""

    name: str
    off: str
    on: str
    training: Mapping[str, Any]
    config: Mapping[str, Any]
    of_pdppo: Mapping[str, Any]


def _switch(
    name: str,
    off: str,
    on: str,
    *,
    training: Mapping[str, Any] | None = None,
    of_pdppo: Mapping[str, Any] | None = None,
    **config: Any,
) -> Switch:
    return Switch(
        name=name,
        off=off,
        on=on,
        training=training or {},
        config=config,
        of_pdppo=of_pdppo or {},
    )


SWITCHES = (
    _switch(
        "whole actor",
        "only the actor's last layer learns",
        "all of it does",
        trainable="last_layer",
    ),
    _switch(
        "scales",
        "stock, returns and advantages as they are",
        "stock over capacity, returns at their scale (Pop-Art), advantages normalised",
        training={"scaled": False},
        popart=False,
        normalise_advantages=False,
    ),
    _switch(
        "set-ups seen",
        "stock alone is observed",
        "set-ups as well",
        training={"observation": "inventory"},
    ),
    _switch(
        "time limit",
        "the last period is followed by nothing",
        "by the value of the state it leads to",
        bootstrap_truncation=False,
    ),
    _switch("joint ratio", "a ratio a machine, clipped apart", "one ratio", ratio="per_head"),
    _switch(
        "GAE",
        "Monte Carlo returns",
        "generalised advantage estimates",
        returns="monte_carlo",
    ),
    _switch(
        "expected costs",
        "lost sales and holding as realised",
        "their exact means given the post-decision state",
        expected_rewards=False,
    ),
    _switch(
        "mask",
        "any item on any machine",
        "only what can be made; keeping a set-up is likelier at first",
        training={"masked": False},
        keep_bias=None,
    ),
    _switch("discount", "0.90", "0.98", gamma=0.9),
    _switch(
        "whole reward",
        "PDPPO's critic of states learns the world's rewards alone",
        "all rewards (PPO's always does)",
        of_pdppo={"pre_reward": "chance"},
    ),
)
METHODS: Mapping[str, Callable[..., PPO]] = {
    "PPO": PPO,
    "PDPPO": partial(PDPPO, advantage="max"),
    "split": partial(PDPPO, advantage="split", eta=1.0, eta_0=0.0),
}
SETTINGS = {"published": (False,) * len(SWITCHES), "corrected": (True,) * len(SWITCHES)}
_GENERATOR = (1, 1, 0, 1, 1, 1, 0, 0, 0, 1, 0)


def design() -> BoolArray:
    """Which switches are on in each of 24 rows, (24, switches).

    Source: Plackett and Burman (1946), "The design of optimum multifactorial experiments", the
    design of twelve runs, and its mirror image (fold-over), which frees main effects of
    interactions of two factors.
    """
    rows = [np.roll(_GENERATOR, shift) for shift in range(len(_GENERATOR))]
    half = np.array([*rows, np.zeros(len(_GENERATOR))], dtype=np.bool_)
    return np.concatenate([half, ~half])[:, : len(SWITCHES)]


def training_of(
    instance: Instance, method: str, on: Sequence[bool], *, seed: int, steps: int
) -> Training:
    """The run of a method with some switches on."""
    config = METHODS[method](
        total_steps=steps, **{**SCHEDULE, "expected_rewards": True, "gamma": 0.98}
    )
    changed: dict[str, Any] = {}
    for switch, is_on in zip(SWITCHES, on, strict=True):
        if not is_on:
            config = replace(config, **switch.config)
            changed |= switch.training
            if isinstance(config, PDPPO):
                config = replace(config, **switch.of_pdppo)
    return Training(instance=instance, config=config, seed=seed, time=False, **changed)


def run(
    bench: Workbench,
    *,
    seeds: int = 10,
    between_ends: bool = True,
    steps: int = STEPS,
    workers: int | None = None,
) -> None:
    """The two ends with `seeds` seeds and the design between them, each run stored."""
    instance = packaged(INSTANCE)
    jobs: dict[str, Callable[[], Any]] = {}
    for seed in range(1, seeds + 1):
        for setting, on in SETTINGS.items():
            for method in METHODS:
                training = training_of(instance, method, on, seed=seed, steps=steps)
                jobs[_key(setting, method, seed)] = partial(finished, training)
    rows: list[list[bool]] = design().tolist() if between_ends else []
    for row, on in enumerate(rows):
        for method in ("PPO", "PDPPO"):
            training = training_of(instance, method, on, seed=1000 + row, steps=steps)
            jobs[_key("design", method, row)] = partial(finished, training)
    done = stored(bench, jobs, "runs", workers=workers)
    scale = bench.part("scale", partial(_scale, instance))
    ends = {
        (setting, method): [done[_key(setting, method, seed)] for seed in range(1, seeds + 1)]
        for setting in SETTINGS
        for method in METHODS
    }
    between = {
        method: [done[_key("design", method, row)] for row in range(len(rows))]
        for method in ("PPO", "PDPPO")
    }
    report(bench, ends, between, scale, steps=steps)


def _key(cell: str, method: str, number: int) -> str:
    return f"{cell}-{method.lower()}-{number}"


def _scale(instance: Instance) -> dict[str, float]:
    """Mean returns of idling and of H2 on the evaluation episodes."""
    plant = Plant(instance)
    idle = np.zeros(instance.machines, dtype=np.int16)
    return {
        "idle": -simulate(
            plant, lambda state: np.tile(idle, (len(state.period), 1)), evaluation_episodes()
        ).total.mean(),
        "H2": -simulate(plant, rotation_of(instance).act, evaluation_episodes()).total.mean(),
    }


Runs = Sequence[Mapping[str, Any]]


def report(
    bench: Workbench,
    ends: Mapping[tuple[str, str], Runs],
    between: Mapping[str, Runs],
    scale: Mapping[str, float],
    *,
    steps: int,
) -> None:
    """What survives, what each method earns, and what each switch does."""
    rng = stream(0, "lotsizing ablation", "bootstrap")
    scores = {cell: _scores(runs, "sampled", scale) for cell, runs in ends.items()}
    greedy = {cell: _scores(runs, "greedy", scale) for cell, runs in ends.items()}
    for setting in SETTINGS:
        for method in ("PDPPO", "split"):
            for how, found in (("drawn", scores), ("greedy", greedy)):
                _compare(bench, setting, method, how, found, rng)
    _survival(bench, scores, rng)
    bench.section(_cells(ends, scores, greedy, scale, rng, steps))
    if all(between.values()):
        bench.section(_effects(between, scale))
    bench.section(_switches())


def _scores(runs: Runs, how: str, scale: Mapping[str, float]) -> FloatArray:
    """Normalised scores of runs, (seeds, 1): of one instance."""
    returns = np.array([[one[how]] for one in runs], dtype=np.float64)
    return normalised_score(
        returns, idle=np.array([scale["idle"]]), reference=np.array([scale["H2"]])
    )


def _compare(
    bench: Workbench,
    setting: str,
    method: str,
    how: str,
    scores: Mapping[tuple[str, str], FloatArray],
    rng: np.random.Generator,
) -> None:
    """The difference of a method to PPO in one setting; reported, whichever way it falls."""
    found = difference_estimate(scores[setting, method], scores[setting, "PPO"], rng)
    chance = probability_of_improvement(scores[setting, method], scores[setting, "PPO"], rng)
    bench.check(
        f"{setting}: {method} less PPO, {how}, normalised score",
        found.value,
        f"{_verdict(found, method)}; a run of it beats one of PPO with probability"
        f" {chance.value:.2f}; {len(scores[setting, 'PPO'])} seeds",
        ok=None,
        interval=(found.lower, found.upper),
    )


def _verdict(difference: Estimate, method: str) -> str:
    if difference.lower > 0:
        return f"{method} is better"
    return "PPO is better" if difference.upper < 0 else "no difference shown"


def _survival(
    bench: Workbench,
    scores: Mapping[tuple[str, str], FloatArray],
    rng: np.random.Generator,
) -> None:
    """PDPPO's advantage with the published defects less that without them."""
    lost = contrast_estimate(
        [
            (+1, scores["published", "PDPPO"]),
            (-1, scores["published", "PPO"]),
            (-1, scores["corrected", "PDPPO"]),
            (+1, scores["corrected", "PPO"]),
        ],
        rng,
    )
    bench.check(
        "PDPPO's advantage when published less that when corrected",
        lost.value,
        "reported: above 0, corrections took from it what is said here",
        ok=None,
        interval=(lost.lower, lost.upper),
    )
    gain = difference_estimate(scores["corrected", "PPO"], scores["published", "PDPPO"], rng)
    bench.check(
        "corrected PPO less published PDPPO, normalised score",
        gain.value,
        "reported: above 0, correcting PPO is worth more than the second critic",
        ok=None,
        interval=(gain.lower, gain.upper),
    )


def _cells(
    ends: Mapping[tuple[str, str], Runs],
    scores: Mapping[tuple[str, str], FloatArray],
    greedy: Mapping[tuple[str, str], FloatArray],
    scale: Mapping[str, float],
    rng: np.random.Generator,
    steps: int,
) -> str:
    lines = [
        "## The two ends",
        "",
        f"Mean returns on the evaluation episodes: idle {scale['idle']:.0f}, H2"
        f" {scale['H2']:.0f}. Columns: interquartile mean of the return, drawn; of the normalised"
        " score, drawn and greedy, with intervals; mean training return over the run (the area"
        f" under the learning curve by {steps:,} steps); processor seconds of a run.",
        "",
        "| setting | method | return | score, drawn | score, greedy | area | seconds |",
        "|---" * 7 + "|",
    ]
    for (setting, method), runs in ends.items():
        returns = np.array([[one["sampled"]] for one in runs])
        value = interquartile_mean_estimate(returns, rng).value
        cells = [
            _with_interval(interquartile_mean_estimate(found[setting, method], rng))
            for found in (scores, greedy)
        ]
        seconds = np.mean([one["processor_seconds"] for one in runs])
        area = np.mean([_area(one["curve"]) for one in runs])
        lines.append(
            f"| {setting} | {method} | {value:.0f} | {' | '.join(cells)} | {area:.0f} |"
            f" {seconds:.0f} |"
        )
    return "\n".join(lines)


def _with_interval(found: Estimate) -> str:
    return f"{found.value:.3f} [{found.lower:.3f}, {found.upper:.3f}]"


def _area(curve: Sequence[tuple[int, int, float | None]]) -> float:
    """Mean height of a run's training curve."""
    known = [(step, mean) for step, _, mean in curve if mean is not None]
    steps = np.array([step for step, _ in known], dtype=np.int64)
    returns = np.array([mean for _, mean in known], dtype=np.float64)
    return float(learning_curve_area(steps, returns, budget=int(steps[-1])))


def _effects(between: Mapping[str, Runs], scale: Mapping[str, float]) -> str:
    """Main effects of the switches on either method and on the difference of the two."""
    signs = np.where(design(), 1.0, -1.0)  # (rows, switches)
    scores = {method: _scores(runs, "sampled", scale)[:, 0] for method, runs in between.items()}
    scores["PDPPO less PPO"] = scores["PDPPO"] - scores["PPO"]
    fitted = {name: main_effects(signs, score) for name, score in scores.items()}
    lines = [
        "## What each switch does, averaged over the others",
        "",
        "Change of the normalised score, drawn, when a switch is turned on, and half the width of"
        " its 95 % interval (least squares; what main effects leave over is taken as noise).",
        "",
        "| switch | " + " | ".join(fitted) + " |",
        "|---" * (len(fitted) + 1) + "|",
    ]
    for j, switch in enumerate(SWITCHES):
        cells = [f"{effect[j]:+.3f} ± {half:.3f}" for effect, half in fitted.values()]
        lines.append(f"| {switch.name} | {' | '.join(cells)} |")
    means = [f"{score.mean():.3f}" for score in scores.values()]
    lines.append(f"| *mean of all rows* | {' | '.join(means)} |")
    return "\n".join(lines)


def main_effects(signs: FloatArray, scores: FloatArray) -> tuple[FloatArray, float]:
    """Of each column of an orthogonal design (rows, k) of -1 and 1: its effect (k,) on `scores`.

    The effect is the mean where it is 1 less that where it is -1. Second, half the width of the
    95 % interval of any of them.
    """
    rows, k = signs.shape
    effects = 2 * signs.T @ scores / rows
    residual = scores - scores.mean() - signs @ effects / 2
    freedom = int(rows - 1 - k)
    deviation = (float((residual**2).sum()) / freedom) ** 0.5
    return effects, -float(stdtrit(freedom, 0.025)) * deviation * 2 / rows**0.5


def _switches() -> str:
    lines = [
        "## The switches",
        "",
        "| switch | off: as published | on: corrected |",
        "|---|---|---|",
    ]
    lines += [f"| {switch.name} | {switch.off} | {switch.on} |" for switch in SWITCHES]
    return "\n".join(lines)
