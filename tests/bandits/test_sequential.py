"""Evidence that may be looked at every day: coverage under optional stopping, sums, bad input."""

from datetime import UTC, datetime, timedelta
from math import inf, isclose, log, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from decisions.bandits.off_policy import LoggedDecisions, terms_of
from decisions.bandits.sequential import CAP, accumulate, cautious, paired_evidence, wager
from decisions.errors import DataError
from decisions.evidence import BETS, Evidence, ended, unbet
from decisions.policy import FloatArray
from decisions.seeds import stream

START = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def skewed(rng: np.random.Generator, n: int, *, mean: float = 0.0) -> FloatArray:
    """Differences with rare large losses, in [-9.9, 0.2], as an importance weight makes them."""
    return np.where(rng.random(n) < 0.01, -9.9, 0.1) + mean


def evidence(**changes: object) -> Evidence:
    usual: dict[str, object] = {
        "margin": 0.0,
        "rows": 10,
        "total": 1.0,
        "variance": 4.0,
        "log_wealth": (0.0,) * len(BETS),
        "staked": tuple(10 * bet for bet in BETS),
    }
    return Evidence(**(usual | changes))  # type: ignore[arg-type]


def test_stopping_at_the_best_look_errs_no_more_often_than_stated() -> None:
    runs, days, error = 250, 25, 0.1
    rng = stream(1, "stopping")

    crossed = 0
    for _ in range(runs):
        found = wager(skewed(rng, 300), lowest=-9.9, margin=0.0)
        best = found.log_e_value
        for _ in range(days - 1):
            found = found.plus(wager(skewed(rng, 300), lowest=-9.9, margin=0.0))
            best = max(best, found.log_e_value)
        crossed += best >= -log(error)

    assert 0 < crossed / runs <= error + 4 * (error * (1 - error) / runs) ** 0.5


def test_a_normal_bound_errs_several_times_too_often_on_the_same_differences() -> None:
    runs, error = 4000, 0.005
    rng = stream(2, "normal")

    terms = skewed(rng, runs * 600).reshape(runs, 600)
    t = terms.mean(axis=1) / np.maximum(terms.std(axis=1, ddof=1), 1e-9) * 600**0.5
    normal = float((t > 2.576).mean())
    betting = np.mean(
        [wager(row, lowest=-9.9, margin=0.0).log_e_value >= -log(error) for row in terms]
    )

    assert normal > 3 * error
    assert betting <= error + 4 * (error / runs) ** 0.5


def test_a_drift_is_judged_by_its_average_over_the_rows_seen() -> None:
    rng, runs, error = stream(4, "drift"), 400, 0.1
    swing = 0.3 * np.sin(np.arange(30) / 30 * 2 * np.pi)  # the mean over all of them is zero

    crossed = 0
    for _ in range(runs):
        found = None
        for day, drift in enumerate(swing):
            more = wager(skewed(rng, 100, mean=drift), lowest=-10.2, margin=0.0)
            found = more if found is None else found.plus(more)
            if swing[: day + 1].mean() <= 0 and found.log_e_value >= -log(error):
                crossed += 1
                break

    assert crossed / runs <= error + 4 * (error * (1 - error) / runs) ** 0.5


def test_a_true_gain_is_found_and_the_lower_bound_lies_below_it() -> None:
    rng = stream(5, "power")

    found = wager(skewed(rng, 20_000, mean=0.1), lowest=-9.8, margin=0.0)

    assert 0 < found.lower_bound(1e-4) < 0.1
    assert found.lower_bound(1e-4) < found.lower_bound(1e-2) < found.value


@given(
    seed=st.integers(0, 1000),
    mean=st.floats(-0.5, 0.5),
    error=st.floats(1e-6, 0.2),
    n=st.integers(1, 400),
)
def test_the_lower_bound_exceeds_the_margin_exactly_where_the_capital_does(
    seed: int, mean: float, error: float, n: int
) -> None:
    rng = np.random.default_rng(seed)

    found = wager(skewed(rng, n, mean=mean), lowest=-9.9 + mean, margin=-0.01)

    reached = found.log_e_value >= -log(error)
    assert (found.lower_bound(error) >= found.margin) == reached


