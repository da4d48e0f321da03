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
from importlib import import_module
from itertools import pairwise
from types import ModuleType
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from decisions.domains.lotsizing.instance import Instance
from decisions.domains.lotsizing.tables import Setups, Tables, Units, Words, tables_of
from decisions.errors import DataError
from decisions.policy import BoolArray, FloatArray
from decisions.seeds import RowKeys

DEMAND = ("lotsizing", "demand")
RESET = ("lotsizing", "reset")
_KERNELS = {"numba": "stepping", "numpy": "plain_stepping"}


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

    `backend` "numba" compiles at the first call; "numpy" is plain. `threads` share the rows.
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
        chosen = self.choices(action, len(state.inventory), masked=False)
        inventory, set_up = state.inventory.copy(), state.set_up.copy()
        cost = np.empty(len(chosen))
        self.share(self.kernels.apply, (self.tables, chosen), (inventory, set_up, cost))
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
        inventory, lost, holding = post.inventory.copy(), np.empty(n), np.empty(n)
        self.share(self.kernels.advance, (self.tables, units), (inventory, lost, holding))
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
        self.share(self.kernels.demand_of, (self.tables, words), (demand,))
        return demand

    def demand_uniforms(self, episodes: RowKeys, period: npt.NDArray[np.integer[Any]]) -> Words:
        """32 random bits an item, (n, I): a function of seed, episode, period and item alone.

        They are Philox words of the counter (episode low, episode high, period, block of 4 items).
        """
        words = np.empty((len(episodes.rows), self.instance.items), dtype=np.uint32)
        periods = np.ascontiguousarray(period, dtype=np.int32)
        inputs = (episodes.philox_key(*DEMAND), episodes.rows, periods)
        self.share(self.kernels.demand_words, inputs, (words,))
        return words

    def reset(self, episodes: RowKeys) -> PlantState:
        """First states: stock uniform below the capacity, set-ups uniform over what can be made.

        The same for an episode whatever the others are; no machine starts idle.
        """
        n = len(episodes.rows)
        inventory = np.empty((n, self.instance.items), dtype=np.int32)
        set_up = np.empty((n, self.instance.machines), dtype=np.int16)
        inputs = (self.tables, episodes.philox_key(*RESET), episodes.rows)
        state = PlantState(inventory, set_up, np.empty(n, dtype=np.int32))
        self.share(self.kernels.reset, inputs, state)
        return state

    @cached_property
    def tables(self) -> Tables:
        """What the kernels read."""
        return tables_of(self.instance)

    def __reduce__(self) -> tuple[type["Plant"], tuple[object, ...]]:
        """Copies and pickles hold what a plant is made from, neither its threads nor tables."""
        return Plant, (self.instance, self.backend, self.threads)

    @property
    def kernels(self) -> ModuleType:
        """`stepping` or `plain_stepping`; importing numba takes half a second, so only if used."""
        return import_module(f"decisions.domains.lotsizing.{_KERNELS[self.backend]}")

    def share(
        self,
        kernel: Callable[..., None],
        inputs: tuple[object, ...],
        outputs: tuple[npt.NDArray[Any], ...],
    ) -> None:
        """Calls `kernel(*inputs, first, last, *outputs)` for runs of rows, one a thread.

        What counts as a row is an entry of the first output.
        """
        rows = len(outputs[0])
        if self.threads == 1 or rows < 2 * self.threads:
            kernel(*inputs, 0, rows, *outputs)
            return
        bounds = [rows * i // self.threads for i in range(self.threads + 1)]
        runs = [
            self._pool.submit(kernel, *inputs, first, last, *outputs)
            for first, last in pairwise(bounds)
        ]
        for run in runs:
            run.result()

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        """Threads that end with the plant."""
        return ThreadPoolExecutor(self.threads)

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

    def choices(self, action: npt.NDArray[np.generic], n: int, *, masked: bool) -> Setups:
        """`action` as 16-bit items (n, M), each of which its machine can make where `masked`.

        Raises:
            DataError: naming the first row and machine where it is not.
        """
        shape = (n, self.instance.machines)
        if action.shape != shape or not np.issubdtype(action.dtype, np.integer):
            raise DataError(
                f"action has shape {action.shape} of {action.dtype}; wanted integers {shape}, an"
                " item a machine"
            )
        possible = self.mask if masked else np.ones_like(self.mask)
        place = self.kernels.first_refused(possible, action)
        if place >= 0:
            row, machine = divmod(place, self.instance.machines)
            raise DataError(
                f"action[{row}][{machine}] is {action[row, machine]}, outside the mask of machine"
                f" {machine + 1}; wanted one of {np.flatnonzero(possible[machine]).tolist()}"
                " (0 idles)"
            )
        return np.ascontiguousarray(action, dtype=np.int16)


def check_action(plant: Plant, action: npt.NDArray[np.generic]) -> None:
    """Refuses an action (n, M) that holds an item which its machine cannot make.

    Raises:
        DataError: naming the first row and machine.
    """
    plant.choices(action, len(action), masked=True)
