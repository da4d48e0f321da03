"""What payments' traffic gains over doing nothing, where the simulator knows the truth."""

import numpy as np
import polars as pl
import pytest

from decisions.domains.payments import DOMAIN, WORLD
from decisions.flow import gains
from decisions.policy import pick
from decisions.seeds import RowKeys, stream
from tests.store.samples import decided, units

ROWS = 6_000


def _uniformly_logged() -> tuple[pl.DataFrame, float]:
    """Settled rows of the uniform policy, and what it truly gains on their contexts."""
    arrivals = WORLD.environment.arrivals(7, np.arange(ROWS), per_day=ROWS)
    context = DOMAIN.observe(arrivals.lazy()).collect()
    eligible = DOMAIN.eligible(context)
    draw = DOMAIN.baseline.act(context, eligible, RowKeys(5, np.arange(ROWS)))
    success = WORLD.environment.success(arrivals)
    action = draw.action[:, 0].astype(np.int64)
    reward = (stream(2, "gains").random(ROWS) < pick(success, action)).astype(np.float64)
    assert draw.probabilities is not None
    listed = [row[mask].tolist() for row, mask in zip(draw.probabilities, eligible, strict=True)]
    rows = decided(units(ROWS)).with_columns(
        action=pl.Series(draw.action.tolist()),
        eligible=pl.Series(
            [np.flatnonzero(mask).tolist() for mask in eligible], dtype=pl.List(pl.Int32())
        ),
        probabilities=pl.Series(listed),
        propensity=pl.Series(draw.propensity),
        reward=pl.Series(reward),
    )
    truth = (draw.probabilities * success).sum(axis=1) - success[:, 0]
    return rows.drop("parent_id").hstack(arrivals.select(list(DOMAIN.units))), float(truth.mean())


def test_gains_of_uniform_traffic_are_the_true_ones_and_parts_are_issuers() -> None:
    rows, truth = _uniformly_logged()

    found = gains.gained(DOMAIN, rows)
    expected = gains.expected(DOMAIN, [rows])

    assert found["value"] == pytest.approx(truth, abs=4 * found["value_se"])
    assert expected is not None
    assert len(expected.parts) == rows["issuer"].n_unique()
    assert expected.parts.sum() == pytest.approx(truth, abs=0.03)
    assert expected.shares.sum() == pytest.approx(1.0)
