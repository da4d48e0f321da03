"""Diagnostics of weights, and the refusals they lead to."""

import numpy as np
import pytest

from decisions.bandits.support import (
    SupportRule,
    group_means_z,
    kish,
    mean_weight_z,
    refusal,
    support,
)
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
    # Mean 4/3, variance 1/3, third central moment 2/27: (1/3 + 1/81 + 2/81) / (1/3).
    assert mean_weight_z(w) == pytest.approx(10 / 9)
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


def test_sound_logs_with_heavy_weights_raise_few_false_alarms() -> None:
    """|z| > 3 in at most 0.27 % of 3000 sound logs, plus four standard errors."""
    rng = stream(3, "weights")
    logs, rows = 3000, 2000
    alarms = 0
    for _ in range(logs):
        propensity = np.clip(rng.beta(0.6, 1.2, rows), 0.02, 1.0)
        weights = np.where(rng.random(rows) < propensity, 1 / propensity, 0.0)
        alarms += abs(mean_weight_z(weights)) > 3

    assert alarms / logs < 0.0027 + 4 * np.sqrt(0.0027 / logs)
