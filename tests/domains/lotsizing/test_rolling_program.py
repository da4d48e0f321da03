from dataclasses import replace

import numpy as np
import pytest

from decisions.domains.lotsizing.exact import optimum
from decisions.domains.lotsizing.instance import Instance, packaged
from decisions.domains.lotsizing.plant import Plant, PlantState
from decisions.domains.lotsizing.production_program import NoPlan, Program, solve
from decisions.domains.lotsizing.rolling_program import RollingProgram, end_credits
from decisions.domains.lotsizing.simulation import evaluation_episodes, simulate
from decisions.policy import IntArray
from decisions.seeds import RowKeys, stream


def idle(state: PlantState) -> IntArray:
    return np.zeros(state.set_up.shape, dtype=np.int64)


def short(periods: int) -> Instance:
    return replace(packaged("tiny_2x1"), horizon=periods)


def test_with_certain_demand_the_plan_to_the_end_is_optimal() -> None:
    certain = replace(short(6), demand=np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0]]))
    plant, episodes = Plant(certain), evaluation_episodes(2)
    policy = RollingProgram(instance=certain, base=idle, horizon=6, seconds=20.0)

    cost = simulate(plant, policy.act, episodes).total

    least = optimum(certain).at(plant.reset(episodes))
    np.testing.assert_allclose(cost, least, rtol=1e-3)


def test_scenarios_agree_where_they_must_and_only_there() -> None:
    instance = short(8)
    program = Program(
        instance=instance,
        inventory=np.array([2, 2]),
        set_up=np.array([1]),
        demand=stream(0, "scenarios").integers(0, 5, (3, 4, 2)).astype(np.float64),
    )

    free = solve(program, seconds=20.0)
    fixed = solve(replace(program, agreed=4), seconds=20.0)

    plans, common = program.plan(free.values), program.plan(fixed.values)
    assert (plans[:, 0] == plans[0, 0]).all()
    assert (plans != plans[0]).any()
    assert (common == common[0]).all()
    assert free.objective <= fixed.objective + 1e-6
    assert free.objective == pytest.approx(program.cost(program.values(plans)), abs=1e-6)


@pytest.mark.parametrize("fixed", [False, True])
def test_decisions_repeat_and_beat_idling_in_the_long_run(*, fixed: bool) -> None:
    instance = short(5)
    plant, episodes = Plant(instance), RowKeys(3, np.arange(3))
    policy = RollingProgram(
        instance=instance, base=idle, horizon=3, scenarios=3, fixed=fixed, seconds=20.0
    )

    cost = simulate(plant, policy.act, episodes).total

    np.testing.assert_array_equal(cost, simulate(plant, policy.act, episodes).total)
    assert cost.mean() < simulate(plant, idle, episodes).total.mean()


def test_the_end_of_the_episode_earns_no_credit_and_stock_no_more_than_it_sells_for() -> None:
    instance = packaged("20x10")

    assert end_credits(instance, 0) is None
    late, early = end_credits(instance, 2), end_credits(instance, 50)
    assert late is not None
    assert early is not None
    assert (late.stock < instance.lost_sales_cost).all()
    np.testing.assert_allclose(late.most, 16.0)
    np.testing.assert_allclose(early.most, 100.0)


def test_a_state_of_no_plant_is_refused() -> None:
    instance = short(5)
    policy = RollingProgram(instance=instance, base=idle, horizon=3, seconds=20.0)
    state = Plant(instance).reset(RowKeys(0, np.arange(1)))

    with pytest.raises(NoPlan, match="Infeasible"):
        policy.act(state._replace(inventory=state.inventory - 100))
