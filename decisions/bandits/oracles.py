"""Regression oracles: the expected reward of every eligible action, learned from logged ones."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, Protocol, runtime_checkable

import lightgbm as lgb
import numpy as np
import polars as pl

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
from decisions.policy import BoolArray, FloatArray
from decisions.shapes import check_rows, label_codes

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
            result[eligible] = undo_class_weights(
                clipped, positive=self.positive, negative=self.negative
            )
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
    """Boosted trees over the chosen pairs; a constant where they learn nothing.

    That is where the rewards are all alike, or too few for a single split.

    With `predecessor` its trees are kept and `config.trees` more are grown on their margin: what
    earlier windows taught stays in the model when their rows may not be kept. A window whose
    rewards are all alike then teaches nothing: the predecessor is returned as it is.

    One thread and LightGBM's deterministic mode: the same seed gives the same bits.

    Raises:
        DataError: rewards outside [0, 1], or not 0 or 1 with log loss; see also `chosen_pairs`.
    """
    chosen = config or LightGBMConfig()
    constant = one_class(data.reward, loss=chosen.loss)
    if constant is not None:
        return constant if predecessor is None else predecessor
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
        weight=sample_weights(data, positive=chosen.positive, negative=chosen.negative),
        categorical_feature=list(range(len(features.categorical))),
        params=parameters,
    )
    booster = lgb.train(
        parameters,
        table,
        chosen.trees,
        init_model=None if predecessor is None else lgb.Booster(model_str=predecessor.model),
    )
    if not booster.feature_importance().any():
        return _constant(
            data.reward,
            f"{len(data.reward)} rows are too few, or too much alike, for a tree to split:"
            f" a leaf holds {chosen.min_child_samples} at least",
        )
    return LightGBMOracle(
        model=booster.model_to_string(num_iteration=-1),
        features=features,
        positive=chosen.positive,
        negative=chosen.negative,
    )


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
    return _constant(reward, seen)


def _constant(reward: FloatArray, reason: str) -> ConstantOracle:
    return ConstantOracle(value=float((reward.sum() + 0.5) / (len(reward) + 1)), reason=reason)


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

    Rows without a cluster (None, NaN) are one.

    Raises:
        DataError: fewer different times than folds, or labels that are not as many as rows.
    """
    check_rows(reward=data.reward, time=time, cluster=cluster)
    codes = None if cluster is None else label_codes(cluster)
    blocks = time_blocks(time, folds)
    result = np.zeros(eligible.shape)
    for block in range(folds):
        held = blocks == block
        seen = ~held if codes is None else ~np.isin(codes, codes[held])
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
