"""The simulated years of the peeking study, on a log small enough to follow."""

import numpy as np
import pytest

from decisions.bandits.sequential import wager
from decisions.cli.study.peeking import clopper_pearson
from decisions.cli.study.peeking_noise import Pool
from decisions.cli.study.peeking_years import (
    Gate,
    Scenario,
    bank,
    days_to_promotion,
    simulate,
    worsening,
)
from decisions.evidence import BETS
from decisions.seeds import stream

MARGIN = -0.001


def pool(rows: int = 900) -> Pool:
    """Two actions, logged with 0.05 and 0.95; two policies that move mass to the rare one."""
    logged = np.tile([0.05, 0.95], (rows, 1))
    success = np.tile([0.9, 0.9], (rows, 1))
    q = np.full((rows, 2), 0.8)
    moved = np.array([[0.2, -0.2], [0.4, -0.4]]).T[None].repeat(rows, axis=0)
    return Pool(
        logged=logged,
        success=success,
        q=q,
        weights=moved / logged[:, :, None],
        base=(moved * q[:, :, None]).sum(axis=1),
        first=np.arange(0, rows, 2, dtype=np.int64),
        days=3,
    )


def test_truth_and_range_of_a_pool_are_those_of_its_policies() -> None:
    found = pool()

    np.testing.assert_allclose(found.truth, 0.0, atol=1e-12)  # both actions are equally good
    assert found.lowest == pytest.approx(-8 * 0.8)  # the rare action, taken at weight 8, failed


def test_a_day_has_the_expectation_that_was_taken_out() -> None:
    found, rng = pool(), stream(1, "days")

    days = [found.day(rng)[0] for _ in range(400)]

    deviation, _ = found.moments()
    error = deviation / sum(map(len, days)) ** 0.5
    assert (np.abs(np.concatenate(days).mean(axis=0)) < 4 * error).all()
    assert all(len(day) == 300 for day in days)


def test_a_shifted_day_of_the_bank_says_what_its_shifted_rows_say() -> None:
    found = pool()
    terms, _ = found.day(stream(2, "days"))
    made = bank(found, days=1, margin=MARGIN, rng=stream(2, "days"))
    centred, gain = terms - terms.mean(axis=0), 0.02

    exact = wager(centred[:, 0] + gain, lowest=found.lowest, margin=MARGIN)

    above = gain - MARGIN
    follow = made.wealth[0, 0] + above * made.slope[0, 0] - above**2 * made.curve[0, 0] / 2
    first = BETS.index(made.bets[0])
    np.testing.assert_allclose(
        follow, exact.log_wealth[first : first + len(made.bets)], rtol=2e-2, atol=2e-2
    )


def test_the_gate_of_each_cut_off_breaks_and_betting_keeps_its_error() -> None:
    made = bank(pool(), days=60, margin=MARGIN, rng=stream(3, "days"))
    worse = Scenario(name="worse", gain=MARGIN - 1e-9, relative=True)

    def bad(gate: Gate) -> int:
        found = simulate(
            made, worse, gate, years=40, margin=MARGIN, error=0.05, challengers=2,
            rng=stream(3, "years"),
        )  # fmt: skip
        assert worsening(found, MARGIN).all()
        return len(np.unique(found.year))

    assert bad("each cut-off") == 40
    assert bad("betting") <= 40 * 0.05 + 4 * (40 * 0.05 * 0.95) ** 0.5


def test_better_candidates_pass_sooner() -> None:
    made = bank(pool(), days=60, margin=MARGIN, rng=stream(4, "days"))

    def median(gain: float) -> float:
        passed = days_to_promotion(
            made, above=gain, error=1e-4, runs=50, days=200, normal=None, rng=stream(4, "runs")
        )
        return float(np.median(passed))

    assert 3 <= median(0.1) < median(0.05) < median(0.03) < np.inf


def test_the_exact_interval_of_a_share() -> None:
    assert clopper_pearson(0, 500) == (0.0, pytest.approx(0.00735, abs=1e-5))
    assert clopper_pearson(500, 500) == (pytest.approx(0.99265, abs=1e-5), 1.0)
