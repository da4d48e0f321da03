"""What may be learned from: wrong weights, rewards, propensities and codes are named."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from decisions.bandits.histogram import fit_histogram
from decisions.bandits.linear import fit_logistic
from decisions.bandits.oracles import fit_lightgbm
from decisions.bandits.training_set import (
    context_matrix,
    importance_weights,
    pair_features,
    sample_weights,
)
from decisions.errors import DataError
from tests.bandits.logs import FLAGS, uniform_logs

LOGS = uniform_logs(300)
N = len(LOGS.data.reward)
STRANGE = [float("nan"), float("inf"), -float("inf"), -1.0]


def spoilt(value: float, *, size: int = N) -> np.ndarray:
    values = np.ones(size)
    values[7] = value
    return values


@pytest.mark.parametrize("fit", [fit_lightgbm, fit_histogram, fit_logistic])
@pytest.mark.parametrize("weight", STRANGE)
def test_no_model_is_fitted_with_a_weight_that_is_no_weight(
    fit: Callable[..., object], weight: float
) -> None:
    data = replace(LOGS.data, weight=spoilt(weight))

    with pytest.raises(DataError, match="weight of row 7"):
        fit(data, np.random.default_rng(0), features=LOGS.features)


@pytest.mark.parametrize("weight", [np.ones((N, 1)), np.ones(N - 1), np.ones(1)])
def test_weights_of_another_shape_are_refused(weight: np.ndarray) -> None:
    data = replace(LOGS.data, weight=weight)

    with pytest.raises(DataError, match=r"weight has shape .* wanted \(300,\)"):
        fit_lightgbm(data, np.random.default_rng(0), features=LOGS.features)
    with pytest.raises(DataError, match="weight has shape"):
        data.weighted(np.ones(N))


@pytest.mark.parametrize("factor", STRANGE)
def test_rows_are_not_weighted_by_what_is_no_weight(factor: float) -> None:
    with pytest.raises(DataError, match="factor of row 7"):
        LOGS.data.weighted(spoilt(factor))


def test_a_reward_that_is_not_known_teaches_nothing() -> None:
    data = replace(LOGS.data, reward=spoilt(float("nan")))

    with pytest.raises(DataError, match="reward of row 7 is nan"):
        fit_lightgbm(data, np.random.default_rng(0), features=LOGS.features)


@pytest.mark.parametrize("propensity", [*STRANGE, 0.0, 1.5])
def test_one_bad_propensity_does_not_spoil_all_weights(propensity: float) -> None:
    with pytest.raises(DataError, match="propensity of row 7"):
        importance_weights(spoilt(propensity))


@pytest.mark.parametrize("weight", [0.0, *STRANGE])
def test_class_weights_are_positive_numbers(weight: float) -> None:
    with pytest.raises(DataError, match="class weights"):
        sample_weights(LOGS.data, positive=weight, negative=1.0)


@pytest.mark.parametrize("code", [2**31, 2**62, -2, -(2**40)])
def test_a_category_that_trees_cannot_tell_apart_is_refused_by_column_and_value(
    code: int,
) -> None:
    context = pl.DataFrame({"bank": [0, code, 5], "amount": [1.0, 2.0, 3.0]})
    features = pair_features(context, flags=FLAGS, categorical=("bank",))

    with pytest.raises(DataError, match=rf"'bank' holds the code {code} in row 1"):
        context_matrix(context, features)


def test_unsigned_hashes_are_refused_and_missing_codes_are_not() -> None:
    hashes = pl.DataFrame({"bank": pl.Series([3, 2**63 + 1], dtype=pl.UInt64())})
    with pytest.raises(DataError, match="9223372036854775809"):
        context_matrix(hashes, pair_features(hashes, flags=FLAGS, categorical=("bank",)))

    sound = pl.DataFrame({"bank": [-1, None, 2**31 - 1]})
    matrix = context_matrix(sound, pair_features(sound, flags=FLAGS, categorical=("bank",)))
    np.testing.assert_array_equal(matrix[:, 0], [-1.0, np.nan, 2**31 - 1])
