"""Intervals: hand-worked values, agreement with real resampling, coverage, peeking."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from decisions.bandits.intervals import (
    bernstein_path,
    bernstein_sequence,
    betting,
    cluster_bootstrap,
    empirical_bernstein,
    normal,
    variance_floor,
)
from decisions.errors import DataError
from decisions.seeds import stream


def test_normal_by_hand() -> None:
    """Mean 0.5, sample variance 1/3, standard error sqrt(1/12); by cluster see below."""
    rows = np.array([0.0, 0.0, 1.0, 1.0])

    plain = normal(rows)
    clustered = normal(rows, clusters=np.array(["a", "a", "b", "b"]))

    assert plain.upper - plain.value == pytest.approx(1.959964 * np.sqrt(1 / 12), rel=1e-6)
    # cluster sums of deviations -1 and 1: sqrt((1 + 1) * 2 / 1) / 4
    assert clustered.upper - clustered.value == pytest.approx(1.959964 * 0.5, rel=1e-6)


def test_clusters_of_one_row_change_nothing() -> None:
    rows = stream(1, "rows").random(300)

    alone = normal(rows, clusters=np.arange(300))

    assert alone.upper == pytest.approx(normal(rows).upper, rel=1e-12)


def test_labels_of_clusters_do_not_matter() -> None:
    rows, labels = stream(11, "labels").random(400), np.repeat(np.arange(100), 4)

    ends = {
        normal(rows, clusters=each).upper
        for each in (labels, labels + 7, labels * 10**9 - 5, labels.astype(str))
    }

    assert max(ends) == pytest.approx(min(ends), rel=1e-12)


@pytest.mark.parametrize("groups", [400, 4_000])
def test_bootstrap_ends_are_those_of_plain_resampling(groups: int) -> None:
    """Against 4000 resamples one by one; the tolerance is four errors of their percentiles."""
    rng = stream(2, "bootstrap")
    rows = rng.gamma(0.3, 1.0, groups)
    resampled = np.array([rng.choice(rows, groups).mean() for _ in range(4_000)])

    found = cluster_bootstrap(rows, rng=rng, replicates=4_000)

    # Standard error of an estimated 2.5 % percentile, in standard deviations: 0.156 / 0.058 / 63
    tolerance = 4 * np.sqrt(2) * 2.67 / np.sqrt(4_000) * resampled.std()
    low, high = np.quantile(resampled, [0.025, 0.975])
    assert found.lower == pytest.approx(low, abs=tolerance)
    assert found.upper == pytest.approx(high, abs=tolerance)
    assert found.upper - found.value > found.value - found.lower  # skewness is kept


@pytest.mark.parametrize("groups", [500, 3_000])
def test_bootstrap_resamples_whole_clusters(groups: int) -> None:
    rng = stream(3, "clusters")
    effect, clusters = rng.normal(size=groups), np.repeat(np.arange(groups), 4)
    rows = effect[clusters]

    found = cluster_bootstrap(rows, rng=rng, clusters=clusters)
    naive = normal(rows)

    ratio = (found.upper - found.lower) / (naive.upper - naive.lower)
    assert ratio == pytest.approx(2.0, abs=0.2)  # sqrt of four rows a cluster


def test_empirical_bernstein_by_hand() -> None:
    rows = np.array([0.0, 1.0] * 50)
    half = np.sqrt(2 * rows.var(ddof=1) * np.log(80) / 100) + 7 * np.log(80) / (3 * 99)

    found = empirical_bernstein(rows, width=1.0)

    assert found.upper - found.value == pytest.approx(half)
    with pytest.raises(DataError, match="more than the stated width"):
        empirical_bernstein(rows, width=0.5)


def test_betting_ends_are_where_the_wealth_reaches_the_threshold() -> None:
    """The hedged wealth recomputed from the paper's formula on a grid of means."""
    r = (stream(4, "bets").random(200) < 0.8).astype(np.float64)
    t = np.arange(1, 201)
    mu = (0.5 + r.cumsum()) / (t + 1)
    s2 = np.concatenate([[0.25], ((0.25 + ((r - mu) ** 2).cumsum()) / (t + 1))[:-1]])
    bet = np.sqrt(2 * np.log(2 / 0.05) / (s2 * t * np.log(1 + t)))
    grid = np.linspace(0.001, 0.999, 999)[:, None]
    plus = np.cumprod(1 + np.minimum(bet, 0.5 / grid) * (r - grid), axis=1)
    minus = np.cumprod(1 - np.minimum(bet, 0.5 / (1 - grid)) * (r - grid), axis=1)
    kept = grid[(np.maximum(plus, minus) / 2 < 1 / 0.05).all(axis=1), 0]

    found = betting(r)

    assert found.lower == pytest.approx(kept[0], abs=0.0011)
    assert found.upper == pytest.approx(kept[-1], abs=0.0011)


