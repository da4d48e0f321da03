"""scikit-learn's histogram boosting as a regression oracle."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.special import expit
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from decisions.bandits.oracles import ConstantOracle, LightGBMConfig, Loss, one_class
from decisions.bandits.threads import one_thread
from decisions.bandits.training_set import (
    PairFeatures,
    TrainingSet,
    chosen_pairs,
    context_matrix,
    eligible_pairs,
    sample_weights,
    undo_class_weights,
)
from decisions.errors import DataError
from decisions.policy import BoolArray, FloatArray, IntArray


@dataclass(frozen=True, kw_only=True, eq=False)
class HistogramOracle:
    """scikit-learn's histogram boosting as plain arrays, evaluated here.

    All trees' nodes stand in one table, `roots` (trees,) into it: `column`, `threshold`, `left`,
    `right` (an index into the table, greater than the node's own; 0 in a leaf), `missing_left`,
    `value` (of a leaf, 0 elsewhere), `bitset` (a row of `bitsets` (splits, 8), or -1 for a
    number). `codes` holds each categorical column's known codes, ascending: a tree speaks of
    their ranks. The margin is `baseline` plus one leaf of each tree, in order.
    """

    features: PairFeatures
    loss: Loss
    baseline: float
    codes: tuple[FloatArray, ...]
    roots: IntArray
    column: IntArray
    threshold: FloatArray
    left: IntArray
    right: IntArray
    missing_left: BoolArray
    value: FloatArray
    bitset: IntArray
    bitsets: npt.NDArray[np.uint32]
    positive: float = 1.0
    negative: float = 1.0

    def __post_init__(self) -> None:
        """Raises DataError where a node points outside its table, or back up a tree."""
        size = len(self.value)
        columns = len(self.features.columns) + self.features.flags.shape[1]
        own, inner = np.arange(size), self.left > 0
        node_arrays = (
            self.column,
            self.threshold,
            self.left,
            self.right,
            self.missing_left,
            self.bitset,
        )
        fits = (
            all(array.shape == (size,) for array in node_arrays)
            and self.bitsets.ndim == 2
            and self.bitsets.shape[1] == 8
            and len(self.codes) == len(self.features.categorical)
            and all(len(known) > 0 for known in self.codes)
            and bool(((self.roots >= 0) & (self.roots < size)).all())
            and bool(((self.column >= 0) & (self.column < columns)).all())
            and bool(((self.bitset >= -1) & (self.bitset < len(self.bitsets))).all())
            and bool(((self.left > own) & (self.left < size))[inner].all())
            and bool(((self.right > own) & (self.right < size))[inner].all())
        )
        if not fits:
            raise DataError("the nodes of a histogram-boosting model do not form trees")

    def predict(self, context: pl.DataFrame, eligible: BoolArray) -> FloatArray:
        """Expected rewards, (n, k); see RegressionOracle."""
        matrix = context_matrix(context, self.features)
        pairs = _ranked(eligible_pairs(matrix, eligible, self.features.flags), self.codes)
        margin = np.full(len(pairs), self.baseline)
        for root in self.roots:
            margin += self.value[self._leaf(pairs, int(root))]
        fitted = expit(margin) if self.loss == "log" else np.clip(margin, 0.0, 1.0)
        result = np.zeros(eligible.shape)
        result[eligible] = undo_class_weights(
            fitted, positive=self.positive, negative=self.negative
        )
        return result

    def _leaf(self, pairs: FloatArray, root: int) -> IntArray:
        """The leaf each pair falls into, (pairs,): down one level for all at a time."""
        node = np.full(len(pairs), root)
        moving = np.flatnonzero(self.left[node] > 0)
        while len(moving):
            at = node[moving]
            seen = pairs[moving, self.column[at]]
            missing = np.isnan(seen)
            rank = np.where(missing, 0.0, np.clip(seen, 0, 255)).astype(np.int64)
            word = self.bitsets[np.maximum(self.bitset[at], 0), rank >> 5]
            among = (word >> (rank & 31).astype(np.uint32)) & np.uint32(1)
            low = np.where(self.bitset[at] >= 0, among > 0, seen <= self.threshold[at])
            goes_left = np.where(missing, self.missing_left[at], low)
            node[moving] = np.where(goes_left, self.left[at], self.right[at])
            moving = moving[self.left[node[moving]] > 0]
        return node


def fit_histogram(
    data: TrainingSet,
    rng: np.random.Generator,
    *,
    features: PairFeatures,
    config: LightGBMConfig | None = None,
) -> HistogramOracle | ConstantOracle:
    """scikit-learn's histogram boosting over the chosen pairs, on one thread.

    Of `config`, the row sampling has no counterpart and is not read.

    Raises:
        DataError: as `fit_lightgbm`, and where a categorical column has over 255 codes.
    """
    chosen = config or LightGBMConfig()
    constant = one_class(data.reward, loss=chosen.loss)
    if constant is not None:
        return constant
    pairs = chosen_pairs(data, features)
    split = len(features.categorical)
    codes = tuple(np.unique(pairs[:, j]) for j in range(split))
    for name, known in zip(features.categorical, codes, strict=True):
        if len(known) > 255:
            raise DataError(
                f"categorical column {name!r} has {len(known)} codes; histogram boosting takes"
                " 255 at most: join the rare ones, or use LightGBM"
            )
    kind = (
        HistGradientBoostingClassifier if chosen.loss == "log" else HistGradientBoostingRegressor
    )
    parameters: dict[str, Any] = {
        "max_iter": chosen.trees,
        "learning_rate": chosen.learning_rate,
        "max_leaf_nodes": chosen.leaves,
        "min_samples_leaf": chosen.min_child_samples,
        "max_features": chosen.feature_fraction,
        "categorical_features": list(range(split)) or None,
        "early_stopping": False,
        "random_state": int(rng.integers(1 << 31)),
    }
    model = kind(**parameters)
    with one_thread():
        model.fit(
            _ranked(pairs, codes),
            data.reward,
            sample_weight=sample_weights(data, positive=chosen.positive, negative=chosen.negative),
        )
    return _histogram_oracle(model, features, codes, chosen)


def _histogram_oracle(
    model: Any, features: PairFeatures, codes: tuple[FloatArray, ...], config: LightGBMConfig
) -> HistogramOracle:
    """A fitted model's trees as one table; reads scikit-learn's own node records."""
    trees = [stage[0] for stage in model._predictors]
    sizes = [len(tree.nodes) for tree in trees]
    roots = np.cumsum([0, *sizes[:-1]])
    first = np.repeat(roots, sizes)
    nodes = np.concatenate([tree.nodes for tree in trees])
    bits = [tree.raw_left_cat_bitsets for tree in trees]
    first_bits = np.repeat(np.cumsum([0, *(len(b) for b in bits[:-1])]), sizes)
    inner = ~nodes["is_leaf"].astype(bool)
    categorical = nodes["is_categorical"].astype(bool) & inner
    return HistogramOracle(
        features=features,
        loss=config.loss,
        baseline=float(np.ravel(model._baseline_prediction)[0]),
        codes=codes,
        roots=roots.astype(np.int64),
        column=np.where(inner, nodes["feature_idx"], 0).astype(np.int64),
        threshold=nodes["num_threshold"].astype(np.float64),
        left=np.where(inner, nodes["left"].astype(np.int64) + first, 0),
        right=np.where(inner, nodes["right"].astype(np.int64) + first, 0),
        missing_left=nodes["missing_go_to_left"].astype(bool),
        value=np.where(inner, 0.0, nodes["value"]),
        bitset=np.where(categorical, nodes["bitset_idx"].astype(np.int64) + first_bits, -1),
        bitsets=np.concatenate(
            [np.zeros((0, 8), dtype=np.uint32), *bits, np.zeros((1, 8))]
        ).astype(np.uint32),
        positive=config.positive,
        negative=config.negative,
    )


def _ranked(pairs: FloatArray, codes: tuple[FloatArray, ...]) -> FloatArray:
    """`pairs` with each categorical code replaced by its rank among `codes`; unknown: NaN."""
    ranked = pairs.copy()
    for j, known in enumerate(codes):
        at = np.minimum(np.searchsorted(known, pairs[:, j]), len(known) - 1)
        ranked[:, j] = np.where(known[at] == pairs[:, j], at, np.nan)
    return ranked
