"""The study of refusals, power and coverage, at its smallest."""

from pathlib import Path

import numpy as np
import pytest
from rich.progress import Progress

from decisions.cli.report import Workbench
from decisions.cli.study import evidence_support
from decisions.cli.study.evidence_support import (
    check_coverage,
    check_power,
    check_refusals,
    clopper_pearson,
    payments,
)
from decisions.domains.payments.simulator import Environment
from decisions.seeds import stream


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    return Workbench("evidence", tmp_path, Progress(disable=True))


def test_refusals_and_power_at_their_smallest(bench: Workbench) -> None:
    check_refusals(bench, evaluations=3, rows=600)
    check_power(bench, evaluations=2, rows=600)

    sound = [check for check in bench.checks if check.name.startswith("sound logs refused")]
    wrong = [check for check in bench.checks if check.name.startswith("wrong logs refused")]
    assert len(sound) == (1 + 3) * 3
    assert all(check.ok for check in sound)
    assert len(wrong) == 2 * 3 * 3


def test_coverage_at_its_smallest_and_resumed(bench: Workbench) -> None:
    check_coverage(bench, logs=12, sizes=(500,), pool=700)
    first = list(bench.checks)
    bench.checks.clear()
    check_coverage(bench, logs=12, sizes=(500,), pool=700)

    assert bench.checks == first
    assert len(first) == 2 * 2 * 2
    assert all(check.ok for check in first)


def test_rows_of_a_card_share_their_arm_and_actions_follow_the_marginal() -> None:
    given = payments(Environment(seed=5, cards=20), 400, logger="stabilised", taught=400)
    rng = stream(1, "draws")

    drawn = np.stack([given.drawn(rng) for _ in range(300)])

    nothing, p = (drawn == 0).mean(axis=0), given.logged[:, 0]
    assert abs(nothing.mean() - p.mean()) < 4 * (0.25 / drawn.size * 20) ** 0.5
    assert evidence_support.RULE.error == 0.005


def test_exact_intervals_by_hand() -> None:
    low, high = clopper_pearson(0, 100)
    assert low == 0.0
    assert high == pytest.approx(1 - 0.025 ** (1 / 100))
    assert clopper_pearson(100, 100) == (pytest.approx(0.025 ** (1 / 100)), 1.0)
