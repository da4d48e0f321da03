import copy
import pickle
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers.vector import RecordEpisodeStatistics

from decisions.domains.lotsizing.environment import PlantEnvironment
from decisions.domains.lotsizing.gymnasium_environments import (
    PlantEnv,
    PlantVectorEnv,
    first_episode,
)
from decisions.domains.lotsizing.instance import packaged
from decisions.domains.lotsizing.plant import Plant
from decisions.errors import DataError


@pytest.fixture(scope="module")
def environment() -> PlantEnvironment:
    return PlantEnvironment(Plant(packaged("15x5")))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"time": False},
        {"observation": "inventory", "scaled": False, "masked": False},
        {"observation": "inventory+setup", "scaled": False},
    ],
)
@pytest.mark.parametrize("name", ["15x5", "tiny_2x1"])
def test_one_plant_passes_gymnasiums_checker(name: str, options: dict[str, Any]) -> None:
    env = PlantEnv(PlantEnvironment(Plant(packaged(name)), **options))

    check_env(env, skip_render_check=True)  # a warning is an error in these tests


def test_an_episode_is_truncated_at_the_horizon_and_never_terminated(
    environment: PlantEnvironment,
) -> None:
    env = PlantEnv(environment)
    observation, _ = env.reset(seed=4)
    env.action_space.seed(1)
    for period in range(100):
        observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
        assert env.observation_space.contains(observation)
        assert not terminated
        assert truncated == (period == 99)
        costs = [info[f"{name}_cost"] for name in ("setup", "lost", "holding")]
        assert reward == pytest.approx(-sum(costs), abs=1e-9)
    assert observation[-1] == 1  # the whole horizon has passed

    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(env.action_space.sample())


def test_a_step_before_any_reset_is_refused(environment: PlantEnvironment) -> None:
    for env in (PlantEnv(environment), PlantVectorEnv(environment, 2)):
        with pytest.raises(gymnasium.error.ResetNeeded):
            env.step(env.action_space.sample())


def test_resets_go_on_to_new_episodes_and_a_seed_goes_back(environment: PlantEnvironment) -> None:
    env = PlantEnv(environment)

    first, _ = env.reset(seed=5)
    second, _ = env.reset()
    again, _ = env.reset(seed=5)
    twice, _ = env.reset()

    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(second, twice)


LARGE = [2**31 - 1, 2**31, 2**32 - 1, 2**63, 2**200]


@pytest.mark.parametrize("seed", LARGE)
def test_a_seed_of_any_size_gives_the_same_stream_alone_and_in_vectors(
    environment: PlantEnvironment, seed: int
) -> None:
    vector = PlantVectorEnv(environment, 3)
    theirs = SyncVectorEnv([lambda: PlantEnv(environment)] * 3)

    seen = vector.reset(seed=seed)[0]

    np.testing.assert_array_equal(seen, theirs.reset(seed=seed)[0])
    alone = [PlantEnv(environment).reset(seed=seed + row)[0] for row in range(3)]
    np.testing.assert_array_equal(seen, alone)


def test_every_seed_has_a_stream_of_its_own() -> None:
    seeds = [*range(2_000), *LARGE, *(2**32 + seed for seed in range(2_000))]

    first = np.sort([first_episode(seed) for seed in seeds])

    assert first[0] >= 0
    assert np.diff(first).min() > 10**9  # episodes before a series meets the next one


def test_a_used_plant_is_copied_and_pickled(environment: PlantEnvironment) -> None:
    shared = PlantEnvironment(Plant(environment.plant.instance, threads=2))
    for env in (PlantEnv(environment), PlantVectorEnv(shared, 8)):
        env.action_space.seed(4)
        env.reset(seed=1)
        env.step(env.action_space.sample())
        copies = [copy.deepcopy(env), pickle.loads(pickle.dumps(env))]

        action = env.action_space.sample()
        wanted = env.step(action)
        for other in copies:
            seen = other.step(action)
            np.testing.assert_array_equal(seen[0], wanted[0])
            np.testing.assert_array_equal(seen[1], wanted[1])


