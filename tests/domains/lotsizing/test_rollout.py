"""A rollout against its base on common random numbers, against exact costs, and row by row."""

from dataclasses import replace

import numpy as np
import pytest

from decisions.domains.lotsizing.exact import cost_of, optimum
from decisions.domains.lotsizing.instance import packaged
from decisions.domains.lotsizing.plant import Plant, PlantState
from decisions.domains.lotsizing.rollout import Rollout
from decisions.domains.lotsizing.rotation import GroupedRotation
from decisions.domains.lotsizing.simulation import evaluation_episodes, simulate
from decisions.errors import DataError


@pytest.fixture(scope="module")
def rollout() -> Rollout:
    plant = replace(packaged("15x5"), horizon=40)
    base = GroupedRotation(((7,), (11,), (10,), (14,), (12, 5)), low=8, gap=36)
    return Rollout(instance=plant, base=base, scenarios=8, lookahead=40)


def test_a_rollout_costs_less_than_its_base_in_the_same_episodes(rollout: Rollout) -> None:
    plant, episodes = Plant(rollout.instance), evaluation_episodes(60)

    saved = (
        simulate(plant, rollout.base.act, episodes).total
        - simulate(plant, rollout.act, episodes).total
    )

    assert saved.mean() > 4 * saved.std() / np.sqrt(len(saved))


def test_on_a_small_plant_it_lies_between_the_optimum_and_its_base() -> None:
    plant = packaged("tiny_2x1")
    base = GroupedRotation(((1, 2),), low=3, gap=1)
    rollout = Rollout(instance=plant, base=base, scenarios=50, lookahead=20)

    cost = cost_of(plant, rollout.act).mean_over_starts()

    best = optimum(plant).mean_over_starts()
    worst = cost_of(plant, base.act).mean_over_starts()
    assert best < cost < best + 0.35 * (worst - best)


def test_in_the_last_period_nothing_is_made_that_no_sale_repays(rollout: Rollout) -> None:
    plant = Plant(rollout.instance)
    state = plant.reset(evaluation_episodes(40))
    most = rollout.instance.demand.shape[1] - 1
    full = np.full_like(state.inventory, most)

    action = rollout.act(PlantState(full, state.set_up, np.full_like(state.period, 39)))

    assert (action == 0).all()


def test_a_row_decides_for_itself(rollout: Rollout) -> None:
    inventory, set_up, period = Plant(rollout.instance).reset(evaluation_episodes(20))

    together = rollout.act(PlantState(inventory, set_up, period))

    rows = (slice(i, i + 1) for i in range(20))
    alone = [rollout.act(PlantState(inventory[r], set_up[r], period[r])) for r in rows]
    np.testing.assert_array_equal(together, np.concatenate(alone))


@pytest.mark.parametrize("name", ["scenarios", "lookahead", "sweeps"])
def test_a_rollout_of_nothing_is_refused(rollout: Rollout, name: str) -> None:
    with pytest.raises(DataError, match=f"{name} is 0; wanted an integer >= 1"):
        replace(rollout, **{name: 0})


def test_a_base_that_the_plant_cannot_follow_is_refused(rollout: Rollout) -> None:
    other = replace(rollout.base, groups=((3,), (11,), (10,), (14,), (12, 5)))

    with pytest.raises(DataError, match="machine 1 cannot make item 3"):
        replace(rollout, base=other)
