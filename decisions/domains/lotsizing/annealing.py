"""Groups for the rotation, found by simulated annealing on simulated episodes.

No item is in two groups, so costs add: a machine's rotation is simulated on its own items alone,
and a move simulates only the groups that it changes. What was simulated once is remembered.

Source: Kirkpatrick, Gelatt and Vecchi (1983), "Optimization by simulated annealing".
"""

from dataclasses import replace

import numpy as np

from decisions.domains.lotsizing.instance import Instance
from decisions.domains.lotsizing.plant import Plant
from decisions.domains.lotsizing.rotation import GroupedRotation, next_item
from decisions.domains.lotsizing.simulation import realised_demand
from decisions.domains.lotsizing.static_assignment import static_assignment
from decisions.domains.lotsizing.stepping import Setups, Units, compiled
from decisions.policy import FloatArray, IntArray
from decisions.seeds import RowKeys, stream


def tuned_rotation(
    instance: Instance,
    *,
    seed: int = 0,
    scenarios: int = 256,
    moves: int = 20_000,
    temperature: tuple[float, float] = (50.0, 0.2),
) -> GroupedRotation:
    """The best rotation met in an annealing that starts from the static assignment.

    Args:
        instance: any plant.
        seed: of the moves, and of the episodes that rotations are compared on.
        scenarios: episodes; none of them is an evaluation episode.
        moves: proposed changes: an item to another machine's group or to none, two machines'
            groups exchanged, the threshold or the gap.
        temperature: cost units, at the first move and, falling geometrically, at the last.
    """
    rng = stream(seed, "lotsizing", "annealing")
    costs = GroupCosts(instance, RowKeys(seed, np.arange(scenarios, dtype=np.int64)))
    now = _first(instance)
    cost = costs.of(now)
    best, least = now, cost
    cooling = np.geomspace(*temperature, moves)
    for warmth in cooling:
        proposed = _neighbour(now, instance, rng)
        change = costs.of(proposed) - cost
        if change <= 0 or rng.random() < np.exp(-change / warmth):
            now, cost = proposed, cost + change
            if cost < least:
                best, least = now, cost
    return best


class GroupCosts:
    """Mean simulated costs of rotations on the same episodes, group by group."""

    def __init__(self, instance: Instance, episodes: RowKeys) -> None:
        """Draws the starts and all demand of `episodes`."""
        plant = Plant(instance)
        start = plant.reset(episodes)
        nobody = ((0, 1), (0, 0))  # one more machine: it makes nothing, at no cost
        self._arrays = (
            np.pad(instance.production, nobody),
            np.pad(instance.setup_cost, nobody),
            np.pad(instance.setup_loss, nobody),
            instance.capacity,
            instance.lost_sales_cost,
            instance.holding_cost,
            start.inventory,
            np.pad(start.set_up, ((0, 0), (0, 1))),
            realised_demand(plant, episodes, instance.horizon).transpose(2, 0, 1).copy(),
        )
        self._items = range(1, instance.items + 1)
        self._nobody = instance.machines
        self._known: dict[tuple[int, tuple[int, ...], int, int], float] = {}

    def of(self, rotation: GroupedRotation) -> float:
        """Mean cost of an episode."""
        made = {item for group in rotation.groups for item in group}
        total = sum(self._group(self._nobody, (i,), 0, 0) for i in self._items if i not in made)
        for machine, group in enumerate(rotation.groups):
            if len(group) == 1:
                total += self._group(machine, group, 0, 0)
            elif group:
                total += self._group(machine, group, rotation.low, rotation.gap)
        return total

    def _group(self, machine: int, group: tuple[int, ...], low: int, gap: int) -> float:
        """Mean cost of one machine's items."""
        key = (machine, group, low, gap)
        if key not in self._known:
            members = np.array(group, dtype=np.int16)
            self._known[key] = rotation_cost(*self._arrays, machine, members, low, gap)
        return self._known[key]


@compiled
def rotation_cost(
    production: IntArray,  # (M + 1, I), and so the next two
    setup_cost: FloatArray,
    setup_loss: IntArray,
    capacity: IntArray,  # (I,), and so the next two
    lost_sales_cost: FloatArray,
    holding_cost: FloatArray,
    inventory: Units,  # (n, I), the first stocks
    set_up: Setups,  # (n, M + 1), the first set-ups
    demand: Units,  # (I, n, T)
    machine: int,
    members: Setups,
    low: int,
    gap: int,
) -> float:
    """Mean cost of an episode of one machine and of its items alone."""
    total = 0.0
    for row in range(len(inventory)):
        stock = inventory[row].copy()
        current = int(set_up[row, machine])
        for period in range(demand.shape[2]):
            item = next_item(stock, members, current, low, gap)
            quantity = production[machine, item - 1]
            if item != current:
                quantity -= setup_loss[machine, item - 1]
                total += setup_cost[machine, item - 1]
            stock[item - 1] += quantity
            current = item
            for member in members:
                at = member - 1
                left = np.int64(stock[at]) - demand[at, row, period]
                total += lost_sales_cost[at] * max(-left, 0)
                stock[at] = min(max(left, 0), capacity[at])
                total += holding_cost[at] * stock[at]
    return total / len(inventory)


def _first(instance: Instance) -> GroupedRotation:
    """The static assignment as a rotation."""
    items = static_assignment(instance).item
    return GroupedRotation(tuple((int(i),) if i else () for i in items), low=8, gap=40)


def _neighbour(
    rotation: GroupedRotation, instance: Instance, rng: np.random.Generator
) -> GroupedRotation:
    """A rotation that differs in one place."""
    if rng.random() < 0.1:
        low = max(0, rotation.low + int(rng.integers(-3, 4)))
        gap = max(0, rotation.gap + int(rng.integers(-10, 11)))
        return replace(rotation, low=low, gap=gap)
    groups = [list(group) for group in rotation.groups]
    machine = int(rng.integers(instance.machines))
    item = int(rng.choice(np.flatnonzero(instance.production[machine]))) + 1
    old = next((m for m, group in enumerate(groups) if item in group), None)
    if old is not None:
        groups[old].remove(item)
    if old == machine:
        return _with(rotation, groups)
    other = int(rng.choice(groups[machine])) if groups[machine] and rng.random() < 0.6 else None
    if other is not None:
        groups[machine].remove(other)
        if old is not None and instance.production[old, other - 1]:
            groups[old].append(other)
    groups[machine].append(item)
    return _with(rotation, groups)


def _with(rotation: GroupedRotation, groups: list[list[int]]) -> GroupedRotation:
    return replace(rotation, groups=tuple(tuple(sorted(group)) for group in groups))
