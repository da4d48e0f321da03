"""Correlations within replicates, and the panel of what moves with the value."""

import numpy as np
import pytest

from decisions.diagnostics.mechanism import correlation, panel
from decisions.seeds import stream

NAN = float("nan")


def test_correlation_is_taken_within_replicates() -> None:
    # between the rows both rise, within each row they move against each other
    first = np.array([[1.0, 2.0, 3.0], [11.0, 12.0, 13.0]])
    second = np.array([[3.0, 2.0, 1.0], [13.0, 12.0, 11.0]])

    assert correlation(first, second) == (pytest.approx(-1.0), 6)


def test_one_replicate_is_pearson() -> None:
    first, second = stream(1, "pearson").standard_normal((2, 1, 20))

    r, count = correlation(first, second)

    assert r == pytest.approx(np.corrcoef(first, second)[0, 1])
    assert count == 20


def test_pairs_with_a_nan_are_left_out() -> None:
    first = np.array([[1.0, 2.0, NAN, 4.0, 9.0]])
    second = np.array([[1.0, 2.0, 7.0, 4.0, NAN]])

    assert correlation(first, second) == (pytest.approx(1.0), 3)


@pytest.mark.parametrize("still", [0.1, 0.0, 1e9])
def test_what_does_not_move_correlates_with_nothing(still: float) -> None:
    value = stream(2, "value").standard_normal((1, 12))

    assert np.isnan(correlation(np.full((1, 12), still), value)[0])
    assert np.isnan(correlation(value[:, :2], value[:, :2])[0])


def test_panel_names_what_was_given_and_the_value_before() -> None:
    value = np.array([[1.0, 3.0, 1.0, 3.0, 1.0, 3.0]])
    index = np.array([0, 1, 2, 3, 4, 5])

    rows = panel(value, index, {"auc": -value, "something else": value})

    assert [row[0] for row in rows] == ["auc", "value_before"]
    assert rows[0][1] == pytest.approx(-1.0)
    assert rows[1] == ("value_before", pytest.approx(-1.0), 5)
