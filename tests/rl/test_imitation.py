"""A teacher's choices, learned by rote and then improved on."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
import torch

from decisions.rl.imitation import imitate
from decisions.rl.policies import Actor
from decisions.rl.ppo import PPO, Run, train
from decisions.seeds import RowKeys
from tests.rl.toys import Identity, Position, Regulator, Seen

METHOD = PPO(
    environments=32,
    rollout_length=10,
    minibatch_size=160,
    hidden=(32,),
    total_steps=6_400,
    learning_rate=3e-3,
    spread_starts=False,
)


def half_right(state: Seen) -> npt.NDArray[np.int64]:
    """Answers the first head rightly and the second by 0."""
    return np.stack([state.symbol % 3, np.zeros_like(state.symbol)], axis=1)


def _answers(actor: Actor) -> tuple[npt.NDArray[np.generic], Seen]:
    environment = Identity()
    state = environment.reset(RowKeys(9, np.arange(300)))
    return actor.greedy(environment.observe(state), None), state


@pytest.mark.parametrize("terminal", [False, True])
def test_the_actor_does_as_its_teacher_and_can_surpass_it(terminal: bool) -> None:
    environment = Identity(terminal=terminal)

    taught = imitate(
        environment, half_right, METHOD, seed=1, steps=4_000, rounds=2, critic_steps=640
    )
    answers, state = _answers(taught.actor)
    longer = replace(METHOD, total_steps=19_200)
    surpassing, _ = _answers(train(environment, longer, seed=2, start=taught).actor)

    np.testing.assert_array_equal(answers, half_right(state))
    np.testing.assert_array_equal(surpassing, state.symbol[:, None] % [3, 2])


def test_a_start_is_taken_over_whole() -> None:
    taught = imitate(Identity(), half_right, METHOD, seed=1, steps=400, critic_steps=320)
    run = Run(Identity(), METHOD, seed=5)

    run.learner.start_from(taught)

    assert isinstance(taught.actor.network, torch.nn.Module)
    pairs = [
        (taught.actor.network, run.learner.actor),
        (taught.critics[0], run.learner.critics[0]),
    ]
    for theirs, ours in pairs:
        state = ours.state_dict()
        assert all(torch.equal(x, state[name]) for name, x in theirs.state_dict().items())


def test_a_teacher_in_a_box_is_followed() -> None:
    def homeward(state: Position) -> npt.NDArray[np.float64]:
        return np.clip(-state.place, -2.0, 1.0)

    environment = Regulator()
    taught = imitate(
        environment, homeward, replace(METHOD, gamma=0.9), seed=1, steps=8_000, critic_steps=0
    )

    state = environment.reset(RowKeys(9, np.arange(200)))
    moved = taught.actor.greedy(environment.observe(state), None)
    np.testing.assert_allclose(moved.astype(float), homeward(state), atol=0.15)
