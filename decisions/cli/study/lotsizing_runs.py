"""What the studies of lot-sizing share: training runs, stored one by one, and their episodes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.progress import Progress

from decisions.cli.report import Workbench
from decisions.cli.study.grid import spread
from decisions.domains.lotsizing.environment import Observation, PlantEnvironment
from decisions.domains.lotsizing.instance import Instance
from decisions.domains.lotsizing.plant import Plant
from decisions.domains.lotsizing.rotation import rotation_of
from decisions.domains.lotsizing.simulation import evaluation_episodes
from decisions.policy import FloatArray
from decisions.rl.environment import Environment, P, S
from decisions.rl.imitation import imitate
from decisions.rl.policies import Actor, acting
from decisions.rl.ppo import PPO, Trained, train
from decisions.seeds import RowKeys

EPISODES = 1_000  # that a finished run is evaluated on
Act = Callable[[S], npt.NDArray[np.generic]]


@dataclass(frozen=True, kw_only=True)
class Training:
    """All that a training run depends on. The class of `config` is the method.

    Runs of one seed meet the same episodes, and begin with the same actor where its shape is one.
    With `lessons` the actor first asks H2 in so many states, and learns to do as it does; half as
    many steps more teach the critics.
    """

    instance: Instance
    config: PPO
    seed: int
    observation: Observation = "full"
    time: bool = True
    scaled: bool = True
    masked: bool = True
    lessons: int = 0

    @property
    def environment(self) -> PlantEnvironment:
        """What the agent sees and may do."""
        return PlantEnvironment(
            Plant(self.instance),
            observation=self.observation,
            time=self.time,
            scaled=self.scaled,
            masked=self.masked,
        )

    @property
    def identity(self) -> dict[str, str]:
        """What a checkpoint must agree with, beside the configuration and the seed."""
        said = ("observation", "time", "scaled", "masked", "lessons")
        return {"instance": self.instance.digest} | {
            name: str(getattr(self, name)) for name in said
        }

    def run(self, checkpoint: Path | None = None) -> Trained:
        """Trains, going on from `checkpoint` where that exists."""
        environment, start = self.environment, None
        if self.lessons and not (checkpoint and checkpoint.exists()):
            teacher = rotation_of(self.instance)
            start = imitate(
                environment,
                teacher.act,
                self.config,
                seed=self.seed,
                steps=self.lessons,
                critic_steps=self.lessons // 2,
            )
        return train(
            environment,
            self.config,
            seed=self.seed,
            identity=self.identity,
            start=start,
            checkpoint=checkpoint,
        )


def drawn(environment: Environment[S, P], actor: Actor, episodes: RowKeys) -> Act[S]:
    """The policy as trained, for one pass over `episodes`, whose keys its draws depend on."""
    period = iter(range(environment.horizon))

    def act(state: S) -> npt.NDArray[np.generic]:
        uniforms = episodes.uniforms("drawn", str(next(period)), columns=actor.network.heads)
        return actor.sampled(environment.observe(state), environment.mask(state), uniforms)

    return act


def episode_returns(environment: Environment[S, P], act: Act[S], episodes: RowKeys) -> FloatArray:
    """The undiscounted return of each whole episode under a policy, (n,)."""
    n = len(episodes.rows)
    total, going = np.zeros(n), np.ones(n, dtype=np.bool_)
    state = environment.reset(episodes)
    for period in range(environment.horizon):
        post, decided = environment.apply(state, act(state))
        state, brought, ended = environment.advance(post, episodes, np.full(n, period))
        total += np.where(going, decided + brought, 0.0)
        going &= ~ended
    return total


def finished(training: Training, checkpoint: Path | None = None) -> dict[str, Any]:
    """A run's curve, and the mean returns of its last policy on the evaluation episodes: JSON.

    `curve` has a row a point: steps, episodes that ended since the last one, their mean return.
    """
    began = process_time()
    trained = training.run(checkpoint)
    spent = process_time() - began
    episodes = evaluation_episodes(EPISODES)
    environment = training.environment
    return {
        "curve": [[p.step, p.episodes, p.training_return] for p in trained.curve],
        "greedy": episode_returns(
            environment, acting(environment, trained.actor), episodes
        ).mean(),
        "sampled": episode_returns(
            environment, drawn(environment, trained.actor, episodes), episodes
        ).mean(),
        "processor_seconds": spent,
    }


def stored(
    bench: Workbench,
    jobs: Mapping[str, Callable[[], Any]],
    label: str,
    *,
    workers: int | None = None,
) -> dict[str, Any]:
    """The parts of that name, those that are missing computed by several processes."""
    missing = [
        partial(_store, bench.name, bench.folder, key, job)
        for key, job in jobs.items()
        if not (bench.folder / f"{key}.json").exists()
    ]
    spread(bench, missing, label, workers=workers)
    return {key: bench.part(key, job) for key, job in jobs.items()}


def _store(name: str, folder: Path, key: str, job: Callable[[], Any]) -> None:
    Workbench(name, folder, Progress(disable=True)).part(key, job)
