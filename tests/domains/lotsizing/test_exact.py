"""Backward induction against a plain recursion, known values, simulation and its own limits."""

from dataclasses import replace
from functools import cache
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decisions.domains.lotsizing.exact import CostToGo, cost_of, optimum
from decisions.domains.lotsizing.instance import Instance, packaged
from decisions.domains.lotsizing.plant import Plant, PlantState
from decisions.domains.lotsizing.simulation import evaluation_episodes, simulate
from decisions.domains.lotsizing.start_stop import start_stop
from decisions.domains.lotsizing.static_assignment import static_assignment
from decisions.errors import DataError


def by_recursion(plant: Instance, stocks: tuple[int, ...], set_up: tuple[int, ...]) -> float:
    """The optimum from one state, written from the rules of the plant, sharing no code."""

    @cache
    def least(stocks: tuple[int, ...], set_up: tuple[int, ...], period: int) -> float:
        if period == plant.horizon:
            return 0.0
        return min(expected(stocks, set_up, action, period) for action in product(*can_do))

    def expected(
        stocks: tuple[int, ...], set_up: tuple[int, ...], action: tuple[int, ...], period: int
    ) -> float:
        cost, after = 0.0, list(stocks)
        for m, item in enumerate(action):
            if item:
                after[item - 1] += plant.production[m, item - 1]
                if set_up[m] != item:
                    after[item - 1] -= plant.setup_loss[m, item - 1]
                    cost += plant.setup_cost[m, item - 1]
        for demand in product(*(range(plant.demand.shape[1]) for _ in stocks)):
            chance, left, now = 1.0, list[int](), 0.0
            for i, units in enumerate(demand):
                chance *= plant.demand[i, units]
                served = int(after[i]) - units
                now += plant.lost_sales_cost[i] * max(0, -served)
                left.append(min(max(0, served), int(plant.capacity[i])))
                now += plant.holding_cost[i] * left[-1]
            if chance:
                cost += chance * (now + least(tuple(left), action, period + 1))
        return cost

    can_do = [[0, *(int(i) + 1 for i in np.flatnonzero(row))] for row in plant.production]
    return least(stocks, set_up, 0)


