"""H2: its rule by hand, the published groups' costs, and the annealing that finds groups."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from decisions.domains.lotsizing.annealing import GroupCosts, tuned_rotation
from decisions.domains.lotsizing.exact import cost_of, optimum
from decisions.domains.lotsizing.improved_rotation import ImprovedRotation, Turns
from decisions.domains.lotsizing.instance import packaged, read_instance
from decisions.domains.lotsizing.plant import Plant, PlantState
from decisions.domains.lotsizing.rotation import GroupedRotation, rotation_of
from decisions.domains.lotsizing.simulation import evaluation_episodes, simulate
from decisions.domains.lotsizing.static_assignment import static_assignment
from decisions.errors import DataError
from decisions.seeds import RowKeys

Groups = tuple[tuple[int, ...], ...]
PUBLISHED: dict[str, tuple[Groups, tuple[int, int], tuple[float, float]]] = {
    "25x10": (
        ((17,), (4,), (13, 3), (18, 21), (15,), (7,), (11, 1), (9,), (16,), (24, 10)),
        (6, 35),
        (2621, 5),
    ),
    "20x10": (
        ((9,), (8,), (10,), (7,), (15,), (1,), (3,), (12,), (16,), (17,)),
        (8, 40),
        (1738, 4),
    ),
    "25x15": (
        (
            *((2, 20), (15,), (1,), (4,), (6,), (23,), (12,), (10, 13, 21), (24,), (18,)),
            *((3,), (11,), (14, 9), (7, 5), (22,)),
        ),
        (9, 60),
        (2165, 6),
    ),
    "15x5": (((7,), (11,), (10,), (14,), (12, 5)), (8, 36), (1462, 4)),
}


def acts(rotation: GroupedRotation, stocks: list[int], set_up: list[int]) -> list[int]:
    state = PlantState(
        inventory=np.array([stocks], dtype=np.int32),
        set_up=np.array([set_up], dtype=np.int16),
        period=np.zeros(1, dtype=np.int32),
    )
    return rotation.act(state)[0].tolist()


def test_the_rule_by_hand() -> None:
    rotation = GroupedRotation(((2, 3), (), (1,)), low=10, gap=20)

    assert acts(rotation, [50, 40, 30], [1, 2, 3]) == [3, 0, 1]  # outside: the lowest stock
    assert acts(rotation, [50, 40, 10], [2, 0, 1]) == [2, 0, 1]  # not below `low`
    assert acts(rotation, [50, 40, 9], [2, 0, 1]) == [3, 0, 1]  # below, and the gap is wide
    assert acts(rotation, [50, 29, 9], [2, 0, 1]) == [2, 0, 1]  # a gap of exactly 20
    assert acts(rotation, [0, 9, 9], [0, 0, 0]) == [2, 0, 1]  # equal stocks: the first named


@given(
    stocks=st.lists(st.integers(0, 100), min_size=6, max_size=6),
    set_up=st.lists(st.integers(0, 6), min_size=2, max_size=2),
    low=st.integers(0, 30),
    gap=st.integers(0, 60),
)
def test_a_machine_stays_in_its_group(
    stocks: list[int], set_up: list[int], low: int, gap: int
) -> None:
    rotation = GroupedRotation(((1, 2, 3), (4, 5)), low=low, gap=gap)

    action = acts(rotation, stocks, set_up)

    for item, group, current in zip(action, rotation.groups, set_up, strict=True):
        assert item in group
        lowest = min(stocks[j - 1] for j in group)
        assert item == current or stocks[item - 1] == lowest


@pytest.mark.parametrize("name", list(PUBLISHED))
def test_published_groups_cost_what_was_published(name: str) -> None:
    groups, (low, gap), (cost, tolerance) = PUBLISHED[name]
    plant = packaged(name)

    found = simulate(
        Plant(plant), GroupedRotation(groups, low=low, gap=gap).act, evaluation_episodes(2000)
    )

    assert found.total.mean() == pytest.approx(cost, abs=tolerance)


@pytest.mark.parametrize("name", list(PUBLISHED))
def test_the_packaged_rotation_is_at_least_as_good_as_the_published_one(name: str) -> None:
    groups, (low, gap), _ = PUBLISHED[name]
    plant = packaged(name)
    ours = rotation_of(plant)
    ours.check(plant)
    costs = GroupCosts(plant, evaluation_episodes(1000))

    assert costs.of(ours) <= costs.of(GroupedRotation(groups, low=low, gap=gap))


def test_costs_by_group_are_those_of_the_whole_plant() -> None:
    plant = packaged("25x10")
    groups, (low, gap), _ = PUBLISHED["25x10"]
    rotation = GroupedRotation((*groups[:8], (), groups[9]), low=low, gap=gap)
    episodes = evaluation_episodes(50)

    by_group = GroupCosts(plant, episodes).of(rotation)

    assert by_group == pytest.approx(simulate(Plant(plant), rotation.act, episodes).total.mean())


def test_annealing_repeats_under_its_seed_and_beats_the_static_assignment() -> None:
    plant = packaged("15x5")  # six valuable items, five machines

    found, again = (
        tuned_rotation(plant, seed=3, scenarios=32, moves=1500, chains=1) for _ in range(2)
    )

    assert found == again
    found.check(plant)
    items = [item for group in found.groups for item in group]
    assert len(items) == len(set(items))
    fresh = RowKeys(11, np.arange(400))
    static = simulate(Plant(plant), static_assignment(plant).act, fresh).total
    ours = simulate(Plant(plant), found.act, fresh).total
    assert ours.mean() < 0.8 * static.mean()


def test_a_plant_is_read_and_tuned_once() -> None:
    assert rotation_of(packaged("20x10")) is rotation_of(packaged("20x10"))


def test_a_rotation_of_another_plant_is_refused() -> None:
    plant = packaged("15x5")

    with pytest.raises(DataError, match="10 groups for 5 machines"):
        rotation_of(packaged("20x10")).check(plant)
    with pytest.raises(DataError, match="machine 1 cannot make item 3 of its group"):
        GroupedRotation(((3,), (), (), (), ()), low=1, gap=1).check(plant)


def test_idle_machines_join_a_rotation_where_an_item_needs_two() -> None:
    plant = read_instance(Path(__file__).parent / "plants" / "item_of_two_machines.json")
    best = optimum(plant).mean_over_starts()

    found = tuned_rotation(plant, scenarios=64, moves=200, chains=1)

    assert found.groups == ((1,), (1,))
    assert cost_of(plant, found.act).mean_over_starts() < 1.1 * best


def test_a_plant_of_large_capacities_is_tuned() -> None:
    plant = replace(packaged("15x5"), capacity=np.full(15, 1_000_000))

    found = tuned_rotation(plant, scenarios=16, moves=50, chains=1)

    found.check(plant)
    turns = Turns.of(found)
    with pytest.raises(DataError, match="2000"):
        ImprovedRotation(instance=plant, turns=turns).act(
            Plant(plant).reset(RowKeys(1, np.arange(2)))
        )
