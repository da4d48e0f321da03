"""How greedy inverse gap weighting may be: schedules for gamma, per unit of predicted reward."""

from collections.abc import Callable

import numpy as np
import polars as pl

from decisions.bandits.exploration import inverse_gap_weighting
from decisions.bandits.oracles import Fit
from decisions.bandits.training_set import TrainingSet
from decisions.errors import DataError
from decisions.policy import BoolArray, FloatArray, normalised_entropy


def constant(gamma: float) -> float:
    """`gamma` itself, checked.

    Raises:
        DataError: negative or not finite.
    """
    if not (gamma >= 0 and np.isfinite(gamma)):
        raise DataError(f"gamma is {gamma}; wanted a finite number of 0 or more")
    return gamma


def power(examples: int, *, scale: float = 10.0, exponent: float = 0.5) -> float:
    """Returns scale * examples^exponent; the defaults are Vowpal Wabbit's, of examples learned."""
    return constant(scale * examples**exponent)


def square_cb_theory(*, actions: float, rounds: int, regret: float, delta: float = 0.05) -> float:
    """sqrt(K * T / (Reg_Sq(T) + log(2/delta))), `regret` being the oracle's squared-loss regret.

    Source: Foster and Rakhlin (2020), Theorem 1 (constant as in its statement; not re-derived).
    """
    return constant(float(np.sqrt(actions * rounds / (regret + np.log(2 / delta)))))


def fast_cb_theory(*, actions: float, best_loss: float, regret: float) -> float:
    """max(sqrt(K * L / (3 * Reg_KL)), 10 K), with L the cumulative loss of the best policy.

    For an oracle fitted with log loss; `regret` is its log-loss regret.

    Source: Foster and Krishnamurthy (2021), Theorem 1 (constants not re-derived).
    """
    return constant(float(max(np.sqrt(actions * best_loss / (3 * regret)), 10 * actions)))


def calibrated(*, mean_actions: float, excess: float, scale: float = 1.0) -> float:
    """Returns scale * sqrt(mean K / E), E from `excess_squared_error`: what a window supports.

    Source: Simchi-Levi and Xu (2022), FALCON: gamma_m = c * sqrt(K / E_m) for an offline oracle
    fitted on the previous epoch; c and the estimate of E are ours.
    """
    return constant(scale * float(np.sqrt(mean_actions / excess)))


def excess_squared_error(
    fit: Fit,
    data: TrainingSet,
    rng: np.random.Generator,
    *,
    context: pl.DataFrame,
    eligible: BoolArray,
    inflation: float = 1.0,
    floor: float = 1e-4,
) -> float:
    """The oracle's mean excess squared error over eligible pairs, estimated from two halves.

    Fits on two random halves of `data` and returns inflation * mean (f1 - f2)^2 / 2 over the
    eligible pairs of a reference batch, at least `floor`. It sees variance only: the bias on
    actions the log hardly tried is invisible to it. Give it an always-uniform slice as `data`,
    or, on the policy's own logs, an `inflation` of 3.

    Raises:
        DataError: fewer than two rows.
    """
    n = len(data.reward)
    if n < 2:
        raise DataError(f"{n} rows cannot be halved; wanted two or more")
    order = rng.permutation(n)
    halves = [np.sort(part) for part in (order[: n // 2], order[n // 2 :])]
    first, second = (fit(data.take(half), rng).predict(context, eligible) for half in halves)
    error = float(((first - second)[eligible] ** 2).mean()) / 2
    return max(inflation * error, floor)


def largest_with_entropy(
    scores: FloatArray,
    eligible: BoolArray,
    *,
    minimum: float,
    limit: float = 1e6,
    rule: Callable[..., FloatArray] = inverse_gap_weighting,
) -> float:
    """The largest gamma up to `limit` that keeps the mean exploration entropy at `minimum`.

    Entropy falls as gamma grows, so 60 halvings of the interval find it to 1e-12 of `limit`.
    `rule` is `inverse_gap_weighting` or `fast_cb`.

    Raises:
        DataError: `minimum` is outside [0, 1].
    """
    if not 0 <= minimum <= 1:
        raise DataError(f"minimum entropy is {minimum}; wanted a share in [0, 1]")

    def kept(gamma: float) -> bool:
        return normalised_entropy(rule(scores, eligible, gamma=gamma), eligible) >= minimum

    if kept(limit):
        return limit
    low, high = 0.0, limit
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if kept(middle) else (low, middle)
    return low
