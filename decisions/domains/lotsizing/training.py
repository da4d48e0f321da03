"""Candidates of a generation: networks that learn in the simulator, and a program that is solved.

Neither needs history. A network that the gate rejected is not trained again for the same plant
with the same settings; the program of a plant is always the same one.

A network begins as a pupil of the champion, for undirected exploration of set-ups is dear, and
goes on by PPO or PDPPO. It learns for a plant that never ends: what follows the last period of an
episode is valued, and the time is not shown.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Literal

import numpy as np
import polars as pl

from decisions.domains.lotsizing.decomposition import SETTINGS, Decomposition, decomposition
from decisions.domains.lotsizing.evaluation import returns
from decisions.domains.lotsizing.instance import Instance
from decisions.domains.lotsizing.network import environment_of, network_rule
from decisions.domains.lotsizing.plan import rolling
from decisions.domains.lotsizing.policies import (
    PlantPolicy,
    TunedRotation,
    kind_of,
    plant_policy,
)
from decisions.evaluation import Estimate, mean_estimate
from decisions.policy import Policy
from decisions.seeds import RowKeys

if TYPE_CHECKING:
    from decisions.rl.ppo import PPO

Method = Literal["ppo", "pdppo"]
METHODS: tuple[Method, ...] = ("ppo", "pdppo")


@dataclass(frozen=True, kw_only=True)
class Learned:
    """How a network is trained: a `Trainer`. Everything random follows from its `rng`.

    `lessons` periods are shown by the teacher, `warm_up` more teach the critics alone, and
    `steps` are the learner's own. The curve is measured on `curve_episodes` of their own, each
    `interval` steps. Both methods count the world's costs by their exact means; PDPPO joins its
    two critics by Bellman's equation (`rl.pdppo`, "split") and counts the noise of demand by half.
    """

    instance: Instance
    method: Method
    steps: int = 100_000
    lessons: int = 50_000
    warm_up: int = 30_000
    learning_rate: float = 1e-4
    interval: int = 25_000
    curve_episodes: int = 100

    def shortened(self) -> "Learned":
        """A training of seconds, for tests of everything but its result."""
        return replace(
            self, steps=12_800, lessons=6_400, warm_up=6_400, interval=6_400, curve_episodes=8
        )

    @property
    def recipe(self) -> str:
        """All that a training is made from but its teacher and its seed, in hexadecimal."""
        told = {**vars(self), "instance": self.instance.digest}
        return sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()

    def config(self) -> "PPO":
        """The method with its settings; what is not named here is its default."""
        from decisions.rl.pdppo import PDPPO
        from decisions.rl.ppo import PPO

        method = partial(PDPPO, advantage="split", eta=0.5) if self.method == "pdppo" else PPO
        return method(
            total_steps=self.steps,
            learning_rate=self.learning_rate,
            expected_rewards=True,
            curve_interval=self.interval,
            evaluation_interval=self.interval,
        )

    def __call__(
        self, history: pl.LazyFrame, predecessors: Sequence[Policy], rng: np.random.Generator
    ) -> Policy:
        """A policy that the newest of `predecessors` taught first; no history is needed."""
        del history
        from decisions.rl.imitation import imitate
        from decisions.rl.policies import Actor, acting, save
        from decisions.rl.ppo import train

        environment = environment_of(self.instance)
        seed, scenarios = (int(each) for each in rng.integers(2**62, size=2))
        episodes = RowKeys(scenarios, np.arange(self.curve_episodes, dtype=np.int64))
        seen: list[Estimate] = []
        teacher = _newest(predecessors, self.instance)

        def evaluate(actor: Actor) -> float:
            greedy = acting(environment, actor)
            terms = returns(environment.plant, lambda state: greedy(state).astype(int), episodes)
            seen.append(mean_estimate(terms))
            return seen[-1].value

        config = self.config()
        pupil = imitate(
            environment,
            rolling(teacher.rule.act),
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
        asked = [each.step for each in trained.curve if each.evaluation_return is not None]
        (content,) = save(trained.actor, identity).values()
        return PlantPolicy(
            instance=self.instance,
            rule=network_rule(content, self.instance),
            training={
                "method": self.method,
                "teacher": kind_of(teacher).name,
                "lessons": self.lessons,
                "steps": trained.curve[-1].step,
                "seed": seed,
                "curve_episodes": self.curve_episodes,
                "curve": [
                    [step, each.value, each.lower, each.upper]
                    for step, each in zip([0, *asked], seen, strict=True)
                ],
            },
        )


@dataclass(frozen=True, kw_only=True)
class Decomposed:
    """The plant taken apart into machines with their own items, each solved: a `Trainer`.

    Nothing but the instance and `SETTINGS` enters, so an earlier champion of the same kind and
    settings is the answer.
    """

    instance: Instance

    def __call__(
        self, history: pl.LazyFrame, predecessors: Sequence[Policy], rng: np.random.Generator
    ) -> Policy:
        """The decomposition's policy."""
        del history, rng
        for earlier in map(plant_policy, predecessors):
            known = earlier.instance.digest == self.instance.digest
            rule = earlier.rule
            if known and isinstance(rule, Decomposition) and rule.settings == SETTINGS:
                return earlier
        return PlantPolicy(instance=self.instance, rule=decomposition(self.instance))


def _newest(predecessors: Sequence[Policy], instance: Instance) -> PlantPolicy:
    """The newest champion of this plant; the tuned rotation where there is none."""
    for earlier in map(plant_policy, predecessors):
        if earlier.instance.digest == instance.digest:
            return earlier
    return PlantPolicy(instance=instance, rule=TunedRotation(instance))


def account(policy: Policy) -> Mapping[str, object]:
    """What a policy's training has to tell, and which plant it was for."""
    planned = plant_policy(policy)
    return {
        "plant": planned.instance.name,
        "instance": planned.instance.digest,
        **planned.training,
    }
