"""The plant's periods as compiled kernels over rows; `plant` holds the same in plain numpy.

Rows are independent and each row sums in one fixed order (machines, then items, from the first),
so results depend neither on the batch nor on how many threads share its rows. A kernel works
without the interpreter's lock: threads are plain ones, as many as the caller says.
"""

from collections.abc import Callable
from typing import TypeVar, cast

import numpy as np
import numpy.typing as npt
from numba import njit

from decisions.domains.lotsizing.tables import Key, Layout, Setups, Tables, Units, Words
from decisions.policy import BoolArray, FloatArray, IntArray
from decisions.rl.environment import Features

LANES = 64  # rows whose random numbers are made together

F = TypeVar("F", bound=Callable[..., object])


def compiled(function: F) -> F:
    """`function` compiled by numba at its first call, kept on disk, and typed as it was written.

    A compiled function that calls another one is not compiled anew when only that one's file
    changes; keep both in one file, or clear `__pycache__`.
    """
    return cast(F, njit(cache=True, nogil=True, error_model="numpy")(function))


@compiled
def random_words(
    key: Key, episode: IntArray, period: Units, first: int, last: int, words: Words, place: int
) -> None:
    """Rows of random words, at `words[place]` and on, for the rows from `first` to `last`.

    Word j is part j % 4 of Philox4x32-10 of the counter (episode low, episode high, period, block
    j // 4). Rows are taken LANES at a time so that the processor does several at once.

    Source: Salmon, Moraes, Dror and Shaw (2011), "Parallel random numbers: as easy as 1, 2, 3".
    """
    low, by, columns = np.uint64(0xFFFFFFFF), np.uint64(32), words.shape[1]
    c0, c1 = np.empty(LANES, np.uint32), np.empty(LANES, np.uint32)
    c2, c3 = np.empty(LANES, np.uint32), np.empty(LANES, np.uint32)
    for start in range(first, last, LANES):
        lanes = min(LANES, last - start)
        for block in range((columns + 3) // 4):
            for lane in range(lanes):
                number = np.uint64(episode[start + lane])
                c0[lane], c1[lane] = np.uint32(number & low), np.uint32(number >> by)
                c2[lane], c3[lane] = np.uint32(period[start + lane]), np.uint32(block)
            k0, k1 = np.uint32(key[0]), np.uint32(key[1])
            for _ in range(10):
                for lane in range(lanes):
                    p0 = np.uint64(0xD2511F53) * np.uint64(c0[lane])
                    p1 = np.uint64(0xCD9E8D57) * np.uint64(c2[lane])
                    c0[lane], c1[lane] = np.uint32(p1 >> by) ^ c1[lane] ^ k0, np.uint32(p1 & low)
                    c2[lane], c3[lane] = np.uint32(p0 >> by) ^ c3[lane] ^ k1, np.uint32(p0 & low)
                k0, k1 = (
                    np.uint32(k0 + np.uint32(0x9E3779B9)),
                    np.uint32(k1 + np.uint32(0xBB67AE85)),
                )
            for lane in range(lanes):
                row, column = place + start - first + lane, 4 * block
                words[row, column] = c0[lane]
                if column + 1 < columns:
                    words[row, column + 1] = c1[lane]
                if column + 2 < columns:
                    words[row, column + 2] = c2[lane]
                if column + 3 < columns:
                    words[row, column + 3] = c3[lane]


@compiled
def units_of(tables: Tables, item: int, word: int) -> int:
    """The demand for an item where `word` falls in its law: how many thresholds it reaches."""
    units = tables.guide[item, word >> 24]
    while word >= tables.thresholds[item, units]:
        units += 1
    return units


@compiled
def decide_row(
    tables: Tables, inventory: Units, set_up: Setups, action: Setups, row: int
) -> float:
    """The decision, in place: what machines add to stock, their set-ups; what switching costs."""
    cost = 0.0
    for machine in range(action.shape[1]):
        item = action[row, machine]
        quantity = tables.production[machine, item]
        if item != 0:
            if set_up[row, machine] != item:
                quantity -= tables.setup_loss[machine, item]
                cost += tables.setup_cost[machine, item]
            inventory[row, item - 1] += np.int32(quantity)
        set_up[row, machine] = item
    return cost


@compiled
def serve_item(
    tables: Tables, inventory: Units, row: int, item: int, demand: int
) -> tuple[float, float]:
    """The chance for one item, in place: what is short is lost, then stock is cut to capacity."""
    left = np.int64(inventory[row, item]) - np.int64(demand)
    kept = min(max(left, 0), tables.capacity[item])
    inventory[row, item] = np.int32(kept)
    return tables.lost_sales_cost[item] * max(-left, 0), tables.holding_cost[item] * kept


@compiled
def start_row(
    tables: Tables, words: Words, place: int, inventory: Units, set_up: Setups, row: int
) -> None:
    """A first state: stock uniform below capacity, set-ups uniform over what can be made."""
    items = inventory.shape[1]
    for item in range(items):
        size = np.uint64(tables.capacity[item])
        inventory[row, item] = np.int32((np.uint64(words[place, item]) * size) >> np.uint64(32))
    for machine in range(set_up.shape[1]):
        size = np.uint64(tables.makeable_count[machine])
        choice = (np.uint64(words[place, items + machine]) * size) >> np.uint64(32)
        set_up[row, machine] = tables.makeable[machine, np.int64(choice)]


@compiled
def observe_row(
    layout: Layout, inventory: Units, set_up: Setups, period: Units, row: int, out: Features
) -> None:
    """Writes a state as numbers into a row of `out`."""
    items, machines, labels = inventory.shape[1], set_up.shape[1], layout.labels
    for item in range(items):
        out[row, item] = inventory[row, item] / layout.stock_scale[item]
    if labels == 1:
        for machine in range(machines):
            out[row, items + machine] = set_up[row, machine] / layout.setup_scale
    elif labels > 1:
        out[row, items : items + machines * labels] = 0
        for machine in range(machines):
            out[row, items + machine * labels + set_up[row, machine]] = 1
    if layout.time_scale > 0:
        out[row, -1] = period[row] / layout.time_scale


@compiled
def first_refused(possible: BoolArray, action: npt.NDArray[np.integer]) -> int:
    """Place, row after row, of the first action that is not `possible` (M, I + 1); -1: none."""
    rows, machines = action.shape
    for row in range(rows):
        for machine in range(machines):
            item = action[row, machine]
            if item < 0 or item >= possible.shape[1] or not possible[machine, item]:
                return row * machines + machine
    return -1


@compiled
def demand_words(
    key: Key, episode: IntArray, period: Units, first: int, last: int, words: Words
) -> None:
    """A random word an item."""
    random_words(key, episode, period, first, last, words, first)


@compiled
def demand_of(tables: Tables, words: Words, first: int, last: int, demand: Units) -> None:
    """Units asked for, of random words."""
    for row in range(first, last):
        for item in range(words.shape[1]):
            demand[row, item] = units_of(tables, item, int(words[row, item]))


@compiled
def apply(
    tables: Tables, action: Setups, first: int, last: int, inventory: Units, set_up: Setups,
    cost: FloatArray,
) -> None:  # fmt: skip
    """Decisions, in place."""
    for row in range(first, last):
        cost[row] = decide_row(tables, inventory, set_up, action, row)


@compiled
def advance(
    tables: Tables, demand: Units, first: int, last: int, inventory: Units, lost: FloatArray,
    holding: FloatArray,
) -> None:  # fmt: skip
    """Demand, in place."""
    for row in range(first, last):
        lost_total, holding_total = 0.0, 0.0
        for item in range(inventory.shape[1]):
            missed, held = serve_item(tables, inventory, row, item, demand[row, item])
            lost_total += missed
            holding_total += held
        lost[row], holding[row] = lost_total, holding_total


@compiled
def reset(
    tables: Tables, key: Key, episode: IntArray, first: int, last: int, inventory: Units,
    set_up: Setups, period: Units,
) -> None:  # fmt: skip
    """First states of episodes."""
    words = np.empty((last - first, inventory.shape[1] + set_up.shape[1]), np.uint32)
    period[first:last] = 0
    random_words(key, episode, period, first, last, words, 0)
    for row in range(first, last):
        start_row(tables, words, row - first, inventory, set_up, row)


@compiled
def observe(
    layout: Layout, inventory: Units, set_up: Setups, period: Units, first: int, last: int,
    out: Features,
) -> None:  # fmt: skip
    """States as numbers."""
    for row in range(first, last):
        observe_row(layout, inventory, set_up, period, row, out)


@compiled
def step(
    tables: Tables,
    layout: Layout,
    demand_key: Key,
    reset_key: Key,
    horizon: int,
    stride: int,
    action: Setups,
    first: int,
    last: int,
    inventory: Units,
    set_up: Setups,
    period: Units,
    episode: IntArray,
    costs: FloatArray,
    reward: FloatArray,
    ended: BoolArray,
    observation: Features,
    final_observation: Features,
) -> None:
    """A whole period, in place: decision, demand, reward, the next episode where one is over.

    Row j's next episode is `stride` after its last one. `costs` (n, 3) are set-up, lost sales and
    holding. Where an episode is over, `final_observation` is what it ended with and `observation`
    what the next one starts with.
    """
    items = inventory.shape[1]
    demand = np.empty((LANES, items), np.uint32)
    start = np.empty((1, items + set_up.shape[1]), np.uint32)
    for row in range(first, last):
        lane = (row - first) % LANES
        if lane == 0:
            random_words(demand_key, episode, period, row, min(row + LANES, last), demand, 0)
        switching = decide_row(tables, inventory, set_up, action, row)
        lost, holding = 0.0, 0.0
        for item in range(items):
            units = units_of(tables, item, int(demand[lane, item]))
            missed, held = serve_item(tables, inventory, row, item, units)
            lost += missed
            holding += held
        costs[row, 0], costs[row, 1], costs[row, 2] = switching, lost, holding
        reward[row] = -(switching + (lost + holding))
        period[row] += 1
        ended[row] = period[row] == horizon
        if ended[row]:
            observe_row(layout, inventory, set_up, period, row, final_observation)
            period[row] = 0
            episode[row] += stride
            random_words(reset_key, episode, period, row, row + 1, start, 0)
            start_row(tables, start, 0, inventory, set_up, row)
        observe_row(layout, inventory, set_up, period, row, observation)
