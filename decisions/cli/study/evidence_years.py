"""Simulated years: candidates arrive every day, a gate looks every day, champions change."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from decisions.cli.study.evidence_noise import Pool
from decisions.evidence import BETS
from decisions.policy import BoolArray, FloatArray, IntArray

DAYS = 365
CANDIDATES = 2  # a day
HOLDOUT = 3  # days a candidate is first judged on
_NONE = np.zeros(0)


@dataclass(frozen=True, kw_only=True, eq=False)
class Bank:
    """What `d` simulated days say of `p` policies, each against the logger, truth taken out.

    `rows` (d,) of each day; and, (d, p, bets), logarithms of what each bet makes of a difference
    of zero, `wealth`, with its first and second derivative along a shift of all differences.
    """

    rows: FloatArray
    wealth: FloatArray
    slope: FloatArray
    curve: FloatArray


def log_e_value(sums: Iterable[FloatArray], above: FloatArray) -> FloatArray:
    """Of `sums`, wealth, slope and curve (..., bets), where `above` (...) exceeds the margin."""
    wealth, slope, curve = sums
    shift: FloatArray = above[..., None]
    each = wealth + shift * slope - shift**2 * curve / 2 - np.log(len(BETS))
    top = each.max(axis=-1)
    return top + np.log(np.exp(each - top[..., None]).sum(axis=-1))


def bank(pool: Pool, *, days: int, margin: float, rng: np.random.Generator) -> Bank:
    """`days` new days of a pool, with the bets of the gate against `margin`.

    What is left of a mean is taken out: days that are drawn again and again would add it up.
    """
    stakes = pool.stakes(margin)
    parts = [_day(*pool.day(rng), stakes) for _ in range(days)]
    rows, total, wealth, slope, curve = (np.array([part[i] for part in parts]) for i in range(5))
    left = (total.sum(axis=0) / rows.sum())[:, None]
    return Bank(
        rows=rows,
        wealth=wealth - left * slope - left**2 * curve / 2,
        slope=slope + left * curve,
        curve=curve,
    )


def _day(terms: FloatArray, starts: IntArray, stakes: FloatArray) -> tuple[FloatArray, ...]:
    sums = np.add.reduceat(terms, starts, axis=0)
    size = np.diff(np.append(starts, len(terms)))[:, None]
    inverse = [1 / (1 + stake * sums) for stake in stakes.T]  # (clusters, p) a bet
    return (
        np.array(float(len(terms))),
        terms.sum(axis=0),
        np.stack([-np.log(part).sum(axis=0) for part in inverse], axis=1),
        np.stack([(size * part).sum(axis=0) for part in inverse], axis=1) * stakes,
        np.stack([((size * part) ** 2).sum(axis=0) for part in inverse], axis=1) * stakes**2,
    )


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """What candidates are truly worth, in units of reward.

    `gain` and `spread` are mean and standard deviation of a candidate's value, the first champion
    being worth zero; with `relative` they are of its difference from the champion of its day. All
    candidates' differences swing together by `swing` with a period of `period` days.
    """

    name: str
    gain: float
    spread: float = 0.0
    relative: bool = False
    swing: float = 0.0
    period: float = 60.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Promotions:
    """Every promotion of some years: the year, and the true difference that it made.

    `judged` is the mean over the decisions it was judged on.
    """

    year: IntArray
    judged: FloatArray


class _Years:
    """Cumulated sums of `years` years of days drawn from a bank, (years, days + 1, ...)."""

    def __init__(
        self, drawn_from: Bank, scenario: Scenario, years: int, rng: np.random.Generator
    ) -> None:
        drawn = rng.integers(0, len(drawn_from.rows), (years, DAYS))
        phase = rng.random((years, 1)) * scenario.period
        swing = scenario.swing * np.sin(2 * np.pi * (np.arange(DAYS) + phase) / scenario.period)
        wide = swing[:, :, None, None]
        rows = drawn_from.rows[drawn]
        slope, curve = drawn_from.slope[drawn], drawn_from.curve[drawn]
        self.rows, self.swung = _summed(rows), _summed(rows * swing)
        wealth = drawn_from.wealth[drawn] + wide * slope - wide**2 * curve / 2
        self.wealth, self.slope = _summed(wealth), _summed(slope - wide * curve)
        self.curve = _summed(curve)
        self.index = np.arange(years)

    def log_e_value(
        self, column: IntArray, since: IntArray, until: int, above: FloatArray
    ) -> FloatArray:
        """Of candidates whose true differences exceed the margin by `above`; all (years,)."""
        end, begin = (self.index, until, column), (self.index, since, column)
        sums = (x[end] - x[begin] for x in (self.wealth, self.slope, self.curve))
        return log_e_value(sums, above)

    def drifted(self, since: IntArray, until: int) -> FloatArray:
        """Mean swing over the rows of a span, (years,)."""
        y = self.index
        rows = self.rows[y, until] - self.rows[y, since]
        return (self.swung[y, until] - self.swung[y, since]) / rows


def _summed(values: FloatArray) -> FloatArray:
    zero = np.zeros((values.shape[0], 1, *values.shape[2:]))
    return np.concatenate([zero, values.cumsum(axis=1)], axis=1)


def simulate(
    drawn_from: Bank,
    scenario: Scenario,
    *,
    years: int,
    margin: float,
    error: float,
    challengers: int,
    columns: list[int],
    luck: FloatArray,
    rng: np.random.Generator,
) -> Promotions:
    """What the gate promotes over `years` years of DAYS daily looks at CANDIDATES new candidates.

    Their noise is that of one of the policies `columns`. Cards keep their arms, so each difference
    is off by luck for as long as the candidate is judged: normal, with the standard deviation
    `luck` (p,) of its policy. On day t the gate reads the rows of days before t. Differences of
    two candidates come from the same rows, also between days whose holdouts overlap. Of several
    that pass, one is promoted.
    """
    time = _Years(drawn_from, scenario, years, rng)
    y, slots = time.index, DAYS * CANDIDATES
    value, chosen = np.zeros(years), np.zeros(years, dtype=np.int64)
    column = rng.choice(columns, (years, slots))
    off = luck[column] * rng.standard_normal((years, slots)) - margin
    worth = scenario.gain + scenario.spread * rng.standard_normal((years, slots))
    since = np.zeros((years, slots), dtype=np.int64)
    best = np.full((years, slots), -np.inf)  # what each that is held has won
    wanted = -np.log(error / (DAYS * CANDIDATES))
    made: list[tuple[npt.NDArray[np.generic], ...]] = []  # year, judged
    for day in range(HOLDOUT, DAYS):
        start = np.maximum(np.full(years, day - HOLDOUT), chosen)
        usable, start = start < day, np.minimum(start, day - 1)
        looked = np.zeros((years, CANDIDATES + challengers), dtype=np.int64)
        won = np.full((years, CANDIDATES + challengers), -np.inf)
        for place in range(CANDIDATES):
            k = day * CANDIDATES + place
            worth[:, k] += value if scenario.relative else 0.0
            since[:, k], looked[:, place] = start, k
            above = worth[:, k] - value + off[:, k]
            now = time.log_e_value(column[:, k], start, day, above)
            best[:, k] = won[:, place] = np.where(usable, now, -np.inf)
        before = best[:, : day * CANDIDATES]
        leading = np.argpartition(-before, challengers, axis=1)[:, :challengers]
        for place, k in enumerate(leading.T, start=CANDIDATES):
            above = worth[y, k] - value + off[y, k]
            now = time.log_e_value(column[y, k], since[y, k], day, above)
            best[y, k] = won[:, place] = np.where(before[y, k] > -np.inf, now, -np.inf)
            looked[:, place] = k
        place = won.argmax(axis=1)
        passed = won[y, place] >= wanted
        if passed.any():
            k = looked[y, place]
            judged = worth[y, k] - value + time.drifted(since[y, k], day)
            made.append((y[passed], judged[passed]))
            value = np.where(passed, worth[y, k], value)
            chosen = np.where(passed, day, chosen)
            best[passed] = -np.inf
    whole = [np.concatenate(part) for part in zip(*made, strict=True)] if made else [_NONE] * 2
    return Promotions(year=whole[0].astype(np.int64), judged=whole[1].astype(np.float64))


def looks_to_promotion(
    drawn_from: Bank,
    *,
    above: float,
    error: float,
    runs: int,
    looks: int,
    columns: list[int],
    rng: np.random.Generator,
) -> FloatArray:
    """Looks until one candidate passes, (runs,); infinite where `looks` were too few.

    Its true difference exceeds the margin by `above`, its noise is that of one of the policies
    `columns`. The first look is at HOLDOUT days of rows, each later one at a day more.
    """
    drawn = rng.integers(0, len(drawn_from.rows), (runs, looks + HOLDOUT - 1))
    pick = (drawn, rng.choice(columns, runs)[:, None])
    sums = (
        x[pick].cumsum(axis=1)[:, HOLDOUT - 1 :]
        for x in (drawn_from.wealth, drawn_from.slope, drawn_from.curve)
    )
    won = log_e_value(sums, np.full((runs, looks), above)) >= -np.log(error)
    return np.where(won.any(axis=1), won.argmax(axis=1) + 1.0, np.inf)


def worsening(promotions: Promotions, margin: float) -> BoolArray:
    """Which promotions were of a candidate truly no better than the margin, as it was judged."""
    return promotions.judged <= margin
