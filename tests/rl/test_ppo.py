"""What PPO and PDPPO must do whatever they are used for."""

from dataclasses import replace
from typing import Literal, TypeVar

import numpy as np
import pytest
import torch

from decisions.rl.environment import MultiDiscrete
from decisions.rl.networks import CategoricalActor, perceptron
from decisions.rl.pdppo import PDPPO
from decisions.rl.policies import Actor
from decisions.rl.ppo import PPO, Batch, Run, objective, surrogate, train, update
from decisions.seeds import RowKeys
from tests.rl.toys import Identity, Regulator

M = TypeVar("M", bound=PPO)
Ratio = Literal["joint", "per_head"]
Trainable = Literal["all", "last_layer"]


def _small(method: M) -> M:
    return replace(
        method,
        environments=32,
        rollout_length=10,
        minibatch_size=160,
        hidden=(32,),
        total_steps=6_400,
        curve_interval=640,
        spread_starts=False,
    )


METHODS = [
    _small(PPO()),
    _small(PDPPO(advantage="split", eta=0.5)),
    _small(PDPPO(advantage="sum", pre_reward="chance")),
]


def _greedy_share_right(environment: Identity, actor: Actor) -> float:
    state = environment.reset(RowKeys(9, np.arange(300)))
    post, _ = environment.apply(state, actor.greedy(environment.observe(state), None))
    return float(post.right.mean()) / len(environment.sizes)


@pytest.mark.parametrize("method", METHODS, ids=["ppo", "pdppo-split", "pdppo-sum"])
@pytest.mark.parametrize("terminal", [False, True], ids=["truncated", "terminated"])
def test_the_identity_is_learned(method: PPO, terminal: bool) -> None:
    environment = Identity(terminal=terminal)

    trained = train(environment, method, seed=1)

    assert _greedy_share_right(environment, trained.actor) > 0.99
    assert len(trained.critics) == len(method.critics)


def test_a_move_within_a_box_is_learned() -> None:
    method = replace(METHODS[0], total_steps=25_600, learning_rate=3e-3, gamma=0.9)
    environment = Regulator()

    trained = train(environment, method, seed=2)

    state = environment.reset(RowKeys(9, np.arange(200)))
    post, _ = environment.apply(state, trained.actor.greedy(environment.observe(state), None))
    assert np.abs(post.place).mean() < 0.1  # 0.6 without a move
    assert np.all(np.abs(post.place - state.place + 0.5) <= 1.5)  # within the box


@pytest.mark.parametrize("ratio", ["joint", "per_head"])
def test_the_ratio_is_one_before_the_first_step(ratio: Ratio) -> None:
    method = replace(METHODS[0], ratio=ratio, entropy_coefficient=0.0)
    run = Run(Identity(), method, seed=3)
    batch = run.learner.batch(run.collector.collect(run.learner.actor, 10, run.acting), method)

    logs, _ = run.learner.actor.evaluate(batch.observation, batch.mask, batch.action)

    torch.testing.assert_close(logs, batch.log_probability, rtol=0, atol=1e-6)
    climbed = objective(run.learner.actor, batch, method)
    torch.testing.assert_close(climbed, batch.advantage.mean(), rtol=1e-4, atol=1e-6)


def test_the_surrogate_by_hand() -> None:
    old = torch.zeros(2, 2)
    logs = torch.tensor([[0.1, 0.2], [-0.5, 0.1]])
    advantage = torch.tensor([1.0, -2.0])

    joint = surrogate(logs, old, advantage, clip_range=0.2)
    per_head = surrogate(logs, old, advantage, clip_range=0.2, ratio="per_head")

    # exp(0.3) is clipped to 1.2; exp(-0.4) to 0.8, the smaller of two losses being the larger one
    assert joint.item() == pytest.approx((1.2 - 2 * 0.8) / 2)
    heads = [np.exp(0.1), 1.2, -2 * 0.8, -2 * np.exp(0.1)]
    assert per_head.item() == pytest.approx(np.mean(heads))


