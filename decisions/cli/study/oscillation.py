"""Is a verdict of oscillation to be trusted: false alarms, power, and the reference's arms.

Every verdict is that of `decisions.diagnostics.oscillation`, with 2000 permutations.

**False alarms.** Series of sixteen generations that do not oscillate, each diagnosed alone, as
production does. The synthetic ones: white noise in exact levels, with standard deviations of 0.1
to 2 pp; white noise measured with standard errors that differ from generation to generation, with
and without levels that move beneath them; random walks; a sine of eight to thirty-two generations
that the control does not share, under noise; one abrupt change. The uniform arms are simulated,
cheaply so that there are enough of them: 50 environments in chains of 64 generations, cut into
four, of 1000 decisions a generation and an oracle of 15 small trees. Each gives two series: its
greedy policy's value on a fixed batch, and its own deployed value. The bar is held to the share
over all series together, of which walks, drifts and changes can hardly trip a one-sided test: read
the kinds that can beside it. Intervals are Clopper and Pearson's.

**Power.** The preset `paper-like` (SquareCB 1000, a memory of one generation, 10 000 decisions a
generation) in twenty environments, sixteen generations after the uniform one. Four readings. *As
the page shows it*: from the logs alone, each generation's logged probabilities held against one
model of rewards, fitted to 4000 logged rows of every generation, and split by issuer
(`flow.gains`); the bar of 90 % is held to it. One environment's exact value alone, unsplit. The
exact value split by issuer, on a fixed batch of 2000 payments. And the mean over environments, in
groups of four. The statistic (alternation of the pattern over parts, lags counting less by 0.4
each) was chosen on other environments, seeds 100 to 123.

Of arms that log uniformly the page's measurement is made as well, of the greedy policies that
their models would be: these have no memory.

**The reference's arms** (A8, A9, A11) are run in four environments, seeds 10 to 13.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
from scipy.stats import binomtest

from decisions.bandits.arms import ArmTrainer, pooled
from decisions.bandits.exploration import best_action
from decisions.bandits.generations import Logged, Model
from decisions.bandits.generations import run as generations_of
from decisions.bandits.oracles import ConstantOracle, LightGBMConfig, fit_lightgbm
from decisions.bandits.pair_trees import PairTrees
from decisions.bandits.training_set import PairFeatures
from decisions.cli.report import Workbench
from decisions.diagnostics.oscillation import (
    Series,
    diagnose,
    diagnose_all,
    diagnose_pooled,
)
from decisions.diagnostics.series import autocorrelation, detrended, positions
from decisions.domains.payments.actions import DO_NOTHING
from decisions.domains.payments.experiment import PRESETS, UNIFORM, Arm, Days, records, square_cb
from decisions.domains.payments.simulator import Environment
from decisions.flow.gains import CYCLE_ROWS, by_part
from decisions.policy import FloatArray, pick
from decisions.seeds import stream

SEEDS = (10, 11, 12, 13)
POWER_SEEDS = tuple(range(10, 30))
GENERATIONS = 16
LONGER = 24  # generations, of the power as the page shows it
ROWS = 10_000
NULLS = 300  # series of each kind
LOOKED_AT = 100  # white noise series, diagnosed at every cut-off
GROUP = 4  # environments pooled
UNIFORM_CHAINS, UNIFORM_LENGTH, UNIFORM_ROWS = 50, 64, 1_000
_PAPER = PRESETS["paper-like"]
_SOFTMAX = Arm(name="softmax-50", rule="softmax", parameter=50.0)
_CHEAP = replace(UNIFORM, oracle=LightGBMConfig(trees=15, leaves=7))
MITIGATIONS = {
    "window 4": replace(_PAPER, name="squarecb-1000-window-4", window=4),
    "average of 3": replace(_PAPER, name="squarecb-1000-average-3", average=3),
    "importance weights": replace(_PAPER, name="squarecb-1000-importance", importance=1.0),
}

Chain = dict[str, Any]
Nulls = tuple[FloatArray, FloatArray]  # values and standard errors, (n, GENERATIONS)


def run(bench: Workbench) -> None:
    """Nulls, power, the reference's arms, the true null; every chain is a stored part."""
    chains = _chains(bench)
    _false_alarms(bench)
    _power(bench, [chains[_PAPER.name, seed] for seed in POWER_SEEDS])
    _reference_arms(bench, chains)
    _mitigations(bench, chains)
    _true_null(bench)


