"""The study's own pieces: nulls of the promised kinds, and chains whose parts add up."""

import numpy as np
import pytest

from decisions.bandits.arms import UNIFORM
from decisions.cli.study.oscillation import GENERATIONS, NULLS, SYNTHETIC, _chain, _synthetic


@pytest.mark.parametrize("name", SYNTHETIC)
def test_null_series_have_the_promised_size_and_noise(name: str) -> None:
    values, noise = _synthetic(name)

    assert values.shape == noise.shape == (NULLS, GENERATIONS)
    assert np.isfinite(values).all()
    assert (noise > 0).all() == ("measure" in name)
    np.testing.assert_array_equal(values, _synthetic(name)[0])


def test_issuers_of_a_chain_add_up_to_its_value() -> None:
    chain = _chain(3, UNIFORM, rows=300, generations=2)

    parts = np.array(chain["parts"])

    assert parts.shape == (60, 2)
    np.testing.assert_allclose(parts.sum(axis=0), chain["greedy"], atol=1e-12)
    assert len(chain["value"]) == 2