def test_a_broadcast_is_refused() -> None:
    with pytest.raises(ValueError, match="one shape"):
        surrogate(torch.zeros(3, 2), torch.zeros(3, 2), torch.zeros(3, 1), clip_range=0.2)
    with pytest.raises(ValueError, match="one shape"):
        surrogate(torch.zeros(3, 1), torch.zeros(1, 3), torch.zeros(3), clip_range=0.2)


@pytest.mark.parametrize("ratio", ["joint", "per_head"])
def test_the_gradient_of_the_surrogate_equals_finite_differences(
    ratio: Literal["joint", "per_head"],
) -> None:
    generator = torch.Generator().manual_seed(4)
    actor = CategoricalActor(MultiDiscrete((3, 2)), perceptron((2, 3, 5), "tanh", generator))
    actor.double()
    observation = torch.randn(3, 2, generator=generator, dtype=torch.float64)
    mask = torch.tensor([[True, True, False, True, True]] * 3)
    action, behaviour = actor.act(observation, mask, torch.rand(3, 2, generator=generator))
    part = Batch(
        observation=observation,
        mask=mask,
        action=action,
        log_probability=behaviour.detach() + torch.tensor([[0.05, -0.1], [0.3, 0.2], [0.0, 0.02]]),
        advantage=torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64),
        seen=(),
        targets=(),
    )
    method = replace(METHODS[0], ratio=ratio, entropy_coefficient=0.3)

    objective(actor, part, method).backward()

    for weight in actor.parameters():
        for i in range(weight.numel()):
            change = torch.zeros(weight.numel(), dtype=weight.dtype)
            change[i] = 1e-6
            change = change.view_as(weight)
            with torch.no_grad():
                weight.add_(change)
                above = objective(actor, part, method)
                weight.sub_(2 * change)
                below = objective(actor, part, method)
                weight.add_(change)
            slope = ((above - below) / 2e-6).item()
            assert weight.grad is not None
            assert weight.grad.view(-1)[i].item() == pytest.approx(slope, abs=1e-7)


@pytest.mark.parametrize("trainable", ["all", "last_layer"])
def test_one_update_changes_what_is_trainable_and_nothing_else(
    trainable: Literal["all", "last_layer"],
) -> None:
    method = replace(METHODS[0], trainable=trainable, initial="published", reward_scale=0.1)
    run = Run(Identity(), method, seed=5)
    before = {name: x.clone() for name, x in run.learner.actor.named_parameters()}

    run.advance(method)

    for name, weight in run.learner.actor.named_parameters():
        last = name.startswith("body.2")
        changed = bool((weight != before[name]).any())
        assert changed == (trainable == "all" or last), name


def test_a_seed_repeats_to_the_bit_and_another_differs() -> None:
    method = replace(METHODS[1], total_steps=1_600)

    curves = [train(Identity(), method, seed=seed).curve for seed in (6, 6, 7)]

    assert curves[0] == curves[1]
    assert curves[0] != curves[2]


def test_ppo_and_pdppo_begin_alike_under_one_seed() -> None:
    runs = [Run(Identity(), method, seed=8) for method in METHODS[:2]]

    rollouts = [run.collector.collect(run.learner.actor, 10, run.acting) for run in runs]

    assert torch.equal(rollouts[0].observation, rollouts[1].observation)
    assert torch.equal(rollouts[0].action, rollouts[1].action)


def test_the_number_of_threads_is_put_back() -> None:
    before = torch.get_num_threads()

    train(Identity(), replace(METHODS[0], total_steps=320, threads=1), seed=1)

    assert torch.get_num_threads() == before


def test_old_chunks_are_retained_and_then_dropped() -> None:
    method = replace(METHODS[0], retained_chunks=2)
    run = Run(Identity(), method, seed=9)

    sizes: list[int] = []
    for _ in range(4):
        run.advance(method)
        sizes.append(len(run.window))

    assert sizes == [1, 2, 3, 3]


