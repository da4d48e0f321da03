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


MEMORY = 0.4  # how much less each further lag counts


def alternation(residual: FloatArray, index: IntArray) -> FloatArray:
    """How far each row of detrended levels u (..., g) alternates, (...); about 0 without memory.

    sum over s != t of (-MEMORY)^|s - t| u_s u_t, over sum u^2: neighbours count where they
    differ, generations two apart where they are alike, and so on, ever less. With generations
    that come and go out of step this sees more than the lag-1 autocorrelation, and more than the
    share of power with period 2. NaN for a row that lies on a line.

    Source: the score test of an autoregression, as in Moran (1948), summed over the lags in the
    proportions that one with coefficient -MEMORY has.
    """
    weight = _alternating_weights(index)
    power = (residual * residual).sum(axis=-1)
    products = ((residual @ weight) * residual).sum(axis=-1)
    return np.divide(products, power, out=np.full_like(power, np.nan), where=power > 0)


def pattern_alternation(levels: FloatArray, index: IntArray) -> FloatArray:
    """As `alternation`, of the patterns over parts in levels (..., c, g), (...).

    A generation's pattern is how far each of c parts is from its own mean over generations, and
    patterns are compared by the cosine of their angle: a generation that is far out in everything
    counts as much as any other. Levels keep their trend: policies are held against one model of
    rewards, so the world's drift is not in them.
    """
    centred = levels - levels.mean(axis=-1, keepdims=True)
    products = centred.swapaxes(-1, -2) @ centred
    length = np.sqrt(np.maximum(np.diagonal(products, axis1=-2, axis2=-1), 0.0))
    lengths = length[..., :, None] * length[..., None, :]
    cosine = np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0)
    return (cosine * _alternating_weights(index)).sum(axis=(-1, -2)) / len(index)


def _alternating_weights(index: IntArray) -> FloatArray:
    """(-MEMORY)^|s - t|, and 0 on the diagonal, (g, g)."""
    apart = np.abs(index[:, None] - index[None, :]).astype(np.float64)
    return np.power(-MEMORY, apart) - np.eye(len(index), dtype=np.float64)


def alternating_signs(index: IntArray) -> FloatArray:
    """+1 and -1 by turns, (g,), also across gaps."""
    return np.asarray(1.0 - 2.0 * (index % 2), dtype=np.float64)


def out_of_step(residual: FloatArray, index: IntArray) -> FloatArray:
    """Detrended levels (..., g) without the alternation that keeps step from end to end."""
    signs = detrended(alternating_signs(index), index)
    return residual - (residual @ signs / max(float(signs @ signs), 1e-300))[..., None] * signs


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


def sure_swing(values: FloatArray, standard_error: FloatArray, index: IntArray) -> float:
    """How much of the swing is beyond the measurement's errors, 95 % sure; `swing` where exact.

    The larger of two lower bounds, mean over rows (m, g). The first is of the part that keeps
    step: an alternation of +a and -a, fitted beside a trend, has a standard error that falls with
    the number of generations, and twice what a exceeds 1.645 of them counts. The second is of all
    changes: their mean square less what errors alone would reach, in a normal approximation.
    """
    if not standard_error.any():
        return swing(values, index)
    return float(np.mean([_sure(*row, index) for row in zip(values, standard_error, strict=True)]))


def _sure(row: FloatArray, error: FloatArray, index: IntArray) -> float:
    signs = detrended(alternating_signs(index), index)
    power = max(float(signs @ signs), 1e-300)
    in_step = abs(float(signs @ row)) / power
    in_step -= 1.645 * float(np.sqrt(signs**2 @ error**2)) / power
    moved = steps(row, index)
    noise = float((error**2).mean()) * 2
    beyond = float((moved**2).mean()) - noise * (1 + 1.645 * np.sqrt(3 / max(len(moved), 1)))
    return max(0.0, 2 * in_step, float(np.sqrt(max(beyond, 0.0))))


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
    signs = alternating_signs(index)
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
