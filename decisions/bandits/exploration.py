"""Exploration rules: predicted rewards in, exact probabilities out, over each row's eligible set.

Everywhere `scores` is (n, k), the predicted reward of each action, read on eligible pairs only;
`eligible` is (n, k); a result is (n, k), 0 where not eligible, its rows sum to one within 1e-12.
K is a row's number of eligible actions, b its best one: ties go to the smallest action id.
"""

import numpy as np

from decisions.errors import DataError
from decisions.policy import BoolArray, FloatArray, IntArray, check_eligible


def best_action(scores: FloatArray, eligible: BoolArray) -> IntArray:
    """The eligible action with the highest score, (n,); ties: the smallest action id.

    Raises:
        DataError: an eligible score is not finite (its row is named), or shapes differ.
        NoEligibleAction: a row has no eligible action.
    """
    return _masked(scores, eligible).argmax(axis=1).astype(np.int64)


def uniform(eligible: BoolArray) -> FloatArray:
    """1/K on each eligible action."""
    check_eligible(eligible)
    return np.where(eligible, 1.0 / eligible.sum(axis=1, keepdims=True), 0.0)


def greedy(scores: FloatArray, eligible: BoolArray) -> FloatArray:
    """One on the best action."""
    return _certain(best_action(scores, eligible), eligible)


def epsilon_greedy(
    scores: FloatArray, eligible: BoolArray, *, epsilon: float = 0.06
) -> FloatArray:
    """`epsilon`/K on each action, the rest on the best."""
    _check_range(epsilon, 0.0, 1.0, "epsilon")
    best = best_action(scores, eligible)
    return _remainder_on(best, epsilon * uniform(eligible))


def softmax(
    scores: FloatArray, eligible: BoolArray, *, inverse_temperature: float = 50.0
) -> FloatArray:
    """exp(inverse_temperature * score), normalised; 0 is uniform, large is nearly greedy."""
    _check_range(inverse_temperature, 0.0, np.inf, "inverse_temperature")
    masked = _masked(scores, eligible)
    gap = np.where(eligible, masked.max(axis=1, keepdims=True) - masked, 0.0)
    weight = np.where(eligible, np.exp(-inverse_temperature * gap), 0.0)
    return weight / weight.sum(axis=1, keepdims=True)


def inverse_gap_weighting(scores: FloatArray, eligible: BoolArray, *, gamma: float) -> FloatArray:
    """SquareCB: 1/(K + gamma * gap) on each other action, the remainder (at least 1/K) on b.

    `gamma` >= 0 per unit of reward: 0 is uniform, large is nearly greedy. K is the row's own: a
    K below the row's number of eligible actions would make the remainder negative.

    Source: Foster and Rakhlin (2020), "Beyond UCB", Algorithm 1.
    """
    _check_range(gamma, 0.0, np.inf, "gamma")
    masked = _masked(scores, eligible)
    gap = np.where(eligible, masked.max(axis=1, keepdims=True) - masked, 0.0)
    share = 1.0 / (eligible.sum(axis=1, keepdims=True) + gamma * gap)
    return _remainder_on(masked.argmax(axis=1), np.where(eligible, share, 0.0))


def fast_cb(scores: FloatArray, eligible: BoolArray, *, gamma: float) -> FloatArray:
    """FastCB: with losses l = 1 - score, l_b/(K * l_b + gamma * (l_a - l_b)) on each other action.

    Greedier than SquareCB where the best loss is small. Losses are clipped to [1e-4, 1].

    Source: Foster and Krishnamurthy (2021), "Efficient First-Order Contextual Bandits".
    """
    _check_range(gamma, 0.0, np.inf, "gamma")
    loss = np.where(eligible, np.clip(1.0 - _masked(scores, eligible), 1e-4, 1.0), np.inf)
    least = loss.min(axis=1, keepdims=True)
    gap = np.where(eligible, loss - least, 0.0)
    share = least / (eligible.sum(axis=1, keepdims=True) * least + gamma * gap)
    return _remainder_on(loss.argmin(axis=1), np.where(eligible, share, 0.0))


def bagging_shares(members: FloatArray, eligible: BoolArray) -> FloatArray:
    """The share of models whose best action it is; `members` is (models, n, k).

    An action no model prefers gets 0: mix with `with_floor` before logging for others to learn.
    """
    votes = np.zeros(eligible.shape)
    for scores in members:
        votes += greedy(scores, eligible)
    return votes / len(members)


def bounds_by_deviation(
    members: FloatArray, *, kappa: float = 1.5
) -> tuple[FloatArray, FloatArray]:
    """High and low, (n, k) each: mean +/- kappa deviations of `members` (models, n, k)."""
    _check_range(kappa, 0.0, np.inf, "kappa")
    mean, spread = members.mean(axis=0), members.std(axis=0)
    return mean + kappa * spread, mean - kappa * spread


