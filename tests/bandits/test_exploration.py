"""Probabilities: the specification's golden vectors, and what holds for any scores."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decisions.bandits import exploration
from decisions.errors import DataError, NoEligibleAction
from decisions.policy import BoolArray, FloatArray, choose

SCORES = np.array([[0.95, 0.94, 0.90, 0.85]])
ALL = np.ones((1, 4), dtype=bool)
Case = tuple[FloatArray, BoolArray]

igw = exploration.inverse_gap_weighting
GOLDEN: dict[str, tuple[Callable[[FloatArray, BoolArray], FloatArray], list[float]]] = {
    "SquareCB 100": (lambda f, e: igw(f, e, gamma=100), [0.617460, 0.2, 0.111111, 0.071429]),
    "SquareCB 1000": (
        lambda f, e: igw(f, e, gamma=1000),
        [0.900438, 0.071429, 0.018519, 0.009615],
    ),
    "FastCB 100": (
        lambda f, e: exploration.fast_cb(f, e, gamma=100),
        [0.943816, 0.041667, 0.009615, 0.004902],
    ),
    "softmax 50": (
        lambda f, e: exploration.softmax(f, e, inverse_temperature=50),
        [0.589847, 0.357761, 0.048418, 0.003974],
    ),
    "epsilon .06": (
        lambda f, e: exploration.epsilon_greedy(f, e, epsilon=0.06),
        [0.955, 0.015, 0.015, 0.015],
    ),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_vector(name: str) -> None:
    rule, expected = GOLDEN[name]

    p = rule(SCORES, ALL)

    np.testing.assert_allclose(p[0], expected, atol=1e-6)


@pytest.mark.parametrize("name", GOLDEN)
def test_an_ineligible_fifth_action_changes_nothing(name: str) -> None:
    rule, _ = GOLDEN[name]
    scores, mask = np.append(SCORES, [[0.0]], axis=1), np.append(ALL, [[False]], axis=1)

    p = rule(scores, mask)

    np.testing.assert_array_equal(p[:, :4], rule(SCORES, ALL))
    assert p[0, 4] == 0


def test_an_eligible_fifth_action_raises_k() -> None:
    p = igw(np.append(SCORES, [[0.0]], axis=1), np.ones((1, 5), dtype=bool), gamma=100)

    np.testing.assert_allclose(p[0], [0.656667, 0.166667, 0.1, 0.066667, 0.01], atol=1e-6)


def test_square_cb_is_vowpal_wabbits() -> None:
    """Vowpal Wabbit 9.11, costs .05/.10/.20 learned over 601 examples, defaults."""
    costs = np.array([[0.05, 0.10, 0.20]])

    p = igw(1 - costs, np.ones((1, 3), dtype=bool), gamma=10 * 601**0.5)

    np.testing.assert_allclose(p[0], [0.909316, 0.065541, 0.025143], atol=1e-6)


def test_a_k_below_the_rows_own_would_make_a_negative_probability() -> None:
    others = 1 / (2 + 1.0 * (SCORES.max() - SCORES[0, 1:]))

    assert 1 - others.sum() < 0
    assert (igw(SCORES, ALL, gamma=1.0) >= 0).all()


@st.composite
def cases(draw: st.DrawFn) -> Case:
    n, k = draw(st.integers(1, 6)), draw(st.integers(1, 9))
    grid = draw(st.lists(st.integers(0, 20), min_size=n * k, max_size=n * k))
    bits = draw(st.lists(st.booleans(), min_size=n * k, max_size=n * k))
    scores, mask = np.array(grid).reshape(n, k) / 20.0, np.array(bits).reshape(n, k)
    mask[~mask.any(axis=1), 0] = True
    return np.where(mask, scores, np.nan), mask


@settings(max_examples=1000, deadline=None)
@given(case=cases(), gamma=st.floats(0, 1e6))
def test_square_cb_is_a_distribution_with_its_bounds(case: Case, gamma: float) -> None:
    scores, mask = case
    size = mask.sum(axis=1)

    p = igw(scores, mask, gamma=gamma)

    np.testing.assert_allclose(p.sum(axis=1), 1.0, atol=1e-12)
    assert (p >= 0).all()
    assert (p[mask] > 0).all()
    assert (p[~mask] == 0).all()
    best = exploration.best_action(scores, mask)
    assert (p[np.arange(len(p)), best] >= 1 / size - 1e-12).all()
    assert (p[size == 1][mask[size == 1]] == 1).all()


@settings(max_examples=300, deadline=None)
@given(case=cases(), gamma=st.floats(0.01, 1e4))
def test_probabilities_fall_with_the_gap(case: Case, gamma: float) -> None:
    scores, mask = case
    for rule in (igw, exploration.fast_cb):
        p = rule(scores, mask, gamma=gamma)
        for row in range(len(p)):
            order = np.argsort(-scores[row][mask[row]], kind="stable")
            assert (np.diff(p[row][mask[row]][order]) <= 1e-12).all()


@settings(max_examples=100, deadline=None)
@given(case=cases())
def test_gamma_zero_is_uniform(case: Case) -> None:
    scores, mask = case

    for p in (
        igw(scores, mask, gamma=0),
        exploration.fast_cb(scores, mask, gamma=0),
        exploration.softmax(scores, mask, inverse_temperature=0),
        exploration.epsilon_greedy(scores, mask, epsilon=1),
    ):
        np.testing.assert_allclose(p, exploration.uniform(mask), atol=1e-12)


@settings(max_examples=100, deadline=None)
@given(case=cases(), share=st.floats(0, 1))
def test_every_rule_gives_distributions_over_eligible_actions(case: Case, share: float) -> None:
    scores, mask = case
    members = np.stack([scores, np.full_like(scores, 0.5), 1 - scores])
    members = np.where(mask, members, np.nan)
    high, low = exploration.bounds_by_deviation(members)

    rules = [
        exploration.fast_cb(scores, mask, gamma=300),
        exploration.softmax(scores, mask),
        exploration.greedy(scores, mask),
        exploration.epsilon_greedy(scores, mask),
        exploration.bagging_shares(members, mask),
        exploration.reg_cb_elimination(high, low, mask),
        exploration.reg_cb_optimistic(high, mask),
        exploration.square_cb_elimination(members.mean(axis=0), high, low, mask, gamma=50),
    ]

    for p in rules:
        floored = exploration.with_floor(p, mask, floor=0.1)
        for q in (p, floored, exploration.damped(floored, p, share=share)):
            np.testing.assert_allclose(q.sum(axis=1), 1.0, atol=1e-12)
            assert (q >= 0).all()
            assert (q[~mask] == 0).all()
        assert (floored >= np.where(mask, 0.1 / mask.sum(axis=1, keepdims=True), 0) - 1e-15).all()


def test_ties_go_to_the_smallest_action_id() -> None:
    scores = np.array([[0.2, 0.7, 0.7, 0.7]])

    assert exploration.best_action(scores, ALL).tolist() == [1]
    assert exploration.best_action(scores, np.array([[True, False, True, True]])).tolist() == [2]


def test_elimination_keeps_what_may_still_be_best() -> None:
    high, low = np.array([[0.9, 0.8, 0.6, 0.95]]), np.array([[0.7, 0.5, 0.3, 0.9]])
    mask = np.array([[True, True, True, False]])

    kept = exploration.survivors(high, low, mask)

    assert kept.tolist() == [[True, True, False, False]]
    p = exploration.square_cb_elimination(
        (high + low) / 2, high, low, mask, gamma=10
    )  # two survivors, gap .15: 1/(2 + 1.5)
    np.testing.assert_allclose(p, [[1 - 1 / 3.5, 1 / 3.5, 0, 0]], atol=1e-12)


def test_version_space_holds_the_models_of_little_risk() -> None:
    members = np.array([[[0.1, 0.5]], [[0.3, 0.4]], [[0.9, 0.9]]])

    high, low = exploration.bounds_by_risk(members, np.array([0.20, 0.21, 0.30]), beta=0.05)

    np.testing.assert_array_equal(high, [[0.3, 0.5]])
    np.testing.assert_array_equal(low, [[0.1, 0.4]])


def test_a_nan_score_on_an_eligible_pair_is_named() -> None:
    scores = np.array([[0.1, np.nan], [0.2, np.nan]])

    with pytest.raises(DataError, match="action 1 in row 1"):
        igw(scores, np.array([[True, False], [True, True]]), gamma=1)


def test_a_row_without_an_eligible_action_is_named() -> None:
    with pytest.raises(NoEligibleAction, match=r"\[1\]"):
        exploration.greedy(np.zeros((2, 2)), np.array([[True, True], [False, False]]))


@pytest.mark.parametrize("gamma", [-1.0, float("nan"), float("inf")])
def test_an_impossible_gamma_is_refused(gamma: float) -> None:
    with pytest.raises(DataError, match="gamma"):
        igw(SCORES, ALL, gamma=gamma)


def test_draws_follow_the_stated_probabilities() -> None:
    p = np.tile(igw(SCORES, ALL, gamma=100), (100_000, 1))

    seen = np.bincount(choose(p, np.random.default_rng(7).random(len(p))), minlength=4) / len(p)

    np.testing.assert_allclose(seen, p[0], atol=4 * np.sqrt(0.25 / len(p)))  # 4 standard errors


@given(seed=st.integers(0, 10_000), ratio=st.floats(1, 100))
def test_within_reach_no_action_is_far_above_what_was_done_before(seed: int, ratio: float) -> None:
    rng = np.random.default_rng(seed)
    p, previous = rng.dirichlet(np.full(5, 0.2), 20), rng.dirichlet(np.full(5, 0.2), 20)

    near = exploration.within_reach(p, previous, ratio=ratio)

    np.testing.assert_allclose(near.sum(axis=1), 1.0, atol=1e-12)
    assert (near >= np.minimum(p, ratio * previous) - 1e-15).all()
    assert (near <= (ratio + 1) * previous + 1e-12).all()
    inside = (p <= ratio * previous).all(axis=1)
    np.testing.assert_allclose(near[inside], p[inside], atol=1e-12)


def test_a_ratio_below_one_is_refused() -> None:
    half = np.full((1, 2), 0.5)

    with pytest.raises(DataError, match="wanted at least 1"):
        exploration.within_reach(half, half, ratio=0.5)
