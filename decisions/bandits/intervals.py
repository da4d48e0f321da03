"""Confidence intervals for means of row-wise terms, at a fixed size and under peeking."""

from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from decisions.bandits.support import kish
from decisions.errors import DataError
from decisions.evaluation import Estimate, unknown
from decisions.policy import FloatArray
from decisions.shapes import check_level, check_rows, check_weights, label_codes

Clusters = npt.NDArray[np.generic]
PRIOR = 30.0  # terms that the variance of weights and residuals taken apart counts as
_CHUNK = 1 << 15  # rows a pass keeps in the processor's cache
_FEW = 1_000  # clusters up to which the bootstrap really resamples
_SKEWED = 0.3  # skewness of a resampled mean from which it resamples as well


@dataclass(frozen=True)
class _Clustered:
    """Sums of centred terms by cluster, (g,), and rows in each, (g,)."""

    value: float
    sums: FloatArray
    sizes: FloatArray | None  # None: every row is its own cluster


def _clustered(rows: FloatArray, clusters: Clusters | None) -> _Clustered:
    value = float(rows.mean())
    if clusters is None:
        return _Clustered(value, rows, None)
    codes = cluster_codes(clusters)
    sums = np.bincount(codes, weights=rows - value).astype(np.float64)
    sizes = np.bincount(codes).astype(np.float64)
    seen = sizes > 0
    return _Clustered(value, sums[seen], sizes[seen])


def cluster_codes(clusters: Clusters) -> npt.NDArray[np.int64]:
    """Small non-negative integers for labels (n,); such integers are kept as they are.

    Rows without a label (None, NaN) are one cluster: nothing says that they are independent.

    Worth computing once for many intervals on the same rows: sorting labels is the slow part.
    """
    if len(clusters) and np.issubdtype(clusters.dtype, np.integer):
        codes = clusters.astype(np.int64)
        if codes.min() >= 0 and codes.max() < 4 * len(codes):
            return codes
    return label_codes(clusters)


def _estimate(
    rows: FloatArray,
    lower: float,
    upper: float,
    *,
    level: float,
    method: str,
    effective_n: float | None,
    value: float | None = None,
) -> Estimate:
    return Estimate(
        value=float(rows.mean()) if value is None else value,
        lower=lower,
        upper=upper,
        level=level,
        method=method,
        n=len(rows),
        effective_n=float(len(rows)) if effective_n is None else effective_n,
    )


def normal(
    rows: FloatArray,
    *,
    clusters: Clusters | None = None,
    level: float = 0.95,
    effective_n: float | None = None,
) -> Estimate:
    """Normal interval for the mean of `rows` (n,), with the variance between clusters.

    On the terms of a ratio estimator (SNIPS, SNDR) this is the delta method. The whole line where
    there are fewer than two clusters or a term is not finite.

    Raises:
        DataError: shapes are not (n,), or `level` is not between 0 and 1; as of all here.
    """
    check_level(level)
    check_rows(rows=rows, clusters=clusters)
    if len(rows) < 2 or not np.isfinite(rows).all():
        return unknown(n=len(rows), level=level, method="normal")
    parts = _clustered(rows, clusters)
    groups = len(parts.sums)
    if groups < 2:
        return unknown(n=len(rows), level=level, method="normal")
    if parts.sizes is None:
        error = float(rows.std(ddof=1)) / len(rows) ** 0.5
    else:
        error = float(parts.sums @ parts.sums * groups / (groups - 1)) ** 0.5 / len(rows)
    half = NormalDist().inv_cdf((1 + level) / 2) * error
    method = "normal" if clusters is None else "normal over clusters"
    return _estimate(
        rows,
        parts.value - half,
        parts.value + half,
        level=level,
        method=method,
        effective_n=effective_n,
    )


