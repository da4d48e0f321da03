"""Actors and critics: small perceptrons, masked choices, normal laws, returns at their scale."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from decisions.policy import BoolArray
from decisions.rl.environment import Box, Environment, MultiDiscrete, P, S

Activation = Literal["relu", "tanh"]
Initial = Literal["orthogonal", "xavier", "kaiming"]

_IMPOSSIBLE = -1e9  # finite, so that probability 0 times its logarithm is 0 and not NaN


@runtime_checkable
class Keeping(Protocol):
    """What an environment may add to its contract: which choices leave things as they are."""

    @property
    def keep_columns(self) -> tuple[int, int] | None:
        """First column of the observation, and the one after the last, of a block (n, choices).

        An entry is 1 where that choice, head after head, is what is set up now, else 0.
        """
        ...

    @property
    def keep_worthy(self) -> BoolArray:
        """Which of the choices, (choices,), there is a point in keeping: idling is none."""
        ...


def perceptron(
    sizes: Sequence[int],
    activation: Activation,
    generator: torch.Generator,
    *,
    initial: Initial = "orthogonal",
    last_gain: float = 1.0,
) -> nn.Sequential:
    """Linear layers of `sizes` with `activation` between them.

    "orthogonal": gain sqrt(2) inside and `last_gain` at the end, biases 0. "xavier": uniform,
    biases 0. "kaiming": PyTorch's own default inside, He's uniform law of `last_gain` at the end
    with bias 0.
    """
    layers: list[nn.Module] = []
    for i, (width_in, width_out) in enumerate(pairwise(sizes)):
        last = i == len(sizes) - 2
        linear = nn.Linear(width_in, width_out, device="meta").to_empty(device="cpu")
        nn.init.zeros_(linear.bias)
        if initial == "xavier":
            nn.init.xavier_uniform_(linear.weight, generator=generator)
        elif initial == "kaiming" and last:
            bound = last_gain * (3 / width_in) ** 0.5
            nn.init.uniform_(linear.weight, -bound, bound, generator)
        elif initial == "kaiming":
            bound = width_in**-0.5
            nn.init.uniform_(linear.weight, -bound, bound, generator)
            nn.init.uniform_(linear.bias, -bound, bound, generator)
        else:
            nn.init.orthogonal_(linear.weight, last_gain if last else 2**0.5, generator)
        layers.append(linear)
        if not last:
            layers.append(nn.ReLU() if activation == "relu" else nn.Tanh())
    return nn.Sequential(*layers)


class CategoricalActor(nn.Module):
    """Independent choices of several heads, impossible ones masked.

    `keep_columns` (see `Keeping`) adds `keep_bias` (choices,), learned like any other weight, to
    the logit of what is set up already: undirected switching is the dearest way to explore.
    """

    def __init__(
        self,
        actions: MultiDiscrete,
        body: nn.Sequential,
        *,
        keep_columns: tuple[int, int] | None = None,
        keep_bias: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.sizes = actions.sizes
        self.body = body
        self.keep_columns = keep_columns
        self.widest = max(self.sizes)
        places = [j * self.widest + i for j, size in enumerate(self.sizes) for i in range(size)]
        self.places = torch.tensor(places) if len(set(self.sizes)) > 1 else None
        if keep_columns is not None:
            if keep_columns[1] - keep_columns[0] != len(places):
                raise ValueError(f"{keep_columns} are not the {len(places)} choices")
            bias = torch.zeros(len(places)) if keep_bias is None else keep_bias
            self.keep = nn.Parameter(bias.clone())

    @property
    def heads(self) -> int:
        """Width of an action."""
        return len(self.sizes)

    def log_probabilities(
        self, outputs: Tensor, observation: Tensor, mask: Tensor | None
    ) -> Tensor:
        """Of every choice, (n, heads, size of the widest head), from the `outputs` of `body`.

        -1e9 where there is no such choice.
        """
        logits = outputs
        if self.keep_columns is not None:
            first, last = self.keep_columns
            logits = torch.addcmul(logits, observation[:, first:last], self.keep)
        if mask is not None:
            logits = logits.masked_fill(~mask, _IMPOSSIBLE)
        if self.places is not None:
            padded = logits.new_full((len(logits), len(self.sizes) * self.widest), _IMPOSSIBLE)
            logits = padded.index_copy(1, self.places, logits)
        return logits.view(len(logits), len(self.sizes), self.widest).log_softmax(-1)

    def act(
        self, observation: Tensor, mask: Tensor | None, uniforms: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Actions and their log-probabilities, both (n, heads), by inverse transform.

        `uniforms` (n, heads) are on [0, 1); without them each action is its law's likeliest.
        """
        return self.decide(self.body(observation), observation, mask, uniforms)

    def decide(
        self,
        outputs: Tensor,
        observation: Tensor,
        mask: Tensor | None,
        uniforms: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """`act`, from the `outputs` of `body`."""
        logs = self.log_probabilities(outputs, observation, mask)
        if uniforms is None:
            action = logs.argmax(-1)
        else:
            reached = logs.exp().cumsum(-1)
            total = reached[..., -1:]
            index = (reached <= uniforms[..., None] * total).sum(-1)
            action = torch.minimum(index, (reached < total).sum(-1))  # the last one with mass
        return action, logs.gather(-1, action[..., None])[..., 0]

    def evaluate(
        self, observation: Tensor, mask: Tensor | None, action: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Log-probabilities of `action`, and the entropy of each head, both (n, heads)."""
        logs = self.log_probabilities(self.body(observation), observation, mask)
        taken = logs.gather(-1, action[..., None])[..., 0]
        return taken, -(logs.exp() * logs).sum(-1)

    def outward(self, action: Tensor) -> npt.NDArray[np.generic]:
        """`action` (n, heads) as the environment takes it."""
        return action.numpy()

    def inward(self, action: npt.NDArray[np.generic]) -> Tensor:
        """The inverse of `outward`."""
        return torch.from_numpy(action.astype(np.int64))


class GaussianActor(nn.Module):
    """Independent normal laws over a box, clipped to its bounds when the environment acts.

    Actions are kept before they are clipped, in units where the box is [-1, 1].
    """

    low: Tensor
    high: Tensor

    def __init__(self, actions: Box, body: nn.Sequential, *, log_deviation: float = -0.7) -> None:
        super().__init__()
        self.body = body
        self.log_deviation = nn.Parameter(torch.full((len(actions.low),), log_deviation))
        self.register_buffer("low", torch.tensor(actions.low, dtype=torch.float64))
        self.register_buffer("high", torch.tensor(actions.high, dtype=torch.float64))

    @property
    def heads(self) -> int:
        """Width of an action."""
        return len(self.low)

    def act(
        self, observation: Tensor, mask: Tensor | None, uniforms: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """As for choices; the mask says nothing about a box."""
        return self.decide(self.body(observation), observation, mask, uniforms)

    def decide(
        self,
        outputs: Tensor,
        observation: Tensor,
        mask: Tensor | None,
        uniforms: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """`act`, from the `outputs` of `body`."""
        mean = outputs
        if uniforms is None:
            action = mean
        else:
            inner = uniforms.to(torch.float64).clamp(1e-9, 1 - 1e-9)
            normal = torch.erfinv(2.0 * inner - 1.0).to(mean.dtype) * 2**0.5
            action = mean + self.log_deviation.exp() * normal
        return action, self._log_density(mean, action)

    def evaluate(
        self, observation: Tensor, mask: Tensor | None, action: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Log-densities of `action`, and the entropy of each component, both (n, heads)."""
        mean = self.body(observation)
        entropy = self.log_deviation + 0.5 * float(np.log(2 * np.pi * np.e))
        return self._log_density(mean, action), entropy.expand_as(mean)

    def outward(self, action: Tensor) -> npt.NDArray[np.generic]:
        """`action` (n, heads) as the environment takes it."""
        share = (action.to(torch.float64).clamp(-1.0, 1.0) + 1.0) / 2.0
        return (self.low + share * (self.high - self.low)).numpy()

    def inward(self, action: npt.NDArray[np.generic]) -> Tensor:
        """The inverse of `outward`, of actions within the bounds."""
        share = (torch.from_numpy(action.astype(np.float64)) - self.low) / (self.high - self.low)
        return (2.0 * share - 1.0).to(torch.float32)

    def _log_density(self, mean: Tensor, action: Tensor) -> Tensor:
        standard = (action - mean) * (-self.log_deviation).exp()
        return -0.5 * standard**2 - self.log_deviation - 0.5 * float(np.log(2 * np.pi))


ActorNetwork = CategoricalActor | GaussianActor


def actor_of(
    environment: Environment[S, P],
    hidden: Sequence[int],
    activation: Activation,
    generator: torch.Generator,
    *,
    initial: Initial = "orthogonal",
    gain: float = 0.01,
    keep_bias: float | None = None,
) -> ActorNetwork:
    """A new actor for what the environment shows and takes; the less `gain`, the less biased."""
    actions = environment.actions
    outputs = sum(actions.sizes) if isinstance(actions, MultiDiscrete) else len(actions.low)
    sizes = (environment.observation_size, *hidden, outputs)
    body = perceptron(sizes, activation, generator, initial=initial, last_gain=gain)
    if isinstance(actions, Box):
        return GaussianActor(actions, body)
    if keep_bias is None or not isinstance(environment, Keeping):
        return CategoricalActor(actions, body)
    bias = keep_bias * torch.from_numpy(environment.keep_worthy.astype(np.float32))
    return CategoricalActor(actions, body, keep_columns=environment.keep_columns, keep_bias=bias)


class Critic(nn.Module):
    """Expected returns, learned at a scale of order 1 that follows the returns seen.

    Source: van Hasselt et al. (2016), "Learning values across many orders of magnitude" (Pop-Art).
    Without `rescaling` mean and deviation stay 0 and 1.
    """

    mean: Tensor
    deviation: Tensor
    seen: Tensor

    def __init__(self, body: nn.Sequential, *, rescaling: bool) -> None:
        super().__init__()
        self.body = body
        self.rescaling = rescaling
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("deviation", torch.ones(()))
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, observation: Tensor) -> Tensor:
        """Values (...,) of observations (..., width)."""
        return self.body(observation)[..., 0] * self.deviation + self.mean

    @torch.no_grad()
    def rescale(self, target: Tensor, *, share: float = 0.2) -> None:
        """Moves the scale towards that of `target`, by `share`; what is predicted stays."""
        if not self.rescaling:
            return
        share = max(share, 1.0 / (float(self.seen) + 1.0))
        self.seen += 1
        mean = self.mean + share * (target.mean() - self.mean)
        square = (1 - share) * (self.deviation**2 + self.mean**2) + share * (target**2).mean()
        deviation = (square - mean**2).clamp(min=1e-8).sqrt()
        last = self.body[-1]
        assert isinstance(last, nn.Linear)
        last.weight.mul_(self.deviation / deviation)
        last.bias.mul_(self.deviation).add_(self.mean - mean).div_(deviation)
        self.mean.copy_(mean)
        self.deviation.copy_(deviation)

    def loss(self, observation: Tensor, target: Tensor) -> Tensor:
        """Mean squared error in units of the scale, of targets (n,)."""
        value = self.body(observation)[:, 0]
        wanted = (target - self.mean) / self.deviation
        if value.shape != wanted.shape:
            raise ValueError(f"values {tuple(value.shape)}, targets {tuple(wanted.shape)}")
        return (value - wanted).square().mean()
