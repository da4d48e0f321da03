"""Schedules for gamma."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from decisions.bandits import gamma
from decisions.bandits.exploration import fast_cb, inverse_gap_weighting, uniform
from decisions.bandits.linear import fit_ridge
from decisions.bandits.oracles import ConstantOracle, fit_lightgbm
from decisions.bandits.training_set import TrainingSet
from decisions.errors import DataError
from decisions.policy import normalised_entropy
from tests.bandits.logs import uniform_logs


def test_the_power_schedules_defaults_are_vowpal_wabbits() -> None:
    assert gamma.power(601) == pytest.approx(245.153, abs=5e-4)
    assert gamma.power(64, scale=2, exponent=1 / 3) == pytest.approx(8)


def test_theory_values_follow_their_formulas() -> None:
    assert gamma.square_cb_theory(actions=8, rounds=1000, regret=20, delta=0.1) == pytest.approx(
        (8000 / (20 + np.log(20))) ** 0.5
    )
    assert gamma.fast_cb_theory(actions=4, best_loss=6e5, regret=2) == pytest.approx(4e5**0.5)
    assert gamma.fast_cb_theory(actions=4, best_loss=60, regret=2) == 40


def test_the_calibrated_schedule_grows_as_the_error_falls() -> None:
    assert gamma.calibrated(mean_actions=8, excess=0.008) == pytest.approx(1000**0.5)
    assert gamma.calibrated(mean_actions=8, excess=0.002, scale=0.5) == pytest.approx(1000**0.5)


@pytest.mark.parametrize("fit", [fit_ridge, fit_lightgbm])
def test_two_halves_estimate_the_error_of_a_model_of_half_the_rows(fit: object) -> None:
    """On uniform logs variance dominates: within a factor of two of the true excess error."""
    logs = uniform_logs(8000)
    bound = partial(fit, features=logs.features)  # type: ignore[arg-type]
    half = bound(logs.data.take(np.arange(0, 8000, 2)), np.random.default_rng(0))
    scores = half.predict(logs.data.context, logs.eligible)
    truth = float(((scores - logs.success)[logs.eligible] ** 2).mean())

    estimate = gamma.excess_squared_error(
        bound,
        logs.data,
        np.random.default_rng(1),
        context=logs.data.context,
        eligible=logs.eligible,
    )

    assert truth / 2 < estimate < truth * 2


def test_the_excess_error_has_a_floor_and_an_inflation() -> None:
    logs = uniform_logs(100)

    def mean_of(data: TrainingSet, rng: np.random.Generator) -> ConstantOracle:
        del rng
        return ConstantOracle(value=float(data.reward.mean()), reason="")

    estimate = partial(
        gamma.excess_squared_error,
        mean_of,
        logs.data,
        context=logs.data.context,
        eligible=logs.eligible,
    )

    plain = estimate(np.random.default_rng(3), floor=0.0)
    assert estimate(np.random.default_rng(3), floor=0.0, inflation=3) == pytest.approx(3 * plain)
    assert estimate(np.random.default_rng(3), floor=0.5) == 0.5
    with pytest.raises(DataError, match="halved"):
        gamma.excess_squared_error(
            mean_of,
            logs.data.take(np.arange(1)),
            np.random.default_rng(3),
            context=logs.data.context,
            eligible=logs.eligible,
        )


def test_normalised_entropy_is_one_for_uniform_and_ignores_rows_without_a_choice() -> None:
    mask = np.array([[True, True, True], [True, False, False]])

    assert normalised_entropy(uniform(mask), mask) == pytest.approx(1)
    certain = np.array([[1.0, 0, 0], [1, 0, 0]])
    assert normalised_entropy(certain, mask) == 0


def test_normalised_entropy_without_any_choice_is_one() -> None:
    alone = np.array([[True, False]])

    assert normalised_entropy(alone.astype(np.float64), alone) == 1


@given(minimum=st.floats(0.1, 0.99))
def test_the_constrained_gamma_keeps_the_entropy_and_is_the_largest(minimum: float) -> None:
    logs = uniform_logs(50)
    for rule in (inverse_gap_weighting, fast_cb):
        found = gamma.largest_with_entropy(logs.success, logs.eligible, minimum=minimum, rule=rule)

        at, beyond = (
            normalised_entropy(rule(logs.success, logs.eligible, gamma=value), logs.eligible)
            for value in (found, found * 1.001 + 1e-6)
        )
        assert at >= minimum > beyond


def test_equal_scores_bear_any_gamma() -> None:
    mask = np.ones((5, 4), dtype=bool)

    assert gamma.largest_with_entropy(np.full((5, 4), 0.9), mask, minimum=0.99) == 1e6


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_an_impossible_constant_is_refused(value: float) -> None:
    with pytest.raises(DataError, match="gamma"):
        gamma.constant(value)