@given(seed=st.integers(0, 1000), cut=st.integers(1, 199))
def test_days_add_up_to_what_all_their_rows_say_at_once(seed: int, cut: int) -> None:
    terms = skewed(np.random.default_rng(seed), 200)

    whole = wager(terms, lowest=-9.9, margin=0.0)
    parts = accumulate(
        [
            (START, START + DAY, wager(terms[:cut], lowest=-9.9, margin=0.0)),
            (START + 2 * DAY, START + 3 * DAY, wager(terms[cut:], lowest=-9.9, margin=0.0)),
        ]
    )

    assert parts.rows == whole.rows
    np.testing.assert_allclose(parts.log_wealth, whole.log_wealth, atol=1e-9)
    assert isclose(parts.value, whole.value, abs_tol=1e-12)


def test_a_day_of_wider_range_lowers_the_bets_that_it_could_ruin() -> None:
    rng, terms = stream(6, "range"), stream(6, "terms").uniform(-1, 1, 100)
    narrow = wager(rng.uniform(-1, 1, 100), lowest=-1.0, margin=0.0)
    wide = wager(terms, lowest=-50.0, margin=0.0)

    both = narrow.plus(wide)

    assert isclose(narrow.staked[0], 100 * BETS[0])
    assert isclose(wide.staked[0], 100 * 0.95 / 50)
    assert isclose(wide.log_wealth[0], float(np.log1p(0.95 / 50 * terms).sum()))
    assert isclose(both.staked[0], narrow.staked[0] + wide.staked[0])


def test_stakes_that_follow_the_range_err_no_more_often_than_stated() -> None:
    rng, runs, error = stream(9, "widening"), 250, 0.1

    crossed = 0
    for _ in range(runs):
        found = wager(skewed(rng, 200), lowest=-9.9, margin=0.0)
        best = found.log_e_value
        for day in range(15):
            lowest = -9.9 if day % 2 else -99.0
            found = found.plus(wager(skewed(rng, 200), lowest=lowest, margin=0.0))
            best = max(best, found.log_e_value)
        crossed += best >= -log(error)

    assert crossed / runs <= error + 4 * (error * (1 - error) / runs) ** 0.5


def test_ended_evidence_stays_ended() -> None:
    won = evidence(log_wealth=(20.0,) * len(BETS))

    over = ended(margin=0.0).plus(won)

    assert won.lower_bound(0.01) > 0
    assert (over.log_e_value, over.lower_bound(0.01)) == (-inf, -inf)


def test_a_refused_look_wins_nothing_and_gives_no_loss_back() -> None:
    before = evidence(log_wealth=(3.0,) * len(BETS))
    mixed = evidence(log_wealth=(5.0, -1.0, *[0.0] * (len(BETS) - 2)))

    after = before.plus(mixed.without_gain())

    assert after.log_wealth[:3] == (3.0, 2.0, 3.0)
    assert (after.rows, after.value) == (before.rows, before.value)


def test_what_was_refused_moves_no_bound_but_by_its_losses() -> None:
    """Neither value nor ends may come from rows whose evaluation was refused."""
    long = evidence(rows=20_000, total=0.0, log_wealth=(0.5,) * len(BETS))
    worse = evidence(
        rows=1_000,
        total=-50.0,
        variance=90.0,
        log_wealth=tuple(-bet * 50 for bet in BETS),
        staked=tuple(1_000 * bet for bet in BETS),
    )

    both = long.without_gain().plus(worse)

    assert both.lower_bound(0.01) == worse.lower_bound(0.01) < both.value
    assert (both.rows, both.forgone) == (1_000, 20_000)
    assert long.without_gain().begun
    assert not unbet(margin=long.margin).begun


def test_refusing_what_was_drawn_badly_lets_no_capital_grow() -> None:
    """Whoever may give losses back wins by luck; whoever only forgoes gains does not."""
    runs, days, error = 250, 25, 0.1
    rng = stream(10, "refusing")

    crossed, given_back = 0, 0
    for _ in range(runs):
        kept = forgiven = evidence(log_wealth=(0.0,) * len(BETS))
        best = [0.0, 0.0]
        for _ in range(days):
            terms = skewed(rng, 100)
            look = wager(terms, lowest=-9.9, margin=0.0)
            refused = terms.min() < -9  # seen from the actions that were drawn
            kept = kept.plus(look.without_gain() if refused else look)
            forgiven = forgiven if refused else forgiven.plus(look)
            best = [max(best[0], kept.log_e_value), max(best[1], forgiven.log_e_value)]
        crossed += best[0] >= -log(error)
        given_back += best[1] >= -log(error)

    assert crossed / runs <= error + 4 * (error * (1 - error) / runs) ** 0.5
    assert given_back > crossed


