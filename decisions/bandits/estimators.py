"""Off-policy estimators: what a policy would have earned on decisions that another one logged.

Every estimator returns row-wise terms, so that intervals (`intervals`), paired differences and
clustering are computed in one place for all of them. Write w = e(a|x) / p for the weight of a
logged decision, with e the policy to be judged and p the logged propensity, and q for a reward
model that has not seen the row (cross-fitted).
"""

from dataclasses import dataclass

import numpy as np

from decisions.bandits.support import kish
from decisions.policy import BoolArray, FloatArray, IntArray, pick
from decisions.shapes import (
    check_finite,
    check_propensities,
    check_rows,
    check_shape,
    check_table,
    check_weights,
    refuse_rows,
)


@dataclass(frozen=True, kw_only=True)
class Terms:
    """Row-wise terms (n,) of one estimator; their mean is its value.

    For a ratio of means the terms are its linearisation, value + influence: their mean is exactly
    the ratio, and their variance over n is the delta method's variance.
    """

    rows: FloatArray  # (n,)
    method: str
    effective_n: float

    @property
    def value(self) -> float:
        """The estimate; NaN of no rows."""
        return float(self.rows.mean()) if len(self.rows) else float("nan")

    def minus(self, other: "Terms") -> "Terms":
        """The paired difference on the same rows; the effective size is the smaller one."""
        return Terms(
            rows=self.rows - other.rows,
            method=self.method,
            effective_n=min(self.effective_n, other.effective_n),
        )


def importance_weights(
    probabilities: FloatArray, action: IntArray, propensity: FloatArray
) -> FloatArray:
    """Weights e(a|x) / p of the logged actions, (n,), from `probabilities` (n, k).

    Raises:
        DataError: shapes disagree, an action is none of 0 to k - 1, a propensity is not in
            (0, 1], or something is not finite.
    """
    n, k = check_table(probabilities=probabilities)
    check_shape((n,), action=action, propensity=propensity)
    unknown = (action < 0) | (action >= k)
    refuse_rows("action", action, wrong=unknown, wanted=f"one of 0 to {k - 1}")
    check_propensities(propensity=propensity)
    weights = pick(probabilities, action) / propensity
    check_weights(weights=weights)
    return weights


def ips(weights: FloatArray, rewards: FloatArray) -> Terms:
    """Inverse propensity score: mean(w r).

    Source: Horvitz and Thompson (1952).
    """
    _check(weights, rewards=rewards)
    return Terms(rows=weights * rewards, method="IPS", effective_n=kish(weights))


def loss_form_ips(weights: FloatArray, rewards: FloatArray) -> Terms:
    """1 - mean(w (1 - r)): the expectation of IPS, less variance where most rewards are one."""
    _check(weights, rewards=rewards)
    rows = 1.0 - weights * (1.0 - rewards)
    return Terms(rows=rows, method="loss-form IPS", effective_n=kish(weights))


def clipped_ips(weights: FloatArray, rewards: FloatArray, *, limit: float) -> Terms:
    """mean(min(w, limit) r): biased downwards for rewards >= 0.

    Source: Ionides (2008), "Truncated importance sampling".
    """
    _check(weights, rewards=rewards)
    clipped = np.minimum(weights, limit)
    return Terms(
        rows=clipped * rewards, method=f"clipped IPS({limit:g})", effective_n=kish(clipped)
    )


def snips(weights: FloatArray, rewards: FloatArray) -> Terms:
    """Self-normalised IPS: sum(w r) / sum(w); NaN where every weight is zero.

    Source: Swaminathan and Joachims (2015), "The self-normalized estimator".
    """
    _check(weights, rewards=rewards)
    return Terms(rows=_ratio(weights, rewards), method="SNIPS", effective_n=kish(weights))


def dm(q_policy: FloatArray) -> Terms:
    """Direct method: mean of q_e(x) = sum_a e(a|x) q(x, a); as good as q, whatever the weights."""
    check_rows(q_policy=q_policy)
    check_finite(q_policy=q_policy)
    return Terms(rows=q_policy.copy(), method="DM", effective_n=float(len(q_policy)))


def dr(
    weights: FloatArray, rewards: FloatArray, q_chosen: FloatArray, q_policy: FloatArray
) -> Terms:
    """Doubly robust: mean(q_e + w (r - q)).

    Source: Dudik, Langford and Li (2011), "Doubly robust policy evaluation and learning".
    """
    _check(weights, rewards=rewards, q_chosen=q_chosen, q_policy=q_policy)
    rows = q_policy + weights * (rewards - q_chosen)
    return Terms(rows=rows, method="DR", effective_n=kish(weights))


def sndr(
    weights: FloatArray, rewards: FloatArray, q_chosen: FloatArray, q_policy: FloatArray
) -> Terms:
    """Self-normalised doubly robust: mean q_e + sum(w (r - q)) / sum(w).

    Source: Thomas and Brunskill (2016), "Data-efficient off-policy policy evaluation".
    """
    _check(weights, rewards=rewards, q_chosen=q_chosen, q_policy=q_policy)
    rows = q_policy + _ratio(weights, rewards - q_chosen)
    return Terms(rows=rows, method="SNDR", effective_n=kish(weights))


