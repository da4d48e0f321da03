"""Off-policy estimators and the paired evaluation."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from decisions.bandits.estimators import (
    balanced_ips,
    balanced_propensities,
    clipped_ips,
    dm,
    dr,
    dr_os,
    importance_weights,
    ips,
    loss_form_ips,
    mrdr_weights,
    replay,
    sndr,
    snips,
    switch_dr,
)
from decisions.bandits.intervals import normal
from decisions.bandits.off_policy import (
    LoggedDecisions,
    evaluate_pair,
    mrdr,
    terms_of,
    weights_of,
    worst_segment_loss,
)
from decisions.bandits.slope import tune
from decisions.bandits.support import support
from decisions.errors import DataError
from decisions.gate import GateRule, judge
from decisions.policy import FloatArray, choose, pick
from decisions.seeds import stream

W = np.array([2.0, 0.5, 0.5])
R = np.array([1.0, 0.0, 1.0])
Q = np.array([0.8, 0.2, 0.5])
QE = np.array([0.6, 0.4, 0.5])


def test_worked_example_by_hand() -> None:
    """Weighted rewards 2, 0, 0.5; corrections w(r - q) 0.4, -0.1, 0.25; weights sum to 3."""
    assert ips(W, R).value == pytest.approx(2.5 / 3)
    assert loss_form_ips(W, R).value == pytest.approx(1 - 0.5 / 3)
    assert clipped_ips(W, R, limit=1.0).value == pytest.approx(1.5 / 3)
    assert snips(W, R).value == pytest.approx(2.5 / 3)
    assert dm(QE).value == pytest.approx(0.5)
    assert dr(W, R, Q, QE).value == pytest.approx(0.5 + 0.55 / 3)
    assert sndr(W, R, Q, QE).value == pytest.approx(0.5 + 0.55 / 3)
    assert switch_dr(W, R, Q, QE, tau=1.0).value == pytest.approx(0.5 + 0.15 / 3)
    shrunk = [2 / 5, 0.5 / 1.25, 0.5 / 1.25]  # lam w / (w^2 + lam) with lam = 1
    assert dr_os(W, R, Q, QE, lam=1.0).value == pytest.approx(
        0.5 + (shrunk[0] * 0.2 - shrunk[1] * 0.2 + shrunk[2] * 0.5) / 3
    )
    assert replay(np.array([True, False, True]), R).value == pytest.approx(1.0)
    assert ips(W, R).effective_n == pytest.approx(9 / 4.5)


def test_mrdr_and_balanced_weights_by_hand() -> None:
    e, p = np.array([0.5, 0.2]), np.array([0.25, 0.5])
    by_logger = np.array([[0.25, 0.75], [0.5, 0.1]])
    sizes = np.array([3, 1], dtype=np.int64)

    np.testing.assert_allclose(mrdr_weights(e, p), [0.5 * 0.75 / 0.0625, 0.2 * 0.5 / 0.25])
    np.testing.assert_allclose(balanced_propensities(by_logger, sizes), [0.375, 0.4])
    pooled = balanced_ips(e, np.ones(2), propensities=by_logger, sizes=sizes)
    assert pooled.value == pytest.approx((0.5 / 0.375 + 0.2 / 0.4) / 2)


@given(
    rewards=st.lists(st.sampled_from([0.0, 1.0]), min_size=1, max_size=40),
    seed=st.integers(0, 2**32 - 1),
)
def test_on_policy_all_but_the_direct_method_average_the_rewards(
    rewards: list[float], seed: int
) -> None:
    """w = 1 everywhere, and q whose policy value equals its value at the chosen action."""
    r = np.array(rewards)
    w, q = np.ones(len(r)), stream(seed, "q").random(len(r))

    values = [
        each.value
        for each in (
            ips(w, r),
            loss_form_ips(w, r),
            clipped_ips(w, r, limit=1.0),
            snips(w, r),
            dr(w, r, q, q),
            sndr(w, r, q, q),
            switch_dr(w, r, q, q, tau=1.0),
            dr_os(w, r, q, q, lam=float("inf")),
            replay(w > 0, r),
        )
    ]

    np.testing.assert_allclose(values, r.mean(), atol=1e-12)


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(2, 60))
def test_limits_of_the_parameters(seed: int, n: int) -> None:
    rng = stream(seed, "limits")
    w, r, q, qe = rng.gamma(1, 1, n), rng.random(n), rng.random(n), rng.random(n)
    inf = float("inf")

    full, model = dr(w, r, q, qe).value, dm(qe).value

    assert switch_dr(w, r, q, qe, tau=inf).value == full
    assert dr_os(w, r, q, qe, lam=inf).value == full
    assert clipped_ips(w, r, limit=inf).value == ips(w, r).value
    assert dr_os(w, r, q, qe, lam=0.0).value == model
    assert switch_dr(w, r, q, qe, tau=0.0).value == pytest.approx(model)
    np.testing.assert_allclose(
        snips(w, r).rows.std(),
        np.sqrt((w**2 * (r - (w @ r) / w.sum()) ** 2).mean()) / w.mean(),
    )  # the delta method's variance


def test_rewards_of_one_leave_the_ratio_estimators_no_variance() -> None:
    w = stream(1, "ones").gamma(1, 1, 100)

    for terms in (snips(w, np.ones(100)), loss_form_ips(w, np.ones(100))):
        np.testing.assert_allclose(terms.rows, 1.0)


def test_numbers_that_are_not_finite_are_refused() -> None:
    with pytest.raises(DataError, match="rewards of row 1 is nan"):
        ips(np.ones(2), np.array([1.0, np.nan]))
    with pytest.raises(DataError, match="propensity of row 0"):
        importance_weights(np.ones((1, 1)), np.array([0]), np.array([0.0]))
    with pytest.raises(DataError, match="propensity of row 0"):
        importance_weights(np.ones((1, 1)), np.array([0]), np.array([np.nan]))


def test_no_rows_and_no_weight_are_unknown_values() -> None:
    nothing = ips(np.empty(0), np.empty(0))

    assert np.isnan(nothing.value)
    assert normal(nothing.rows).lower == -np.inf
    assert np.isnan(snips(np.zeros(3), np.ones(3)).value)
    assert normal(snips(np.zeros(3), np.ones(3)).rows).upper == np.inf


def _world(
    n: int = 20_000, seed: int = 3, k: int = 5
) -> tuple[LoggedDecisions, FloatArray, FloatArray, FloatArray]:
    """A uniform log over dynamic sets, a good policy, the uniform one, and exact means."""
    rng = stream(seed, "world")
    eligible = rng.random((n, k)) < 0.7
    eligible[:, 0] = True
    mean = rng.uniform(0.2, 0.8, (n, k))
    logging = eligible / eligible.sum(axis=1, keepdims=True)
    best = np.where(eligible, mean, -1).argmax(axis=1)
    target = 0.5 * np.eye(k)[best] + 0.5 * logging
    action = choose(logging, rng.random(n))
    reward = (rng.random(n) < pick(mean, action)).astype(np.float64)
    log = LoggedDecisions(
        eligible=eligible,
        action=action,
        propensity=pick(logging, action),
        reward=reward,
        q=np.clip(mean + rng.normal(0, 0.1, (n, k)), 0, 1),
        logged=logging,
        clusters=rng.integers(0, n // 2, n),
        segments={"half": np.arange(n) % 2},
    )
    return log, target, logging, mean


def test_every_estimator_is_within_four_standard_errors_of_the_truth() -> None:
    log, target, _, mean = _world()
    truth = (target * mean).sum(axis=1).mean()

    for name, terms in terms_of(log, target).items():
        if name != "DM":
            error = terms.rows.std() / np.sqrt(len(terms.rows))
            assert abs(terms.value - truth) < 4 * error, name


def test_a_better_candidate_is_seen_with_a_paired_difference() -> None:
    log, target, logging, mean = _world()
    truth = ((target - logging) * mean).sum(axis=1).mean()

    found = evaluate_pair(log, candidate=target, champion=logging, baselines={"uniform": logging})

    assert found.refusal is None
    assert found.difference.lower < truth < found.difference.upper
    assert found.difference.lower > 0
    paired = found.difference.upper - found.difference.lower
    apart = sum(each.upper - each.lower for each in (found.candidate, found.champion))
    assert paired < apart
    assert {"candidate SNIPS", "champion DR", "difference DRos", "logged", "uniform"} <= set(
        found.estimates
    )
    assert found.checks["worst_segment_loss"] == 0
    assert found.checks["support_violation"] == 0
    assert abs(found.checks["mean_weight_z"]) < 4
    assert abs(found.checks["worst_group_z"]) < found.checks["group_z_limit"] + 1
    churn = np.abs(target - logging).sum(axis=1).mean() / 2
    assert found.checks["churn_tv"] == pytest.approx(churn)
    limits = {"ess_share": (0.05, 1.0), "worst_segment_loss": (-np.inf, 0.005)}
    assert judge(found, GateRule(limits=limits)).promoted


def test_a_policy_against_itself_differs_by_nothing() -> None:
    log, target, _, _ = _world(2_000)

    found = evaluate_pair(log, candidate=target, champion=target)

    assert (found.difference.lower, found.difference.value, found.difference.upper) == (0, 0, 0)
    assert found.checks["churn_tv"] == 0


def test_too_few_rows_and_missing_support_and_wrong_propensities_are_refused() -> None:
    log, target, logging, _ = _world(2_000)
    few = LoggedDecisions(
        eligible=log.eligible[:50],
        action=log.action[:50],
        propensity=log.propensity[:50],
        reward=log.reward[:50],
    )
    wrong = LoggedDecisions(
        eligible=log.eligible,
        action=log.action,
        propensity=log.propensity / 2,
        reward=log.reward,
    )
    outside = np.where(log.eligible, 0.0, 1.0)
    outside[log.eligible.all(axis=1)] = logging[log.eligible.all(axis=1)]
    outside /= outside.sum(axis=1, keepdims=True)

    cases = {
        "effective sample size": (few, target[:50], logging[:50]),
        "mean weight": (wrong, target, logging),
        "mass lies on actions": (log, outside, logging),
    }

    for reason, (data, candidate, champion) in cases.items():
        found = evaluate_pair(data, candidate=candidate, champion=champion)
        assert found.refusal is not None
        assert "unsupported" in found.refusal
        assert reason in found.refusal
        assert found.too_few == (reason == "effective sample size")
        assert found.difference.lower == -np.inf
        assert judge(found, GateRule(margin=-1)).outcome == "hold"


def test_an_empty_log_is_refused() -> None:
    log = LoggedDecisions(
        eligible=np.ones((0, 3), dtype=np.bool_),
        action=np.empty(0, dtype=np.int64),
        propensity=np.empty(0),
        reward=np.empty(0),
    )

    found = evaluate_pair(log, candidate=np.empty((0, 3)), champion=np.empty((0, 3)))

    assert found.refusal is not None


def test_one_eligible_action_leaves_nothing_to_gain() -> None:
    n = 500
    eligible = np.zeros((n, 3), dtype=np.bool_)
    eligible[:, 1] = True
    certain = eligible.astype(np.float64)
    log = LoggedDecisions(
        eligible=eligible,
        action=np.ones(n, dtype=np.int64),
        propensity=np.ones(n),
        reward=np.ones(n),
        q=np.full((n, 3), 0.5),
    )

    found = evaluate_pair(log, candidate=certain, champion=certain)

    assert found.refusal is None
    assert found.candidate.value == 1
    assert found.difference.value == 0


def test_unresolved_rows_are_not_read() -> None:
    log, target, logging, _ = _world(5_000)
    known = stream(5, "known").random(5_000) < 0.8
    late = LoggedDecisions(
        eligible=log.eligible,
        action=log.action,
        propensity=log.propensity,
        reward=np.where(known, log.reward, np.nan),
        q=log.q,
        delay_factor=np.where(known, 1 / 0.8, 0.0),
    )

    found = evaluate_pair(late, candidate=target, champion=logging)
    whole = evaluate_pair(log, candidate=target, champion=logging)

    assert found.refusal is None
    assert found.checks["unresolved_share"] == pytest.approx(1 - known.mean())
    width = found.candidate.upper - found.candidate.lower
    assert abs(found.candidate.value - whole.candidate.value) < width


def test_probabilities_that_are_none_are_refused() -> None:
    log, target, logging, _ = _world(500)

    with pytest.raises(DataError, match="sum to"):
        evaluate_pair(log, candidate=target * 2, champion=logging)
    with pytest.raises(DataError, match=r"probabilities has shape \(10, 5\), wanted \(500, 5\)"):
        evaluate_pair(log, candidate=target[:10], champion=logging)


def test_a_segment_that_surely_loses_is_found() -> None:
    labels = np.repeat(["a", "b"], 1_000)
    difference = np.where(labels == "b", -0.1, 0.1) + stream(6, "n").normal(0, 0.1, 2_000)

    found = worst_segment_loss(difference, {"side": labels})

    assert found == pytest.approx(-difference[labels == "b"].mean())
    assert worst_segment_loss(difference[:50], {"side": labels[:50]}) == 0


def test_a_significant_loss_counts_as_large_as_it_is() -> None:
    """0.7 pp lost, significantly, though only 0.1 pp of it surely; and 0.7 pp by chance."""
    noise = stream(7, "n").normal(0, 0.1, 2_000)
    noise -= noise.mean()

    def lost(scale: float) -> float:
        return worst_segment_loss(scale * noise - 0.007, {"all": np.zeros(2_000)})

    assert lost(1.0) == pytest.approx(0.007)
    assert lost(2.0) == 0


def _payments(
    n: int, failures: float, seed: int
) -> tuple[LoggedDecisions, FloatArray, FloatArray]:
    """Uniform logs of payments of which a share fails, and two policies that differ."""
    rng = stream(seed, "payments")
    k = 6
    logging = np.full((n, k), 1 / k)
    action = choose(logging, rng.random(n))
    log = LoggedDecisions(
        eligible=np.ones((n, k), dtype=np.bool_),
        action=action,
        propensity=pick(logging, action),
        reward=(rng.random(n) >= failures).astype(np.float64),
        q=np.full((n, k), 1 - failures),
        logged=logging,
        clusters=rng.integers(0, n // 2, n),
    )
    return log, 0.6 * np.eye(k)[rng.integers(0, k, n)] + 0.4 * logging, logging


@pytest.mark.parametrize("model", [True, False])
@pytest.mark.parametrize("seed", range(5))
def test_a_holdout_without_a_failure_promotes_nobody(*, seed: int, model: bool) -> None:
    log, candidate, champion = _payments(400, 0.0, seed)
    log = log if model else replace(log, q=None)
    nearer = 0.9 * champion + 0.1 * candidate

    for new in (candidate, nearer):
        found = evaluate_pair(log, candidate=new, champion=champion)

        assert found.refusal is None
        assert found.difference.upper - found.difference.lower > 0.002
        assert judge(found, GateRule(margin=-0.001)).outcome == "hold"


def test_intervals_cover_where_failures_are_rare() -> None:
    """110 of 5500 fail, of which the candidate's action got three: the floor ended at 100."""
    n, k, logs, missed, truth = 5_500, 4, 150, 0, 0.98
    logging, candidate = np.tile([0.03, 0.27, 0.3, 0.4], (n, 1)), np.tile(np.eye(k)[0], (n, 1))
    for seed in range(logs):
        rng = stream(seed, "rare failures")
        action = choose(logging, rng.random(n))
        log = LoggedDecisions(
            eligible=np.ones((n, k), dtype=np.bool_),
            action=action,
            propensity=pick(logging, action),
            reward=(rng.random(n) < truth).astype(np.float64),
            q=np.full((n, k), truth),
            logged=logging,
        )
        found = evaluate_pair(log, candidate=candidate, champion=logging, tau=10.0, lam=10.0)
        missed += not found.candidate.lower <= truth <= found.candidate.upper

    assert missed / logs <= 0.05 + 4 * (0.05 * 0.95 / logs) ** 0.5


