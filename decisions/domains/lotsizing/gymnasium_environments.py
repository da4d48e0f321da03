"""The plant through Gymnasium's interface, one at a time or as a vector.

An episode is cut off (truncated) at the horizon and never terminated. `reset(seed=s)` starts the
series of episodes of seed s, any integer from 0, and a plain `reset` goes on to the next one of
it; row j of a vector has the series of s + j, as `gymnasium.vector.SyncVectorEnv` seeds its
environments.
"""

from typing import Any, cast

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from decisions.domains.lotsizing.batch import PlantBatch
from decisions.domains.lotsizing.environment import PlantEnvironment
from decisions.policy import BoolArray, FloatArray, IntArray
from decisions.rl.environment import Features
from decisions.seeds import RowKeys, stream

SEED = 1  # of the random numbers; episodes on which policies are compared have seed 0
_COSTS = ("setup_cost", "lost_cost", "holding_cost")


def first_episode(seed: int) -> int:
    """The number of the first episode of a series, below 2^62; the next ones follow it."""
    return int(stream(seed, "lotsizing", "series").integers(2**62))


class PossibleItems(spaces.MultiDiscrete[np.int64]):
    """A choice a machine, 0 to I, of which only those in `possible` belong to the space."""

    def __init__(self, possible: BoolArray, shape: tuple[int, ...]) -> None:
        """`possible` is (M, I + 1); `shape` is (M,), or (n, M) for n plants."""
        super().__init__(np.full(shape, possible.shape[1], dtype=np.int64))
        self.possible = possible
        self._machine = np.arange(len(possible))

    def sample(
        self,
        mask: npt.NDArray[Any] | tuple[npt.NDArray[Any], ...] | None = None,
        probability: tuple[npt.NDArray[Any], ...] | None = None,
    ) -> IntArray:
        """Uniform over what is possible, and over what `mask` leaves of it; idle if that is none.

        `mask` is the `action_mask` of an `info`, (M, I + 1) or (n, M, I + 1). Tuples of masks or
        of probabilities, a machine each, are Gymnasium's.
        """
        if isinstance(mask, tuple) or probability is not None:
            return super().sample(cast("tuple[npt.NDArray[Any], ...] | None", mask), probability)
        left = self.possible if mask is None else self.possible & mask.astype(np.bool_)
        left = np.broadcast_to(left, (*self.shape, left.shape[-1]))
        place = (self.np_random.random(self.shape) * left.sum(axis=-1)).astype(np.int64)
        first = np.argsort(~left, axis=-1, kind="stable")  # possible ones first
        return np.take_along_axis(first, place[..., None], axis=-1)[..., 0]

    def contains(self, x: Any) -> bool:
        """Whether `x` has the shape and machines can make what it says."""
        return super().contains(x) and bool(self.possible[self._machine, np.asarray(x)].all())


def _spaces(environment: PlantEnvironment) -> tuple[spaces.Box, PossibleItems]:
    """Observations and actions of one plant."""
    layout, instance = environment.layout, environment.plant.instance
    high = np.ones(environment.observation_size, dtype=np.float32)
    high[: instance.items] = instance.capacity * layout.stock_unit
    if layout.labels == 1:
        high[instance.items : instance.items + instance.machines] = (
            instance.items * layout.setup_unit
        )
    observations = spaces.Box(np.zeros_like(high), high, dtype=np.float32)
    return observations, PossibleItems(_possible(environment), (instance.machines,))


def _possible(environment: PlantEnvironment) -> BoolArray:
    """The mask (M, I + 1), read-only."""
    mask = environment.plant.mask
    return np.broadcast_to(mask if environment.masked else np.ones_like(mask), mask.shape)