def bounds_by_risk(
    members: FloatArray, risks: FloatArray, *, beta: float
) -> tuple[FloatArray, FloatArray]:
    """High and low over the models whose empirical risk is within `beta` of the least.

    `members` is (models, n, k), `risks` (models,).

    Source: Foster, Agarwal, Dudik, Luo and Schapire (2018), "Practical Contextual Bandits with
    Regression Oracles": the version space F_m, here over a given, finite set of models.
    """
    _check_range(beta, 0.0, np.inf, "beta")
    kept = members[risks <= risks.min() + beta]
    return kept.max(axis=0), kept.min(axis=0)


def survivors(high: FloatArray, low: FloatArray, eligible: BoolArray) -> BoolArray:
    """Actions that may still be best: high is at least the highest low of the row, (n, k)."""
    threshold = _masked(low, eligible).max(axis=1, keepdims=True)
    return _masked(high, eligible) >= threshold


def reg_cb_elimination(high: FloatArray, low: FloatArray, eligible: BoolArray) -> FloatArray:
    """RegCB-elimination: uniform on the survivors."""
    return uniform(survivors(high, low, eligible))


def reg_cb_optimistic(high: FloatArray, eligible: BoolArray) -> FloatArray:
    """RegCB-optimistic: one on the action with the highest upper bound."""
    return greedy(high, eligible)


def square_cb_elimination(
    scores: FloatArray, high: FloatArray, low: FloatArray, eligible: BoolArray, *, gamma: float
) -> FloatArray:
    """SquareCB over the survivors, whose number takes the place of K.

    Vowpal Wabbit's `--elim` counts a survivor only where it also improves the running minimum;
    here every survivor counts, so that the remainder stays at least 1/K.
    """
    return inverse_gap_weighting(scores, survivors(high, low, eligible), gamma=gamma)


def with_floor(probabilities: FloatArray, eligible: BoolArray, *, floor: float) -> FloatArray:
    """(1 - floor) * p + floor/K: no eligible action falls below floor/K."""
    _check_range(floor, 0.0, 1.0, "floor")
    return (1.0 - floor) * probabilities + floor * uniform(eligible)


def within_reach(p: FloatArray, previous: FloatArray, *, ratio: float) -> FloatArray:
    """`p` (n, k), no action much more often than `ratio` times what `previous` (n, k) has.

    What that leaves over goes to all actions as `previous` has them, which adds at most once more
    what `previous` gave. A log of `previous` can then tell what `p` is worth: importance weights
    stay below `ratio` + 1.

    Raises:
        DataError: `ratio` is below one.
    """
    if not ratio >= 1:
        raise DataError(f"a ratio of {ratio}; wanted at least 1")
    kept = np.minimum(p, ratio * previous)
    return kept + (1.0 - kept.sum(axis=1, keepdims=True)) * previous


def damped(probabilities: FloatArray, previous: FloatArray, *, share: float) -> FloatArray:
    """(1 - share) * p + share * previous: half a step from the policy that acted before."""
    _check_range(share, 0.0, 1.0, "share")
    return (1.0 - share) * probabilities + share * previous


def _masked(scores: FloatArray, eligible: BoolArray) -> FloatArray:
    if scores.shape != eligible.shape:
        raise DataError(f"scores have shape {scores.shape}, eligible {eligible.shape}")
    check_eligible(eligible)
    wrong = np.argwhere(eligible & ~np.isfinite(scores))
    if len(wrong):
        row, action = (int(i) for i in wrong[0])
        raise DataError(
            f"score of action {action} in row {row} is {scores[row, action]}; wanted a finite"
            f" number on every eligible pair ({len(wrong)} are not)"
        )
    return np.where(eligible, np.ascontiguousarray(scores, dtype=np.float64), -np.inf)


def _certain(action: IntArray, eligible: BoolArray) -> FloatArray:
    result = np.zeros(eligible.shape)
    result[np.arange(len(action)), action] = 1.0
    return result


def _remainder_on(best: IntArray, shares: FloatArray) -> FloatArray:
    """`shares`, changed in place: each row's `best` entry becomes one minus the others."""
    rows = np.arange(len(best))
    shares[rows, best] = 0.0
    shares[rows, best] = 1.0 - shares.sum(axis=1)
    return shares


def _check_range(value: float, low: float, high: float, name: str) -> None:
    if not (low <= value <= high and np.isfinite(value)):
        raise DataError(f"{name} is {value}; wanted a finite number from {low} to {high}")
