"""How often the gate errs in a year of daily looks, and how soon it promotes what is better."""

from collections.abc import Callable
from math import log
from typing import Any

import numpy as np

from decisions.cli.report import Workbench
from decisions.cli.study.evidence_noise import TRAINED, Pool, measure
from decisions.cli.study.evidence_support import clopper_pearson
from decisions.cli.study.evidence_years import (
    Bank,
    Promotions,
    Scenario,
    bank,
    looks_to_promotion,
    simulate,
    worsening,
)
from decisions.domains.payments import DOMAIN
from decisions.domains.payments.evaluation import GATE
from decisions.domains.payments.simulator import Environment
from decisions.gate import ErrorBudget
from decisions.policy import FloatArray
from decisions.seeds import stream

YEARS = 500
CHUNK = 100  # years that are simulated side by side, and stored as one part
PER_DAY = 10_000
SEED = 2024
BANK_DAYS = 400
MARGIN = GATE.margin
BUDGET = GATE.budget or ErrorBudget()
WORSE = Scenario(name="all just worse", gain=MARGIN - 1e-9, relative=True)
MIXED = Scenario(name="a mixture", gain=-0.002, spread=0.004)
SWINGING = Scenario(name="swinging", gain=-0.004, spread=0.003, relative=True, swing=0.005)
AS_LOGGED = "as logged"
LOGS = {
    "first": "uniform logs",
    AS_LOGGED: "a champion's logs",
    "2": "2 rows a card",
    "15": "15 rows a card",
}
RUNS: tuple[tuple[str, Scenario, bool], ...] = (  # the last: of production's candidates
    ("first", WORSE, True),
    *((rows, WORSE, True) for rows in (AS_LOGGED, "2", "15")),
    (AS_LOGGED, MIXED, True),
    (AS_LOGGED, SWINGING, True),
    *((rows, WORSE, False) for rows in (AS_LOGGED, "15")),
)
GAINS_PP = (0.0, 0.2, 0.3, 0.5, 0.7, 1.0, 2.0, 3.0)
FOLLOWED = 60  # looks at one candidate
FOLLOWERS = 400  # candidates a gain
SOON = {0.5: 5}  # at most so many looks, at the median, for a gain of so many points
PRODUCTION = list(range(len(DOMAIN.candidates) * len(TRAINED)))  # columns of a champion's logs


def check_promotions(
    bench: Workbench,
    *,
    years: int = YEARS,
    per_day: int = PER_DAY,
    bank_days: int = BANK_DAYS,
) -> None:
    """Measures the noise, lives the years, and follows candidates until they are promoted."""
    noise = bench.part("noise", lambda: _noise(per_day, bank_days))
    banks = {name: _bank(noise[name]["bank"]) for name in LOGS}
    for name, about in LOGS.items():
        bench.check(
            f"a row's difference can be at least, {about}", noise[name]["lowest"],
            f"reported; standard deviations {', '.join(f'{sd:.2f}' for sd in noise[name]['sd'])},"
            " the last of SquareCB", ok=None,
        )  # fmt: skip
        bench.check(
            f"luck of the arms in the mean difference, {about}", max(noise[name]["luck"][:-1]),
            f"reported; {noise[name]['luck'][-1]:.2g} of SquareCB", ok=None,
        )  # fmt: skip
    chunks = [(*each, i) for each in RUNS for i in range(0, years, CHUNK)]
    parts: dict[tuple[str, str, bool], list[Promotions]] = {}
    for name, scenario, ours, begin in bench.track(chunks, "years"):
        key = f"years-{name}-{scenario.name}-{ours}-{begin}".replace(" ", "-")
        last = len(noise[name]["luck"]) - 1
        part = bench.part(
            key,
            _chunk(
                banks[name],
                scenario,
                columns=list(range(last)) if ours else [last],
                luck=np.array(noise[name]["luck"]),
                years=min(CHUNK, years - begin),
                begin=begin,
            ),
        )
        parts.setdefault((name, scenario.name, ours), []).append(_promotions(part))
    for (name, scenario, ours), chunk in parts.items():
        _errors(bench, LOGS[name], scenario, chunk, years, ours=ours)
    curves = bench.part("looks", lambda: _curves(banks))
    _looks(bench, curves)


def _noise(per_day: int, bank_days: int) -> dict[str, Any]:
    pools = measure(Environment(seed=SEED), per_day=per_day)
    grouped = {
        "first": pools.first,
        AS_LOGGED: pools.later,
        "2": pools.later.regrouped(2),
        "15": pools.later.regrouped(15),
    }
    return {name: _measured(pool, bank_days) for name, pool in grouped.items()}


