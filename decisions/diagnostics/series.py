"""What a series of generations is described by: its movement, its rhythm, its noise.

A series is one row of a matrix `values` (m, g): m replicates (1 in production) of g generations.
`index` (g,) numbers the generations, ascending; where it jumps, a generation is missing, and no
pair is formed across the gap.
"""

import numpy as np
from scipy.special import comb

from decisions.policy import BoolArray, FloatArray, IntArray


def positions(values: FloatArray) -> IntArray:
    """The index of a series without gaps, (g,)."""
    return np.arange(values.shape[-1], dtype=np.int64)


def trend(values: FloatArray, index: IntArray) -> FloatArray:
    """Least-squares slope of each row of `values` (..., g), per generation, (...)."""
    time = index - index.mean()
    spread = float(time @ time)
    return values @ time / spread if spread else np.zeros(values.shape[:-1])


def detrended(values: FloatArray, index: IntArray) -> FloatArray:
    """Each row of `values` (..., g) less its least-squares line."""
    time = index - index.mean()
    centred = values - values.mean(axis=-1, keepdims=True)
    return centred - trend(values, index)[..., None] * time


def autocorrelation(residual: FloatArray, index: IntArray, *, lag: int = 1) -> FloatArray:
    """Autocorrelation at `lag` of each row of detrended levels u (..., g), (...); -1 to 1.

    sum u_g u_(g-lag) / sum u_g^2 over the pairs of generations that are `lag` apart. NaN for a
    row that lies on a line. The mean of exchangeable levels is about -2/g, not 0.

    Source: Moran (1948), "Some theorems on time series", for the mean under the null.
    """
    later, earlier = pairs(index, lag=lag)
    power = (residual * residual).sum(axis=-1)
    products = (residual[..., later] * residual[..., earlier]).sum(axis=-1)
    return np.divide(products, power, out=np.full_like(power, np.nan), where=power > 0)


def pairs(index: IntArray, *, lag: int = 1) -> tuple[IntArray, IntArray]:
    """Positions (later, earlier) of the generations that are `lag` apart, ascending."""
    earlier = np.searchsorted(index, index - lag)
    later = np.flatnonzero(index[np.minimum(earlier, len(index) - 1)] == index - lag)
    return later.astype(np.int64), earlier[later].astype(np.int64)


def steps(values: FloatArray, index: IntArray) -> FloatArray:
    """Change from one generation to the next, of each row of `values` (..., g): (..., pairs)."""
    later, earlier = pairs(index)
    return values[..., later] - values[..., earlier]


def swing(values: FloatArray, index: IntArray) -> float:
    """Mean absolute change from one generation to the next, in the unit of `values` (m, g)."""
    moved = np.abs(steps(values, index))
    return float(moved.mean()) if moved.size else float("nan")


def flip_rate(values: FloatArray, index: IntArray) -> float:
    """Share of neighbouring changes with opposite signs; 2/3 in white noise, not 1/2."""
    flips, _ = _flips(values, np.zeros_like(values), index)
    return float(flips.mean()) if flips.size else float("nan")


def significant_flips(values: FloatArray, standard_error: FloatArray, index: IntArray) -> int:
    """Reversals in which both changes exceed 1.96 of their standard errors, in all rows (m, g)."""
    flips, sure = _flips(values, standard_error, index)
    return int((flips & sure).sum())


def _flips(
    values: FloatArray, standard_error: FloatArray, index: IntArray
) -> tuple[BoolArray, BoolArray]:
    """Which reversals there are, and in which both changes stand out of the noise, (..., n)."""
    later, earlier = pairs(index)
    moved = values[..., later] - values[..., earlier]
    noise = np.hypot(standard_error[..., later], standard_error[..., earlier])
    sure = np.abs(moved) > 1.96 * noise
    joined = np.flatnonzero(later[:-1] == earlier[1:])
    flips = moved[..., joined] * moved[..., joined + 1] < 0
    return flips, sure[..., joined] & sure[..., joined + 1]


def excess_variance(values: FloatArray, standard_error: FloatArray) -> float:
    """Variance over generations beyond the measurements' own, mean over rows (m, g).

    Negative where the values vary less than their standard errors say.
    """
    return float((values.var(axis=-1, ddof=1) - (standard_error**2).mean(axis=-1)).mean())


def nyquist_share(residual: FloatArray, index: IntArray) -> FloatArray:
    """Share of the power of each row of detrended levels u (..., g) with period 2, (...).

    (sum (-1)^g u_g)^2 / (g sum u_g^2), 0 to 1: the mean in white noise is about 1/g. It misfires
    on steady series when looked at alone.
    """
    signs = 1.0 - 2.0 * (index % 2)
    power = len(index) * (residual * residual).sum(axis=-1)
    return np.divide(
        (residual @ signs) ** 2, power, out=np.full_like(power, np.nan), where=power > 0
    )


def spectrum(residual: FloatArray, index: IntArray) -> tuple[FloatArray, FloatArray]:
    """Periods in generations (f,), the longest first, and each row's share of power, (m, f).

    Power is |Fourier transform|^2 of the detrended levels (m, g), f = g // 2 without gaps: flat
    in white noise. With gaps the sum runs over what is there.
    """
    span = int(index[-1] - index[0]) + 1
    cycles = np.arange(1, span // 2 + 1)
    wave = np.exp(-2j * np.pi * np.outer(cycles / span, index - index[0]))
    power = np.abs(residual @ wave.T) ** 2
    total = power.sum(axis=-1, keepdims=True)
    return span / cycles, np.divide(power, total, out=np.zeros_like(power), where=total > 0)


def runs_p(values: FloatArray) -> float:
    """Probability of at least as many runs about the median as each row (m, g) shows.

    Exact and one-sided (many runs: alternation); values at the median are left out. The mean
    over rows for m > 1, so that it is a description then and not a test. 1 where one side is
    empty.

    Source: Wald and Wolfowitz (1940), "On a test whether two samples are from the same
    population".
    """
    return float(np.mean([_runs_p(row) for row in values]))


def _runs_p(row: FloatArray) -> float:
    off = row - np.median(row)
    above = off[off != 0] > 0
    high, low = int(above.sum()), int((~above).sum())
    if not high or not low:
        return 1.0
    seen = 1 + int((above[1:] != above[:-1]).sum())
    runs = np.arange(2, high + low + 1)
    half = runs // 2
    even = 2 * comb(high - 1, half - 1) * comb(low - 1, half - 1)
    odd = comb(high - 1, half) * comb(low - 1, half - 1) + comb(high - 1, half - 1) * comb(
        low - 1, half
    )
    ways = np.where(runs % 2 == 0, even, odd)
    return float(ways[runs >= seen].sum() / ways.sum())
