"""What the overview pools over cycles: worked by hand, also where standard errors are missing."""

from collections.abc import Mapping
from typing import Any

import pytest

from decisions.store import cycles
from decisions.store.database import Database
from tests.dashboards.samples import DAY, START


def _pooled(database: Database, *found: Mapping[str, float]) -> Mapping[str, Any] | None:
    """The row of the overview over cycles of generation 1 that measured `found`."""
    for at, measured in enumerate(found):
        cutoff = START + at * DAY
        deployed = {"deployed": {"generation": 1.0} | dict(measured)}
        cycles.record(database, "payments", cutoff, deployed, {}, now=cutoff)
    return next(database.read("overview/gains").iter_rows(named=True), None)


def _against_control(value: float, error: float | None) -> dict[str, float]:
    found = {"control": 0.9, "value": value, "over_control": value}
    return found if error is None else found | {"value_se": error, "over_control_se": error}


def test_cycles_count_by_the_inverse_of_their_variance(database: Database) -> None:
    row = _pooled(database, _against_control(0.03, 0.01), _against_control(0.0, 0.02))

    assert row is not None
    assert (row["way"], row["cycles"]) == ("control", 2)
    assert row["gain"] == pytest.approx(0.03 * 4 / 5)
    assert row["upper"] - row["gain"] == pytest.approx(1.96 * 0.01 * (4 / 5) ** 0.5)


def test_a_cycle_with_one_control_row_says_nothing(database: Database) -> None:
    assert _pooled(database, _against_control(0.1, None)) is None


def test_a_cycle_without_a_standard_error_does_not_count(database: Database) -> None:
    row = _pooled(database, _against_control(0.03, 0.01), _against_control(-0.1, None))

    assert row is not None
    assert (row["cycles"], row["gain"]) == (1, pytest.approx(0.03))


def test_the_control_slice_is_pooled_over_the_cycles_that_have_one(database: Database) -> None:
    modelled = {"gain": 0.02, "gain_se": 0.01, "value": 0.02, "value_se": 0.01}
    beside = {"over_control": 0.04, "over_control_se": 0.02}

    row = _pooled(database, modelled | beside, modelled)

    assert row is not None
    assert (row["way"], row["cycles"]) == ("all traffic", 2)
    assert row["over_control"] == pytest.approx(0.04)
    assert row["over_control_upper"] == pytest.approx(0.04 + 1.96 * 0.02)
