"""Simulated years: candidates arrive every day, a gate looks every day, champions change."""

from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np
import numpy.typing as npt

from decisions.cli.study.peeking_noise import Pool
from decisions.evidence import BETS
from decisions.policy import BoolArray, FloatArray, IntArray

DAYS = 365
CANDIDATES = 2  # a day
HOLDOUT = 3  # days a candidate is first judged on
LEVEL = 0.95  # of the interval that the gate without a budget reads
_SHOWN = 8  # bets that a study follows: the largest safe ones
_NONE = np.zeros(0)
Gate = Literal["each cut-off", "normal", "betting", "betting, online FDR"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Bank:
    """What `d` simulated days say of `p` policies, each against the logger, truth taken out.

    Sums over the rows of a day: `rows` (d,), `total` (d, p), `squares` (d, p, p) between cards;
    and for the bets in use, (d, p, bets): logarithms of what they make of a difference of zero,
    `wealth`, with its first and second derivative along a shift of all differences.
    """

    bets: FloatArray
    rows: FloatArray
    total: FloatArray
    squares: FloatArray
    wealth: FloatArray
    slope: FloatArray
    curve: FloatArray

    @property
    def share(self) -> FloatArray:
        """Logarithm of the capital that each bet begins with, (bets,)."""
        place = np.arange(len(self.bets))
        return -np.log((place + 1.0) * (place + 2.0))


def bank(pool: Pool, *, days: int, margin: float, rng: np.random.Generator) -> Bank:
    """`days` new days of a pool, with the bets that its range allows against `margin`.

    What is left of a mean is taken out: days that are drawn again and again would add it up.
    """
    reach = margin - pool.lowest
    bets = np.array([bet for bet in BETS if bet * reach <= 0.95][:_SHOWN])
    parts = [_day(*pool.day(rng), bets) for _ in range(days)]
    columns = [np.array([part[i] for part in parts]) for i in range(6)]
    rows, total, squares, wealth, slope, curve = columns
    left = (total.sum(axis=0) / rows.sum())[:, None]
    return Bank(
        bets=bets,
        rows=rows,
        total=total - rows[:, None] * left[:, 0],
        squares=squares,
        wealth=wealth - left * slope - left**2 * curve / 2,
        slope=slope + left * curve,
        curve=curve,
    )


def _day(terms: FloatArray, starts: IntArray, bets: FloatArray) -> tuple[FloatArray, ...]:
    cards = np.add.reduceat(terms - terms.mean(axis=0), starts, axis=0)
    inverse = [1 / (1 + bet * terms) for bet in bets]
    return (
        np.array(float(len(terms))),
        terms.sum(axis=0),
        cards.T @ cards,
        np.stack([-np.log(each).sum(axis=0) for each in inverse], axis=1),
        np.stack([each.sum(axis=0) for each in inverse], axis=1) * bets,
        np.stack([(each**2).sum(axis=0) for each in inverse], axis=1) * bets**2,
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
    """Every promotion of some years: year and day, and the true difference that it made.

    `judged` is the mean over the decisions it was judged on, `then` that of its last day.
    """

    year: IntArray
    day: IntArray
    judged: FloatArray
    then: FloatArray


class _Years:
    """Cumulated sums of `years` years of days drawn from a bank, (years, days + 1, ...)."""

    def __init__(
        self, found: Bank, scenario: Scenario, years: int, rng: np.random.Generator
    ) -> None:
        drawn = rng.integers(0, len(found.rows), (years, DAYS))
        phase = rng.random((years, 1)) * scenario.period
        swing = scenario.swing * np.sin(2 * np.pi * (np.arange(DAYS) + phase) / scenario.period)
        wide = swing[:, :, None, None]
        rows = found.rows[drawn]
        slope, curve = found.slope[drawn], found.curve[drawn]
        self.swing = swing
        self.rows = _summed(rows)
        self.swung = _summed(rows * swing)
        self.total = _summed(found.total[drawn] + (rows * swing)[:, :, None])
        self.squares = _summed(found.squares[drawn])
        self.wealth = _summed(found.wealth[drawn] + wide * slope - wide**2 * curve / 2)
        self.slope = _summed(slope - wide * curve)
        self.curve = _summed(curve)
        self.share = found.share
        self.index = np.arange(years)

    def log_e_value(
        self, column: IntArray, since: IntArray, until: int, above: FloatArray
    ) -> FloatArray:
        """Of candidates whose true differences exceed the margin by `above`; all (years,)."""
        end, begin = (self.index, until, column), (self.index, since, column)
        shift = above[:, None]
        wealth = self.wealth[end] - self.wealth[begin]
        slope, curve = (x[end] - x[begin] for x in (self.slope, self.curve))
        each = wealth + shift * slope - shift**2 * curve / 2 + self.share
        top = each.max(axis=1)
        return top + np.log(np.exp(each - top[:, None]).sum(axis=1))

    def interval(
        self, column: IntArray, champion: IntArray, chosen: IntArray, until: int, since: IntArray
    ) -> tuple[FloatArray, FloatArray]:
        """Estimate less its truth, and standard error: before `chosen` another one logged."""
        y, between = self.index, np.clip(chosen, since, until)
        rows = self.rows[y, until] - self.rows[y, since]
        total = self.total[y, until, column] - self.total[y, since, column]
        early = champion >= 0
        old = np.where(early, champion, 0)
        total -= early * (self.total[y, between, old] - self.total[y, since, old])
        late = self.squares[y, until] - self.squares[y, between]
        before = self.squares[y, between] - self.squares[y, since]
        squares = late[y, column, column] + before[y, column, column]
        squares += early * (before[y, old, old] - 2 * before[y, column, old])
        return total / rows, np.sqrt(squares) / rows

    def drifted(self, since: IntArray, until: int) -> FloatArray:
        """Mean swing over the rows of a span, (years,)."""
        y = self.index
        rows = self.rows[y, until] - self.rows[y, since]
        return (self.swung[y, until] - self.swung[y, since]) / rows


def _summed(values: FloatArray) -> FloatArray:
    zero = np.zeros((values.shape[0], 1, *values.shape[2:]))
    return np.concatenate([zero, values.cumsum(axis=1)], axis=1)


def simulate(
    found: Bank,
    scenario: Scenario,
    gate: Gate,
    *,
    years: int,
    margin: float,
    error: float,
    challengers: int,
    rng: np.random.Generator,
) -> Promotions:
    """What a gate promotes over `years` years of DAYS daily looks at CANDIDATES new candidates.

    On day t it reads the rows of days before t. Differences of two candidates come from the same
    rows, also between days whose holdouts overlap. Of several that pass, one is promoted.
    """
    time = _Years(found, scenario, years, rng)
    policies = found.total.shape[1]
    y, slots = time.index, DAYS * CANDIDATES
    value, champion = np.zeros(years), np.full(years, -1)
    chosen, promoted = np.zeros(years, dtype=np.int64), np.zeros(years)
    column = rng.integers(0, policies, (years, slots))
    worth = scenario.gain + scenario.spread * rng.standard_normal((years, slots))
    since = np.zeros((years, slots), dtype=np.int64)
    best = np.full((years, slots), -np.inf)  # what is known of each that is held
    wanted = np.full((years, slots), np.inf)
    made: list[tuple[npt.NDArray[np.generic], ...]] = []  # year, day, judged, then
    share = error / (DAYS * CANDIDATES)
    level = 1 - (1 - LEVEL) / (2 * CANDIDATES) if gate == "each cut-off" else 1 - share
    reach = NormalDist().inv_cdf(level)
    betting = gate.startswith("betting")
    for day in range(HOLDOUT, DAYS):
        start = np.full(years, day - HOLDOUT)
        if gate != "each cut-off":
            start = np.maximum(start, chosen)
        passed = np.full((years, CANDIDATES + challengers), -np.inf)
        looked = np.zeros((years, CANDIDATES + challengers), dtype=np.int64)
        usable = start < day
        start = np.minimum(start, day - 1)
        for place in range(CANDIDATES):
            k = day * CANDIDATES + place
            worth[:, k] += value if scenario.relative else 0.0
            above, since[:, k] = worth[:, k] - value - margin, start
            looked[:, place] = k
            if betting:
                best[:, k] = time.log_e_value(column[:, k], start, day, above)
                more = promoted + 1 if gate == "betting, online FDR" else 1.0
                wanted[:, k] = -np.log(share * more)
                passed[:, place] = np.where(best[:, k] >= wanted[:, k], best[:, k], -np.inf)
            else:
                off, half = time.interval(column[:, k], champion, chosen, day, start)
                lower = above + off - reach * half
                passed[:, place] = np.where(lower > 0, lower, -np.inf)
            passed[~usable, place] = -np.inf
            best[~usable, k] = -np.inf
        if betting:
            before = best[:, : day * CANDIDATES]
            leading = np.argpartition(-before, challengers, axis=1)[:, :challengers]
            for place, k in enumerate(leading.T, start=CANDIDATES):
                above = worth[y, k] - value - margin
                now = time.log_e_value(column[y, k], since[y, k], day, above)
                now[before[y, k] == -np.inf] = -np.inf
                best[y, k] = now
                looked[:, place] = k
                passed[:, place] = np.where(now >= wanted[y, k], now, -np.inf)
        place = passed.argmax(axis=1)
        won = passed[y, place] > -np.inf
        if won.any():
            k = looked[y, place]
            gained = worth[y, k] - value
            drift = time.drifted(since[y, k], day)
            then = gained + time.swing[:, day - 1]
            made.append((y[won], np.full(int(won.sum()), day), (gained + drift)[won], then[won]))
            value = np.where(won, worth[y, k], value)
            champion = np.where(won, column[y, k], champion)
            chosen = np.where(won, day, chosen)
            promoted += won
            best[won] = -np.inf
    whole = [np.concatenate(part) for part in zip(*made, strict=True)] if made else [_NONE] * 4
    return Promotions(
        year=whole[0].astype(np.int64), day=whole[1].astype(np.int64),
        judged=whole[2].astype(np.float64), then=whole[3].astype(np.float64),
    )  # fmt: skip


def days_to_promotion(
    found: Bank,
    *,
    above: float,
    error: float,
    runs: int,
    days: int,
    normal: float | None,
    rng: np.random.Generator,
) -> FloatArray:
    """Days of rows until one candidate passes, (runs,); infinite where `days` were too few.

    Its true difference exceeds the margin by `above`. The first look is at HOLDOUT days, the next
    ones a day later each. With `normal`, a quantile, it is looked at once, with that bound.
    """
    drawn = rng.integers(0, len(found.rows), (runs, days))
    column = rng.integers(0, found.total.shape[1], runs)
    pick = (drawn, column[:, None])
    if normal is not None:
        rows = found.rows[drawn[:, :HOLDOUT]].sum(axis=1)
        total = found.total[pick][:, :HOLDOUT].sum(axis=1)
        squares = found.squares[drawn, column[:, None], column[:, None]][:, :HOLDOUT].sum(axis=1)
        good = above + total / rows - normal * np.sqrt(squares) / rows > 0
        return np.where(good, float(HOLDOUT), np.inf)
    each = (
        found.wealth[pick] + above * found.slope[pick] - above**2 * found.curve[pick] / 2
    ).cumsum(axis=1) + found.share
    top = each.max(axis=2)
    e_value = top + np.log(np.exp(each - top[:, :, None]).sum(axis=2))
    good = e_value >= -np.log(error)
    good[:, : HOLDOUT - 1] = False
    return np.where(good.any(axis=1), good.argmax(axis=1) + 1.0, np.inf)


def worsening(found: Promotions, margin: float) -> BoolArray:
    """Which promotions were of a candidate truly no better than the margin, as it was judged."""
    return found.judged <= margin
