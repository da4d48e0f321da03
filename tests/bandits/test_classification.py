"""Classification data as bandit logs with exact values."""

from importlib import import_module
from typing import Any

import numpy as np
import pytest

from decisions.bandits.classification import (
    Source,
    concentrated,
    load,
    logged,
    revealed,
    reward_model,
    split,
)
from decisions.bandits.estimators import importance_weights, ips, snips
from decisions.bandits.intervals import normal
from decisions.policy import pick
from decisions.seeds import stream


@pytest.mark.parametrize(
    ("source", "shape", "classes"),
    [
        ("digits", (1797, 64), 10),
        ("breast_cancer", (569, 30), 2),
        ("wine", (178, 13), 3),
        ("iris", (150, 4), 3),
    ],
)
def test_data_sets_have_their_known_shapes(
    source: Source, shape: tuple[int, int], classes: int
) -> None:
    data = load(source)

    assert data.features.shape == shape
    assert data.classes == classes
    assert set(data.label.tolist()) == set(range(classes))


def test_digits_truth_and_ips_error_are_the_published_ones() -> None:
    """Open Bandit Pipeline's documentation: relative error .01827255896321327 of IPS."""
    linear: Any = import_module("sklearn.linear_model")
    ensemble: Any = import_module("sklearn.ensemble")
    legacy: Any = import_module("sklearn.utils").check_random_state(12_345)
    fitting, data = split(load("digits"), share=0.7, seed=12_345)
    behaviour = linear.LogisticRegression(random_state=12_345, max_iter=1_000)
    target = ensemble.RandomForestClassifier(random_state=12_345)
    mask = np.ones((len(data.label), 10), dtype=np.bool_)
    for model in (behaviour, target):
        model.fit(fitting.features, fitting.label)
    logging = concentrated(behaviour.predict(data.features), mask, share=0.8)
    policy = concentrated(target.predict(data.features), mask, share=1.0)

    log = logged(data, logging, mask, legacy.uniform(size=len(mask)))
    truth = log.value(policy)
    estimate = ips(importance_weights(policy, log.action, log.propensity), log.reward).value

    assert truth == pytest.approx(0.9634340222575517, abs=1e-9)
    assert abs(estimate - truth) / truth == pytest.approx(0.01827255896321327, abs=1e-9)


def test_behaviour_by_hand() -> None:
    every = np.ones((1, 10), dtype=np.bool_)
    some = np.array([[True, False, True]])

    p = concentrated(np.array([3]), every, share=0.8)

    assert p[0, 3] == pytest.approx(0.82)
    np.testing.assert_allclose(np.delete(p[0], 3), 0.02)
    np.testing.assert_allclose(concentrated(np.array([2]), some, share=0.8), [[0.1, 0.0, 0.9]])
    np.testing.assert_allclose(concentrated(np.array([1]), some, share=0.8), [[0.5, 0.0, 0.5]])


def test_dynamic_sets_reveal_six_of_ten_and_estimates_meet_the_exact_value() -> None:
    rng = stream(3, "revealed")
    data = load("digits")

    eligible = revealed(data, labels=6, rng=rng)
    logging = eligible / 6
    right = concentrated(data.label, eligible, share=0.9)
    log = logged(data, logging, eligible, rng.random(len(eligible)))
    weights = importance_weights(right, log.action, log.propensity)

    assert (eligible.sum(axis=1) == 6).all()
    assert pick(eligible.astype(np.float64), log.action).all()
    share = pick(eligible.astype(np.float64), data.label).mean()
    assert share == pytest.approx(0.6, abs=4 * np.sqrt(0.24 / len(eligible)))
    assert log.value(right) == pytest.approx(share * (0.9 + 0.1 / 6))
    for terms in (ips(weights, log.reward), snips(weights, log.reward)):
        found = normal(terms.rows)
        error = (found.upper - found.lower) / 3.92
        assert abs(found.value - log.value(right)) < 4 * error


def test_reward_model_predicts_rows_it_has_not_seen() -> None:
    rng = stream(4, "q")
    naive: Any = import_module("sklearn.naive_bayes")
    data = load("iris")
    eligible = revealed(data, labels=2, rng=rng)
    log = logged(data, eligible / 2, eligible, rng.random(len(eligible)))

    q = reward_model(log, naive.GaussianNB, folds=3, seed=1)

    assert q.shape == (150, 3)
    assert (q[~eligible] == 0).all()
    assert ((q >= 0) & (q <= 1)).all()
