"""What every policy can do, whatever it was trained with."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import polars as pl

from decisions.errors import DataError, NoEligibleAction
from decisions.seeds import RowKeys
from decisions.shapes import check_table

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Draw:
    """Actions for n rows, with the probability (or density) each was drawn with.

    `action` and `nominal` hold an index for finite actions (d = 1), a vector otherwise. `nominal`
    is what the policy would do without exploring. `arm` names the part of the traffic a row was
    drawn into ("explore", "exploit", "control"), and `arm_propensity` the probability of the
    action within that arm; `propensity` is the marginal one, over everything random.
    """

    action: FloatArray  # (n, d)
    nominal: FloatArray  # (n, d)
    propensity: FloatArray  # (n,), > 0
    arm: npt.NDArray[np.str_]  # (n,)
    arm_propensity: FloatArray  # (n,), > 0
    uniform: FloatArray  # (n,), the number the action was drawn with
    probabilities: FloatArray | None = None  # (n, k); None for a box of actions
    scores: FloatArray | None = None  # (n, k), predicted rewards; None where none are predicted


class Policy(Protocol):
    """Anything that acts. `keys` holds the decision ids: the draw depends on nothing else."""

    def act(self, context: pl.DataFrame, eligible: BoolArray, keys: RowKeys) -> Draw:
        """One action a row of `context`; `eligible` is (n, k), or (n, 1) for a box of actions."""
        ...


class FinitePolicy(Policy, Protocol):
    """A policy over k named actions: the only kind off-policy estimators accept."""

    def probabilities(self, context: pl.DataFrame, eligible: BoolArray) -> FloatArray:
        """Rows that sum to one over the eligible actions, shape (n, k)."""
        ...


def check_eligible(eligible: BoolArray) -> None:
    """Raises NoEligibleAction, naming the first rows, when a row of `eligible` is empty."""
    empty = np.flatnonzero(~eligible.any(axis=1))
    if len(empty):
        raise NoEligibleAction(
            f"{len(empty)} of {len(eligible)} rows have no eligible action, first rows"
            f" {empty[:5].tolist()}: the domain's `eligible` must always leave one"
        )


def choose(probabilities: FloatArray, uniform: FloatArray) -> IntArray:
    """The index each `uniform` (n,) falls on in the rows of `probabilities` (n, k), ascending.

    Inverse transform. A row's last action with mass takes what rounding leaves over, so an action
    of probability zero is never chosen.

    Raises:
        DataError: a row is not a distribution to 1e-9.
    """
    total = probabilities.sum(axis=1)
    wrong = np.flatnonzero(~(np.abs(total - 1.0) <= 1e-9) | (probabilities < 0).any(axis=1))
    if len(wrong):
        row = int(wrong[0])
        raise DataError(
            f"probabilities of row {row} sum to {total[row]!r}, minimum"
            f" {probabilities[row].min()!r}; wanted a distribution ({len(wrong)} such rows)"
        )
    index = (uniform[:, None] >= probabilities.cumsum(axis=1)).sum(axis=1)
    last = probabilities.shape[1] - 1 - (probabilities[:, ::-1] > 0).argmax(axis=1)
    return np.minimum(index, last).astype(np.int64)


def pick(values: FloatArray, index: IntArray) -> FloatArray:
    """The entry `index` (n,) of each row of `values` (n, k)."""
    return np.take_along_axis(values, index[:, None], axis=1)[:, 0]


def total_variation(first: FloatArray, second: FloatArray) -> float:
    """Mean over rows of half the L1 distance of two distributions (n, k); 0 to 1, 0 if no rows.

    The share of traffic that would be treated otherwise. High churn at constant value is
    possible, so churn alone is no harm.
    """
    check_table(first=first, second=second)
    if not len(first):
        return 0.0
    return float((np.abs(first - second).sum(axis=1) / 2).mean())


def normalised_entropy(probabilities: FloatArray, eligible: BoolArray) -> float:
    """Mean of H(p) / log K over the rows (n, k) with K > 1: 1 is uniform, 0 is certain.

    1.0 when no row has a choice: nothing is left unexplored.
    """
    check_table(probabilities=probabilities, eligible=eligible)
    size = eligible.sum(axis=1)
    several = size > 1
    if not several.any():
        return 1.0
    p = probabilities[several]
    entropy = -(p * np.log(np.where(p > 0, p, 1.0))).sum(axis=1)
    return float((entropy / np.log(size[several])).mean())
