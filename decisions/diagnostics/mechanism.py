"""What moves together with a generation's value: markers of a cause, not proofs of one."""

from collections.abc import Mapping

import numpy as np

from decisions.diagnostics import series
from decisions.policy import FloatArray, IntArray
from decisions.shapes import check_shape

PANEL = (
    "negatives_share",
    "entropy_normalised",
    "effective_actions",
    "auc",
    "bias_unchosen",
    "realizability_gap",
    "churn_total_variation",
    "window_cycles",
    "window_uniform_share",
)
"""The measures that the panel reads, where they are given; the lagged value always."""


def correlation(first: FloatArray, second: FloatArray) -> tuple[float, int]:
    """Correlation within replicates of two measures (m, g), and how many pairs it rests on.

    Each row is taken about its own mean, so that differences between replicates do not count.
    Pairs with a NaN are left out. NaN with fewer than three pairs, or where one does not move.
    """
    check_shape(np.shape(first), second=second)
    known = np.isfinite(first) & np.isfinite(second)
    count = int(known.sum())
    if count < 3:
        return float("nan"), count
    each = np.maximum(known.sum(axis=-1, keepdims=True), 1)

    def centred(values: FloatArray) -> FloatArray:
        kept = np.where(known, values, 0.0)
        return np.where(known, kept - kept.sum(axis=-1, keepdims=True) / each, 0.0)

    a, b = centred(first), centred(second)
    spread = float(np.sqrt((a * a).sum() * (b * b).sum()))
    size = float(np.abs(first[known]).max() * np.abs(second[known]).max())
    if spread <= 1e-12 * max(size, 1e-300) * count:
        return float("nan"), count
    return float((a * b).sum()) / spread, count


def panel(
    values: FloatArray, index: IntArray, measures: Mapping[str, FloatArray]
) -> tuple[tuple[str, float, int], ...]:
    """(measure, correlation with the value, pairs) for each measure of `PANEL` that was given.

    Args:
        values: of the generations, (m, g).
        index: their numbers, (g,).
        measures: by name, each (m, g), NaN where not measured.
    """
    rows = [(name, *correlation(measures[name], values)) for name in PANEL if name in measures]
    later, earlier = series.pairs(index)
    rows.append(("value_before", *correlation(values[..., earlier], values[..., later])))
    return tuple(rows)
