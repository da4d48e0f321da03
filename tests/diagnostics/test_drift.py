"""How data and policy move: by hand, and every bad input."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from decisions.diagnostics.drift import exploration, negatives_share, score_distance
from decisions.errors import DataError
from decisions.seeds import stream

P = np.array([[0.5, 0.5, 0.0], [0.8, 0.1, 0.1], [1.0, 0.0, 0.0]])
MASK = np.array([[True, True, False], [True, True, True], [True, False, False]])
NAN = float("nan")


def test_exploration_by_hand() -> None:
    entropy = -(0.8 * np.log(0.8) + 0.2 * np.log(0.1))

    found = exploration(P, MASK, np.array([0.5, 0.1, 1.0]))

    # the row with one action has no choice, so only two count in the normalised entropy
    assert found.entropy_normalised == pytest.approx((1 + entropy / np.log(3)) / 2)
    assert found.effective_actions == pytest.approx((2 + np.exp(entropy) + 1) / 3)
    assert found.propensity_minimum == 0.1
    assert found.propensity_1_percent == pytest.approx(np.quantile([0.1, 0.5, 1.0], 0.01))


@given(sizes=st.lists(st.integers(1, 5), min_size=1, max_size=8))
def test_uniform_exploration_tries_as_many_actions_as_there_are(sizes: list[int]) -> None:
    mask = np.arange(5) < np.array(sizes)[:, None]
    p = mask / mask.sum(axis=1, keepdims=True)

    found = exploration(p, mask, 1 / np.array(sizes, dtype=float))

    assert found.entropy_normalised == pytest.approx(1.0)
    assert found.effective_actions == pytest.approx(np.mean(sizes))


def test_score_distance_by_hand() -> None:
    before, after = np.array([0.1, 0.2, 0.3, 0.4]), np.array([0.3, 0.4, 0.5, 0.6])

    assert score_distance(before, after) == pytest.approx(0.5)  # at 0.2: 2/4 against 0
    assert score_distance(before, before) == 0.0
    assert score_distance(before, before + 1) == 1.0


def test_score_distance_of_the_same_distribution_is_small() -> None:
    rng = stream(1, "scores")

    distance = score_distance(rng.random(10_000), rng.random(10_000))

    assert distance < 2.23 * (2 / 10_000) ** 0.5  # exceeded in 1 of 10 000 (Kolmogorov)


def test_negatives_share_by_hand() -> None:
    assert negatives_share(np.array([1.0, 0.0, 1.0, 1.0])) == 0.25


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda: exploration(P[:0], MASK[:0], np.ones(0)), "probabilities: no row"),
        (lambda: exploration(P * NAN, MASK, np.ones(3)), "probabilities: row 0 holds nan"),
        (lambda: exploration(P, MASK, np.array([0.1, NAN, 1])), "propensity of row 1 is nan"),
        (lambda: score_distance(np.ones(0), np.ones(2)), "scores before: no row"),
        (lambda: score_distance(np.ones(2), np.array([1, np.inf])), "scores after: row 1 holds"),
        (lambda: negatives_share(np.array([1.0, 0.0, NAN])), "reward: row 2 holds nan"),
        (lambda: negatives_share(np.ones(0)), "reward: no row"),
    ],
)
def test_bad_input_is_named(broken: Callable[[], object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        broken()
