"""Boosted trees on all actions of a context at once: what the flags decide is decided only once.

A context and an action reach a leaf when the context meets the path's conditions on it, and the
action those on its flags. So a tree is a matrix (actions, leaves) of values, known beforehand,
times a matrix (leaves, contexts) of zeros and ones, whose cost does not grow with the actions.
"""

import re
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import polars as pl
from scipy.special import expit

from decisions.bandits.oracles import LightGBMOracle
from decisions.bandits.training_set import context_matrix, undo_class_weights
from decisions.policy import BoolArray, FloatArray, IntArray

_CATEGORICAL, _DEFAULT_LEFT, _MISSING_ZERO, _MISSING_NAN = 1, 2, 4, 8  # bits of decision_type


@dataclass(frozen=True, kw_only=True, eq=False)
class PairTrees:
    """A LightGBM oracle that predicts some four times as fast; rounding apart, the same numbers.

    The bits of a row do not depend on the batch: within a tree one leaf is not zero, and trees
    are summed in their order.
    """

    oracle: LightGBMOracle

    @cached_property
    def _trees(self) -> list["_Tree"]:
        flags = _Columns(self.oracle.features.flags)
        context_columns = len(self.oracle.features.columns)
        texts = re.split(r"^Tree=", self.oracle.model, flags=re.MULTILINE)[1:]
        return [
            _Tree(text.partition("\nend of trees")[0], flags, context_columns) for text in texts
        ]

    def predict(self, context: pl.DataFrame, eligible: BoolArray) -> FloatArray:
        """Expected rewards, (n, k); see RegressionOracle."""
        oracle = self.oracle
        columns = _Columns(context_matrix(context, oracle.features))
        margin = np.zeros(eligible.shape[::-1])
        for tree in self._trees:
            margin += (tree.values @ tree.reached(columns))[tree.alike]
        fitted = expit(margin) if "objective=binary" in oracle.model else np.clip(margin, 0, 1)
        return np.where(
            eligible,
            undo_class_weights(fitted.T, positive=oracle.positive, negative=oracle.negative),
            0.0,
        )


class _Columns:
    """A matrix (n, d) by columns, and as codes: -1 where missing or negative, both (d, n)."""

    def __init__(self, matrix: FloatArray) -> None:
        self.height, self.width = matrix.shape
        self.number = np.ascontiguousarray(matrix.T)
        self.missing: BoolArray = np.isnan(self.number)
        self.code = np.where(self.number >= 0, self.number, -1.0).astype(np.int64)


class _Tree:
    """One tree of a LightGBM model's text, its conditions on flags evaluated.

    `values` (classes, leaves) holds the leaves' values, 0 where the actions of a class cannot
    reach a leaf; `alike` (k,) is each action's class: actions that the tree does not tell apart.
    """

    values: FloatArray
    alike: IntArray

    def __init__(self, text: str, flags: _Columns, context_columns: int) -> None:
        pairs = (line.partition("=") for line in text.splitlines())
        fields = {name: value.split() for name, _, value in pairs}
        self.column, self.kind, self.left, self.right = (
            [int(word) for word in fields.get(name, ())]
            for name in ("split_feature", "decision_type", "left_child", "right_child")
        )
        self.threshold = [float(word) for word in fields.get("threshold", ())]
        bounds = [int(word) for word in fields.get("cat_boundaries", ())]
        words = np.array([int(word) for word in fields.get("cat_threshold", ())], dtype=np.uint32)
        bits = np.unpackbits(words.view(np.uint8), bitorder="little").astype(np.bool_)
        # The last entry, False, is that of codes beyond the set, and of missing ones.
        self.sets = [np.append(bits[32 * a : 32 * b], False) for a, b in pairwise(bounds)]
        self.first_flag = context_columns
        possible = self._walk(flags, self.first_flag)
        leaf = np.array([float(word) for word in fields["leaf_value"]])
        distinct, self.alike = np.unique(possible, axis=1, return_inverse=True)
        self.values = np.ascontiguousarray(np.where(distinct, leaf[:, None], 0.0).T)

    def reached(self, columns: _Columns) -> FloatArray:
        """One where a context meets a leaf's conditions on it, else zero, (leaves, n)."""
        return self._walk(columns, 0).astype(np.float64)

    def _walk(self, seen: _Columns, first: int) -> BoolArray:
        """Which rows of `seen` meet each leaf's conditions on its columns, (leaves, n).

        `first` is the number of its first column in the tree; other columns let everyone pass.
        """
        found = np.empty((len(self.column) + 1, seen.height), np.bool_)
        unseen = [(0 if self.column else -1, np.ones(seen.height, np.bool_))]
        while unseen:
            node, here = unseen.pop()
            if node < 0:
                found[~node] = here
                continue
            column, left, right = self.column[node] - first, self.left[node], self.right[node]
            if 0 <= column < seen.width:
                low = self._goes_left(node, seen, column)
                unseen += [(left, here & low), (right, here & ~low)]
            else:
                unseen += [(left, here), (right, here)]
        return found

    def _goes_left(self, node: int, seen: _Columns, column: int) -> BoolArray:
        """LightGBM's own decision, missing values included, (n,)."""
        kind, threshold = self.kind[node], self.threshold[node]
        if kind & _CATEGORICAL:
            among = self.sets[int(threshold)]
            return among[np.minimum(seen.code[column], len(among) - 1)]
        number, missing = seen.number[column], seen.missing[column]
        if not kind & _MISSING_ZERO and not missing.any():
            return np.less_equal(number, threshold)
        if not kind & _MISSING_NAN:
            number = np.where(missing, 0.0, number)
            zero_too = bool(kind & _MISSING_ZERO)
            missing = np.less_equal(np.abs(number), 1e-35) & zero_too
        return np.where(missing, bool(kind & _DEFAULT_LEFT), np.less_equal(number, threshold))
