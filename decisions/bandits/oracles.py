"""Regression oracles: the expected reward of every eligible action, learned from logged ones."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any, Literal, Protocol, runtime_checkable

import lightgbm as lgb
import numpy as np
import polars as pl
from scipy.special import expit

from decisions.bandits.training_set import (
    PairFeatures,
    TrainingSet,
    chosen_pairs,
    class_weights,
    context_matrix,
    eligible_pairs,
    undo_class_weights,
)
from decisions.errors import DataError
from decisions.policy import BoolArray, FloatArray

Loss = Literal["log", "squared"]


@runtime_checkable
class RegressionOracle(Protocol):
    """Predicts rewards in [0, 1]. The same bits for a row whatever else is in the batch."""

    def predict(self, context: pl.DataFrame, eligible: BoolArray) -> FloatArray:
        """Expected rewards, (n, k); only eligible pairs are scored, the others hold 0."""
        ...


Fit = Callable[[TrainingSet, np.random.Generator], RegressionOracle]


@dataclass(frozen=True, kw_only=True)
class ConstantOracle:
    """The same prediction for every pair; `reason` says why nothing more could be learned."""

    value: float
    reason: str

    def predict(self, context: pl.DataFrame, eligible: BoolArray) -> FloatArray:
        """`value` on the eligible pairs, (n, k)."""
        del context
        return np.where(eligible, self.value, 0.0)


@dataclass(frozen=True, kw_only=True, eq=False)
class LightGBMOracle:
    """Boosted trees as LightGBM's own text; `positive`/`negative` are class weights to undo."""

    model: str
    features: PairFeatures
    positive: float = 1.0
    negative: float = 1.0

    @cached_property
    def booster(self) -> lgb.Booster:
        """The parsed model."""
        return lgb.Booster(model_str=self.model)

    def predict(self, context: pl.DataFrame, eligible: BoolArray) -> FloatArray:
        """Expected rewards, (n, k); see RegressionOracle."""
        matrix = context_matrix(context, self.features)
        pairs = eligible_pairs(matrix, eligible, self.features.flags)
        result = np.zeros(eligible.shape)
        if len(pairs):
            fitted = self.booster.predict(pairs, num_threads=1, validate_features=False)
            clipped = np.clip(np.asarray(fitted, dtype=np.float64), 0.0, 1.0)
            result[eligible] = _unweighted(clipped, self.positive, self.negative)
        return result


@dataclass(frozen=True, kw_only=True)
class LightGBMConfig:
    """Hyper-parameters, with the reference simulator's values as defaults.

    `loss`: "log" is proper and what FastCB needs; "squared" is what SquareCB's theory speaks of.
    `positive` and `negative` are class weights, undone in odds before anyone sees a prediction.
    """

    loss: Loss = "log"
    trees: int = 50
    learning_rate: float = 0.12
    leaves: int = 15
    min_child_samples: int = 20
    feature_fraction: float = 0.9
    bagging_fraction: float = 0.9
    positive: float = 1.0
    negative: float = 1.0


