"""Trained actors as they act, with the same bits whatever the batch, and as files."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from numba import njit
from torch import Tensor, nn

from decisions.errors import DataError
from decisions.policy import BoolArray, FloatArray
from decisions.rl import checkpoints
from decisions.rl.checkpoints import Json
from decisions.rl.environment import Box, Environment, Features, MultiDiscrete, P, S
from decisions.rl.networks import ActorNetwork, CategoricalActor, GaussianActor, perceptron

FILE = "actor.safetensors"
_LINEAR, _TANH, _RELU = 0, 1, 2
_BLOCK = 128  # elementwise functions on vectors end in another kernel than they begin with


@dataclass(frozen=True)
class Actor:
    """A trained policy. An action does not depend, to the bit, on the rows beside it."""

    network: ActorNetwork

    def greedy(self, observation: Features, mask: BoolArray | None) -> npt.NDArray[np.generic]:
        """The likeliest actions, (n, heads)."""
        return self._act(observation, mask, None)

    def sampled(
        self, observation: Features, mask: BoolArray | None, uniforms: FloatArray
    ) -> npt.NDArray[np.generic]:
        """Actions drawn with `uniforms` (n, heads), on [0, 1)."""
        return self._act(observation, mask, torch.from_numpy(uniforms))

    def _act(
        self, observation: Features, mask: BoolArray | None, uniforms: Tensor | None
    ) -> npt.NDArray[np.generic]:
        outputs = torch.from_numpy(forward(self.network.body, observation))
        seen = torch.from_numpy(observation)
        allowed = None if mask is None else torch.from_numpy(np.ascontiguousarray(mask))
        parts: list[Tensor] = []
        with torch.inference_mode():
            for first in range(0, max(len(seen), 1), _BLOCK):
                rows = slice(first, first + _BLOCK)
                action, _ = self.network.decide(
                    _filled(outputs[rows]),
                    _filled(seen[rows]),
                    None if allowed is None else _filled(allowed[rows]),
                    None if uniforms is None else _filled(uniforms[rows].to(torch.float32)),
                )
                parts.append(action[: len(seen[rows])])
            return self.network.outward(torch.cat(parts))


def _filled(rows: Tensor) -> Tensor:
    """`rows` in a whole block, zeros below them."""
    return torch.cat([rows, rows.new_zeros(_BLOCK - len(rows), rows.shape[1])])


@njit(cache=True)
def _layer(values: Features, weight: Features, bias: Features, bend: int) -> Features:
    """A layer on rows (n, inputs), `weight` (inputs, outputs); inputs of 0 cost nothing."""
    n, width = values.shape
    out = np.empty((n, len(bias)), dtype=np.float32)
    for row in range(n):
        total = out[row]
        total[:] = bias
        for i in range(width):
            x = values[row, i]
            if x != 0.0:
                for j in range(len(total)):
                    total[j] += x * weight[i, j]
        for j in range(len(total)):
            if bend == _TANH:
                total[j] = np.tanh(total[j])
            elif bend == _RELU:
                total[j] = max(total[j], np.float32(0.0))
    return out


def forward(body: nn.Sequential, observation: Features) -> Features:
    """What a perceptron says of each row, (n, outputs), whatever the other rows are.

    A matrix product sums in an order that depends on its size, on the place of a row in it and on
    the number of threads; here each row is summed on its own, in the order of its inputs.
    """
    values = np.ascontiguousarray(observation, dtype=np.float32)
    tanh = isinstance(body[1], nn.Tanh)
    layers = [layer for layer in body if isinstance(layer, nn.Linear)]
    for i, layer in enumerate(layers):
        weight = np.ascontiguousarray(layer.weight.detach().numpy().T)
        bend = _LINEAR if i == len(layers) - 1 else _TANH if tanh else _RELU
        values = _layer(values, weight, layer.bias.detach().numpy(), bend)
    return values


def acting(environment: Environment[S, P], actor: Actor) -> Callable[[S], npt.NDArray[np.generic]]:
    """The greedy policy as a function of states."""
    return lambda state: actor.greedy(environment.observe(state), environment.mask(state))


def save(actor: Actor, identity: Mapping[str, str]) -> dict[str, bytes]:
    """The actor as files; `identity` says what it is for, e.g. the digest of an instance."""
    network = cast(nn.Module, actor.network)
    facts: dict[str, Json] = {"identity": dict(identity), **_form(actor.network)}
    return {FILE: checkpoints.packed(network.state_dict(), facts)}


def load(files: Mapping[str, bytes], identity: Mapping[str, str] | None = None) -> Actor:
    """The actor that `save` wrote.

    Raises:
        DataError: a file is missing, or the actor is for another `identity`.
        ArtifactAltered: the bytes are not those that were saved.
    """
    if FILE not in files:
        raise DataError(f"no {FILE} among the files {sorted(files)}")
    tensors, facts = checkpoints.unpacked(files[FILE], FILE)
    if identity is not None:
        checkpoints.check_facts(FILE, facts, {"identity": dict(identity)})
    network = _formed(facts)
    network.load_state_dict(tensors)
    return Actor(cast(ActorNetwork, network))


def _form(network: ActorNetwork) -> dict[str, Json]:
    layers = [layer for layer in network.body if isinstance(layer, nn.Linear)]
    sizes: list[Json] = [layers[0].in_features, *(layer.out_features for layer in layers)]
    form: dict[str, Json] = {
        "layers": sizes,
        "activation": "relu" if isinstance(network.body[1], nn.ReLU) else "tanh",
    }
    if isinstance(network, CategoricalActor):
        keep = network.keep_columns
        return form | {
            "kind": "categorical",
            "sizes": list(network.sizes),
            "keep_columns": None if keep is None else list(keep),
        }
    assert isinstance(network, GaussianActor)
    low = cast("list[float]", network.low.tolist())
    high = cast("list[float]", network.high.tolist())
    return form | {"kind": "gaussian", "low": low, "high": high}


def _formed(facts: Mapping[str, Json]) -> nn.Module:
    layers = cast("list[int]", facts["layers"])
    activation = "relu" if facts["activation"] == "relu" else "tanh"
    body = perceptron(layers, activation, torch.Generator())
    if facts["kind"] == "categorical":
        keep = cast("list[int] | None", facts["keep_columns"])
        return CategoricalActor(
            MultiDiscrete(tuple(cast("list[int]", facts["sizes"]))),
            body,
            keep_columns=None if keep is None else (keep[0], keep[1]),
        )
    low, high = cast("list[float]", facts["low"]), cast("list[float]", facts["high"])
    return GaussianActor(Box(tuple(low), tuple(high)), body)
