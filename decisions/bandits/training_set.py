"""From logged decisions to a matrix: one row per context and action, features then flags."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from decisions.errors import DataError
from decisions.policy import BoolArray, FloatArray, IntArray
from decisions.shapes import (
    check_finite,
    check_propensities,
    check_rows,
    check_shape,
    check_weights,
)


@dataclass(frozen=True, kw_only=True, eq=False)
class PairFeatures:
    """What an oracle reads of a context and an action.

    `categorical` context columns hold integer codes from 0 (-1: missing) and below 2^31, `numeric`
    ones numbers; `dtypes` are those columns' types, in that order. `flags` (k, f) describes the
    actions, so that combinations never tried can be scored; `np.eye(k)` where actions have nothing
    in common.
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
        DataError: a column is missing, its type is not that of training, a number is infinite, or
            a category's code is none of -1 to 2^31 - 1.
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
        if name in features.categorical:
            _check_codes(context[name], matrix[:, j])
    return matrix


def _check_codes(codes: pl.Series, numbers: FloatArray) -> None:
    """Raises DataError where trees would take a code for a missing one without a word.

    LightGBM keeps categories as 32-bit integers of 0 or more. -1 and null are missing on purpose.
    """
    wrong = np.flatnonzero((numbers < -1) | (numbers >= 2**31))
    if len(wrong):
        row = int(wrong[0])
        raise DataError(
            f"context column {codes.name!r} holds the code {codes[row]} in row {row}, wanted one"
            f" from 0 to 2147483647 (-1: missing; {len(wrong)} such rows): number the categories"
            " from 0"
        )


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
        """The rows whose weight stays positive once multiplied by `factor` (n,).

        Raises:
            DataError: a factor is negative or not finite, or there are not n.
        """
        check_shape(np.shape(self.reward), factor=factor, weight=self.weight)
        check_weights(factor=factor)
        kept = np.flatnonzero(factor > 0)
        weight = factor if self.weight is None else self.weight * factor
        part = self.take(kept)
        return TrainingSet(
            context=part.context, action=part.action, reward=part.reward, weight=weight[kept]
        )


def chosen_pairs(data: TrainingSet, features: PairFeatures) -> FloatArray:
    """The training matrix, one row per decision: context, then the chosen action's flags.

    Raises:
        DataError: see `check_training_set`.
    """
    check_training_set(data, actions=len(features.flags))
    context = context_matrix(data.context, features)
    return pair_matrix(context, np.arange(len(context)), data.action, features.flags)


def check_training_set(data: TrainingSet, *, actions: int) -> None:
    """Checks that a model of as many `actions` may be fitted to `data`.

    Raises:
        DataError: an action is unknown, a reward is not finite, a weight is negative or not
            finite, or there are not as many of each as contexts.
    """
    n = data.context.height
    check_shape((n,), action=data.action, reward=data.reward, weight=data.weight)
    check_finite(reward=data.reward)
    if data.weight is not None:
        check_weights(weight=data.weight)
    unknown = np.flatnonzero((data.action < 0) | (data.action >= actions))
    if len(unknown):
        row = int(unknown[0])
        raise DataError(f"action {data.action[row]} in row {row} is not one of 0..{actions - 1}")


def importance_weights(
    propensity: FloatArray, *, power: float = 1.0, floor: float = 0.02
) -> FloatArray:
    """max(propensity, floor)^-power, scaled to mean one: sample weights that undo the logging.

    Off by default everywhere: in the reference simulator they hurt, as they did others (variance
    E[w^2]). `power` 0.5 is the square-root compromise.

    Raises:
        DataError: a propensity is not in (0, 1], or they are not of shape (n,).
    """
    check_rows(propensity=propensity)
    check_propensities(propensity=propensity)
    weight = np.maximum(propensity, floor) ** -power
    return weight / weight.mean()


def sample_weights(data: TrainingSet, *, positive: float, negative: float) -> FloatArray | None:
    """Row weights times class weights, (n,); None where all are one.

    Raises:
        DataError: a class weight is not finite and above 0.
    """
    if not (0 < positive < np.inf and 0 < negative < np.inf):
        raise DataError(
            f"class weights are {positive:g} and {negative:g}, wanted finite numbers above 0"
        )
    if positive == negative == 1.0:
        return data.weight
    weight = np.where(data.reward > 0.5, positive, negative)
    return weight if data.weight is None else weight * data.weight


def undo_class_weights(fitted: FloatArray, *, positive: float, negative: float) -> FloatArray:
    """Probabilities of a fit with class weights, put right: odds * negative / positive."""
    if positive == negative == 1.0:
        return fitted
    return fitted * negative / (fitted * negative + (1.0 - fitted) * positive)
