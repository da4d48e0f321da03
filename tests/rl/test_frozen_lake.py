"""Values of the published maps were computed by an independent program."""

from statistics import mean

import numpy as np
import pytest

from decisions.policy import FloatArray, IntArray
from decisions.rl.environment import Environment
from decisions.rl.frozen_lake import (
    FrozenLake,
    LakePost,
    LakeState,
    best_values,
    lake_of_seed,
    reach_probability,
    uniform_values,
)
from decisions.seeds import RowKeys

DOWN, RIGHT, UP = 1, 2, 3


def strip(slip: list[float] | None = None, horizon: int = 100) -> FrozenLake:
    """Start, frozen, hole above frozen, frozen, goal."""
    return FrozenLake(("SFH", "FFG"), np.tile(slip or [0.25] * 4, (6, 1)), horizon)


def state_of(*cells: int) -> LakeState:
    return LakeState(np.array(cells), np.zeros(len(cells), dtype=np.int64))


def test_the_map_of_the_first_run_is_the_published_one() -> None:
    assert lake_of_seed(1).tiles == (
        "SFFFFFFFFF",
        "FFFHFFFFFF",
        "HHFFHHFFFH",
        "FFHFFFFHFF",
        "HFFFFFHFFF",
        "FFFFFFFFFF",
        "FFFFFFFFHF",
        "HFFHFFHFFF",
        "HFFFFHFHFF",
        "FHFFFFHFFG",
    )


@pytest.mark.parametrize(
    ("seed", "best", "uniform"), [(1, 31.97, 0.676), (2, 48.50, 2.86), (10, 24.87, 0.745)]
)
def test_returns_of_published_maps_are_the_known_ones(
    seed: int, best: float, uniform: float
) -> None:
    lake = lake_of_seed(seed)

    assert best_values(lake)[0][0, 0] == pytest.approx(best, abs=0.006)
    assert uniform_values(lake)[0] == pytest.approx(uniform, abs=0.006)


def test_thirty_maps_have_the_known_mean_returns_and_reach() -> None:
    lakes = [lake_of_seed(seed) for seed in range(1, 31)]
    best = [float(best_values(lake)[0][0, 0]) for lake in lakes]
    uniform = [float(uniform_values(lake)[0]) for lake in lakes]

    assert mean(best) == pytest.approx(30.1, abs=0.05)
    assert (min(best), max(best)) == (pytest.approx(9.9, abs=0.05), pytest.approx(48.5, abs=0.05))
    assert mean(uniform) == pytest.approx(0.955, abs=0.0006)
    assert mean(map(reach_probability, lakes)) == pytest.approx(0.76, abs=0.006)


def test_a_move_enters_the_intended_tile_and_earns_by_its_distance() -> None:
    lake = strip()

    post, reward = lake.apply(state_of(0, 0, 4), np.array([[RIGHT], [UP], [RIGHT]]))

    assert post.cell.tolist() == [1, 0, 5]  # the wall keeps the second where it is
    assert reward.tolist() == [1 / 3, 1 / 4, 1.0]


def test_a_hole_costs_and_ends_the_episode_at_the_next_move() -> None:
    lake = strip(slip=[0.0, 0.0, 0.0, 1.0])  # slips only up, where there is a wall
    episodes = RowKeys(0, np.arange(1000))

    post, reward = lake.apply(state_of(*[1] * 1000), np.full((1000, 1), RIGHT))
    state, more, ended = lake.advance(post, episodes, np.zeros(1000, dtype=np.int64))

    assert set(reward) == {1 / 2}
    assert set(np.round(more, 9)) == {-0.2, round(-0.2 + 1 / 2 - 0.2, 9)}  # stayed, or slipped
    assert set(state.cell) == {2}
    assert not ended.any()
    post, reward = lake.apply(state, np.full((1000, 1), DOWN))
    _, more, ended = lake.advance(post, episodes, np.ones(1000, dtype=np.int64))
    assert (set(reward), set(more), set(ended)) == ({0.0}, {0.0}, {True})


def test_the_goal_ends_the_episode_and_so_does_slipping_onto_it() -> None:
    lake = strip(slip=[0.0, 0.0, 1.0, 0.0])  # slips right
    episodes = RowKeys(0, np.arange(1000))
    start = state_of(*[4] * 500, *[1] * 500)

    post, reward = lake.apply(start, np.array([[RIGHT]] * 500 + [[DOWN]] * 500))
    state, more, ended = lake.advance(post, episodes, np.zeros(1000, dtype=np.int64))

    assert (set(reward[:500]), set(more[:500]), set(ended[:500])) == ({1.0}, {0.0}, {True})
    reached = state.cell[500:] == lake.goal
    assert abs(reached.mean() - 0.5) < 4 * 0.5 / np.sqrt(500)
    np.testing.assert_array_equal(ended[500:], reached)
    np.testing.assert_array_equal(more[500:], reached * 1.0)


def test_the_ice_slips_as_often_and_where_its_law_says() -> None:
    lake, n = lake_of_seed(3), 100_000
    cell, key = 44, RowKeys(7, np.arange(n))
    post = LakePost(np.full(n, cell), np.zeros(n, dtype=np.bool_), np.zeros(n, dtype=np.int64))

    state, reward, _ = lake.advance(post, key, np.full(n, 3))

    for move, target in enumerate(lake.next_cell[cell]):
        share = (state.cell == target).mean()
        assert abs(share - 0.5 * lake.slip[cell, move]) < 4 * 0.5 / np.sqrt(n)
    expected = lake.expected_reward(post)[0]
    assert abs(reward.mean() - expected) < 4 * reward.std() / np.sqrt(n)


def returns(lake: FrozenLake, moves: IntArray, episodes: RowKeys) -> FloatArray:
    """Total rewards of walks by a table of moves (horizon, cells), (n,)."""
    state, total = lake.reset(episodes), np.zeros(len(episodes.rows))
    running = np.ones(len(total), dtype=np.bool_)
    for period in range(lake.horizon):
        post, decided = lake.apply(state, moves[period, state.cell][:, None])
        state, chanced, ended = lake.advance(post, episodes, np.full(len(total), period))
        total += np.where(running, decided + chanced, 0.0)
        running &= ~ended
    return total


def test_walking_by_the_best_moves_earns_the_best_value() -> None:
    lake = lake_of_seed(10)
    values, moves = best_values(lake)

    total = returns(lake, moves, RowKeys(1, np.arange(4000)))

    assert abs(total.mean() - values[0, 0]) < 4 * total.std() / np.sqrt(len(total))


def test_a_walk_depends_on_its_own_episode_alone() -> None:
    lake = lake_of_seed(2)
    _, moves = best_values(lake)
    episodes = RowKeys(1, np.arange(50) + 2**33)

    together = returns(lake, moves, episodes)
    alone = returns(lake, moves, episodes.take(np.array([31])))

    assert alone[0] == together[31]


def test_observations_are_one_hot_codes_and_time() -> None:
    lake: Environment[LakeState, LakePost] = FrozenLake(
        ("SF", "FG"), np.full((4, 4), 0.25), 8, True
    )
    state = LakeState(np.array([2, 0]), np.array([4, 0]))

    seen = lake.observe(state)

    np.testing.assert_array_equal(seen, np.array([[0, 0, 1, 0, 0.5], [1, 0, 0, 0, 0]], np.float32))
    assert lake.mask(state) is None
    assert (lake.observation_size, lake.horizon) == (5, 8)