def test_the_mask_of_info_may_be_sampled_from(environment: PlantEnvironment) -> None:
    for env in (PlantEnv(environment), PlantVectorEnv(environment, 6)):
        mask = env.reset(seed=3)[1]["action_mask"].copy()
        mask[..., 0, :] = False  # machine 1 has nothing left: it idles
        mask[..., 1, :] = False
        mask[..., 1, 0] = True
        env.action_space.seed(5)

        drawn = np.stack([env.action_space.sample(mask=mask) for _ in range(300)])

        assert (drawn[..., :2] == 0).all()
        for machine in range(2, 5):
            possible = np.flatnonzero(environment.plant.mask[machine])
            assert set(drawn[..., machine].ravel()) == set(possible)


def test_masks_are_given_as_maskable_agents_ask(environment: PlantEnvironment) -> None:
    env = PlantEnv(environment)

    np.testing.assert_array_equal(env.action_masks(), environment.plant.mask.ravel())
    assert env.action_masks().dtype == np.bool_
    assert env.action_masks().size == 5 * 16


def test_the_action_space_is_what_machines_can_make(environment: PlantEnvironment) -> None:
    env, vector = PlantEnv(environment), PlantVectorEnv(environment, 50)
    mask = environment.plant.mask

    for space in (env.action_space, vector.action_space):
        space.seed(3)
        drawn = np.concatenate([np.atleast_2d(space.sample()) for _ in range(400)])
        for machine, possible in enumerate(mask):
            assert set(drawn[:, machine]) == set(np.flatnonzero(possible))
        assert space.contains(space.sample())
    refused = np.zeros(5, dtype=np.int64)
    refused[0] = np.flatnonzero(~mask[0])[0]
    assert not env.action_space.contains(refused)
    env.reset(seed=0)
    with pytest.raises(DataError, match="outside the mask of machine 1"):
        env.step(refused)


def test_the_vector_is_gymnasiums_own_vector_of_single_plants(
    environment: PlantEnvironment,
) -> None:
    ours = PlantVectorEnv(environment, 3)
    theirs = SyncVectorEnv(
        [lambda: PlantEnv(environment)] * 3, autoreset_mode=AutoresetMode.SAME_STEP
    )
    ours.action_space.seed(2)
    assert ours.metadata["autoreset_mode"] == AutoresetMode.SAME_STEP
    assert ours.observation_space == theirs.observation_space

    np.testing.assert_array_equal(ours.reset(seed=9)[0], theirs.reset(seed=9)[0])
    for step in range(230):
        if step == 150:  # in the middle of an episode
            np.testing.assert_array_equal(ours.reset()[0], theirs.reset()[0])
        action = ours.action_space.sample()
        *seen, infos = ours.step(action)
        *wanted, their_infos = theirs.step(action)
        for a, b in zip(seen, wanted, strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)
        assert ours.observation_space.contains(seen[0])
        ended = {"final_obs", "final_info"} <= infos.keys()
        assert ended == ("final_obs" in their_infos) == bool(seen[3].all())
        costs = their_infos["final_info"] if ended else their_infos
        for name in ("setup_cost", "lost_cost", "holding_cost", "action_mask", "_setup_cost"):
            np.testing.assert_array_equal(infos[name], costs[name])
        if ended:
            for a, b in zip(infos["final_obs"], their_infos["final_obs"], strict=True):
                np.testing.assert_array_equal(a, b)


def test_arrays_that_were_returned_are_left_alone(environment: PlantEnvironment) -> None:
    env = PlantVectorEnv(environment, 4)
    first, _ = env.reset(seed=1)
    kept = first.copy()

    second, reward, *_ = env.step(env.action_space.sample())
    kept_reward = reward.copy()
    env.step(env.action_space.sample())

    np.testing.assert_array_equal(first, kept)
    np.testing.assert_array_equal(reward, kept_reward)
    assert not np.shares_memory(first, second)


def test_gymnasiums_wrappers_see_whole_episodes(environment: PlantEnvironment) -> None:
    env = RecordEpisodeStatistics(PlantVectorEnv(environment, 2))
    env.reset(seed=0)
    total, infos = np.zeros(2), dict[str, Any]()
    for _ in range(100):
        _, rewards, _, _, infos = env.step(np.zeros((2, 5), dtype=np.int64))
        total += rewards

    np.testing.assert_allclose(infos["episode"]["r"], total)
    np.testing.assert_array_equal(infos["episode"]["l"], [100, 100])
