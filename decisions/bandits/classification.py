"""Classification data as bandit logs: every action's reward is known, so every value is exact."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal, Protocol

import numpy as np

from decisions.policy import BoolArray, FloatArray, IntArray, choose, pick

_DATASETS: Any = import_module("sklearn.datasets")
_SELECTION: Any = import_module("sklearn.model_selection")

Source = Literal["digits", "breast_cancer", "wine", "iris"]


class Classifier(Protocol):
    """What a scikit-learn classifier does."""

    def fit(self, X: FloatArray, y: IntArray) -> Any:
        """Learns labels `y` (n,) from features `X` (n, d)."""
        ...

    def predict(self, X: FloatArray) -> IntArray:
        """Labels (n,) of `X` (n, d)."""
        ...

    def predict_proba(self, X: FloatArray) -> FloatArray:
        """Probabilities (n, classes) of the labels seen, ascending."""
        ...


@dataclass(frozen=True)
class Labelled:
    """Features (n, d), labels (n,) from 0, and how many classes there are."""

    features: FloatArray
    label: IntArray
    classes: int


@dataclass(frozen=True)
class ClassificationLog:
    """Logged guesses of labels; a guess is rewarded with 1 iff it is right.

    `rewards` (n, k) holds every action's reward, so `value` is exact.
    """

    features: FloatArray  # (n, d)
    rewards: FloatArray  # (n, k)
    eligible: BoolArray  # (n, k)
    probabilities: FloatArray  # (n, k), the logging policy's
    action: IntArray  # (n,)

    @property
    def propensity(self) -> FloatArray:
        """Of the logged actions, (n,)."""
        return pick(self.probabilities, self.action)

    @property
    def reward(self) -> FloatArray:
        """Of the logged actions, (n,)."""
        return pick(self.rewards, self.action)

    def value(self, probabilities: FloatArray) -> float:
        """The exact value of a policy on these rows, from its `probabilities` (n, k)."""
        return float((probabilities * self.rewards).sum(axis=1).mean())


def load(source: Source) -> Labelled:
    """A data set that comes with scikit-learn: nothing is downloaded."""
    reader: Any = getattr(_DATASETS, f"load_{source}")
    features, label = reader(return_X_y=True)
    labels = np.asarray(label, dtype=np.int64)
    return Labelled(np.asarray(features, dtype=np.float64), labels, int(labels.max()) + 1)


def split(data: Labelled, *, share: float, seed: int) -> tuple[Labelled, Labelled]:
    """Data to fit policies on, and the `share` of it to log on, by scikit-learn's own split."""
    fit_features, log_features, fit_label, log_label = _SELECTION.train_test_split(
        data.features, data.label, test_size=share, random_state=seed
    )
    return (
        Labelled(fit_features, fit_label, data.classes),
        Labelled(log_features, log_label, data.classes),
    )


def concentrated(predicted: IntArray, eligible: BoolArray, *, share: float) -> FloatArray:
    """`share` on the `predicted` action (n,), the rest evenly on the eligible ones, (n, k).

    Where the predicted action is not eligible everything is spread evenly.
    """
    even = eligible / eligible.sum(axis=1, keepdims=True)
    chosen = np.zeros(eligible.shape)
    np.put_along_axis(chosen, predicted[:, None], 1.0, axis=1)
    possible = np.take_along_axis(eligible, predicted[:, None], axis=1)
    mixed: FloatArray = share * chosen + (1 - share) * even
    return np.where(possible, mixed, even)


def revealed(data: Labelled, *, labels: int, rng: np.random.Generator) -> BoolArray:
    """Eligible sets (n, k) of `labels` classes a row, drawn at random: a dynamic action set."""
    order = rng.random((len(data.label), data.classes)).argsort(axis=1)
    eligible = np.zeros((len(data.label), data.classes), dtype=np.bool_)
    np.put_along_axis(eligible, order[:, :labels], values=True, axis=1)
    return eligible


def logged(
    data: Labelled, probabilities: FloatArray, eligible: BoolArray, uniform: FloatArray
) -> ClassificationLog:
    """The log of drawing from `probabilities` (n, k) with one number a row, `uniform` (n,)."""
    rewards = (np.arange(data.classes)[None, :] == data.label[:, None]).astype(np.float64)
    return ClassificationLog(
        data.features, rewards, eligible, probabilities, choose(probabilities, uniform)
    )


def reward_model(
    log: ClassificationLog, make: Callable[[], Classifier], *, folds: int, seed: int
) -> FloatArray:
    """Cross-fitted rewards q (n, k): `make()` is fitted on features and the action's dummies.

    Each row is predicted by the classifier of a fold that it was not in.
    """
    k = log.rewards.shape[1]
    q = np.zeros(log.rewards.shape)
    dummies = np.eye(k)
    pairs = np.hstack([log.features, dummies[log.action]])
    parts = _SELECTION.KFold(n_splits=folds, shuffle=True, random_state=seed).split(pairs)
    for fitting, predicting in parts:
        model = make()
        model.fit(pairs[fitting], log.reward[fitting].astype(np.int64))
        for action in range(k):
            rows = np.hstack(
                [log.features[predicting], np.tile(dummies[action], (len(predicting), 1))]
            )
            q[predicting, action] = model.predict_proba(rows)[:, 1]
    return np.where(log.eligible, q, 0.0)
