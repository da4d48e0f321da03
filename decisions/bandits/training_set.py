"""From logged decisions to a matrix: one row per context and action, features then flags."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from decisions.errors import DataError
from decisions.policy import BoolArray, FloatArray, IntArray


@dataclass(frozen=True, kw_only=True, eq=False)
class PairFeatures:
    """What an oracle reads of a context and an action.

    `categorical` context columns hold integer codes, `numeric` ones numbers; `dtypes` are those
    columns' types, in that order. `flags` (k, f) describes the actions, so that combinations never
    tried can be scored; `np.eye(k)` where actions have nothing in common.
    """

    categorical: tuple[str, ...]
    numeric: tuple[str, ...]
    dtypes: tuple[str, ...]
    flags: FloatArray

    @property
    def columns(self) -> tuple[str, ...]:
        """The context columns, categorical ones first: the order of the matrix."""
        return (*self.categorical, *self.numeric)


def pair_features(
    context: pl.DataFrame,
    *,
    flags: FloatArray,
    categorical: tuple[str, ...] = (),
    numeric: tuple[str, ...] | None = None,
) -> PairFeatures:
    """Features as they are in `context`; by default every other column is numeric.

    Raises:
        DataError: a column is missing or of a type that is not what its list says.
    """
    rest = tuple(name for name in context.columns if name not in categorical)
    chosen = rest if numeric is None else numeric
    for name in (*categorical, *chosen):
        if name not in context.columns:
            raise DataError(f"context has no column {name!r}; it has {context.columns}")
        dtype = context.schema[name]
        fits = dtype.is_integer() if name in categorical else dtype.is_numeric()
        if not (fits or (name in chosen and dtype == pl.Boolean)):
            wanted = "integer codes" if name in categorical else "a number"
            raise DataError(f"context column {name!r} is {dtype}, wanted {wanted}")
    dtypes = tuple(str(context.schema[name]) for name in (*categorical, *chosen))
    return PairFeatures(
        categorical=categorical,
        numeric=chosen,
        dtypes=dtypes,
        flags=np.ascontiguousarray(flags, dtype=np.float64),
    )


def context_matrix(context: pl.DataFrame, features: PairFeatures) -> FloatArray:
    """The context's columns as (n, d); a null or NaN number is NaN.

    Raises:
        DataError: a column is missing, its type is not that of training, or a number is infinite.
    """
    for name, dtype in zip(features.columns, features.dtypes, strict=True):
        if name not in context.columns:
            raise DataError(f"context has no column {name!r}, which the oracle was trained on")
        if str(context.schema[name]) != dtype:
            raise DataError(
                f"context column {name!r} is {context.schema[name]}; the oracle was trained on"
                f" {dtype}"
            )
    matrix = np.empty((context.height, len(features.columns)))
    for j, name in enumerate(features.columns):
        matrix[:, j] = context[name].cast(pl.Float64).to_numpy()
        if np.isinf(matrix[:, j]).any():
            row = int(np.flatnonzero(np.isinf(matrix[:, j]))[0])
            raise DataError(f"context column {name!r} is infinite in row {row}")
    return matrix


def pair_matrix(
    context: FloatArray, rows: IntArray, actions: IntArray, flags: FloatArray
) -> FloatArray:
    """One row per pair: `context[rows]` beside `flags[actions]`, (pairs, d + f)."""
    width = context.shape[1]
    matrix = np.empty((len(rows), width + flags.shape[1]))
    matrix[:, :width] = context[rows]
    matrix[:, width:] = flags[actions]
    return matrix


def eligible_pairs(context: FloatArray, eligible: BoolArray, flags: FloatArray) -> FloatArray:
    """`pair_matrix` of the eligible pairs, row by row, actions ascending.

    Raises:
        DataError: shapes do not fit one another.
    """
    if eligible.shape != (len(context), len(flags)):
        raise DataError(
            f"eligible has shape {eligible.shape}; wanted ({len(context)}, {len(flags)}): rows of"
            " context by actions the oracle knows"
        )
    rows, actions = np.nonzero(eligible)
    return pair_matrix(context, rows, actions, flags)


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingSet:
    """Logged decisions with known rewards: all (n,), and `context` with n rows.

    `weight` is the sample weight of each row; the default of None is one for all. Rows must be
    in an order that is the same in every run: sums depend on it to the last bit.
    """

    context: pl.DataFrame
    action: IntArray
    reward: FloatArray
    weight: FloatArray | None = None

    def take(self, index: IntArray) -> "TrainingSet":
        """Some of the rows."""
        return TrainingSet(
            context=self.context[index],
            action=self.action[index],
            reward=self.reward[index],
            weight=None if self.weight is None else self.weight[index],
        )

    def weighted(self, factor: FloatArray) -> "TrainingSet":
        """The rows whose weight stays positive once multiplied by `factor` (n,)."""
        kept = np.flatnonzero(factor > 0)
        weight = factor if self.weight is None else self.weight * factor
        part = self.take(kept)
        return TrainingSet(
            context=part.context, action=part.action, reward=part.reward, weight=weight[kept]
        )


def chosen_pairs(data: TrainingSet, features: PairFeatures) -> FloatArray:
    """The training matrix, one row per decision: context, then the chosen action's flags.

    Raises:
        DataError: an action is unknown, or lengths differ.
    """
    check_actions(data, features)
    context = context_matrix(data.context, features)
    return pair_matrix(context, np.arange(len(context)), data.action, features.flags)


def check_actions(data: TrainingSet, features: PairFeatures) -> None:
    """Raises DataError where an action is unknown, or lengths differ."""
    n, k = data.context.height, len(features.flags)
    if len(data.action) != n or len(data.reward) != n:
        raise DataError(f"{n} contexts, {len(data.action)} actions, {len(data.reward)} rewards")
    unknown = np.flatnonzero((data.action < 0) | (data.action >= k))
    if len(unknown):
        row = int(unknown[0])
        raise DataError(f"action {data.action[row]} in row {row} is not one of 0..{k - 1}")


def importance_weights(
    propensity: FloatArray, *, power: float = 1.0, floor: float = 0.02
) -> FloatArray:
    """max(propensity, floor)^-power, scaled to mean one: sample weights that undo the logging.

    Off by default everywhere: in the reference simulator they hurt, as they did others (variance
    E[w^2]). `power` 0.5 is the square-root compromise.
    """
    weight = np.maximum(propensity, floor) ** -power
    return weight / weight.mean()


def sample_weights(data: TrainingSet, *, positive: float, negative: float) -> FloatArray | None:
    """Row weights times class weights, (n,); None where all are one."""
    if positive == negative == 1.0:
        return data.weight
    weight = np.where(data.reward > 0.5, positive, negative)
    return weight if data.weight is None else weight * data.weight


def undo_class_weights(fitted: FloatArray, *, positive: float, negative: float) -> FloatArray:
    """Probabilities of a fit with class weights, put right: odds * negative / positive."""
    if positive == negative == 1.0:
        return fitted
    return fitted * negative / (fitted * negative + (1.0 - fitted) * positive)