@pytest.mark.parametrize(("action", "reason"), [(-1, "is none"), (5, "is none")])
def test_an_action_that_is_none_is_refused(action: int, reason: str) -> None:
    log, target, _, _ = _world(500)
    actions = log.action.copy()
    actions[7] = action

    with pytest.raises(DataError, match=rf"action {action} of row 7 {reason} of 0 to 4 \(1 such"):
        weights_of(replace(log, action=actions), target)


def test_an_action_that_was_not_eligible_is_refused() -> None:
    log, target, _, _ = _world(500)
    eligible = log.eligible.copy()
    eligible[7, log.action[7]] = False

    with pytest.raises(DataError, match="of row 7 was not eligible"):
        weights_of(replace(log, eligible=eligible), target)


def test_a_group_with_wrong_propensities_is_refused_by_name() -> None:
    """One of a hundred merchants logged propensities 1.5 times too small: unseen overall."""
    log, target, logging, _ = _world(60_000)
    merchant = np.arange(60_000) % 100
    several = log.eligible.sum(axis=1) > 1
    wrong = np.where((merchant < 1) & several, log.propensity / 1.5, log.propensity)
    champion = 0.5 * (target + logging)
    sound = replace(log, groups={"merchant": merchant})
    broken = replace(sound, propensity=wrong)

    assert evaluate_pair(sound, candidate=target, champion=champion).refusal is None
    found = evaluate_pair(broken, candidate=target, champion=champion)

    assert "one group by merchant" in str(found.refusal)
    assert abs(found.checks["worst_group_z"]) > found.checks["group_z_limit"]


