"""H3: its exact parts against exact costs, its switches, and what each is worth."""

from dataclasses import replace
from itertools import product

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from decisions.domains.lotsizing.annealing import tuned_turns
from decisions.domains.lotsizing.exact import cost_of, optimum
from decisions.domains.lotsizing.improved_rotation import (
    ImprovedRotation,
    Turns,
    improved_rotation_of,
)
from decisions.domains.lotsizing.instance import Instance, generate, packaged
from decisions.domains.lotsizing.plant import Plant, PlantState
from decisions.domains.lotsizing.rotation import GroupedRotation, rotation_of
from decisions.domains.lotsizing.simulation import evaluation_episodes, simulate
from decisions.domains.lotsizing.start_stop import start_stop
from decisions.domains.lotsizing.static_assignment import static_assignment
from decisions.domains.lotsizing.turning import best_matching
from decisions.errors import DataError


def one_item(instance: Instance, machine: int, item: int) -> Instance:
    """The plant of one machine and one item of a plant, both from 0."""
    rows, at = slice(machine, machine + 1), slice(item, item + 1)
    return replace(
        instance,
        production=instance.production[rows, at],
        setup_cost=instance.setup_cost[rows, at],
        setup_loss=instance.setup_loss[rows, at],
        capacity=instance.capacity[at],
        holding_cost=instance.holding_cost[at],
        lost_sales_cost=instance.lost_sales_cost[at],
        demand=instance.demand[at],
    )


def matched(instance: Instance, groups: tuple[tuple[int, ...], ...]) -> ImprovedRotation:
    machines = (0,) * len(groups)
    return ImprovedRotation(instance=instance, turns=Turns(groups, machines, machines, machines))


def test_serving_one_item_saves_what_backward_induction_saves() -> None:
    plant = packaged("20x10")
    machine, item = 7, 11  # 10 units a period for a mean demand of 8
    small = one_item(plant, machine, item)

    found = start_stop(plant, stops=True, waits=True)

    best = optimum(small, every_period=True)
    never = cost_of(small, lambda state: np.zeros_like(state.set_up), every_period=True)
    saving = never.costs[:-1, :1] - best.costs[:-1]
    np.testing.assert_allclose(found.saving[:, machine, item], saving, atol=1e-3)
    assert np.mean(found.runs[:, machine, item] == best.actions) > 0.999


@pytest.mark.parametrize(("stops", "waits"), [(False, False), (True, False), (False, True)])
def test_leaving_a_choice_out_never_saves_more(stops: bool, waits: bool) -> None:
    plant = packaged("15x5")

    whole = start_stop(plant, stops=True, waits=True).mean_saving
    part = start_stop(plant, stops=stops, waits=waits).mean_saving

    can = plant.production > 0
    assert (part[can] <= whole[can] + 1e-6).all()
    assert (part[can] < whole[can] - 1e-3).any()
    assert np.isinf(whole[~can]).all()


@settings(deadline=None)
@given(
    saving=st.tuples(st.integers(1, 6), st.integers(1, 7)).flatmap(
        lambda shape: st.lists(
            st.lists(st.integers(-5, 9), min_size=shape[1], max_size=shape[1]),
            min_size=shape[0],
            max_size=shape[0],
        )
    ),
    forbidden=st.integers(0, 2**42 - 1),
)
def test_the_matching_saves_as_much_as_scipy_finds(
    saving: list[list[int]], forbidden: int
) -> None:
    table = np.array(saving, dtype=np.float64)
    bits = [forbidden >> k & 1 for k in range(table.size)]
    table[np.reshape(bits, table.shape) > 0] = -np.inf
    column = np.empty(len(table), dtype=np.int64)

    best_matching(table, column)

    served = column[column >= 0]
    assert len(served) == len(set(served.tolist()))
    total = sum(table[row, j] for row, j in enumerate(column) if j >= 0)
    worth = np.hstack([np.where(np.isinf(table), -1e6, table), np.zeros((len(table),) * 2)])
    assert total == worth[linear_sum_assignment(worth, maximize=True)].sum()


def test_without_its_improvements_it_is_the_grouped_rotation() -> None:
    plant = packaged("25x10")
    rotation = rotation_of(plant)
    plain = ImprovedRotation(
        instance=plant, turns=Turns.of(rotation), stops=False, waits=False, matches=False
    )
    state = Plant(plant).reset(evaluation_episodes(200))

    np.testing.assert_array_equal(plain.act(state), rotation.act(state))