def test_the_paired_terms_are_those_of_the_doubly_robust_estimator() -> None:
    rng, n, k = stream(7, "paired"), 500, 3
    logged = rng.dirichlet(np.full(k, 50.0), n)
    action = np.array([rng.choice(k, p=row) for row in logged])
    log_ = LoggedDecisions(
        eligible=np.ones((n, k), dtype=np.bool_),
        action=action,
        propensity=logged[np.arange(n), action],
        reward=(rng.random(n) < 0.5).astype(float),
        q=rng.random((n, k)),
        logged=logged,
        clusters=np.arange(n) // 2,
    )
    new, old = rng.dirichlet(np.full(k, 50.0), n), rng.dirichlet(np.full(k, 50.0), n)

    found = paired_evidence(log_, candidate=new, champion=old, margin=-0.01)

    assert found is not None
    assert np.abs((new - old) / logged).max() < CAP  # nothing to be cautious about
    difference = terms_of(log_, new)["DR"].minus(terms_of(log_, old)["DR"])
    assert isclose(found.value, difference.value, abs_tol=1e-12)
    assert found.rows == n


def rare(rng: np.random.Generator, n: int, *, rarest: float) -> tuple[LoggedDecisions, FloatArray]:
    """Two actions of equal chance .9, the first logged with `rarest` in one row of a hundred.

    Also probabilities of a candidate that takes it in half of those rows.
    """
    p = np.where(np.arange(n) % 100 == 0, rarest, 0.5)
    logged = np.column_stack([p, 1 - p])
    action = (rng.random(n) >= p).astype(np.int64)
    log_ = LoggedDecisions(
        eligible=np.ones((n, 2), dtype=np.bool_),
        action=action,
        propensity=logged[np.arange(n), action],
        reward=(rng.random(n) < 0.9).astype(float),
        q=np.full((n, 2), 0.85),
        logged=logged,
    )
    return log_, np.full((n, 2), 0.5)


def test_one_rare_probability_caps_no_stake() -> None:
    rng = stream(11, "rare")
    log_, candidate = rare(rng, 2000, rarest=1 / 2000)
    assert log_.logged is not None

    found = paired_evidence(log_, candidate=candidate, champion=log_.logged, margin=-0.01)

    assert found is not None
    assert isclose(found.staked[2], 2000 * BETS[2])  # 0.06: a weight of 1000 would allow 0.001


def test_cautious_predictions_leave_the_difference_unbiased() -> None:
    rng, runs = stream(12, "unbiased"), 400
    values = []
    for _ in range(runs):
        log_, candidate = rare(rng, 500, rarest=0.02)
        assert log_.logged is not None
        one = paired_evidence(log_, candidate=candidate, champion=log_.logged, margin=0.0)
        assert one is not None
        values.append(one.value)

    assert abs(np.mean(values)) < 4 * np.std(values) / runs**0.5  # both actions are equally good


@given(seed=st.integers(0, 10_000), cap=st.floats(0.1, 10))
def test_drawing_an_action_costs_no_more_than_the_cap(seed: int, cap: float) -> None:
    rng = np.random.default_rng(seed)
    logged = 0.999 * rng.dirichlet(np.full(4, 0.1), 20) + 0.001 / 4
    moved = rng.dirichlet(np.ones(4), 20) - rng.dirichlet(np.ones(4), 20)
    guess = rng.random((20, 4))

    weights, q = cautious(moved, logged, guess, cap=np.full(20, cap))

    for reward in (0.0, 1.0):
        assert (weights * (reward - q) >= -cap * (1 + 1e-9)).all()
    assert ((q >= 0) & (q <= 1)).all()
    small = np.abs(weights) <= cap
    np.testing.assert_array_equal(q[small], guess[small])


def test_rows_drawn_together_are_one_bet() -> None:
    terms = np.array([0.5, -0.5, 0.25, 0.0])

    found = wager(terms, lowest=-4.0, margin=0.0, clusters=np.array([7, 7, 3, 9]))

    assert isclose(found.log_wealth[0], float(np.log1p(0.95 / 8 * 0.25)))  # two rows of -4
    assert isclose(found.log_wealth[2], float(np.log1p(BETS[2] * 0.25)))


