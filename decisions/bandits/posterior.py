"""What the logs have taught so far, with its uncertainty: a Bayesian logistic model that is kept.

A policy that learns from one generation of rows forgets the rest; one that learns from all of
them must be allowed to keep them. This model keeps neither rows nor trees but a mean and a
covariance of its coefficients, which the next generation takes as its prior. With rows of one
generation it knows what it would know with the rows of all, up to Laplace's approximation and the
block variances, which the first generation's rows set.

The success logit of context x and action a is the sum of every context column times one and times
every flag of the action, and of the products of flags. Coefficients of one kind (an issuer's
effect on what authentication does, say) form a *block* and share a prior variance, learned from
the first generation by expectation maximisation, so that what no action changes shrinks to
nothing, and kept up for what is forgotten or new.

Between generations a block may drift: its coefficients are multiplied by a retention r, and what
that takes from their variance is given back as noise, so that r = 1 keeps everything, r = 0
starts again from the prior, and no r makes a coefficient less certain than a new one of its block.

Sources: MacKay (1992), "The evidence framework applied to classification networks" (Laplace's
approximation, block variances); Harrison and Stevens (1976), "Bayesian forecasting", and West,
Harrison and Migon (1985), "Dynamic generalized linear models" (posteriors as priors). The choice
of retentions by the evidence of the new rows, block by block, is ours.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, cast

import numpy as np
import polars as pl
from scipy import linalg, sparse
from scipy.special import expit

from decisions.bandits.threads import one_thread
from decisions.bandits.training_set import TrainingSet, check_training_set
from decisions.errors import DataError
from decisions.policy import BoolArray, FloatArray, IntArray

BINS = (10, 5, 3)  # of a number, as many as COEFFICIENTS allow; else its slope alone
COEFFICIENTS = 1_500  # the cost of an update grows with their cube
FIRST_VARIANCE = 0.09  # of a coefficient before anything is known, logits squared
WIDE = 4.0  # of the intercept
VARIANCES = (1e-5, 9.0)  # a block's, at least and at most
EXPECTATIONS = 6  # fits of the first generation; block variances are learned between them
FIRST_TRY = 0.7
RETENTIONS = (0.98, 0.95, 0.9, 0.8, 0.4, 0.0)  # of the group chosen by FIRST_TRY
TRIED, MOVES = 8, 4  # groups tried at a time, groups moved in a generation
NATS = 3.0  # evidence that a drift must bring, besides the logarithm of the number of groups
_JITTER = 1e-2


Places = tuple[IntArray, FloatArray]
"""The columns of each row that are not zero, and their values, both (n, s)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Basis:
    """Which columns a context and an action become.

    Context columns: a one; an indicator of each level of each categorical column; of each numeric
    one its standardised value and indicators of its bins. A level never seen, and a missing
    number, have none. `flags` (k, f) describes the actions; `pairs` (k, g) their products.
    """

    categorical: tuple[str, ...]
    levels: tuple[tuple[str, ...], ...]
    numeric: tuple[str, ...]
    centre: FloatArray
    scale: FloatArray
    edges: tuple[FloatArray, ...]
    flags: FloatArray

    @cached_property
    def effects(self) -> FloatArray:
        """One and the flags of each action, (k, 1 + f)."""
        return np.column_stack([np.ones(len(self.flags)), self.flags])

    @cached_property
    def pairs(self) -> FloatArray:
        """Products of two flags that some action has both of, (k, g)."""
        count = self.flags.shape[1]
        products = [self.flags[:, i] * self.flags[:, j] for i in range(count) for j in range(i)]
        kept = [product for product in products if product.any()]
        return np.column_stack(kept) if kept else np.zeros((len(self.flags), 0))

    @cached_property
    def sources(self) -> IntArray:
        """What each context column stems from, (p,): 0 the one, then columns in order."""
        sizes = [1, *map(len, self.levels)]
        for edges in self.edges:
            sizes += [1, len(edges) + 1 if len(edges) else 0]
        return np.repeat(np.arange(len(sizes)), sizes)

    @cached_property
    def blocks(self) -> IntArray:
        """The block of each coefficient, (p * (1 + f) + g,): source times effect, then pairs."""
        width = self.flags.shape[1] + 1
        sources = self.sources
        block: IntArray = (sources[:, None] * width + np.arange(width, dtype=np.int64)).ravel()
        last = width * (int(sources.max()) + 1)
        pairs = np.full(self.pairs.shape[1], last, dtype=np.int64)
        return np.unique(np.concatenate([block, pairs]), return_inverse=True)[1]

    def places(self, context: pl.DataFrame) -> Places:
        """The columns that are not zero in each row, and their values, both (n, s).

        What has no column is at p, one beyond the last.

        Raises:
            DataError: a column is missing or no number where one is wanted, or is infinite.
        """
        absent = [
            name for name in (*self.categorical, *self.numeric) if name not in context.columns
        ]
        if absent:
            raise DataError(f"context has no column {absent[0]!r}, which the model was trained on")
        n, first, last = context.height, 1, len(self.sources)
        index, value = [np.zeros(n, dtype=np.int64)], [np.ones(n)]
        for name, levels in zip(self.categorical, self.levels, strict=True):
            code = (
                context[name]
                .cast(pl.String)
                .replace_strict(
                    pl.Series(levels, dtype=pl.String),
                    np.arange(first, first + len(levels)),
                    default=last,
                    return_dtype=pl.Int64,
                )
            )
            index.append(code.fill_null(last).to_numpy())
            value.append(np.ones(n))
            first += len(levels)
        for j, name in enumerate(self.numeric):
            number = _number(context, name)
            known = ~np.isnan(number)
            index.append(np.where(known, first, last))
            value.append(np.where(known, (number - self.centre[j]) / self.scale[j], 0.0))
            first += 1
            if len(self.edges[j]):
                bin_ = np.searchsorted(self.edges[j], number, "right")
                index.append(np.where(known, first + bin_, last))
                value.append(np.ones(n))
                first += len(self.edges[j]) + 1
        return np.column_stack(index), np.column_stack(value)

    def with_levels_of(self, context: pl.DataFrame) -> "Basis":
        """The same basis with a further level for each name that is new in `context`.

        The most frequent ones, as many as COEFFICIENTS have room for.
        """
        room = COEFFICIENTS // self.effects.shape[1] - len(self.sources)
        share = max(0, room) // max(1, len(self.categorical))
        return replace(
            self,
            levels=tuple(
                (*levels, *_names(context, name, most=share, but=levels))
                for name, levels in zip(self.categorical, self.levels, strict=True)
            ),
        )


