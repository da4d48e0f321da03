"""Learning from a teacher: an actor that chooses as it does, then critics of that actor.

Source: Ross, Gordon and Bagnell (2011), "A reduction of imitation learning and structured
prediction to no-regret online learning" (DAgger): after the first round the states are those that
the learner comes to, and the teacher says what it would have done there.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from decisions.rl.environment import Environment, P, S
from decisions.rl.networks import ActorNetwork
from decisions.rl.policies import Actor
from decisions.rl.ppo import PPO, Learner, Run, Trained, generator_of, minibatches, threads
from decisions.rl.rollout import key_of
from decisions.seeds import RowKeys

Teacher = Callable[[S], npt.NDArray[np.generic]]


def imitate(
    environment: Environment[S, P],
    teacher: Teacher[S],
    config: PPO,
    *,
    seed: int,
    steps: int = 200_000,
    rounds: int = 4,
    epochs: int = 5,
    exploration: float = 0.1,
    critic_steps: int = 100_000,
) -> Trained:
    """An actor that chooses as `teacher` does, for `train(..., start=...)` to improve on.

    The teacher is asked `steps` times over `rounds` rounds, after each of which the actor goes
    `epochs` times over all it was told so far; then the critics learn on `critic_steps` steps of
    the actor's own. `exploration` is the weight of the entropy of a head: without some, the actor
    is too sure of itself to try what its teacher did not. `config` gives the networks, the rates
    and the critics' targets.
    """
    run = Run(environment, config, seed=key_of(seed, "imitation"))  # training's episodes differ
    shuffling = generator_of(seed, "demonstrations")
    columns = max(1, steps // (rounds * environment.horizon))
    told: list[Told] = []
    with threads(config.threads):
        for number in range(rounds):
            key = key_of(seed, "demonstrations", str(number))
            acting = None if number == 0 else run.learner.actor
            episodes = RowKeys(key, np.arange(columns))
            told += _demonstrations(environment, teacher, acting, episodes, run.learner)
            rows = _rows(told)
            for _ in range(epochs):
                _epoch(run.learner, rows, config, exploration, shuffling)
        alone = replace(config, critic_only_steps=critic_steps, learning_rate_decay=False)
        while run.step < critic_steps:
            run.advance(alone)
    return Trained(actor=Actor(run.learner.actor), critics=tuple(run.learner.critics))


class Told(NamedTuple):
    """What the teacher would do, row by row (n, ...)."""

    observation: Tensor
    mask: Tensor | None
    action: Tensor


def _demonstrations(
    environment: Environment[S, P],
    teacher: Teacher[S],
    acting: ActorNetwork | None,
    episodes: RowKeys,
    learner: Learner,
) -> list[Told]:
    """What the teacher says along whole episodes, a period an entry.

    `acting` is who moves through them; the teacher itself if None.
    """
    state, told = environment.reset(episodes), list[Told]()
    alive = torch.ones(len(episodes.rows), dtype=torch.bool)
    for t in range(environment.horizon):
        observation, mask, wanted = (
            environment.observe(state),
            environment.mask(state),
            teacher(state),
        )
        entry = Told(
            observation=torch.from_numpy(observation)[alive],
            mask=None if mask is None else torch.from_numpy(np.ascontiguousarray(mask))[alive],
            action=learner.actor.inward(wanted)[alive],
        )
        told.append(entry)
        action = wanted if acting is None else Actor(acting).greedy(observation, mask)
        post, _ = environment.apply(state, action)
        period = np.full(len(alive), t, dtype=np.int64)
        state, _, terminated = environment.advance(post, episodes, period)
        alive = alive & ~torch.from_numpy(terminated)
    return told


def _rows(told: list[Told]) -> Told:
    masks = [entry.mask for entry in told if entry.mask is not None]
    return Told(
        observation=torch.cat([entry.observation for entry in told]),
        mask=torch.cat(masks) if masks else None,
        action=torch.cat([entry.action for entry in told]),
    )


def _epoch(
    learner: Learner, told: Told, config: PPO, exploration: float, generator: torch.Generator
) -> None:
    """Once over the demonstrations, in a random order, up their likelihood."""
    for part in minibatches(len(told.action), config.minibatch_size, generator):
        mask = None if told.mask is None else told.mask[part]
        likelihood, entropy = learner.actor.evaluate(
            told.observation[part], mask, told.action[part]
        )
        learner.step(0, -(likelihood + exploration * entropy).sum(1).mean(), config)
