"""The descriptions of a series against values worked by hand, and what white noise gives."""

from itertools import pairwise, permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from decisions.diagnostics import series
from decisions.policy import FloatArray
from decisions.seeds import stream

HAND = np.array([[1.0, 3.0, 2.0, 5.0, 1.0]])  # mean 2.4, slope 0.2 about the middle
INDEX = np.arange(5)
LEVELS = arrays(np.float64, (1, 12), elements=st.floats(-1, 1, width=32)).filter(
    lambda v: bool(v.std() > 1e-3)
)


def _residual(values: FloatArray) -> FloatArray:
    return series.detrended(values, series.positions(values))


def test_hand_example_of_trend_residual_and_lag_one() -> None:
    # u = (-1, 0.8, -0.4, 2.4, -1.8): sum u^2 = 10.8, lag-1 products -0.8-0.32-0.96-4.32 = -6.4
    residual = series.detrended(HAND, INDEX)

    np.testing.assert_allclose(series.trend(HAND, INDEX), [0.2])
    np.testing.assert_allclose(residual, [[-1.0, 0.8, -0.4, 2.4, -1.8]], atol=1e-12)
    np.testing.assert_allclose(series.autocorrelation(residual, INDEX), [-6.4 / 10.8])
    # lag 2: 0.4 + 1.92 + 0.72
    np.testing.assert_allclose(series.autocorrelation(residual, INDEX, lag=2), [3.04 / 10.8])


def test_hand_example_of_swing_and_flips() -> None:
    # changes 2, -1, 3, -4: each reverses the one before
    noise = np.full_like(HAND, 0.9)  # 1.96 standard errors of a change: 2.49

    assert series.swing(HAND, INDEX) == pytest.approx(2.5)
    assert series.flip_rate(HAND, INDEX) == 1.0
    assert series.significant_flips(HAND, np.zeros_like(HAND), INDEX) == 3
    assert series.significant_flips(HAND, noise, INDEX) == 1  # 3 then -4 only


def test_hand_example_of_nyquist_share_and_spectrum() -> None:
    # sum (-1)^g u = -1 - 0.8 - 0.4 - 2.4 - 1.8 = -6.4
    residual = series.detrended(HAND, INDEX)
    power = np.abs(np.fft.rfft(residual[0])[1:]) ** 2

    periods, share = series.spectrum(residual, INDEX)

    np.testing.assert_allclose(series.nyquist_share(residual, INDEX), [6.4**2 / (5 * 10.8)])
    np.testing.assert_allclose(periods, [5.0, 2.5])
    np.testing.assert_allclose(share[0], power / power.sum())


def test_excess_variance_is_what_the_standard_errors_leave() -> None:
    noise = np.full_like(HAND, 0.5)

    assert series.excess_variance(HAND, noise) == pytest.approx(HAND.var(ddof=1) - 0.25)


@pytest.mark.parametrize("row", [[1, 5, 2, 6, 3, 7], [1, 2, 3, 7, 6, 5], [1, 2, 6, 7, 3, 5, 4]])
def test_runs_test_counts_every_order(row: list[float]) -> None:
    def runs(order: tuple[bool, ...]) -> int:
        return 1 + sum(a != b for a, b in pairwise(order))

    middle = float(np.median(row))
    sides = tuple(each > middle for each in row if each != middle)
    orders = [runs(order) for order in permutations(sides)]
    exact = sum(each >= runs(sides) for each in orders) / len(orders)

    assert series.runs_p(np.array([row], dtype=float)) == pytest.approx(exact)


def test_runs_test_of_one_sided_values_says_nothing() -> None:
    assert series.runs_p(np.ones((1, 6))) == 1.0


def test_no_pair_is_formed_across_a_gap() -> None:
    index = np.array([0, 1, 3, 4, 7])

    later, earlier = series.pairs(index)

    assert (later.tolist(), earlier.tolist()) == ([1, 3], [0, 2])
    assert series.swing(HAND, index) == pytest.approx((2 + 3) / 2)
    assert np.isnan(series.flip_rate(HAND, index))  # no two changes follow one another


def test_white_noise_reverses_direction_in_two_of_three_generations() -> None:
    values = stream(1, "white").standard_normal((4_000, 16))
    index = np.arange(16)
    by_row = np.array([series.flip_rate(row[None], index) for row in values])

    assert by_row.mean() == pytest.approx(2 / 3, abs=4 * by_row.std() / len(values) ** 0.5)


@pytest.mark.parametrize("length", [11, 13, 15, 16])
def test_lag_one_of_detrended_white_noise_has_mean_minus_two_over_g(length: int) -> None:
    values = stream(2, "white").standard_normal((20_000, length))
    r1 = series.autocorrelation(_residual(values), np.arange(length))

    # -2/G to leading order; the spec's figures: -.18, -.15, -.13 at 11, 13, 15
    assert r1.mean() == pytest.approx(-2 / length, abs=0.01)
    assert r1.mean() < -0.1


def test_deltas_of_white_noise_look_like_oscillation() -> None:
    values = stream(3, "white").standard_normal((20_000, 17))
    deltas = np.diff(values, axis=1)

    r1 = (deltas[:, 1:] * deltas[:, :-1]).sum(1).mean() / (deltas**2).sum(1).mean()

    assert r1 == pytest.approx(-0.5 * 15 / 16, abs=0.01)


@given(values=LEVELS, scale=st.floats(0.1, 10), level=st.floats(-1, 1), slope=st.floats(-1, 1))
def test_statistics_of_rhythm_ignore_level_slope_and_unit(
    values: FloatArray, scale: float, level: float, slope: float
) -> None:
    index = np.arange(12)
    residual = _residual(values)
    moved = _residual(scale * values + level + slope * index)
    if residual.std() < 1e-3:
        return

    for statistic in (series.autocorrelation, series.nyquist_share):
        np.testing.assert_allclose(statistic(moved, index), statistic(residual, index), atol=1e-6)


@given(values=LEVELS)
def test_shares_and_correlations_stay_in_range(values: FloatArray) -> None:
    index, residual = np.arange(12), _residual(values)
    if residual.std() < 1e-3:
        return

    periods, share = series.spectrum(residual, index)

    assert (np.abs(series.autocorrelation(residual, index)) <= 1 + 1e-9).all()
    assert 0 <= series.nyquist_share(residual, index)[0] <= 1 + 1e-9
    assert share.sum() == pytest.approx(1.0)
    assert periods[0] == 12
    assert periods[-1] == 2
    assert 0 <= series.flip_rate(values, index) <= 1
    assert 0 < series.runs_p(values) <= 1


@given(values=LEVELS)
def test_a_series_read_backwards_has_the_same_rhythm(values: FloatArray) -> None:
    index = np.arange(12)
    there, back = _residual(values), _residual(values[:, ::-1])
    if there.std() < 1e-3:
        return

    np.testing.assert_allclose(
        series.autocorrelation(there, index), series.autocorrelation(back, index), atol=1e-9
    )
    assert series.swing(values, index) == pytest.approx(series.swing(values[:, ::-1], index))


def test_a_line_has_no_autocorrelation() -> None:
    residual = np.zeros((1, 9))

    assert np.isnan(series.autocorrelation(residual, np.arange(9))).all()
    assert np.isnan(series.nyquist_share(residual, np.arange(9))).all()
