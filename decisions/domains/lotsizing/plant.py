"""A plant in operation: the exact order of events in a period, for n plants at once.

A decision comes first and is free of noise (`Plant.apply`): each machine idles, which forgets its
set-up, or makes an item; a switch costs money and units. What it leaves is the post-decision
state, whose stock may be negative or above capacity. Then demand arrives (`Plant.advance`): what
stock cannot serve is lost, the rest is cut to the capacity without charge, and what is kept is
held at a cost.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from types import ModuleType
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from decisions.domains.lotsizing.instance import Instance
from decisions.errors import DataError
from decisions.policy import BoolArray, FloatArray, IntArray
from decisions.seeds import RowKeys, philox

Units = npt.NDArray[np.int32]
Setups = npt.NDArray[np.int16]
Words = npt.NDArray[np.uint32]

DEMAND = ("lotsizing", "demand")
RESET = ("lotsizing", "reset")


class PlantState(NamedTuple):
    """n plants before a decision."""

    inventory: Units  # (n, I), 0 to capacity
    set_up: Setups  # (n, M), item 1 to I a machine is set up for; 0: none
    period: Units  # (n,), periods lived


class PostState(NamedTuple):
    """n plants after a decision and before demand."""

    inventory: Units  # (n, I), may be negative or above capacity
    set_up: Setups  # (n, M)
    period: Units  # (n,), of the decision


@dataclass(frozen=True, eq=False)
class Plant:
    """The kernels of one instance. Both backends give the same bits, whatever the threads.

    `backend` "numba" compiles at the first call; "numpy" is plain. `threads` share the rows of
    the compiled one.
    """

    instance: Instance
    backend: Literal["numba", "numpy"] = "numba"
    threads: int = 1

    @cached_property
    def mask(self) -> BoolArray:
        """Whether a machine can make an item, (M, I + 1), idling first and always possible."""
        return np.pad(self.instance.production > 0, ((0, 0), (1, 0)), constant_values=True)

    def apply(
        self, state: PlantState, action: npt.NDArray[np.generic]
    ) -> tuple[PostState, FloatArray]:
        """Post-decision states, and what switching costs (n,). `action` (n, M) holds 0 to I.

        An item that its machine cannot make is computed as the source does: it pays the switch
        and only loses units. `check_action` refuses it.

        Raises:
            DataError: an action is no item, or of another shape.
        """
        chosen = self._choices(action, len(state.inventory))
        inventory, set_up = np.empty_like(state.inventory), np.empty_like(state.set_up)
        cost = np.empty(len(chosen))
        tables = (self._production, self._setup_cost, self._setup_loss)
        if self.backend == "numba":
            inputs = (*tables, state.inventory, state.set_up, chosen)
            self._share(_kernels().apply, inputs, (inventory, set_up, cost))
        else:
            inventory, cost = _apply(*tables, state, chosen)
            set_up = chosen.copy()
        return PostState(inventory, set_up, state.period), cost

    def advance(
        self, post: PostState, uniforms: Words
    ) -> tuple[PlantState, FloatArray, FloatArray]:
        """Next states, lost-sales costs (n,) and holding costs (n,), under `demand(uniforms)`."""
        return self.advance_with(post, self.demand(uniforms))

    def advance_with(
        self, post: PostState, demand: npt.NDArray[np.integer[Any]]
    ) -> tuple[PlantState, FloatArray, FloatArray]:
        """Next states, lost-sales costs (n,) and holding costs (n,), under a demand (n, I)."""
        n = len(post.inventory)
        if demand.shape != post.inventory.shape:
            raise DataError(f"demand has shape {demand.shape}; wanted {post.inventory.shape}")
        units = np.ascontiguousarray(demand, dtype=np.int32)
        inventory, lost, holding = np.empty_like(post.inventory), np.empty(n), np.empty(n)
        instance = self.instance
        costs = (instance.capacity, instance.lost_sales_cost, instance.holding_cost)
        if self.backend == "numba":
            inputs = (*costs, post.inventory, units)
            self._share(_kernels().advance, inputs, (inventory, lost, holding))
        else:
            inventory, lost, holding = _advance(*costs, post.inventory, units)
        state = PlantState(inventory, post.set_up.copy(), post.period + np.int32(1))
        return state, lost, holding

    def expected_costs(self, post: PostState) -> tuple[FloatArray, FloatArray]:
        """Means over demand of the lost-sales and the holding costs, exact, (n,) each."""
        lost_table, holding_table = self._expected
        last = lost_table.shape[1] - 1
        stock = post.inventory
        lost, holding = np.zeros(len(stock)), np.zeros(len(stock))
        for item, price in enumerate(self.instance.lost_sales_cost):
            place = np.clip(stock[:, item], 0, last)
            lost += lost_table[item, place] + price * np.maximum(-stock[:, item], 0)
            holding += holding_table[item, place]
        return lost, holding

    def demand(self, uniforms: Words) -> Units:
        """Units asked for, (n, I), where `uniforms` (n, I) fall in the items' demand laws."""
        words = np.ascontiguousarray(uniforms, dtype=np.uint32)
        demand = np.empty(words.shape, dtype=np.int32)
        if self.backend == "numba":
            self._share(_kernels().demand_of, (words, self.thresholds, self.guide), (demand,))
        else:
            for item, thresholds in enumerate(self.thresholds):
                demand[:, item] = np.searchsorted(thresholds, words[:, item], side="right")
        return demand

    def demand_uniforms(self, episodes: RowKeys, period: npt.NDArray[np.integer[Any]]) -> Words:
        """32 random bits an item, (n, I): a function of seed, episode, period and item alone."""
        return self._words(episodes, DEMAND, period, self.instance.items)

    def reset(self, episodes: RowKeys) -> PlantState:
        """First states: stock uniform below the capacity, set-ups uniform over what can be made.

        The same for an episode whatever the others are; no machine starts idle.
        """
        items = self.instance.items
        columns = items + self.instance.machines
        start = np.zeros(len(episodes.rows), dtype=np.int32)
        words = self._words(episodes, RESET, start, columns).astype(np.uint64)
        sizes = np.concatenate([self.instance.capacity, self.makeable_count]).astype(np.uint64)
        index = ((words * sizes) >> np.uint64(32)).astype(np.int64)  # of a uniform choice
        set_up = self.makeable[np.arange(self.instance.machines), index[:, items:]]
        return PlantState(index[:, :items].astype(np.int32), set_up, start)

    @cached_property
    def thresholds(self) -> IntArray:
        """P(demand <= d) in units of 2^-32, (I, K); from the last possible demand on, 2^32."""
        law = self.instance.demand
        reached = np.rint(np.cumsum(law, axis=1) * 2.0**32).astype(np.int64)
        for row, chances in zip(reached, law, strict=True):
            row[np.flatnonzero(chances)[-1] :] = 2**32
        return np.minimum(reached, 2**32)

    @cached_property
    def guide(self) -> Units:
        """The smallest demand of a word whose upper 8 bits are given, (I, 256)."""
        starts = np.arange(256, dtype=np.int64) << 24
        rows = [np.searchsorted(row, starts, side="right") for row in self.thresholds]
        return np.array(rows, dtype=np.int32)

    @cached_property
    def makeable_count(self) -> IntArray:
        """How many items a machine can make, (M,)."""
        return self.mask[:, 1:].sum(axis=1)

    @cached_property
    def makeable(self) -> Setups:
        """The items 1 to I that a machine can make, (M, I), ascending, then zeros."""
        items = np.where(self.mask[:, 1:], np.arange(1, self.instance.items + 1), 0)
        order = np.argsort(items == 0, axis=1, kind="stable")
        return np.take_along_axis(items, order, axis=1).astype(np.int16)

    @cached_property
    def _production(self) -> IntArray:
        return np.pad(self.instance.production, ((0, 0), (1, 0)))

    @cached_property
    def _setup_cost(self) -> FloatArray:
        return np.pad(self.instance.setup_cost, ((0, 0), (1, 0)))

    @cached_property
    def _setup_loss(self) -> IntArray:
        return np.pad(self.instance.setup_loss, ((0, 0), (1, 0)))

    @cached_property
    def _expected(self) -> tuple[FloatArray, FloatArray]:
        """Mean costs by item and post-decision stock 0 to the largest that still matters."""
        instance = self.instance
        last = int(instance.capacity.max()) + instance.demand.shape[1]
        stock = np.arange(last, dtype=np.int64)
        lost = np.zeros((instance.items, last))
        held = np.zeros_like(lost)
        for demand, chance in enumerate(instance.demand.T):
            left = stock - demand
            lost += chance[:, None] * np.maximum(-left, 0)
            held += chance[:, None] * np.clip(left, 0, instance.capacity[:, None])
        return lost * instance.lost_sales_cost[:, None], held * instance.holding_cost[:, None]

    def _choices(self, action: npt.NDArray[np.generic], n: int) -> Setups:
        """`action` as (n, M) 16-bit items, within range."""
        shape = (n, self.instance.machines)
        if action.shape != shape or not np.issubdtype(action.dtype, np.integer):
            raise DataError(
                f"action has shape {action.shape} of {action.dtype}; wanted integers {shape}, an"
                " item a machine"
            )
        items = self.instance.items
        if n and (action.min() < 0 or action.max() > items):
            raise DataError(
                f"action goes from {action.min()} to {action.max()}; wanted items 1 to {items},"
                " or 0 to idle"
            )
        return np.ascontiguousarray(action, dtype=np.int16)

    def _words(
        self,
        episodes: RowKeys,
        purpose: tuple[str, ...],
        period: npt.NDArray[np.integer[Any]],
        columns: int,
    ) -> Words:
        """Random words (n, columns), of counters (episode low, episode high, period, block)."""
        key = episodes.philox_key(*purpose)
        periods = np.ascontiguousarray(period, dtype=np.int32)
        if self.backend == "numba":
            words = np.empty((len(periods), columns), dtype=np.uint32)
            self._share(_kernels().random_words, (key, episodes.rows, periods), (words,))
            return words
        blocks = (columns + 3) // 4
        counter = np.empty((len(periods), blocks, 4), dtype=np.uint64)
        counter[:, :, 0] = (episodes.rows & 0xFFFFFFFF)[:, None]
        counter[:, :, 1] = (episodes.rows >> 32)[:, None]
        counter[:, :, 2] = periods[:, None]
        counter[:, :, 3] = np.arange(blocks)
        words = philox(counter.reshape(-1, 4), key).reshape(len(periods), 4 * blocks)
        return words[:, :columns].astype(np.uint32)

    def _share(
        self,
        kernel: Callable[..., None],
        inputs: tuple[object, ...],
        outputs: tuple[npt.NDArray[Any], ...],
    ) -> None:
        """Runs a compiled kernel over all rows of its outputs, a run of rows a thread."""
        share_rows(kernel, inputs, outputs, rows=len(outputs[0]), threads=self.threads)


