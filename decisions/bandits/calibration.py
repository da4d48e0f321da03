"""How well predicted probabilities rank and match what happened."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from decisions.policy import FloatArray
from decisions.shapes import check_finite, check_rows

BINS = 15


@dataclass(frozen=True, kw_only=True)
class Fit:
    """Of predictions against rewards of 0 and 1; NaN where there is no row.

    `auc`: the chance that a success is ranked above a failure, NaN with one class only.
    `log_loss` in nats; `brier` is the mean squared error; `ece` the mean over 15 bins of equal
    mass of |mean reward - mean prediction|.
    """

    auc: float
    log_loss: float
    brier: float
    ece: float


def fit_of(predicted: FloatArray, reward: FloatArray) -> Fit:
    """The four measures of `predicted` against `reward`, both (n,)."""
    n = check_rows(predicted=predicted, reward=reward)
    check_finite(predicted=predicted, reward=reward)
    if n == 0:
        return Fit(auc=np.nan, log_loss=np.nan, brier=np.nan, ece=np.nan)
    clipped = np.clip(predicted, 1e-12, 1 - 1e-12)
    loss = -np.where(reward > 0, np.log(clipped), np.log1p(-clipped))
    order = np.argsort(predicted, kind="stable")
    edges = np.arange(BINS) * n // BINS
    error = np.abs(np.add.reduceat((reward - predicted)[order], np.unique(edges))).sum() / n
    return Fit(
        auc=auc(predicted, reward),
        log_loss=float(loss.mean()),
        brier=float(((predicted - reward) ** 2).mean()),
        ece=float(error),
    )


def auc(predicted: FloatArray, reward: FloatArray) -> float:
    """Area under the ROC curve by ranks, ties counted as one half; NaN with one class only."""
    check_rows(predicted=predicted, reward=reward)
    positives = int((reward > 0).sum())
    negatives = len(reward) - positives
    if positives == 0 or negatives == 0:
        return np.nan
    ranks = rankdata(predicted)[reward > 0].sum()
    return float((ranks - positives * (positives + 1) / 2) / (positives * negatives))
