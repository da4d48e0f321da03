"""Groups against exact optima, the plan against simulation, files, batches and bad input."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from decisions.domains.lotsizing.decomposition import (
    ABOUT,
    SETTINGS,
    TABLES,
    Decomposition,
    decomposition,
    load_decomposition,
    save,
)
from decisions.domains.lotsizing.dispatch import descend, least_change
from decisions.domains.lotsizing.exact import cost_of, optimum
from decisions.domains.lotsizing.instance import Instance, generate, packaged, read_instance
from decisions.domains.lotsizing.plant import Plant, PlantState
from decisions.domains.lotsizing.policies import load, plant_policy
from decisions.domains.lotsizing.simulation import evaluation_episodes, simulate
from decisions.errors import ArtifactAltered, DataError
from decisions.seeds import RowKeys, stream

PLANTS = Path(__file__).parent / "plants"


@pytest.fixture(scope="module")
def plant() -> Instance:
    """Six items, three machines: some machines must make two items, some items nobody makes."""
    whole = packaged("15x5")
    machines, items = np.ix_([1, 2, 4], [1, 4, 6, 9, 10, 11])
    of_item = {
        name: getattr(whole, name)[items[0]]
        for name in ("capacity", "holding_cost", "lost_sales_cost", "demand")
    }
    return replace(
        whole,
        name="six",
        horizon=40,
        production=whole.production[machines, items],
        setup_cost=whole.setup_cost[machines, items],
        setup_loss=whole.setup_loss[machines, items],
        **of_item,
    )


@pytest.fixture(scope="module")
def policy(plant: Instance) -> Decomposition:
    return decomposition(plant)


@pytest.mark.parametrize("name", ["easy_2x1", "tiny_2x1"])
def test_one_machine_of_two_items_is_solved_exactly(name: str) -> None:
    plant = packaged(name)
    best = optimum(plant)

    found = decomposition(plant)

    assert found.groups == ((1, 2),)
    assert found.cost == pytest.approx(best.mean_over_starts(), abs=1e-4)
    assert cost_of(plant, found.act).mean_over_starts() == pytest.approx(
        best.mean_over_starts(), abs=1e-4
    )


def test_no_group_throws_stock_away_by_a_switch_to_what_is_set_up() -> None:
    """The machine of two items would pay to lose units of the one it is set up for: no action."""
    plant = read_instance(PLANTS / "illegal_disposal.json")
    best = optimum(plant).mean_over_starts()

    found = decomposition(plant)

    assert best == pytest.approx(125_594.84, abs=0.01)
    assert found.cost >= best * (1 - 1e-6)


@pytest.mark.parametrize("seed", range(12))
def test_the_planned_cost_is_never_below_the_optimum(seed: int) -> None:
    plant = random_plant(seed)
    best = optimum(plant).mean_over_starts()

    found = decomposition(plant)

    assert found.cost >= best * (1 - 1e-6)
    assert cost_of(plant, found.act).mean_over_starts() >= best * (1 - 1e-6)


def random_plant(seed: int) -> Instance:
    """A small plant in which a switch often costs more units than it makes."""
    rng = stream(seed, "disposal")
    shape = (int(rng.integers(1, 3)), 2)
    demand = rng.random((2, 4)) ** 3
    return Instance(
        name=f"random {seed}",
        horizon=5,
        production=rng.integers(1, 5, shape),
        setup_cost=rng.uniform(0, 0.3, shape).round(2),
        setup_loss=rng.integers(2, 9, shape),
        capacity=rng.integers(3, 8, 2),
        holding_cost=rng.uniform(0.1, 2.0, 2).round(2),
        lost_sales_cost=rng.uniform(0.5, 4.0, 2).round(2),
        demand=demand / demand.sum(axis=1, keepdims=True),
    )


def test_a_single_item_is_solved_exactly_at_every_stock_and_period() -> None:
    plant = packaged("15x5")
    alone = replace(
        plant,
        horizon=30,
        production=plant.production[:1, 6:7],
        setup_cost=plant.setup_cost[:1, 6:7],
        setup_loss=plant.setup_loss[:1, 6:7],
        **{
            name: getattr(plant, name)[6:7]
            for name in ("capacity", "holding_cost", "lost_sales_cost", "demand")
        },
    )
    best = optimum(alone, every_period=True)
    stock, set_up, period = (
        axis.ravel().astype(np.int32) for axis in np.meshgrid(range(101), [0, 1], [0, 13, 29])
    )
    state = PlantState(stock[:, None], set_up[:, None].astype(np.int16), period)

    _, value = decomposition(alone).look(state)

    np.testing.assert_allclose(value, best.at(state), rtol=1e-5)


def test_costs_on_nodes_are_near_the_exact_ones_and_the_policy_nearer() -> None:
    rng = stream(3, "two items")
    plant = replace(generate(2, 1, rng, name="pair"), horizon=25)
    plant = replace(plant, capacity=np.array([60, 60]), lost_sales_cost=np.array([1.1, 1.1]))
    best = optimum(plant).mean_over_starts()

    found = decomposition(plant)

    assert found.groups == ((1, 2),)
    assert best - 1e-4 < found.cost < 1.02 * best
    assert best - 1e-4 < cost_of(plant, found.act).mean_over_starts() < 1.005 * best


def test_simulated_episodes_cost_no_more_than_the_planned_partition(
    plant: Instance, policy: Decomposition
) -> None:
    costs = simulate(Plant(plant), policy.act, evaluation_episodes(1000)).total

    error = costs.std() / np.sqrt(len(costs))
    assert max(map(len, policy.groups)) == 2
    assert costs.mean() < policy.cost + 3 * error
    assert costs.mean() > 0.9 * policy.cost


def test_the_present_set_ups_are_worth_a_start_of_their_own() -> None:
    plant = generate(12, 6, np.random.default_rng(1))
    both = decomposition(plant)
    first = replace(both, settings={**both.settings, "version": 1})

    episodes = evaluation_episodes(100)
    spared = (
        simulate(Plant(plant), first.act, episodes).total
        - simulate(Plant(plant), both.act, episodes).total
    )

    assert spared.mean() > 4 * spared.std() / np.sqrt(len(spared)) > 0


def test_a_policy_of_the_first_version_decides_as_it_did() -> None:
    """Files and actions of commit 2b1a44a, for the starts of 300 episodes."""
    folder = Path(__file__).parent / "decomposition_of_version_1"
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    actions = json.loads(files.pop("actions.json"))
    policy = plant_policy(load(files))
    assert isinstance(policy.rule, Decomposition)
    state = Plant(policy.instance).reset(RowKeys(5, np.arange(300)))

    now = replace(policy.rule, settings=SETTINGS).act(state)

    np.testing.assert_array_equal(policy.rule.act(state), actions)
    assert (now != actions).any()


def test_a_row_decides_for_itself(plant: Instance, policy: Decomposition) -> None:
    state = Plant(plant).reset(evaluation_episodes(50))

    together, value = policy.look(state)

    inventory, set_up, period = state
    rows = (slice(i, i + 1) for i in range(50))
    alone = [policy.look(PlantState(inventory[r], set_up[r], period[r])) for r in rows]
    np.testing.assert_array_equal(together, np.concatenate([action for action, _ in alone]))
    np.testing.assert_array_equal(value, np.concatenate([cost for _, cost in alone]))


def test_a_saved_policy_acts_alike_in_the_periods_it_kept(
    plant: Instance, policy: Decomposition
) -> None:
    state = Plant(plant).reset(evaluation_episodes(50))
    files = save(policy)

    loaded = load_decomposition(plant, files)

    np.testing.assert_array_equal(loaded.act(state), policy.act(state))
    assert save(loaded) == files
    with pytest.raises(DataError, match="period is 1; wanted 0 to 0"):
        loaded.act(state._replace(period=state.period + np.int32(1)))


def test_altered_files_and_other_instances_are_refused(
    plant: Instance, policy: Decomposition
) -> None:
    files = save(policy)

    with pytest.raises(ArtifactAltered, match="instance of the decomposition"):
        load_decomposition(packaged("15x5"), files)
    with pytest.raises(ArtifactAltered, match="not the file"):
        load_decomposition(plant, {**files, TABLES: files[TABLES][:-1] + b"?"})
    with pytest.raises(ArtifactAltered, match="cannot be read"):
        load_decomposition(plant, {**files, ABOUT: b"{}"})


def test_stocks_too_many_for_tables_are_refused(plant: Instance) -> None:
    with pytest.raises(DataError, match="capacity plus demand is 5021 units"):
        decomposition(replace(plant, capacity=plant.capacity * 50))


@pytest.mark.parametrize("seed", range(20))
def test_a_descent_ends_whatever_the_size_of_costs(seed: int) -> None:
    """At 1e10 the rounding of a sum exceeds a millionth: exchanges seemed to pay both ways."""
    rng = stream(seed, "descent")
    machines, items = 4, 6
    group = np.full((machines, items, items), -1, dtype=np.int32)
    first, second = np.triu_indices(items)
    group[:, first, second] = np.arange(machines * len(first)).reshape(machines, -1)
    group[:, second, first] = group[:, first, second]
    worth = rng.integers(1, 1000, items) * 1e7 + rng.random(items)  # the same on every machine
    gain = np.tile(-worth[first] - np.where(first == second, 0, worth[second]), machines)
    member = np.full((machines, 2), -1, dtype=np.int32)
    owner = np.full(items, -1, dtype=np.int32)

    change = descend(group, gain, member, owner, least_change(gain, 0.0))

    assert change == pytest.approx(-worth.sum())
    assert sorted(member[member >= 0]) == list(range(items))


def test_a_plant_whose_costs_are_millions_is_planned() -> None:
    whole = read_instance(PLANTS / "costs_of_millions.json")
    policy = decomposition(replace(whole, horizon=3))

    action = policy.act(Plant(whole).reset(evaluation_episodes(50)))

    assert (action > 0).any(axis=1).all()
