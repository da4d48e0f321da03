"""Do importance weights average what the logged probabilities say? A test with a proven error.

Where the logging policy's own probabilities p were kept, the weight of a row is e_a / p_a with
probability p_a: everything about it is known but which action was drawn. So are its mean and all
moments of min(weight, CUT), which has no heavy tail and so tells more. With D the sum over a
group of what cut weights exceed their means by, Chernoff's bound says for every t of the sign
of D that a sound log reaches such a D with a probability of at most exp(K(t) - t D), K being the
logarithm of the sum's moment generating function. No approximation for large samples enters, and
no variance is estimated: the bound holds for thirty rows as for a million, however skewed.

Rows of one cluster (a card, whose traffic arm is drawn once) may depend on one another in any
way: by Hölder's inequality, m dependent rows together have a K of at most the mean of theirs at
m t. The price is power: rows that in truth are independent count as if a cluster were one.

Source: Chernoff (1952), "A measure of asymptotic efficiency for tests of a hypothesis based on
the sum of observations"; Ionides (2008), "Truncated importance sampling".
"""

from dataclasses import dataclass
from math import inf, log, sqrt

import numpy as np

from decisions.errors import DataError
from decisions.policy import BoolArray, FloatArray, IntArray
from decisions.shapes import Labels, check_rows, check_table, label_codes

CUT = 5.0  # weights above it count as if they were this large
_NO_SPREAD = 1e-12  # a variance up to this is rounding, as is a mean within its root
_STEEPEST = 30.0  # logarithm of the largest number that is computed
_NEAR = 2.0  # standard errors up to which no limit can be near and no bound is computed
_STEPS = 8  # of Newton's method, within brackets: the bound of every step holds, the best counts


@dataclass(frozen=True, kw_only=True)
class PossibleWeights:
    """The cut weights that each of n rows could have got if the log is sound, m pairs in all."""

    row: IntArray  # (m,), ascending
    probability: FloatArray  # (m,), sums to one in each row
    excess: FloatArray  # (m,), of the cut weight over its mean
    mean: FloatArray  # (n,), of the cut weight
    variance: FloatArray  # (n,)

    def only(self, rows: BoolArray) -> "PossibleWeights":
        """Those of some of the rows, (n,)."""
        kept = rows[self.row]
        place = rows.cumsum() - 1
        return PossibleWeights(
            row=place[self.row[kept]],
            probability=self.probability[kept],
            excess=self.excess[kept],
            mean=self.mean[rows],
            variance=self.variance[rows],
        )


def possible_weights(
    probabilities: FloatArray, logged: FloatArray, eligible: BoolArray
) -> PossibleWeights:
    """What a policy with `probabilities` (n, k) could have got from a log by `logged` (n, k).

    Mass that could not be logged is left out: it is a violation of support, reported as such.

    Raises:
        DataError: shapes disagree.
    """
    check_table(probabilities=probabilities, logged=logged, eligible=eligible)
    row, action = np.nonzero(eligible & (logged > 0))
    n, chance = len(eligible), logged[row, action]
    chance = chance / np.bincount(row, chance, n)[row]
    weight = np.minimum(probabilities[row, action] / logged[row, action], CUT)
    mean = np.bincount(row, chance * weight, n).astype(np.float64)
    excess = weight - mean[row]
    return PossibleWeights(
        row=row.astype(np.int64),
        probability=chance,
        excess=excess,
        mean=mean,
        variance=np.bincount(row, chance * excess**2, n).astype(np.float64),
    )


def drawn_as_logged(
    action: IntArray, logged: FloatArray, eligible: BoolArray, *, clusters: Labels | None = None
) -> FloatArray:
    """How far each action's number of draws is from what `logged` (n, k) says, (actions,).

    As `distances`, of every action that could be drawn in 30 clusters at least. A policy that
    prefers what the logging one preferred has weights near one whatever was written; counts of
    the actions do not depend on who is judged.
    """
    row, drawn = np.nonzero(eligible & (logged > 0))
    chance, pairs = logged[row, drawn], np.arange(len(row))
    possible = PossibleWeights(
        row=np.repeat(pairs, 2),
        probability=np.column_stack([chance, 1 - chance]).reshape(-1),
        excess=np.column_stack([1 - chance, -chance]).reshape(-1),
        mean=chance,
        variance=chance * (1 - chance),
    )
    return distances(
        (action[row] == drawn).astype(np.float64),
        drawn,
        possible=possible,
        clusters=row if clusters is None else clusters[row],
        smallest=30,
    )


@dataclass(frozen=True, kw_only=True)
class _Groups:
    """Groups of n rows, `count` of them, and within each the clusters."""

    code: IntArray  # (n,), of a row's group
    cell: IntArray  # (n,), of its cluster within the group
    of_cell: IntArray  # (cells,), the group of each cell
    count: int

    def sums(self, values: FloatArray) -> FloatArray:
        """Of `values` (n,) by group."""
        return np.bincount(self.code, values, self.count).astype(np.float64)

    def only(self, kept: BoolArray) -> "_Groups":
        """Some of the groups, (count,), with their rows alone."""
        rows, place = kept[self.code], kept.cumsum() - 1
        first, cell = np.unique(self.cell[rows], return_index=True, return_inverse=True)[1:]
        code = place[self.code[rows]]
        return _Groups(
            code=code, cell=cell.astype(np.int64), of_cell=code[first], count=int(kept.sum())
        )

    @property
    def units(self) -> IntArray:
        """Clusters in each group, (count,)."""
        return np.bincount(self.of_cell, minlength=self.count).astype(np.int64)

    @property
    def together(self) -> IntArray:
        """Rows of each row's cluster within its group, (n,)."""
        return np.bincount(self.cell)[self.cell].astype(np.int64)


