"""Experience of a policy: many episodes in step, in time-major tensors."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from decisions.policy import BoolArray
from decisions.rl.environment import Environment, P, S
from decisions.rl.networks import ActorNetwork
from decisions.seeds import RowKeys, stream


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """T periods of B episodes. An episode that ends is followed by a new one in its column.

    `final_*` (E, ...) are of the states that nothing follows here: those in which an episode was
    truncated, at (`final_period`, `final_column`), then the B last ones. Their post-decision
    observations are of what the policy would do next. Rewards are as the environment gives them.
    """

    observation: Tensor  # (T, B, observation_size)
    post_observation: Tensor  # (T, B, post_observation_size), or (T, B, 0) if not asked for
    mask: Tensor | None  # (T, B, choices)
    action: Tensor  # (T, B, heads)
    log_probability: Tensor  # (T, B, heads)
    decision_reward: Tensor  # (T, B), of `apply`
    world_reward: Tensor  # (T, B), of `advance`, or its mean given the post-decision state
    terminated: Tensor  # (T, B), bool
    truncated: Tensor  # (T, B), bool
    final_observation: Tensor  # (E, observation_size)
    final_post_observation: Tensor  # (E, post_observation_size)
    final_period: Tensor  # (E - B,)
    final_column: Tensor  # (E - B,)

    @property
    def ended(self) -> Tensor:
        """Whether an episode ended in a period, for either reason, (T, B)."""
        return self.terminated | self.truncated

    def following(self, value: Tensor, final: Tensor, *, bootstrap_truncation: bool) -> Tensor:
        """Values (T, B) of what follows each period, 0 after a terminal state.

        `value` (T, B) is of the periods themselves, `final` (E,) of the final states.
        """
        columns = value.shape[1]
        after = torch.cat([value[1:], final[None, -columns:]]).masked_fill(self.ended, 0.0)
        if bootstrap_truncation:
            after[self.final_period, self.final_column] = final[:-columns]
        return after


class Collector(Generic[S, P]):
    """Episodes that go on from one rollout to the next: the mutable half of a training run.

    The noise of an episode is keyed by `seed` and its number; no two episodes share one.
    """

    def __init__(
        self,
        environment: Environment[S, P],
        columns: int,
        *,
        seed: int,
        post: bool = True,
        expected_rewards: bool = False,
    ) -> None:
        self.environment = environment
        self.post = post
        self.expected_rewards = expected_rewards
        self.episodes = RowKeys(key_of(seed, "training episodes"), np.arange(columns))
        self.state = environment.reset(self.episodes)
        self.period = np.zeros(columns, dtype=np.int64)
        self.gathered = np.zeros(columns)  # return so far of the episode in each column
        self.finished: list[float] = []  # returns of the episodes that ended, undiscounted

    def spread(self, actor: ActorNetwork, generator: torch.Generator) -> int:
        """Moves the columns to ages 0 to horizon - 1, so that a short rollout sees every age.

        Returns the number of steps that it took.
        """
        columns, horizon = len(self.period), self.environment.horizon
        begin = np.arange(columns) * horizon // columns
        for t in range(horizon):
            self._renew(begin == t)
            step = self._step(actor, generator)
            self._renew((step["terminated"] | step["truncated"]).numpy())
        self.finished.clear()
        return columns * horizon

    def tensors(self) -> dict[str, Tensor]:
        """Where every episode stands."""
        return {
            **{f"state.{i}": torch.from_numpy(array) for i, array in enumerate(self.state)},
            "episodes": torch.from_numpy(self.episodes.rows),
            "period": torch.from_numpy(self.period),
            "gathered": torch.from_numpy(self.gathered),
            "finished": torch.tensor(self.finished, dtype=torch.float64),
        }

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Goes on where `tensors` were taken."""
        arrays = [tensors[f"state.{i}"].numpy() for i in range(len(self.state))]
        self.state = type(self.state)(*arrays)
        self.episodes = RowKeys(self.episodes.seed, tensors["episodes"].numpy())
        self.period = tensors["period"].numpy()
        self.gathered = tensors["gathered"].numpy()
        self.finished = tensors["finished"].tolist()

    def collect(self, actor: ActorNetwork, periods: int, generator: torch.Generator) -> Rollout:
        """`periods` of every column under `actor`, from where the last rollout stopped."""
        steps: list[dict[str, Tensor]] = []
        finals: list[S] = []
        places: list[tuple[int, int]] = []
        for t in range(periods):
            step = self._step(actor, generator)
            truncated = step["truncated"].numpy()
            for_good = step["terminated"].numpy()
            if truncated.any():
                finals.append(take(self.state, truncated))
                places += [(t, int(column)) for column in np.flatnonzero(truncated)]
            self._renew(truncated | for_good)
            steps.append(step)
        observation, post = self._outlook(join([*finals, self.state]), actor, generator)
        index = torch.tensor(places, dtype=torch.int64).reshape(-1, 2)
        stacked = {name: torch.stack([step[name] for step in steps]) for name in steps[0]}
        return Rollout(
            observation=stacked["observation"],
            post_observation=stacked["post_observation"],
            mask=stacked.get("mask"),
            action=stacked["action"],
            log_probability=stacked["log_probability"],
            decision_reward=stacked["decision_reward"],
            world_reward=stacked["world_reward"],
            terminated=stacked["terminated"],
            truncated=stacked["truncated"],
            final_observation=observation,
            final_post_observation=post,
            final_period=index[:, 0],
            final_column=index[:, 1],
        )

    def _step(self, actor: ActorNetwork, generator: torch.Generator) -> dict[str, Tensor]:
        """One period of every column; what ended has not been renewed yet."""
        environment = self.environment
        step, post, decision_reward = self._decide(self.state, actor, generator)
        expected = environment.expected_reward(post) if self.expected_rewards else None
        state, realised, terminated = environment.advance(post, self.episodes, self.period)
        self.state = state
        self.period = self.period + 1
        self.gathered += decision_reward + realised
        world_reward = realised if expected is None else expected
        step["decision_reward"] = torch.from_numpy(decision_reward.astype(np.float32))
        step["world_reward"] = torch.from_numpy(world_reward.astype(np.float32))
        step["terminated"] = torch.from_numpy(terminated)
        truncated = (self.period >= environment.horizon) & ~terminated
        step["truncated"] = torch.from_numpy(truncated)
        return step

    def _decide(
        self, state: S, actor: ActorNetwork, generator: torch.Generator
    ) -> tuple[dict[str, Tensor], P, npt.NDArray[np.float64]]:
        environment = self.environment
        observation = torch.from_numpy(environment.observe(state))
        step = {"observation": observation}
        allowed = environment.mask(state)
        if allowed is not None:
            step["mask"] = torch.from_numpy(np.ascontiguousarray(allowed))
        uniforms = torch.rand(len(observation), actor.heads, generator=generator)
        with torch.inference_mode():
            action, logs = actor.act(observation, step.get("mask"), uniforms)
        post, decision_reward = environment.apply(state, actor.outward(action))
        seen = environment.observe_post(post) if self.post else np.empty((len(observation), 0))
        step |= {"action": action, "log_probability": logs}
        step["post_observation"] = torch.from_numpy(seen.astype(np.float32, copy=False))
        return step, post, decision_reward

    def _renew(self, ended: BoolArray) -> None:
        """Begins the next episode in the columns that `ended`."""
        if not ended.any():
            return
        self.finished += self.gathered[ended].tolist()
        rows = self.episodes.rows.copy()
        rows[ended] += len(rows)  # column j has the episodes j, j + B, j + 2B, ...
        self.episodes = RowKeys(self.episodes.seed, rows)
        fresh = self.environment.reset(self.episodes.take(np.flatnonzero(ended)))
        self.state = put(self.state, ended, fresh)
        self.period = np.where(ended, 0, self.period)
        self.gathered = np.where(ended, 0.0, self.gathered)

    def _outlook(
        self, state: S, actor: ActorNetwork, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Observations of `state` (E,) and of what the policy would do there."""
        if not self.post:
            observation = torch.from_numpy(self.environment.observe(state))
            return observation, torch.empty(len(observation), 0)
        step, _, _ = self._decide(state, actor, generator)
        return step["observation"], step["post_observation"]


def take(state: S, rows: BoolArray) -> S:
    """Those rows of a state."""
    return type(state)(*(array[rows] for array in state))


def put(state: S, rows: BoolArray, fresh: S) -> S:
    """`state` with `fresh` in those rows."""
    arrays = [array.copy() for array in state]
    for array, new in zip(arrays, fresh, strict=True):
        array[rows] = new
    return type(state)(*arrays)


def join(states: list[S]) -> S:
    """The rows of several states, one after the other."""
    columns = zip(*states, strict=True)
    return type(states[0])(*(np.concatenate(arrays) for arrays in columns))


def key_of(seed: int, *purpose: str) -> int:
    """A seed below 2^62 for one purpose of a run."""
    return int(stream(seed, *purpose).integers(2**62))
