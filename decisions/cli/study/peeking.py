"""A gate that is looked at every day, over five hundred years: its error, and what that costs.

Every day two candidates arrive, are judged on the last three days of decisions, and may replace
the champion; the two best of those that were held are judged again on what has come since. The
claim: *in at most 5 % of years is any candidate promoted that is truly worse than the champion by
more than the margin of 0.1 percentage points*, worse on average over the decisions that it was
judged on.

Noise is real: doubly robust differences of eight policies that production would train, on three
days that a first champion logged in the payments simulator, new days being drawn from these
payments with new actions and new answers (`peeking_noise`). A gate reads overlapping holdouts of
the same rows, champions change when it promotes, and candidates' truths are set: all of them just
worse than the margin, which is the hardest case; a mixture; and differences that swing together
within sixty days.

The gates: *each cut-off* is the one without a budget, 95 % intervals corrected for the two
candidates of a day. *normal* shares 5 % among all looks of a year and trusts the normal
distribution that far out, which differences with a few large negative terms do not follow.
*betting* is the gate that payments has. *online FDR* (e-LOND) bounds the share of bad promotions
instead, and spends more after each promotion. The year's bound is kept for the gate because its
claim is the stronger one, and what it costs beside the other is small.

Source: Xu and Ramdas (2024), "Online multiple testing with e-values", for e-LOND.
"""

from collections.abc import Callable
from dataclasses import asdict
from math import log
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
from scipy.stats import beta

from decisions.cli.report import Workbench
from decisions.cli.study.peeking_noise import Pool, measure
from decisions.cli.study.peeking_years import (
    CANDIDATES,
    HOLDOUT,
    LEVEL,
    Bank,
    Gate,
    Promotions,
    Scenario,
    bank,
    days_to_promotion,
    simulate,
    worsening,
)
from decisions.code_version import PACKAGE
from decisions.domains.payments.evaluation import GATE
from decisions.domains.payments.simulator import Environment
from decisions.gate import ErrorBudget
from decisions.seeds import stream

