"""What a few training runs say about a method: aggregates over seeds and instances.

Scores are arrays (seeds, instances): one finished run a cell. Seeds are resampled within each
instance (a stratified bootstrap), as instances are given and seeds are drawn.

The plain percentile interval of an interquartile mean is too narrow with few seeds: in place of
95 % it covered 93 % with ten seeds, of one instance or of four each, and 91 % with five of four
(3,000 sets, normal and skewed scores). So its tails are moved out to those of Student's t with
instances x (seeds - 1) degrees of freedom, and by the root of seeds / (seeds - 1), which
resampling lacks. It then covered 95 % with ten or five seeds of four instances, 96 % with twenty
of one, 97 % with ten of one, where it is wide rather than narrow, and with five of one 93 %.

Sources: Agarwal, Schwarzer, Castro, Courville and Bellemare (2021), "Deep reinforcement learning
at the edge of the statistical precipice": everything but the tails. Hesterberg (2015), "What
teachers should know about the bootstrap", section 5.2: the expanded percentile interval.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np
from scipy.special import stdtrit

from decisions.errors import DataError
from decisions.evaluation import Estimate, unknown
from decisions.policy import FloatArray, IntArray

RESAMPLES = 2_000
LEVEL = 0.95


def interquartile_mean(scores: FloatArray) -> FloatArray:
    """The mean of the middle half of the last axis, (..., n) to (...).

    Where a quarter of n is no whole number, the outermost scores of the middle half count in part
    (Agarwal et al. drop whole scores, which for n = 10 keeps 60 % of them).
    """
    n = scores.shape[-1]
    edges = np.linspace(0, 1, n + 1).clip(0.25, 0.75)
    return np.sort(scores, axis=-1) @ (2 * np.diff(edges))


def normalised_score(
    returns: FloatArray, *, idle: FloatArray, reference: FloatArray
) -> FloatArray:
    """Returns (..., instances) on a scale where doing nothing is 0 and the reference policy 1."""
    return (returns - idle) / (reference - idle)


def interquartile_mean_estimate(scores: FloatArray, rng: np.random.Generator) -> Estimate:
    """The interquartile mean of all runs (seeds, instances)."""
    _check(scores)
    resampled = _resampled(scores, _draws(scores.shape, rng))
    return _estimate(_pooled(scores), _pooled(resampled), scores.shape, "interquartile mean")


def difference_estimate(
    first: FloatArray, second: FloatArray, rng: np.random.Generator
) -> Estimate:
    """Interquartile mean of `first` minus that of `second`, both (seeds, instances), paired.

    Row `j` of both comes of the same seed; a resample takes the same seeds of both.
    """
    return contrast_estimate([(1.0, first), (-1.0, second)], rng)


def contrast_estimate(
    terms: Sequence[tuple[float, FloatArray]], rng: np.random.Generator
) -> Estimate:
    """The weighted sum of interquartile means of scores (seeds, instances), all paired.

    Row `j` of every term comes of the same seed; a resample takes the same seeds of all.
    """
    shape = terms[0][1].shape
    for _, scores in terms:
        _check(scores)
        if scores.shape != shape:
            raise DataError(f"paired scores of shapes {shape} and {scores.shape}; wanted one")
    drawn = _draws(shape, rng)
    return _estimate(
        np.sum([weight * _pooled(scores) for weight, scores in terms], axis=0),
        np.sum([weight * _pooled(_resampled(scores, drawn)) for weight, scores in terms], axis=0),
        shape,
        "difference of interquartile means, seeds paired",
    )


def probability_of_improvement(
    first: FloatArray, second: FloatArray, rng: np.random.Generator
) -> Estimate:
    """How likely a run of `first` beats one of `second`, a tie counting half, mean over instances.

    Scores are (seeds, instances) and (other seeds, instances), resampled apart. The interval stays
    within 0 and 1, and is that of the resamples alone: when every run of one beats every run of
    the other it has no width, whatever the number of runs.

    Source: Agarwal et al. (2021), section 4.3 (the Mann-Whitney statistic).
    """
    _check(first)
    _check(second)
    if first.shape[1] != second.shape[1]:
        raise DataError(f"scores of {first.shape[1]} and {second.shape[1]} instances; wanted one")
    sign = np.sign(first[:, None, :] - second[None, :, :])  # (n, k, instances)
    shares = [_shares(_draws(scores.shape, rng)) for scores in (first, second)]
    resampled = np.einsum("bim,bjm,ijm->b", *shares, sign, optimize=True) / first.shape[1]
    return _estimate(
        (1 + sign.mean()) / 2,
        (1 + resampled) / 2,
        (min(len(first), len(second)), first.shape[1]),
        "probability of improvement",
    )


@dataclass(frozen=True, kw_only=True)
class Profile:
    """The share of runs that score above each threshold, with pointwise intervals, all (t,)."""

    thresholds: FloatArray
    share: FloatArray
    lower: FloatArray
    upper: FloatArray


def performance_profile(
    scores: FloatArray, thresholds: FloatArray, rng: np.random.Generator
) -> Profile:
    """How many of the runs (seeds, instances), two seeds or more, score above `thresholds` (t,).

    A share of none or all of the runs has an interval without width, as resampling invents none.
    """
    _check(scores)
    if len(scores) < 2:
        raise DataError("a profile of one seed has no interval; wanted two seeds or more")
    above = (scores[..., None] > thresholds).astype(np.float64)  # (seeds, instances, t)
    shares = _shares(_draws(scores.shape, rng))
    resampled = np.einsum("bim,imt->bt", shares, above, optimize=True) / scores.shape[1]
    tail = _tail(scores.shape)
    lower, upper = np.quantile(resampled, (tail, 1 - tail), axis=0)
    return Profile(thresholds=thresholds, share=above.mean(axis=(0, 1)), lower=lower, upper=upper)


def learning_curve_area(steps: IntArray, returns: FloatArray, *, budget: int) -> FloatArray:
    """The mean height of learning curves up to `budget` steps, (..., points) to (...).

    The curve runs straight between the points, which were measured at `steps` (points,),
    ascending; it begins at the first of them.

    Raises:
        DataError: the budget lies outside the steps, or these do not ascend.
    """
    if len(steps) < 2 or (np.diff(steps) <= 0).any():
        raise DataError(f"steps of a learning curve are {steps.tolist()}; wanted two, ascending")
    if not steps[0] < budget <= steps[-1]:
        raise DataError(
            f"budget is {budget} steps; wanted more than {steps[0]} and at most {steps[-1]}"
        )
    last = int(np.searchsorted(steps, budget))
    share = (budget - steps[last - 1]) / (steps[last] - steps[last - 1])
    end = returns[..., last - 1] + share * (returns[..., last] - returns[..., last - 1])
    x = np.append(steps[:last], budget).astype(np.float64)
    y = np.concatenate([returns[..., :last], end[..., None]], axis=-1)
    return ((y[..., 1:] + y[..., :-1]) / 2) @ np.diff(x) / (x[-1] - x[0])


def _check(scores: FloatArray) -> None:
    if scores.ndim != 2 or not scores.size:
        raise DataError(f"scores have shape {scores.shape}; wanted (seeds, instances)")
    if not np.isfinite(scores).all():
        row, column = np.argwhere(~np.isfinite(scores))[0]
        raise DataError(f"scores[{row}][{column}] is {scores[row, column]}; wanted a number")


def _draws(shape: tuple[int, ...], rng: np.random.Generator) -> IntArray:
    """The seed of each place of each resample, (resamples, seeds, instances)."""
    return rng.integers(shape[0], size=(RESAMPLES, *shape))


def _shares(drawn: IntArray) -> FloatArray:
    """How large a share of each resample each seed is, (resamples, seeds, instances)."""
    return np.stack([(drawn == seed).mean(axis=1) for seed in range(drawn.shape[1])], axis=1)


def _resampled(scores: FloatArray, drawn: IntArray) -> FloatArray:
    return scores[drawn, np.arange(scores.shape[1])]


def _pooled(scores: FloatArray) -> FloatArray:
    """The interquartile mean over seeds and instances, (..., seeds, instances) to (...)."""
    return interquartile_mean(scores.reshape(*scores.shape[:-2], -1))


def _tail(shape: tuple[int, ...]) -> float:
    """The share of resamples left out on each side, of runs of `shape` (seeds, instances)."""
    seeds, instances = shape
    quantile = float(stdtrit(instances * (seeds - 1), (1 - LEVEL) / 2))
    return NormalDist().cdf((seeds / (seeds - 1)) ** 0.5 * quantile)


def _estimate(
    value: FloatArray | float, resampled: FloatArray, shape: tuple[int, ...], method: str
) -> Estimate:
    """The value with its interval; the whole line where there is one seed."""
    n = shape[0] * shape[1]
    if shape[0] < 2:
        return replace(unknown(n=n, level=LEVEL, method=method), value=float(value))
    tail = _tail(shape)
    lower, upper = np.quantile(resampled, (tail, 1 - tail)).tolist()
    return Estimate(
        value=float(value),
        lower=lower,
        upper=upper,
        level=LEVEL,
        method=f"{method}, expanded percentile bootstrap, {RESAMPLES} resamples",
        n=n,
        effective_n=float(n),
    )
