"""A trained network as it decides: in double precision, row by row, without its trainer.

Sums of a row are taken in one fixed order, so a decision depends neither on the batch nor on
threads nor on the library that trained the network.
"""

import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import numpy as np

from decisions.domains.lotsizing.environment import PlantEnvironment
from decisions.domains.lotsizing.instance import Instance
from decisions.domains.lotsizing.plant import Plant, PlantState, Setups
from decisions.errors import ArtifactAltered
from decisions.policy import FloatArray, IntArray


@dataclass(frozen=True, eq=False)
class NetworkRule:
    """A policy: each machine makes what its head of the network finds likeliest, if it can.

    A perceptron over what `PlantEnvironment` shows without the time; `widths` are those of its
    layers, `weights` and `biases` of all layers follow one another. `keep` (M (I + 1),) is added
    to the logit of what a machine is set up for. `content` is the file that they were read from.
    """

    instance: Instance
    widths: IntArray
    weights: FloatArray  # of a layer (in, out), flat
    biases: FloatArray
    keep: FloatArray
    relu: bool
    content: bytes

    def act(self, state: PlantState) -> Setups:
        """Actions (n, M)."""
        from decisions.domains.lotsizing.inference import decide  # numba, only where it is used

        seen = self._environment.observe(state).astype(np.float64)
        action = np.empty(state.set_up.shape, dtype=np.int16)
        decide(
            seen,
            self.widths,
            self.weights,
            self.biases,
            self.keep,
            self.relu,
            self._environment.plant.mask,
            state.set_up,
            action,
        )
        return action

    @cached_property
    def _environment(self) -> PlantEnvironment:
        return environment_of(self.instance)


def environment_of(instance: Instance) -> PlantEnvironment:
    """What networks learn in: a plant that never ends, so the time is not shown."""
    return PlantEnvironment(Plant(instance), time=False)


def network_rule(content: bytes, instance: Instance) -> NetworkRule:
    """The rule in the file of an actor, as `rl.policies.save` writes it.

    Raises:
        ArtifactAltered: it is no such file, or of a network for another instance.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        tensors = load(content)
        length = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + length])
        _, told = json.loads(header["__metadata__"]["facts"])
        facts = cast("dict[str, Any]", json.loads(told))
        trained_for = facts["identity"]["instance"]
        layers = [
            (tensors[f"body.{2 * j}.weight"].T, tensors[f"body.{2 * j}.bias"])
            for j in range(len(facts["layers"]) - 1)
        ]
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise ArtifactAltered(f"the network cannot be read: {error!r}") from error
    if trained_for != instance.digest:
        raise ArtifactAltered(
            f"instance of the network is {trained_for[:12]}; wanted {instance.name},"
            f" {instance.digest[:12]}: train one for this plant"
        )
    choices = instance.machines * (instance.items + 1)
    return NetworkRule(
        instance=instance,
        widths=np.array(facts["layers"], dtype=np.int64),
        weights=np.concatenate([weight.ravel() for weight, _ in layers]).astype(np.float64),
        biases=np.concatenate([bias for _, bias in layers]).astype(np.float64),
        keep=tensors.get("keep", np.zeros(choices)).astype(np.float64),
        relu=facts["activation"] == "relu",
        content=content,
    )