def _measured(pool: Pool, days: int) -> dict[str, Any]:
    made = bank(pool, days=days, margin=MARGIN, rng=stream(SEED, "evidence", "days"))
    return {
        "sd": pool.deviation().tolist(),
        "lowest": float(pool.lowest.min()),
        "luck": pool.luck_of_arms().tolist(),
        "bank": {name: values.tolist() for name, values in vars(made).items()},
    }


def _bank(stored: dict[str, Any]) -> Bank:
    return Bank(**{name: np.array(values) for name, values in stored.items()})


def _chunk(
    drawn_from: Bank,
    scenario: Scenario,
    *,
    columns: list[int],
    luck: FloatArray,
    years: int,
    begin: int,
) -> Callable[[], dict[str, Any]]:
    def compute() -> dict[str, Any]:
        made = simulate(
            drawn_from,
            scenario,
            years=years,
            margin=MARGIN,
            error=BUDGET.error,
            challengers=BUDGET.challengers,
            columns=columns,
            luck=luck,
            rng=stream(SEED, "evidence", scenario.name, str(begin)),
        )
        return {"year": made.year.tolist(), "judged": made.judged.tolist()}

    return compute


def _promotions(part: dict[str, Any]) -> Promotions:
    return Promotions(
        year=np.array(part["year"], dtype=np.int64),
        judged=np.array(part["judged"], dtype=np.float64),
    )


def _errors(
    bench: Workbench,
    about: str,
    scenario: str,
    parts: list[Promotions],
    years: int,
    *,
    ours: bool,
) -> None:
    """In how many years a bad promotion happened."""
    bad = sum(len(np.unique(part.year[worsening(part, MARGIN)])) for part in parts)
    made = sum(len(part.year) for part in parts)
    wrong = sum(int(worsening(part, MARGIN).sum()) for part in parts)
    low, high = clopper_pearson(bad, years)
    bench.check(
        f"share of {years} years with a worsening promotion: {scenario}, {about}"
        f"{'' if ours else ', SquareCB'}", bad / years,
        f"{f'upper end <= {BUDGET.error:g}' if ours else 'reported'} ({made / years:.2f}"
        f" promotions a year, {wrong} of {made} worsening)",
        ok=high <= BUDGET.error if ours else None, interval=(low, high),
    )  # fmt: skip


def _curves(banks: dict[str, Bank]) -> dict[str, list[list[float | None]]]:
    """Looks to promotion of single candidates, a list a gain, for each of the logs."""

    def looks(name: str, columns: list[int], gain: float) -> list[float | None]:
        passed: FloatArray = looks_to_promotion(
            banks[name],
            above=gain / 100 - MARGIN,
            error=BUDGET.share(len(DOMAIN.candidates)),
            runs=FOLLOWERS,
            looks=FOLLOWED,
            columns=columns,
            rng=stream(SEED, "evidence", "looks", name, f"{gain:g}"),
        )
        return [count if np.isfinite(count) else None for count in passed.tolist()]

    other = len(PRODUCTION)
    first = list(range(len(DOMAIN.candidates)))
    return {
        "uniform logs": [looks("first", first, gain) for gain in GAINS_PP],
        "a champion's logs": [looks(AS_LOGGED, PRODUCTION, gain) for gain in GAINS_PP],
        "15 rows a card": [looks("15", PRODUCTION, gain) for gain in GAINS_PP],
        "a champion's logs, SquareCB": [looks(AS_LOGGED, [other], gain) for gain in GAINS_PP],
    }


def _within(passed: list[float | None], looks: int) -> float:
    return float(np.mean([count is not None and count <= looks for count in passed]))


def _looks(bench: Workbench, curves: dict[str, list[list[float | None]]]) -> None:
    """How soon, and how surely, a candidate that is truly better is promoted."""
    wanted = -log(BUDGET.share(len(DOMAIN.candidates)))
    bench.check("logarithm of the capital that promotes", wanted, "reported", ok=None)
    for about, curve in curves.items():
        for gain, passed in zip(GAINS_PP, curve, strict=True):
            median = float(np.median([count or np.inf for count in passed]))
            soon = SOON.get(gain) if about == "a champion's logs" else None
            bench.check(
                f"median looks to promotion, {about}, truly +{gain:g} pp", median,
                f"{'reported' if soon is None else f'at most {soon}'};"
                f" {_within(passed, 1):.2f} at the first look, {_within(passed, 5):.2f} by the"
                f" 5th, {_within(passed, 12):.2f} by the 12th, of {len(passed)}",
                ok=None if soon is None else median <= soon,
            )  # fmt: skip
