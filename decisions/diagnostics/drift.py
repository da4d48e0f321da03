"""How the data and the policy move from one generation to the next, apart from the value."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import ks_2samp

from decisions.errors import DataError
from decisions.policy import BoolArray, FloatArray, normalised_entropy
from decisions.shapes import check_propensities, check_shape, check_table


@dataclass(frozen=True, kw_only=True)
class Exploration:
    """How widely one generation's policy tries, on n rows."""

    entropy_normalised: float  # mean H(p) / log K where K > 1: 1 is uniform, 0 certain
    effective_actions: float  # mean exp(H(p))
    propensity_minimum: float  # of the logged actions
    propensity_1_percent: float


def exploration(
    probabilities: FloatArray, eligible: BoolArray, propensity: FloatArray
) -> Exploration:
    """Entropy and the tail of the propensities.

    Args:
        probabilities: of the policy, (n, k), 0 where not `eligible` (n, k).
        eligible: what could be chosen.
        propensity: of the logged actions, (n,); of the actions drawn.

    Raises:
        DataError: no row, shapes that disagree, a probability that is not finite, or a
            propensity outside (0, 1].
    """
    n, _ = check_table(probabilities=probabilities, eligible=eligible)
    check_shape((n,), propensity=propensity)
    _finite("probabilities", probabilities)
    check_propensities(propensity=propensity)
    entropy = -(probabilities * np.log(np.where(probabilities > 0, probabilities, 1.0))).sum(
        axis=1
    )
    least, one_percent = np.quantile(propensity, (0.0, 0.01)).tolist()
    return Exploration(
        entropy_normalised=normalised_entropy(probabilities, eligible),
        effective_actions=float(np.exp(entropy).mean()),
        propensity_minimum=least,
        propensity_1_percent=one_percent,
    )


def score_distance(before: FloatArray, after: FloatArray) -> float:
    """Kolmogorov-Smirnov distance of two generations' predicted scores, (n,) and (m,); 0 to 1.

    Raises:
        DataError: either is empty or not finite.
    """
    _finite("scores before", before)
    _finite("scores after", after)
    return float(ks_2samp(before, after).statistic)


def negatives_share(reward: FloatArray, *, threshold: float = 0.5) -> float:
    """Share of `reward` (n,) below `threshold`: the failures among training rows.

    Raises:
        DataError: no row, or a reward that is not finite.
    """
    _finite("reward", reward)
    return float((reward < threshold).mean())


def _finite(name: str, values: FloatArray) -> None:
    if not values.size:
        raise DataError(f"{name}: no row; wanted at least one")
    wrong = np.argwhere(~np.isfinite(values))
    if len(wrong):
        at = tuple(wrong[0].tolist())
        raise DataError(
            f"{name}: row {at[0]} holds {float(values[at])!r}; wanted a finite number"
            f" ({len(wrong)} such entries)"
        )