def variance_floor(
    found: Estimate,
    rows: FloatArray,
    weights: FloatArray,
    reward: FloatArray,
    *,
    residual: FloatArray | None = None,
    squares: FloatArray | None = None,
    clusters: Clusters | None = None,
) -> Estimate:
    """`found`, the normal interval of `rows` (n,), with a variance that few rows cannot hide.

    For rewards of 0 and 1; others leave `found` as it is. `weights` (m,) multiply the rewards
    (m,): importance weights for a value, the difference of two policies' weights for a paired
    difference; rows whose outcome is unknown have none. `residual` (m,) is what a reward model
    leaves of the rewards, by default their distance from their mean; `squares` (m,) are the
    expected squares of the weights, where the logged probabilities tell them, by default the
    squares of those drawn. `clusters` (m,) are of these rows.

    Where one outcome is rare, the few rows of it with large weights carry the variance. A log that
    happens to lack them has a small variance and a large error: with 2 % of failures the sample's
    variance alone makes 95 % intervals of 500 rows cover in 75 % of logs, of 5500 rows in 83 to
    93 %. Weights and residuals taken apart are both seen in every row: were they independent, the
    variance would be mean(residual^2) sum(squares) / n^2, with half a failure more than was seen;
    with `clusters`, squares of their sums of centred weights where those are larger. Where that
    is larger than the sample's, it counts as PRIOR terms beside as many as the sample's is worth,
    (sum c^2)^2 / sum c^4 of the centred terms c: all where a few rows carry the sum, ever less as
    more do. Nothing begins or ends at a number of rows or failures: there is no cliff.

    Where the rarer outcome was not seen at all, neither end is nearer than max |w| u, u being the
    exact upper limit of its share.

    Source: Clopper and Pearson (1934) for the upper limit; the rest is ours, its coverage is
    measured by `decisions study evidence`.

    Raises:
        DataError: an array is not of as many rows as it should be.
    """
    n = check_rows(rows=rows)
    m = check_rows(
        reward=reward, weights=weights, residual=residual, squares=squares, clusters=clusters
    )
    ones = int((reward == 1).sum())
    if m == 0 or ones + int((reward == 0).sum()) != m:
        return found
    if not np.isfinite([found.lower, found.upper]).all():
        return found
    reach = NormalDist().inv_cdf((1 + found.level) / 2)
    sampled = ((found.upper - found.lower) / 2 / reach) ** 2
    left = reward - ones / m if residual is None else residual
    total = float((weights**2 if squares is None else squares).sum())
    if clusters is not None:
        sums = _clustered(weights, clusters).sums
        total = max(total, float(sums @ sums))
    apart = (float(left @ left) + 0.5) / (m + 1) * total / n**2
    share = PRIOR / (PRIOR + kish((rows - rows.mean()) ** 2))
    half = reach * (sampled + share * max(apart - sampled, 0.0)) ** 0.5
    if ones in (0, m):
        unseen = 1 - ((1 - found.level) / 2) ** (1 / m)
        half = max(half, unseen * float(np.abs(weights).max()))
    if found.value - half >= found.lower and found.value + half <= found.upper:
        return found
    return replace(
        found,
        lower=found.value - half,
        upper=found.value + half,
        method=f"{found.method}, variance floor",
    )


def cluster_bootstrap(
    rows: FloatArray,
    *,
    rng: np.random.Generator,
    clusters: Clusters | None = None,
    replicates: int = 1_000,
    level: float = 0.95,
    effective_n: float | None = None,
) -> Estimate:
    """Percentile bootstrap interval for the mean of `rows`, clusters being what is resampled.

    Up to 1000 clusters are resampled (multinomial counts times cluster sums, one matrix product).
    Above, the percentiles approximate those of infinitely many replicates by the Cornish-Fisher
    expansion from the exact second, third and fourth cumulants of the bootstrap distribution: a
    resampled mean is a sum of g independent draws, so its cumulants are those of the rows. One
    pass over the data instead of `replicates`, and no Monte Carlo error; what is left out is of
    order g^(-3/2). Over clusters of unequal size, variation of the total size is left out too.

    The expansion wants a nearly normal mean. Where the skewness of the resampled mean, that of the
    rows over the root of g, exceeds 0.3, as where a few rows carry the sum, resampling is done
    after all: seconds instead of milliseconds for a million rows.

    Source: Hall (1992), "The Bootstrap and Edgeworth Expansion", section 2.5; Field and Welsh
    (2007), "Bootstrapping clustered data", for resampling whole clusters.
    """
    check_level(level)
    check_rows(rows=rows, clusters=clusters)
    method = "bootstrap" if clusters is None else "bootstrap over clusters"
    if len(rows) < 2:
        return unknown(n=len(rows), level=level, method=method)
    parts = _clustered(rows, clusters)
    groups = len(parts.sums)
    if groups < 2 or not np.isfinite(parts.value):
        return unknown(n=len(rows), level=level, method=method)
    moments = _resampled_moments(parts.sums, 0.0 if parts.sizes is not None else parts.value)
    if groups <= _FEW or abs(moments.skewness) > _SKEWED:
        means = _resampled_means(rows, parts, rng=rng, replicates=replicates)
        tails = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
        lower, upper = float(tails[0]), float(tails[1])
    else:
        lower, upper = _expanded_tails(moments, level=level)
        scale = groups / len(rows)
        lower, upper = parts.value + scale * lower, parts.value + scale * upper
    return _estimate(rows, lower, upper, level=level, method=method, effective_n=effective_n)


