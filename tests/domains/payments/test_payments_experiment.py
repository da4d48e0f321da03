"""Generation after generation in memory."""

from dataclasses import replace
from functools import partial

import pytest

from decisions.bandits.oracles import LightGBMConfig
from decisions.domains.payments.experiment import PRESETS, Arm, Days, records, run_arm
from decisions.domains.payments.simulator import Environment
from decisions.domains.payments.world import HEAVY, late_days

SMALL = LightGBMConfig(trees=10)


@pytest.fixture(scope="module")
def days() -> Days:
    return Days(environment=Environment(seed=5), rows=1500)


def test_the_presets_explore_less_and_less_until_one_stops(days: Days) -> None:
    entropies = [
        list(run_arm(days, replace(arm, oracle=SMALL), generations=1, seed=1))[-1].entropy
        for arm in (PRESETS["calm"], PRESETS["paper-like"], PRESETS["collapse"])
    ]

    assert entropies[0] > entropies[1] > entropies[2] == 0


def test_an_arm_is_the_same_whichever_ran_before_it(days: Days) -> None:
    arm = Arm(name="a", parameter=300.0, oracle=SMALL)
    alone = records(Days(environment=days.environment, rows=days.rows), arm, generations=2, seed=3)

    records(days, Arm(name="other", rule="greedy", oracle=SMALL), generations=2, seed=3)
    after = records(days, arm, generations=2, seed=3)

    assert repr(after) == repr(alone)  # NaN, where nothing came before, equals itself in text


def test_values_lie_between_nothing_known_and_the_best(days: Days) -> None:
    for record in run_arm(
        days, Arm(name="a", parameter=100.0, oracle=SMALL), generations=2, seed=1
    ):
        assert record.value <= record.value_greedy <= record.value_best
        assert 0 < record.propensity_minimum <= record.propensity_median <= 1


@pytest.mark.parametrize(
    "change",
    [
        {"window": 2},
        {"average": 2},
        {"floor": 0.3},
        {"mix": 0.5},
        {"continued": True},
        {"importance": 0.5},
        {"share": 0.3, "control": 0.01},
    ],
    ids=lambda change: "-".join(change),
)
def test_each_mitigation_changes_what_is_deployed(days: Days, change: dict[str, float]) -> None:
    arm = Arm(name="a", parameter=1000.0, oracle=SMALL)

    plain = list(run_arm(days, arm, generations=2, seed=1))
    treated = list(run_arm(days, replace(arm, **change), generations=2, seed=1))  # pyright: ignore[reportArgumentType]  (values by field name)

    assert treated[-1].value_blend != plain[-1].value_blend
    if "floor" in change or "mix" in change:
        assert treated[-1].churn < plain[-1].churn


def test_a_delay_leaves_outcomes_unresolved(days: Days) -> None:
    arm = Arm(name="a", parameter=100.0, oracle=SMALL)

    late = partial(late_days, HEAVY)
    record = next(iter(run_arm(days, arm, generations=1, seed=1, late=late)))

    assert 0.1 < record.unresolved_share < 0.3  # 18 % in the specification's measurement