def test_it_stops_at_the_end_and_waits_at_the_start() -> None:
    plant = packaged("20x10")
    rule = matched(plant, tuple((int(i),) for i in static_assignment(plant).item))
    n = 4
    full = PlantState(
        inventory=np.full((n, 20), 99, dtype=np.int32),
        set_up=np.tile(static_assignment(plant).item, (n, 1)),
        period=np.array([0, 50, 95, 99], dtype=np.int32),
    )
    empty = full._replace(inventory=np.zeros((n, 20), dtype=np.int32))
    unset = full._replace(set_up=np.zeros((n, 10), dtype=np.int16))

    assert (rule.act(full)[2:] == 0).all()
    assert (rule.act(unset) == 0).all()
    assert (rule.act(empty)[:2] > 0).all()


@pytest.mark.parametrize("name", ["15x5", "25x10"])
def test_each_improvement_pays_and_all_together_save_the_most(name: str) -> None:
    plant = packaged(name)
    turns = Turns.of(rotation_of(plant))
    episodes = evaluation_episodes(300)

    def cost(**switches: bool) -> npt.NDArray[np.float64]:
        none = {"stops": False, "waits": False, "matches": False}
        rule = ImprovedRotation(instance=plant, turns=turns, **{**none, **switches})
        return simulate(Plant(plant), rule.act, episodes).total

    plain = cost()
    for switches in ({"stops": True}, {"waits": True}):
        saved = plain - cost(**switches)
        assert saved.mean() > 4 * saved.std(ddof=1) / np.sqrt(300)
    tuned = simulate(Plant(plant), improved_rotation_of(plant).act, episodes).total
    assert (plain - tuned).mean() > 0.025 * plain.mean()


def test_matching_beats_the_best_fixed_pairs_of_machines_and_items() -> None:
    plant = packaged("20x10")
    exact = start_stop(plant, stops=True, waits=True)
    worth = np.where(np.isinf(exact.mean_saving), -1e6, exact.mean_saving)
    machine, item = linear_sum_assignment(worth, maximize=True)
    groups = tuple((int(i) + 1,) for i in item[np.argsort(machine)])
    fixed = replace(matched(plant, groups), matches=False)
    episodes = evaluation_episodes(300)

    ours = simulate(Plant(plant), matched(plant, groups).act, episodes).total

    saved = simulate(Plant(plant), fixed.act, episodes).total - ours
    assert saved.mean() > 4 * saved.std(ddof=1) / np.sqrt(300)


def test_turns_are_found_for_any_plant_and_repeat_under_their_seed() -> None:
    plant = generate(5, 2, np.random.default_rng(1))
    rotation = GroupedRotation(((), ()), low=8, gap=40)

    found, again = (tuned_turns(plant, rotation, seed=2, scenarios=16, moves=60) for _ in range(2))

    assert found == again
    rule = ImprovedRotation(instance=plant, turns=found)
    cost = simulate(Plant(plant), rule.act, evaluation_episodes(200)).total
    static = simulate(Plant(plant), static_assignment(plant).act, evaluation_episodes(200)).total
    assert cost.mean() < static.mean()


def test_on_a_tiny_plant_it_is_near_the_optimum_and_every_state_has_an_action() -> None:
    plant = packaged("tiny_2x1")
    pairs = [
        Turns(((1, 2),), (low,), (gap,), (start,))
        for low, gap, start in product((2, 3, 4), (0, 1, 2), (2, 3, 4, 99))
    ]

    costs = [
        cost_of(plant, ImprovedRotation(instance=plant, turns=turns).act).mean_over_starts()
        for turns in pairs
    ]

    best = optimum(plant).mean_over_starts()
    assert best <= min(costs) < 1.1 * best


def test_a_period_outside_the_horizon_is_refused() -> None:
    plant = packaged("15x5")
    state = Plant(plant).reset(evaluation_episodes(1))

    with pytest.raises(DataError, match="period goes from 100 to 100; wanted 0 to 99"):
        improved_rotation_of(plant).act(state._replace(period=np.array([100], dtype=np.int32)))
