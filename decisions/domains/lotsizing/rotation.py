"""H2: each machine looks after a group of items and turns between them by their stocks."""

import json
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files

import numpy as np

from decisions.domains.lotsizing.instance import Instance
from decisions.domains.lotsizing.plant import PlantState
from decisions.domains.lotsizing.stepping import Setups, Units, compiled
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
        """The groups, filled up with 0, (M, size of the largest)."""
        members = np.zeros((len(self.groups), max(1, *map(len, self.groups))), dtype=np.int16)
        for machine, group in enumerate(self.groups):
            members[machine, : len(group)] = group
        return members


def rotation_of(instance: Instance) -> GroupedRotation:
    """The rotation tuned for a packaged instance, or one tuned now, which takes seconds.

    Those of packaged instances were made by `decisions lotsizing tune`.
    """
    known = json.loads((files("decisions.domains.lotsizing") / "rotations.json").read_text())
    found = known.get(instance.digest)
    if found is None:
        from decisions.domains.lotsizing.annealing import tuned_rotation

        return tuned_rotation(instance)
    groups = tuple(tuple(group) for group in found["groups"])
    return GroupedRotation(groups, low=found["low"], gap=found["gap"])


@compiled
def next_item(inventory: Units, members: Setups, current: int, low: int, gap: int) -> int:
    """What one machine makes next: an item of `members` (filled up with 0), or 0."""
    lowest = members[0]
    if lowest == 0:
        return 0
    here = lowest == current
    for j in range(1, len(members)):
        item = members[j]
        if item == 0:
            break
        here |= item == current
        if inventory[item - 1] < inventory[lowest - 1]:
            lowest = item
    if not here:
        return lowest
    short = inventory[lowest - 1]
    return lowest if short < low and inventory[current - 1] > short + gap else current


@compiled
def next_items(
    inventory: Units, set_up: Setups, members: Setups, low: int, gap: int, action: Setups
) -> None:
    """What every machine makes next, for every row of `inventory`."""
    for row in range(len(inventory)):
        for machine in range(len(members)):
            action[row, machine] = next_item(
                inventory[row], members[machine], set_up[row, machine], low, gap
            )
