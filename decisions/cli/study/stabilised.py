"""Does the adaptive learner hold up without tuning, wherever generations may go wrong?

Every regime is run in ten environments (seeds) by every option. All options of a regime and seed
meet the same payers with the same numbers behind every outcome and draw. *Regret* is the best
possible value of a generation minus that of the policy deployed on it, both exact, averaged over
generations (the first, trained on uniform logs alone, is left out), and is given in percentage
points. A ratio divides mean regrets; its interval is the 2.5 and 97.5 % points of 2,000 bootstrap
samples of the seeds, drawn in pairs. "Best in hindsight" is chosen after seeing these very
figures, among the fixed options, so it flatters them.

The regimes' worlds are simulated: the payments environment of the design (10,000 decisions a
generation in the three regimes on retention, else 4,000 where nothing is said), scikit-learn's
digits, and Open Bandit's logged visitors with clicks drawn from a regularised model of the
uniformly logged ones, which is taken as the truth. Oracles of the fixed options are boosted trees
(50 of 15 leaves; "all kept" 80 of 31); those called belief are the adaptive learner's own with
one constant forgetting. The adaptive learner holds trees beside its beliefs (200 of 31), trained
on the rows that may be kept.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from decisions.cli.report import Workbench
from decisions.cli.study.grid import Columns, Grid, computed
from decisions.cli.study.regimes import ADAPTIVE, FIXED, REGIMES, Regime
from decisions.diagnostics.oscillation import (
    MATERIAL,
    OSCILLATING_P,
    Diagnosis,
    Series,
    diagnose_all,
    diagnose_pooled,
)
from decisions.policy import FloatArray
from decisions.seeds import stream

SEEDS = tuple(range(100, 110))
SUBSET = ("long retention", "short retention", "abrupt", "digits")
SUBSET_ROWS = 2_000
RESAMPLES = 2_000
BEFORE, AFTER = 3, 3  # generations before a change, and until the learner must be back
LONG_MEMORY, ALL_KEPT = "FastCB, all kept", "belief, all kept"


def run(bench: Workbench, *, subset: bool = False) -> None:
    """The whole grid, or a few regimes with three seeds and smaller batches."""
    regimes: Sequence[Regime] = REGIMES
    seeds: Sequence[int] = SEEDS
    if subset:
        regimes = [
            replace(regime, rows=min(regime.rows, SUBSET_ROWS))
            for regime in REGIMES
            if regime.name in SUBSET
        ]
        seeds = SEEDS[:3]
    report(bench, regimes, computed(bench, regimes, (*FIXED, ADAPTIVE), seeds))


def report(bench: Workbench, regimes: Sequence[Regime], grid: Grid) -> None:
    """Holds the grid to the bars, and shows all of it."""
    found = {regime.name: _regrets(regime, grid) for regime in regimes}
    _steadiness(bench, regimes, grid)
    _in_hindsight(bench, found)
    for name, wanted, goal, compared in (
        ("long retention", 0.4, 0.25, "window 4"),
        ("aged out", 0.4, 0.25, "window 4"),
        ("short retention", 0.45, 0.25, "untreated"),
    ):
        if name in found:
            _bar(
                bench,
                f"{name}: regret over that of {compared}",
                found[name][ADAPTIVE.name],
                found[name][compared],
                wanted,
                note=f"; goal {goal:g}",
            )
    for regime in regimes:
        _recovery(bench, regime, grid)
    bench.section(_table(regimes, found))


def _regret(columns: Columns) -> FloatArray:
    """By seed and generation, (seeds, generations + 1), percentage points."""
    return 100 * (columns["value_best"] - columns["value"])


def _regrets(regime: Regime, grid: Grid) -> dict[str, FloatArray]:
    """The mean regret of each option by seed, (seeds,)."""
    return {
        option.name: _regret(grid[regime.name, option.name])[:, regime.first :].mean(axis=1)
        for option in (*FIXED, ADAPTIVE)
    }


def ratio(above: FloatArray, below: FloatArray) -> tuple[float, tuple[float, float]]:
    """Mean of `above` over mean of `below`, both (seeds, ...), paired; and its 95 % interval."""
    rng = stream(0, "stabilised", "bootstrap")
    drawn = rng.integers(len(above), size=(RESAMPLES, len(above)))
    first, second = (each.reshape(len(each), -1).mean(axis=1) for each in (above, below))
    resampled = first[drawn].mean(axis=1) / second[drawn].mean(axis=1)
    low, high = np.quantile(resampled, (0.025, 0.975)).tolist()
    return float(first.mean() / second.mean()), (low, high)


def _bar(
    bench: Workbench, name: str, above: FloatArray, below: FloatArray, wanted: float, *, note: str
) -> None:
    value, interval = ratio(above, below)
    bench.check(name, value, f"<= {wanted:g}{note}", ok=value <= wanted, interval=interval)


def _steadiness(bench: Workbench, regimes: Sequence[Regime], grid: Grid) -> None:
    """No verdict of oscillation on the adaptive learner, regime by regime and seed by seed."""
    rng = stream(0, "stabilised", "verdicts")
    verdicts: dict[str, list[str]] = {}
    single: dict[str, dict[str, Series]] = {}
    pooled: dict[str, Diagnosis] = {}
    for option in (*FIXED, ADAPTIVE):
        for regime in regimes:
            columns = grid[regime.name, option.name]
            gain = (columns["value"] - columns["value_control"])[:, 1:]
            name = f"{option.name} in {regime.name}"
            found = diagnose_pooled(gain, np.zeros_like(gain), rng, name=name)
            if found.verdict == "oscillating":
                verdicts.setdefault(option.name, []).append(regime.name)
            if option is ADAPTIVE:
                pooled[regime.name] = found
                single[regime.name] = {
                    f"{regime.name}, {seed}": Series(value=one, standard_error=np.zeros_like(one))
                    for seed, one in enumerate(gain)
                }
    mine = verdicts.pop(ADAPTIVE.name, [])
    bench.check(
        "regimes in which the adaptive learner oscillates, seeds pooled",
        float(len(mine)),
        f"0 of {len(regimes)}, each tested at 1 %, not corrected"
        + (f" (found: {', '.join(mine)})" if mine else ""),
        ok=not mine,
    )
    every = diagnose_all({k: v for each in single.values() for k, v in each.items()}, rng)
    alone = [name for name, one in every.items() if one.verdict == "oscillating"]
    bench.check(
        "single runs of the adaptive learner that oscillate",
        float(len(alone)),
        f"0 of {len(every)}, Holm-corrected" + (f" (found: {', '.join(alone)})" if alone else ""),
        ok=not alone,
    )
    uncorrected = [name for name, one in every.items() if _alone(one)]
    bench.check(
        "the same, each run judged as if it were the only one",
        float(len(uncorrected)),
        f"reported; steady runs alone give up to {len(every) / 100:g} on average"
        + (f" (found: {', '.join(uncorrected)})" if uncorrected else ""),
        ok=None,
    )
    bench.check(
        "regimes in which a fixed option oscillates, seeds pooled",
        "; ".join(f"{name}: {len(where)}" for name, where in verdicts.items()) or "none",
        f"reported, of {len(regimes)}",
        ok=None,
    )
    counts = {name: sum(_alone(every[run]) for run in runs) for name, runs in single.items()}
    bench.section(_rhythm(pooled, counts, len(every) // len(regimes)))


def _alone(one: Diagnosis) -> bool:
    """Whether a run would be called oscillating had no other been looked at."""
    return one.statistics.p_r1 < OSCILLATING_P and one.statistics.swing >= MATERIAL


def _rhythm(pooled: dict[str, Diagnosis], alone: dict[str, int], seeds: int) -> str:
    """What the verdicts on the adaptive learner rest on."""
    lines = [
        "## Rhythm of the adaptive learner, seeds pooled",
        "",
        f"A swing below {100 * MATERIAL:g} pp is never called oscillation, whatever its rhythm:"
        " where all values lie within that, as where few of 1,000 rewards are 1, the verdict says"
        " nothing and p alone does. Without memory, r1 lies between the two bounds in nine of"
        f" ten. The last column counts the single runs of {seeds} that"
        " oscillate, each judged as if it were the only one.",
        "",
        "| regime | swing, pp | r1 | 5 % and 95 % without memory | p | verdict | runs |",
        "|---" * 7 + "|",
    ]
    for name, one in pooled.items():
        s = one.statistics
        lines.append(
            f"| {name} | {100 * s.swing:.2f} | {s.r1:+.2f} |"
            f" {s.r1_null_low:+.2f}, {s.r1_null_high:+.2f} | {s.p_r1:.4f} | {one.verdict} |"
            f" {alone[name]} |"
        )
    return "\n".join(lines)


def _in_hindsight(bench: Workbench, found: dict[str, dict[str, FloatArray]]) -> None:
    """Against the best fixed option overall, and against that of each regime."""
    pooled = {
        option.name: np.column_stack([regrets[option.name] for regrets in found.values()])
        for option in (*FIXED, ADAPTIVE)
    }
    best = min((option.name for option in FIXED), key=lambda name: pooled[name].mean())
    mine = pooled[ADAPTIVE.name]
    _bar(
        bench,
        "mean regret over that of the best fixed option of all regimes",
        mine,
        pooled[best],
        1.0,
        note=f" ({best})",
    )
    logs = np.log(mine / pooled[best]).mean(axis=1)
    bench.check(
        "the same, every regime counting alike (geometric mean of ratios)",
        float(np.exp(logs.mean())),
        "reported",
        ok=None,
    )
    same = [name for name, each in found.items() if (each[ADAPTIVE.name] == each[ALL_KEPT]).all()]
    bench.check(
        f"regimes in which nothing was seen to move, so that it is {ALL_KEPT!r}",
        float(len(same)),
        f"reported, of {len(found)}" + (f" ({', '.join(same)})" if same else ""),
        ok=None,
    )
    for name, regrets in found.items():
        best = min((option.name for option in FIXED), key=lambda each: regrets[each].mean())
        _bar(
            bench,
            f"{name}: regret over that of its best fixed option",
            regrets[ADAPTIVE.name],
            regrets[best],
            1.15,
            note=f" ({best})",
        )


def _recovery(bench: Workbench, regime: Regime, grid: Grid) -> None:
    """After each change, whether regret is again what it was, and what it is for every option."""
    for change in regime.changes:
        at = change - 1  # column g of a regret is on the units of generation g + 1
        found = {
            option.name: _regret(grid[regime.name, option.name]) for option in (ADAPTIVE, *FIXED)
        }
        before = {name: regret[:, at - BEFORE : at] for name, regret in found.items()}
        after = {name: regret[:, at + AFTER] for name, regret in found.items()}
        what = f"{regime.name}: regret {AFTER} generations after {change} over that before"
        mine = after[ADAPTIVE.name]
        _bar(bench, what, mine, before[ADAPTIVE.name], 1.2, note="")
        best = min((option.name for option in FIXED), key=lambda name: before[name].mean())
        value, interval = ratio(mine, before[best])
        bench.check(
            f"{what} of the best fixed option ({best})",
            value,
            "reported",
            ok=None,
            interval=interval,
        )
        if regime.retention is None:
            held = regime.name == "abrupt"
            value, interval = ratio(after[LONG_MEMORY], before[LONG_MEMORY])
            bench.check(
                f"{what}, {LONG_MEMORY}",
                value,
                "> 1.2: a long fixed memory is not back" if held else "reported",
                ok=value > 1.2 if held else None,
                interval=interval,
            )
        bench.section(_course(f"{regime.name}, change at {change}", at, found))


def _course(title: str, at: int, found: dict[str, FloatArray]) -> str:
    """Mean regrets around a change whose first units are those of column `at`."""
    count = min(6, next(iter(found.values())).shape[1] - at)
    lines = [
        f"## {title}: regret before, at once, and each generation later, percentage points",
        "",
        f"| option | before | {' | '.join(f'+{step}' for step in range(count))} |",
        "|---" * (count + 2) + "|",
    ]
    for name, regret in found.items():
        values = [regret[:, at - BEFORE : at].mean(), *regret.mean(axis=0)[at : at + count]]
        lines.append(f"| {name} | {' | '.join(f'{value:.2f}' for value in values)} |")
    return "\n".join(lines)


def _table(regimes: Sequence[Regime], found: dict[str, dict[str, FloatArray]]) -> str:
    """All mean regrets; bold is the least of a row."""
    names = [ADAPTIVE.name, *(option.name for option in FIXED)]
    lines = [
        "## Regret of every option in every regime, percentage points",
        "",
        "The least of a row is bold. Short retention caps every memory: options with a longer one"
        " are then the same as with a window of one. Beliefs keep no rows, so regimes that differ"
        " in retention alone are one and the same run of theirs, and of the adaptive learner's"
        " while its trees, which do need rows, have too little weight to act.",
        "",
        f"| regime | {' | '.join(names)} |",
        "|---" * (len(names) + 1) + "|",
    ]
    rows = {regime.name: [found[regime.name][name].mean() for name in names] for regime in regimes}
    rows["mean"] = np.mean(list(rows.values()), axis=0).tolist()
    for name, values in rows.items():
        cells = [f"**{v:.2f}**" if v == min(values) else f"{v:.2f}" for v in values]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += ["", "## The regimes", "", *(f"- *{each.name}*: {each.about}" for each in regimes)]
    return "\n".join(lines)
