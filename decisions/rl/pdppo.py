"""Post-decision PPO: a second critic, of what a decision leaves before the world's noise.

Source: "Post-decision proximal policy optimization with dual critic networks" (2025), arXiv
2504.05150. The Bellman split goes beyond it.
"""

from dataclasses import dataclass, replace
from typing import Literal, Self

import torch
from torch import Tensor

from decisions.rl.advantages import split_advantages
from decisions.rl.ppo import PPO, Estimates, Values
from decisions.rl.rollout import Rollout

Advantage = Literal["pre", "post", "max", "min", "mean", "sum", "split"]


@dataclass(frozen=True, kw_only=True)
class PDPPO(PPO):
    """PPO whose advantage draws on two critics, each with its own stream of rewards.

    The state's critic learns the whole reward, or with `pre_reward` "chance" the world's alone;
    the post-decision critic learns the decision's own. Their advantages are combined by
    `advantage`, the published way by the larger. "split" is the Bellman split instead: the
    post-decision critic learns what follows s^x, so that V(s) = r^x + V^x(s^x) in the mean, and
    the world's noise enters the advantage by the share `eta` (see `split_advantages`).
    """

    advantage: Advantage = "max"
    pre_reward: Literal["full", "chance"] = "full"
    eta: float = 1.0
    eta_0: float | None = None  # of the decision's own period; None: `eta`

    @classmethod
    def paper(cls) -> Self:
        """The published behaviour, as `PPO.paper`: the state's critic sees the world's rewards."""
        return replace(super().paper(), pre_reward="chance", actor_gain=2**0.5)

    @property
    def critics(self) -> tuple[Literal["state", "post"], ...]:
        """What the critics see."""
        return ("state", "post")

    def estimate(self, rollout: Rollout, values: list[Values]) -> Estimates:
        """Advantages and targets of a rollout, in scaled rewards."""
        decision = self.reward_scale * rollout.decision_reward
        world = self.reward_scale * rollout.world_reward
        if self.advantage == "split":
            return self._split(rollout, decision, world, values)
        pre_reward = world if self.pre_reward == "chance" else decision + world
        pre = self.advantages(rollout, pre_reward, values[0])
        post = self.advantages(rollout, decision, values[1])
        targets = (pre + values[0].value, post + values[1].value)
        return Estimates(_combined(self.advantage, pre, post), targets)

    def _split(
        self, rollout: Rollout, decision: Tensor, world: Tensor, values: list[Values]
    ) -> Estimates:
        state, post = values
        decay = self.gamma * (1.0 if self.returns == "monte_carlo" else self.gae_lambda)
        following = self.following(rollout, state)
        of_decision = decision + post.value - state.value
        of_world = world + self.gamma * following - post.value
        ended = rollout.ended
        whole = split_advantages(of_decision, of_world, ended, decay=decay, eta=1.0, eta_0=1.0)
        advantage = split_advantages(
            of_decision,
            of_world,
            ended,
            decay=decay,
            eta=self.eta,
            eta_0=self.eta if self.eta_0 is None else self.eta_0,
        )
        target = whole + state.value  # the lambda-return from s, r^x more than that from s^x
        return Estimates(advantage, (target, target - decision))


def _combined(how: Advantage, pre: Tensor, post: Tensor) -> Tensor:
    if how == "max":
        return torch.maximum(pre, post)
    if how == "min":
        return torch.minimum(pre, post)
    if how == "pre":
        return pre
    if how == "post":
        return post
    return pre + post if how == "sum" else (pre + post) / 2
