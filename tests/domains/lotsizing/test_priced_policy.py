import numpy as np
import pytest

from decisions.domains.lotsizing.exact import cost_of, optimum
from decisions.domains.lotsizing.instance import Instance, packaged
from decisions.domains.lotsizing.lower_bound import (
    lagrangian_at,
    packaged_bound,
    packaged_multipliers,
)
from decisions.domains.lotsizing.plant import Plant, PlantState
from decisions.domains.lotsizing.priced_policy import PricedPolicy, priced_policy
from decisions.domains.lotsizing.rotation import rotation_of
from decisions.domains.lotsizing.simulation import evaluation_episodes, simulate
from decisions.errors import DataError


def one_machine(items: int) -> Instance:
    return Instance(
        name="one machine",
        horizon=8,
        production=np.array([[3, 4][:items]]),
        setup_cost=np.array([[2.0, 1.0][:items]]),
        setup_loss=np.array([[1, 2][:items]]),
        capacity=np.array([6, 5][:items]),
        holding_cost=np.full(items, 0.1),
        lost_sales_cost=np.array([2.0, 1.0][:items]),
        demand=np.tile([0.3, 0.4, 0.3], (items, 1)),
    )


def test_with_one_item_and_no_rent_the_policy_is_optimal() -> None:
    plant = one_machine(1)
    policy = PricedPolicy(instance=plant, multipliers=np.zeros((1, 8)))

    cost = cost_of(plant, policy.act).mean_over_starts()

    assert cost == pytest.approx(optimum(plant).mean_over_starts(), rel=1e-6)


@pytest.mark.parametrize("rent", [0.0, 0.5, 1.0])
def test_the_policy_costs_more_than_the_bound_of_its_own_prices(rent: float) -> None:
    plant = one_machine(2)
    prices = np.full((1, 8), rent)

    cost = cost_of(plant, PricedPolicy(instance=plant, multipliers=prices).act)

    assert lagrangian_at(plant, prices).value <= cost.mean_over_starts()


def test_packaged_prices_prove_the_packaged_bound_and_guide_a_better_policy() -> None:
    instance = packaged("15x5")
    known, prices = packaged_bound(instance), packaged_multipliers(instance)
    assert known is not None
    assert prices is not None
    plant, episodes = Plant(instance), evaluation_episodes(100)

    bound = lagrangian_at(instance, prices)
    cost = simulate(plant, priced_policy(instance).act, episodes).total
    rotation = simulate(plant, rotation_of(instance).act, episodes).total

    assert bound.value == pytest.approx(known["value"], abs=1e-6)
    assert bound.digest == known["multipliers_digest"]
    assert bound.value < cost.mean()
    saving = rotation - cost
    assert saving.mean() > 4 * saving.std() / 10


def test_a_plant_without_end_acts_as_in_one_period_of_the_horizon() -> None:
    plant = one_machine(2)
    prices = np.full((1, 8), 0.5)
    finite = PricedPolicy(instance=plant, multipliers=prices)
    endless = PricedPolicy(instance=plant, multipliers=prices, always=3)
    stock, set_up = np.array([[1, 0]], dtype=np.int32), np.array([[1]], dtype=np.int16)

    late = endless.act(PlantState(stock, set_up, np.array([50], dtype=np.int32)))

    assert late == finite.act(PlantState(stock, set_up, np.array([3], dtype=np.int32)))
    with pytest.raises(DataError, match="wanted 0 to 7"):
        finite.act(PlantState(stock, set_up, np.array([8], dtype=np.int32)))