def test_betting_widths_are_in_order() -> None:
    """Anytime validity costs width; the spec's prototype saw .067, .052 and .037."""
    r = (stream(5, "widths").random(1_000) < 0.9).astype(np.float64)

    always, once, wald = (
        each.upper - each.lower for each in (betting(r), betting(r, anytime=False), normal(r))
    )

    assert wald < once < always < 2.5 * wald


def test_betting_covers_at_every_size() -> None:
    """Running intersection: the truth is lost iff it is lost at the end. 300 runs, 4 errors."""
    runs = [
        betting((stream(6, f"run {i}").random(400) < 0.9).astype(np.float64)) for i in range(300)
    ]

    covered = np.mean([run.lower <= 0.9 <= run.upper for run in runs])

    assert covered >= 0.95 - 4 * np.sqrt(0.95 * 0.05 / 300)


def test_bernstein_sequence_covers_at_every_size_with_heavy_weights() -> None:
    covered: list[bool] = []
    for i in range(300):
        rng = stream(7, f"run {i}")
        likely = rng.random(1_000) < 0.98
        weights = np.where(likely, 0.5 / 0.98, 0.5 / 0.02)  # E w = 1, up to 25
        rewards = (rng.random(1_000) < np.where(likely, 0.9, 0.7)).astype(np.float64)
        found = bernstein_sequence(weights, rewards)
        covered.append(found.lower <= 0.8 <= found.upper)

    assert np.mean(covered) >= 0.95 - 4 * np.sqrt(0.95 * 0.05 / 300)


@given(st.lists(st.floats(0, 50), min_size=1, max_size=60))
def test_bernstein_bounds_only_rise_and_read_no_later_row(values: list[float]) -> None:
    xi = np.array(values)

    path = bernstein_path(xi, alpha=0.025)

    assert (np.diff(path) >= 0).all()
    if len(xi) > 1:
        np.testing.assert_allclose(path[:-1], bernstein_path(xi[:-1], alpha=0.025))


def test_sequences_narrow_around_the_value() -> None:
    rng = stream(8, "narrow")
    rewards = (rng.random(200_000) < 0.9).astype(np.float64)

    found = bernstein_sequence(np.ones(200_000), rewards)

    assert found.lower < 0.9 < found.upper
    assert found.upper - found.lower < 0.01


def test_nothing_is_known_of_too_little() -> None:
    rng = stream(9, "little")

    for found in (
        normal(np.empty(0)),
        normal(np.ones(1)),
        normal(np.ones(5), clusters=np.zeros(5)),
        normal(np.array([1.0, np.nan])),
        cluster_bootstrap(np.ones(1), rng=rng),
        cluster_bootstrap(np.ones(5), rng=rng, clusters=np.zeros(5)),
        empirical_bernstein(np.ones(1), width=1.0),
        betting(np.empty(0)),
        bernstein_sequence(np.empty(0), np.empty(0)),
    ):
        assert (found.lower, found.upper) == (-np.inf, np.inf)


def test_equal_rows_have_no_width() -> None:
    rng = stream(10, "equal")

    for rows in (np.ones(50), np.ones(5_000)):
        found = cluster_bootstrap(rows, rng=rng)
        assert (found.lower, found.upper) == (1.0, 1.0)


