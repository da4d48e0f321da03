"""What a simulator offers to be learned in: a decision's own effect, then the world's.

A transition is split where the policy's knowledge ends. `apply` is what the action does, without
any noise; what it leaves is the post-decision state. `advance` holds all the noise.

Source: Powell (2011), "Approximate Dynamic Programming", section 4.6, the post-decision state.
"""

from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from decisions.policy import BoolArray, FloatArray, IntArray
from decisions.seeds import RowKeys

Features = npt.NDArray[np.float32]

S = TypeVar("S", bound=tuple[npt.NDArray[np.generic], ...])
P = TypeVar("P", bound=tuple[npt.NDArray[np.generic], ...])


@dataclass(frozen=True)
class MultiDiscrete:
    """One choice of each head: head `j` takes 0 to `sizes[j]` - 1."""

    sizes: tuple[int, ...]


@dataclass(frozen=True)
class Box:
    """A vector within bounds, both included."""

    low: tuple[float, ...]
    high: tuple[float, ...]


class Environment(Protocol[S, P]):
    """n episodes in step. A state, and a post-decision state, is a NamedTuple of arrays (n, ...).

    Nothing is kept between calls. All noise of an episode is a function of its key and of the
    period: row `j` belongs to the episode `episodes.rows[j]`, whatever the other rows are. An
    episode that `advance` does not end (`terminated`) is cut off (truncated) after `horizon`
    periods, which ends the counting of rewards but not the process: its last state has a value.
    """

    @property
    def horizon(self) -> int:
        """Periods after which an episode is cut off."""
        ...

    @property
    def actions(self) -> MultiDiscrete | Box:
        """What can be done."""
        ...

    @property
    def observation_size(self) -> int:
        """Width of `observe`."""
        ...

    @property
    def post_observation_size(self) -> int:
        """Width of `observe_post`."""
        ...

    def reset(self, episodes: RowKeys) -> S:
        """The first states of episodes."""
        ...

    def observe(self, state: S) -> Features:
        """What the policy and the critic of states see, (n, observation_size), of order 1."""
        ...

    def mask(self, state: S) -> BoolArray | None:
        """Choices that are possible, (n, sum of sizes), head after head; None: all are."""
        ...

    def apply(self, state: S, action: npt.NDArray[np.generic]) -> tuple[P, FloatArray]:
        """Post-decision states and the decision's own rewards (n,), of `action` (n, heads)."""
        ...

    def observe_post(self, post: P) -> Features:
        """What the critic of post-decision states sees, (n, post_observation_size)."""
        ...

    def expected_reward(self, post: P) -> FloatArray | None:
        """The mean over the noise of the reward of `advance`, (n,); None where it is unknown."""
        ...

    def advance(
        self, post: P, episodes: RowKeys, period: IntArray
    ) -> tuple[S, FloatArray, BoolArray]:
        """Next states, the world's rewards (n,) and whether the episode ended in itself (n,).

        `period` (n,) is how many periods each episode had lived before this one.
        """
        ...
