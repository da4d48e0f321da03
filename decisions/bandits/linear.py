"""Logistic and ridge regression as regression oracles: fast to fit, faster to read."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import polars as pl
from scipy import linalg, sparse
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from decisions.bandits.oracles import ConstantOracle, one_class
from decisions.bandits.threads import one_thread
from decisions.bandits.training_set import (
    PairFeatures,
    TrainingSet,
    check_training_set,
    context_matrix,
    eligible_pairs,
    sample_weights,
    undo_class_weights,
)
from decisions.errors import DataError
from decisions.policy import BoolArray, FloatArray

Link = Literal["logit", "identity"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Scaling:
    """How context columns become basis columns: indicators, standardised numbers, a one.

    `codes` holds each categorical column's known codes, ascending; `centre` and `scale` (numeric,)
    are the numbers' mean and standard deviation.
    """

    codes: tuple[FloatArray, ...]
    centre: FloatArray
    scale: FloatArray

    @property
    def width(self) -> int:
        """The number of basis columns."""
        return sum(len(known) for known in self.codes) + len(self.centre) + 1

    def basis(self, context: pl.DataFrame, features: PairFeatures) -> Any:
        """Sparse (n, width); an unknown code has no indicator.

        Raises:
            DataError: see `context_matrix`; a numeric column has a missing value.
        """
        matrix = _complete_matrix(context, features)
        split, rows = len(self.codes), np.arange(len(matrix))
        blocks: list[Any] = []
        for j, known in enumerate(self.codes):
            at, found = _places(known, matrix[:, j])
            indicator = (found.astype(np.float64), (rows, at))
            blocks.append(sparse.csr_array(indicator, shape=(len(rows), len(known))))
        standard = (matrix[:, split:] - self.centre) / self.scale
        blocks.append(sparse.csr_array(np.column_stack([standard, np.ones(len(rows))])))
        return sparse.hstack(blocks).tocsr()


def scaling_of(context: pl.DataFrame, features: PairFeatures) -> Scaling:
    """The scaling that `context` itself suggests.

    Raises:
        DataError: no rows; see also `Scaling.basis`.
    """
    matrix = _complete_matrix(context, features)
    if not len(matrix):
        raise DataError("no rows to learn categories and scales from")
    split = len(features.categorical)
    spread = matrix[:, split:].std(axis=0)
    return Scaling(
        codes=tuple(np.unique(matrix[:, j]) for j in range(split)),
        centre=matrix[:, split:].mean(axis=0),
        scale=np.where(spread > 0, spread, 1.0),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class LinearOracle:
    """A linear score of context, flags and every context x flag product.

    `link` "logit": the prediction is the score's logistic; "identity": the score, cut to [0, 1].
    `tables` holds each categorical column's coefficients (codes, 1 + f); an unknown code adds
    nothing. `slopes` is (numeric, 1 + f) and `intercepts` (1 + f,): column 0 is the context's own
    effect, column 1 + j its product with flag j.
    """

    features: PairFeatures
    link: Link
    scaling: Scaling
    tables: tuple[FloatArray, ...]
    slopes: FloatArray
    intercepts: FloatArray
    positive: float = 1.0
    negative: float = 1.0

    def __post_init__(self) -> None:
        """Raises DataError where the arrays do not fit one another."""
        width, numeric = 1 + self.features.flags.shape[1], len(self.features.numeric)
        scaling = self.scaling
        fits = (
            scaling.centre.shape == scaling.scale.shape == (numeric,)
            and self.slopes.shape == (numeric, width)
            and self.intercepts.shape == (width,)
            and len(scaling.codes) == len(self.tables) == len(self.features.categorical)
            and all(
                len(code) > 0 and table.shape == (len(code), width)
                for code, table in zip(scaling.codes, self.tables, strict=True)
            )
        )
        if not fits:
            raise DataError("the arrays of a linear model do not fit its features")

    def predict(self, context: pl.DataFrame, eligible: BoolArray) -> FloatArray:
        """Expected rewards, (n, k); see RegressionOracle.

        Elementwise sums in a fixed order instead of a matrix product, whose rounding depends on
        the size of the batch.

        Raises:
            DataError: a numeric column has a missing value.
        """
        matrix = _complete_matrix(context, self.features)
        eligible_pairs(matrix[:0], eligible[:0], self.features.flags)
        effects = np.broadcast_to(self.intercepts, (len(matrix), len(self.intercepts))).copy()
        for j, (known, table) in enumerate(zip(self.scaling.codes, self.tables, strict=True)):
            at, found = _places(known, matrix[:, j])
            effects += np.where(found[:, None], table[at], 0.0)
        split = len(self.tables)
        for j, slope in enumerate(self.slopes):
            standard = (matrix[:, split + j] - self.scaling.centre[j]) / self.scaling.scale[j]
            effects += standard[:, None] * slope
        score = np.broadcast_to(effects[:, :1], eligible.shape).copy()
        for j, flag in enumerate(self.features.flags.T):
            score += effects[:, 1 + j, None] * flag
        linked = expit(score) if self.link == "logit" else np.clip(score, 0.0, 1.0)
        fitted = undo_class_weights(linked, positive=self.positive, negative=self.negative)
        return np.where(eligible, fitted, 0.0)


def fit_logistic(
    data: TrainingSet,
    rng: np.random.Generator,
    *,
    features: PairFeatures,
    inverse_penalty: float = 0.1,
    positive: float = 1.0,
    negative: float = 1.0,
) -> LinearOracle | ConstantOracle:
    """Logistic regression with context x flag products, by scikit-learn's L-BFGS.

    `inverse_penalty` is scikit-learn's C. The products are what lets the best action differ from
    one context to the next: without them every context ranks the actions alike.

    Raises:
        DataError: as `fit_lightgbm`, and where a numeric column has a missing value.
    """
    constant = one_class(data.reward, loss="log")
    if constant is not None:
        return constant
    del rng
    check_training_set(data, actions=len(features.flags))
    scaling = scaling_of(data.context, features)
    basis = scaling.basis(data.context, features)
    flags = features.flags[data.action]
    products = [basis.multiply(flags[:, [j]]) for j in range(flags.shape[1])]
    design = sparse.hstack([basis[:, :-1], *products]).tocsr()
    with one_thread():
        model = LogisticRegression(C=inverse_penalty, max_iter=1000)
        model.fit(
            design,
            data.reward,
            sample_weight=sample_weights(data, positive=positive, negative=negative),
        )
    own, products_own = np.split(_coefficients(model), [basis.shape[1]])
    table = np.column_stack([np.roll(own, -1), products_own.reshape(flags.shape[1], -1).T])
    return _oracle(table, features, scaling, link="logit", positive=positive, negative=negative)


@dataclass(frozen=True, kw_only=True, eq=False)
class RidgeStatistics:
    """All that ridge regression remembers of its rows: they need not be kept.

    With p basis columns (codes, numbers, one) and w = 1 + flags, `gram` is (p w, p w) and `moment`
    (p w,), over products of basis and (1, flags); `rows` is how many were seen.
    """

    features: PairFeatures
    scaling: Scaling
    gram: FloatArray
    moment: FloatArray
    rows: int

    def add(self, data: TrainingSet) -> "RidgeStatistics":
        """These and the rows of `data`; adding in pieces changes the sums by rounding alone.

        Raises:
            DataError: see `one_class`, `check_training_set` and `Scaling.basis`.
        """
        one_class(data.reward, loss="squared")
        check_training_set(data, actions=len(self.features.flags))
        basis = self.scaling.basis(data.context, self.features)
        flags, width = self.features.flags, self.scaling.width
        code = np.column_stack([np.ones(len(flags)), flags])
        grams, moments = np.zeros((len(flags), width, width)), np.zeros((len(flags), width))
        order = np.argsort(data.action, kind="stable")
        ends = np.searchsorted(data.action[order], np.arange(len(flags) + 1))
        for action, (start, end) in enumerate(pairwise(ends.tolist())):
            rows = order[start:end]
            part = basis[rows]
            weighted = part if data.weight is None else part.multiply(data.weight[rows][:, None])
            grams[action] = (weighted.T @ part).toarray()
            moments[action] = weighted.T @ data.reward[rows]
        with one_thread():
            gram = np.einsum("apq,au,av->puqv", grams, code, code, optimize=True)
            moment = np.einsum("ap,au->pu", moments, code, optimize=True)
        return RidgeStatistics(
            features=self.features,
            scaling=self.scaling,
            gram=self.gram + gram.reshape(self.gram.shape),
            moment=self.moment + moment.ravel(),
            rows=self.rows + len(data.reward),
        )

    def solve(self, *, penalty: float = 1.0) -> LinearOracle:
        """The minimiser of squared error + `penalty` * squared norm, as an oracle."""
        penalised = self.gram + penalty * np.eye(len(self.gram))
        with one_thread():
            table: Any = linalg.solve(penalised, self.moment, assume_a="pos")
        shaped = table.reshape(self.scaling.width, -1)
        return _oracle(shaped, self.features, self.scaling, link="identity")


def no_rows(features: PairFeatures, scaling: Scaling) -> RidgeStatistics:
    """The statistics of no row at all."""
    size = scaling.width * (1 + features.flags.shape[1])
    return RidgeStatistics(
        features=features,
        scaling=scaling,
        gram=np.zeros((size, size)),
        moment=np.zeros((size,)),
        rows=0,
    )


def fit_ridge(
    data: TrainingSet, rng: np.random.Generator, *, features: PairFeatures, penalty: float = 1.0
) -> LinearOracle | ConstantOracle:
    """Least squares with a ridge: the squared loss that SquareCB's theory speaks of.

    Raises:
        DataError: as `RidgeStatistics.add`.
    """
    del rng
    constant = one_class(data.reward, loss="squared")
    if constant is not None:
        return constant
    return no_rows(features, scaling_of(data.context, features)).add(data).solve(penalty=penalty)


def _oracle(
    table: FloatArray,
    features: PairFeatures,
    scaling: Scaling,
    *,
    link: Link,
    positive: float = 1.0,
    negative: float = 1.0,
) -> LinearOracle:
    """The oracle with coefficients `table`, (basis columns, 1 + flags)."""
    sizes = [len(known) for known in scaling.codes]
    ends = [sum(sizes[:j]) for j in range(len(sizes) + 1)]
    return LinearOracle(
        features=features,
        link=link,
        scaling=scaling,
        tables=tuple(table[a:b].copy() for a, b in pairwise(ends)),
        slopes=table[ends[-1] : -1].copy(),
        intercepts=table[-1].copy(),
        positive=positive,
        negative=negative,
    )


def _coefficients(model: Any) -> FloatArray:
    """The intercept, then the coefficients, (1 + columns,)."""
    return np.append(model.intercept_, model.coef_[0])


def _places(known: FloatArray, values: FloatArray) -> tuple[Any, BoolArray]:
    """Where each of `values` (n,) stands among `known`, and whether it is there."""
    at = np.minimum(np.searchsorted(known, values), len(known) - 1)
    return at, known[at] == values


def _complete_matrix(context: pl.DataFrame, features: PairFeatures) -> FloatArray:
    matrix = context_matrix(context, features)
    for j, name in enumerate(features.columns):
        missing = np.flatnonzero(np.isnan(matrix[:, j]))
        if len(missing):
            raise DataError(
                f"context column {name!r} is missing in row {missing[0]}: linear models need"
                " every number; impute it, or use boosted trees"
            )
    return matrix
