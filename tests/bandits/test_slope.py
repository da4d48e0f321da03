"""SLOPE: walks towards lower variance until the intervals no longer meet."""

import numpy as np
import pytest

from decisions.bandits.estimators import clipped_ips, ips
from decisions.bandits.slope import GRID, lepski, tune
from decisions.errors import DataError
from decisions.seeds import stream


def test_walk_by_hand() -> None:
    """Intervals [0, 4], [1, 3], [2.5, 3.5] meet; [4, 4.4] does not meet [2.5, 3]."""
    assert lepski([2.0, 2.0, 3.0, 4.2], [1.0, 0.5, 0.25, 0.1]) == 2
    assert lepski([2.0, 2.0, 3.0], [1.0, 0.5, 0.25]) == 2
    assert lepski([2.0, 9.0], [0.1, 0.1]) == 0
    with pytest.raises(DataError, match="wanted one each"):
        lepski([], [])


def test_unbiased_candidates_lead_to_the_lowest_variance() -> None:
    rewards = stream(1, "slope").random(1_000)

    chosen = tune(lambda limit: clipped_ips(np.ones(1_000), rewards, limit=limit))

    assert chosen.parameter == GRID[-1]


def test_strong_bias_is_avoided() -> None:
    """Weights of 4 on a quarter of the rows: clipping at one would lose three quarters."""
    rng = stream(2, "slope")
    weights = np.where(rng.random(50_000) < 0.25, 4.0, 0.0)

    chosen = tune(lambda limit: clipped_ips(weights, np.ones(50_000), limit=limit))

    assert chosen.parameter > 1
    assert chosen.terms.value == pytest.approx(1.0, abs=4 * np.sqrt(3 / 50_000))


def test_tuned_error_is_not_far_from_the_best_of_the_grid() -> None:
    """Heavy weights with E w = 1: root mean squared errors over 100 logs of 500 rows."""
    errors: list[list[float]] = []
    for i in range(100):
        rng = stream(3, f"log {i}")
        weights = np.where(rng.random(500) < 0.995, 0.5 / 0.995, 0.5 / 0.005)
        rewards = (rng.random(500) < 0.8).astype(np.float64)
        tuned = tune(lambda limit, w=weights, r=rewards: clipped_ips(w, r, limit=limit))
        grid = [clipped_ips(weights, rewards, limit=limit).value for limit in GRID]
        errors.append([tuned.terms.value - 0.8, *(value - 0.8 for value in grid)])

    rmse = np.sqrt((np.array(errors) ** 2).mean(axis=0))

    assert rmse[0] < 3 * rmse[1:].min()


def test_empirical_bernstein_widths_need_a_range() -> None:
    rewards = stream(4, "slope").random(400)

    chosen = tune(
        lambda limit: clipped_ips(np.ones(400), rewards, limit=limit),
        grid=(2.0, 1.0),
        width=lambda limit: limit,
    )

    assert chosen.parameter == 1.0
    assert chosen.terms.value == ips(np.ones(400), rewards).value
