"""Groups for the rotation, found by simulated annealing on simulated episodes.

No item is in two groups, so costs add: a machine's rotation is simulated on its own items alone,
and a move simulates only the groups that it changes. What was simulated once is remembered.

Temperatures are shares of what an episode costs in which every machine idles.

Source: Kirkpatrick, Gelatt and Vecchi (1983), "Optimization by simulated annealing".
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from decisions.domains.lotsizing.improved_rotation import ALWAYS, ImprovedRotation, Turns
from decisions.domains.lotsizing.instance import Instance
from decisions.domains.lotsizing.plant import Plant
from decisions.domains.lotsizing.rotation import GroupedRotation
from decisions.domains.lotsizing.simulation import realised_demand, simulate
from decisions.domains.lotsizing.start_stop import start_stop
from decisions.domains.lotsizing.static_assignment import static_assignment
from decisions.domains.lotsizing.turning import best_matching, matched_saving, turning_cost
from decisions.policy import BoolArray, FloatArray, IntArray
from decisions.seeds import RowKeys, stream

X = TypeVar("X")
Groups = tuple[tuple[int, ...], ...]

CHAINS = 3
WORTH = 1.3e-4  # of the cost of idling, that an item must save to be put into a group
STARTS = 64  # on which machines are matched with items
LARGEST_GROUP = 3
LOWS = (0.25, 0.5, 0.75, 1.0, 1.25, 1.6, 2.1)  # tried, in periods of mean demand
GAPS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.65)  # in capacities
STARTS_BELOW = (1.0, 1.5, 2.0, 2.5, 3.75, 5.0, 7.5)  # in periods of mean demand


def tuned_rotation(
    instance: Instance,
    *,
    seed: int = 0,
    scenarios: int = 256,
    moves: int = 20_000,
    chains: int = CHAINS,
) -> GroupedRotation:
    """The best rotation met in annealings that start from the static assignment.

    Args:
        instance: any plant.
        seed: of the moves, and of the episodes that rotations are compared on.
        scenarios: episodes; none of them is an evaluation episode.
        moves: proposed changes of a chain: an item to another machine's group, to none or in the
            place of another item, the threshold or the gap.
        chains: annealings, each beginning with a third of the heat of the one before.
    """
    costs = GroupCosts(instance, _episodes(seed, scenarios))
    found = [
        _annealed(
            _first(instance),
            costs.of,
            lambda rotation, rng: _neighbour(rotation, instance, rng),
            rng=stream(seed, "lotsizing", "annealing", str(chain)),
            cooling=costs.idling * np.geomspace(5e-3 * 0.35**chain, 3e-5, moves),
        )
        for chain in range(chains)
    ]
    return _reinforced(instance, min(found, key=costs.of), _episodes(seed, scenarios))


def _reinforced(
    instance: Instance, rotation: GroupedRotation, episodes: RowKeys
) -> GroupedRotation:
    """The rotation with idle machines that make an item of another group, where that is cheaper.

    Groups that share an item are not independent, so the whole plant is simulated.
    """
    plant = Plant(instance)

    def cost_of(rotation: GroupedRotation) -> float:
        return float(simulate(plant, rotation.act, episodes).total.mean())

    best, least = rotation, cost_of(rotation)
    for _ in range(instance.machines):
        trials = [
            replace(best, groups=(*best.groups[:m], (int(i) + 1,), *best.groups[m + 1 :]))
            for m, group in enumerate(best.groups)
            if not group
            for i in np.flatnonzero(instance.production[m])
        ]
        costs = [cost_of(trial) for trial in trials]
        if min(costs, default=least) >= least:
            break
        best, least = trials[int(np.argmin(costs))], min(costs)
    return best


def tuned_turns(
    instance: Instance,
    rotation: GroupedRotation,
    *,
    seed: int = 0,
    scenarios: int = 256,
    moves: int = 1_500,
) -> Turns:
    """Groups and thresholds for the improved rotation.

    Machines of one item need no simulation: their exact savings are added up by the best
    matching, so that the annealing is over the groups of several items alone, each with the
    thresholds that serve it best. One chain starts from none, one from those of `rotation`. What
    matching anew in every period is worth is left out there; so of what the chains find, groups
    without which the whole plant's simulated cost is no higher are dissolved.

    Args:
        instance: any plant.
        rotation: a good grouped rotation of it.
        seed: of the moves, and of the episodes that groups are compared on.
        scenarios: episodes; none of them is an evaluation episode.
        moves: proposed changes of the larger groups, in each chain.
    """
    episodes = _episodes(seed, scenarios)
    costs = TurnCosts(instance, episodes)
    larger = tuple(group if len(group) > 1 else () for group in rotation.groups)
    found: list[tuple[float, Turns]] = []
    for first, hottest in ((_empty(instance), 5e-3), (larger, 6e-4)):
        groups = _annealed(
            first,
            costs.of,
            lambda groups, rng: _regrouped(groups, instance, rng),
            rng=stream(seed, "lotsizing", "annealing of turns", str(hottest)),
            cooling=costs.idling * np.geomspace(hottest, 6e-5, moves),
        )
        found.append(_dissolved(instance, groups, costs, episodes))
    return min(found, key=lambda each: each[0])[1]


def _dissolved(
    instance: Instance, groups: Groups, costs: "TurnCosts", episodes: RowKeys
) -> tuple[float, Turns]:
    """The simulated cost of a plant with the larger groups that pay, and their turns."""
    plant = Plant(instance)

    def whole(groups: Groups) -> float:
        rule = ImprovedRotation(instance=instance, turns=costs.turns(groups))
        return float(simulate(plant, rule.act, episodes).total.mean())

    cost = whole(groups)
    for machine in [m for m, group in enumerate(groups) if len(group) > 1]:
        without = (*groups[:machine], (), *groups[machine + 1 :])
        less = whole(without)
        if less <= cost:
            groups, cost = without, less
    return cost, costs.turns(groups)


def _empty(instance: Instance) -> Groups:
    return ((),) * instance.machines


def _episodes(seed: int, scenarios: int) -> RowKeys:
    return RowKeys(seed, np.arange(scenarios, dtype=np.int64))


def _annealed(
    first: X,
    cost_of: Callable[[X], float],
    neighbour: Callable[[X, np.random.Generator], X],
    *,
    rng: np.random.Generator,
    cooling: FloatArray,
) -> X:
    """The best solution met; `cooling` holds the temperature of each move, in cost units."""
    now, cost = first, cost_of(first)
    best, least = now, cost
    for warmth in cooling:
        proposed = neighbour(now, rng)
        change = cost_of(proposed) - cost
        if change <= 0 or rng.random() < np.exp(-change / warmth):
            now, cost = proposed, cost + change
            if cost < least:
                best, least = now, cost
    return best


class GroupCosts:
    """Mean simulated costs on the same episodes, group by group.

    `wanted` (T, M, I, 2, stocks) says where an item is part of its machine's turns; None: always.
    """

    def __init__(
        self, instance: Instance, episodes: RowKeys, wanted: BoolArray | None = None
    ) -> None:
        """Draws the starts and all demand of `episodes`."""
        plant = Plant(instance)
        start = plant.reset(episodes)
        nobody = ((0, 1), (0, 0))  # one more machine: it makes nothing, at no cost
        if wanted is None:  # a view of one value: stocks may be many
            stocks = int(instance.capacity.max()) + 1
            shape = (instance.horizon, instance.machines + 1, instance.items, 2, stocks)
            wanted = np.broadcast_to(np.True_, shape)
        else:
            axes = ((0, 0), (0, 1), (0, 0), (0, 0), (0, 0))
            wanted = np.pad(wanted, axes, constant_values=True)
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
            wanted,
        )
        self._items = range(1, instance.items + 1)
        self._nobody = instance.machines
        self._known: dict[tuple[int, tuple[int, ...], int, int, int], float] = {}

    def of(self, rotation: GroupedRotation) -> float:
        """Mean cost of an episode."""
        made = {item for group in rotation.groups for item in group}
        total = sum(self.idle(item) for item in self._items if item not in made)
        for machine, group in enumerate(rotation.groups):
            if len(group) == 1:
                total += self.group(machine, group, low=0, gap=0)
            elif group:
                total += self.group(machine, group, low=rotation.low, gap=rotation.gap)
        return total

    @property
    def idling(self) -> float:
        """Mean cost of an episode in which nothing is made."""
        return sum(map(self.idle, self._items))

    def idle(self, item: int) -> float:
        """Mean cost of an item that is never made."""
        return self.group(self._nobody, (item,), low=0, gap=0)

    def group(
        self, machine: int, group: tuple[int, ...], *, low: int, gap: int, start: int = ALWAYS
    ) -> float:
        """Mean cost of the items that a machine turns between."""
        key = (machine, group, low, gap, start)
        if key not in self._known:
            members = np.array(group, dtype=np.int16)
            self._known[key] = turning_cost(*self._arrays, machine, members, low, gap, start)
        return self._known[key]


class TurnCosts:
    """Costs of groups of several items, where the other machines are matched with single items."""

    def __init__(self, instance: Instance, episodes: RowKeys) -> None:
        """Prepares `episodes` for the groups, and the exact savings of single items."""
        wanted = start_stop(instance, stops=True, waits=False).runs
        self._instance = instance
        self._costs = GroupCosts(instance, episodes, wanted)
        self.idling = self._costs.idling
        exact = start_stop(instance, stops=True, waits=True)
        self._usual = exact.mean_saving
        start = Plant(instance).reset(episodes.take(np.arange(min(STARTS, len(episodes.rows)))))
        machine, item = np.indices(exact.mean_saving.shape)
        set_up = (start.set_up[:, :, None] == np.arange(1, instance.items + 1)).astype(np.int64)
        first = exact.saving[0][machine, item, set_up, start.inventory[:, None, :]]
        self._first = np.where(instance.production > 0, first, -np.inf)
        self._best: dict[tuple[int, tuple[int, ...]], tuple[float, tuple[int, int, int]]] = {}

    def of(self, groups: Groups) -> float:
        """Mean cost of an episode, less that of making nothing; groups of one item count not."""
        larger = [(m, group) for m, group in enumerate(groups) if len(group) > 1]
        free, items = _left(self._usual.shape, groups)
        matched = float(matched_saving(self._first[:, free][:, :, items]))
        worth = WORTH * self.idling
        return -matched - sum(
            self._larger(m, group)[0] - worth * len(group) for m, group in larger
        )

    def turns(self, groups: Groups) -> Turns:
        """Larger groups with their thresholds, and single items that suit most starts."""
        free, items = _left(self._usual.shape, groups)
        column = np.empty(len(free), dtype=np.int64)
        best_matching(self._usual[np.ix_(free, items)], column)
        whole = list(groups)
        for machine, j in zip(free, column, strict=True):
            whole[machine] = (int(items[j]) + 1,) if j >= 0 else ()
        limits = [self._larger(m, g)[1] if len(g) > 1 else (0, 0, 0) for m, g in enumerate(groups)]
        low, gap, start = zip(*limits, strict=True)
        return Turns(tuple(whole), low, gap, start)

    def _larger(self, machine: int, group: tuple[int, ...]) -> tuple[float, tuple[int, int, int]]:
        """The saving of a group at the best thresholds found, one changed at a time."""
        key = (machine, group)
        if key not in self._best:
            demand, capacity = _scales(self._instance, group)
            tried = {
                "low": [round(share * demand) for share in LOWS],
                "gap": [round(share * capacity) for share in GAPS],
                "start": [*(round(share * demand) for share in STARTS_BELOW), ALWAYS],
            }
            limits = {"low": round(demand * 7 / 8), "gap": round(0.3 * capacity), "start": ALWAYS}
            for name in ("start", "low", "gap", "low", "start"):
                trials = [{**limits, name: value} for value in tried[name]]
                limits = min(trials, key=lambda t: self._costs.group(machine, group, **t))
            cost = self._costs.group(machine, group, **limits)
            saving = sum(map(self._costs.idle, group)) - cost
            self._best[key] = saving, (limits["low"], limits["gap"], limits["start"])
        return self._best[key]


def _first(instance: Instance) -> GroupedRotation:
    """The static assignment as a rotation."""
    items = static_assignment(instance, shared=False).item
    demand, capacity = _scales(instance, range(1, instance.items + 1))
    return GroupedRotation(
        tuple((int(i),) if i else () for i in items), low=round(demand), gap=round(0.4 * capacity)
    )


def _neighbour(
    rotation: GroupedRotation, instance: Instance, rng: np.random.Generator
) -> GroupedRotation:
    """A rotation that differs in one place."""
    if rng.random() < 0.1:
        demand, capacity = _scales(instance, range(1, instance.items + 1))
        step, stride = max(1, round(0.4 * demand)), max(1, round(0.1 * capacity))
        low = max(0, rotation.low + int(rng.integers(-step, step + 1)))
        gap = max(0, rotation.gap + int(rng.integers(-stride, stride + 1)))
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


def _scales(instance: Instance, items: Sequence[int]) -> tuple[float, float]:
    """Mean demand of a period, and mean capacity, of some items."""
    at = np.array(items) - 1
    return float(instance.mean_demand[at].mean()), float(instance.capacity[at].mean())


def _left(shape: tuple[int, ...], groups: Groups) -> tuple[IntArray, IntArray]:
    """The machines, and the items, that no group of several items holds; both from 0."""
    free, left = np.ones(shape[0], dtype=np.bool_), np.ones(shape[1], dtype=np.bool_)
    for machine, group in enumerate(groups):
        if len(group) > 1:
            free[machine] = False
            left[np.array(group) - 1] = False
    return np.flatnonzero(free), np.flatnonzero(left)


def _regrouped(groups: Groups, instance: Instance, rng: np.random.Generator) -> Groups:
    """Groups of several items that differ in one place; smaller ones are empty."""
    machine = int(rng.integers(instance.machines))
    can = np.flatnonzero(instance.production[machine]) + 1
    new = [list(group) for group in groups]
    kind = rng.random()
    if kind < 0.2:
        new[machine] = []
    elif kind < 0.4:
        other = int(rng.integers(instance.machines))
        new[machine], new[other] = new[other], new[machine]
    else:
        kept = rng.permutation(new[machine])[: rng.integers(LARGEST_GROUP)]
        added = rng.choice(can, size=min(len(can), 2 if len(kept) == 0 else 1), replace=False)
        for group in new:
            group[:] = [item for item in group if item not in added]
        new[machine] = [*map(int, kept[~np.isin(kept, added)]), *map(int, added)]
    for m, group in enumerate(new):
        group[:] = [item for item in group if instance.production[m, item - 1]]
    return tuple(tuple(sorted(group)) if len(group) > 1 else () for group in new)
