"""Choosing an estimator's clipping or shrinkage from the data, without knowing its bias."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from decisions.bandits.estimators import Terms
from decisions.bandits.intervals import empirical_bernstein, normal
from decisions.errors import DataError

GRID = (float("inf"), 1e4, 5e3, 1e3, 500.0, 100.0, 50.0, 10.0, 5.0, 1.0)


@dataclass(frozen=True)
class Tuned:
    """The parameter chosen, and the estimator's terms with it."""

    parameter: float
    terms: Terms


def lepski(values: Sequence[float], half_widths: Sequence[float]) -> int:
    """Index of the last candidate whose interval, value +/- 2 half-widths, still meets all before.

    Candidates come in order of falling variance and rising bias. The chosen error is within a
    constant of the best candidate's, whose bias nobody knows.

    Source: Su, Srinath and Krishnamurthy (2020), "Adaptive estimator selection for off-policy
    evaluation" (SLOPE), after Lepski and Spokoiny (1997).
    """
    if not values or len(values) != len(half_widths):
        raise DataError(f"{len(values)} values with {len(half_widths)} widths; wanted one each")
    low, high = -np.inf, np.inf
    for index, (value, half) in enumerate(zip(values, half_widths, strict=True)):
        low, high = max(low, value - 2 * half), min(high, value + 2 * half)
        if low > high:
            return max(index - 1, 0)
    return len(values) - 1


def tune(
    estimator: Callable[[float], Terms],
    *,
    grid: Sequence[float] = GRID,
    level: float = 0.95,
    width: Callable[[float], float] | None = None,
) -> Tuned:
    """The parameter of `grid` that SLOPE chooses for `estimator` (parameter -> terms).

    `grid` is walked from the largest parameter, that of the highest variance. Half-widths are
    normal, or empirical Bernstein when `width` gives the range of the terms for a parameter; they
    are made non-increasing along the walk, as SLOPE assumes them to be.
    """
    ordered = sorted(grid, reverse=True)
    candidates = [estimator(parameter) for parameter in ordered]
    intervals = [
        normal(terms.rows, level=level)
        if width is None
        else empirical_bernstein(terms.rows, width=width(parameter), level=level)
        for parameter, terms in zip(ordered, candidates, strict=True)
    ]
    halves = np.minimum.accumulate([(each.upper - each.lower) / 2 for each in intervals])
    chosen = lepski([terms.value for terms in candidates], halves.tolist())
    return Tuned(ordered[chosen], candidates[chosen])
