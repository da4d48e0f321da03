"""What makes generations swing: class balance, lost support, short memory, or noise?

Published experience names two causes of later generations that do worse: a shift of rewards, and
with it more class imbalance in the training data. Here each suspected cause is taken away, or put
in, while all else stays: 16 generations of 10,000 simulated payments after a uniform one, in eight
environments (seeds), the same payers and numbers for every arm. The arm to explain is SquareCB
with gamma 1000 and a memory of one generation.

*Swing* is the mean change of the deployed value (minus doing nothing) from one generation to the
next; r1 its lag-1 autocorrelation after detrending, averaged over seeds; p that of permuting the
generations within seeds, one-sided. Uniform arms are judged by the value of their greedy model,
since a uniform policy's value does not move. What a removal did is said by a fixed rule, and only
if the plain arm oscillates: it *ends* the oscillation when p is 0.05 or more and the swing falls
by a third at least; it *weakens* it when one of the two holds; else it *leaves* it. What is put
into an arm that does not swing *makes* one when p, Holm-corrected over the arms, is below 0.01. (A
removal's p is not corrected: that would make it easier to claim an end.)

"Trained on uniform logs" restores support and nothing else: each generation acts by its policy,
but the next model is fitted to what a uniform policy would have logged on the same payers, which
only a simulator can give. Retries are left out: the generations of this experiment have none.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from decisions.bandits.arms import UNIFORM, Arm, ArmTrainer, square_cb
from decisions.bandits.generations import Logged, Model, Trainer, World
from decisions.bandits.oracles import LightGBMConfig
from decisions.cli.report import Workbench
from decisions.cli.study.grid import Columns, Grid, computed
from decisions.cli.study.payments_generations import interval
from decisions.cli.study.regimes import Option, Regime, of_arm, payments
from decisions.diagnostics.oscillation import Diagnosis, diagnose_pooled, holm
from decisions.domains.payments.world import HEAVY, late_days
from decisions.policy import FloatArray, choose, pick
from decisions.seeds import stream

SEEDS = tuple(range(10, 18))
USUAL = Regime(
    name="usual", about="10,000 a generation.", world=payments, rows=10_000, generations=16
)
LARGE = replace(USUAL, name="large", rows=30_000)
LATE = replace(USUAL, name="late", late=partial(late_days, HEAVY))


@dataclass(frozen=True, kw_only=True)
class UniformLogs:
    """A learner that acts as `arm` does, taught by what a uniform policy would have logged."""

    arm: ArmTrainer
    world: World

    def __call__(
        self, logs: Sequence[Logged], predecessors: Sequence[Model], rng: np.random.Generator
    ) -> Model:
        """See Trainer."""
        return self.arm([self._uniform(logged) for logged in logs], predecessors, rng)

    def _uniform(self, logged: Logged) -> Logged:
        day = self.world.day(logged.generation)
        action = choose(day.uniform, day.draws[:, 2])
        return replace(
            logged,
            context=day.context,
            eligible=day.eligible,
            action=action,
            reward=day.reward(action),
            propensity=pick(day.uniform, action),
        )


def _uniform_logs(world: World, seed: int, *, arm: Arm) -> Trainer:
    trained = ArmTrainer(arm=arm, features=world.features, seed=seed)
    return UniformLogs(arm=trained, world=world)


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One intervention: what it changes, in which group of causes, in which regime."""

    group: str
    what: str
    option: Option
    regime: Regime = USUAL
    value: str = "value"
    adds: bool = False  # puts a suspected cause into an arm that does not swing


PLAIN = square_cb(1000.0)
_BASE = Trial(group="-", what="SquareCB 1000, memory of one generation", option=of_arm(PLAIN))
_THIN = 0.26  # the share of failures that narrow logs lack, compared with uniform ones


def _changed(group: str, what: str, **changes: object) -> Trial:
    arm = replace(PLAIN, name=what, **changes)  # pyright: ignore[reportArgumentType]  (by name)
    return Trial(group=group, what=what, option=of_arm(arm))


