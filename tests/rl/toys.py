"""Small problems with known answers: what an actor is to learn is plain to see."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from decisions.policy import BoolArray, FloatArray, IntArray
from decisions.rl.environment import Box, Features, MultiDiscrete
from decisions.seeds import RowKeys


class Seen(NamedTuple):
    """A number to answer, and how many periods have passed."""

    symbol: npt.NDArray[np.int64]
    period: npt.NDArray[np.int64]


class Answered(NamedTuple):
    """What was right and what was said."""

    right: npt.NDArray[np.int64]
    period: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Identity:
    """Heads of unequal sizes repeat the symbol shown, modulo their size: one point for each.

    The world adds noise of mean 0.5; with `terminal` it also ends an episode every third period,
    on average.
    """

    sizes: tuple[int, ...] = (3, 2)
    horizon: int = 10
    terminal: bool = False

    @property
    def actions(self) -> MultiDiscrete:
        return MultiDiscrete(self.sizes)

    @property
    def observation_size(self) -> int:
        return max(self.sizes)

    @property
    def post_observation_size(self) -> int:
        return 1

    def reset(self, episodes: RowKeys) -> Seen:
        symbol = episodes.uniforms("symbol")[:, 0] * max(self.sizes)
        return Seen(symbol.astype(np.int64), np.zeros(len(symbol), dtype=np.int64))

    def observe(self, state: Seen) -> Features:
        return np.eye(max(self.sizes), dtype=np.float32)[state.symbol]

    def mask(self, state: Seen) -> BoolArray | None:
        return None

    def apply(self, state: Seen, action: npt.NDArray[np.generic]) -> tuple[Answered, FloatArray]:
        wanted = state.symbol[:, None] % np.array(self.sizes)
        right = (action.astype(np.int64) == wanted).sum(axis=1)
        return Answered(right, state.period), right.astype(np.float64)

    def observe_post(self, post: Answered) -> Features:
        return post.right[:, None].astype(np.float32)

    def expected_reward(self, post: Answered) -> FloatArray | None:
        return np.full(len(post.right), 0.5)

    def advance(
        self, post: Answered, episodes: RowKeys, period: IntArray
    ) -> tuple[Seen, FloatArray, BoolArray]:
        keys = RowKeys(episodes.seed, episodes.rows * self.horizon + period)
        noise, symbol, last = keys.uniforms("advance", columns=3).T
        ended = (last < 1 / 3) if self.terminal else np.zeros(len(last), dtype=np.bool_)
        return Seen((symbol * max(self.sizes)).astype(np.int64), post.period + 1), noise, ended


class Position(NamedTuple):
    """Where one is, (n, 1)."""

    place: FloatArray


@dataclass(frozen=True)
class Regulator:
    """Steer a drifting place to 0 by moves in [-2, 1]: the best move is minus the place."""

    horizon: int = 8
    observation_size: int = 1
    post_observation_size: int = 1

    @property
    def actions(self) -> Box:
        return Box((-2.0,), (1.0,))

    def reset(self, episodes: RowKeys) -> Position:
        return Position(2.0 * episodes.uniforms("start") - 0.5)

    def observe(self, state: Position) -> Features:
        return state.place.astype(np.float32)

    def mask(self, state: Position) -> BoolArray | None:
        return None

    def apply(
        self, state: Position, action: npt.NDArray[np.generic]
    ) -> tuple[Position, FloatArray]:
        place = state.place + action.astype(np.float64)
        return Position(place), -(place[:, 0] ** 2)

    def observe_post(self, post: Position) -> Features:
        return post.place.astype(np.float32)

    def expected_reward(self, post: Position) -> FloatArray | None:
        return None

    def advance(
        self, post: Position, episodes: RowKeys, period: IntArray
    ) -> tuple[Position, FloatArray, BoolArray]:
        keys = RowKeys(episodes.seed, episodes.rows * self.horizon + period)
        drift = keys.uniforms("drift") - 0.3
        return Position(post.place + drift), np.zeros(len(drift)), np.zeros(len(drift), np.bool_)
