"""Exact optima of small plants, and exact costs of policies, by backward induction.

Demand is independent between items, so the mean over it of a cost-to-go is taken one item at a
time: a contraction along each axis of the grid of stocks. The effect of an action on stocks is a
shift of that grid, so an action's costs are a slice, never a table of transitions.

Source: Puterman (1994), "Markov Decision Processes", section 4.5 (finite horizon), with the
post-decision state of Powell (2011), "Approximate Dynamic Programming", section 4.6.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from math import prod

import numpy as np
import numpy.typing as npt

from decisions.domains.lotsizing.instance import Instance
from decisions.domains.lotsizing.plant import PlantState
from decisions.errors import DataError
from decisions.policy import FloatArray, IntArray

Items = npt.NDArray[np.int16]

LARGEST_PERIOD = 1_000_000_000  # states times actions: some seconds a period on one core
LARGEST_MEMORY_GIB = 4.0
LARGEST_CAPACITY = 2_000
_CHUNK = 1 << 18  # states that a policy is asked about at once


@dataclass(frozen=True, kw_only=True, eq=False)
class CostToGo:
    """Expected costs of the rest of an episode, from every state.

    `set_ups` (K, M) lists the set-up vectors, which are the actions too: an item that the machine
    can make, or 0. `costs` (periods, K, *stocks) holds the costs from the start of period 0, and
    of periods 1 to T where they were kept; its axes after the set-up are the stocks by item.
    """

    instance: Instance
    set_ups: Items
    costs: FloatArray

    def at(self, state: PlantState) -> FloatArray:
        """The expected cost of the rest of the episode (n,), in periods that were kept."""
        row = _rows(self.instance, state.set_up)
        return self.costs[(state.period, row, *state.inventory.T)]

    def mean_over_starts(self) -> float:
        """The mean over the starts that `Plant.reset` draws.

        Stocks are uniform on 0 to capacity - 1, set-ups uniform on what a machine can make.
        """
        running = (self.set_ups > 0).all(axis=1)
        below_capacity = (slice(int(capacity)) for capacity in self.instance.capacity)
        return float(self.costs[0][(running, *below_capacity)].mean())


@dataclass(frozen=True, kw_only=True, eq=False)
class Optimum(CostToGo):
    """The least expected costs, with the actions that reach them.

    `actions` (T, K, *stocks) holds rows of `set_ups`; the first of equals.
    """

    actions: npt.NDArray[np.uint16]

    def act(self, state: PlantState) -> Items:
        """An optimal action (n, M) of each state, in periods 0 to T - 1."""
        row = _rows(self.instance, state.set_up)
        return self.set_ups[self.actions[(state.period, row, *state.inventory.T)]]


def optimum(instance: Instance, *, every_period: bool = False) -> Optimum:
    """The optimum of a small plant by backward induction over its horizon.

    Args:
        instance: the plant.
        every_period: keep the costs from every period 0 to T, not from the first alone.

    Raises:
        DataError: the plant is too large; the message says by how much.
    """
    grid = _grid(instance)
    _check_size(instance, grid, periods_kept=instance.horizon if every_period else 1, tables=1)
    set_ups = _set_ups(instance)
    costs = np.zeros((instance.horizon + 1 if every_period else 1, *grid))
    actions = np.zeros((instance.horizon, *grid), dtype=np.uint16)
    following = np.zeros(grid)
    for period in reversed(range(instance.horizon)):
        best = np.full(grid, np.inf)
        for index, action in enumerate(set_ups):
            lookahead = _Lookahead(instance, action, following[index])
            for row, set_up in enumerate(set_ups):
                cost = lookahead.costs_from(set_up)
                better = cost < best[row]
                np.copyto(best[row], cost, where=better)
                actions[period, row][better] = index
        following = best
        costs[period if every_period else 0] = best
    return Optimum(instance=instance, set_ups=set_ups, costs=costs, actions=actions)


def cost_of(
    instance: Instance,
    act: Callable[[PlantState], npt.NDArray[np.integer]],
    *,
    every_period: bool = False,
) -> CostToGo:
    """The exact expected costs of a policy that is a function of the state: no noise.

    Args:
        instance: the plant, small as for `optimum`.
        act: actions (n, M) of states; asked once about every state of every period.
        every_period: keep the costs from every period 0 to T, not from the first alone.

    Raises:
        DataError: the plant is too large, or the policy chose what a machine cannot make.
    """
    grid = _grid(instance)
    _check_size(instance, grid, periods_kept=instance.horizon if every_period else 1, tables=0)
    set_ups = _set_ups(instance)
    costs = np.zeros((instance.horizon + 1 if every_period else 1, *grid))
    following = np.zeros(grid)
    for period in reversed(range(instance.horizon)):
        chosen = _chosen(instance, set_ups, grid, act, period)
        now = np.empty(grid)
        for index, action in enumerate(set_ups):
            lookahead = _Lookahead(instance, action, following[index])
            for row, set_up in enumerate(set_ups):
                np.copyto(now[row], lookahead.costs_from(set_up), where=chosen[row] == index)
        following = now
        costs[period if every_period else 0] = now
    return CostToGo(instance=instance, set_ups=set_ups, costs=costs)


def stocks_fit(instance: Instance) -> bool:
    """Whether tables of every stock of an item, as `item_lookahead` makes, are small enough."""
    return bool(instance.capacity.max() <= LARGEST_CAPACITY)


def check_stocks(instance: Instance, item: int) -> None:
    """Raises DataError where the capacity of an item is too large for a table of its stocks."""
    capacity = int(instance.capacity[item])
    if capacity > LARGEST_CAPACITY:
        raise DataError(
            f"capacity[{item}] is {capacity}: exact costs need a table of stocks, of at most"
            f" {LARGEST_CAPACITY} units. Count in larger units, such as pallets"
        )


def item_lookahead(
    instance: Instance, item: int, low: int, high: int
) -> tuple[FloatArray, FloatArray]:
    """What a period's demand does to one item, from each post-decision stock `low` to `high`.

    Returns:
        Expected lost-sales and holding cost of the period, (high - low + 1,), and the
        distribution of the stock that is left, (high - low + 1, capacity + 1).

    Raises:
        DataError: the capacity is too large for a table of stocks.
    """
    check_stocks(instance, item)
    capacity = int(instance.capacity[item])
    law = instance.demand[item]
    left = np.arange(low, high + 1)[:, None] - np.arange(len(law))
    stock = left.clip(0, capacity)
    costs = instance.lost_sales_cost[item] * (-left).clip(0) + instance.holding_cost[item] * stock
    transition = np.zeros((len(left), capacity + 1))
    np.add.at(transition, (np.arange(len(left))[:, None], stock), law)
    return costs @ law, transition


class _Lookahead:
    """Expected costs of an action, from any set-up vector and any stocks."""

    def __init__(self, instance: Instance, action: Items, following: FloatArray) -> None:
        """Takes the mean over demand of `following` (*stocks), the costs of the next period."""
        self.instance = instance
        self.action = action
        self.lowest = self._produced(np.ones(len(action), dtype=np.bool_))
        highest = self._produced(np.zeros(len(action), dtype=np.bool_)) + instance.capacity
        expected = following
        period = np.zeros(())
        for item in range(instance.items):
            low, high = int(self.lowest[item]), int(highest[item])
            cost, transition = item_lookahead(instance, item, low, high)
            expected = np.moveaxis(np.tensordot(transition, expected, axes=(1, item)), 0, item)
            period = np.add.outer(period, cost)
        self.expected = expected + period

    def costs_from(self, set_up: Items) -> FloatArray:
        """Costs (*stocks) of taking the action in set-up vector `set_up`, from every stock."""
        switched = (self.action > 0) & (self.action != set_up)
        machines = np.flatnonzero(switched)
        setup_cost = self.instance.setup_cost[machines, self.action[machines] - 1].sum()
        first = self._produced(switched) - self.lowest
        reached = (
            slice(int(f), int(f + c + 1))
            for f, c in zip(first, self.instance.capacity, strict=True)
        )
        return self.expected[tuple(reached)] + setup_cost

    def _produced(self, switched: npt.NDArray[np.bool_]) -> IntArray:
        """Units of each item that the action makes, (I,), where some machines switched to it."""
        produced = np.zeros(self.instance.items, dtype=np.int64)
        for machine in np.flatnonzero(self.action):
            item = self.action[machine] - 1
            produced[item] += self.instance.production[machine, item]
            produced[item] -= self.instance.setup_loss[machine, item] * switched[machine]
        return produced


def _chosen(
    instance: Instance,
    set_ups: Items,
    grid: tuple[int, ...],
    act: Callable[[PlantState], npt.NDArray[np.integer]],
    period: int,
) -> IntArray:
    """The row of `set_ups` that a policy chooses in each state of one period, shape `grid`."""
    chosen = np.empty(prod(grid), dtype=np.int64)
    for start in range(0, len(chosen), _CHUNK):
        state = np.arange(start, min(start + _CHUNK, len(chosen)))
        row, *stocks = np.unravel_index(state, grid)
        asked = PlantState(
            inventory=np.stack(stocks, axis=1).astype(np.int32),
            set_up=set_ups[row],
            period=np.full(len(state), period, dtype=np.int32),
        )
        chosen[state] = _rows(instance, act(asked))
    return chosen.reshape(grid)


def _choices(instance: Instance) -> list[IntArray]:
    """What each machine can do: 0, or an item that it can make."""
    return [np.flatnonzero(np.concatenate([[True], row > 0])) for row in instance.production]


def _set_ups(instance: Instance) -> Items:
    return np.array(list(product(*_choices(instance))), dtype=np.int16)


def _rows(instance: Instance, set_up: npt.NDArray[np.integer]) -> IntArray:
    """The row in `_set_ups` of each set-up vector (n, M)."""
    row = np.zeros(len(set_up), dtype=np.int64)
    for machine, choices in enumerate(_choices(instance)):
        position = np.full(instance.items + 1, -1)
        position[choices] = np.arange(len(choices))
        digit = position[set_up[:, machine]]
        if (digit < 0).any():
            item = int(set_up[:, machine][digit < 0][0])
            raise DataError(f"machine {machine + 1} cannot make item {item} in {instance.name!r}")
        row = row * len(choices) + digit
    return row


def _grid(instance: Instance) -> tuple[int, ...]:
    """The shape of a table over states: set-up vectors, then stocks by item."""
    set_ups = prod(len(choices) for choices in _choices(instance))
    return (set_ups, *(int(capacity) + 1 for capacity in instance.capacity))


def _check_size(
    instance: Instance, grid: tuple[int, ...], *, periods_kept: int, tables: int
) -> None:
    states, actions = prod(grid), grid[0]
    gib = states * (8 * (periods_kept + 3) + 2 * tables * instance.horizon) / 2**30
    if states * actions <= LARGEST_PERIOD and gib <= LARGEST_MEMORY_GIB and actions < 2**16:
        return
    raise DataError(
        f"{instance.name!r} is too large for exact backward induction: {states:.3g} states times"
        f" {actions:.3g} actions, {gib:.3g} GiB; wanted at most {LARGEST_PERIOD:.3g} and"
        f" {LARGEST_MEMORY_GIB:g} GiB. Take fewer items or machines, or a lower capacity"
    )
