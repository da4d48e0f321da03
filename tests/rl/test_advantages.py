"""Returns and advantages against sums written out."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from decisions.rl.advantages import (
    accumulate,
    generalised_advantages,
    normalised,
    split_advantages,
)
from decisions.rl.ppo import PPO, Values
from decisions.rl.rollout import Rollout

GAMMA, LAMBDA = 0.9, 0.8


def _rollout(
    reward: torch.Tensor,
    terminated: torch.Tensor,
    truncated: torch.Tensor,
    places: list[tuple[int, int]],
) -> Rollout:
    """A rollout of which only rewards and endings matter; half of a reward is the world's."""
    none = torch.empty(*reward.shape, 0)
    index = torch.tensor(places, dtype=torch.int64).reshape(-1, 2)
    return Rollout(
        observation=none,
        post_observation=none,
        mask=None,
        action=none,
        log_probability=none,
        decision_reward=reward / 2,
        world_reward=reward / 2,
        terminated=terminated,
        truncated=truncated,
        final_observation=torch.empty(0, 0),
        final_post_observation=torch.empty(0, 0),
        final_period=index[:, 0],
        final_column=index[:, 1],
    )


@pytest.mark.parametrize("ending", ["terminated", "truncated"])
def test_generalised_advantages_equal_their_closed_form_with_either_ending(ending: str) -> None:
    # One column of five periods whose episode ends with the third; V is 10, 20, ... 50, the state
    # in which it was cut off is worth 7 and the one after the last period 60.
    reward = torch.tensor([[1.0], [2.0], [3.0], [4.0], [5.0]], dtype=torch.float64)
    value = torch.tensor([[10.0], [20.0], [30.0], [40.0], [50.0]], dtype=torch.float64)
    over = torch.tensor([[False], [False], [True], [False], [False]])
    neither = torch.zeros_like(over)
    cut = ending == "truncated"
    rollout = _rollout(
        reward, neither if cut else over, over if cut else neither, [(2, 0)] if cut else []
    )
    final = torch.tensor([7.0, 60.0] if cut else [60.0], dtype=torch.float64)
    method = PPO(gamma=GAMMA, gae_lambda=LAMBDA)

    advantage = method.advantages(rollout, reward, Values(value, final))[:, 0]

    after = 7.0 if cut else 0.0
    delta = [1 + 0.9 * 20 - 10, 2 + 0.9 * 30 - 20, 3 + 0.9 * after - 30]
    delta += [4 + 0.9 * 50 - 40, 5 + 0.9 * 60 - 50]
    decay = GAMMA * LAMBDA
    expected = [
        delta[0] + decay * delta[1] + decay**2 * delta[2],
        delta[1] + decay * delta[2],
        delta[2],
        delta[3] + decay * delta[4],
        delta[4],
    ]
    torch.testing.assert_close(advantage, torch.tensor(expected, dtype=torch.float64))


def test_a_truncated_episode_counts_as_terminal_only_when_asked() -> None:
    reward = torch.tensor([[1.0]])
    rollout = _rollout(reward, torch.tensor([[False]]), torch.tensor([[True]]), [(0, 0)])
    values = Values(torch.tensor([[5.0]]), torch.tensor([7.0, 99.0]))

    kept = PPO(gamma=GAMMA).advantages(rollout, reward, values)
    dropped = PPO(gamma=GAMMA, bootstrap_truncation=False).advantages(rollout, reward, values)

    assert kept.item() == pytest.approx(1 + 0.9 * 7 - 5)
    assert dropped.item() == pytest.approx(1 - 5)


def test_with_monte_carlo_returns_the_target_is_the_discounted_sum() -> None:
    reward = torch.tensor([[1.0], [2.0], [4.0]])
    over = torch.tensor([[False], [False], [True]])
    rollout = _rollout(reward, over, torch.zeros_like(over), [])
    value = torch.tensor([[3.0], [-1.0], [2.0]])
    method = PPO(gamma=0.5, returns="monte_carlo")

    estimates = method.estimate(rollout, [Values(value, torch.zeros(1))])

    torch.testing.assert_close(estimates.targets[0][:, 0], torch.tensor([3.0, 4.0, 4.0]))
    torch.testing.assert_close(estimates.advantage, estimates.targets[0] - value)


@given(seed=st.integers(0, 10_000), decay=st.floats(0, 1))
def test_the_whole_split_telescopes_to_generalised_advantages(seed: int, decay: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    decision, world, value, post, following = (
        torch.randn(6, 3, generator=generator, dtype=torch.float64) for _ in range(5)
    )
    ended = torch.rand(6, 3, generator=generator) < 0.3

    split = split_advantages(
        decision + post - value,
        world + 0.9 * following - post,
        ended,
        decay=0.9 * decay,
        eta=1.0,
        eta_0=1.0,
    )

    whole = generalised_advantages(
        decision + world, value, following, ended, gamma=0.9, gae_lambda=decay
    )
    torch.testing.assert_close(split, whole, rtol=1e-9, atol=1e-9)


def test_without_the_worlds_residual_its_noise_is_not_in_the_advantage() -> None:
    decision = torch.tensor([[1.0], [2.0]])
    ended = torch.zeros(2, 1, dtype=torch.bool)

    quiet, noisy = (
        split_advantages(decision, world, ended, decay=0.5, eta=0.0, eta_0=0.0)
        for world in (torch.zeros(2, 1), torch.tensor([[50.0], [-30.0]]))
    )
    now = split_advantages(
        decision, torch.tensor([[50.0], [-30.0]]), ended, decay=0.5, eta=0.0, eta_0=1.0
    )

    assert torch.equal(quiet, noisy)
    torch.testing.assert_close(now[:, 0], torch.tensor([1 + 0.5 * 2 + 50.0, 2 - 30.0]))


def test_tensors_of_other_shapes_are_refused() -> None:
    row, column = torch.zeros(1, 3), torch.zeros(3, 1, dtype=torch.bool)

    with pytest.raises(ValueError, match=r"residual.*\(1, 3\).*ended.*\(3, 1\)"):
        accumulate(row, column, 0.9)


def test_normalised_advantages_have_mean_zero_and_deviation_one() -> None:
    advantage = normalised(torch.tensor([1.0, 2.0, 3.0, 10.0]))

    assert advantage.mean().item() == pytest.approx(0, abs=1e-6)
    assert advantage.std(correction=0).item() == pytest.approx(1, abs=1e-6)
