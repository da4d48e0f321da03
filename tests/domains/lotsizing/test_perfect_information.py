from itertools import product

import numpy as np
import pytest

from decisions.domains.lotsizing.instance import Instance, packaged
from decisions.domains.lotsizing.perfect_information import perfect_information, replayed_cost
from decisions.domains.lotsizing.plant import Plant, PlantState
from decisions.domains.lotsizing.production_program import NoPlan, Program, solve
from decisions.errors import DataError
from decisions.policy import IntArray
from decisions.seeds import RowKeys, stream

PERIODS = 4


def plant_of(seed: int) -> Instance:
    """Two items, two machines; stock overflows and switches lose more than they make."""
    rng = stream(seed, "perfect information")
    return Instance(
        name=f"plant {seed}",
        horizon=PERIODS,
        production=np.array([[4, 1], [2, 5]]),
        setup_cost=rng.uniform(0.2, 2.0, (2, 2)),
        setup_loss=rng.integers(0, 4, (2, 2)),
        capacity=rng.integers(2, 5, 2),
        holding_cost=rng.uniform(0.1, 0.6, 2),
        lost_sales_cost=rng.uniform(0.3, 2.0, 2),
        demand=np.full((2, 5), 0.2),
    )


def every_cost(plant: Instance, start: PlantState, demand: IntArray) -> np.ndarray:
    """The costs of all action sequences, by simulation."""
    each = list(product(range(3), repeat=2))
    plans = np.array(list(product(each, repeat=PERIODS)), dtype=np.int16)
    kernels = Plant(plant)
    state = PlantState(
        np.repeat(start.inventory, len(plans), axis=0),
        np.repeat(start.set_up, len(plans), axis=0),
        np.repeat(start.period, len(plans)),
    )
    total = np.zeros(len(plans))
    for period in range(PERIODS):
        post, switching = kernels.apply(state, plans[:, period])
        state, lost, holding = kernels.advance_with(
            post, np.repeat(demand[period : period + 1], len(plans), axis=0)
        )
        total += switching + lost + holding
    return total


@pytest.mark.parametrize("seed", range(6))
def test_the_program_finds_the_cheapest_of_all_action_sequences(seed: int) -> None:
    plant = plant_of(seed)
    demand = stream(seed, "demand").integers(0, 5, (PERIODS, 2))
    start = Plant(plant).reset(RowKeys(seed, np.array([3])))
    cheapest = every_cost(plant, start, demand).min()

    found = perfect_information(plant, start, demand)
    relaxed = perfect_information(plant, start, demand, exact=False)

    assert found.optimal
    assert found.cost == pytest.approx(cheapest, rel=1e-4, abs=1e-6)
    assert found.bound <= cheapest + 1e-6
    assert relaxed.bound <= cheapest + 1e-6
    assert abs(found.gap) <= 1e-4 + 1e-9


def test_throwing_stock_away_before_it_costs_anything_is_a_relaxation() -> None:
    plant = plant_of(0)
    start = Plant(plant).reset(RowKeys(0, np.array([0])))
    start = start._replace(inventory=plant.capacity[None].astype(np.int32))
    nothing = np.zeros((PERIODS, 2), dtype=np.int64)

    exact = perfect_information(plant, start, nothing)
    relaxed = perfect_information(plant, start, nothing, exact=False)

    assert exact.cost > 1.0
    assert relaxed.cost == pytest.approx(0.0, abs=1e-9)


def test_the_columns_that_follow_from_actions_cost_what_the_plant_charges() -> None:
    plant = plant_of(2)
    rng = stream(5, "actions")
    start = Plant(plant).reset(RowKeys(1, np.array([0])))

    for _ in range(50):
        demand = rng.integers(0, 5, (PERIODS, 2))
        actions = rng.integers(0, 3, (PERIODS, 2))
        program = Program(
            instance=plant,
            inventory=start.inventory[0].astype(np.int64),
            set_up=start.set_up[0].astype(np.int64),
            demand=demand[None].astype(np.float64),
        )
        values = program.values(actions[None])
        cost = replayed_cost(plant, start, demand, actions)
        assert program.cost(values) == pytest.approx(cost)
        np.testing.assert_array_equal(program.plan(values)[0], actions)


def test_an_incumbent_is_never_made_worse() -> None:
    instance = packaged("15x5")
    plant = Plant(instance)
    start = plant.reset(RowKeys(0, np.array([7])))
    demand = stream(1, "demand").binomial(20, 0.4, (12, 15))
    idle = np.zeros((12, 5), dtype=np.int16)

    found = perfect_information(instance, start, demand, incumbent=idle, seconds=0.01)

    assert found.bound <= found.cost <= replayed_cost(instance, start, demand, idle) + 1e-6


def test_no_plan_and_no_demand_are_told_apart() -> None:
    instance = packaged("20x10")
    start = Plant(instance).reset(RowKeys(0, np.array([7])))
    demand = stream(1, "demand").binomial(20, 0.4, (10, 20))
    impossible = Program(
        instance=instance,
        inventory=start.inventory[0].astype(np.int64) - 1000,
        set_up=start.set_up[0].astype(np.int64),
        demand=demand[None].astype(np.float64),
    )

    with pytest.raises(NoPlan, match="no plan for '20x10' over 10 periods: HiGHS ended with"):
        solve(impossible, seconds=5.0)
    with pytest.raises(DataError, match="wanted periods by 20 items"):
        perfect_information(instance, start, demand[:, :3])
