"""What the gate reads of planners: paired over fresh scenarios, as they are deployed."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest

from decisions.domains.lotsizing import DOMAIN, plants_of
from decisions.domains.lotsizing.evaluation import (
    DRIFT,
    GATE,
    LEVEL,
    ROTATION,
    demand_drift,
    evaluate,
)
from decisions.domains.lotsizing.instance import packaged
from decisions.domains.lotsizing.plant import PlantState
from decisions.domains.lotsizing.policies import PlantPolicy, Rule, plant_policy
from decisions.domains.lotsizing.rotation import rotation_of
from decisions.domains.lotsizing.world import RollingPlants
from decisions.errors import DataError
from decisions.evaluation import Evaluation
from decisions.gate import judge
from decisions.judging import judge_together
from decisions.policy import Policy
from decisions.seeds import stream

BASELINE = plant_policy(DOMAIN.baseline)
INSTANCE = BASELINE.instance
I = INSTANCE.items  # noqa: E741
HISTORY = DOMAIN.sample(60, stream(5, "lotsizing", "evaluation"))


def with_rule(rule: Rule) -> Policy:
    return PlantPolicy(instance=INSTANCE, rule=rule)


def evaluated(
    candidate: Policy, champion: Policy, *, episodes: int = 40, seed: int = 1
) -> Evaluation:
    rng = stream(seed, "lotsizing", "test")
    return evaluate(candidate, champion, HISTORY.lazy(), rng, episodes=episodes)


class Idle:
    def act(self, state: PlantState) -> npt.NDArray[np.int16]:
        return np.zeros_like(state.set_up)


class Everywhere:
    """Makes item 1 on every machine, also on those that cannot make it."""

    def act(self, state: PlantState) -> npt.NDArray[np.int16]:
        return np.ones_like(state.set_up)


class Late:
    """The baseline, while it is told that the episode has just begun; else idles."""

    def act(self, state: PlantState) -> npt.NDArray[np.integer]:
        assert (state.period == 0).all()
        return BASELINE.rule.act(state)


def one_machine_stopped() -> Policy:
    rotation = rotation_of(INSTANCE)
    return with_rule(replace(rotation, groups=((), *rotation.groups[1:])))


def test_a_policy_against_itself_is_unchanged() -> None:
    found = evaluated(BASELINE, BASELINE)

    assert judge(found, GATE).outcome == "unchanged"
    assert (found.difference.lower, found.difference.value, found.difference.upper) == (0, 0, 0)
    assert found.unchanged is not None
    assert "40 episodes" in found.unchanged


def test_what_decides_alike_only_because_machines_refuse_it_is_not_unchanged() -> None:
    class Refused(Idle):
        """Idles, but asks one machine for what it cannot make."""

        def act(self, state: PlantState) -> npt.NDArray[np.int16]:
            action = np.zeros_like(state.set_up)
            action[:, 0] = np.flatnonzero(INSTANCE.production[0] == 0)[0] + 1
            return action

    found = evaluated(with_rule(Refused()), with_rule(Idle()), episodes=4)

    assert found.unchanged is None
    assert judge(found, GATE).outcome == "reject"


def test_values_are_rewards_of_a_period() -> None:
    found = evaluated(BASELINE, with_rule(Idle()), episodes=300)

    assert found.candidate.value == pytest.approx(-17.38, abs=0.15)  # -1738 an episode of 100
    assert found.champion.value == pytest.approx(-75.38, abs=0.4)
    assert found.champion == found.estimates["idle"]
    assert found.difference.level == LEVEL


def test_nobody_beats_the_bound_and_better_rules_come_closer() -> None:
    found = evaluated(BASELINE, with_rule(Idle()))
    values = {name: each.value for name, each in found.estimates.items()}

    assert values["idle"] < values["H1 static assignment"]
    assert values[ROTATION] < values["H3 improved rotation"] < values["lower bound"]


def test_planners_are_told_that_a_whole_horizon_lies_ahead() -> None:
    assert evaluated(with_rule(Late()), BASELINE, episodes=4).difference.value == 0


def test_each_cut_off_meets_scenarios_of_its_own_and_the_same_when_repeated() -> None:
    first, again, other = (evaluated(BASELINE, with_rule(Idle()), seed=seed) for seed in (1, 1, 2))

    assert first == again
    assert first.candidate.value != other.candidate.value


def test_better_than_a_bad_champion_but_worse_than_the_rotation_is_not_promoted() -> None:
    found = evaluated(one_machine_stopped(), with_rule(Idle()))

    verdict = judge(found, GATE)

    assert found.difference.lower > 0
    assert found.checks["difference_from_rotation"] < 0
    assert verdict.outcome == "hold"
    assert [reason.rule for reason in verdict.reasons if not reason.kept] == [
        "difference_from_rotation"
    ]


def test_the_rotation_replaces_a_bad_champion() -> None:
    better = evaluated(BASELINE, one_machine_stopped())

    assert better.checks["difference_from_rotation"] == 0
    assert judge_together({1: better}, GATE, candidates=4)[1].outcome == "promote"


def test_impossible_choices_are_counted_idle_and_keep_a_candidate_out() -> None:
    found = evaluated(with_rule(Everywhere()), with_rule(Idle()), episodes=4)

    cannot = int((INSTANCE.production[:, 0] == 0).sum())
    assert found.checks["illegal_actions"] == cannot * 4 * INSTANCE.horizon
    reasons = {reason.rule: reason.kept for reason in judge(found, GATE).reasons}
    assert not reasons["illegal_actions"]


def test_two_policies_of_different_plants_are_not_compared() -> None:
    with pytest.raises(DataError, match="both must plan the same instance"):
        evaluated(BASELINE, plants_of(packaged("15x5")).baseline)


def held_out() -> pl.DataFrame:
    """As much of history as one cut-off's holdout has."""
    assert isinstance(DOMAIN.world, RollingPlants)
    return HISTORY.head(DOMAIN.world.plants * (DOMAIN.holdout // timedelta(days=1)))


def with_demand(history: pl.DataFrame, *, items: int, units: int) -> pl.DataFrame:
    """The same with more demand of the first items."""
    demand = np.array(history["demand"].to_list())
    demand[:, :items] += units
    return history.with_columns(pl.Series("demand", demand.tolist(), dtype=pl.List(pl.Int32())))


def test_demand_as_modelled_shows_no_drift_in_any_holdout() -> None:
    rows = held_out().height
    many = DOMAIN.sample(200 * rows, stream(6, "lotsizing", "drift"))

    drifts = [
        demand_drift(INSTANCE, many.slice(start, rows)) for start in range(0, many.height, rows)
    ]

    assert rows == 8
    assert max(drift for drift in drifts if drift is not None) < DRIFT
    assert len([drift for drift in drifts if drift is not None]) == 200


@pytest.mark.parametrize(("items", "units"), [(I, 2), (1, 6)])
def test_a_holdout_shows_a_shift_of_all_items_or_a_large_one_of_one(
    items: int, units: int
) -> None:
    drift = demand_drift(INSTANCE, with_demand(held_out(), items=items, units=units))

    assert drift is not None
    assert drift > DRIFT


def test_demand_of_the_plant_before_a_change_is_no_drift() -> None:
    before = plants_of(packaged("15x5")).sample(8, stream(7, "lotsizing", "drift"))
    both = pl.concat([before, held_out()])

    assert demand_drift(INSTANCE, both) == demand_drift(INSTANCE, held_out())
    assert demand_drift(INSTANCE, before) is None


def test_a_history_that_tells_of_no_demand_lets_nobody_pass() -> None:
    silent = HISTORY.with_columns(demand=pl.lit([], dtype=pl.List(pl.Int32())))

    found = evaluate(BASELINE, one_machine_stopped(), silent.lazy(), stream(1, "x"), episodes=40)

    assert "demand_drift" not in found.checks
    assert judge(found, GATE).outcome == "hold"
