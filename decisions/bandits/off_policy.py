"""Candidate against champion on one log: estimates, paired differences, checks, or a refusal."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from decisions.bandits.estimators import (
    Terms,
    clipped_ips,
    dm,
    dr,
    dr_os,
    importance_weights,
    ips,
    loss_form_ips,
    mrdr_weights,
    sndr,
    snips,
    switch_dr,
)
from decisions.bandits.intervals import Clusters, cluster_codes, normal, variance_floor
from decisions.bandits.mean_weights import drawn_as_logged
from decisions.bandits.slope import tune
from decisions.bandits.support import (
    Labels,
    Support,
    SupportRule,
    drawn_refusal,
    refusal,
    support,
)
from decisions.errors import DataError
from decisions.evaluation import Estimate, Evaluation, unknown
from decisions.policy import BoolArray, FloatArray, IntArray, pick, total_variation
from decisions.shapes import (
    check_level,
    check_rows,
    check_shape,
    check_table,
    check_weights,
    label_codes,
)

_SMALLEST_SEGMENT = 100
_SHARING = 3  # the error of refusals: two policies' mean weights, and the counts of actions
_FULL_WEIGHTS = frozenset(
    {"IPS", "loss-form IPS", "SNIPS", "DR", "SNDR"}
)  # neither cut nor shrunk


@dataclass(frozen=True, kw_only=True)
class LoggedDecisions:
    """What off-policy evaluation reads of n decisions over k actions.

    `q` holds predicted rewards (n, k) of a model that has not seen the row (cross-fitted); without
    it only IPS, its forms and SNIPS are computed. `logged` holds the logging policy's own
    probabilities, where they were kept. Rows of one cluster (card, customer, hour) are dependent.
    In each of `groups` the mean weight is tested; in each of `segments` the candidate must not
    lose. `delay_factor` (n,) corrects for outcomes still unknown (`delay.censoring_factor`): it
    is 0 where the outcome is unknown, and such a row's reward is not read.
    """

    eligible: BoolArray  # (n, k)
    action: IntArray  # (n,)
    propensity: FloatArray  # (n,), the marginal probability of `action`
    reward: FloatArray  # (n,)
    q: FloatArray | None = None  # (n, k)
    logged: FloatArray | None = None  # (n, k)
    clusters: Clusters | None = None  # (n,)
    groups: Mapping[str, Labels] = field(default_factory=dict[str, Labels])
    segments: Mapping[str, Labels] = field(default_factory=dict[str, Labels])
    delay_factor: FloatArray | None = None  # (n,)


def weights_of(log: LoggedDecisions, probabilities: FloatArray) -> FloatArray:
    """Importance weights (n,) of a policy with `probabilities` (n, k), delay left aside.

    Raises:
        DataError: shapes disagree, rows are no distributions, an action is none or was not
            eligible, or a propensity is impossible.
    """
    _check_shapes(log, probabilities)
    _check_actions(log)
    total = probabilities.sum(axis=1)
    wrong = ~(np.abs(total - 1) <= 1e-9) | ~(probabilities >= 0).all(axis=1)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise DataError(
            f"probabilities of row {row} sum to {total[row]:.12g}, wanted a distribution"
            f" ({int(wrong.sum())} such rows)"
        )
    return importance_weights(probabilities, log.action, log.propensity)


def _check_shapes(log: LoggedDecisions, probabilities: FloatArray) -> None:
    """Raises DataError where a part of the log, or the policy, is not of the log's rows."""
    n, k = check_table(eligible=log.eligible)
    check_shape((n, k), probabilities=probabilities, q=log.q, logged=log.logged)
    check_shape((n,), action=log.action, propensity=log.propensity, reward=log.reward)
    check_shape((n,), clusters=log.clusters, delay_factor=log.delay_factor)
    check_shape((n,), **{f"group {name}": labels for name, labels in log.groups.items()})
    check_shape((n,), **{f"segment {name}": labels for name, labels in log.segments.items()})
    if log.delay_factor is not None:
        check_weights(delay_factor=log.delay_factor)


def _check_actions(log: LoggedDecisions) -> None:
    rows, k = log.eligible.shape
    known = (log.action >= 0) & (log.action < k)
    allowed = known.copy()
    allowed[known] = log.eligible[np.arange(rows)[known], log.action[known]]
    if not allowed.all():
        row = int(np.flatnonzero(~allowed)[0])
        wrong = "was not eligible" if known[row] else f"is none of 0 to {k - 1}"
        raise DataError(
            f"action {log.action[row]} of row {row} {wrong} ({int((~allowed).sum())} such rows):"
            " a row that cannot have been logged is no evidence"
        )