def fit_lightgbm(
    data: TrainingSet,
    rng: np.random.Generator,
    *,
    features: PairFeatures,
    config: LightGBMConfig | None = None,
    predecessor: LightGBMOracle | None = None,
) -> LightGBMOracle | ConstantOracle:
    """Boosted trees over the chosen pairs; a constant where the rewards are all alike.

    With `predecessor` its trees are kept and `config.trees` more are grown on their margin: what
    earlier windows taught stays in the model when their rows may not be kept.

    One thread and LightGBM's deterministic mode: the same seed gives the same bits.

    Raises:
        DataError: rewards outside [0, 1], or not 0 or 1 with log loss; see also `chosen_pairs`.
    """
    chosen = config or LightGBMConfig()
    constant = one_class(data.reward, loss=chosen.loss)
    if constant is not None:
        return constant
    parameters: dict[str, object] = {
        "objective": "binary" if chosen.loss == "log" else "regression",
        "learning_rate": chosen.learning_rate,
        "num_leaves": chosen.leaves,
        "min_child_samples": chosen.min_child_samples,
        "feature_fraction": chosen.feature_fraction,
        "bagging_fraction": chosen.bagging_fraction,
        "bagging_freq": 1,
        "seed": int(rng.integers(1 << 31)),
        "num_threads": 1,
        "deterministic": True,
        "force_row_wise": True,
        "verbosity": -1,
    }
    table = lgb.Dataset(
        chosen_pairs(data, features),
        data.reward,
        weight=_weights(data, chosen.positive, chosen.negative),
        categorical_feature=list(range(len(features.categorical))),
        params=parameters,
    )
    booster = lgb.train(
        parameters,
        table,
        chosen.trees,
        init_model=None if predecessor is None else lgb.Booster(model_str=predecessor.model),
    )
    return LightGBMOracle(
        model=booster.model_to_string(num_iteration=-1),
        features=features,
        positive=chosen.positive,
        negative=chosen.negative,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class LogisticOracle:
    """Logistic regression on context, flags and every context x flag product.

    `centre` and `scale` (numeric,) standardise the numeric columns. `codes` holds each
    categorical column's known codes, ascending, and `tables` their coefficients (codes, 1 + f);
    an unknown code adds nothing. `slopes` is (numeric, 1 + f) and `intercepts` (1 + f,): column 0
    is the context's own effect, column 1 + j its product with flag j.
    """

    features: PairFeatures
    centre: FloatArray
    scale: FloatArray
    codes: tuple[FloatArray, ...]
    tables: tuple[FloatArray, ...]
    slopes: FloatArray
    intercepts: FloatArray
    positive: float = 1.0
    negative: float = 1.0

    def predict(self, context: pl.DataFrame, eligible: BoolArray) -> FloatArray:
        """Expected rewards, (n, k); see RegressionOracle.

        Elementwise sums in a fixed order instead of a matrix product, whose rounding depends on
        the size of the batch.

        Raises:
            DataError: a numeric column has a missing value.
        """
        matrix = context_matrix(context, self.features)
        _check_no_missing(matrix, self.features)
        eligible_pairs(matrix[:0], eligible[:0], self.features.flags)
        basis = np.broadcast_to(self.intercepts, (len(matrix), len(self.intercepts))).copy()
        for j, (codes, table) in enumerate(zip(self.codes, self.tables, strict=True)):
            at = np.minimum(np.searchsorted(codes, matrix[:, j]), len(codes) - 1)
            basis += np.where((codes[at] == matrix[:, j])[:, None], table[at], 0.0)
        offset = len(self.codes)
        for j, slope in enumerate(self.slopes):
            standard = (matrix[:, offset + j] - self.centre[j]) / self.scale[j]
            basis += standard[:, None] * slope
        logits = np.broadcast_to(basis[:, :1], eligible.shape).copy()
        for j, flag in enumerate(self.features.flags.T):
            logits += basis[:, 1 + j, None] * flag
        fitted = _unweighted(expit(logits), self.positive, self.negative)
        return np.where(eligible, fitted, 0.0)


def fit_logistic(
    data: TrainingSet,
    rng: np.random.Generator,
    *,
    features: PairFeatures,
    inverse_penalty: float = 0.1,
    positive: float = 1.0,
    negative: float = 1.0,
) -> LogisticOracle | ConstantOracle:
    """Ridge logistic regression with context x flag products, by scikit-learn's L-BFGS.

    `inverse_penalty` is scikit-learn's C. The products are what lets the best action differ from
    one context to the next: without them every context ranks the actions alike.

    Raises:
        DataError: as `fit_lightgbm`, and where a numeric column has a missing value.
    """
    from scipy import sparse
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    constant = one_class(data.reward, loss="log")
    if constant is not None:
        return constant
    del rng
    pairs = chosen_pairs(data, features)
    _check_no_missing(pairs, features)
    split, width = len(features.categorical), len(features.columns)
    numeric, flags = pairs[:, split:width], pairs[:, width:]
    centre = numeric.mean(axis=0)
    spread = numeric.std(axis=0)
    scale = np.where(spread > 0, spread, 1.0)
    codes = tuple(np.unique(pairs[:, j]) for j in range(split))
    one_hot = [
        sparse.csr_array(
            (np.ones(len(pairs)), (np.arange(len(pairs)), np.searchsorted(c, pairs[:, j]))),
            shape=(len(pairs), len(c)),
        )
        for j, c in enumerate(codes)
    ]
    ones = sparse.csr_array(np.ones((len(pairs), 1)))
    basis = sparse.hstack([*one_hot, sparse.csr_array((numeric - centre) / scale), ones]).tocsr()
    design = sparse.hstack(
        [basis[:, :-1], *(basis.multiply(flags[:, [j]]) for j in range(flags.shape[1]))]
    ).tocsr()
    with threadpool_limits(1):
        model = LogisticRegression(C=inverse_penalty, max_iter=1000).fit(
            design, data.reward, sample_weight=_weights(data, positive, negative)
        )
    coefficient = np.append(model.coef_[0][: basis.shape[1] - 1], model.intercept_[0])
    rest = model.coef_[0][basis.shape[1] - 1 :]
    table = np.column_stack([coefficient, rest.reshape(flags.shape[1], -1).T])
    ends = np.cumsum([0, *(len(c) for c in codes)])
    return LogisticOracle(
        features=features,
        centre=centre,
        scale=scale,
        codes=codes,
        tables=tuple(np.ascontiguousarray(table[a:b]) for a, b in pairwise(ends)),
        slopes=np.ascontiguousarray(table[ends[-1] : -1]),
        intercepts=np.ascontiguousarray(table[-1]),
        positive=positive,
        negative=negative,
    )


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
    roots: np.ndarray
    column: np.ndarray
    threshold: FloatArray
    left: np.ndarray
    right: np.ndarray
    missing_left: BoolArray
    value: FloatArray
    bitset: np.ndarray
    bitsets: np.ndarray
    positive: float = 1.0
    negative: float = 1.0

    def predict(self, context: pl.DataFrame, eligible: BoolArray) -> FloatArray:
        """Expected rewards, (n, k); see RegressionOracle."""
        matrix = context_matrix(context, self.features)
        pairs = _ranked(eligible_pairs(matrix, eligible, self.features.flags), self.codes)
        margin = np.full(len(pairs), self.baseline)
        for root in self.roots:
            margin += self.value[self._leaf(pairs, int(root))]
        fitted = expit(margin) if self.loss == "log" else np.clip(margin, 0.0, 1.0)
        result = np.zeros(eligible.shape)
        result[eligible] = _unweighted(fitted, self.positive, self.negative)
        return result

    def _leaf(self, pairs: FloatArray, root: int) -> np.ndarray:
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
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from threadpoolctl import threadpool_limits

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
    model = kind(
        max_iter=chosen.trees,
        learning_rate=chosen.learning_rate,
        max_leaf_nodes=chosen.leaves,
        min_samples_leaf=chosen.min_child_samples,
        max_features=chosen.feature_fraction,
        categorical_features=list(range(split)) or None,
        early_stopping=False,
        random_state=int(rng.integers(1 << 31)),
    )
    with threadpool_limits(1):
        model.fit(
            _ranked(pairs, codes),
            data.reward,
            sample_weight=_weights(data, chosen.positive, chosen.negative),
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


@dataclass(frozen=True, kw_only=True, eq=False)
class Ensemble:
    """Several oracles: the mean is the prediction, the spread is what some rules explore by."""

    members: tuple[RegressionOracle, ...] = field(default=())

    def predict(self, context: pl.DataFrame, eligible: BoolArray) -> FloatArray:
        """The members' mean, (n, k)."""
        return self.predict_each(context, eligible).mean(axis=0)

    def predict_each(self, context: pl.DataFrame, eligible: BoolArray) -> FloatArray:
        """Every member's prediction, (members, n, k)."""
        return np.stack([member.predict(context, eligible) for member in self.members])


def fit_bootstrap(
    fit: Fit, data: TrainingSet, rng: np.random.Generator, *, models: int = 5
) -> Ensemble:
    """`models` oracles, each on rows weighted by independent Poisson(1) counts.

    Source: Oza and Russell (2001), online bagging; Eckles and Kaptein (2014) for bandits.
    """
    counts = rng.poisson(1.0, size=(models, len(data.reward))).astype(np.float64)
    return Ensemble(members=tuple(fit(data.weighted(count), rng) for count in counts))


def one_class(reward: FloatArray, *, loss: Loss) -> ConstantOracle | None:
    """The oracle for rewards that are all alike, or none at all; None where there is variety.

    With n rows of which s are ones it predicts (s + 1/2)/(n + 1), Jeffreys' estimate: a window in
    which every payment was authorised does not make the next one certain.

    Raises:
        DataError: a reward outside [0, 1], or (log loss) one that is not 0 or 1.
    """
    wrong = ~((reward >= 0) & (reward <= 1))
    if loss == "log":
        wrong |= (reward != 0) & (reward != 1)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        wanted = "0 or 1" if loss == "log" else "a number in [0, 1]"
        raise DataError(f"reward of row {row} is {reward[row]}; wanted {wanted}")
    n = len(reward)
    if n and reward.min() != reward.max():
        return None
    seen = f"all {n} rewards of the window are {reward[0]:g}" if n else "the window has no reward"
    return ConstantOracle(value=float((reward.sum() + 0.5) / (n + 1)), reason=seen)


def cross_fitted_predictions(
    fit: Fit,
    data: TrainingSet,
    eligible: BoolArray,
    rng: np.random.Generator,
    *,
    time: np.ndarray,
    folds: int = 3,
    cluster: np.ndarray | None = None,
) -> FloatArray:
    """Predictions for each row by an oracle that has not seen it, (n, k).

    The folds are blocks of `time` (n,), anything that sorts; equal times stay in one block. With
    `cluster` (n,), such as the card, an oracle also has not seen other rows of its fold's
    clusters. `data` must hold only rows with known rewards.

    Raises:
        DataError: fewer different times than folds.
    """
    blocks = time_blocks(time, folds)
    result = np.zeros(eligible.shape)
    for block in range(folds):
        held = blocks == block
        seen = ~held if cluster is None else ~np.isin(cluster, cluster[held])
        oracle = fit(data.take(np.flatnonzero(seen)), rng)
        result[held] = oracle.predict(data.context.filter(pl.Series(held)), eligible[held])
    return result


def time_blocks(time: np.ndarray, folds: int) -> np.ndarray:
    """The block, 0 to folds - 1, of each row: consecutive in time, of about equal size, (n,).

    Raises:
        DataError: fewer than two folds, or fewer different times than folds.
    """
    moments, index, counts = np.unique(time, return_inverse=True, return_counts=True)
    if folds < 2 or len(moments) < folds:
        raise DataError(
            f"{folds} folds of {len(moments)} different times; wanted 2 or more of each"
        )
    by_rows = ((counts.cumsum() - counts / 2) * folds / counts.sum()).astype(np.int64)
    by_times = np.arange(len(moments)) * folds // len(moments)
    every_block = len(np.unique(by_rows)) == folds
    return (by_rows if every_block else by_times)[index]


def _weights(data: TrainingSet, positive: float, negative: float) -> FloatArray | None:
    if positive == negative == 1.0:
        return data.weight
    weight = class_weights(data.reward, positive=positive, negative=negative)
    return weight if data.weight is None else weight * data.weight


def _unweighted(fitted: FloatArray, positive: float, negative: float) -> FloatArray:
    if positive == negative == 1.0:
        return fitted
    return undo_class_weights(fitted, positive=positive, negative=negative)


def _check_no_missing(matrix: FloatArray, features: PairFeatures) -> None:
    for j, name in enumerate(features.columns):
        missing = np.flatnonzero(np.isnan(matrix[:, j]))
        if len(missing):
            raise DataError(
                f"context column {name!r} is missing in row {missing[0]}: logistic regression"
                " needs every number; impute it, or use boosted trees"
            )
