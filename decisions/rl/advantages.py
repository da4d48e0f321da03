"""Returns and advantages of time-major rollouts: pure functions of (T, B) tensors.

Every function checks that its tensors have one shape: a silent broadcast of (N, 1) against (1, N)
gives numbers, and an agent that does not learn.
"""

import torch
from torch import Tensor


def check_shapes(**tensors: Tensor) -> None:
    """Raises ValueError, naming shapes, unless all have the shape of the first."""
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if len(set(shapes.values())) > 1:
        raise ValueError(f"wanted one shape, not {shapes}")


def accumulate(residual: Tensor, ended: Tensor, decay: float) -> Tensor:
    """Sums S_t = residual_t + decay * S_{t+1} of each column (T, B), cut where `ended`."""
    check_shapes(residual=residual, ended=ended)
    total = torch.empty_like(residual)
    running = torch.zeros_like(residual[0])
    carried = decay * (~ended).to(residual.dtype)
    for t in range(len(residual) - 1, -1, -1):
        running = residual[t] + carried[t] * running
        total[t] = running
    return total


def generalised_advantages(
    reward: Tensor,
    value: Tensor,
    next_value: Tensor,
    ended: Tensor,
    *,
    gamma: float,
    gae_lambda: float,
) -> Tensor:
    """Generalised advantage estimates, (T, B). `next_value` holds 0 after a terminal state.

    With lambda = 1 advantage plus value is the discounted return, `next_value` closing it where an
    episode or the rollout ends.

    Source: Schulman et al. (2016), "High-dimensional continuous control using generalized
    advantage estimation", equation 16. `ended` is terminated or truncated: a truncated episode
    differs in its `next_value` alone.
    """
    check_shapes(reward=reward, value=value, next_value=next_value, ended=ended)
    residual = reward + gamma * next_value - value
    return accumulate(residual, ended, gamma * gae_lambda)


def split_advantages(
    decision_residual: Tensor,
    world_residual: Tensor,
    ended: Tensor,
    *,
    decay: float,
    eta: float,
    eta_0: float,
) -> Tensor:
    """Advantages in which the noise of the world counts by `eta`, (T, B).

    The residual of a period is the decision's, r^x + V^x(s^x) - V(s), which holds no noise, plus
    the world's, r^d + gamma V(s') - V^x(s^x), whose mean given s^x is zero once V^x is exact: a
    control variate. `eta` = 1 counts it whole, and the sum telescopes to the generalised advantage
    estimate; 0 drops it, for less noise and whatever bias V^x has. `eta_0` is for the period of
    the decision itself. `decay` is gamma * lambda.
    """
    check_shapes(decision=decision_residual, world=world_residual, ended=ended)
    later = accumulate(decision_residual + eta * world_residual, ended, decay)
    return later + (eta_0 - eta) * world_residual


def normalised(advantage: Tensor) -> Tensor:
    """`advantage` (n,) with mean 0 and standard deviation 1."""
    return (advantage - advantage.mean()) / (advantage.std(correction=0) + 1e-8)