TRIALS = (
    _BASE,
    _changed("class balance", "failures reweighted to the uniform ratio", negative_weight=None),
    Trial(
        group="class balance",
        what="uniform logs thinned to the narrow logs' ratio",
        option=of_arm(replace(UNIFORM, name="uniform, thinned", thin=_THIN)),
        value="value_greedy",
        adds=True,
    ),
    Trial(
        group="class balance",
        what="trained on uniform logs, thinned to the narrow logs' ratio",
        option=Option(
            name="uniform logs, thinned",
            learner=partial(_uniform_logs, arm=replace(PLAIN, name="thinned", thin=_THIN)),
            window=1,
        ),
        adds=True,
    ),
    Trial(
        group="support",
        what="trained on uniform logs",
        option=Option(name="uniform logs", learner=partial(_uniform_logs, arm=PLAIN), window=1),
    ),
    Trial(
        group="support",
        what="uniform exploration",
        option=of_arm(UNIFORM),
        value="value_greedy",
    ),
    *(
        _changed("support", f"gamma {gamma:g}", parameter=gamma)
        for gamma in (30.0, 100.0, 300.0, 3000.0)
    ),
    _changed("support", "greedy", rule="greedy"),
    _changed("support", "uniform share 0.1", floor=0.1),
    _changed("support", "uniform share 0.3", floor=0.3),
    _changed("support", "importance weights, square root", importance=0.5),
    _changed("support", "importance weights", importance=1.0),
    *(_changed("memory", f"window {window}", window=window) for window in (2, 4, 8)),
    _changed("memory", "all generations kept", window=None),
    _changed("memory", "average of 2 models", average=2),
    _changed("memory", "average of 3 models", average=3),
    _changed("memory", "half the previous policy", mix=0.5),
    _changed(
        "memory",
        "continued boosting",
        continued=True,
        oracle=LightGBMConfig(trees=15, learning_rate=0.08),
    ),
    Trial(group="noise", what="three times the rows", option=of_arm(PLAIN), regime=LARGE),
    Trial(group="delay", what="30 % of outcomes late", option=of_arm(PLAIN), regime=LATE),
)


def run(bench: Workbench) -> None:
    """Runs every trial, and says what each did."""
    grid: Grid = {}
    for regime in (USUAL, LARGE, LATE):
        options = [trial.option for trial in TRIALS if trial.regime is regime]
        grid |= computed(bench, (regime,), options, SEEDS, detail=True)
    report(bench, TRIALS, grid)


def report(bench: Workbench, trials: Sequence[Trial], grid: Grid) -> None:
    """The figures of each trial, the chain from one generation to the next, and what follows."""
    rng = stream(0, "oscillation causes", "verdicts")
    columns = [grid[trial.regime.name, trial.option.name] for trial in trials]
    gains = [
        (found[trial.value] - found["value_control"])[:, 1:]
        for trial, found in zip(trials, columns, strict=True)
    ]
    found = [
        diagnose_pooled(gain, np.zeros_like(gain), rng, name=trial.what)
        for trial, gain in zip(trials, gains, strict=True)
    ]
    corrected = holm([one.statistics.p_r1 for one in found])
    effects = [
        effect(found[0], one, p, adds=trial.adds)
        for trial, one, p in zip(trials, found, corrected, strict=True)
    ]
    lines = [
        "## What each change did",
        "",
        "| suspected cause | change | swing, pp | r1 | p | p, Holm | value, pp, against the"
        " plain arm | failures trained on, % | optimism, pp | what it did |",
        "|---" * 10 + "|",
    ]
    for trial, one, p, own, said in zip(trials, found, corrected, columns, effects, strict=True):
        s = one.statistics
        earned = 100 * (own["value"] - own["value_control"])[:, 1:].mean(axis=1)
        plain = 100 * gains[0].mean(axis=1)
        low, high = interval(earned - plain)
        difference = float((earned - plain).mean())
        bench.check(
            f"{trial.group}: {trial.what}: r1",
            s.r1,
            f"reported (p = {s.p_r1:.4f}, Holm {p:.4f}, swing {100 * s.swing:.2f} pp,"
            f" value {difference:+.2f} pp)",
            ok=None,
        )
        lines.append(
            f"| {trial.group} | {trial.what} | {100 * s.swing:.2f} | {s.r1:+.2f} |"
            f" {s.p_r1:.4f} | {p:.4f} |"
            f" {difference:+.2f} [{low:+.2f}, {high:+.2f}] |"
            f" {100 * own['negatives_share'][:, 1:].mean():.1f} |"
            f" {100 * own['bias_unchosen'][:, 1:].mean():+.2f} | {said} |"
        )
    bench.section("\n".join(lines))
    bench.section(_chain(bench, columns[0]))
    bench.section(_summary(bench, trials, found, effects))


