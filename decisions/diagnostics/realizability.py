"""Is the oracle as right about actions that are not tried as about those that are?"""

from dataclasses import dataclass

import numpy as np

from decisions.errors import DataError
from decisions.policy import BoolArray, FloatArray, IntArray
from decisions.shapes import check_shape, check_table

BINS = 15
ROWS_A_BIN = 50  # effective


@dataclass(frozen=True, kw_only=True)
class Realizability:
    """Calibration at the greedy action and at the other eligible ones; NaN where there are none.

    Errors are in the unit of the reward. `gap` is `error_unchosen - error_greedy`. A positive
    `bias_unchosen` is optimism about what is not tried.
    """

    error_greedy: float
    error_unchosen: float
    gap: float
    bias_greedy: float
    bias_unchosen: float


def exact(scores: FloatArray, truth: FloatArray, eligible: BoolArray) -> Realizability:
    """Mean |f - P| and mean f - P by a simulator's own probabilities, all (n, k).

    The greedy action is the eligible one with the highest score, ties to the smallest index.

    Raises:
        DataError: no row, shapes that disagree, a row without an eligible action, or a NaN where
            one is eligible.
    """
    chosen, others = _strata(scores, eligible)
    check_shape(scores.shape, truth=truth)
    wrong = np.argwhere(eligible & ~np.isfinite(truth))
    if len(wrong):
        raise DataError(
            f"truth: row {int(wrong[0, 0])} has no finite value for an eligible action"
        )
    error = np.where(eligible, scores - truth, 0.0)
    return _realizability(
        (np.abs(error[chosen]), error[chosen]), (np.abs(error[others]), error[others])
    )


def from_logs(
    scores: FloatArray,
    eligible: BoolArray,
    *,
    action: IntArray,
    reward: FloatArray,
    propensity: FloatArray,
    bins: int = BINS,
) -> Realizability:
    """The same from logged rows, each weighted by 1 / propensity.

    The error is the expected calibration error over bins of predicted reward that hold equal
    weight. Each bin's squared error is taken less its sampling variance, else the stratum with
    fewer rows would look the worse calibrated by noise alone; errors that cancel within a bin
    stay hidden, so it is below `exact`'s.

    Args:
        scores: predicted reward, (n, k).
        eligible: what could be chosen, (n, k).
        action: logged, (n,).
        reward: of it, (n,).
        propensity: of it, (n,), above 0 and at most 1.
        bins: at most so many, and fewer where the effective sample is below 50 a bin.

    Raises:
        DataError: no row, shapes that disagree, a NaN, a propensity outside (0, 1], or an action
            not eligible; the message names the row.
    """
    chosen, _ = _strata(scores, eligible)
    n, k = scores.shape
    check_shape((n,), action=action, reward=reward, propensity=propensity)
    rows = np.arange(n, dtype=np.int64)
    unknown = (action < 0) | (action >= k)
    allowed = ~unknown & eligible[rows, np.where(unknown, 0, action)]
    for name, wrong, wanted in (
        ("action", ~allowed, "an eligible action"),
        ("reward", ~np.isfinite(reward), "a finite reward"),
        ("propensity", ~((propensity > 0) & (propensity <= 1)), "a propensity in (0, 1]"),
    ):
        if wrong.any():
            row = int(wrong.argmax())
            raise DataError(f"{name}: row {row} is not what was promised; wanted {wanted}")
    greedy = chosen[rows, action]
    predicted = scores[rows, action]
    parts = [
        _calibration(predicted[part], reward[part], 1 / propensity[part], bins=bins)
        for part in (greedy, ~greedy)
    ]
    return _realizability(*parts)


def _strata(scores: FloatArray, eligible: BoolArray) -> tuple[BoolArray, BoolArray]:
    """The greedy action of each row and the other eligible ones, both (n, k)."""
    check_table(scores=scores, eligible=eligible)
    if not len(scores):
        raise DataError("scores: no row; wanted at least one")
    wrong = np.flatnonzero(~eligible.any(axis=1) | (eligible & ~np.isfinite(scores)).any(axis=1))
    if len(wrong):
        raise DataError(
            f"scores: row {int(wrong[0])} has no eligible action, or no finite score for one"
            f" ({len(wrong)} such rows)"
        )
    best = np.where(eligible, scores, -np.inf).argmax(axis=1)
    chosen = np.zeros_like(eligible)
    chosen[np.arange(len(best)), best] = True
    return chosen, eligible & ~chosen


def _calibration(
    predicted: FloatArray, reward: FloatArray, weight: FloatArray, *, bins: int
) -> tuple[FloatArray, FloatArray]:
    """Corrected error and signed error, one entry each, of weighted rows; empty without rows."""
    if not len(predicted):
        return np.empty(0), np.empty(0)
    effective = float(weight.sum() ** 2 / (weight**2).sum())
    count = max(1, min(bins, int(effective / ROWS_A_BIN)))
    order = np.argsort(predicted, kind="stable")
    w, off = weight[order], (predicted - reward)[order]
    reached = np.cumsum(w)
    bin_of = np.minimum((reached - w / 2) / reached[-1] * count, count - 1).astype(np.int64)
    mass = np.bincount(bin_of, weights=w, minlength=count)
    there = mass > 0
    safe = np.where(there, mass, 1.0)
    mean = np.bincount(bin_of, weights=w * off, minlength=count) / safe
    variance = np.bincount(bin_of, weights=(w * (off - mean[bin_of])) ** 2, minlength=count)
    error = np.sqrt(np.maximum(mean**2 - variance / safe**2, 0.0))
    total = mass.sum()
    return np.array([(mass * error).sum() / total]), np.array([(w * off).sum() / total])


def _realizability(
    greedy: tuple[FloatArray, FloatArray], unchosen: tuple[FloatArray, FloatArray]
) -> Realizability:
    """From (errors, signed errors) of both strata."""
    (error_greedy, bias_greedy), (error_unchosen, bias_unchosen) = (
        tuple(float(each.mean()) if len(each) else float("nan") for each in part)
        for part in (greedy, unchosen)
    )
    return Realizability(
        error_greedy=error_greedy,
        error_unchosen=error_unchosen,
        gap=error_unchosen - error_greedy,
        bias_greedy=bias_greedy,
        bias_unchosen=bias_unchosen,
    )