def terms_of(
    log: LoggedDecisions,
    probabilities: FloatArray,
    *,
    clip: float = 10.0,
    tau: float = 10.0,
    lam: float = 10.0,
) -> dict[str, Terms]:
    """Every estimator's terms for a policy with `probabilities` (n, k), by the estimator's name.

    `clip`, `tau` and `lam` are the parameters of clipped IPS, Switch-DR and DRos; `slope.tune`
    finds them from the data.
    """
    weights, reward = _corrected(log, probabilities)
    found = {
        "IPS": ips(weights, reward),
        "loss-form IPS": loss_form_ips(weights, reward),
        "clipped IPS": clipped_ips(weights, reward, limit=clip),
        "SNIPS": snips(weights, reward),
    }
    if log.q is None:
        return found
    given = (weights, reward, *_predicted(log, probabilities, log.q))
    q_policy = given[3]
    return found | {
        "DM": dm(q_policy),
        "DR": dr(*given),
        "SNDR": sndr(*given),
        "Switch-DR": switch_dr(*given, tau=tau),
        "DRos": dr_os(*given, lam=lam),
    }


def mrdr(
    log: LoggedDecisions, probabilities: FloatArray, fit: Callable[[FloatArray], FloatArray]
) -> Terms:
    """More robust doubly robust: DR with a reward model fitted for this very policy.

    `fit` takes the rows' training weights (n,), see `mrdr_weights`, and returns the cross-fitted
    predictions (n, k) of a model trained with them. Being fitted anew for each policy, it is not
    among `terms_of`.

    Source: as `mrdr_weights`.
    """
    weights, reward = _corrected(log, probabilities)
    q = fit(mrdr_weights(pick(probabilities, log.action), log.propensity))
    terms = dr(weights, reward, *_predicted(log, probabilities, q))
    return replace(terms, method="MRDR")


