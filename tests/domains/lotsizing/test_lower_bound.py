from dataclasses import replace

import numpy as np
import pytest

from decisions.domains.lotsizing.exact import optimum
from decisions.domains.lotsizing.instance import Instance, packaged
from decisions.domains.lotsizing.lower_bound import (
    Bound,
    Stage,
    _items,
    _relaxed,
    lagrangian_at,
    lagrangian_bound,
    packaged_bound,
    packaged_multipliers,
    refined_bound,
)
from decisions.errors import DataError
from decisions.seeds import RowKeys, stream

FEW_STEPS = (Stage(blocks=6, evaluations=25, first_step=0.1, last_step=0.01),)


def small(seed: int, *, items: int = 2, machines: int = 2) -> Instance:
    """A random plant that exact backward induction solves at once."""
    rng = stream(seed, "small plant")
    shape = (machines, items)
    production = rng.integers(0, 5, size=shape)
    production[rng.integers(machines, size=items), np.arange(items)] = rng.integers(1, 5, items)
    production[np.arange(machines), rng.integers(items, size=machines)] = 2
    demand = rng.random((items, 4))
    return Instance(
        name=f"small {seed}",
        horizon=6,
        production=production,
        setup_cost=rng.uniform(0.2, 3.0, shape).round(2),
        setup_loss=rng.integers(0, 4, shape),
        capacity=rng.integers(2, 7, items),
        holding_cost=rng.uniform(0.0, 0.2, items).round(2),
        lost_sales_cost=rng.uniform(0.5, 4.0, items).round(2),
        demand=demand / demand.sum(axis=1, keepdims=True),
    )


@pytest.mark.parametrize("seed", range(8))
def test_no_prices_prove_more_than_the_optimum(seed: int) -> None:
    plant = small(seed, items=2 + seed % 2)
    least = optimum(plant).mean_over_starts()
    rng = stream(seed, "prices")

    for scale in (0.0, 0.3, 1.0, 5.0):
        prices = scale * rng.random((plant.machines, plant.horizon))
        assert lagrangian_at(plant, prices).value <= least


@pytest.mark.parametrize("seed", range(4))
def test_ascent_comes_close_to_the_optimum_from_below(seed: int) -> None:
    plant = small(seed)
    least = optimum(plant).mean_over_starts()

    free = lagrangian_at(plant, np.zeros((plant.machines, plant.horizon)))
    found = lagrangian_bound(plant, stages=FEW_STEPS)

    assert free.value <= found.value <= least
    assert found.value >= 0.85 * least


def test_a_bound_is_as_close_where_costs_are_small() -> None:
    plant = small(1)
    costs = ("setup_cost", "holding_cost", "lost_sales_cost")
    cheap = replace(plant, **{name: getattr(plant, name) * 1e-6 for name in costs})

    value = lagrangian_bound(cheap, stages=FEW_STEPS).value

    assert value == pytest.approx(1e-6 * lagrangian_bound(plant, stages=FEW_STEPS).value, rel=1e-3)


@pytest.mark.parametrize("seed", range(4))
def test_the_bound_is_the_optimum_of_a_plant_with_one_item(seed: int) -> None:
    plant = small(seed, items=1, machines=3)

    bound = lagrangian_at(plant, np.zeros((3, plant.horizon)))

    assert bound.value == pytest.approx(optimum(plant).mean_over_starts(), rel=3e-6)


def test_the_bound_is_the_optimum_where_no_two_items_share_a_machine() -> None:
    plant = Instance(
        name="apart",
        horizon=8,
        production=np.array([[3, 0], [0, 2]]),
        setup_cost=np.array([[2.0, 1.0], [1.0, 1.5]]),
        setup_loss=np.array([[1, 0], [0, 3]]),  # the second loses more than it makes
        capacity=np.array([5, 4]),
        holding_cost=np.array([0.1, 0.05]),
        lost_sales_cost=np.array([2.0, 1.0]),
        demand=np.array([[0.3, 0.4, 0.3], [0.5, 0.5, 0.0]]),
    )

    bound = lagrangian_at(plant, np.zeros((2, 8)))

    assert bound.value == pytest.approx(optimum(plant).mean_over_starts(), rel=3e-6)


@pytest.mark.parametrize("seed", range(4))
def test_the_expected_use_of_machines_is_a_supergradient(seed: int) -> None:
    items = _items(small(seed, items=3))
    rng = stream(seed, "supergradient")

    for _ in range(20):
        here, there = 2.0 * rng.random((2, 2, 6))
        value, direction = _relaxed(items, here)
        elsewhere, _ = _relaxed(items, there)
        assert elsewhere <= value + (direction * (there - here)).sum() + 1e-9


def test_at_the_bounds_own_prices_knowing_demand_gains_nothing() -> None:
    plant = small(1)
    rng = stream(1, "knowing")
    prices = rng.random((2, 6))

    for item in _items(plant):
        to_go = item.costs_to_go(prices)
        for _ in range(20):
            stock = rng.integers(0, plant.capacity + 1).astype(np.int32)
            set_up = np.full(2, item.index + 1, dtype=np.int16)
            path = rng.integers(0, len(item.demand), size=(2, 6)).astype(np.int32)
            usage = np.zeros((2, 6))
            cost = item.cost_knowing(prices, to_go, path, stock, set_up, usage)
            assert cost == pytest.approx(to_go[0][0, -1, stock[item.index]], abs=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_prices_of_the_episode_raise_the_bound_and_keep_it_valid(seed: int) -> None:
    plant = small(seed)
    least = optimum(plant).mean_over_starts()
    base = lagrangian_bound(plant, stages=FEW_STEPS)

    refined = refined_bound(
        plant,
        base,
        RowKeys(seed, np.arange(300)),
        stages=(Stage(blocks=6, evaluations=12, first_step=0.1, last_step=0.02),),
    )

    assert (refined.gains >= 0).all()
    assert refined.gains.mean() > 0
    assert refined.value <= least + 4 * refined.standard_error


def test_prices_that_are_no_prices_are_refused() -> None:
    plant = packaged("tiny_2x1")

    with pytest.raises(DataError, match=r"wanted \(1, 20\), finite and >= 0"):
        lagrangian_at(plant, np.full((1, 20), -1.0))
    with pytest.raises(DataError, match="wanted"):
        lagrangian_at(plant, np.zeros((1, 19)))


@pytest.mark.parametrize("name", ["15x5", "20x10", "25x10", "25x15"])
def test_a_packaged_bound_belongs_to_its_instance_and_names_its_prices(name: str) -> None:
    instance = packaged(name)
    known, prices = packaged_bound(instance), packaged_multipliers(instance)
    assert known is not None
    assert prices is not None

    assert known["name"] == name
    assert prices.shape == (instance.machines, instance.horizon)
    assert Bound(value=known["value"], multipliers=prices).digest == known["multipliers_digest"]
    assert packaged_bound(packaged("tiny_2x1")) is None


def test_an_item_with_too_many_machines_is_refused() -> None:
    many = np.ones((17, 1), dtype=np.int64)
    plant = replace(small(0, items=1), production=many, setup_cost=1.0 * many, setup_loss=many)

    with pytest.raises(DataError, match="item 1 of 'small 0' can be made by 17 machines"):
        lagrangian_at(plant, np.zeros((17, 6)))
