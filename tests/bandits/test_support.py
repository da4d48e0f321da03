"""Diagnostics of weights, and the refusals they lead to."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from decisions.bandits.support import (
    NullMoments,
    SupportRule,
    group_means_z,
    kish,
    mean_weight_z,
    null_moments,
    refusal,
    support,
)
from decisions.domains.open_bandit.loader import CAMPAIGNS
from decisions.domains.open_bandit.reference import slice_of
from decisions.policy import FloatArray, choose, pick
from decisions.seeds import stream


def _weights(target: FloatArray, logging: FloatArray, seed: int) -> tuple[FloatArray, FloatArray]:
    action = choose(logging, stream(seed, "support").random(len(logging)))
    propensity = pick(logging, action)
    return pick(target, action) / propensity, propensity


def test_kish_and_z_by_hand() -> None:
    w = np.array([1.0, 1.0, 2.0])

    assert kish(w) == pytest.approx(16 / 6)
    assert kish(np.zeros(3)) == 0
    assert mean_weight_z(w) == pytest.approx(1)  # mean 4/3, variance 1/3
    assert mean_weight_z(np.ones(5)) == 0
    assert mean_weight_z(np.full(5, 2.0)) == np.inf
    assert np.isnan(mean_weight_z(np.ones(1)))


def test_group_means_skip_small_groups() -> None:
    w = np.concatenate([np.full(40, 2.0), np.ones(40), np.full(3, 9.0)])

    z = group_means_z(w, np.repeat(["a", "b", "c"], [40, 40, 3]))

    np.testing.assert_array_equal(z, [np.inf, 0.0])


def test_a_sound_log_passes() -> None:
    n = 5_000
    logging = np.tile([0.6, 0.3, 0.1], (n, 1))
    target = np.tile([0.2, 0.3, 0.5], (n, 1))
    w, propensity = _weights(target, logging, 1)

    found = support(
        w,
        target,
        propensity=propensity,
        eligible=np.ones((n, 3), dtype=np.bool_),
        logged=logging,
        groups={"merchant": np.arange(n) % 7},
    )

    assert refusal(found) is None
    assert found.violation == 0
    assert found.rare_mass == 0
    assert found.max_weight == pytest.approx(5.0)
    assert found.effective_n == pytest.approx(n / (0.04 / 0.6 + 0.3 + 2.5), rel=0.1)
    assert set(found.group_z) == {"merchant", "eligible actions"}
    assert found.groups == 8
    assert 3 < found.group_z_limit() < 4


def test_a_wrong_propensity_in_one_group_is_found_there() -> None:
    n = 20_000
    logging = np.full((n, 2), 0.5)
    target = np.tile([0.8, 0.2], (n, 1))
    w, propensity = _weights(target, logging, 2)
    labels = np.arange(n) % 20
    w = np.where(labels == 3, 1.3 * w, w)

    found = support(
        w,
        target,
        propensity=propensity,
        eligible=np.ones((n, 2), dtype=np.bool_),
        groups={"issuer": labels},
    )

    assert found.worst_group_z > found.group_z_limit()


def test_each_refusal_names_its_reason() -> None:
    n = 1_000
    logging, eligible = np.tile([1.0, 0.0], (n, 1)), np.ones((n, 2), dtype=np.bool_)
    ones = np.ones(n)
    split = np.tile([0.9, 0.1], (n, 1))

    missing = support(0.9 * ones, split, propensity=ones, eligible=eligible, logged=logging)
    wrong = support(0.9 * ones, split, propensity=ones, eligible=eligible)
    few = support(ones[:50], split[:50], propensity=ones[:50], eligible=eligible[:50])

    assert missing.violation == pytest.approx(0.1)
    assert "could not be logged" in str(refusal(missing))
    assert "standard errors from one" in str(refusal(wrong))
    assert "effective sample size 50.0 of 50" in str(refusal(few))
    assert refusal(few, SupportRule(effective_n=10)) is None


def test_one_huge_weight_is_refused_by_its_effective_size() -> None:
    """As in the women/bts sample: mean weight 3, yet only two standard errors from one."""
    w = np.ones(10_000)
    w[0] = 21_739.0
    shape = (10_000, 2)

    found = support(
        w,
        np.full(shape, 0.5),
        propensity=np.full(10_000, 0.5),
        eligible=np.ones(shape, dtype=np.bool_),
    )

    assert abs(found.mean_weight_z) < 3
    assert "effective sample size 2" in str(refusal(found))


def test_an_empty_log_is_refused() -> None:
    nothing = support(
        np.empty(0),
        np.empty((0, 2)),
        propensity=np.empty(0),
        eligible=np.empty((0, 2), dtype=np.bool_),
    )

    assert refusal(nothing) is not None


def test_rare_mass_by_weighting_agrees_with_the_exact_one() -> None:
    n = 400_000
    logging = np.tile([0.9995, 0.0005], (n, 1))
    target = np.tile([0.9, 0.1], (n, 1))
    w, propensity = _weights(target, logging, 3)
    eligible = np.ones((n, 2), dtype=np.bool_)

    exact = support(w, target, propensity=propensity, eligible=eligible, logged=logging)
    weighted = support(w, target, propensity=propensity, eligible=eligible)

    assert exact.rare_mass == pytest.approx(0.1)
    error = np.sqrt(0.1**2 / 0.0005 / n)
    assert weighted.rare_mass == pytest.approx(0.1, abs=4 * error)


LOGS, ROWS = 3_000, 2_000


def _certain_target(seed: int, *, lost: float = 0.0) -> tuple[FloatArray, FloatArray]:
    """Exact and plain z of many logs: weight 1/p with probability p, a share `lost` of them 0."""
    rng = stream(seed, "weights")
    exact, plain = np.empty(LOGS), np.empty(LOGS)
    for i in range(LOGS):
        p = np.clip(rng.beta(0.6, 1.2, ROWS), 0.02, 1.0)
        kept = (rng.random(ROWS) < p) & (rng.random(ROWS) >= lost)
        weights = np.where(kept, 1 / p, 0.0)
        null = null_moments(
            np.tile([1.0, 0.0], (ROWS, 1)),
            np.column_stack([p, 1 - p]),
            np.ones((ROWS, 2), dtype=np.bool_),
        )
        exact[i], plain[i] = mean_weight_z(weights, null), mean_weight_z(weights)
    return exact, plain


def test_sound_logs_with_heavy_weights_raise_few_false_alarms() -> None:
    """|z| > 3 in at most 0.27 % of sound logs, plus four standard errors.

    Of the plain statistic the Edgeworth expansion allows more: 6 phi(3) (16/3 g^2 - k/2 + 3) / n,
    with g and k the weights' skewness and excess kurtosis (Hall 1992, section 2.6).
    """
    exact, plain = _certain_target(3)
    p = np.clip(stream(4, "weights").beta(0.6, 1.2, 400_000), 0.02, 1.0)
    moments = [float((p * (1 / p - 1) ** m + (1 - p) * (-1.0) ** m).mean()) for m in (2, 3, 4)]
    g2, k = moments[1] ** 2 / moments[0] ** 3, moments[2] / moments[0] ** 2 - 3
    excess = 6 * 0.004432 * (16 / 3 * g2 - k / 2 + 3) / ROWS
    error = 4 * np.sqrt(0.0027 / LOGS)

    assert (np.abs(exact) > 3).mean() < 0.0027 + error
    assert (np.abs(plain) > 3).mean() < 0.0027 + excess + error


def test_lost_mass_is_detected_although_the_weights_are_skewed() -> None:
    exact, plain = _certain_target(5, lost=0.3)

    assert (exact < -3).mean() > 0.8
    assert (plain < -3).mean() > 0.8


@given(low=st.floats(-20, 20), step=st.floats(0, 20), skewness=st.floats(0.001, 3))
def test_the_skewed_statistic_never_falls_as_the_mean_rises(
    low: float, step: float, skewness: float
) -> None:
    null = NullMoments(variance=np.full(100, 4.0), third=np.full(100, skewness * 80.0))

    first, second = (mean_weight_z(np.full(100, 1 + 0.2 * z), null) for z in (low, low + step))

    assert first <= second


def test_a_policy_equal_to_the_logging_one_has_no_distance() -> None:
    same = np.full((400, 6), 1 / 6)
    null = null_moments(same, same, np.ones((400, 6), dtype=np.bool_))

    assert mean_weight_z(np.ones(400), null) == 0
    assert mean_weight_z(np.full(400, 1 + 1e-3), null) == np.inf


def test_groups_use_the_exact_variance_as_well() -> None:
    """Thirty rows, each with weight 24 in one of 24 draws: none drawn is no alarm."""
    n = 30
    logging, target = np.full((n, 24), 1 / 24), np.tile(np.eye(24)[0], (n, 1))
    null = null_moments(target, logging, np.ones((n, 24), dtype=np.bool_))

    np.testing.assert_allclose(null.variance, 23.0)
    np.testing.assert_allclose(null.third, 24**2 - 3 * 24 + 2)
    labels = np.zeros(n)
    assert group_means_z(np.zeros(n), labels)[0] == -np.inf
    assert -3 < group_means_z(np.zeros(n), labels, null=null)[0] < -1


@pytest.mark.parametrize("campaign", ["all", "men"])
def test_real_propensities_half_as_large_again_are_refused(campaign: str) -> None:
    rows = slice_of(campaign, "bts")
    k = CAMPAIGNS[campaign]
    propensity = rows["propensity"].to_numpy()
    uniform = np.full((rows.height, k), 1 / k)
    eligible = np.ones(uniform.shape, dtype=np.bool_)

    def judged(factor: float) -> str | None:
        p = factor * propensity
        return refusal(support(1 / k / p, uniform, propensity=p, eligible=eligible))

    assert judged(1.0) is None
    assert "standard errors from one" in str(judged(1.5))