def test_bets_on_rows_that_share_their_draw_err_where_bets_on_clusters_do_not() -> None:
    runs, error, size = 400, 0.05, 15
    rng = stream(13, "clusters")
    crossed = {"rows": 0, "clusters": 0}
    cluster = np.repeat(np.arange(40), size)

    for _ in range(runs):
        terms = np.repeat(rng.choice([-0.5, 0.5], 40), size)
        rows = wager(terms, lowest=-0.5, margin=0.0)
        clusters = wager(terms, lowest=-0.5, margin=0.0, clusters=cluster)
        crossed["rows"] += rows.log_e_value >= -log(error)
        crossed["clusters"] += clusters.log_e_value >= -log(error)

    assert crossed["rows"] / runs > 3 * error
    assert crossed["clusters"] / runs <= error + 4 * (error / runs) ** 0.5


def test_what_can_be_at_least_is_read_without_any_outcome() -> None:
    rng, n = stream(8, "range"), 200
    logged = np.tile([0.01, 0.99], (n, 1))
    ones = np.ones(n, dtype=np.int64)

    def staked(reward: FloatArray) -> tuple[float, ...]:
        log_ = LoggedDecisions(
            eligible=np.ones((n, 2), dtype=np.bool_),
            action=ones,
            propensity=np.full(n, 0.99),
            reward=reward,
            q=np.full((n, 2), 0.5),
            logged=logged,
        )
        candidate, champion = np.tile([1.0, 0.0], (n, 1)), np.tile([0.0, 1.0], (n, 1))
        found = paired_evidence(log_, candidate=candidate, champion=champion, margin=0.0)
        assert found is not None
        return found.staked

    # The rare action was never drawn; had it been, and failed, the row would have cost CAP and
    # what the champion's action was predicted to bring: 0.5 less the cautious 0.1.
    assert isclose(staked(ones.astype(float))[0], n * 0.95 / (CAP + 0.4))
    assert staked(ones.astype(float)) == staked((rng.random(n) < 0.5).astype(float))


def test_without_a_known_range_there_is_no_evidence() -> None:
    n = 10
    half = np.full((n, 2), 0.5)

    def found(reward: FloatArray, logged: FloatArray | None) -> Evidence | None:
        log_ = LoggedDecisions(
            eligible=np.ones((n, 2), dtype=np.bool_),
            action=np.zeros(n, dtype=np.int64),
            propensity=np.full(n, 0.5),
            reward=reward,
            logged=logged,
        )
        return paired_evidence(log_, candidate=half, champion=half, margin=0.0)

    assert found(np.ones(n), None) is None
    assert found(np.full(n, 7.0), half) is None
    assert found(np.ones(n), half) is not None


@pytest.mark.parametrize(
    "changes",
    [
        {"variance": -1.0},
        {"variance": nan},
        {"total": inf},
        {"margin": nan},
        {"rows": -1},
        {"log_wealth": (0.0,)},
        {"log_wealth": (nan,) * len(BETS)},
        {"log_wealth": (inf,) * len(BETS)},
        {"staked": (-1.0,) * len(BETS)},
    ],
)
def test_impossible_evidence_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(DataError, match="wanted finite numbers"):
        evidence(**changes)


@pytest.mark.parametrize(("terms", "lowest"), [([0.0, nan], -1.0), ([0.0, -2.0], -1.0)])
def test_differences_that_cannot_be_are_refused(terms: list[float], lowest: float) -> None:
    with pytest.raises(DataError):
        wager(np.array(terms), lowest=lowest, margin=0.0)


def test_days_out_of_order_or_counted_twice_are_refused() -> None:
    one = evidence()

    for spans in (
        [],
        [(START + DAY, START)],
        [(START, START + 2 * DAY), (START + DAY, START + 3 * DAY)],
        [(START + DAY, START + 2 * DAY), (START, START + DAY)],
    ):
        with pytest.raises(DataError):
            accumulate([(since, until, one) for since, until in spans])


def test_evidence_against_another_margin_does_not_add_up() -> None:
    with pytest.raises(DataError, match="margin"):
        evidence().plus(evidence(margin=0.1))


@pytest.mark.parametrize("error", [0.0, 1.0, nan, -0.1])
def test_an_error_that_is_no_probability_is_refused(error: float) -> None:
    with pytest.raises(DataError):
        evidence().lower_bound(error)


def test_no_rows_say_nothing() -> None:
    nothing = wager(np.zeros(0), lowest=-1.0, margin=0.0)

    assert nothing.lower_bound(0.05) == -inf
    assert np.isnan(nothing.value)
    assert nothing.log_e_value <= 0
