"""How much one policy's choices differ from another's on the same rows."""

import numpy as np

from decisions.policy import BoolArray, FloatArray


def total_variation(first: FloatArray, second: FloatArray) -> float:
    """Mean over rows of half the L1 distance of two distributions (n, k); 0 to 1, 0 if no rows.

    The share of traffic that would be treated otherwise. High churn at constant value is
    possible, so churn alone is no harm.
    """
    if not len(first):
        return 0.0
    return float((np.abs(first - second).sum(axis=1) / 2).mean())


def greedy_churn(first: FloatArray, second: FloatArray) -> float:
    """Share of rows (n, k) whose most probable action differs; 0 if no rows."""
    if not len(first):
        return 0.0
    return float((first.argmax(axis=1) != second.argmax(axis=1)).mean())


def normalised_entropy(probabilities: FloatArray, eligible: BoolArray) -> float:
    """Mean of H(p) / log K over the rows with K > 1 eligible actions; 1 is uniform, 0 greedy."""
    several = eligible.sum(axis=1) > 1
    if not several.any():
        return 0.0
    p, sizes = probabilities[several], eligible[several].sum(axis=1)
    terms = np.where(p > 0, p * np.log(np.where(p > 0, p, 1.0)), 0.0)
    return float((-terms.sum(axis=1) / np.log(sizes)).mean())
