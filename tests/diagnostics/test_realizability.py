"""Calibration at what is chosen and what is not: exact, from logs, and on bad input."""

from collections.abc import Callable

import numpy as np
import pytest

from decisions.diagnostics.realizability import exact, from_logs
from decisions.errors import DataError
from decisions.policy import BoolArray, FloatArray, IntArray
from decisions.seeds import stream

SCORES = np.array([[0.9, 0.8, 0.2], [0.3, 0.7, 0.5]])
TRUTH = np.array([[0.8, 0.9, 0.1], [0.4, 0.6, 0.9]])
MASK = np.array([[True, True, False], [True, True, True]])
NAN = float("nan")


def test_exact_by_hand() -> None:
    found = exact(SCORES, TRUTH, MASK)

    # greedy: +0.1 and +0.1; others: -0.1 | -0.1, -0.4; the ineligible entry does not count
    assert found.error_greedy == pytest.approx(0.1)
    assert found.bias_greedy == pytest.approx(0.1)
    assert found.error_unchosen == pytest.approx(0.2)
    assert found.bias_unchosen == pytest.approx(-0.2)
    assert found.gap == pytest.approx(0.1)


def test_nothing_unchosen_leaves_nothing_to_say() -> None:
    alone = np.array([[True, False, False], [False, True, False]])

    found = exact(SCORES, TRUTH, alone)

    assert found.error_greedy == pytest.approx(0.1)
    assert np.isnan(found.error_unchosen)
    assert np.isnan(found.gap)


Log = tuple[FloatArray, BoolArray, IntArray, FloatArray, FloatArray, FloatArray]


def _log(rows: int, *, optimism: float) -> Log:
    """Scores right at the greedy action and too high by `optimism` at the two others."""
    rng = stream(3, "log", str(optimism))
    truth = rng.uniform(0.2, 0.6, (rows, 3))
    truth[:, 0] += 0.3
    scores = truth + optimism * np.array([0.0, 1.0, 1.0])
    p = np.array([0.8, 0.15, 0.05])
    action = rng.choice(3, size=rows, p=p)
    reward = (rng.random(rows) < truth[np.arange(rows), action]).astype(float)
    mask = np.ones((rows, 3), dtype=np.bool_)
    keep = scores.argmax(axis=1) == 0
    return scores[keep], mask[keep], action[keep], reward[keep], p[action][keep], truth[keep]


@pytest.mark.parametrize("optimism", [0.0, 0.1])
def test_logs_find_the_optimism_about_untried_actions(optimism: float) -> None:
    scores, mask, action, reward, propensity, truth = _log(60_000, optimism=optimism)
    wanted = exact(scores, truth, mask)

    found = from_logs(scores, mask, action=action, reward=reward, propensity=propensity)

    others = action > 0
    spread = 0.5 * (1 / propensity[others]).std() + 0.5 * (1 / propensity[others]).mean()
    error = spread / (1 / propensity[others]).mean() / others.sum() ** 0.5
    assert found.bias_unchosen == pytest.approx(wanted.bias_unchosen, abs=4 * error)
    assert found.bias_greedy == pytest.approx(0.0, abs=4 * 0.5 / (~others).sum() ** 0.5)
    assert found.error_unchosen == pytest.approx(wanted.error_unchosen, abs=0.02)
    assert found.error_greedy < 0.02


def test_noise_alone_makes_no_gap() -> None:
    gaps: list[float] = []
    for number in range(40):
        rng = stream(4, "noise", str(number))
        scores = np.tile([0.9, 0.85], (2_000, 1))
        p = np.array([0.95, 0.05])
        action = rng.choice(2, size=2_000, p=p)
        reward = (rng.random(2_000) < scores[0][action]).astype(float)
        found = from_logs(
            scores, np.ones((2_000, 2), dtype=np.bool_), action=action, reward=reward,
            propensity=p[action],
        )  # fmt: skip
        gaps.append(found.gap)

    # one bin of 100 rows has a standard error of 0.036: uncorrected, the mean would be 0.8 of it
    assert np.mean(gaps) < 0.6 * 0.036


def test_weights_undo_the_logging_policy() -> None:
    # 4 actions of one row each way: the rarely logged pair counts as much as the other
    scores = np.tile([0.9, 0.5, 0.5], (4, 1))
    mask = np.ones((4, 3), dtype=np.bool_)
    action = np.array([1, 1, 1, 2])
    reward = np.array([1.0, 1.0, 1.0, 0.0])
    propensity = np.array([0.3, 0.3, 0.3, 0.1])

    found = from_logs(scores, mask, action=action, reward=reward, propensity=propensity)

    assert found.bias_unchosen == pytest.approx(0.0, abs=1e-12)  # 3 * (-.5)/.3 + .5/.1 = 0
    assert np.isnan(found.error_greedy)


def _from_logs(
    action: tuple[int, int] = (0, 1),
    reward: tuple[float, float] = (1.0, 0.0),
    propensity: tuple[float, float] = (0.5, 0.5),
) -> object:
    return from_logs(
        SCORES,
        MASK,
        action=np.array(action),
        reward=np.array(reward),
        propensity=np.array(propensity),
    )


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda: exact(SCORES[:0], TRUTH[:0], MASK[:0]), "scores: no row"),
        (lambda: exact(SCORES * NAN, TRUTH, MASK), "scores: row 0"),
        (lambda: exact(SCORES, TRUTH * NAN, MASK), "truth: row 0"),
        (lambda: exact(SCORES, TRUTH, MASK & False), "row 0 has no eligible action"),
        (lambda: _from_logs(action=(2, 0)), "action: row 0"),
        (lambda: _from_logs(reward=(1.0, NAN)), "reward: row 1"),
        (lambda: _from_logs(propensity=(0.5, 0.0)), "propensity: row 1"),
        (lambda: _from_logs(propensity=(NAN, 0.5)), "propensity: row 0"),
    ],
)
def test_bad_input_is_named(broken: Callable[[], object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        broken()
