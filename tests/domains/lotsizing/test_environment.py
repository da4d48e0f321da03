import numpy as np
import numpy.typing as npt
import pytest

from decisions.domains.lotsizing.batch import PlantBatch
from decisions.domains.lotsizing.environment import Observation, PlantEnvironment
from decisions.domains.lotsizing.instance import packaged
from decisions.domains.lotsizing.plant import Plant, PlantState, PostState
from decisions.errors import DataError
from decisions.rl.environment import Environment, MultiDiscrete
from decisions.seeds import RowKeys, stream


def possible(environment: PlantEnvironment, n: int, seed: int) -> npt.NDArray[np.int16]:
    rng = stream(seed, "actions")
    chosen = [rng.choice(np.flatnonzero(row), n) for row in environment.plant.mask]
    return np.array(chosen, dtype=np.int16).T.copy()


def test_the_full_observation_shows_stock_set_ups_and_time() -> None:
    environment: Environment[PlantState, PostState] = PlantEnvironment(Plant(packaged("tiny_2x1")))
    state = PlantState(
        np.array([[10, 3]], dtype=np.int32), np.array([[2]], dtype=np.int16), np.array([5], "i4")
    )

    seen = environment.observe(state)

    np.testing.assert_array_equal(seen, np.array([[1, 0.3, 0, 0, 1, 0.25]], dtype=np.float32))
    assert (environment.observation_size, environment.post_observation_size) == (6, 6)
    assert environment.actions == MultiDiscrete((3,))
    assert environment.horizon == 20


@pytest.mark.parametrize(
    ("observation", "scaled", "wanted"),
    [
        ("inventory", True, [1, 0.3]),
        ("inventory", False, [10, 3]),
        ("inventory+setup", True, [1, 0.3, 1]),
        ("inventory+setup", False, [10, 3, 2]),
    ],
)
def test_published_observations_hide_what_they_hid(
    observation: Observation, scaled: bool, wanted: list[float]
) -> None:
    environment = PlantEnvironment(Plant(packaged("tiny_2x1")), observation, scaled=scaled)
    state = PlantState(
        np.array([[10, 3]], dtype=np.int32), np.array([[2]], dtype=np.int16), np.array([5], "i4")
    )

    np.testing.assert_array_equal(environment.observe(state), np.array([wanted], np.float32))


def test_the_post_observation_shows_stock_out_of_bounds_as_it_is() -> None:
    environment = PlantEnvironment(Plant(packaged("tiny_2x1")), time=False)
    post = PostState(
        np.array([[14, -1]], dtype=np.int32), np.array([[0]], dtype=np.int16), np.array([0], "i4")
    )

    seen = environment.observe_post(post)

    np.testing.assert_allclose(seen, [[1.4, -0.1, 1, 0, 0]], rtol=1e-6)


def test_rewards_are_minus_costs_split_where_the_noise_begins() -> None:
    environment = PlantEnvironment(Plant(packaged("20x10")))
    plant, episodes = environment.plant, RowKeys(1, np.arange(200))
    state = environment.reset(episodes)
    action = possible(environment, 200, seed=1)

    post, decided = environment.apply(state, action)
    _, chanced, ended = environment.advance(post, episodes, np.zeros(200, dtype=np.int64))

    same, setup = plant.apply(state, action)
    _, lost, holding = plant.advance(same, plant.demand_uniforms(episodes, same.period))
    np.testing.assert_array_equal(decided, -setup)
    np.testing.assert_array_equal(chanced, -(lost + holding))
    np.testing.assert_allclose(decided + chanced, -(setup + lost + holding), atol=1e-9)
    assert not ended.any()
    expected = environment.expected_reward(post)
    np.testing.assert_allclose(expected, -sum(plant.expected_costs(post)))
    assert abs((chanced - expected).mean()) < 4 * (chanced - expected).std() / np.sqrt(200)


