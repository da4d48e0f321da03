"""The plant's periods as compiled kernels over rows; `plant` holds the same in plain numpy.

Rows are independent and each row sums in one fixed order (machines, then items, from the first),
so results depend neither on the batch nor on how many threads share its rows. A kernel works in
the interpreter's absence (`nogil`): threads are plain ones, as many as the caller says.
"""

from collections.abc import Callable
from typing import TypeVar, cast

import numpy as np
import numpy.typing as npt
from numba import njit

from decisions.policy import FloatArray, IntArray

Units = npt.NDArray[np.int32]
Setups = npt.NDArray[np.int16]
Words = npt.NDArray[np.uint32]

F = TypeVar("F", bound=Callable[..., object])


def compiled(function: F) -> F:
    """`function` compiled by numba at its first call, kept on disk, and typed as it was written.

    A compiled function that calls another one is not compiled anew when only that one's file
    changes; keep both in one file, or clear `__pycache__`.
    """
    return cast(F, njit(cache=True, nogil=True, error_model="numpy")(function))


@compiled
def philox_block(
    c0: np.uint64, c1: np.uint64, c2: np.uint64, c3: np.uint64, k0: np.uint64, k1: np.uint64
) -> tuple[np.uint64, np.uint64, np.uint64, np.uint64]:
    """Philox4x32-10 of one counter: four 32-bit words held in 64 bits.

    Source: Salmon, Moraes, Dror and Shaw (2011), "Parallel random numbers: as easy as 1, 2, 3".
    """
    low, by = np.uint64(0xFFFFFFFF), np.uint64(32)
    for _ in range(10):
        p0 = np.uint64(0xD2511F53) * c0
        p1 = np.uint64(0xCD9E8D57) * c2
        c0, c1 = (p1 >> by) ^ c1 ^ k0, p1 & low
        c2, c3 = (p0 >> by) ^ c3 ^ k1, p0 & low
        k0 = (k0 + np.uint64(0x9E3779B9)) & low
        k1 = (k1 + np.uint64(0xBB67AE85)) & low
    return c0, c1, c2, c3


@compiled
def random_words(
    key: tuple[int, int], episode: IntArray, period: Units, first: int, last: int, words: Words
) -> None:
    """Fills `words[first:last]`: word j is part j % 4 of block j // 4 of (episode, period)."""
    columns = words.shape[1]
    k0, k1 = np.uint64(key[0]), np.uint64(key[1])
    for row in range(first, last):
        low = np.uint64(episode[row]) & np.uint64(0xFFFFFFFF)
        high = np.uint64(episode[row]) >> np.uint64(32)
        for block in range((columns + 3) // 4):
            word = philox_block(low, high, np.uint64(period[row]), np.uint64(block), k0, k1)
            for part in range(min(4, columns - 4 * block)):
                words[row, 4 * block + part] = np.uint32(word[part])


@compiled
def demand_of(
    words: Words, thresholds: IntArray, guide: Units, first: int, last: int, demand: Units
) -> None:
    """Inverse of the demand laws: how many of an item's thresholds a word reaches, by item."""
    for row in range(first, last):
        for item in range(words.shape[1]):
            word = np.int64(words[row, item])
            units = guide[item, word >> 24]
            while word >= thresholds[item, units]:
                units += 1
            demand[row, item] = units


@compiled
def apply(
    production: IntArray,  # (M, I + 1), idling first
    setup_cost: FloatArray,
    setup_loss: IntArray,
    inventory: Units,
    set_up: Setups,
    action: Setups,
    first: int,
    last: int,
    next_inventory: Units,
    next_set_up: Setups,
    cost: FloatArray,
) -> None:
    """The decision: what machines add to stock, their set-ups, and what switching costs."""
    for row in range(first, last):
        next_inventory[row] = inventory[row]
        total = 0.0
        for machine in range(action.shape[1]):
            item = action[row, machine]
            next_set_up[row, machine] = item
            if item == 0:
                continue
            quantity = production[machine, item]
            if set_up[row, machine] != item:
                quantity -= setup_loss[machine, item]
                total += setup_cost[machine, item]
            next_inventory[row, item - 1] += np.int32(quantity)
        cost[row] = total


@compiled
def advance(
    capacity: IntArray,
    lost_sales_cost: FloatArray,
    holding_cost: FloatArray,
    inventory: Units,
    demand: Units,
    first: int,
    last: int,
    next_inventory: Units,
    lost: FloatArray,
    holding: FloatArray,
) -> None:
    """The chance: demand is served, what is short is lost, then stock is cut to the capacity."""
    for row in range(first, last):
        lost_total, holding_total = 0.0, 0.0
        for item in range(inventory.shape[1]):
            left = np.int64(inventory[row, item]) - np.int64(demand[row, item])
            short = max(-left, 0)
            kept = min(max(left, 0), capacity[item])
            lost_total += lost_sales_cost[item] * short
            holding_total += holding_cost[item] * kept
            next_inventory[row, item] = np.int32(kept)
        lost[row] = lost_total
        holding[row] = holding_total


@compiled
def observe(
    stock_scale: FloatArray,  # these four as in `environment.Layout`
    labels: int,
    setup_scale: float,
    time_scale: float,
    inventory: Units,
    set_up: Setups,
    period: Units,
    first: int,
    last: int,
    observation: npt.NDArray[np.float32],
) -> None:
    """Stock, set-ups machine after machine, and time, as numbers of order 1."""
    items, machines = inventory.shape[1], set_up.shape[1]
    for row in range(first, last):
        for item in range(items):
            observation[row, item] = inventory[row, item] / stock_scale[item]
        if labels == 1:
            for machine in range(machines):
                observation[row, items + machine] = set_up[row, machine] / setup_scale
        elif labels > 1:
            observation[row, items : items + machines * labels] = 0
            for machine in range(machines):
                observation[row, items + machine * labels + set_up[row, machine]] = 1
        if time_scale > 0:
            observation[row, -1] = period[row] / time_scale
