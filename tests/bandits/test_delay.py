"""Late outcomes: maturity, delay curves, inverse probability of censoring, and its own check."""

import numpy as np
import pytest

from decisions.bandits.delay import (
    by_outcome,
    censoring_factor,
    checked,
    fit_curves,
    kaplan_meier,
    matured,
    rates,
    unresolved_share,
    weighted_rate,
)
from decisions.errors import DataError
from decisions.policy import BoolArray, FloatArray
from decisions.seeds import stream


def test_kaplan_meier_by_hand() -> None:
    """Events at 1 and 3, censored at 2: survival 3/4 after 1, then 3/4 * 1/2 after 3."""
    curve = kaplan_meier(np.array([1.0, 2.0, 3.0, 4.0]), np.array([True, False, True, False]))

    np.testing.assert_allclose(curve.times, [1.0, 3.0])
    np.testing.assert_allclose(curve.known, [0.25, 0.625])
    np.testing.assert_allclose(curve.at(np.array([0.5, 1.0, 2.9, 3.0])), [0, 0.25, 0.25, 0.625])


def test_without_censoring_it_is_the_share_known() -> None:
    delay = stream(1, "km").exponential(size=500)

    curve = kaplan_meier(delay, np.ones(500, dtype=np.bool_))

    at = np.array([0.1, 0.7, 2.0])
    np.testing.assert_allclose(curve.at(at), [(delay <= t).mean() for t in at])


def test_delays_that_are_no_delays_are_refused() -> None:
    with pytest.raises(DataError, match="delays range from"):
        kaplan_meier(np.array([-1.0, 2.0]), np.array([True, True]))


def test_maturity_and_unresolved_shares() -> None:
    np.testing.assert_array_equal(matured(np.array([0.5, 1.0]), maturity=1.0), [False, True])
    assert unresolved_share(
        np.array([True, False, True, True]), np.array(["a", "a", "b", "b"])
    ) == {"a": 0.5, "b": 0.0}


def test_factor_is_the_inverse_of_the_curve_and_zero_for_the_unresolved() -> None:
    everything = np.ones(4, dtype=np.bool_)
    curves = fit_curves(np.array([1.0, 3.0, 1.0, 1.0]), everything, np.array(["x", "x", "y", "y"]))

    factor = censoring_factor(
        np.array([2.0, 2.0, 2.0, 0.5]),
        np.array([True, False, True, True]),
        curves,
        np.array(["x", "x", "y", "new"]),
    )

    np.testing.assert_allclose(factor, [2.0, 0.0, 1.0, 1.0])


def _day(seed: int, n: int = 60_000) -> tuple[FloatArray, FloatArray, FloatArray, BoolArray]:
    """Rewards, delays, ages and async flags: 30 % late, rewarded ones twice as late."""
    rng = stream(seed, "delays")
    reward = (rng.random(n) < 0.9).astype(np.float64)
    late = rng.random(n) < 0.3
    delay = np.where(late, rng.exponential(size=n) * 0.5 * (1 + reward), 0.0)
    return reward, delay, rng.random(n), late


def test_blind_curves_are_worse_than_none_and_the_check_says_so() -> None:
    reward, delay, _, late = _day(1)
    everything = np.ones(len(reward), dtype=np.bool_)
    blind = fit_curves(delay, everything, late)
    outcome = fit_curves(delay, everything, by_outcome(late, reward))
    reward, delay, age, late = _day(2)
    resolved = delay <= age

    found = rates(
        age,
        resolved,
        np.where(resolved, reward, np.nan),
        strata=late,
        blind=blind,
        outcome=outcome,
    )
    corrections = checked(found, reward.mean(), tolerance=0.005)

    assert corrections["by outcome"].sound
    assert not corrections["outcome-blind"].sound
    assert not corrections["missing is zero"].sound
    assert abs(corrections["outcome-blind"].bias) > abs(corrections["naive"].bias)


def test_everything_known_needs_no_correction() -> None:
    reward = np.array([1.0, 0.0, 1.0])

    assert weighted_rate(np.ones(3), reward) == pytest.approx(2 / 3)
    assert weighted_rate(np.array([1.0, 1.0, 0.0]), np.array([1.0, 0.0, np.nan])) == 0.5


def test_curves_by_outcome_want_every_outcome() -> None:
    """Censored rows are not declined ones."""
    time, strata = np.array([1.0, 2.0, 0.5]), np.array(["x", "x", "x"])
    resolved = np.array([True, True, False])
    reward = np.array([1.0, 0.0, np.nan])

    with pytest.raises(DataError, match="1 of 3 rewards are unknown"):
        fit_curves(time, resolved, strata, reward=reward)
    with pytest.raises(DataError, match="1 of 3 rewards are unknown"):
        fit_curves(time, resolved, by_outcome(strata, reward))
    curves = fit_curves(time[:2], resolved[:2], strata[:2], reward=reward[:2])
    assert set(curves.strata) == {"x/rewarded", "x/not"}
