"""H1: what constant production costs, and that no other assignment is better."""

from dataclasses import replace
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest

from decisions.domains.lotsizing.exact import cost_of, optimum
from decisions.domains.lotsizing.instance import generate, packaged, read_instance
from decisions.domains.lotsizing.plant import Plant
from decisions.domains.lotsizing.simulation import evaluation_episodes, realised_demand, simulate
from decisions.domains.lotsizing.static_assignment import (
    constant_production_cost,
    static_assignment,
)


def test_constant_production_costs_what_its_simulation_costs() -> None:
    plant = packaged("20x10")
    episodes = evaluation_episodes(3000)
    start = Plant(plant).reset(episodes)
    demand = realised_demand(Plant(plant), episodes, plant.horizon)
    item, units = 8, 9
    stock, cost = start.inventory[:, item].astype(float), np.zeros(3000)
    for period in range(plant.horizon):
        left = stock + units - demand[:, period, item]
        stock = left.clip(0, 100)
        cost += 1.1 * (-left).clip(0) + 0.01 * stock

    exact = constant_production_cost(plant, item, units)

    assert abs(cost.mean() - exact) < 4 * cost.std(ddof=1) / np.sqrt(3000)


def test_no_other_assignment_of_a_small_plant_is_cheaper() -> None:
    plant = generate(3, 3, np.random.default_rng(5))
    never = [constant_production_cost(plant, i, 0) for i in range(3)]

    def cost(items: tuple[int, ...]) -> float:
        total = sum(never)
        for machine, item in enumerate(items):
            if item:
                made = int(plant.production[machine, item - 1])
                total += constant_production_cost(plant, item - 1, made) - never[item - 1]
                total += plant.setup_cost[machine, item - 1]
        return total

    choices = [
        items
        for items in permutations([0, 0, 0, 1, 2, 3], 3)
        if all(i == 0 or plant.production[m, i - 1] for m, i in enumerate(items))
    ]

    found = static_assignment(plant, shared=False)

    assert found.cost == pytest.approx(min(map(cost, choices)))
    assert found.cost == pytest.approx(cost(tuple(found.item.tolist())))


def test_the_published_assignment_of_20x10_is_found() -> None:
    plant = packaged("20x10")

    found = static_assignment(plant)

    assert found.item.tolist() == [9, 8, 10, 7, 15, 1, 3, 12, 16, 17]
    assert found.cost == pytest.approx(1754, abs=0.5)
    simulated = simulate(Plant(plant), found.act, evaluation_episodes(2000)).total
    assert simulated.mean() == pytest.approx(1738, abs=4)  # less: some starts are set up right


PLANTS = Path(__file__).parent / "plants"


def test_idle_machines_join_where_an_item_needs_two() -> None:
    plant = read_instance(PLANTS / "item_of_two_machines.json")

    found = static_assignment(plant)

    assert found.item.tolist() == [1, 1]
    best = optimum(plant).mean_over_starts()
    assert cost_of(plant, found.act).mean_over_starts() < 1.1 * best
    alone = static_assignment(plant, shared=False)
    assert cost_of(plant, alone.act).mean_over_starts() > 10 * best


def test_a_capacity_beyond_all_tables_is_assigned_by_simulation() -> None:
    plant = packaged("20x10")
    vast = replace(plant, capacity=plant.capacity * 10_000, holding_cost=plant.holding_cost * 1e-4)

    found = static_assignment(vast)

    simulated = simulate(Plant(vast), found.act, evaluation_episodes(300)).total
    idle = sum(constant_production_cost(vast, i, 0) for i in range(vast.items))
    assert simulated.mean() == pytest.approx(found.cost, rel=0.2)
    assert found.cost <= idle


def test_simulated_costs_of_constant_production_agree_with_exact_ones() -> None:
    plant = packaged("20x10")
    edge = {
        capacity: replace(plant, capacity=np.full(plant.items, capacity))
        for capacity in (2_000, 2_001)
    }

    for units in (0, 5, 9):
        exact, simulated = (constant_production_cost(each, 8, units) for each in edge.values())
        assert simulated == pytest.approx(exact, rel=0.01)
