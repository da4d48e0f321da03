"""The simulated years of the evidence study, on a log small enough to follow."""

from pathlib import Path

import numpy as np
import pytest
from rich.progress import Progress

from decisions.bandits.sequential import wager
from decisions.cli.report import Workbench
from decisions.cli.study.evidence_noise import Pool
from decisions.cli.study.evidence_promotion import check_promotions
from decisions.cli.study.evidence_years import (
    Scenario,
    bank,
    looks_to_promotion,
    simulate,
    worsening,
)
from decisions.seeds import stream

MARGIN = -0.001


def pool(rows: int = 900, *, size: int = 2) -> Pool:
    """Two actions, two arms that prefer one each; policies that move mass to the rare one.

    `size` rows are drawn together.
    """
    within = np.stack([np.tile([0.01, 0.99], (rows, 1)), np.tile([0.41, 0.59], (rows, 1))])
    shares = np.array([0.9, 0.1])
    moved = np.array([[0.2, -0.2], [0.4, -0.4]])[:, None].repeat(rows, axis=1)
    return Pool(
        within=within,
        shares=shares,
        success=np.full((rows, 2), 0.9),
        predicted=np.full((rows, 2, 2), 0.8),
        moved=moved.transpose(1, 2, 0),
        cluster=np.arange(rows, dtype=np.int64) // size,
        days=3,
    )


def test_truth_and_range_of_a_pool_are_those_of_its_policies() -> None:
    made = pool()

    np.testing.assert_allclose(made.logged[0], [0.05, 0.95])
    np.testing.assert_allclose(made.truth, 0.0, atol=1e-12)  # both actions are equally good
    # Of weights 4 and 8 the second meets the cap of two rows, 5: 0.8 is predicted, 5 / 8 held.
    np.testing.assert_allclose(made.lowest[0], [-3.2, 0.4 * (5 / 8 - 0.8) - 5])


def test_a_day_has_the_expectation_that_was_taken_out_and_whole_clusters() -> None:
    made, rng = pool(size=3), stream(1, "days")

    days = [made.day(rng) for _ in range(400)]

    terms = np.concatenate([day for day, _ in days])
    sums = np.concatenate([np.add.reduceat(day, starts, axis=0) for day, starts in days])
    error = sums.std(axis=0) / len(sums) ** 0.5 / 3
    assert (np.abs(terms.mean(axis=0)) < 4 * error).all()
    assert all(len(day) == 300 for day, _ in days)
    assert all((np.diff(starts) == 3).all() for _, starts in days)


def test_luck_of_the_arms_is_what_arms_drawn_again_show() -> None:
    made, rng = pool(size=15), stream(2, "arms")
    arms = rng.choice(2, (4000, 60), p=made.shares)
    error = made.weights[0] * (made.success[0][:, None] - made.q[0])
    shift = (made.within[:, 0, :, None] * error).sum(axis=1)  # (arms, policies)

    again = shift[arms].mean(axis=1).std(axis=0)

    np.testing.assert_allclose(made.luck_of_arms(), again, rtol=0.1)


def test_a_shifted_day_of_the_bank_says_what_its_shifted_rows_say() -> None:
    made = pool()
    terms, starts = made.day(stream(3, "days"))
    stored = bank(made, days=1, margin=MARGIN, rng=stream(3, "days"))
    clusters = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(terms))))
    centred, gain = terms[:, 0] - terms[:, 0].mean(), 0.01
    lowest = made.lowest[:, 0].min() + MARGIN  # the shift by truth and gain is less than this

    exact = wager(centred + gain, lowest=lowest - 0.3, margin=MARGIN, clusters=clusters)

    above = gain - MARGIN
    follow = stored.wealth[0, 0] + above * stored.slope[0, 0] - above**2 * stored.curve[0, 0] / 2
    np.testing.assert_allclose(follow[2:], exact.log_wealth[2:], rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("size", [1, 15])
def test_years_of_candidates_just_worse_than_the_margin_keep_the_error(size: int) -> None:
    made = bank(pool(size=size), days=300, margin=MARGIN, rng=stream(4, "days"))
    worse = Scenario(name="worse", gain=MARGIN - 1e-9, relative=True)

    promotions = simulate(
        made, worse, years=40, margin=MARGIN, error=0.05, challengers=2, columns=[0, 1],
        luck=np.zeros(2), rng=stream(4, "years"),
    )  # fmt: skip

    assert worsening(promotions, MARGIN).all()
    bad = len(np.unique(promotions.year))
    assert bad <= 40 * 0.05 + 4 * (40 * 0.05 * 0.95) ** 0.5


def test_luck_that_stays_is_evidence_to_the_gate() -> None:
    made = bank(pool(), days=300, margin=MARGIN, rng=stream(6, "days"))
    worse = Scenario(name="worse", gain=MARGIN - 1e-9, relative=True)

    def promoted(luck: float) -> int:
        promotions = simulate(
            made, worse, years=10, margin=MARGIN, error=0.05, challengers=2, columns=[0],
            luck=np.array([luck, 0.0]), rng=stream(6, "years"),
        )  # fmt: skip
        return len(promotions.year)

    assert promoted(0.05) > promoted(0.0)


def test_better_candidates_pass_sooner() -> None:
    made = bank(pool(), days=60, margin=MARGIN, rng=stream(5, "days"))

    def median(gain: float) -> float:
        passed = looks_to_promotion(
            made, above=gain, error=1e-4, runs=50, looks=400, columns=[0], rng=stream(5, "runs")
        )
        return float(np.median(passed))

    assert 1 <= median(0.1) < median(0.05) < median(0.03) < np.inf


def test_promotions_at_their_smallest_and_resumed(tmp_path: Path) -> None:
    bench = Workbench("evidence", tmp_path, Progress(disable=True))

    check_promotions(bench, years=2, per_day=200, bank_days=3)
    first = list(bench.checks)
    bench.checks.clear()
    check_promotions(bench, years=2, per_day=200, bank_days=3)

    assert bench.checks == first
    names = [check.name for check in first]
    assert (
        sum(name.startswith("share of 2 years with a worsening promotion") for name in names) == 8
    )
    assert "median looks to promotion, a champion's logs, truly +0.5 pp" in names
