"""H2: each machine looks after a group of items and turns between them by their stocks."""

import json
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib.resources import files
from typing import Any

import numpy as np

from decisions.domains.lotsizing.instance import Instance, instance_of, to_json
from decisions.domains.lotsizing.plant import PlantState
from decisions.domains.lotsizing.tables import Setups
from decisions.errors import DataError


@dataclass(frozen=True)
class GroupedRotation:
    """A policy: what machine `m` makes is one of `groups[m]`; an empty group idles.

    A machine that is set up outside its group takes the group's item with the lowest stock. It
    goes over to that item once its stock is below `low` and lower than the current item's by more
    than `gap` units; otherwise it goes on.
    """

    groups: tuple[tuple[int, ...], ...]
    low: int
    gap: int

    def act(self, state: PlantState) -> Setups:
        """Actions (n, M)."""
        from decisions.domains.lotsizing.turning import next_items  # compiles

        action = np.empty(state.set_up.shape, dtype=np.int16)
        next_items(state.inventory, state.set_up, self._members, self.low, self.gap, action)
        return action

    def check(self, instance: Instance) -> None:
        """Raises DataError unless there is a group a machine, of items that it can make."""
        if len(self.groups) != instance.machines:
            raise DataError(f"{len(self.groups)} groups for {instance.machines} machines")
        for machine, group in enumerate(self.groups):
            for item in group:
                if not (1 <= item <= instance.items and instance.production[machine, item - 1]):
                    raise DataError(f"machine {machine + 1} cannot make item {item} of its group")

    @cached_property
    def _members(self) -> Setups:
        return members_of(self.groups)


def members_of(groups: tuple[tuple[int, ...], ...]) -> Setups:
    """Groups by machine, filled up with 0, (M, size of the largest)."""
    members = np.zeros((len(groups), max(1, *map(len, groups))), dtype=np.int16)
    for machine, group in enumerate(groups):
        members[machine, : len(group)] = group
    return members


def rotation_of(instance: Instance) -> GroupedRotation:
    """The rotation that the package holds for an instance, or one tuned now, in some minutes.

    A process tunes once for the same plant.
    """
    return _rotation(to_json(instance))


@lru_cache(maxsize=64)
def _rotation(text: str) -> GroupedRotation:
    instance = instance_of(text)
    record = packaged_record(instance)
    if record is None:
        from decisions.domains.lotsizing.annealing import tuned_rotation

        return tuned_rotation(instance)
    found = record["rotation"]
    return GroupedRotation(tuple(map(tuple, found["groups"])), found["low"], found["gap"])


def packaged_record(instance: Instance) -> dict[str, Any] | None:
    """What `decisions lotsizing tune` found for an instance, or None: it was not asked.

    The records were made with the code of commit 881a638, whose annealing had temperatures in
    cost units; those of now are relative. A record holds `rotation`, the fields of a
    `GroupedRotation`, `turns`, those of `improved_rotation.Turns`, and how they were found.
    """
    text = (files("decisions.domains.lotsizing") / "rotations.json").read_text()
    return json.loads(text).get(instance.digest)