def _groups(labels: Labels, clusters: Labels | None) -> _Groups:
    code = label_codes(labels)
    count = int(code.max(initial=-1)) + 1
    if clusters is None:
        return _Groups(code=code, cell=np.arange(len(code)), of_cell=code, count=count)
    cluster = label_codes(clusters)
    pairs = code * (int(cluster.max(initial=0)) + 1) + cluster
    first, cell = np.unique(pairs, return_index=True, return_inverse=True)[1:]
    return _Groups(code=code, cell=cell.astype(np.int64), of_cell=code[first], count=count)


def distances(
    weights: FloatArray,
    labels: Labels,
    *,
    possible: PossibleWeights | None = None,
    clusters: Labels | None = None,
    smallest: int = 2,
) -> FloatArray:
    """How far the mean weight of each group of `labels` (n,) is from what it should be, (g,).

    In standard errors: the signed root of twice the logarithm of Chernoff's bound, which for a
    normal sum is its distance; up to two of them, where no limit is near, the plain distance. A
    sound log is beyond `limit` with at most the error given there. Groups of fewer than
    `smallest` clusters (rows without `clusters`) are left out.

    Without `possible` it is the mean of the weights themselves, less one, over its estimated
    standard error: for large samples only.

    Raises:
        DataError: labels are not as many as weights.
    """
    check_rows(weights=weights, labels=labels, clusters=clusters)
    groups = _groups(labels, clusters)
    if possible is None:
        return _estimated(weights, groups)[groups.units >= smallest]
    off = groups.sums(np.minimum(weights, CUT) - possible.mean)
    return _chernoff(off, possible, groups)[groups.units >= smallest]


def _chernoff(off: FloatArray, possible: PossibleWeights, groups: _Groups) -> FloatArray:
    together = groups.together
    spread = groups.sums(possible.variance * together)
    varied = spread > _NO_SPREAD
    plain = off / np.sqrt(np.where(varied, spread, 1.0))
    without = np.where(np.abs(off) > _NO_SPREAD**0.5 * len(together), np.copysign(inf, off), 0.0)
    found = np.where(varied, plain, without)
    far = varied & (np.abs(plain) > _NEAR)
    if far.any():
        some = groups.only(far)
        exponent = _exponent(off[far], spread[far], possible.only(far[groups.code]), some)
        found[far] = np.copysign(np.sqrt(2 * exponent), off[far])
    return found


def _exponent(
    off: FloatArray, spread: FloatArray, possible: PossibleWeights, groups: _Groups
) -> FloatArray:
    """The largest t D - K(t) of each group, (g,)."""
    together = groups.together
    largest = np.ones(groups.count)
    np.maximum.at(largest, groups.code, together)
    side, low, high = np.sign(off), np.zeros(groups.count), _STEEPEST / CUT / largest
    size = np.minimum(np.abs(off) / spread, high)
    exponent = np.zeros(groups.count)
    for _ in range(_STEPS):
        t = side * size
        value, slope, curve = _generated(t, possible, groups, together)
        exponent = np.maximum(exponent, t * off - value)
        beyond = side * (slope - off)
        low, high = np.where(beyond < 0, size, low), np.where(beyond < 0, high, size)
        size = size - beyond / np.where(curve > 0, curve, 1.0)
        size = np.where((size > low) & (size < high), size, (low + high) / 2)
    return exponent


def _generated(
    t: FloatArray, possible: PossibleWeights, groups: _Groups, together: IntArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Each group's bound of K at its `t` (g,), with first and second derivative, (g,) each."""
    n, row = len(together), possible.row
    tilted = possible.probability * np.exp((t[groups.code] * together)[row] * possible.excess)
    total = np.bincount(row, tilted, n)
    total = np.where(total > 0, total, 1.0)
    slope = np.bincount(row, tilted * possible.excess, n) / total
    square = np.bincount(row, tilted * possible.excess**2, n) / total
    return (
        groups.sums(np.log(total) / together),
        groups.sums(slope),
        groups.sums((square - slope**2) * together),
    )


def _estimated(weights: FloatArray, groups: _Groups) -> FloatArray:
    size, units = np.bincount(groups.code, minlength=groups.count), groups.units
    mean = groups.sums(weights) / size
    sums = np.bincount(groups.cell, weights - mean[groups.code])
    squares = np.bincount(groups.of_cell, sums**2, groups.count)
    error = np.sqrt(squares * units / np.maximum(units - 1, 1)) / size
    off = np.where(np.abs(mean - 1) < _NO_SPREAD**0.5, 0.0, mean - 1)
    varied = error**2 * size > _NO_SPREAD
    without = np.where(off == 0, 0.0, np.copysign(inf, off))
    found = np.where(varied, off / np.where(varied, error, 1.0), without)
    return np.where(units > 1, found, np.nan)


def limit(error: float, *, tests: int = 1) -> float:
    """What the farthest of `tests` distances exceeds with probability `error` at most.

    Raises:
        DataError: `error` is not in (0, 1].
    """
    if not 0 < error <= 1:
        raise DataError(f"an error of {error:g}; wanted a probability above 0")
    return sqrt(2 * log(2 * tests / error)) if tests else inf