@st.composite
def small_plants(draw: st.DrawFn) -> Instance:
    machines, items = draw(st.sampled_from([(1, 1), (1, 2), (2, 2), (2, 1)]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    production = rng.integers(0, 4, (machines, items))
    production[:, 0] += production.sum(axis=1) == 0
    production[0] += production.sum(axis=0) == 0
    return Instance(
        name="small",
        horizon=draw(st.integers(1, 3)),
        production=production,
        setup_cost=rng.uniform(0, 3, (machines, items)),
        setup_loss=rng.integers(0, 3, (machines, items)),
        capacity=rng.integers(1, 4, items),
        holding_cost=rng.uniform(0, 1, items),
        lost_sales_cost=rng.uniform(0, 4, items),
        demand=rng.dirichlet(np.ones(3), items),
    )


def state_of(stocks: tuple[int, ...], set_up: tuple[int, ...]) -> PlantState:
    return PlantState(
        inventory=np.array([stocks], dtype=np.int32),
        set_up=np.array([set_up], dtype=np.int16),
        period=np.zeros(1, dtype=np.int32),
    )


@settings(max_examples=40, deadline=None)
@given(plant=small_plants(), data=st.data())
def test_the_optimum_is_that_of_a_plain_recursion(plant: Instance, data: st.DataObject) -> None:
    stocks = tuple(data.draw(st.integers(0, int(c))) for c in plant.capacity)
    set_up = tuple(
        data.draw(st.sampled_from([0, *(int(i) + 1 for i in np.flatnonzero(row))]))
        for row in plant.production
    )

    value = optimum(plant).at(state_of(stocks, set_up))

    np.testing.assert_allclose(value, by_recursion(plant, stocks, set_up), rtol=1e-12)


@pytest.mark.parametrize(
    ("name", "empty", "mean"),
    [("easy_2x1", 4.0375, 1.6681), ("tiny_2x1", 29.7722, 25.2497)],
)
def test_known_values_of_the_small_instances(name: str, empty: float, mean: float) -> None:
    found = optimum(packaged(name))

    assert found.at(state_of((0, 0), (0,))) == pytest.approx(empty, abs=1e-3)
    assert found.mean_over_starts() == pytest.approx(mean, abs=1e-3)


def test_simulated_optimal_policy_costs_what_the_optimum_says() -> None:
    plant = packaged("tiny_2x1")
    best = optimum(plant)

    cost = simulate(Plant(plant), best.act, evaluation_episodes(4000)).total

    error = cost.std(ddof=1) / np.sqrt(len(cost))
    assert abs(cost.mean() - best.mean_over_starts()) < 3 * error


def test_exact_cost_of_the_optimal_policy_is_the_optimum() -> None:
    plant = packaged("tiny_2x1")
    best = optimum(plant, every_period=True)

    exact = cost_of(plant, best.act, every_period=True)

    np.testing.assert_allclose(exact.costs, best.costs, rtol=1e-12)
    assert best.costs.shape == (21, 3, 11, 11)
    assert (best.costs[-1] == 0).all()


def test_exact_cost_of_any_policy_agrees_with_its_simulation_and_is_no_less_than_the_optimum() -> (
    None
):
    plant = packaged("tiny_2x1")
    best = optimum(plant)

    def lowest_stock(state: PlantState) -> np.ndarray:
        return (state.inventory.argmin(axis=1) + 1)[:, None].astype(np.int16)

    exact = cost_of(plant, lowest_stock)

    simulated = simulate(Plant(plant), lowest_stock, evaluation_episodes(4000)).total
    error = simulated.std(ddof=1) / np.sqrt(len(simulated))
    assert abs(simulated.mean() - exact.mean_over_starts()) < 4 * error
    assert (exact.costs >= best.costs - 1e-9).all()
    assert exact.mean_over_starts() > 1.02 * best.mean_over_starts()


def test_two_machines_on_one_item_add() -> None:
    plant = replace(
        packaged("easy_2x1"),
        production=np.array([[2, 2], [1, 0]]),
        setup_cost=np.ones((2, 2)),
        setup_loss=np.ones((2, 2), dtype=np.int64),
    )

    found = optimum(plant)

    assert found.set_ups.tolist() == [[0, 0], [0, 1], [1, 0], [1, 1], [2, 0], [2, 1]]
    for set_up in ((0, 0), (1, 1), (2, 1)):
        value = found.at(state_of((0, 0), set_up))
        np.testing.assert_allclose(value, by_recursion(plant, (0, 0), set_up), rtol=1e-12)


def test_a_plant_that_is_too_large_is_refused_with_its_size() -> None:
    with pytest.raises(DataError, match=r"'20x10' is too large .* states times .* GiB"):
        optimum(packaged("20x10"))


def test_a_stock_too_large_for_a_table_is_refused_by_name() -> None:
    plant = replace(packaged("easy_2x1"), capacity=np.array([3, 100_000]))

    with pytest.raises(DataError, match=r"capacity\[1\] is 100000: .* at most 2000 units"):
        start_stop(plant, stops=True, waits=True)


def test_a_policy_outside_the_mask_is_refused() -> None:
    plant = replace(
        packaged("easy_2x1"),
        production=np.array([[2, 0], [1, 1]]),
        setup_cost=np.ones((2, 2)),
        setup_loss=np.ones((2, 2), dtype=np.int64),
    )

    def forbidden(state: PlantState) -> np.ndarray:
        return np.full((len(state.period), 2), 2, dtype=np.int16)

    with pytest.raises(DataError, match="machine 1 cannot make item 2"):
        cost_of(plant, forbidden)


def test_the_static_assignment_is_no_better_than_the_optimum() -> None:
    plant = packaged("tiny_2x1")

    static: CostToGo = cost_of(plant, static_assignment(plant).act)

    assert static.mean_over_starts() > optimum(plant).mean_over_starts()
