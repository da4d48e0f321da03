"""H3: the grouped rotation that knows when to start, when to stop and what is set up already."""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np

from decisions.domains.lotsizing.instance import Instance, instance_of, to_json
from decisions.domains.lotsizing.plant import PlantState
from decisions.domains.lotsizing.rotation import (
    GroupedRotation,
    members_of,
    packaged_record,
    rotation_of,
)
from decisions.domains.lotsizing.start_stop import Savings, start_stop
from decisions.domains.lotsizing.tables import Setups
from decisions.errors import DataError
from decisions.policy import BoolArray, IntArray

ALWAYS = 2**15 - 1  # a stock above every capacity: a machine starts at once


@dataclass(frozen=True)
class Turns:
    """The groups of the machines, (M,), and for those of several items when to turn.

    A machine that is set up for none of its items starts with the lowest of them once that is
    below `start`; `low` and `gap` are those of `GroupedRotation`, machine by machine.
    """

    groups: tuple[tuple[int, ...], ...]
    low: tuple[int, ...]
    gap: tuple[int, ...]
    start: tuple[int, ...]

    @classmethod
    def of(cls, rotation: GroupedRotation) -> "Turns":
        """The same rotation, which starts at once."""
        machines = len(rotation.groups)
        low, gap = (rotation.low,) * machines, (rotation.gap,) * machines
        return cls(rotation.groups, low, gap, (ALWAYS,) * machines)


@dataclass(frozen=True, kw_only=True, eq=False)
class ImprovedRotation:
    """A policy: a grouped rotation with three improvements, each of which can be left out.

    `stops`: a machine idles where never making its item again is less costly than to go on, an
    exact comparison on each item's own stock; an item is left out of a group's turns likewise.
    `waits`: a machine that is set up for nothing of its group starts when that is least costly:
    exact for a group of one item, at the threshold `start` for a larger one. With `stops`, a
    machine of one item may also pause.
    `matches`: the machines that no larger group holds are assigned anew in every period to the
    items that no larger group holds, so that the exact costs to go of single items add up to the
    least. What is set up already is cheaper to go on with, so assignments change little after the
    first period. A pair of machine and item that is kept for good is one of the choices, hence
    the expected cost is no more than that of the best fixed pairs.

    With all three left out it is the grouped rotation.
    """

    instance: Instance
    turns: Turns
    stops: bool = True
    waits: bool = True
    matches: bool = True

    def act(self, state: PlantState) -> Setups:
        """Actions (n, M), in periods 0 to T - 1."""
        from decisions.domains.lotsizing.turning import improved_items  # compiles

        period = state.period
        if len(period) and not 0 <= period.min() <= period.max() < self.instance.horizon:
            raise DataError(
                f"period goes from {period.min()} to {period.max()}; wanted 0 to"
                f" {self.instance.horizon - 1}"
            )
        action = np.empty(state.set_up.shape, dtype=np.int16)
        improved_items(self._rule, state.inventory, state.set_up, period, action)
        return action

    @cached_property
    def _rule(self) -> "Rule":
        turns, instance = self.turns, self.instance
        GroupedRotation(turns.groups, low=0, gap=0).check(instance)
        exact = start_stop(instance, stops=self.stops, waits=self.waits)
        wanted = exact
        if self.waits:
            wanted = start_stop(instance, stops=self.stops, waits=False)
        turning = [m for m, group in enumerate(turns.groups) if len(group) > 1]
        taken = {item for m in turning for item in turns.groups[m]}
        free = [m for m in range(instance.machines) if m not in turning]
        items = [i for i in range(1, instance.items + 1) if i not in taken]
        return Rule(
            members=members_of(turns.groups),
            low=np.array(turns.low),
            gap=np.array(turns.gap),
            start=np.array(turns.start) if self.waits else np.full(len(turns.start), ALWAYS),
            runs=exact.runs,
            saving=np.where((instance.production > 0)[:, :, None, None], exact.saving, -np.inf),
            wanted=wanted.runs,
            free=np.array(free if self.matches else [], dtype=np.int64),
            items=np.array(items, dtype=np.int64),
        )


def improved_rotation_of(
    instance: Instance, *, stops: bool = True, waits: bool = True, matches: bool = True
) -> ImprovedRotation:
    """The improved rotation with the package's groups for an instance, or with groups tuned now.

    Tuning takes some minutes. A process tunes, and makes tables, once for the same plant.
    """
    return _improved(to_json(instance), stops, waits, matches)


@lru_cache(maxsize=8)
def _improved(text: str, stops: bool, waits: bool, matches: bool) -> ImprovedRotation:
    instance = instance_of(text)
    record = packaged_record(instance)
    if record is None:
        from decisions.domains.lotsizing.annealing import tuned_turns

        turns = tuned_turns(instance, rotation_of(instance))
    else:
        found = record["turns"]
        groups = tuple(tuple(group) for group in found["groups"])
        turns = Turns(groups, tuple(found["low"]), tuple(found["gap"]), tuple(found["start"]))
    return ImprovedRotation(
        instance=instance, turns=turns, stops=stops, waits=waits, matches=matches
    )


class Rule(NamedTuple):
    """An improved rotation for the kernels."""

    members: Setups  # (M, size of the largest group), filled up with 0
    low: IntArray  # (M,), and so the next two
    gap: IntArray
    start: IntArray
    runs: BoolArray  # (T, M, I, 2, stocks), as `StartStop` has them
    saving: Savings  # -inf where a machine cannot make an item
    wanted: BoolArray
    free: IntArray  # machines that are matched, from 0
    items: IntArray  # items that they are matched with, from 1