def test_until_the_critics_are_warm_the_actor_stays() -> None:
    method = replace(METHODS[0], critic_only_steps=320)
    run = Run(Identity(), method, seed=10)
    before = [weight.clone() for weight in run.learner.actor.parameters()]

    def stayed() -> list[bool]:
        weights = run.learner.actor.parameters()
        return [torch.equal(a, b) for a, b in zip(before, weights, strict=True)]

    run.advance(method)
    assert all(stayed())
    run.advance(method)
    assert not any(stayed())


def test_spread_columns_are_of_every_age() -> None:
    run = Run(Identity(horizon=8), replace(METHODS[0], environments=16), seed=11)

    steps = run.collector.spread(run.learner.actor, run.acting)

    assert steps == 16 * 8
    assert sorted(run.collector.period.tolist()) == sorted([*range(8)] * 2)


def test_no_column_lives_past_the_horizon_after_the_spread() -> None:
    run = Run(Identity(horizon=8), replace(METHODS[0], environments=16), seed=11)
    run.collector.spread(run.learner.actor, run.acting)

    rollout = run.collector.collect(run.learner.actor, 8, run.acting)

    assert rollout.truncated.sum(dim=0).tolist() == [1] * 16
    assert rollout.truncated.sum(dim=1).tolist() == [2] * 8


def test_episodes_that_end_in_the_spread_are_renewed() -> None:
    run = Run(Identity(horizon=8, terminal=True), replace(METHODS[0], environments=16), seed=11)

    run.collector.spread(run.learner.actor, run.acting)

    assert run.collector.period.max() < 8


def test_the_published_pdppo_takes_the_larger_of_two_streams() -> None:
    method = replace(PDPPO.paper(), environments=4, rollout_length=10)
    run = Run(Identity(), method, seed=12)
    rollout = run.collector.collect(run.learner.actor, 10, run.acting)

    values = run.learner.values(rollout, method)
    advantage, (world, decision) = method.estimate(rollout, values)

    powers = 0.9 ** torch.arange(10.0)
    torch.testing.assert_close(world[0], (powers[:, None] * rollout.world_reward).sum(0))
    torch.testing.assert_close(decision[0], (powers[:, None] * rollout.decision_reward).sum(0))
    larger = torch.maximum(world - values[0].value, decision - values[1].value)
    torch.testing.assert_close(advantage, larger)


def test_pop_art_rescales_without_changing_what_is_predicted() -> None:
    run = Run(Identity(), METHODS[0], seed=13)
    critic, x = run.learner.critics[0], torch.randn(5, 3, generator=run.acting)
    before = critic(x)

    critic.rescale(torch.tensor([100.0, 300.0, 500.0]))

    torch.testing.assert_close(critic(x), before, rtol=1e-4, atol=1e-3)
    assert critic.mean.item() == pytest.approx(300)
    assert critic.deviation.item() == pytest.approx((80_000 / 3) ** 0.5)


def test_a_target_of_another_shape_is_refused() -> None:
    run = Run(Identity(), METHODS[0], seed=14)

    with pytest.raises(ValueError, match="targets"):
        run.learner.critics[0].loss(torch.zeros(4, 3), torch.zeros(4, 1))


def test_an_update_fits_the_critic() -> None:
    method = replace(METHODS[0], epochs=40, critic_learning_rate=1e-2)
    run = Run(Identity(), method, seed=15)
    batch = run.learner.batch(run.collector.collect(run.learner.actor, 10, run.acting), method)
    critic = run.learner.critics[0]
    critic.rescale(batch.targets[0])
    before = critic.loss(batch.seen[0], batch.targets[0]).item()

    update(run.learner, batch, method, run.shuffling)

    assert critic.loss(batch.seen[0], batch.targets[0]).item() < 0.5 * before
