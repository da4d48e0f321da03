"""The test of mean weights: its error is proven, and what it can see."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decisions.bandits.mean_weights import (
    CUT,
    distances,
    drawn_as_logged,
    limit,
    possible_weights,
)
from decisions.errors import DataError
from decisions.policy import BoolArray, FloatArray, IntArray, choose, pick
from decisions.seeds import stream

ERROR = 0.005


def _everything(shape: tuple[int, int]) -> BoolArray:
    return np.ones(shape, dtype=np.bool_)


def test_what_a_row_could_have_got_by_hand() -> None:
    logged, target = np.array([[0.1, 0.4, 0.5]]), np.array([[1.0, 0.0, 0.0]])

    found = possible_weights(target, logged, _everything((1, 3)))

    assert found.mean[0] == pytest.approx(0.1 * CUT)  # the weight of 10 is cut
    assert found.variance[0] == pytest.approx(0.1 * 0.9 * CUT**2)
    np.testing.assert_allclose(found.excess, [CUT * 0.9, -0.5, -0.5])


def test_for_many_small_weights_it_is_the_distance_in_standard_errors() -> None:
    n = 100_000
    logged, target = np.full((n, 2), 0.5), np.tile([0.6, 0.4], (n, 1))
    possible = possible_weights(target, logged, _everything((n, 2)))
    first = n // 2 + 300
    weights = np.where(np.arange(n) < first, 1.2, 0.8)

    found = distances(weights, np.zeros(n), possible=possible)[0]

    assert found == pytest.approx(2 * 0.2 * 300 / (0.2 * n**0.5), rel=0.01)


def test_dependent_rows_count_as_one() -> None:
    """Fifteen rows that all share their draw are as far off as one row a cluster is."""
    logged, target = np.full((600, 2), 0.5), np.tile([0.8, 0.2], (600, 1))
    weights = np.where(np.arange(600) < 360, 1.6, 0.4)
    possible = possible_weights(target, logged, _everything((600, 2)))
    many = possible_weights(
        np.repeat(target, 15, axis=0), np.repeat(logged, 15, axis=0), _everything((9_000, 2))
    )

    alone = distances(weights, np.zeros(600), possible=possible)
    together = distances(
        np.repeat(weights, 15),
        np.zeros(9_000),
        possible=many,
        clusters=np.repeat(np.arange(600), 15),
    )

    np.testing.assert_allclose(together, alone)


def test_groups_of_few_clusters_are_left_out() -> None:
    sizes = [40, 40, 3]
    w, labels = np.repeat([2.0, 1.0, 9.0], sizes), np.repeat(["a", "b", "c"], sizes)

    np.testing.assert_array_equal(distances(w, labels, smallest=30), [np.inf, 0.0])
    assert len(distances(w, labels, smallest=30, clusters=np.arange(83) // 5)) == 0


def test_rows_without_a_label_are_a_group() -> None:
    same = np.full((100, 2), 0.5)
    possible = possible_weights(same, same, _everything((100, 2)))
    labels = np.array(["a"] * 50 + [None] * 30 + [np.nan] * 20, dtype=object)

    found = distances(np.where(labels == "a", 1.0, 0.9), labels, possible=possible)

    np.testing.assert_array_equal(found, [0.0, -np.inf])


def test_a_policy_equal_to_the_logging_one_has_no_distance() -> None:
    same = np.full((400, 6), 1 / 6)
    possible = possible_weights(same, same, _everything((400, 6)))

    assert distances(np.ones(400), np.zeros(400), possible=possible)[0] == 0
    assert distances(np.full(400, 1.001), np.zeros(400), possible=possible)[0] == np.inf


@given(step=st.floats(0, 3), low=st.floats(-0.5, 3), rare=st.floats(0.01, 0.5))
@settings(deadline=None)
def test_what_is_beyond_the_limit_stays_there_as_the_mean_rises(
    low: float, step: float, rare: float
) -> None:
    logged, target = np.tile([rare, 1 - rare], (50, 1)), np.tile([0.5, 0.5], (50, 1))
    possible = possible_weights(target, logged, _everything((50, 2)))

    first, second = (
        distances(np.full(50, 1 + off), np.zeros(50), possible=possible)[0]
        for off in (low, low + step)
    )

    assert first <= max(second + 1e-3, 2.0)


def _cards(rows_a_card: int, rng: np.random.Generator) -> tuple[FloatArray, FloatArray, IntArray]:
    """Propensities within two arms, (2, n, 3), and the card of each of 1800 rows.

    The first arm has 3 % of the cards and always takes the first action; in the second it is
    taken in one row of a hundred or so: rare and huge weights beside ordinary ones.
    """
    n = 1_800
    rest = np.clip(rng.beta(0.4, 4.0, n), 0.002, 0.9)
    second = np.column_stack([rest, 0.7 * (1 - rest), 0.3 * (1 - rest)])
    first = np.tile([1.0, 0.0, 0.0], (n, 1))
    return np.stack([first, second]), np.array([0.03, 0.97]), np.arange(n) // rows_a_card


def _farthest(
    rows_a_card: int, *, seed: int, logs: int, often: float = 1.0
) -> tuple[float, float]:
    """Shares of logs beyond the limit for all rows and for 20 groups; `often` as is written."""
    rng = stream(seed, "cards", str(rows_a_card))
    within, shares, card = _cards(rows_a_card, rng)
    n, rows = len(card), np.arange(len(card))
    logged = np.tensordot(shares, within, 1)
    target = np.tile([1.0, 0.0, 0.0], (n, 1))
    possible = possible_weights(target, logged, _everything((n, 3)))
    within[1, :, 0] *= often
    within[1] /= within[1].sum(axis=1, keepdims=True)
    whole = grouped = 0
    for _ in range(logs):
        arm = (rng.random(card.max() + 1) >= shares[0]).astype(np.int64)[card]
        action = choose(within[arm, rows], rng.random(n))
        weights = pick(target, action) / pick(logged, action)
        all_rows = distances(weights, np.zeros(n), possible=possible, clusters=card)
        whole += abs(all_rows[0]) > limit(ERROR)
        z = distances(weights, card % 20, possible=possible, clusters=card, smallest=5)
        grouped += bool((np.abs(z) > limit(ERROR, tests=20)).any())
    return whole / logs, grouped / logs


@pytest.mark.parametrize("rows_a_card", [1, 2, 15])
def test_sound_logs_are_seldom_beyond_the_limit(rows_a_card: int) -> None:
    """At most `ERROR` of them, plus four standard errors, at any number of rows a card."""
    logs = 400

    whole, grouped = _farthest(rows_a_card, seed=1, logs=logs)

    assert max(whole, grouped) <= ERROR + 4 * (ERROR / logs) ** 0.5


def test_an_action_drawn_twice_as_often_as_written_is_seen() -> None:
    whole, _ = _farthest(1, seed=2, logs=50, often=2.0)

    assert whole > 0.9


def test_without_probabilities_the_variance_is_that_between_clusters() -> None:
    rng = stream(3, "unknown")
    means = rng.normal(1.0, 0.5, 500)
    weights = np.repeat(means, 10)

    apart = distances(weights, np.zeros(5_000))[0]
    together = distances(weights, np.zeros(5_000), clusters=np.repeat(np.arange(500), 10))[0]

    assert together == pytest.approx((means.mean() - 1) / (means.std(ddof=1) / 500**0.5))
    assert abs(apart) > 3 * abs(together)


def test_limits_and_labels_are_checked() -> None:
    assert limit(2 * np.exp(-8.0)) == pytest.approx(4.0)
    assert limit(ERROR, tests=0) == np.inf
    with pytest.raises(DataError, match="an error of 0"):
        limit(0.0)
    with pytest.raises(DataError, match=r"clusters has shape \(3,\)"):
        distances(np.ones(2), np.zeros(2), clusters=np.zeros(3))


def test_counts_of_actions_show_what_mean_weights_cannot() -> None:
    """One action drawn half as often again; the policy to be judged is the logging one itself."""
    n = 3_000
    logged = np.tile([0.6, 0.3, 0.1], (n, 1))
    truly = np.tile([0.6, 0.3, 0.15], (n, 1)) / 1.05
    rng, every = stream(5, "counts"), _everything((n, 3))

    sound = drawn_as_logged(choose(logged, rng.random(n)), logged, every)
    wrong = drawn_as_logged(choose(truly, rng.random(n)), logged, every)
    cards = drawn_as_logged(
        choose(truly, rng.random(n)), logged, every, clusters=np.arange(n) // 100
    )

    assert np.abs(sound).max() < limit(ERROR, tests=3)
    assert wrong.argmax() == 2
    assert wrong[2] > limit(ERROR, tests=3)
    assert np.abs(cards).max() < limit(ERROR, tests=3)  # thirty cards, had they one draw each