YEARS = 500
CHUNK = 100  # years that are simulated side by side, and stored as one part
PER_DAY = 10_000
SEED = 2024
BANK_DAYS = {"first": 200, "later": 600}
MARGIN = GATE.margin
BUDGET = GATE.budget or ErrorBudget()
WORSE = Scenario(name="all just worse", gain=MARGIN - 1e-9, relative=True)
MIXED = Scenario(name="mixture", gain=-0.002, spread=0.004)
SWINGING = Scenario(name="swinging", gain=-0.004, spread=0.003, relative=True, swing=0.005)
RUNS: tuple[tuple[Scenario, Gate], ...] = (
    *((WORSE, gate) for gate in ("each cut-off", "normal", "betting", "betting, online FDR")),
    *((MIXED, gate) for gate in ("each cut-off", "normal", "betting", "betting, online FDR")),
    *((SWINGING, gate) for gate in ("each cut-off", "betting")),
)
GAINS_PP = (0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
FOLLOWED = 60  # days that one candidate is followed for the power curve
FOLLOWERS = 400  # candidates a point of the curve
CHART = "peeking-power.svg"


def run(
    bench: Workbench,
    *,
    years: int = YEARS,
    per_day: int = PER_DAY,
    bank_days: dict[str, int] = BANK_DAYS,
    images: Path | None = PACKAGE.parent / "docs" / "images",
) -> None:
    """Measures the noise, lives the years under each gate, and draws the power curve."""
    noise = bench.part("noise", lambda: _noise(per_day, bank_days))
    banks = {name: _bank(noise[name]["bank"]) for name in ("first", "later")}
    for name, label in (("first", "uniform logs"), ("later", "a champion's logs")):
        bench.check(
            f"skewness of a three-day difference, {label}", noise[name]["skewness"],
            f"reported; a decision's sd {noise[name]['sd']:.2f}, at least"
            f" {noise[name]['lowest']:.0f}", ok=None,
        )  # fmt: skip
    chunks: list[tuple[Scenario, Gate, int]] = [
        (scenario, gate, i) for scenario, gate in RUNS for i in range(0, years, CHUNK)
    ]
    found: dict[tuple[str, str], list[Promotions]] = {}
    for scenario, gate, begin in bench.track(chunks, "years"):
        size = min(CHUNK, years - begin)
        key = f"{scenario.name}-{gate}-{begin}".replace(" ", "-").replace(",", "")
        part = bench.part(key, _chunk(banks["later"], scenario, gate, size, begin))
        found.setdefault((scenario.name, gate), []).append(_promotions(part))
    for (scenario, gate), parts in found.items():
        _errors(bench, scenario, gate, parts, years)
    curves = bench.part("power", lambda: _curves(banks))
    _power(bench, curves)
    if images is not None and images.is_dir():
        _draw(curves, images / CHART)


def _noise(per_day: int, bank_days: dict[str, int]) -> dict[str, Any]:
    pools = measure(Environment(seed=SEED), per_day=per_day)
    return {
        name: _measured(pool, bank_days[name])
        for name, pool in (("first", pools.first), ("later", pools.later))
    }


def _measured(pool: Pool, days: int) -> dict[str, Any]:
    deviation, skewness = pool.moments()
    made = bank(pool, days=days, margin=MARGIN, rng=stream(SEED, "peeking", "days"))
    return {
        "sd": float(deviation.mean()),
        "skewness": float(skewness.mean()),
        "lowest": pool.lowest,
        "bank": {name: values.tolist() for name, values in vars(made).items()},
    }


def _bank(stored: dict[str, Any]) -> Bank:
    return Bank(**{name: np.array(values) for name, values in stored.items()})


def _chunk(
    found: Bank, scenario: Scenario, gate: Gate, years: int, begin: int
) -> Callable[[], dict[str, Any]]:
    def compute() -> dict[str, Any]:
        made = simulate(
            found,
            scenario,
            gate,
            years=years,
            margin=MARGIN,
            error=BUDGET.error,
            challengers=BUDGET.challengers,
            rng=stream(SEED, "peeking", scenario.name, str(begin)),
        )
        return {name: values.tolist() for name, values in asdict(made).items()}

    return compute


def _promotions(part: dict[str, Any]) -> Promotions:
    return Promotions(
        year=np.array(part["year"], dtype=np.int64),
        day=np.array(part["day"], dtype=np.int64),
        judged=np.array(part["judged"], dtype=np.float64),
        then=np.array(part["then"], dtype=np.float64),
    )


def clopper_pearson(successes: int, trials: int, *, level: float = 0.95) -> tuple[float, float]:
    """Exact interval for a probability. Source: Clopper and Pearson (1934)."""
    tail = (1 - level) / 2
    low = float(beta.ppf(tail, successes, trials - successes + 1)) if successes else 0.0
    rest = trials - successes
    return low, float(beta.ppf(1 - tail, successes + 1, rest)) if rest else 1.0


def _errors(
    bench: Workbench, scenario: str, gate: str, parts: list[Promotions], years: int
) -> None:
    """In how many years a bad promotion happened; the gate in use, and the one it replaces."""
    bad = sum(len(np.unique(part.year[worsening(part, MARGIN)])) for part in parts)
    made = sum(len(part.year) for part in parts)
    wrong = sum(int(worsening(part, MARGIN).sum()) for part in parts)
    then = sum(int((part.then <= MARGIN).sum()) for part in parts)
    low, high = clopper_pearson(bad, years)
    tells = f"{made / years:.2f} promotions a year, {wrong} of {made} worsening"
    if scenario == SWINGING.name:
        tells += f", {then} on the day itself"
    ok: bool | None = None
    threshold = "reported"
    if gate == "betting":
        ok, threshold = high <= BUDGET.error, f"upper end <= {BUDGET.error:g}"
    elif gate == "each cut-off" and scenario == WORSE.name:
        ok, threshold = low > BUDGET.error, f"lower end > {BUDGET.error:g}: it breaks"
    bench.check(
        f"share of {years} years with a worsening promotion: {scenario}, {gate}", bad / years,
        f"{threshold} ({tells})", ok=ok, interval=(low, high),
    )  # fmt: skip


def _curves(banks: dict[str, Bank]) -> dict[str, Any]:
    """Days to promotion of single candidates, a list a gain, for each of the logs and gates."""
    share = BUDGET.share(CANDIDATES)
    today = NormalDist().inv_cdf(1 - (1 - LEVEL) / (2 * CANDIDATES))

    def days(name: str, gain: float, normal: float | None) -> list[float | None]:
        passed = days_to_promotion(
            banks[name],
            above=gain / 100 - MARGIN,
            error=share,
            runs=FOLLOWERS,
            days=FOLLOWED,
            normal=normal,
            rng=stream(SEED, "peeking", "power", name, f"{gain:g}"),
        )
        return [each if np.isfinite(each) else None for each in passed.tolist()]

    return {
        name: {
            gate: [days(name, gain, normal) for gain in GAINS_PP]
            for gate, normal in (("betting", None), ("each cut-off", today))
        }
        for name in banks
    }


def _within(passed: list[float | None], days: int) -> float:
    return float(np.mean([each is not None and each <= days for each in passed]))


def _power(bench: Workbench, curves: dict[str, Any]) -> None:
    """How surely, and how soon, a candidate that is truly better is promoted."""
    wanted = -log(BUDGET.share(CANDIDATES))
    bench.check("logarithm of the capital that promotes", wanted, "reported", ok=None)
    for name, label in (("first", "uniform logs"), ("later", "a champion's logs")):
        for i, gain in enumerate(GAINS_PP):
            passed, before = curves[name]["betting"][i], curves[name]["each cut-off"][i]
            median = np.median([each or np.inf for each in passed])
            good = name == "first" and gain == 3.0
            bench.check(
                f"promoted at the first look, {label}, truly +{gain:g} pp",
                _within(passed, HOLDOUT),
                f"{'at least 0.9' if good else 'reported'}; {_within(passed, 14):.2f} in 14 days,"
                f" {_within(passed, FOLLOWED):.2f} in {FOLLOWED}, median {median:g} days;"
                f" without a budget {_within(before, HOLDOUT):.2f}",
                ok=_within(passed, HOLDOUT) >= 0.9 if good else None,
                interval=clopper_pearson(
                    round(_within(passed, HOLDOUT) * len(passed)), len(passed)
                ),
            )


_LINES = (
    ("betting", HOLDOUT, "betting, first look", "#0072B2", "o", "-"),
    ("betting", 14, "betting, within 14 days", "#009E73", "s", "-"),
    ("betting", FOLLOWED, f"betting, within {FOLLOWED} days", "#CC79A7", "^", "-"),
    ("each cut-off", HOLDOUT, "each cut-off by itself, breaks its error", "#999999", "x", "--"),
)


def _draw(curves: dict[str, Any], path: Path) -> None:
    """The power curve, for the documentation."""
    import matplotlib as mpl  # takes a second to import
    from matplotlib.figure import Figure

    mpl.rcParams["svg.hashsalt"] = "peeking"
    mpl.rcParams["svg.fonttype"] = "none"
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    titles = ("On the uniform baseline's logs", "On a champion's logs")
    for axes, name, title in zip((left, right), ("first", "later"), titles, strict=True):
        for gate, days, label, colour, marker, style in _LINES:
            shares = [_within(passed, days) for passed in curves[name][gate]]
            axes.plot(GAINS_PP, shares, color=colour, marker=marker, linestyle=style, label=label)
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("true gain over the champion, percentage points")
        axes.set_xscale("symlog", linthresh=0.1)
        axes.set_xticks([0, 0.1, 0.3, 1, 3, 6], ["0", "0.1", "0.3", "1", "3", "6"])
        axes.grid(alpha=0.3)
    left.set_ylabel("share of candidates promoted")
    right.legend(fontsize=8)
    figure.savefig(path, metadata={"Date": None})