def _central_sums(values: FloatArray, centre: float) -> tuple[float, float, float]:
    """Sums of the second, third and fourth powers of `values` - `centre`, chunk by chunk."""
    second = third = fourth = 0.0
    deviation, square = np.empty(_CHUNK), np.empty(_CHUNK)
    for start in range(0, len(values), _CHUNK):
        chunk = values[start : start + _CHUNK]
        d, s = deviation[: len(chunk)], square[: len(chunk)]
        np.subtract(chunk, centre, out=d)
        np.multiply(d, d, out=s)
        second += float(s.sum())
        third += float(s @ d)
        fourth += float(s @ s)
    return second, third, fourth


@dataclass(frozen=True)
class _Moments:
    """Of the mean of g draws with replacement: standard error, skewness, excess kurtosis."""

    error: float
    skewness: float
    kurtosis: float


def _resampled_moments(values: FloatArray, centre: float) -> _Moments:
    g = len(values)
    second, third, fourth = (power / g for power in _central_sums(values, centre))
    if second == 0:
        return _Moments(0.0, 0.0, 0.0)
    return _Moments(
        error=(second / g) ** 0.5,
        skewness=third / second**1.5 / g**0.5,
        kurtosis=(fourth / second**2 - 3) / g,
    )


def _expanded_tails(moments: _Moments, *, level: float) -> tuple[float, float]:
    """Both percentiles, less its expectation, of a resampled mean with `moments`."""
    z = NormalDist().inv_cdf((1 + level) / 2)
    skewness, kurtosis = moments.skewness, moments.kurtosis
    symmetric = z + kurtosis * (z**3 - 3 * z) / 24 - skewness**2 * (2 * z**3 - 5 * z) / 36
    shift = skewness * (z**2 - 1) / 6
    return moments.error * (shift - symmetric), moments.error * (shift + symmetric)


def _resampled_means(
    rows: FloatArray, parts: _Clustered, *, rng: np.random.Generator, replicates: int
) -> FloatArray:
    """Means of `rows` in each of `replicates` resamples of the clusters, (replicates,)."""
    groups = len(parts.sums)
    if groups <= _FEW:
        counts = rng.multinomial(groups, np.full(groups, 1 / groups), size=replicates)
        return _means_of(counts, rows, parts)
    return np.concatenate(
        [
            _means_of(
                np.bincount(rng.integers(0, groups, groups), minlength=groups)[None], rows, parts
            )
            for _ in range(replicates)
        ]
    )


def _means_of(counts: npt.NDArray[np.int64], rows: FloatArray, parts: _Clustered) -> FloatArray:
    """Means where each cluster is taken `counts` (m, g) times, (m,)."""
    if parts.sizes is None:
        return counts @ rows / len(rows)
    return parts.value + counts @ parts.sums / (counts @ parts.sizes)


def empirical_bernstein(
    rows: FloatArray, *, width: float, level: float = 0.95, effective_n: float | None = None
) -> Estimate:
    """Interval that holds at every size for independent rows within a range of length `width`.

    `width` is known beforehand (for IPS terms the largest possible weight times the largest
    reward), not taken from the rows.

    Source: Maurer and Pontil (2009), "Empirical Bernstein bounds", Theorem 4, both sides.
    """
    check_level(level)
    n = check_rows(rows=rows)
    if n < 2:
        return unknown(n=n, level=level, method="empirical Bernstein")
    seen = float(rows.max() - rows.min())
    if not seen <= width * (1 + 1e-12):
        raise DataError(f"terms range over {seen:g}, more than the stated width {width:g}")
    log = np.log(4 / (1 - level))
    half = float(np.sqrt(2 * rows.var(ddof=1) * log / n) + 7 * width * log / (3 * (n - 1)))
    value = float(rows.mean())
    return _estimate(
        rows,
        value - half,
        value + half,
        level=level,
        method="empirical Bernstein",
        effective_n=effective_n,
    )


def betting(values: FloatArray, *, level: float = 0.95, anytime: bool = True) -> Estimate:
    """Hedged-capital interval for the mean of `values` (n,) in [0, 1], in order of arrival.

    With `anytime` it is the running intersection of a confidence sequence: it may be read after
    every row, and stopping when it looks good is allowed. Otherwise the bets are laid for this n
    and the interval, shorter, holds only here.

    Both wealths are monotone in the candidate mean, so its two ends are found by bisection
    instead of over a grid.

    Source: Waudby-Smith and Ramdas (2024), "Estimating means of bounded random variables by
    betting", equations 23-26 (hedged capital, truncated predictable plug-in bets, c = 1/2).
    """
    check_level(level)
    n, alpha = check_rows(values=values), 1 - level
    method = "betting sequence" if anytime else "betting"
    if n < 1:
        return unknown(n=n, level=level, method=method)
    if not ((values >= 0) & (values <= 1)).all():
        raise DataError(
            f"betting wants values in [0, 1], saw {values.min():g} to {values.max():g}: rescale"
            " them by their known range"
        )
    bets = _bets(values, np.log(2 / alpha), horizon=None if anytime else n)
    lower = _wealth_bound(values, bets, alpha=alpha, anytime=anytime)
    upper = 1 - _wealth_bound(1 - values, bets, alpha=alpha, anytime=anytime)
    return _estimate(values, lower, upper, level=level, method=method, effective_n=None)


