"""Whether logs can answer at all: what must be known of the weights before any value is shown."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from decisions.bandits.mean_weights import distances, limit, possible_weights
from decisions.policy import BoolArray, FloatArray
from decisions.shapes import Labels, check_rows, check_shape, check_table, check_weights

__all__ = ["Labels", "Support", "SupportRule", "kish", "refusal", "support"]

RARE = 0.001  # a propensity below this is hardly support
_GROUP, _LARGE = 30, 1_000  # clusters of a group worth testing; without probabilities


@dataclass(frozen=True, kw_only=True)
class SupportRule:
    """When evidence is refused: see `refusal`.

    `error` bounds how often a sound log whose probabilities were kept is refused because its
    actions do not look drawn with them, whatever the number of policies and groups; without them
    it is only what large samples tend to. An evaluation shares it equally among its policies'
    mean weights, in each half for all rows together and half for groups, and the counts of
    actions (`drawn_refusal`).
    """

    effective_n: float = 100.0
    violation: float = 0.0  # share of the policy's mass
    error: float = 0.005


@dataclass(frozen=True, kw_only=True)
class Support:
    """Diagnostics of one policy's weights on one log of n rows.

    `mean_weight` is one in expectation, overall and in every group that the logging policy knew:
    `mean_weight_z` is its distance from that in standard errors (`mean_weights.distances`, of
    weights cut there), and `group_z` that of the worst group of each grouping, of which there are
    `groups` in all. `effective_n` is Kish's, and `effective_share` that over n. `rare_mass` is
    the share of the policy's mass on actions logged with a propensity below 0.001; `violation`
    its mass on actions that could not be logged. Where the log's probabilities were kept, the
    tests are `exact`: their error is proven for any number of rows.
    """

    n: int
    mean_weight: float
    mean_weight_z: float
    effective_n: float
    effective_share: float
    max_weight: float
    rare_mass: float
    violation: float
    exact: bool = False
    groups: int = 0
    group_z: dict[str, float] = field(default_factory=dict[str, float])

    @property
    def worst_group_z(self) -> float:
        """The group statistic farthest from zero; 0 without groups."""
        return max(self.group_z.values(), key=abs, default=0.0)

    def mean_weight_limit(self, error: float) -> float:
        """What the distance of all rows is allowed where this policy may err so often."""
        return limit(error / 2)

    def group_z_limit(self, error: float) -> float:
        """What the distance of the worst group is allowed; infinite without groups."""
        return limit(error / 2, tests=self.groups)


def kish(weights: FloatArray) -> float:
    """Effective sample size (sum w)^2 / sum w^2 of `weights` (n,); 0 where all are zero.

    Raises:
        DataError: a weight is negative or not finite, or the shape is another.

    Source: Kish (1965), "Survey Sampling".
    """
    check_rows(weights=weights)
    check_weights(weights=weights)
    square = float(weights @ weights)
    return float(weights.sum()) ** 2 / square if square > 0 else 0.0


def support(
    weights: FloatArray,
    probabilities: FloatArray,
    *,
    propensity: FloatArray,
    eligible: BoolArray,
    logged: FloatArray | None = None,
    groups: Mapping[str, Labels] | None = None,
    clusters: Labels | None = None,
) -> Support:
    """The diagnostics of a policy with `probabilities` (n, k) on a log.

    Args:
        weights: probability of the logged action over its `propensity`, both (n,).
        probabilities: of the policy to be judged, (n, k).
        propensity: of the logged actions, (n,).
        eligible: what could be chosen, (n, k).
        logged: the logging policy's own probabilities (n, k), if they were kept; without them
            only ineligible actions count as impossible, `rare_mass` is estimated by weighting,
            and the tests of the mean weight use the sample's variance (`mean_weight_z`).
        groups: labels (n,) by name (generation, slice, merchant): in each group the mean weight
            is one in expectation. The number of eligible actions is always among them. Groups
            of fewer than 30 clusters are too small to test, and without `logged` those of fewer
            than 1000.
        clusters: labels (n,) of rows that depend on one another; None where each row is its own.

    Raises:
        DataError: shapes disagree, or a weight is negative or not finite.
    """
    n, _ = check_table(probabilities=probabilities, eligible=eligible, logged=logged)
    check_shape((n,), weights=weights, propensity=propensity, clusters=clusters, **(groups or {}))
    check_weights(weights=weights)
    possible = (
        None if logged is None or not n else possible_weights(probabilities, logged, eligible)
    )
    if logged is None:
        impossible = np.where(eligible, 0.0, probabilities)
        rare = float((weights * (propensity < RARE)).mean()) if n else float("nan")
    else:
        impossible = np.where(eligible & (logged > 0), 0.0, probabilities)
        unlikely = np.where(logged < RARE, probabilities, 0.0)
        rare = float(unlikely.sum(axis=1).mean()) if n else float("nan")
    grouped = {"eligible actions": eligible.sum(axis=1), **(groups or {})}
    smallest = _LARGE if possible is None else _GROUP
    statistics = {
        name: distances(weights, labels, possible=possible, clusters=clusters, smallest=smallest)
        for name, labels in grouped.items()
    }
    whole = distances(weights, np.zeros(n), possible=possible, clusters=clusters)
    return Support(
        n=n,
        mean_weight=float(weights.mean()) if n else float("nan"),
        mean_weight_z=float(whole[0]) if len(whole) else float("nan"),
        effective_n=kish(weights),
        effective_share=kish(weights) / n if n else 0.0,
        max_weight=float(weights.max()) if n else float("nan"),
        rare_mass=rare,
        violation=float(impossible.sum(axis=1).mean()) if n else 0.0,
        exact=possible is not None,
        groups=sum(len(z) for z in statistics.values()),
        group_z={name: float(z[np.abs(z).argmax()]) for name, z in statistics.items() if len(z)},
    )


def refusal(found: Support, rule: SupportRule | None = None, *, sharing: int = 1) -> str | None:
    """Why the log cannot answer, beginning with "unsupported", or None where it can.

    `sharing` is among how many the rule's error is shared: see `SupportRule`.
    """
    rule = rule or SupportRule()
    if found.violation > rule.violation:
        return (
            f"unsupported: {found.violation:.3g} of the policy's mass lies on actions that could"
            f" not be logged, at most {rule.violation:g} is allowed: log with exploration over"
            " every eligible action"
        )
    if found.effective_n < rule.effective_n:
        return (
            f"unsupported: effective sample size {found.effective_n:.1f} of {found.n} rows, wanted"
            f" {rule.effective_n:g}: collect more rows, or judge a policy nearer the logging one"
        )
    allowed = found.mean_weight_limit(rule.error / sharing)
    if not abs(found.mean_weight_z) <= allowed:
        what = "the mean weight of all rows"
        return _unlikely(what, found.mean_weight_z, allowed, rule, exact=found.exact)
    allowed = found.group_z_limit(rule.error / sharing)
    if not abs(found.worst_group_z) <= allowed:
        name = max(found.group_z, key=lambda each: abs(found.group_z[each]))
        what = f"the mean weight of one group by {name} (of {found.groups} groups)"
        return _unlikely(what, found.worst_group_z, allowed, rule, exact=found.exact)
    return None


def drawn_refusal(distances: FloatArray, rule: SupportRule, *, sharing: int = 1) -> str | None:
    """Why counts of actions, `drawn_as_logged`, refuse the log; None where they do not."""
    allowed = limit(rule.error / sharing, tests=len(distances))
    worst = float(max(distances, key=abs, default=0.0))
    if abs(worst) <= allowed:
        return None
    return _unlikely("how often one action was drawn", worst, allowed, rule, exact=True)


def _unlikely(
    what: str, distance: float, allowed: float, rule: SupportRule, *, exact: bool
) -> str:
    chance = (
        f"chance alone does so in at most {rule.error:.2%} of evaluations; else"
        if exact
        else "how often chance alone does so is not known where probabilities were not kept; else"
    )
    return (
        f"unsupported: {what} is {distance:+.1f} standard errors from what the logged"
        f" probabilities say, beyond {allowed:.1f}: {chance} probabilities differ from how actions"
        " were drawn, or rows are missing or depend on one another: compare those, or judge later"
        " rows"
    )