def _chains(bench: Workbench) -> dict[tuple[str, int], Chain]:
    """All chains of full size, by arm and seed."""
    at_four = (UNIFORM, square_cb(100.0), _SOFTMAX, *MITIGATIONS.values())
    wanted = [(seed, _PAPER) for seed in POWER_SEEDS]
    wanted += [(seed, arm) for seed in SEEDS for arm in at_four]
    found: dict[tuple[str, int], Chain] = {}
    for seed, arm in bench.track(sorted(wanted, key=lambda each: each[0]), "chains"):
        count = LONGER if arm is _PAPER else GENERATIONS
        work = partial(_chain, seed, arm, rows=ROWS, generations=count)
        found[arm.name, seed] = bench.part(f"chain-{arm.name}-{seed}", work)
    return found


def _chain(seed: int, arm: Arm, *, rows: int, generations: int) -> Chain:
    """Generations 1 and later of an arm: values minus the control's, whole and by issuer.

    "page" holds what logs show of them, for the first generations and, where there are more, for
    all; see `_page`.
    """
    days = Days(Environment(seed=seed), rows=rows)
    batch = days.reference
    issuer = batch.context["issuer_code"].to_numpy().astype(np.int64)
    issuers = days.environment.issuers
    greedy: list[float] = []
    parts: list[list[float]] = []
    logged: list[_Sample] = []
    trainer = ArmTrainer(arm=arm, features=days.features, seed=seed)

    def watched(
        logs: Sequence[Logged], predecessors: Sequence[Model], rng: np.random.Generator
    ) -> Model:
        if len(predecessors) > 1:  # what the first model decided trains the second: left out
            logged.append(_sampled(logs[-1], predecessors[0], greedy=arm.rule == "uniform"))
        model = trainer(logs, predecessors, rng)
        nothing = batch.success[:, DO_NOTHING]
        best = best_action(model.scores(batch.context, batch.eligible), batch.eligible)
        gain = pick(batch.success, best) - nothing
        greedy.append(float(gain.mean()))
        if arm.rule != "uniform":
            p = model.probabilities(batch.context, batch.eligible)
            gain = (p * batch.success).sum(axis=1) - nothing
        parts.append((np.bincount(issuer, weights=gain, minlength=issuers) / len(gain)).tolist())
        return model

    records = list(
        generations_of(
            days,
            watched,
            generations=generations + 1,  # the last model is there to read the log before it
            seed=seed,
            retention=arm.window,
            detail=False,
        )
    )
    blocks = [logged[:GENERATIONS], logged] if arm is _PAPER else _blocks(logged)
    return {
        "value": [r.value - r.value_control for r in records[1:-1]],
        "greedy": greedy[1:-1],
        "parts": np.array(parts[1:-1]).T.tolist(),  # (issuers, generations)
        "page": [_page(block, days.features, seed) for block in blocks],
    }


@dataclass(frozen=True, kw_only=True, eq=False)
class _Sample:
    """Logged rows of one generation, with what its policy, or its greedy one, thought of them."""

    log: Logged
    probabilities: FloatArray  # (n, k)
    level: float  # mean reward of the whole log