def switch_dr(
    weights: FloatArray,
    rewards: FloatArray,
    q_chosen: FloatArray,
    q_policy: FloatArray,
    *,
    tau: float,
) -> Terms:
    """Switch-DR: DR where w <= tau, the model alone above; tau = inf is DR.

    Source: Wang, Agarwal and Dudik (2017), "Optimal and adaptive off-policy evaluation".
    """
    _check(weights, rewards=rewards, q_chosen=q_chosen, q_policy=q_policy)
    kept = np.where(weights <= tau, weights, 0.0)
    rows = q_policy + kept * (rewards - q_chosen)
    return Terms(rows=rows, method=f"Switch-DR({tau:g})", effective_n=kish(kept))


def dr_os(
    weights: FloatArray,
    rewards: FloatArray,
    q_chosen: FloatArray,
    q_policy: FloatArray,
    *,
    lam: float,
) -> Terms:
    """DR with optimistic shrinkage, w -> lam w / (w^2 + lam); 0 is DM, inf is DR.

    Source: Su, Dimakopoulou, Krishnamurthy and Dudik (2020), "Doubly robust off-policy
    evaluation with shrinkage".
    """
    _check(weights, rewards=rewards, q_chosen=q_chosen, q_policy=q_policy)
    if np.isinf(lam):
        shrunk = weights
    elif lam == 0:
        shrunk = np.zeros_like(weights)
    else:
        shrunk = lam * weights / (weights**2 + lam)
    rows = q_policy + shrunk * (rewards - q_chosen)
    return Terms(rows=rows, method=f"DRos({lam:g})", effective_n=kish(shrunk))


def mrdr_weights(target_propensity: FloatArray, propensity: FloatArray) -> FloatArray:
    """Row weights e (1 - p) / p^2 with which to fit q for the more robust doubly robust estimator.

    The estimate is then `dr` with that q. `target_propensity` is e(a|x) of the logged action.

    Source: Farajtabar, Chow and Ghavamzadeh (2018), "More robust doubly robust off-policy
    evaluation".
    """
    check_rows(target_propensity=target_propensity, propensity=propensity)
    check_weights(target_propensity=target_propensity)
    check_propensities(propensity=propensity)
    return target_propensity * (1.0 - propensity) / propensity**2


def replay(matches: BoolArray, rewards: FloatArray) -> Terms:
    """Mean reward where the target's own drawn action equals the logged one; uniform logs only.

    Source: Li, Chu, Langford and Wang (2011), "Unbiased offline evaluation".
    """
    check_rows(matches=matches, rewards=rewards)
    check_finite(rewards=rewards)
    weights = matches.astype(np.float64)
    return Terms(rows=_ratio(weights, rewards), method="replay", effective_n=float(matches.sum()))


def balanced_propensities(propensities: FloatArray, sizes: IntArray) -> FloatArray:
    """pbar(a|x) = sum_g (n_g / n) p_g(a|x) of the logged actions, (n,).

    `propensities` (n, g) is the probability that each of g loggers gives a row's logged action,
    `sizes` (g,) how many rows each logged. Weights e / pbar pool generations with far less
    variance than each row's own propensity.

    Source: Agarwal, Basu, Schnabel and Joachims (2017), "Effective evaluation using logged bandit
    feedback from multiple loggers".
    """
    _, g = check_table(propensities=propensities)
    check_shape((g,), sizes=sizes)
    check_weights(sizes=sizes)
    pooled = propensities @ (sizes / sizes.sum())
    check_propensities(propensity=pooled)
    return pooled


def balanced_ips(
    target_propensity: FloatArray,
    rewards: FloatArray,
    *,
    propensities: FloatArray,
    sizes: IntArray,
) -> Terms:
    """IPS with the weights e / pbar of `balanced_propensities`."""
    pooled = balanced_propensities(propensities, sizes)
    check_rows(target_propensity=target_propensity, propensities=pooled)
    weights = target_propensity / pooled
    terms = ips(weights, rewards)
    return Terms(rows=terms.rows, method="balanced IPS", effective_n=terms.effective_n)


def _ratio(weights: FloatArray, values: FloatArray) -> FloatArray:
    """sum(w v) / sum(w) plus each row's influence on it; NaN where the weights sum to zero."""
    total = float(weights.sum())
    if total == 0:
        return np.full(len(weights), np.nan)
    ratio = float(weights @ values) / total
    return ratio + weights * (values - ratio) * (len(weights) / total)


def _check(weights: FloatArray, **arrays: FloatArray) -> None:
    """Raises DataError unless all are (n,) and finite, the weights of 0 or more."""
    check_rows(weights=weights, **arrays)
    check_weights(weights=weights)
    check_finite(**arrays)
