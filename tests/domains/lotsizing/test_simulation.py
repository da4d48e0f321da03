import numpy as np
import numpy.typing as npt
import pytest

from decisions.domains.lotsizing.instance import packaged
from decisions.domains.lotsizing.plant import Plant, PlantState
from decisions.domains.lotsizing.simulation import (
    evaluation_episodes,
    realised_demand,
    scenario_digest,
    simulate,
)
from decisions.errors import DataError
from decisions.seeds import RowKeys


def idle(state: PlantState) -> npt.NDArray[np.int16]:
    return np.zeros_like(state.set_up)


@pytest.mark.parametrize(
    ("name", "value", "tolerance"),
    [("15x5", -5653, 15), ("20x10", -7538, 15), ("25x10", -12427, 20), ("25x15", -10925, 20)],
)
def test_an_idle_plant_returns_what_an_independent_simulator_found(
    name: str, value: float, tolerance: float
) -> None:
    costs = simulate(Plant(packaged(name)), idle, evaluation_episodes(2000))

    assert abs(-costs.total.mean() - value) < tolerance
    assert (costs.setup == 0).all()


def test_uniformly_random_choices_return_what_an_independent_simulator_found() -> None:
    """Every item on every machine, those it cannot make included, as published."""
    plant, episodes = Plant(packaged("20x10")), evaluation_episodes(1000)
    words = RowKeys(0, episodes.rows)
    state, total = plant.reset(episodes), np.zeros(3)
    for period in range(plant.instance.horizon):
        chosen = words.uniforms("choices", str(period), columns=10) * 21
        post, setup = plant.apply(state, chosen.astype(np.int16))
        uniforms = plant.demand_uniforms(episodes, post.period)
        state, lost, holding = plant.advance(post, uniforms)
        total += (setup.mean(), lost.mean(), holding.mean())

    np.testing.assert_allclose(total, [19203, 2513, 591], rtol=0.01)
    assert abs(total.sum() / 22307 - 1) < 0.003


def test_all_policies_meet_the_same_demand() -> None:
    plant, episodes = Plant(packaged("15x5")), evaluation_episodes(7)
    seen: list[npt.NDArray[np.int32]] = []

    def keep_going(state: PlantState) -> npt.NDArray[np.int16]:
        seen.append(plant.demand(plant.demand_uniforms(episodes, state.period)))
        return state.set_up

    simulate(plant, keep_going, episodes)

    np.testing.assert_array_equal(np.stack(seen, axis=1), realised_demand(plant, episodes, 100))


def test_costs_of_an_episode_do_not_depend_on_the_others() -> None:
    plant, episodes = Plant(packaged("15x5")), evaluation_episodes(40)

    together = simulate(plant, lambda state: state.set_up, episodes)
    alone = simulate(plant, lambda state: state.set_up, episodes.take(np.array([17])))

    assert alone.total[0] == together.total[17]
    parts = (together.setup, together.lost, together.holding)
    np.testing.assert_allclose(sum(parts), together.total, rtol=1e-12)


def test_a_policy_that_leaves_the_mask_is_refused() -> None:
    plant = Plant(packaged("20x10"))  # machine 1 cannot make item 4

    with pytest.raises(DataError, match=r"action\[0\]\[0\] is 4, outside the mask of machine 1"):
        simulate(plant, lambda state: np.full_like(state.set_up, 4), evaluation_episodes(3))


def test_the_digest_of_scenarios_names_what_was_simulated() -> None:
    plant, episodes = Plant(packaged("15x5")), evaluation_episodes(20)

    digest = scenario_digest(plant, episodes)

    assert digest == scenario_digest(Plant(plant.instance, "numpy"), episodes)
    others = [evaluation_episodes(21), evaluation_episodes(20, seed=1)]
    assert digest not in {scenario_digest(plant, other) for other in others}
    assert evaluation_episodes().rows[[0, -1]].tolist() == [10_000, 10_999]
