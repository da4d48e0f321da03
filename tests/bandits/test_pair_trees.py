"""Trees evaluated by context and flags apart give LightGBM's own numbers."""

import numpy as np
import polars as pl
import pytest

from decisions.bandits.oracles import LightGBMConfig, LightGBMOracle, Loss, fit_lightgbm
from decisions.bandits.pair_trees import PairTrees
from decisions.bandits.training_set import TrainingSet, pair_features
from decisions.seeds import stream

FLAGS = np.array([[0, 0], [1, 0], [0, 1], [1, 1], [0, 2]], dtype=np.float64)


def batch(rows: int, seed: int, *, levels: int, missing: float) -> pl.DataFrame:
    rng = stream(seed, "pair trees")
    numbers = rng.normal(size=(rows, 2)).round(1)
    numbers[rng.random(numbers.shape) < missing] = np.nan
    return pl.DataFrame(
        {"code": rng.integers(-1, levels, size=rows), "x": numbers[:, 0], "zero": numbers[:, 1]}
    )


def fitted(
    loss: Loss, *, missing: float, predecessor: LightGBMOracle | None = None
) -> LightGBMOracle:
    context = batch(3_000, 1, levels=40, missing=missing)
    features = pair_features(context, flags=FLAGS, categorical=("code",))
    rng = stream(2, "pair trees")
    action = rng.integers(5, size=3_000)
    level = (
        np.nan_to_num(context["x"].to_numpy()) * (action - 2) + (context["code"] % 3).to_numpy()
    )
    reward = (level + rng.normal(size=3_000) > 1).astype(np.float64)
    data = TrainingSet(context=context, action=action, reward=reward)
    oracle = fit_lightgbm(
        data,
        rng,
        features=features,
        config=LightGBMConfig(loss=loss, trees=20, negative=2.0 if loss == "log" else 1.0),
        predecessor=predecessor,
    )
    assert isinstance(oracle, LightGBMOracle)
    return oracle


@pytest.mark.parametrize("missing", [0.0, 0.2])
@pytest.mark.parametrize("loss", ["log", "squared"])
def test_predictions_are_lightgbm_s(loss: Loss, missing: float) -> None:
    oracle = fitted(loss, missing=missing)
    new = batch(500, 3, levels=80, missing=0.3)  # unseen codes, and missing where none was
    eligible = stream(4, "pair trees").random((500, 5)) < 0.7

    found = PairTrees(oracle=oracle).predict(new, eligible)

    np.testing.assert_allclose(found, oracle.predict(new, eligible), rtol=0, atol=1e-14)


def test_predictions_of_a_continued_model_are_lightgbm_s() -> None:
    oracle = fitted("log", missing=0.1, predecessor=fitted("log", missing=0.0))
    new = batch(200, 3, levels=40, missing=0.1)
    eligible = np.ones((200, 5), dtype=np.bool_)

    found = PairTrees(oracle=oracle).predict(new, eligible)

    np.testing.assert_allclose(found, oracle.predict(new, eligible), rtol=0, atol=1e-14)


def test_the_bits_of_a_row_do_not_depend_on_its_batch() -> None:
    oracle = PairTrees(oracle=fitted("log", missing=0.1))
    new = batch(300, 5, levels=40, missing=0.1)
    eligible = np.ones((300, 5), dtype=np.bool_)

    whole = oracle.predict(new, eligible)
    pieces = [oracle.predict(new[i : i + 7], eligible[i : i + 7]) for i in range(0, 300, 7)]

    assert (np.concatenate(pieces) == whole).all()