def _sampled(log: Logged, model: Model, *, greedy: bool) -> _Sample:
    rows = np.arange(0, len(log.reward), -(-len(log.reward) // CYCLE_ROWS))
    part = replace(
        log,
        context=log.context[rows],
        eligible=log.eligible[rows],
        action=log.action[rows],
        reward=log.reward[rows],
        propensity=log.propensity[rows],
    )
    probabilities = model.probabilities(part.context, part.eligible)
    if greedy:
        best = best_action(model.scores(part.context, part.eligible), part.eligible)
        probabilities = np.zeros(part.eligible.shape)
        probabilities[np.arange(len(best)), best] = 1.0
    return _Sample(log=part, probabilities=probabilities, level=float(log.reward.mean()))


def _blocks(logged: Sequence[_Sample]) -> list[Sequence[_Sample]]:
    return [logged[at : at + GENERATIONS] for at in range(0, len(logged), GENERATIONS)]


def _page(logged: Sequence[_Sample], features: PairFeatures, seed: int) -> dict[str, list[Any]]:
    """The series of one environment as the page shows it: parts, shares and levels."""
    data = pooled([one.log for one in logged])
    fitted = fit_lightgbm(data, stream(seed, "oscillation-study", "rewards"), features=features)
    oracle = fitted if isinstance(fitted, ConstantOracle) else PairTrees(oracle=fitted)
    expected = oracle.predict(data.context, np.concatenate([one.log.eligible for one in logged]))
    probabilities = np.concatenate([one.probabilities for one in logged])
    found = by_part(
        (probabilities * expected).sum(axis=1) - expected[:, DO_NOTHING],
        data.context["issuer_code"].to_numpy().astype(np.int64),
        np.repeat(np.arange(len(logged)), [len(one.log.reward) for one in logged]),
        len(logged),
    )
    return {
        "parts": found.parts.tolist(),
        "shares": found.shares.tolist(),
        "level": [one.level for one in logged],
    }


def _synthetic(name: str) -> Nulls:
    """`NULLS` series of one kind that do not oscillate."""
    rng = stream(0, "oscillation-study", name)
    shape = (NULLS, GENERATIONS)
    exact, white = np.zeros(shape), rng.standard_normal(shape)
    scale = np.exp(rng.uniform(np.log(0.001), np.log(0.02), (NULLS, 1)))
    if name == "white noise, exact":
        return scale * white, exact
    if name == "random walk":
        return 0.5 * scale * white.cumsum(axis=1), exact
    if name == "drift beside the control":
        period, phase = rng.uniform(8, 32, (NULLS, 1)), rng.uniform(0, 1, (NULLS, 1))
        wave = np.sin(2 * np.pi * (np.arange(GENERATIONS) / period + phase))
        return scale * (wave + rng.uniform(0, 1, (NULLS, 1)) * white), exact
    if name == "abrupt change":
        at = rng.integers(1, GENERATIONS, (NULLS, 1))
        return scale * (4 * (np.arange(GENERATIONS) >= at) + white), exact
    noise = 0.002 * np.exp(0.7 * rng.standard_normal(shape))
    measured = noise * rng.standard_normal(shape)
    return (measured if name == "white noise, measured" else measured + scale * white), noise


SYNTHETIC = (
    "white noise, exact",
    "white noise, measured",
    "white noise, levels and measurement",
    "random walk",
    "drift beside the control",
    "abrupt change",
)


def _uniform_series(bench: Workbench) -> tuple[dict[str, FloatArray], list[dict[str, list[Any]]]]:
    """Series of uniform arms: "greedy", "value" (n, g), "parts" (n, issuers, g), and "page"."""
    found: dict[str, list[FloatArray]] = {"greedy": [], "value": [], "parts": []}
    pages: list[dict[str, list[Any]]] = []
    for number in bench.track(range(UNIFORM_CHAINS), "uniform arms"):
        work = partial(
            _chain, 1_000 + number, _CHEAP, rows=UNIFORM_ROWS, generations=UNIFORM_LENGTH
        )
        chain: Chain = bench.part(f"uniform-{number}", work)
        for name, series in found.items():
            whole = np.asarray(chain[name])
            series.extend(np.split(whole, UNIFORM_LENGTH // GENERATIONS, axis=-1))
        pages.extend(chain["page"])
    return {name: np.array(series) for name, series in found.items()}, pages


def _verdicts(
    name: str, values: FloatArray, noise: FloatArray, parts: FloatArray | None = None
) -> list[str]:
    """The verdict on each series of `values` (n, g), or on each group of them (n, m, g)."""
    rng = stream(0, "oscillation-study", "verdicts", name)
    test = diagnose if values.ndim == 2 else diagnose_pooled
    if parts is None:
        found = [test(v, se, rng) for v, se in zip(values, noise, strict=True)]
    else:
        each = zip(values, noise, parts, strict=True)
        found = [diagnose(v, se, rng, parts=split) for v, se, split in each]
    return [one.verdict for one in found]


def _shown(name: str, pages: Sequence[Mapping[str, Any]]) -> list[str]:
    """The verdict on each series as the page shows it."""
    rng = stream(0, "oscillation-study", "shown", name)
    found: list[str] = []
    for page in pages:
        level = page["level"]
        parts: FloatArray = np.array(page["parts"], dtype=np.float64)
        shares = np.array(page["shares"])
        there = shares > 0
        one = diagnose(
            parts.sum(axis=0),
            np.zeros(len(parts.T)),
            rng,
            parts=parts[there],
            shares=shares[there],
            outcome=None if level is None else np.array(level),
        )
        found.append(one.verdict)
    return found


def _false_alarms(bench: Workbench) -> None:
    """Verdicts on series that do not oscillate: alone, by parts, and pooled in groups."""
    nulls = {name: _synthetic(name) for name in SYNTHETIC}
    uniform, pages = _uniform_series(bench)
    still = np.zeros((len(uniform["value"]), GENERATIONS))
    nulls["uniform arms, greedy"] = (uniform["greedy"], still)
    nulls["uniform arms, deployed"] = (uniform["value"], still)
    seen: list[str] = []
    for name, (values, noise) in bench.track(list(nulls.items()), "false alarms"):
        work = partial(_verdicts, name, values, noise)
        verdicts: list[str] = bench.part(f"nulls-{_slug(name)}", work)
        _share(bench, f"false OSCILLATING, {name}, %", verdicts)
        seen += verdicts
    work = partial(_shown, "uniform arms", [one | {"level": None} for one in pages])
    verdicts = bench.part("nulls-page", work)
    _share(bench, "false OSCILLATING, uniform arms, greedy, as the page shows it, %", verdicts)
    seen += verdicts
    _share(bench, "false OSCILLATING, all single series, %", seen, at_most=1.0)
    _share(bench, "false SUSPECT, all single series, %", seen, verdict="suspect")
    work = partial(_verdicts, "parts", uniform["greedy"], still, uniform["parts"])
    verdicts = bench.part("nulls-parts", work)
    _share(bench, "false OSCILLATING, uniform arms, greedy, by issuer, %", verdicts)
    pooled: list[str] = []
    for name, (values, noise) in bench.track(list(nulls.items()), "pooled false alarms"):
        groups = [each.reshape(-1, GROUP, GENERATIONS) for each in (values, noise)]
        work = partial(_verdicts, f"{name}, pooled", *groups)
        pooled += bench.part(f"nulls-pooled-{_slug(name)}", work)
    _share(bench, f"false OSCILLATING, all kinds pooled by {GROUP}, %", pooled, at_most=1.0)
    _looks(bench, nulls["white noise, exact"][0][:LOOKED_AT])


def _looks(bench: Workbench, values: FloatArray) -> None:
    """How often a steady series is called oscillating at some cut-off while it grows."""
    rng = stream(0, "oscillation-study", "looks")

    def ever() -> list[str]:
        return [
            "oscillating"
            if any(
                diagnose(row[:g], np.zeros(g), rng).verdict == "oscillating"
                for g in range(8, GENERATIONS + 1)
            )
            else "steady"
            for row in values
        ]

    verdicts: list[str] = bench.part("nulls-looks", ever)
    name = f"false OSCILLATING at one of the cut-offs 8 to {GENERATIONS}, white noise, exact, %"
    _share(bench, name, verdicts)


def _power(bench: Workbench, chains: Sequence[Chain]) -> None:
    """Verdicts on the preset that oscillates: alone, by issuer, and pooled in groups."""
    for at, count in enumerate((GENERATIONS, LONGER)):
        shown = _shown(f"paper-like {count}", [chain["page"][at] for chain in chains])
        name = f"paper-like series of {count} generations as the page shows it"
        least = 90.0 if count == GENERATIONS else None
        _share(bench, f"power, one {name}, %", shown, at_least=least)
        _share(bench, f"one {name} at least SUSPECT, %", shown, verdict="suspect", more=True)
    values = np.array([chain["value"][:GENERATIONS] for chain in chains])
    parts = np.array([chain["parts"] for chain in chains])[:, :, :GENERATIONS]
    still = np.zeros_like(values)
    index = positions(values)
    r1 = autocorrelation(detrended(values, index), index)
    bench.check(
        "lag-1 autocorrelation of a paper-like series, mean", float(r1.mean()),
        f"reported ({r1.min():.2f} to {r1.max():.2f})", ok=None,
    )  # fmt: skip
    alone = _verdicts("paper-like", values, still)
    _share(bench, "power, one paper-like series, %", alone)
    _share(bench, "one paper-like series at least SUSPECT, %", alone, verdict="suspect", more=True)
    split = _verdicts("paper-like by issuer", values, still, parts)
    _share(bench, "power, one paper-like series by issuer, %", split)
    _share(
        bench, "one paper-like series by issuer at least SUSPECT, %", split,
        verdict="suspect", more=True,
    )  # fmt: skip
    rng = stream(0, "oscillation-study", "groups")
    groups = np.array(list(combinations(range(len(chains)), GROUP)))
    chosen = values[rng.choice(groups, size=NULLS, replace=False)]
    pooled = _verdicts("paper-like, pooled", chosen, np.zeros_like(chosen))
    bench.check(
        f"power, {GROUP} of the {len(chains)} paper-like series pooled, %",
        100 * pooled.count("oscillating") / len(pooled),
        f">= 90 ({len(pooled)} groups, which overlap: no interval)",
        ok=pooled.count("oscillating") >= 0.9 * len(pooled),
    )
    disjoint = values.reshape(-1, GROUP, GENERATIONS)
    _share(
        bench, f"power, disjoint groups of {GROUP}, %",
        _verdicts("paper-like, disjoint", disjoint, np.zeros_like(disjoint)),
    )  # fmt: skip


def _reference_arms(bench: Workbench, chains: Mapping[tuple[str, int], Chain]) -> None:
    """A8: which arms oscillate, pooled over four environments, Holm-corrected over the arms."""
    wanted = {
        _PAPER.name: True,
        _SOFTMAX.name: True,
        "squarecb-100": False,
        "uniform": False,
        "uniform, greedy": False,
    }
    values = {
        name: np.array(
            [
                chains[name.partition(",")[0], seed]["greedy" if "greedy" in name else "value"][
                    :GENERATIONS
                ]
                for seed in SEEDS
            ]
        )
        for name in wanted
    }
    found = diagnose_all(
        {n: Series(value=v, standard_error=np.zeros_like(v)) for n, v in values.items()},
        stream(0, "oscillation-study", "A8"),
    )
    for name, oscillates in wanted.items():
        one, s = found[name], found[name].statistics
        bench.check(
            f"A8 verdict, {name}, {len(SEEDS)} seeds pooled",
            f"{one.verdict} (r1 {s.r1:+.2f}, Holm p {s.p_holm:.4f}, swing {100 * s.swing:.2f} pp)",
            "oscillating" if oscillates else "not oscillating",
            ok=(one.verdict == "oscillating") == oscillates,
        )
        if oscillates:
            bench.check(
                f"A8 dominant period, {name}, generations",
                s.period,
                "2, or 2.29 beside it (no other of sixteen generations lies below 2.5)",
                ok=s.period < 2.5,
            )


def _mitigations(bench: Workbench, chains: Mapping[tuple[str, int], Chain]) -> None:
    """A9: longer memory and averaging raise the value and end the swing; weighting does not."""

    def values(arm: Arm) -> FloatArray:
        return np.array([chains[arm.name, seed]["value"][:GENERATIONS] for seed in SEEDS])

    for name, arm in MITIGATIONS.items():
        gain = 100 * (values(arm) - values(_PAPER)).mean(axis=1)
        seeds = ", ".join(f"{each:+.2f}" for each in gain)
        found = diagnose_pooled(
            values(arm), np.zeros_like(values(arm)), stream(0, "oscillation-study", "A9", name)
        )
        s = found.statistics
        helps = arm is not MITIGATIONS["importance weights"]
        bench.check(
            f"A9 value gained by {name}, pp",
            float(gain.mean()),
            f"{'each seed >= 0.4' if helps else 'mean <= 0.1'} (seeds: {seeds})",
            ok=bool((gain >= 0.4).all()) if helps else bool(gain.mean() <= 0.1),
        )
        bench.check(
            f"A9 verdict with {name}, {len(SEEDS)} seeds pooled",
            f"{found.verdict} (r1 {s.r1:+.2f}, p {s.p:.4f}, swing {100 * s.swing:.2f} pp)",
            "not oscillating" if helps else "reported",
            ok=found.verdict != "oscillating" if helps else None,
        )
        shown = _shown(name, [chains[arm.name, seed]["page"][0] for seed in SEEDS])
        bench.check(
            f"A9 verdicts with {name}, as the page shows them",
            ", ".join(shown),
            "none oscillating" if helps else "reported",
            ok="oscillating" not in shown if helps else None,
        )


def _true_null(bench: Workbench) -> None:
    """A11: where no action changes anything, policies churn and the value does not move."""
    seed = SEEDS[0]

    def chain() -> list[dict[str, float]]:
        days = Days(Environment(seed=seed, effects=False), rows=2_000)
        return records(days, _PAPER, generations=GENERATIONS, seed=seed)

    found: list[dict[str, float]] = bench.part("true-null", chain)
    value = np.array([r["value"] - r["value_control"] for r in found[1:]])
    churn = float(np.mean([r["churn_greedy"] for r in found[1:]]))
    spread = float(np.ptp(value))
    one = diagnose(value, np.zeros_like(value), stream(0, "oscillation-study", "A11"))
    bench.check("A11 true null, spread of values", spread, "< 1e-6", ok=spread < 1e-6)
    bench.check(
        "A11 true null, verdict", one.verdict, "degenerate", ok=one.verdict == "degenerate"
    )
    bench.check("A11 true null, churn of the best action", churn, "> 0.5", ok=churn > 0.5)


def _slug(name: str) -> str:
    return name.replace(", ", "-").replace(" ", "-")


def _share(
    bench: Workbench,
    name: str,
    verdicts: Sequence[str],
    *,
    verdict: str = "oscillating",
    more: bool = False,
    at_most: float | None = None,
    at_least: float | None = None,
) -> None:
    """Reports the share of a verdict in percent, with its exact interval.

    `more` counts a worse verdict as well.
    """
    n = len(verdicts)
    count = verdicts.count(verdict) + (verdicts.count("oscillating") if more else 0)
    interval = binomtest(count, n).proportion_ci(method="exact")
    share = 100 * count / n
    bar, ok = "reported", None
    if at_most is not None:
        bar, ok = f"<= {at_most:g}", share <= at_most
    if at_least is not None:
        bar, ok = f">= {at_least:g}", share >= at_least
    bench.check(
        name,
        share,
        f"{bar} ({count} of {n})",
        ok=ok,
        interval=(100 * float(interval.low), 100 * float(interval.high)),
    )