def _corrected(log: LoggedDecisions, probabilities: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Weights and rewards, both (n,), with outcomes still unknown corrected for."""
    weights = weights_of(log, probabilities)
    if log.delay_factor is None:
        return weights, log.reward
    return weights * log.delay_factor, np.where(log.delay_factor > 0, log.reward, 0.0)


def _predicted(
    log: LoggedDecisions, probabilities: FloatArray, q: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """What `q` (n, k) predicts of the logged action and of the policy, both (n,)."""
    policy = np.where(probabilities > 0, probabilities * q, 0.0).sum(axis=1)
    return pick(q, log.action), policy


def _tuned(
    log: LoggedDecisions, probabilities: FloatArray, *, level: float
) -> tuple[float, float]:
    """Switch-DR's tau and DRos's lambda by SLOPE; without q nothing reads them."""
    if log.q is None:
        return 10.0, 10.0
    given = (*_corrected(log, probabilities), *_predicted(log, probabilities, log.q))
    return (
        tune(lambda tau: switch_dr(*given, tau=tau), level=level).parameter,
        tune(lambda lam: dr_os(*given, lam=lam), level=level).parameter,
    )


def evaluate_pair(
    log: LoggedDecisions,
    *,
    candidate: FloatArray,
    champion: FloatArray,
    baselines: Mapping[str, FloatArray] | None = None,
    primary: str | None = None,
    rule: SupportRule | None = None,
    level: float = 0.95,
    tau: float | None = None,
    lam: float | None = None,
) -> Evaluation:
    """What replacing `champion` by `candidate` (both probabilities (n, k)) would have changed.

    The difference is paired: the same rows, the same q, and one term a row, with the variance
    between clusters. The `primary` estimator (DR, or SNIPS without q) gives candidate, champion
    and difference; `estimates` holds "candidate NAME", "champion NAME" and "difference NAME" of
    all of them, "logged" (the log's own mean reward) and each of `baselines`.

    `tau` of Switch-DR and `lam` of DRos are chosen on the candidate by SLOPE unless given, and
    are the same for the champion, or the difference would be between estimators.

    `checks` (what a gate may limit):
        ess, ess_share: the candidate's effective sample size, and over n; champion_ess_share.
        support_violation: mass on actions that could not be logged, the larger of the two.
        mean_weight_z, mean_weight_limit: standard errors of the mean weight from what it should
            be, the farther of the two, and beyond what the evaluation is refused.
        worst_group_z, group_z_limit: the same by group (control variates). A sound log is
            refused for one or the other with a probability of at most 0.005 (`SupportRule`);
            without `logged` probabilities that holds for large samples only.
        max_weight, rare_mass: of the candidate; see `Support`.
        weight_median, weight_90_percent, weight_99_percent: below which half of the candidate's
            importance weights lie, and so on.
        churn_tv: mean total variation distance between the two policies, 0 to 1.
        worst_segment_loss: the largest loss, in units of reward, of a segment that significantly
            loses: the upper end of its paired difference is below zero, at a level for all
            segments at once. 0 where none does.
        unresolved_share: of rows, where `delay_factor` is given.

    Intervals for rewards of 0 and 1 are no narrower than `variance_floor` says.

    An evaluation that the log does not support carries a refusal and knows no value; `too_few`
    where nothing but the effective sample size is against it.

    Raises:
        DataError: see `weights_of`; or `level` is not between 0 and 1.
    """
    check_level(level)
    policies = {"candidate": candidate, "champion": champion}
    rule = rule or SupportRule()
    supports, reasons = supported(log, policies, rule)
    checks = _checks(log, supports, rule, candidate=candidate, champion=champion)
    checks |= _quantiles(weights_of(log, candidate))
    n = len(log.action)
    if reasons:
        nothing = unknown(n=n, level=level)
        return Evaluation(
            candidate=nothing,
            champion=nothing,
            difference=nothing,
            checks=checks,
            refusal="; ".join(reasons),
            too_few=not supported(log, policies, replace(rule, effective_n=0.0))[1],
        )

    clusters = None if log.clusters is None else cluster_codes(log.clusters)

    def interval(terms: Terms, moved: FloatArray) -> Estimate:
        return estimate(log, terms, moved, clusters=clusters, level=level)

    found = _tuned(log, candidate, level=level)
    tau, lam = found[0] if tau is None else tau, found[1] if lam is None else lam
    new, old = (terms_of(log, policy, tau=tau, lam=lam) for policy in (candidate, champion))
    first = primary or ("SNIPS" if log.q is None else "DR")
    moved = candidate - champion
    estimates = {f"candidate {name}": interval(t, candidate) for name, t in new.items()}
    estimates |= {f"champion {name}": interval(t, champion) for name, t in old.items()}
    estimates |= {
        f"difference {name}": interval(t.minus(old[name]), moved) for name, t in new.items()
    }
    if log.delay_factor is None:
        average = normal(log.reward, clusters=clusters, level=level, effective_n=float(n))
        average = replace(average, method=f"on-policy mean, {average.method}")
        estimates["logged"] = variance_floor(
            average, log.reward, np.ones(n), log.reward, clusters=clusters
        )
    for name, policy in (baselines or {}).items():
        why = refusal(_support(log, policy), rule, sharing=_SHARING)
        estimates[name] = (
            interval(terms_of(log, policy)[first], policy)
            if why is None
            else unknown(n=n, level=level)
        )
    difference = new[first].minus(old[first])
    if log.segments:
        checks["worst_segment_loss"] = worst_segment_loss(
            difference.rows, log.segments, clusters=clusters, level=level
        )
    return Evaluation(
        candidate=estimates[f"candidate {first}"],
        champion=estimates[f"champion {first}"],
        difference=estimates[f"difference {first}"],
        estimates=estimates,
        checks=checks,
    )


def estimate(
    log: LoggedDecisions,
    terms: Terms,
    moved: FloatArray,
    *,
    clusters: Clusters | None = None,
    level: float = 0.95,
) -> Estimate:
    """The mean of `terms` (n,), whose weights are `moved` (n, k) over the logged probabilities.

    Normal, over `clusters`, and no narrower than `variance_floor` where weights are neither cut
    nor shrunk. With outcomes still unknown, the floor's weights are those of the rows with one.
    """
    found = normal(terms.rows, clusters=clusters, level=level, effective_n=terms.effective_n)
    found = replace(found, method=f"{terms.method}, {found.method}")
    if terms.method not in _FULL_WEIGHTS:
        return found
    known, weights = slice(None), pick(moved, log.action) / log.propensity
    if log.delay_factor is not None:
        known, weights = log.delay_factor > 0, weights * log.delay_factor
    residual = squares = None
    if log.q is not None and terms.method in ("DR", "SNDR"):
        residual = (log.reward - pick(log.q, log.action))[known]
    if log.logged is not None and log.delay_factor is None:
        possible = log.eligible & (log.logged > 0)
        square = np.where(possible, moved, 0.0) ** 2
        squares = (square / np.where(possible, log.logged, 1.0)).sum(axis=1)
    return variance_floor(
        found,
        terms.rows,
        weights[known],
        log.reward[known],
        residual=residual,
        squares=squares,
        clusters=None if clusters is None else clusters[known],
    )


def supported(
    log: LoggedDecisions, policies: Mapping[str, FloatArray], rule: SupportRule
) -> tuple[dict[str, Support], list[str]]:
    """Diagnostics of each of `policies` (n, k) by name, and why the log cannot answer.

    Reasons begin with the policy's name, or with "log"; there are none where the log can answer. A
    sound log with `logged` probabilities is refused for how its actions were drawn with a
    probability of at most `rule.error` over two of the policies, all groups and all actions.
    """
    log = replace(
        log,
        clusters=None if log.clusters is None else cluster_codes(log.clusters),
        groups={name: cluster_codes(labels) for name, labels in log.groups.items()},
    )
    found = {name: _support(log, policy) for name, policy in policies.items()}
    reasons = [
        f"{name}: {why}"
        for name, each in found.items()
        if (why := refusal(each, rule, sharing=_SHARING))
    ]
    if log.logged is not None:
        drawn = drawn_as_logged(log.action, log.logged, log.eligible, clusters=log.clusters)
        if (why := drawn_refusal(drawn, rule, sharing=_SHARING)) is not None:
            reasons.append(f"log: {why}")
    return found, reasons


def worst_segment_loss(
    difference: FloatArray,
    segments: Mapping[str, Labels],
    *,
    clusters: Clusters | None = None,
    level: float = 0.95,
) -> float:
    """The largest mean loss of a segment that significantly loses; 0 where none does.

    A segment loses significantly where the upper end of its mean `difference` (n,) is below 0;
    Bonferroni over all segments of at least 100 rows. A gate that allows up to 0.005 so refuses a
    significant loss of more than half a percentage point. Rows without a label (None, NaN) are a
    segment of their own.

    Raises:
        DataError: labels are not as many as rows, or `level` is not between 0 and 1.
    """
    check_level(level)
    check_rows(difference=difference, clusters=clusters, **segments)
    masks = [
        codes == code
        for codes in map(label_codes, segments.values())
        for code, count in enumerate(np.bincount(codes))
        if count >= _SMALLEST_SEGMENT
    ]
    each = 1 - (1 - level) / max(len(masks), 1)
    found = [
        normal(difference[mask], clusters=None if clusters is None else clusters[mask], level=each)
        for mask in masks
    ]
    return max((-one.value for one in found if one.upper < 0), default=0.0)


def _quantiles(weights: FloatArray) -> dict[str, float]:
    """How heavy `weights` (n,) are: half of them, 90 % and 99 % are below; nothing of none."""
    names = ("weight_median", "weight_90_percent", "weight_99_percent")
    if not len(weights):
        return {}
    found = np.quantile(weights, (0.5, 0.9, 0.99))
    return dict(zip(names, found.tolist(), strict=True))


def _support(log: LoggedDecisions, probabilities: FloatArray) -> Support:
    return support(
        weights_of(log, probabilities),
        probabilities,
        propensity=log.propensity,
        eligible=log.eligible,
        logged=log.logged,
        groups=log.groups,
        clusters=log.clusters,
    )


def _checks(
    log: LoggedDecisions,
    supports: Mapping[str, Support],
    rule: SupportRule,
    *,
    candidate: FloatArray,
    champion: FloatArray,
) -> dict[str, float]:
    new, old = supports["candidate"], supports["champion"]
    checks = {
        "ess": new.effective_n,
        "ess_share": new.effective_share,
        "champion_ess_share": old.effective_share,
        "support_violation": max(new.violation, old.violation),
        "mean_weight_z": max(new.mean_weight_z, old.mean_weight_z, key=abs),
        "mean_weight_limit": new.mean_weight_limit(rule.error / _SHARING),
        "worst_group_z": max(new.worst_group_z, old.worst_group_z, key=abs),
        "group_z_limit": new.group_z_limit(rule.error / _SHARING),
        "max_weight": new.max_weight,
        "rare_mass": new.rare_mass,
        "churn_tv": total_variation(candidate, champion) if len(candidate) else float("nan"),
    }
    if log.delay_factor is not None:
        checks["unresolved_share"] = float((log.delay_factor <= 0).mean())
    return checks