def _predictable_moments(values: FloatArray, *, cap: float) -> tuple[FloatArray, FloatArray]:
    """Mean and variance known *before* each row, regularised by half an observation, (n,) each."""
    t = np.arange(1, len(values) + 1)
    mean = np.minimum((0.5 + values.cumsum()) / (t + 1), cap)
    before = np.concatenate([[0.5], mean[:-1]])
    variance = (0.25 + ((values - mean) ** 2).cumsum()) / (t + 1)
    return before, np.concatenate([[0.25], variance[:-1]])


def _bets(values: FloatArray, log_inverse: float, *, horizon: int | None) -> FloatArray:
    """Predictable plug-in bets; for a `horizon` they spread the risk evenly up to it."""
    t = np.arange(1, len(values) + 1, dtype=np.float64)
    variance = _predictable_moments(values, cap=1.0)[1]
    time = t * np.log1p(t) if horizon is None else np.full(len(t), float(horizon))
    return np.sqrt(2 * log_inverse / (variance * time))


def _wealth_bound(values: FloatArray, bets: FloatArray, *, alpha: float, anytime: bool) -> float:
    """The smallest mean that betting on larger values has not made rich by 2 / alpha."""

    def refuted(mean: float) -> bool:
        stake = np.minimum(bets, 0.5 / mean)
        wealth = np.log1p(stake * (values - mean))
        best = wealth.cumsum().max() if anytime else wealth.sum()
        return float(best) >= np.log(2 / alpha)

    low, high = 0.0, 1.0
    if refuted(1.0):  # cannot happen for values in [0, 1]; kept for bisection's premise
        return 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if refuted(middle) else (low, middle)
    return low


def bernstein_path(values: FloatArray, *, alpha: float) -> FloatArray:
    """Lower bounds, one after each row, for the mean of `values` (n,) >= 0 of unknown maximum.

    All of them hold at once with probability 1 - `alpha`. The values are importance-weighted
    rewards in order of arrival, whose mean is at most one; a single huge one does no harm.

    Source: Waudby-Smith, Wu, Ramdas, Karampatziakis and Mineiro (2022), "Anytime-valid off-policy
    inference for contextual bandits", predictable plug-in empirical Bernstein.
    """
    check_level(1 - alpha)
    check_rows(values=values)
    check_weights(values=values)
    t = np.arange(1, len(values) + 1, dtype=np.float64)
    mean, variance = _predictable_moments(values, cap=1.0)
    log = np.log(1 / alpha)
    bets = np.minimum(np.sqrt(2 * log / (variance * t * np.log1p(t))), 0.5)
    penalty = ((values - mean) ** 2 * (-np.log1p(-bets) - bets)).cumsum()
    bounds = ((bets * values).cumsum() - log - penalty) / bets.cumsum()
    return np.maximum.accumulate(np.maximum(bounds, 0.0))


def bernstein_sequence(
    weights: FloatArray, rewards: FloatArray, *, level: float = 0.95
) -> Estimate:
    """Anytime-valid interval for a policy's value with weights of unknown maximum.

    `weights` and `rewards` (n,) in order of arrival, rewards in [0, 1]. The lower end is
    `bernstein_path` of w r, the upper end one minus that of w (1 - r), at half the error each.
    Needs no bound on the weights and allows peeking; it is wide, which is the price.

    Source: as `bernstein_path`.
    """
    check_level(level)
    n = check_rows(weights=weights, rewards=rewards)
    if n < 1:
        return unknown(n=n, level=level, method="empirical Bernstein sequence")
    check_weights(weights=weights)
    if not ((rewards >= 0) & (rewards <= 1)).all():
        raise DataError(f"wanted rewards in [0, 1], saw {rewards.min():g} to {rewards.max():g}")
    alpha = (1 - level) / 2
    return _estimate(
        rewards,
        float(bernstein_path(weights * rewards, alpha=alpha)[-1]),
        1 - float(bernstein_path(weights * (1 - rewards), alpha=alpha)[-1]),
        level=level,
        method="empirical Bernstein sequence",
        effective_n=kish(weights),
        value=float(np.clip((weights * rewards).mean(), 0, 1)),
    )
