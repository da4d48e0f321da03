"""Logistic regression as a regression oracle: fast to fit, faster to read."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
from scipy import sparse
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from decisions.bandits.oracles import ConstantOracle, one_class
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

    def __post_init__(self) -> None:
        """Raises DataError where the arrays do not fit one another."""
        width, numeric = 1 + self.features.flags.shape[1], len(self.features.numeric)
        fits = (
            self.centre.shape == self.scale.shape == (numeric,)
            and self.slopes.shape == (numeric, width)
            and self.intercepts.shape == (width,)
            and len(self.codes) == len(self.tables) == len(self.features.categorical)
            and all(
                len(code) > 0 and table.shape == (len(code), width)
                for code, table in zip(self.codes, self.tables, strict=True)
            )
        )
        if not fits:
            raise DataError("the arrays of a logistic regression do not fit its features")

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
        fitted = undo_class_weights(expit(logits), positive=self.positive, negative=self.negative)
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
    constant = one_class(data.reward, loss="log")
    if constant is not None:
        return constant
    del rng
    pairs = chosen_pairs(data, features)
    _check_no_missing(pairs, features)
    split, width = len(features.categorical), len(features.columns)
    numeric, flags = pairs[:, split:width], pairs[:, width:]
    centre, spread = numeric.mean(axis=0), numeric.std(axis=0)
    scale = np.where(spread > 0, spread, 1.0)
    codes = tuple(np.unique(pairs[:, j]) for j in range(split))
    basis = _basis(pairs[:, :split], codes, (numeric - centre) / scale)
    products = [basis.multiply(flags[:, [j]]) for j in range(flags.shape[1])]
    design = sparse.hstack([basis[:, :-1], *products]).tocsr()
    with threadpool_limits(1):
        model = LogisticRegression(C=inverse_penalty, max_iter=1000)
        model.fit(
            design,
            data.reward,
            sample_weight=sample_weights(data, positive=positive, negative=negative),
        )
    fitted = _coefficients(model)
    own, products_own = np.split(fitted, [basis.shape[1]])
    table = np.column_stack([np.roll(own, -1), products_own.reshape(flags.shape[1], -1).T])
    ends = np.cumsum([0, *(len(c) for c in codes)]).tolist()
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


def _coefficients(model: Any) -> FloatArray:
    """The intercept, then the coefficients, (1 + columns,)."""
    return np.append(model.intercept_, model.coef_[0])


def _basis(categories: FloatArray, codes: tuple[FloatArray, ...], standard: FloatArray) -> Any:
    """Sparse (n, p): indicators of each categorical column's codes, the numbers, a one."""
    rows = np.arange(len(standard))
    indicators = [
        sparse.csr_array(
            (np.ones(len(rows)), (rows, np.searchsorted(known, categories[:, j]))),
            shape=(len(rows), len(known)),
        )
        for j, known in enumerate(codes)
    ]
    rest = sparse.csr_array(np.column_stack([standard, np.ones(len(rows))]))
    return sparse.hstack([*indicators, rest]).tocsr()


def _check_no_missing(matrix: FloatArray, features: PairFeatures) -> None:
    for j, name in enumerate(features.columns):
        missing = np.flatnonzero(np.isnan(matrix[:, j]))
        if len(missing):
            raise DataError(
                f"context column {name!r} is missing in row {missing[0]}: logistic regression"
                " needs every number; impute it, or use boosted trees"
            )