def test_values_out_of_range_are_refused() -> None:
    with pytest.raises(DataError, match=r"in \[0, 1\]"):
        betting(np.array([0.0, 2.0]))
    with pytest.raises(DataError, match="0 or more"):
        bernstein_path(np.array([-1.0]), alpha=0.05)
    with pytest.raises(DataError, match=r"in \[0, 1\]"):
        bernstein_sequence(np.ones(1), np.array([2.0]))


def test_rewards_without_variance_leave_an_interval() -> None:
    nothing = np.zeros(1000)

    found = variance_floor(normal(nothing), nothing, np.full(1000, 2.0), nothing)

    assert found.lower < -0.005 < 0.005 < found.upper  # 2 (1 - 0.025^(1/1000)) = 0.0074
    assert found.method.endswith("variance floor")


def test_the_variance_floor_by_hand() -> None:
    n = 1_000
    reward, nothing = np.r_[np.zeros(4), np.ones(n - 4)], np.zeros(n)
    point = replace(normal(np.ones(n)), value=0.0, lower=0.0, upper=0.0)
    weights = np.full(n, 0.5)

    left = (4 * 0.996 + 0.5) / 1001
    half = 1.959964 * np.sqrt(left * 0.25 / n)
    assert variance_floor(point, nothing, weights, reward).upper == pytest.approx(half, rel=1e-6)
    assert variance_floor(point, nothing, weights, reward + 0.5) == point
    wide = replace(point, lower=-1.0, upper=1.0)
    assert variance_floor(wide, nothing, weights, reward) == wide

    modelled = variance_floor(
        point, nothing, weights, reward, residual=0.1 * weights, squares=4 * weights
    )
    unexplained = (n * 0.05**2 + 0.5) / 1001
    assert modelled.upper == pytest.approx(1.959964 * np.sqrt(unexplained * 2 / n), rel=1e-6)

    signs = np.where(np.arange(n) < n // 2, 0.5, -0.5)
    both = variance_floor(point, nothing, signs, reward, clusters=np.arange(n) // 100)
    assert both.upper == pytest.approx(half * 10, rel=1e-6)  # clusters of 100 rows of one sign


def test_the_floor_fades_as_more_rows_carry_the_variance() -> None:
    """Thirty equal terms are worth as much as what is known of weights and residuals apart."""
    n = 1_000
    reward, weights = np.tile([0.0, 1.0], n // 2), np.full(n, 2.0)
    shares = []
    for carrying in (2, 30, 970):
        rows = np.where(np.arange(n) < carrying, np.tile([1.0, -1.0], n // 2), 0.0)
        found = normal(rows)
        wider = variance_floor(found, rows, weights, reward)
        before, after, apart = found.upper**2, wider.upper**2, 1.959964**2 * 4 * 0.2503 / n
        shares.append((after - before) / (apart - before))

    np.testing.assert_allclose(shares, [30 / 32, 30 / 60, 30 / 1_000], rtol=0.01)


def test_the_floor_has_no_cliff_at_any_number_of_failures() -> None:
    n = 5_000
    point = replace(normal(np.ones(n)), value=0.0, lower=0.0, upper=0.0)
    failures = [np.r_[np.zeros(s), np.ones(n - s)] for s in range(90, 111)]

    widths = np.array(
        [variance_floor(point, np.zeros(n), np.ones(n), reward).upper for reward in failures]
    )

    np.testing.assert_allclose(np.diff(widths) / widths[:-1], 1 / 200, atol=0.001)


@pytest.mark.parametrize("clustered", [False, True])
def test_a_row_that_carries_the_sum_is_really_resampled(*, clustered: bool) -> None:
    """Weights as of women/bts: the mean cannot be negative, whatever an expansion says."""
    rows = stream(9, "few").gamma(0.5, 1.5, 10_000)
    rows[0] = 21_739.0
    clusters = np.arange(10_000) if clustered else None

    found = cluster_bootstrap(rows, rng=stream(9, "ours"), clusters=clusters)

    draws = stream(9, "plain").integers(0, 10_000, (2_000, 10_000))
    low, high = np.quantile(rows[draws].mean(axis=1), [0.025, 0.975])
    assert found.lower == pytest.approx(low, rel=0.05)
    assert abs(found.upper - high) < 2.5  # one more or one fewer of the row that carries all
    assert 0 < found.lower < found.value < found.upper