def share_rows(
    kernel: Callable[..., None],
    inputs: tuple[object, ...],
    outputs: tuple[object, ...],
    *,
    rows: int,
    threads: int,
) -> None:
    """Calls `kernel(*inputs, first, last, *outputs)` for runs of rows, one a thread."""
    if threads == 1 or rows < 2 * threads:
        kernel(*inputs, 0, rows, *outputs)
        return
    bounds = [rows * i // threads for i in range(threads + 1)]
    with ThreadPoolExecutor(threads) as pool:
        runs = [
            pool.submit(kernel, *inputs, first, last, *outputs) for first, last in pairwise(bounds)
        ]
    for run in runs:
        run.result()


def check_action(plant: Plant, action: npt.NDArray[np.generic]) -> None:
    """Refuses an action (n, M) that holds an item which its machine cannot make.

    Raises:
        DataError: naming the first row and machine.
    """
    chosen = plant._choices(action, len(action))  # pyright: ignore[reportPrivateUsage]
    possible = plant.mask[np.arange(plant.instance.machines), chosen]
    if not possible.all():
        row, machine = (int(i) for i in np.argwhere(~possible)[0])
        can = np.flatnonzero(plant.mask[machine]).tolist()
        raise DataError(
            f"action[{row}][{machine}] is {int(chosen[row, machine])}, outside the mask: machine"
            f" {machine + 1} cannot make that item; wanted one of {can} (0 idles)"
        )


def _kernels() -> ModuleType:
    """The compiled kernels; importing numba takes half a second, so only where they are used."""
    from decisions.domains.lotsizing import stepping

    return stepping


def _apply(
    production: IntArray,
    setup_cost: FloatArray,
    setup_loss: IntArray,
    state: PlantState,
    action: Setups,
) -> tuple[Units, FloatArray]:
    """`stepping.apply` in plain numpy, machine after machine."""
    inventory, cost = state.inventory.copy(), np.zeros(len(action))
    for machine in range(action.shape[1]):
        item = action[:, machine]
        switch = (item != 0) & (item != state.set_up[:, machine])
        quantity = production[machine, item] - np.where(switch, setup_loss[machine, item], 0)
        cost += np.where(switch, setup_cost[machine, item], 0.0)
        busy = np.flatnonzero(item)
        inventory[busy, item[busy] - 1] += quantity[busy].astype(np.int32)
    return inventory, cost


def _advance(
    capacity: IntArray,
    lost_sales_cost: FloatArray,
    holding_cost: FloatArray,
    inventory: Units,
    demand: Units,
) -> tuple[Units, FloatArray, FloatArray]:
    """`stepping.advance` in plain numpy, item after item."""
    left = inventory.astype(np.int64) - demand
    kept = np.minimum(np.maximum(left, 0), capacity)
    lost, holding = np.zeros(len(left)), np.zeros(len(left))
    for item in range(left.shape[1]):
        lost += lost_sales_cost[item] * np.maximum(-left[:, item], 0)
        holding += holding_cost[item] * kept[:, item]
    return kept.astype(np.int32), lost, holding
