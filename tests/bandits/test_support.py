"""Diagnostics of weights, and the refusals they lead to."""

from functools import partial

import numpy as np
import pytest

from decisions.bandits.mean_weights import limit
from decisions.bandits.support import SupportRule, kish, refusal, support
from decisions.domains.open_bandit.loader import CAMPAIGNS
from decisions.domains.open_bandit.reference import slice_of
from decisions.policy import FloatArray, choose, pick
from decisions.seeds import stream


def _weights(target: FloatArray, logging: FloatArray, seed: int) -> tuple[FloatArray, FloatArray]:
    action = choose(logging, stream(seed, "support").random(len(logging)))
    propensity = pick(logging, action)
    return pick(target, action) / propensity, propensity


def test_kish_by_hand() -> None:
    assert kish(np.array([1.0, 1.0, 2.0])) == pytest.approx(16 / 6)
    assert kish(np.zeros(3)) == 0


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
    assert found.mean_weight_limit(0.005) == limit(0.0025)
    assert found.group_z_limit(0.005) == limit(0.0025, tests=8)


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

    assert found.worst_group_z > found.group_z_limit(0.005)


def test_without_probabilities_groups_of_few_clusters_refuse_no_sound_log() -> None:
    n = 6_000  # 75 groups of 40 clusters of two rows each
    card = np.repeat(np.arange(n // 2), 2)
    target = np.full((n, 2), 0.5)

    for seed in range(5):
        w, propensity = _weights(target, np.tile([0.02, 0.98], (n, 1)), seed)
        sound = support(
            w,
            target,
            propensity=propensity,
            eligible=np.ones((n, 2), dtype=np.bool_),
            groups={"issuer": card % 75},
            clusters=card,
        )
        assert refusal(sound) is None
        assert "issuer" not in sound.group_z


def test_a_refusal_promises_no_error_where_probabilities_were_not_kept() -> None:
    n = 2_000
    split, eligible = np.full((n, 2), 0.5), np.ones((n, 2), dtype=np.bool_)
    w, propensity = _weights(split, np.tile([0.4, 0.6], (n, 1)), 5)

    words = str(refusal(support(1.5 * w, split, propensity=propensity, eligible=eligible)))

    assert "standard errors from what" in words
    assert "%" not in words
    assert "judge later rows" in words


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
    assert "standard errors from what" in str(refusal(wrong))
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


def test_a_refusal_does_not_accuse_and_says_what_to_do() -> None:
    n = 20_000
    logging, target = np.full((n, 2), 0.5), np.tile([0.8, 0.2], (n, 1))
    w, propensity = _weights(target, logging, 4)
    issuer = {"issuer": np.arange(n) % 100}
    judged = partial(
        support,
        probabilities=target,
        propensity=propensity,
        eligible=np.ones((n, 2), dtype=np.bool_),
        logged=logging,
        groups=issuer,
    )

    everywhere = judged(1.1 * w)
    somewhere = judged(np.where(issuer["issuer"] == 3, 1.6 - w, w))

    assert refusal(judged(w)) is None
    for found, where in ((everywhere, "all rows"), (somewhere, "one group by issuer (of 101 ")):
        words = str(refusal(found))
        assert where in words
        assert "chance alone does so in at most 0.50% of evaluations" in words
        assert "judge later rows" in words
        assert "wrongly" not in words


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
    assert "standard errors from what" in str(judged(1.5))