def effect(plain: Diagnosis, changed: Diagnosis, p_holm: float, *, adds: bool) -> str:
    """What a change did to the oscillation, by the rule of the module's docstring."""
    if changed is plain:
        return "is what is to be explained"
    if adds:
        return "makes a swing" if p_holm < 0.01 else "makes none"
    if plain.verdict != "oscillating":
        return "cannot be told"
    rhythmless = not changed.statistics.p_r1 < 0.05
    smaller = changed.statistics.swing <= 2 / 3 * plain.statistics.swing
    if rhythmless and smaller:
        return "ends it"
    return "weakens it" if rhythmless or smaller else "leaves it"


LINKS = (
    ("value", "negatives_share", False),
    ("value", "entropy", True),
    ("negatives_share", "bias_unchosen", True),
    ("bias_unchosen", "value", True),
    ("error_unchosen", "value", True),
    ("negatives_share", "value", True),
    ("value", "value", False),
)
"""A measure, one that may follow from it, and whether both are of the same model or the next's."""


def within(first: FloatArray, second: FloatArray) -> FloatArray:
    """The correlation of two series (seeds, g) within each seed, (seeds,)."""
    a, b = (each - each.mean(axis=1, keepdims=True) for each in (first, second))
    return (a * b).sum(axis=1) / np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))


def _chain(bench: Workbench, plain: Columns) -> str:
    """Correlations from generation to generation in the plain arm, each with its interval."""
    lines = [
        "## From one generation to the next, in the plain arm",
        "",
        'Correlations within seeds, their mean and 95 % t interval over seeds. "Next" compares a'
        " model with the one trained on what it logged.",
        "",
        "| of | with | correlation | shown to differ from zero |",
        "|---|---|---|---|",
    ]
    for cause, result, same in LINKS:
        first, second = plain[cause][:, 1:], plain[result][:, 1:]
        values = within(first, second) if same else within(first[:, :-1], second[:, 1:])
        low, high = interval(values)
        name = f"{cause}, {'same' if same else 'next'} model's {result}"
        bench.check(
            f"chain: {name}", float(values.mean()), "reported", ok=None, interval=(low, high)
        )
        shown = "yes" if low > 0 or high < 0 else "no"
        lines.append(
            f"| {cause} | {'the same' if same else 'the next'} model's {result} |"
            f" {values.mean():+.2f} [{low:+.2f}, {high:+.2f}] | {shown} |"
        )
    return "\n".join(lines)


def _summary(
    bench: Workbench, trials: Sequence[Trial], found: Sequence[Diagnosis], effects: Sequence[str]
) -> str:
    """In words, from the effects alone: which suspected cause carries the oscillation."""
    by_name = {trial.what: said for trial, said in zip(trials, effects, strict=True)}
    groups: dict[str, list[str]] = {}
    for trial, said in zip(trials[1:], effects[1:], strict=True):
        groups.setdefault(trial.group, []).append(f"{trial.what} {said}")
    plain = found[0].statistics
    swings = found[0].verdict == "oscillating"
    lines = [
        "## In words",
        "",
        f"The plain arm {'oscillates' if swings else 'is not shown to oscillate'}: it swings"
        f" {100 * plain.swing:.2f} pp from one generation to the next, r1 = {plain.r1:+.2f}.",
        "",
        *(f"- *{group}*: {'; '.join(said)}." for group, said in groups.items()),
        "",
    ]
    reweighted = by_name.get("failures reweighted to the uniform ratio")
    made = [said for trial, said in zip(trials, effects, strict=True) if trial.adds]
    if reweighted is not None and made:
        adding = any(said == "makes a swing" for said in made)
        reading = {
            "leaves it": "a marker of the oscillation and not what carries it, which departs from"
            " the published reading",
            "weakens it": "a part of the oscillation and not all of it",
            "ends it": "needed for the oscillation, as published",
        }.get(reweighted, "not to be told apart from noise")
        reading += "; put in by itself it makes a swing" if adding else "; alone it makes no swing"
        finding = f"class imbalance is here {reading}"
        bench.check("finding: class balance", finding, "by the stated rule", ok=None)
        lines += [f"Taken together, {finding}.", ""]
    support, noise = by_name.get("trained on uniform logs"), by_name.get("three times the rows")
    memory = [said for trial, said in zip(trials, effects, strict=True) if trial.group == "memory"]
    if support is not None and noise is not None and memory:
        ended = sum(said == "ends it" for said in memory)
        finding = (
            f"restoring the lost support {support}; {ended} of {len(memory)} ways of remembering"
            f" end it; three times the rows, which leaves a model less variance, {noise}"
        )
        bench.check("finding: mechanism", finding, "by the stated rule", ok=None)
        lines.append(f"Mechanism: {finding}.")
    return "\n".join(lines)