def _number(context: pl.DataFrame, name: str) -> FloatArray:
    if not (context.schema[name].is_numeric() or context.schema[name] == pl.Boolean):
        raise DataError(f"context column {name!r} is {context.schema[name]}, wanted a number")
    number = context[name].cast(pl.Float64).fill_null(np.nan).to_numpy()
    infinite = np.flatnonzero(np.isinf(number))
    if len(infinite):
        raise DataError(f"context column {name!r} is infinite in row {infinite[0]}")
    return number


def _names(
    context: pl.DataFrame, column: str, *, most: int, but: tuple[str, ...] = ()
) -> tuple[str, ...]:
    """The names in a column, at most `most`: the most frequent, among equals the first; sorted."""
    if column not in context.columns:
        raise DataError(f"context has no column {column!r}; it has {context.columns}")
    counted = context[column].cast(pl.String).drop_nulls().value_counts(name="rows")
    fresh = counted.filter(~pl.col(column).is_in(list(but)))
    return tuple(
        sorted(fresh.sort("rows", column, descending=[True, False])[column].head(most).to_list())
    )


def basis_of(
    context: pl.DataFrame,
    *,
    flags: FloatArray,
    categorical: tuple[str, ...],
    numeric: tuple[str, ...],
) -> Basis:
    """The basis that `context` suggests: its levels, and equal shares of its rows a bin.

    A number with no more values than bins has no bins: its slope is enough. Rare levels have no
    column where COEFFICIENTS have no room for all.

    Raises:
        DataError: a column is missing or not a number, or there is no row.
    """
    if not context.height:
        raise DataError("no rows to learn levels and scales from")
    room = COEFFICIENTS // (1 + flags.shape[1]) - 1 - len(numeric)
    share = max(0, room) // max(1, len(categorical))
    levels = tuple(_names(context, name, most=share) for name in categorical)
    room -= sum(map(len, levels))
    bins = next((count for count in BINS if count * len(numeric) <= room), 0)
    edges: list[FloatArray] = []
    centre, scale = np.zeros(len(numeric)), np.ones(len(numeric))
    for j, name in enumerate(numeric):
        if name not in context.columns:
            raise DataError(f"context has no column {name!r}; it has {context.columns}")
        number = _number(context, name)
        number = number[~np.isnan(number)]
        if len(number):
            centre[j], scale[j] = number.mean(), number.std() or 1.0
        several = bins and len(np.unique(number)) > bins
        cuts = np.quantile(number, np.linspace(0, 1, bins + 1)[1:-1]) if several else np.zeros(0)
        edges.append(np.unique(cuts))
    return Basis(
        categorical=categorical,
        levels=levels,
        numeric=numeric,
        centre=centre,
        scale=scale,
        edges=tuple(edges),
        flags=np.ascontiguousarray(flags, dtype=np.float64),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Posterior:
    """A Gaussian over the coefficients, D = p * (1 + f) + g of them, context columns first.

    `precision` is the inverse of their covariance; `variance` the prior variance of each, one
    value a block; `retention` (blocks,) is what the last update kept of each block.
    """

    basis: Basis
    mean: FloatArray  # (D,)
    precision: FloatArray  # (D, D)
    variance: FloatArray  # (D,)
    retention: FloatArray  # (blocks,)
    rows: int = 0  # seen so far

    def samples(self, count: int, rng: np.random.Generator) -> FloatArray:
        """Draws from the posterior, (count, D)."""
        with one_thread():
            root = _root(self.precision)
            noise = rng.standard_normal((count, len(self.mean)))
            spread: FloatArray = linalg.solve_triangular(root, noise.T, trans="T", lower=True)
            return self.mean + spread.T


def logits(
    basis: Basis, coefficients: Sequence[FloatArray] | FloatArray, places: Places
) -> Iterator[FloatArray]:
    """Success logits of every action, (k, n), for each vector of coefficients, (m, D) in all.

    Sums run over columns and then effects, in order: a row's bits do not depend on its batch.
    """
    index, value = places
    effects, count = basis.effects, len(basis.sources)
    n, width = len(index), effects.shape[1]
    tables = np.zeros((count + 1, len(coefficients), width))
    for m, each in enumerate(coefficients):
        tables[:count, m] = each[: count * width].reshape(count, width)
    starts = np.arange(n + 1) * index.shape[1]
    columns = sparse.csr_array(
        (value.ravel(), index.ravel(), starts), shape=(n, count + 1), copy=False
    )
    shares = cast("FloatArray", columns @ tables.reshape(count + 1, -1))
    shares = np.ascontiguousarray(shares.T).reshape(len(coefficients), width, n)
    for share, each in zip(shares, coefficients, strict=True):
        logit = share[0] + (basis.pairs * each[count * width :]).sum(axis=1)[:, None]
        for action, effect in enumerate(effects):
            for j in np.flatnonzero(effect[1:]) + 1:
                logit[action] += share[j] if effect[j] == 1 else share[j] * effect[j]
        yield logit


def prior(basis: Basis) -> Posterior:
    """What is known before any row: nothing but that effects are small."""
    blocks = basis.blocks
    variance = np.full(len(blocks), FIRST_VARIANCE)
    variance[0] = WIDE
    return Posterior(
        basis=basis,
        mean=np.zeros(len(blocks)),
        precision=np.diag(1 / variance),
        variance=variance,
        retention=np.ones(int(blocks.max()) + 1),
    )


@dataclass(frozen=True, eq=False)
class _Rows:
    """The logged rows as a sparse design: context columns, then the chosen action."""

    columns: Any  # sparse (n, p)
    action: IntArray
    reward: FloatArray
    effects: FloatArray  # (k, 1 + f)
    pairs: FloatArray  # (k, g)

    def logit(self, mean: FloatArray) -> FloatArray:
        count, width = self.columns.shape[1], self.effects.shape[1]
        share = self.columns @ mean[: count * width].reshape(count, width)
        return (share * self.effects[self.action]).sum(axis=1) + (
            self.pairs @ mean[count * width :]
        )[self.action]

    def gradient(self, residual: FloatArray) -> FloatArray:
        main = self.columns.T @ (residual[:, None] * self.effects[self.action])
        return np.concatenate([main.ravel(), residual @ self.pairs[self.action]])

    def information(self, weight: FloatArray) -> FloatArray:
        """The weighted sum of the outer products of the rows' coefficients, (D, D).

        Rows of one action differ in their context only, so it is a sum over actions of Kronecker
        products: of small sparse matrices, not of large ones.
        """
        count, width = self.columns.shape[1], self.effects.shape[1]
        used = np.unique(self.action)
        inner = np.empty((len(used), count, count))
        for matrix, action in zip(inner, used, strict=True):
            rows = np.flatnonzero(self.action == action)
            some = self.columns[rows]
            matrix[:] = (some.T @ some.multiply(weight[rows, None])).toarray()
        effect, pair = self.effects[used], self.pairs[used]
        outer = (effect[:, :, None] * effect[:, None, :]).reshape(len(used), -1)
        main = (inner.reshape(len(used), -1).T @ outer).reshape(count, count, width, width)
        size, rest = count * width, pair.shape[1]
        whole = np.empty((size + rest, size + rest))
        whole[:size, :size] = main.transpose(0, 2, 1, 3).reshape(size, size)
        crossed = np.einsum("ap,au,ag->pug", inner[:, 0], effect, pair).reshape(size, rest)
        whole[:size, size:], whole[size:, :size] = crossed, crossed.T
        whole[size:, size:] = (pair * inner[:, :1, 0]).T @ pair
        return whole


def _rows(basis: Basis, data: TrainingSet) -> _Rows:
    n = data.context.height
    check_training_set(data, actions=len(basis.flags))
    bad = np.flatnonzero(~((data.reward >= 0) & (data.reward <= 1)))
    if len(bad):
        raise DataError(f"reward {data.reward[bad[0]]} in row {bad[0]} is outside [0, 1]")
    index, value = basis.places(data.context)
    count = len(basis.sources)
    known = index < count
    rows = np.repeat(np.arange(n), known.sum(axis=1))
    columns = sparse.csr_array((value[known], (rows, index[known])), shape=(n, count))
    return _Rows(columns, data.action, data.reward, basis.effects, basis.pairs)


@dataclass(frozen=True, eq=False)
class _Fit:
    mean: FloatArray
    precision: FloatArray
    information: FloatArray  # of the rows alone
    slope: FloatArray  # of the rows' log likelihood at the mean
    evidence: float  # log, by Laplace's approximation


def _fit(rows: _Rows, prior: Posterior, start: FloatArray) -> _Fit:
    """The posterior's mode and curvature: Newton's method with step halving."""
    mean, precision = prior.mean, prior.precision
    theta, logit = start, rows.logit(start)

    def objective(theta: FloatArray, logit: FloatArray) -> float:
        gap = theta - mean
        return float(
            (rows.reward * logit - np.logaddexp(0, logit)).sum() - gap @ precision @ gap / 2
        )

    value = objective(theta, logit)
    for _ in range(50):
        chance = expit(logit)
        slope = rows.gradient(rows.reward - chance)
        information = rows.information(np.maximum(chance * (1 - chance), 1e-6))
        curvature = information + precision
        factor = linalg.cho_factor(curvature, lower=True, check_finite=False)
        ascent = slope - precision @ (theta - mean)
        step = linalg.cho_solve(factor, ascent, check_finite=False)
        gain = float(ascent @ step)
        if gain < 1e-2:
            break
        length = 1.0
        while True:
            tried = theta + length * step
            there = rows.logit(tried)
            reached = objective(tried, there)
            if reached >= value + 1e-4 * length * gain or length < 1e-3:
                break
            length /= 2
        theta, logit, value = tried, there, reached
    else:
        raise DataError(
            "the posterior's mode was not found in 50 steps: does a column hold extreme numbers?"
        )
    evidence = value + _half_log(_root(precision)) - _half_log(factor[0])
    return _Fit(theta, curvature, information, slope, evidence)


def _root(matrix: FloatArray) -> FloatArray:
    """The lower Cholesky factor of a matrix that must be positive definite."""
    root, info = linalg.lapack.dpotrf(matrix, lower=1, clean=1)
    if info:
        raise DataError("a precision is not positive definite: it was altered, or is not one")
    return root


def _half_log(root: FloatArray) -> float:
    """Half the logarithm of the determinant of a matrix, from its Cholesky factor."""
    return float(np.log(np.diag(root)).sum())


def _inverse(matrix: FloatArray) -> FloatArray:
    """The inverse of a positive definite matrix."""
    inverse, _ = linalg.lapack.dpotri(_root(matrix), lower=1, overwrite_c=1)
    return inverse + np.tril(inverse, -1).T


def _expected_variance(basis: Basis, mean: FloatArray, covariance: FloatArray) -> FloatArray:
    """The block variances that explain the coefficients, with FIRST_VARIANCE as one more, (D,)."""
    blocks = basis.blocks
    size = np.bincount(blocks)
    total = np.bincount(blocks, mean**2 + np.diag(covariance))
    variance = np.clip((total + FIRST_VARIANCE) / (size + 1), *VARIANCES)[blocks]
    variance[0] = max(variance[0], WIDE)
    return variance


def relaxed(posterior: Posterior, retention: FloatArray) -> Posterior:
    """The posterior one generation on, each block having kept `retention` (blocks,) of itself."""
    with one_thread():
        mean, covariance = _relaxed(posterior, _inverse(posterior.precision), retention)
        return replace(posterior, mean=mean, precision=_inverse(covariance), retention=retention)


def _relaxed(
    posterior: Posterior, covariance: FloatArray, retention: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Mean and covariance one generation on; `covariance` is the posterior's own."""
    kept = retention[posterior.basis.blocks]
    moved = covariance * kept[:, None] * kept
    moved[np.diag_indices(len(kept))] += (1 - kept**2) * posterior.variance
    return kept * posterior.mean, moved


def widened(posterior: Posterior, context: pl.DataFrame) -> Posterior:
    """The posterior with the prior's coefficients for every level that is new in `context`."""
    old, new = posterior.basis, posterior.basis.with_levels_of(context)
    if new.levels == old.levels:
        return posterior
    fresh = prior(new)
    width = old.flags.shape[1] + 1
    first, at = 1, [np.zeros(1, dtype=np.int64)]
    for before, after in zip(old.levels, new.levels, strict=True):
        at.append(first + np.arange(len(before)))
        first += len(after)
    rest = len(old.sources) - 1 - sum(map(len, old.levels))
    columns = np.concatenate([*at, first + np.arange(rest)])
    tail: IntArray = len(new.sources) * width + np.arange(old.pairs.shape[1], dtype=np.int64)
    main: IntArray = (columns[:, None] * width + np.arange(width, dtype=np.int64)).ravel()
    place = np.concatenate([main, tail])
    variance = np.empty(len(fresh.mean))
    learned = np.zeros(new.blocks.max() + 1)
    learned[new.blocks[place]] = posterior.variance  # one value a block
    variance = np.where(learned[new.blocks] > 0, learned[new.blocks], fresh.variance)
    mean, precision = np.zeros(len(variance)), np.diag(1 / variance)
    mean[place] = posterior.mean
    precision[np.ix_(place, place)] = posterior.precision
    return replace(posterior, basis=new, mean=mean, precision=precision, variance=variance)


def updated(posterior: Posterior, data: TrainingSet, *, drifting: bool = False) -> Posterior:
    """The posterior after `data`.

    Args:
        posterior: of the generation before, or `prior`: then block variances are learned, too.
        data: newly logged rows with known rewards in [0, 1]; none may come twice.
        drifting: whether blocks may lose memory before the update, each as far as the evidence of
            the new rows asks for it by more than NATS plus the logarithm of the number of groups,
            among those groups for which the slope of the evidence promises something.

    Raises:
        DataError: an action or reward is out of range, a column is missing, lengths differ.
    """
    if not len(data.reward):
        return posterior
    with one_thread():
        state = widened(posterior, data.context)
        rows = _rows(state.basis, data)
        if not state.rows:
            return _learned_first(state, rows)
        fit = _fit(rows, state, state.mean)
        covariance = _inverse(fit.precision)
        retention = np.ones(int(state.basis.blocks.max()) + 1)
        if drifting:
            groups, price = _promising(state, fit.mean, covariance)
            if len(groups):
                retention, fit = _drift(state, rows, fit, groups, price)
                covariance = _inverse(fit.precision)
        return replace(
            state,
            mean=fit.mean,
            precision=fit.precision,
            variance=_expected_variance(state.basis, fit.mean, covariance),
            retention=retention,
            rows=state.rows + len(rows.reward),
        )


def _learned_first(state: Posterior, rows: _Rows) -> Posterior:
    fit = _fit(rows, state, state.mean)
    for _ in range(EXPECTATIONS - 1):
        variance = _expected_variance(state.basis, fit.mean, _inverse(fit.precision))
        state = replace(state, variance=variance, precision=np.diag(1 / variance))
        fit = _fit(rows, state, fit.mean)
    return replace(state, mean=fit.mean, precision=fit.precision, rows=len(rows.reward))


def _drift(
    state: Posterior, rows: _Rows, fit: _Fit, groups: BoolArray, price: float
) -> tuple[FloatArray, _Fit]:
    """Which blocks moved, by the evidence of the new rows, and the fit that says so.

    The rows' likelihood is taken as Gaussian around the fit to search in. What the search finds is
    kept only if Laplace's evidence, computed anew, agrees; then once more around the better fit.
    """
    retention = np.ones(groups.shape[1])
    before = _inverse(state.precision)
    paid = 0.0
    for _ in range(2):
        noisy = fit.information.copy()
        noisy[np.diag_indices(len(noisy))] += _JITTER
        spread = _inverse(noisy)
        peak = fit.mean + spread @ (fit.slope - _JITTER * fit.mean)
        tried, moves = _search(_Likelihood(state, before, peak, spread), groups, price)
        if not moves or (tried == retention).all():
            break
        mean, covariance = _relaxed(state, before, tried)
        moved = replace(state, mean=mean, precision=_inverse(covariance))
        found = _fit(rows, moved, fit.mean)
        if found.evidence - moves * price <= fit.evidence - paid:
            break
        retention, fit, paid = tried, found, moves * price
    return retention, fit


def _groups(basis: Basis) -> BoolArray:
    """Sets of blocks that may move together, (groups, blocks).

    Every block by itself; all that one source's columns do to what actions achieve (an issuer
    changes how it treats every intervention); all that one effect depends on.
    """
    width = basis.flags.shape[1] + 1
    source = np.repeat(basis.sources, width)
    effect: IntArray = np.tile(np.arange(width, dtype=np.int64), len(basis.sources))
    blocks = basis.blocks[: len(source)]
    every: IntArray = np.arange(int(basis.blocks.max()) + 1)
    sets: list[BoolArray] = [every == block for block in every]
    sets += [np.isin(every, blocks[(source == kind) & (effect > 0)]) for kind in np.unique(source)]
    sets += [np.isin(every, blocks[effect == kind]) for kind in range(width)]
    return np.unique(np.array([each for each in sets if each.any()]), axis=0)


@dataclass(frozen=True, eq=False)
class _Likelihood:
    """New rows whose likelihood is Gaussian(peak, spread), and what was known before them."""

    state: Posterior
    covariance: FloatArray  # of the state
    peak: FloatArray
    spread: FloatArray

    def evidence(self, retention: FloatArray) -> float:
        """The rows' log evidence once every block kept `retention` of itself; no constants."""
        mean, covariance = _relaxed(self.state, self.covariance, retention)
        covariance += self.spread
        root, info = linalg.lapack.dpotrf(covariance, lower=1, overwrite_a=1)
        if info:
            return -np.inf
        gap = cast("FloatArray", linalg.solve_triangular(root, self.peak - mean, lower=True))
        return float(-(gap @ gap) / 2) - _half_log(root)


def _search(likelihood: _Likelihood, groups: BoolArray, price: float) -> tuple[FloatArray, int]:
    """Retentions of greater evidence, and how many groups were moved to reach it.

    Forward selection: the group whose drift adds most is moved, as long as it adds more than
    `price`, first as far as FIRST_TRY and then as far as is best.
    """
    retention, moves = np.ones(groups.shape[1]), 0
    value = likelihood.evidence(retention)
    while moves < MOVES:
        best, reached = retention, value + price
        chosen: BoolArray | None = None
        for group in groups:
            each = np.where(group, np.minimum(retention, FIRST_TRY), retention)
            found = likelihood.evidence(each)
            if found > reached:
                best, reached, chosen = each, found, group
        if chosen is None:
            break
        for kept in RETENTIONS:
            each = np.where(chosen, np.minimum(retention, kept), retention)
            found = likelihood.evidence(each)
            if found > reached:
                best, reached = each, found
        retention, value, moves = best, reached, moves + 1
    return retention, moves


def _promising(
    state: Posterior, mean: FloatArray, covariance: FloatArray
) -> tuple[BoolArray, float]:
    """Groups for which forgetting a twentieth promises evidence, and the price of moving one.

    Args:
        state: what was known before the rows.
        mean: after them, nothing having moved.
        covariance: likewise.

    The promise is the slope of the log evidence in a group's retention at one. With K the
    covariance of what the rows say about the coefficients, K^-1 = P - P C P for the precision P
    before and the covariance C after (Woodbury), and K^-1 S = I - P C for S = P^-1.
    """
    groups = _groups(state.basis)
    price = NATS + float(np.log(len(groups)))
    before = state.precision
    shift = mean - state.mean
    pull = before @ shift
    crossed = before @ covariance
    by_covariance = pull * shift - (1 - np.diag(crossed))
    left = np.diag(before) - (crossed * before).sum(axis=1)
    by_noise = (pull**2 - left) * state.variance
    slope = np.bincount(state.basis.blocks, pull * state.mean + by_covariance - by_noise)
    promise = -0.05 * (groups @ slope)
    order = np.argsort(-promise, kind="stable")[:TRIED]
    return groups[order[promise[order] > price / 2]], price