def test_small_groups_of_sound_logs_are_rarely_refused() -> None:
    """A certain target over 12 actions, 300 groups of 30 rows: the limit allows 0.25 % of logs."""
    n, k, logs = 9_000, 12, 60
    rng, logging = stream(8, "groups"), np.full((9_000, 12), 1 / 12)
    labels, eligible = np.arange(n) // 30, np.ones((n, k), dtype=np.bool_)
    refused = 0
    for _ in range(logs):
        hit = rng.random(n) < 1 / k
        target = np.tile(np.eye(k)[0], (n, 1))
        found = support(
            np.where(hit, 12.0, 0.0),
            target,
            propensity=logging[:, 0],
            eligible=eligible,
            logged=logging,
            groups={"card": labels},
        )
        refused += abs(found.worst_group_z) > found.group_z_limit(0.005)

    assert refused / logs < 0.0027 + 4 * np.sqrt(0.0027 / logs)


def test_shrinkage_is_tuned_on_the_candidate_unless_given() -> None:
    log, target, logging, _ = _world(4_000)

    tuned = evaluate_pair(log, candidate=target, champion=logging).estimates
    given = evaluate_pair(log, candidate=target, champion=logging, tau=5.0, lam=50.0).estimates

    new, old = (tuned[f"{policy} DRos"].method for policy in ("candidate", "champion"))
    assert new == old
    terms = terms_of(log, target, tau=5.0, lam=50.0)
    chosen = tune(lambda lam: terms_of(log, target, lam=lam)["DRos"])
    assert new.startswith(f"DRos({chosen.parameter:g})")
    for name in ("Switch-DR", "DRos"):
        assert given[f"candidate {name}"].method.startswith(terms[name].method)
        assert given[f"candidate {name}"].value == pytest.approx(terms[name].value)


def test_mrdr_fits_its_model_with_its_weights_and_finds_the_truth() -> None:
    log, target, _, mean = _world()
    truth = (target * mean).sum(axis=1).mean()
    half = np.arange(len(log.action)) % 2
    seen: list[FloatArray] = []

    def fit(weights: FloatArray) -> FloatArray:
        """Weighted mean reward of each action in the other half."""
        seen.append(weights)
        q = np.empty(log.eligible.shape)
        for side in (0, 1):
            w, rows = np.where(half == side, 0.0, weights), half == side
            total = np.bincount(log.action, weights=w, minlength=5)
            q[rows] = np.bincount(log.action, weights=w * log.reward, minlength=5) / total
        return q

    found = mrdr(log, target, fit)

    np.testing.assert_array_equal(seen[0], mrdr_weights(pick(target, log.action), log.propensity))
    assert found.method == "MRDR"
    assert abs(found.value - truth) < 4 * found.rows.std() / np.sqrt(len(found.rows))