class PlantEnv(gymnasium.Env[Features, IntArray]):
    """One plant. `info` holds the period's three costs and the `action_mask` (M, I + 1)."""

    metadata = {"render_modes": []}  # noqa: RUF012

    def __init__(self, environment: PlantEnvironment) -> None:
        """A plant seen and acted on as `environment` says."""
        self.environment = environment
        observations, self.action_space = _spaces(environment)
        self.observation_space = cast(spaces.Space[Features], observations)
        self._mask = _possible(environment)
        self._batch: PlantBatch | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Features, dict[str, Any]]:
        """The first observation of the next episode, of series `seed` where one is given."""
        super().reset(seed=seed, options=options)
        if seed is not None or self._batch is None:
            series = int(self.np_random.integers(2**62)) if seed is None else seed
            episode = np.array([first_episode(series)], dtype=np.int64)
        else:
            episode = self._batch.episode + ~self._batch.ended
        self._batch = PlantBatch(self.environment, RowKeys(SEED, episode))
        return self._batch.observation[0].copy(), {"action_mask": self._mask.copy()}

    def action_masks(self) -> BoolArray:
        """The mask machine after machine, (M (I + 1),), where sb3-contrib's MaskablePPO asks."""
        return self._mask.ravel().copy()

    def step(self, action: IntArray) -> tuple[Features, float, bool, bool, dict[str, Any]]:
        """Observation, minus the period's costs, False, whether the horizon is reached, `info`.

        Raises:
            DataError: the action is outside the mask.
            ResetNeeded: no episode is running.
        """
        batch = self._batch
        if batch is None or batch.ended[0]:
            raise gymnasium.error.ResetNeeded("no episode is running: call reset before step")
        batch.step(np.asarray(action)[None])
        truncated = bool(batch.ended[0])
        observation = (batch.final_observation if truncated else batch.observation)[0].copy()
        setup, lost, holding = batch.costs[0].tolist()
        info = {
            "setup_cost": setup,
            "lost_cost": lost,
            "holding_cost": holding,
            "action_mask": self._mask.copy(),
        }
        return observation, float(batch.reward[0]), False, truncated, info


class PlantVectorEnv(VectorEnv[Features, IntArray, npt.NDArray[Any]]):
    """n plants in one compiled kernel; an ended episode is followed by the next in the same step.

    `infos` holds arrays: the three costs and the `action_mask` (n, M, I + 1), read-only; when
    episodes end, also `final_obs` and `final_info`, as Gymnasium defines them for this mode.
    """

    metadata = {"render_modes": [], "autoreset_mode": AutoresetMode.SAME_STEP}  # noqa: RUF012

    def __init__(self, environment: PlantEnvironment, num_envs: int, *, copy: bool = True) -> None:
        """N plants; with `copy=False`, arrays are overwritten by the next step."""
        self.environment, self.num_envs = environment, num_envs
        self.single_observation_space, self.single_action_space = _spaces(environment)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        machines, possible = environment.plant.instance.machines, _possible(environment)
        self.action_space = PossibleItems(possible, (num_envs, machines))
        self._mask = np.broadcast_to(possible, (num_envs, *possible.shape))
        self._all, self._copy = np.ones(num_envs, dtype=np.bool_), copy
        self._batch: PlantBatch | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Features, dict[str, Any]]:
        """First observations (n, width): the next episodes, or those of series `seed` + row."""
        super().reset(seed=seed, options=options)
        if seed is not None or self._batch is None:
            series = int(self.np_random.integers(2**62)) if seed is None else seed
            rows = range(self.num_envs)
            first = np.array([first_episode(series + row) for row in rows], dtype=np.int64)
        else:
            first = self._batch.episode + 1
        self._batch = PlantBatch(self.environment, RowKeys(SEED, first))
        infos = {"action_mask": self._mask, "_action_mask": self._all}
        return self._own(self._batch.observation), infos

    def step(
        self, actions: IntArray
    ) -> tuple[Features, FloatArray, BoolArray, BoolArray, dict[str, Any]]:
        """Observations, rewards, terminations (all False), truncations and infos.

        Raises:
            DataError: an action is outside the mask.
            ResetNeeded: `reset` was never called.
        """
        batch = self._batch
        if batch is None:
            raise gymnasium.error.ResetNeeded("call reset before step")
        batch.step(actions)
        costs: dict[str, Any] = {
            key: values for i, name in enumerate(_COSTS)
            for key, values in ((name, self._own(batch.costs[:, i])), (f"_{name}", self._all))
        }  # fmt: skip
        infos = {**costs, "action_mask": self._mask, "_action_mask": self._all}
        if batch.ended.any():
            final = np.full(self.num_envs, None, dtype=object)
            for row in np.flatnonzero(batch.ended):
                final[row] = batch.final_observation[row].copy()
            ended = batch.ended.copy()
            infos |= {"final_obs": final, "_final_obs": ended}
            infos |= {"final_info": infos.copy(), "_final_info": ended}
        rewards, truncated = self._own(batch.reward), self._own(batch.ended)
        return self._own(batch.observation), rewards, ~self._all, truncated, infos

    def _own(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return values.copy() if self._copy else values
