"""Each rule is kept by an ordinary batch, and one broken row of such a batch is named by it."""

from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from decisions.frames import DECISIONS, SLOTS, unit_id
from decisions.store.decision_rules import Batch, rules
from decisions.store.problems import decision_row_problems
from tests.store.samples import NOW, decided, units

ROWS, BROKEN = 40, 17
NAN = float("nan")
LATER = int((NOW + timedelta(days=2)).timestamp()) // 60
BREAKS: dict[str, dict[str, Any]] = {
    "probabilities and eligible differ in length": {"probabilities": [0.5, 0.5]},
    "decision_id is not a number of 0 or more": {"decision_id": -SLOTS, "unit_id": -1},
    "decision_id is given twice": decided(units(ROWS)).row(3, named=True),
    "decided_at lies in the future": {"decided_at": NOW + timedelta(microseconds=1)},
    "action is empty or not finite": {"action": [NAN]},
    "eligible is not ascending": {"eligible": [0, 2, 1]},
    "scores hold a number that is not finite": {"scores": [0.1, NAN, 0.2]},
    "probabilities hold a negative or missing number": {"probabilities": [1.5, -0.25, -0.25]},
    "probabilities do not sum to one": {"probabilities": [0.3, 0.3, 0.3]},
    "action is not eligible": {"action": [7.0]},
    "propensity is not above 0 and finite": {"propensity": 0.0},
    "propensity is not the probability of the action": {"propensity": 0.123},
    "decision_id is not that of its unit and slot": {"slot": 1},
    "decision_id lies in the future": {
        "decision_id": unit_id(LATER, 0) * SLOTS,
        "unit_id": unit_id(LATER, 0),
    },
    "arm is missing": {"arm": ""},
    "text holds a zero byte": {"arm": "explore\0"},
    "a list is missing": {"nominal": None},
    "a list holds a missing number": {"nominal": [None]},
    "nominal holds a number that is not finite": {"nominal": [NAN]},
    "arm_propensity is not above 0 and finite": {"arm_propensity": float("inf")},
    "uniform is not in [0, 1)": {"uniform": 1.0},
}


def broken(rule: str) -> pl.DataFrame:
    rows = decided(units(ROWS)).to_dicts()
    rows[BROKEN] |= BREAKS[rule]
    return pl.DataFrame(rows, DECISIONS)


def test_every_rule_is_broken_here() -> None:
    assert set(BREAKS) == set(rules(NOW))


@pytest.mark.parametrize("rule", BREAKS)
def test_one_row_of_an_ordinary_batch_is_named(rule: str) -> None:
    problems = decision_row_problems(broken(rule), now=NOW)

    twice = {3} if rule == "decision_id is given twice" else set[int]()
    named = {row for row, problem in enumerate(problems) if problem is not None}
    assert named == {BROKEN} | twice
    assert problems[BROKEN] == rule


@pytest.mark.parametrize("rule", BREAKS)
def test_a_rules_form_for_whole_batches_says_no_where_a_row_breaks_it(rule: str) -> None:
    batch = Batch(broken(rule), NOW)

    assert not (batch.ordinary and rules(NOW)[rule].whole(batch))


def test_the_form_for_whole_batches_passes_an_ordinary_one() -> None:
    batch = Batch(decided(units(ROWS)), NOW)

    assert batch.ordinary
    assert {name for name, rule in rules(NOW).items() if not rule.whole(batch)} == set()
    assert batch.chosen.sum() == ROWS
    np.testing.assert_array_equal(batch.starts, np.arange(0, 3 * ROWS, 3))
