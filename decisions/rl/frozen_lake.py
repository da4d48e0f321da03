"""The modified Frozen Lake: a walk on slippery ice whose best policy is known exactly.

A move is carried out as intended, clipped at the walls; then, with probability 1/2, the ice slips
the walker one more clipped step, by a law of the tile. Each tile that is entered earns 1 / (1 +
Manhattan distance to the goal), and a hole costs 1 / (rows + columns). A hole ends the episode
only at the next move, with no reward, unless the ice slips the walker out of it; the goal ends it
at once. The rewards make it best to loiter beside the goal: report how often it is reached apart.

Source: the second test bed of Felizardo, Fadda and others (2025), "Post-decision proximal policy
optimization with dual critic networks", arXiv 2504.05150, after Gymnasium's FrozenLake. There
the intended tile is the post-decision state, its own reward is without the hole's cost, and an
episode is cut off after 100 steps.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from decisions.policy import BoolArray, FloatArray, IntArray
from decisions.rl.environment import Features, MultiDiscrete
from decisions.seeds import RowKeys, random_words

MOVES = ((0, -1), (1, 0), (0, 1), (-1, 0))  # left, down, right, up: (rows, columns)
SLIP_SEED = 42
SLIPPING = 0.5
FROZEN = 0.8


class LakeState(NamedTuple):
    """n walkers before a move."""

    cell: IntArray  # (n,), row by row
    period: IntArray  # (n,), moves made


class LakePost(NamedTuple):
    """n walkers after a move and before the ice slips."""

    cell: IntArray  # (n,)
    over: BoolArray  # (n,), the move was made in a hole
    period: IntArray  # (n,), of the move


@dataclass(frozen=True, eq=False)
class FrozenLake:
    """`decisions.rl.environment.Environment` of one map. `time` shows the share of it passed."""

    tiles: tuple[str, ...]  # a row a text, of S (start), F (frozen), H (hole) and G (goal)
    slip: FloatArray  # (cells, 4), the law of a slip's direction, by tile
    horizon: int = 100
    time: bool = False

    @property
    def actions(self) -> MultiDiscrete:
        """Left, down, right, up."""
        return MultiDiscrete((len(MOVES),))

    @property
    def observation_size(self) -> int:
        """Width of `observe`."""
        return self.hole.size + self.time

    @property
    def post_observation_size(self) -> int:
        """Width of `observe_post`: the same."""
        return self.observation_size

    @cached_property
    def hole(self) -> BoolArray:
        """Whether a tile is a hole, (cells,)."""
        return np.array([tile == "H" for row in self.tiles for tile in row])

    @property
    def goal(self) -> int:
        """The last cell."""
        return self.hole.size - 1

    @cached_property
    def reward(self) -> FloatArray:
        """Of entering a tile, (cells,), without what a hole costs."""
        row, column = np.divmod(np.arange(self.hole.size), len(self.tiles[0]))
        distance = len(self.tiles) - 1 - row + len(self.tiles[0]) - 1 - column
        return 1 / (1 + distance)

    @cached_property
    def penalty(self) -> FloatArray:
        """Minus what a hole costs, (cells,)."""
        return np.where(self.hole, -1 / (len(self.tiles) + len(self.tiles[0])), 0.0)

    @cached_property
    def next_cell(self) -> IntArray:
        """Where a move leads, clipped at the walls, (cells, 4)."""
        rows, columns = len(self.tiles), len(self.tiles[0])
        row, column = np.divmod(np.arange(self.hole.size), columns)
        steps = [
            np.clip(row + down, 0, rows - 1) * columns + np.clip(column + right, 0, columns - 1)
            for down, right in MOVES
        ]
        return np.stack(steps, axis=1)

    @cached_property
    def slip_reward(self) -> FloatArray:
        """Mean reward of the ice, with what holes cost, by intended tile, (cells,)."""
        entered = (self.reward + self.penalty)[self.next_cell]
        mean = self.penalty + SLIPPING * (self.slip * entered).sum(axis=1)
        return np.where(np.arange(self.hole.size) == self.goal, 0.0, mean)

    @cached_property
    def _outcome(self) -> FloatArray:
        """Where the chances of staying, then of slips but the last, end in [0, 1), (cells, 4)."""
        chances = np.insert(SLIPPING * self.slip[:, :-1], 0, 1 - SLIPPING, axis=1)
        return np.cumsum(chances, axis=1)

    def reset(self, episodes: RowKeys) -> LakeState:
        """All walkers at the start."""
        start = np.zeros(len(episodes.rows), dtype=np.int64)
        return LakeState(start, start.copy())

    def observe(self, state: LakeState) -> Features:
        """One-hot code of the tile, and time where it is shown, (n, observation_size)."""
        return self._encode(state.cell, state.period)

    def mask(self, state: LakeState) -> BoolArray | None:
        """None: every move is possible."""
        return None

    def apply(
        self, state: LakeState, action: npt.NDArray[np.generic]
    ) -> tuple[LakePost, FloatArray]:
        """The intended tile and its own reward (n,); nothing for a move made in a hole."""
        move = np.asarray(action)[:, 0].astype(np.int64)
        over = self.hole[state.cell]
        cell = np.where(over, state.cell, self.next_cell[state.cell, move])
        return LakePost(cell, over, state.period), np.where(over, 0.0, self.reward[cell])

    def observe_post(self, post: LakePost) -> Features:
        """The same as `observe`, of the intended tile."""
        return self._encode(post.cell, post.period)

    def expected_reward(self, post: LakePost) -> FloatArray:
        """The mean reward of the ice, with what holes cost, (n,)."""
        return np.where(post.over, 0.0, self.slip_reward[post.cell])

    def advance(
        self, post: LakePost, episodes: RowKeys, period: IntArray
    ) -> tuple[LakeState, FloatArray, BoolArray]:
        """Where the ice leaves the walkers, its rewards (n,), and which episodes ended (n,)."""
        key = episodes.philox_key("frozen lake", "slip")
        words = random_words(key, episodes.rows, period, columns=1)[:, 0]
        outcome = (words * 2.0**-32 >= self._outcome[post.cell].T).sum(axis=0)
        still = post.over | (post.cell == self.goal)
        slipped = (outcome > 0) & ~still
        cell = np.where(slipped, self.next_cell[post.cell, np.maximum(outcome - 1, 0)], post.cell)
        entered = np.where(slipped, (self.reward + self.penalty)[cell], 0.0)
        reward = np.where(still, 0.0, self.penalty[post.cell] + entered)
        return LakeState(cell, post.period + 1), reward, post.over | (cell == self.goal)

    def _encode(self, cell: IntArray, period: IntArray) -> Features:
        features = np.zeros((len(cell), self.observation_size), dtype=np.float32)
        features[np.arange(len(cell)), cell] = 1.0
        if self.time:
            features[:, -1] = period / self.horizon
        return features


def lake_of_seed(seed: int, *, size: int = 10) -> FrozenLake:
    """The published map of a run: drawn again until a path leads from the start to the goal.

    Maps and slips are those of numpy's legacy generator, seeded as the source seeds its global
    one, because published results are about them.
    """
    maps = np.random.RandomState(seed)
    while True:
        drawn = maps.choice(["F", "H"], (size, size), p=[FROZEN, 1 - FROZEN])
        drawn[0, 0], drawn[-1, -1] = "S", "G"
        if _has_path(drawn != "H"):
            break
    slips = np.random.RandomState(SLIP_SEED)
    slip = slips.dirichlet(np.ones(len(MOVES)), size=size * size)
    return FrozenLake(tuple("".join(row) for row in drawn), slip)


def _has_path(free: BoolArray) -> bool:
    """Whether free tiles join the first and the last, by their sides."""
    reached = np.zeros_like(free)
    reached[0, 0] = True
    while True:
        grown = reached.copy()
        grown[1:] |= reached[:-1]
        grown[:-1] |= reached[1:]
        grown[:, 1:] |= reached[:, :-1]
        grown[:, :-1] |= reached[:, 1:]
        grown &= free
        if (grown == reached).all():
            return bool(reached[-1, -1])
        reached = grown


def best_values(lake: FrozenLake) -> tuple[FloatArray, IntArray]:
    """Best mean return over the moves that are left, and the move, by period and cell.

    Returns:
        Values (horizon + 1, cells), the last row 0, and moves (horizon, cells).

    Source: backward induction, Bellman (1957).
    """
    values = np.zeros((lake.horizon + 1, lake.hole.size))
    moves = np.zeros((lake.horizon, lake.hole.size), dtype=np.int64)
    for period in reversed(range(lake.horizon)):
        of_move = _values_of_moves(lake, values[period + 1])
        values[period], moves[period] = of_move.max(axis=1), of_move.argmax(axis=1)
    return values, moves


def uniform_values(lake: FrozenLake) -> FloatArray:
    """Mean return of moving at random over the whole horizon, by cell, (cells,)."""
    values = np.zeros(lake.hole.size)
    for _ in range(lake.horizon):
        values = _values_of_moves(lake, values).mean(axis=1)
    return values


def reach_probability(lake: FrozenLake) -> float:
    """The largest probability of reaching the goal from the start within the horizon."""
    reached = np.zeros(lake.hole.size)
    reached[lake.goal] = 1.0
    for _ in range(lake.horizon):
        slipping = (lake.slip * reached[lake.next_cell]).sum(axis=1)
        after = (1 - SLIPPING) * reached + SLIPPING * slipping
        after[lake.goal] = 1.0
        reached = np.where(lake.hole, 0.0, after[lake.next_cell].max(axis=1))
        reached[lake.goal] = 1.0
    return float(reached[0])


def _values_of_moves(lake: FrozenLake, following: FloatArray) -> FloatArray:
    """Mean return of each move and of what follows it, (cells, 4); 0 in holes and at the goal."""
    slipping = (lake.slip * following[lake.next_cell]).sum(axis=1)
    after = lake.slip_reward + (1 - SLIPPING) * following + SLIPPING * slipping
    after[lake.goal] = 0.0
    of_move = (lake.reward + after)[lake.next_cell]
    of_move[lake.hole] = 0.0
    of_move[lake.goal] = 0.0
    return of_move
