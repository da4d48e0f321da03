"""What the series of a domain's generations shows, as numbers: before any verdict."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, cast

import numpy as np

from decisions.diagnostics import series
from decisions.diagnostics.mechanism import correlation, panel
from decisions.policy import FloatArray, IntArray

PERMUTATIONS = 2_000
POWER = 0.8  # with which the smallest visible swing is seen
NEGATIVES = "negatives_share"
FLAT = 1e-6  # a standard deviation up to this is rounding
_LAGS = 8
_IMAGINED = 200  # series in which swings are imagined


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """Of one series; NaN where it cannot be told. Values are in the unit of the reward.

    `spectrum` holds (period in generations, share of power), `autocorrelation` (lag, r, 5 % and
    95 % of the null), `mechanism` (measure, correlation with the value, generations), `expected`
    (generation, value by the parts together), where the rhythm was sought in parts.
    """

    generations: int  # that have a value
    swing: float = np.nan  # mean absolute change from one to the next; of the parts, if any
    sure_swing: float = np.nan  # beyond errors of measurement; of parts, as outcomes bear it out
    visible_swing: float = np.nan  # the smallest seen four times of five; as `sure_swing`
    sd: float = np.nan  # over generations
    rms_se: float = np.nan  # root mean square of the standard errors
    excess_variance: float = np.nan  # variance beyond the measurements' own
    flip_rate: float = np.nan  # changes of direction; 2/3 in white noise
    significant_flips: int = 0  # those in which both changes stand out of the noise
    alternation: float = np.nan  # of detrended levels, `series.alternation`: what is tested
    alternation_null_high: float = np.nan  # 95 % of it in a series without memory
    p: float = np.nan  # of the alternation, one-sided
    r1: float = np.nan  # lag-1 autocorrelation, linearly detrended
    r1_null_low: float = np.nan  # 5 % of r1 in a series without memory
    r1_null_high: float = np.nan  # 95 %
    p_r1: float = np.nan  # one-sided low
    p_holm: float = np.nan  # `p`, corrected for the series diagnosed together
    runs_p: float = np.nan  # Wald-Wolfowitz about the median, many runs
    nyquist_share: float = np.nan  # share of power with period 2
    nyquist_p: float = np.nan
    period: float = np.nan  # dominant, in generations
    period_share: float = np.nan
    spectrum: tuple[tuple[float, float], ...] = ()
    autocorrelation: tuple[tuple[int, float, float, float], ...] = ()
    trend: float = np.nan  # per generation
    mechanism: tuple[tuple[str, float, int], ...] = ()
    class_slope: float = np.nan  # of the share of failures in the training rows, per generation
    class_correlation: float = np.nan  # of that share with the value
    parts: int = 0  # of the traffic, in which the rhythm was sought; 0: in the whole value
    expected: tuple[tuple[int, float], ...] = ()
    outcome_slope: float = (
        np.nan
    )  # by how much outcomes rise where the expected value rises by one
    outcome_slope_se: float = np.nan

    def record(self) -> dict[str, Any]:
        """Plain values by field, None for NaN: what JSON can say."""
        return {name: _plain(value) for name, value in asdict(self).items()}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(each) for each in cast("tuple[Any, ...]", value)]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def levels_without_memory(
    values: FloatArray, standard_error: FloatArray, rng: np.random.Generator, *, draws: int
) -> FloatArray:
    """`draws` series as they would be if no generation depended on another, (draws, m, g).

    Exact values (all standard errors 0) are permuted within each replicate. Measured ones are
    drawn anew about their trend, generation by generation with its own standard error: a noisy
    day stays where it was, which permuting would not respect. Variance beyond the standard
    errors, if there is any, is added evenly.

    The trend is left out: every statistic here removes it.

    Source: Wald and Wolfowitz (1943), "An exact test for randomness in the non-parametric case
    based on serial correlation", for the permutations; the even part of the variance is ours.
    """
    if not standard_error.any():
        repeated = np.broadcast_to(values, (draws, *values.shape))
        return rng.permuted(repeated, axis=-1)
    own = standard_error**2
    beyond = np.maximum(values.var(axis=-1, ddof=1) - own.mean(axis=-1), 0.0)
    return rng.standard_normal((draws, *values.shape)) * np.sqrt(own + beyond[:, None])


def lag_one_test(
    values: FloatArray,
    rng: np.random.Generator,
    *,
    standard_error: FloatArray | None = None,
    index: IntArray | None = None,
    permutations: int = PERMUTATIONS,
) -> tuple[float, float]:
    """Mean lag-1 autocorrelation of the rows of `values` (m, g), and its one-sided low p.

    The null is a series without memory, whose mean is not 0 (`levels_without_memory`).
    """
    index = series.positions(values) if index is None else index
    noise = np.zeros_like(values) if standard_error is None else standard_error
    seen = float(series.autocorrelation(series.detrended(values, index), index).mean())
    drawn = levels_without_memory(values, noise, rng, draws=permutations)
    drawn = series.detrended(drawn, index)
    return seen, _low_p(series.autocorrelation(drawn, index).mean(axis=-1), seen)


def _low_p(null: FloatArray, seen: float) -> float:
    """(1 + how many of `null` are at most `seen`) / (1 + their number)."""
    return float((1 + (null <= seen + 1e-12).sum()) / (1 + len(null)))


def describe(
    values: FloatArray,
    standard_error: FloatArray,
    index: IntArray,
    measures: Mapping[str, FloatArray],
) -> Statistics:
    """What needs no null, for at least two generations of `values` (m, g)."""
    negatives = measures.get(NEGATIVES)
    return Statistics(
        generations=values.shape[1],
        swing=series.swing(values, index),
        sure_swing=series.sure_swing(values, standard_error, index),
        sd=float(values.std(axis=-1, ddof=1).mean()),
        rms_se=float(np.sqrt((standard_error**2).mean())),
        excess_variance=series.excess_variance(values, standard_error),
        flip_rate=series.flip_rate(values, index),
        significant_flips=series.significant_flips(values, standard_error, index),
        trend=float(series.trend(values, index).mean()),
        mechanism=panel(values, index, measures),
        class_slope=np.nan if negatives is None else slope(negatives, index),
        class_correlation=np.nan if negatives is None else correlation(negatives, values)[0],
    )


def slope(values: FloatArray, index: IntArray) -> float:
    """Mean least-squares slope per generation of the rows (m, g), over what is not NaN."""
    known = np.isfinite(values).all(axis=0)
    if known.sum() < 2:
        return float("nan")
    return float(series.trend(values[:, known], index[known]).mean())


def rhythm(
    values: FloatArray,
    standard_error: FloatArray,
    index: IntArray,
    rng: np.random.Generator,
    *,
    parts: FloatArray | None = None,
    shares: FloatArray | None = None,
    permutations: int = PERMUTATIONS,
    error: float = 0.01,
) -> dict[str, Any]:
    """The fields of `Statistics` that are held against a series without memory.

    With `parts` (c, g), contributions of parts of the traffic to one series of values, what is
    tested is whether their pattern alternates (`series.pattern_alternation`), other statistics
    are those of the parts, weighted by how much each moves, and whole generations are permuted:
    what the parts of a generation share stays together. Alternation that is out of step between
    parts cancels in their sum, and is seen here. `shares` (c,) of the traffic, where
    given, divide out: chance moves a part by the square root of its size.

    `visible_swing` is the smallest that would be tested positive at `error` in four of five such
    series (`smallest_visible`).
    """
    if parts is None:
        rows, pattern = values, np.ones(len(values))
    else:
        rows, pattern = _fewer_rows(*_scaled(parts, shares, index))

    def drawn(levels: FloatArray, draws: int) -> FloatArray:
        if parts is None:
            return levels_without_memory(levels, standard_error, rng, draws=draws)
        return levels[:, _orders(len(index), rng, draws=draws)].swapaxes(0, 1)

    residual = series.detrended(rows, index)
    levels = drawn(rows, permutations)
    null = series.detrended(levels, index)

    def pooled(by_row: FloatArray, of: FloatArray) -> FloatArray:
        """Replicates count alike; a part counts by its power."""
        if parts is None:
            return by_row.mean(axis=-1)
        power = (of * of).sum(axis=-1)
        return np.nansum(by_row * power, axis=-1) / power.sum(axis=-1)

    def alternation(levels: FloatArray) -> FloatArray:
        if parts is not None:
            return series.pattern_alternation(levels, index)
        return series.alternation(series.detrended(levels, index), index).mean(axis=-1)

    lags: list[tuple[int, float, float, float]] = []
    p_r1 = r1 = np.nan
    for lag in range(1, min(_LAGS, len(index) // 2) + 1):
        r = float(pooled(series.autocorrelation(residual, index, lag=lag), residual))
        r_null = pooled(series.autocorrelation(null, index, lag=lag), null)
        low, high = np.quantile(r_null, (0.05, 0.95)).tolist()
        lags.append((lag, r, low, high))
        if lag == 1:
            r1, p_r1 = r, _low_p(r_null, r)
    alternates, alternates_null = float(alternation(rows)), alternation(levels)
    p = _low_p(-alternates_null, -alternates)
    share = float(pooled(series.nyquist_share(residual, index), residual))
    alternating = pooled(series.nyquist_share(null, index), null)
    periods, by_row = series.spectrum(residual, index)
    power = np.array([float(pooled(column, residual)) for column in by_row.T])
    strongest = int(power.argmax())
    return {
        "alternation": alternates,
        "alternation_null_high": float(np.quantile(alternates_null, 0.95)),
        "p": p,
        "p_holm": p,
        "visible_swing": smallest_visible(
            drawn(series.out_of_step(residual, index), _IMAGINED),
            np.outer(pattern, series.alternating_signs(index)),
            alternation,
            critical=float(np.quantile(alternates_null, 1 - error)),
        ),
        "r1": r1,
        "r1_null_low": lags[0][2],
        "r1_null_high": lags[0][3],
        "p_r1": p_r1,
        "runs_p": series.runs_p(series.detrended(values, index)),
        "nyquist_share": share,
        "nyquist_p": _low_p(-alternating, -share),
        "period": float(periods[strongest]),
        "period_share": float(power[strongest]),
        "spectrum": tuple(zip(periods.tolist(), power.tolist(), strict=True)),
        "autocorrelation": tuple(lags),
        "parts": 0 if parts is None else len(parts),
    }


def smallest_visible(
    drawn: FloatArray,
    pattern: FloatArray,
    alternation: Callable[[FloatArray], FloatArray],
    *,
    critical: float,
) -> float:
    """The smallest swing whose alternation exceeds `critical` in four of five series.

    `drawn` (draws, m, g) are series without memory, of what moves besides, to which half the
    swing times `pattern` (m, g) is added: a value that goes up by the swing and comes down again.
    Found to 2 %; infinite where no swing is enough, as between too few generations.
    """

    def seen(swing: float) -> bool:
        return bool((alternation(drawn + swing / 2 * pattern) > critical).mean() >= POWER)

    moved = (
        float(drawn.std()) * len(pattern) / max(float(np.abs(pattern).sum(axis=0).mean()), 1e-300)
    )
    high = max(moved, FLAT)
    while not seen(high):
        high *= 2
        if high > 1e4 * max(moved, FLAT):
            return float("inf")
    low = 0.0
    while high - low > 0.02 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if seen(middle) else (middle, high)
    return high


def _scaled(
    parts: FloatArray, shares: FloatArray | None, index: IntArray
) -> tuple[FloatArray, FloatArray]:
    """Parts (c, g) over the root of their shares, and how a swing of one lies in them, (c,).

    It is thought to lie in the parts in proportion to how much each moves.
    """
    moves = series.detrended(parts, index).std(axis=-1)
    pattern = moves / max(float(moves.sum()), 1e-300)
    if shares is None:
        return parts, pattern
    root = np.sqrt(np.maximum(shares, 1e-12))
    return parts / root[:, None], pattern / root


def _orders(count: int, rng: np.random.Generator, *, draws: int) -> IntArray:
    """Random orders of `count` generations, (draws, count)."""
    return rng.permuted(np.broadcast_to(np.arange(count), (draws, count)), axis=-1)


def _fewer_rows(parts: FloatArray, pattern: FloatArray) -> tuple[FloatArray, FloatArray]:
    """At most g + 1 rows that have the inner products of `parts` (c, g) and `pattern` (c,).

    Pooled ratios depend on nothing else.
    """
    if len(parts) <= parts.shape[1]:
        return parts, pattern
    both: FloatArray = np.asarray(np.linalg.qr(np.column_stack([parts, pattern]), mode="r"))
    return both[:, :-1], both[:, -1]


def outcomes_follow(
    expected: FloatArray, measured: FloatArray, index: IntArray
) -> tuple[float, float]:
    """The slope of what was `measured` on what was `expected`, both (g,), and its error.

    Both without their trends. About one, or more where a cautious model makes differences too
    small. NaN where it cannot be told: fewer than four generations, or nothing moves.
    """
    both = np.isfinite(expected) & np.isfinite(measured)
    if both.sum() < 4:
        return float("nan"), float("nan")
    x, y = (series.detrended(each[both], index[both]) for each in (expected, measured))
    power = float(x @ x)
    if power < FLAT**2:
        return float("nan"), float("nan")
    slope = float(x @ y) / power
    rest = y - slope * x
    return slope, float(np.sqrt(rest @ rest / (both.sum() - 3) / power))