def test_the_mask_is_what_machines_can_make_and_idling() -> None:
    environment = PlantEnvironment(Plant(packaged("20x10")))
    state = environment.reset(RowKeys(0, np.arange(4)))

    mask = environment.mask(state)

    assert mask is not None
    assert mask.shape == (4, 10 * 21)
    heads = mask.reshape(4, 10, 21)
    assert heads[:, :, 0].all()
    np.testing.assert_array_equal(heads[2, :, 1:], environment.plant.instance.production > 0)


def test_only_an_unmasked_environment_takes_items_that_cannot_be_made() -> None:
    plant = Plant(packaged("20x10"))
    action = np.full((1, 10), 4, dtype=np.int16)  # machine 1 cannot make item 4
    masked, free = PlantEnvironment(plant), PlantEnvironment(plant, masked=False)
    state = masked.reset(RowKeys(0, np.array([0])))

    assert free.mask(state) is None
    assert free.apply(state, action)[0].set_up.tolist() == [[4] * 10]
    with pytest.raises(DataError, match="outside the mask of machine 1"):
        masked.apply(state, action)


def test_the_columns_to_keep_are_one_where_a_choice_keeps_the_set_up() -> None:
    environment = PlantEnvironment(Plant(packaged("15x5")))
    state = environment.reset(RowKeys(0, np.arange(6)))
    columns = environment.keep_columns

    assert columns is not None
    shown = environment.observe(state)[:, slice(*columns)].reshape(6, 5, 16)
    np.testing.assert_array_equal(shown.argmax(axis=2), state.set_up)
    np.testing.assert_array_equal(shown.sum(axis=2), 1)
    assert PlantEnvironment(environment.plant, "inventory").keep_columns is None


@pytest.mark.parametrize("observation", ["full", "inventory", "inventory+setup"])
def test_backends_observe_the_same_bits(observation: Observation) -> None:
    plain = PlantEnvironment(Plant(packaged("15x5"), "numpy"), observation)
    fast = PlantEnvironment(Plant(packaged("15x5"), threads=2), observation)
    state = plain.reset(RowKeys(0, np.arange(300)))

    seen, wanted = fast.observe(state), plain.observe(state)

    assert (seen.dtype, seen.shape) == (np.float32, (300, plain.observation_size))
    np.testing.assert_array_equal(seen, wanted)


@pytest.mark.parametrize(
    "plant",
    [
        Plant(packaged("15x5")),
        Plant(packaged("15x5"), threads=2),
        Plant(packaged("15x5"), "numpy"),
    ],
)
def test_a_batch_in_place_lives_the_episodes_of_the_environment(plant: Plant) -> None:
    environment = PlantEnvironment(plant)
    n, stride = 130, 1000  # two tiles of rows and a part of one
    first = np.arange(n) + np.array([0, 2**33])[np.arange(n) % 2]
    batch = PlantBatch(environment, RowKeys(6, first), stride=stride)

    for episode in range(2):
        episodes = RowKeys(6, first + episode * stride)
        state = environment.reset(episodes)
        np.testing.assert_array_equal(batch.observation, environment.observe(state))
        for period in range(100):
            action = possible(environment, n, seed=period)
            post, decided = environment.apply(state, action)
            state, chanced, _ = environment.advance(post, episodes, np.full(n, period))
            batch.step(action)
            np.testing.assert_array_equal(batch.reward, decided + chanced)
            np.testing.assert_allclose(batch.costs.sum(axis=1), -batch.reward, atol=1e-9)
            assert batch.ended.tolist() == [period == 99] * n
        np.testing.assert_array_equal(batch.final_observation, environment.observe(state))
    np.testing.assert_array_equal(batch.episode, first + 2 * stride)


def test_a_batch_refuses_an_action_before_anything_has_changed() -> None:
    environment = PlantEnvironment(Plant(packaged("20x10")))
    batch = PlantBatch(environment, RowKeys(0, np.arange(3)))
    before = [part.copy() for part in batch.state]
    action = possible(environment, 3, seed=0)
    action[2, 0] = 4

    with pytest.raises(DataError, match=r"action\[2\]\[0\] is 4"):
        batch.step(action)

    for seen, wanted in zip(batch.state, before, strict=True):
        np.testing.assert_array_equal(seen, wanted)
