"""A small logged bandit whose success probabilities are known."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy.special import expit

from decisions.bandits.training_set import PairFeatures, TrainingSet, pair_features
from decisions.policy import BoolArray, FloatArray

FLAGS = np.array([[a >> bit & 1 for bit in range(3)] for a in range(8)], dtype=np.float64)


@dataclass(frozen=True)
class Logs:
    data: TrainingSet
    eligible: BoolArray
    success: FloatArray
    features: PairFeatures


def uniform_logs(n: int = 4000, seed: int = 0) -> Logs:
    rng = np.random.default_rng(seed)
    context = pl.DataFrame(
        {
            "issuer": rng.integers(0, 12, n),
            "amount": rng.normal(size=n),
            "recurring": rng.random(n) < 0.4,
            "card": rng.integers(0, n // 3, n),
        }
    )
    eligible = rng.random((n, 8)) < 0.7
    eligible[:, 0] = True
    effect = np.random.default_rng(99).normal(size=(12, 3))
    logit = 1 + 0.5 * context["amount"].to_numpy()[:, None]
    success = expit(logit + effect[context["issuer"].to_numpy()] @ FLAGS.T)
    order = np.where(eligible, rng.random((n, 8)), 2.0)
    action = order.argmin(axis=1).astype(np.int64)
    reward = (rng.random(n) < success[np.arange(n), action]).astype(np.float64)
    features = pair_features(
        context, flags=FLAGS, categorical=("issuer",), numeric=("amount", "recurring")
    )
    data = TrainingSet(context=context, action=action, reward=reward)
    return Logs(data=data, eligible=eligible, success=success, features=features)
