"""Aggregates over runs: by hand, by what must not change them, and how often intervals cover."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decisions.errors import DataError
from decisions.policy import FloatArray
from decisions.rl.run_statistics import (
    difference_estimate,
    interquartile_mean,
    interquartile_mean_estimate,
    learning_curve_area,
    normalised_score,
    performance_profile,
    probability_of_improvement,
)
from decisions.seeds import stream

Draw = Callable[[np.random.Generator, tuple[int, ...]], FloatArray]


def normal(rng: np.random.Generator, shape: tuple[int, ...]) -> FloatArray:
    return rng.normal(size=shape)


def skewed(rng: np.random.Generator, shape: tuple[int, ...]) -> FloatArray:
    return -rng.gumbel(size=shape)


def test_the_middle_half_by_hand() -> None:
    eight = np.array([100.0, 1, 2, 3, 4, -50, 90, -60])
    ten = np.arange(10.0) ** 2

    assert interquartile_mean(eight) == pytest.approx((1 + 2 + 3 + 4) / 4)
    assert interquartile_mean(ten) == pytest.approx((4 / 2 + 9 + 16 + 25 + 36 + 49 / 2) / 5)
    assert interquartile_mean(np.array([7.0])) == 7


@given(n=st.integers(1, 30), seed=st.integers(0, 99), outlier=st.floats(1e3, 1e9))
def test_it_moves_and_scales_with_the_scores_and_forgets_the_worst(
    n: int, seed: int, outlier: float
) -> None:
    scores = stream(seed, "interquartile").normal(size=(2, n))

    found = interquartile_mean(scores)

    np.testing.assert_allclose(interquartile_mean(3 * scores - 5), 3 * found - 5, atol=1e-9)
    np.testing.assert_allclose(interquartile_mean(scores[:, ::-1]), found, atol=1e-12)
    if n >= 4:  # the largest of four is left out whole
        worse = np.where(scores == scores.max(axis=1, keepdims=True), outlier, scores)
        np.testing.assert_allclose(interquartile_mean(worse), found, atol=1e-9)


def test_the_normalised_score_is_nought_when_idle_and_one_as_the_reference() -> None:
    idle, reference = np.array([-7538.0, -5653.0]), np.array([-1738.0, -1462.0])

    score = normalised_score(
        np.stack([idle, reference, (idle + reference) / 2]), idle=idle, reference=reference
    )

    np.testing.assert_allclose(score, [[0, 0], [1, 1], [0.5, 0.5]])


@pytest.mark.parametrize(
    ("draw", "shape"),
    [(normal, (10, 4)), (skewed, (10, 4)), (normal, (20, 1)), (skewed, (20, 1)), (normal, (5, 4))],
)
def test_intervals_cover_what_they_claim(draw: Draw, shape: tuple[int, int]) -> None:
    """1,000 sets: the standard error of the share is 0.7 %, the band 93 to 97 % three of them."""
    rng = stream(8, "coverage", draw.__name__, str(shape))
    level = np.arange(shape[1]) / 2  # instances differ
    truth = float(interquartile_mean((draw(rng, (500_000, shape[1])) + level).ravel()))

    found = [interquartile_mean_estimate(draw(rng, shape) + level, rng) for _ in range(1000)]

    covered = np.mean([each.lower <= truth <= each.upper for each in found])
    assert 0.93 <= covered <= 0.97


def test_paired_seeds_narrow_the_interval_of_a_difference() -> None:
    rng = stream(1, "paired")
    luck = rng.normal(size=(10, 2))
    first, second = luck + 0.3 + 0.1 * rng.normal(size=(10, 2)), luck

    paired = difference_estimate(first, second, rng)
    broken = difference_estimate(first, rng.permutation(second), rng)

    assert paired.lower > 0
    assert broken.lower < 0 < broken.upper
    assert paired.value == pytest.approx(
        float(interquartile_mean(first.ravel()) - interquartile_mean(second.ravel()))
    )


def test_a_method_against_itself_differs_by_nought_for_certain() -> None:
    scores = stream(2, "same").normal(size=(6, 3))

    found = difference_estimate(scores, scores, stream(2, "bootstrap"))

    assert (found.value, found.lower, found.upper) == (0, 0, 0)


def test_the_probability_of_improvement_by_hand() -> None:
    first = np.array([[1.0, 5.0], [3.0, 5.0]])
    second = np.array([[2.0, 5.0], [0.0, 5.0]])

    found = probability_of_improvement(first, second, stream(3, "improvement"))
    sure = probability_of_improvement(first + 9, second, stream(3, "improvement"))

    assert found.value == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert 0 <= found.lower < found.value < found.upper <= 1
    assert (sure.lower, sure.value, sure.upper) == (1, 1, 1)


@settings(max_examples=20)
@given(n=st.integers(2, 6), k=st.integers(2, 6), seed=st.integers(0, 99))
def test_either_beats_the_other(n: int, k: int, seed: int) -> None:
    rng = stream(seed, "either")
    first, second = rng.integers(4, size=(n, 2)) / 1.0, rng.integers(4, size=(k, 2)) / 1.0

    forth = probability_of_improvement(first, second, rng)
    back = probability_of_improvement(second, first, rng)

    assert forth.value + back.value == pytest.approx(1)


def test_a_profile_falls_from_all_runs_to_none() -> None:
    scores = stream(4, "profile").uniform(size=(10, 3))
    thresholds = np.linspace(-0.1, 1.1, 25)

    profile = performance_profile(scores, thresholds, stream(4, "bootstrap"))

    assert (profile.share[0], profile.share[-1]) == (1, 0)
    assert (np.diff(profile.share) <= 0).all()
    assert (profile.lower <= profile.share).all()
    assert (profile.share <= profile.upper).all()
    assert profile.share[12] == pytest.approx((scores > thresholds[12]).mean())


def test_the_area_under_a_curve_by_hand() -> None:
    steps = np.array([0, 100, 300])
    returns = np.array([[0.0, 10.0, 10.0], [0.0, 0.0, 20.0]])

    assert learning_curve_area(steps, returns, budget=300) == pytest.approx(
        [2500 / 300, 2000 / 300]
    )
    assert learning_curve_area(steps, returns, budget=200) == pytest.approx(
        [1500 / 200, 500 / 200]
    )
    assert learning_curve_area(steps, returns, budget=100) == pytest.approx([5, 0])


def test_the_same_generator_gives_the_same_interval() -> None:
    scores = stream(5, "again").normal(size=(5, 2))

    first, second = (interquartile_mean_estimate(scores, stream(5, "b")) for _ in range(2))

    assert first == second


def test_one_seed_says_nothing_of_another() -> None:
    found = interquartile_mean_estimate(np.array([[1.0, 3.0]]), stream(6, "one"))

    assert found.value == 2
    assert (found.lower, found.upper) == (-np.inf, np.inf)


def test_what_is_no_table_of_runs_is_refused() -> None:
    rng = stream(7, "bad")
    with pytest.raises(DataError, match=r"scores\[1\]\[0\] is nan"):
        interquartile_mean_estimate(np.array([[1.0], [np.nan]]), rng)
    with pytest.raises(DataError, match="wanted \\(seeds, instances\\)"):
        interquartile_mean_estimate(np.ones(3), rng)
    with pytest.raises(DataError, match="paired scores"):
        difference_estimate(np.ones((3, 1)), np.ones((2, 1)), rng)
    with pytest.raises(DataError, match="of 1 and 2 instances"):
        probability_of_improvement(np.ones((3, 1)), np.ones((3, 2)), rng)
    with pytest.raises(DataError, match="budget is 400"):
        learning_curve_area(np.array([0, 300]), np.zeros(2), budget=400)
    with pytest.raises(DataError, match="ascending"):
        learning_curve_area(np.array([0, 0]), np.zeros(2), budget=400)
    with pytest.raises(DataError, match="two seeds"):
        performance_profile(np.ones((1, 2)), np.zeros(1), rng)
