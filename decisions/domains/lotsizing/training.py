"""Candidates of a generation: networks that learn in the simulator, and a plan that is computed.

A network begins as a pupil of the tuned rotation, for undirected exploration of set-ups is dear,
and goes on by PPO or PDPPO. It learns for a plant that never ends: what follows the last period
of an episode is valued, and the time is not shown.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl

from decisions.domains.lotsizing.evaluation import returns
from decisions.domains.lotsizing.instance import Instance
from decisions.domains.lotsizing.network import environment_of, network_rule
from decisions.domains.lotsizing.policies import PlantPolicy, plant_policy
from decisions.domains.lotsizing.rotation import rotation_of
from decisions.evaluation import Estimate, mean_estimate
from decisions.policy import Policy
from decisions.seeds import RowKeys

Method = Literal["ppo", "pdppo"]
METHODS: tuple[Method, ...] = ("ppo", "pdppo")


@dataclass(frozen=True, kw_only=True)
class Learned:
    """How a network is trained: a `Trainer`. Everything random follows from its `rng`.

    `lessons` periods are shown by the teacher, `warm_up` more teach the critics alone, and
    `steps` are the learner's own. The curve is measured on `curve_episodes` of their own, each
    `interval` steps.
    """

    instance: Instance
    method: Method
    steps: int = 300_000
    lessons: int = 100_000
    warm_up: int = 50_000
    interval: int = 50_000
    curve_episodes: int = 200

    def shortened(self) -> "Learned":
        """A training of seconds, for tests of everything but its result."""
        return Learned(
            instance=self.instance,
            method=self.method,
            steps=12_800,
            lessons=6_400,
            warm_up=6_400,
            interval=6_400,
            curve_episodes=8,
        )

    def __call__(
        self, history: pl.LazyFrame, predecessors: Sequence[Policy], rng: np.random.Generator
    ) -> Policy:
        """A policy; history and predecessors teach nothing that the model does not know."""
        del history, predecessors
        from decisions.rl.imitation import imitate
        from decisions.rl.pdppo import PDPPO
        from decisions.rl.policies import Actor, acting, save
        from decisions.rl.ppo import PPO, train

        environment = environment_of(self.instance)
        seed, scenarios = (int(each) for each in rng.integers(2**62, size=2))
        episodes = RowKeys(scenarios, np.arange(self.curve_episodes, dtype=np.int64))
        seen: list[Estimate] = []

        def evaluate(actor: Actor) -> float:
            greedy = acting(environment, actor)
            terms = returns(environment.plant, lambda state: greedy(state).astype(int), episodes)
            seen.append(mean_estimate(terms))
            return seen[-1].value

        config = {"ppo": PPO, "pdppo": PDPPO}[self.method](
            total_steps=self.steps,
            curve_interval=self.interval,
            evaluation_interval=self.interval,
        )
        pupil = imitate(
            environment,
            rotation_of(self.instance).act,
            config,
            seed=seed,
            steps=self.lessons,
            critic_steps=self.warm_up,
        )
        evaluate(pupil.actor)
        identity = {"instance": self.instance.digest}
        trained = train(
            environment, config, seed=seed, start=pupil, identity=identity, evaluate=evaluate
        )
        steps = [0] + [point.step for point in trained.curve if point.evaluation_return]
        (content,) = save(trained.actor, identity).values()
        return PlantPolicy(
            instance=self.instance,
            rule=network_rule(content, self.instance),
            training={
                "method": self.method,
                "teacher": "H2 grouped rotation",
                "lessons": self.lessons,
                "steps": trained.curve[-1].step,
                "seed": seed,
                "curve_episodes": self.curve_episodes,
                "curve": [
                    [step, each.value, each.lower, each.upper]
                    for step, each in zip(steps, seen, strict=True)
                ],
            },
        )


def account(policy: Policy) -> Mapping[str, object]:
    """What a policy's training has to tell, and which plant it was for."""
    planned = plant_policy(policy)
    return {
        "plant": planned.instance.name,
        "instance": planned.instance.digest,
        **planned.training,
    }
