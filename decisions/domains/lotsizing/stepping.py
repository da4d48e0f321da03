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

from decisions.domains.lotsizing.tables import LANES, Key, Layout, Setups, Tables, Units, Words
from decisions.policy import BoolArray, FloatArray, IntArray
from decisions.rl.environment import Features

F = TypeVar("F", bound=Callable[..., object])


def compiled(function: F) -> F:
    """`function` compiled by numba at its first call, kept on disk, and typed as it was written.

    A compiled function that calls another one is not compiled anew when only that one's file
    changes; keep both in one file, or clear `__pycache__`.
    """
    return cast(F, njit(cache=True, nogil=True, error_model="numpy")(function))


def inlined(function: F) -> F:
    """`function` for compiled ones alone, as if it were written where it is called.

    A call passes every array of a named tuple and counts its references, which costs more than
    what a lookup does.
    """
    return cast(F, njit(inline="always", nogil=True, error_model="numpy")(function))


@compiled
def random_words(
    key: Key, episode: IntArray, period: Units, first: int, last: int, words: Words, place: int
) -> None:
    """Random words of the rows from `first` to `last`, in the columns of `words` from `place` on.

    Word j is part j % 4 of Philox4x32-10 of the counter (episode low, episode high, period, block
    j // 4). Rows are taken LANES at a time so that the processor does several at once.

    Source: Salmon, Moraes, Dror and Shaw (2011), "Parallel random numbers: as easy as 1, 2, 3".
    """
    low, by, count = np.uint64(0xFFFFFFFF), np.uint64(32), words.shape[0]
    part = np.empty((4, LANES), np.uint32)
    c0, c1, c2, c3 = part[0], part[1], part[2], part[3]
    for start in range(first, last, LANES):
        lanes = min(LANES, last - start)
        for block in range((count + 3) // 4):
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
                k0 = np.uint32(k0 + np.uint32(0x9E3779B9))
                k1 = np.uint32(k1 + np.uint32(0xBB67AE85))
            column = place + start - first
            for word in range(4 * block, min(4 * block + 4, count)):
                for lane in range(lanes):
                    words[word, column + lane] = part[word - 4 * block, lane]


@compiled
def units_of(guide: Setups, thresholds: IntArray, word: np.uint32) -> int:
    """The demand where `word` falls in an item's law: how many thresholds it reaches."""
    units = guide[word >> np.uint32(24)]
    while np.int64(word) >= thresholds[np.uint64(units)]:
        units += np.int16(1)
    return units


@compiled
def decide(
    tables: Tables, action: Setups, row: int, inventory: Units, place: int, set_up: Setups
) -> float:
    """A row's decision, in place: stock and set-ups; what switching costs. Stock is at `place`."""
    cost = 0.0
    for machine in range(action.shape[1]):
        item = action[row, machine]
        quantity = tables.production[machine, item]
        if item != 0:
            if set_up[row, machine] != item:
                quantity -= tables.setup_loss[machine, item]
                cost += tables.setup_cost[machine, item]
            inventory[place, item - 1] += np.int32(quantity)
        set_up[row, machine] = item
    return cost


@compiled
def serve(
    stock: np.int32, demand: np.int32, capacity: np.int32, lost_cost: float, holding_cost: float
) -> tuple[np.int32, float, float]:
    """The chance for one item: what is short is lost, then stock is cut to capacity and held."""
    left = np.int32(stock - demand)
    kept = min(max(left, np.int32(0)), capacity)
    return kept, lost_cost * max(np.int32(-left), np.int32(0)), holding_cost * kept


@compiled
def start(
    tables: Tables, words: Words, column: int, inventory: Units, place: int, set_up: Setups,
    row: int,
) -> None:  # fmt: skip
    """A first state: stock uniform below capacity, set-ups uniform over what can be made."""
    items = inventory.shape[1]
    for item in range(items):
        size = np.uint64(tables.capacity[item])
        drawn = (np.uint64(words[item, column]) * size) >> np.uint64(32)
        inventory[place, item] = np.int32(drawn)
    for machine in range(set_up.shape[1]):
        size = np.uint64(tables.makeable_count[machine])
        drawn = (np.uint64(words[items + machine, column]) * size) >> np.uint64(32)
        set_up[row, machine] = tables.makeable[machine, np.int64(drawn)]


@compiled
def show_rest(
    layout: Layout, items: int, set_up: Setups, period: Units, row: int, out: Features
) -> None:
    """Writes a state into a row of `out`, but for stock and the one-hot code of its set-ups."""
    if layout.labels == 1:
        for machine in range(set_up.shape[1]):
            out[row, items + machine] = set_up[row, machine] * layout.setup_unit
    if layout.time_unit > 0:
        out[row, out.shape[1] - 1] = period[row] * layout.time_unit


@compiled
def show(
    layout: Layout, inventory: Units, place: int, set_up: Setups, period: Units, row: int,
    out: Features,
) -> None:  # fmt: skip
    """Writes a state into a row of `out`, but for the one-hot code of its set-ups."""
    for item in range(inventory.shape[1]):
        out[row, item] = inventory[place, item] * layout.stock_unit[item]
    show_rest(layout, inventory.shape[1], set_up, period, row, out)


@compiled
def mark(
    layout: Layout, items: int, set_up: Setups, row: int, value: float, out: Features
) -> None:
    """Writes `value` where the one-hot code of a row's set-ups has its ones."""
    if layout.labels > 1:
        for machine in range(set_up.shape[1]):
            out[row, items + machine * layout.labels + set_up[row, machine]] = value


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
    random_words(key, episode, period, first, last, words.T, first)


@compiled
def demand_of(tables: Tables, words: Words, first: int, last: int, demand: Units) -> None:
    """Units asked for, of random words."""
    for row in range(first, last):
        for item in range(words.shape[1]):
            guide, thresholds = tables.guide[item], tables.thresholds[item]
            demand[row, item] = units_of(guide, thresholds, words[row, item])


@compiled
def apply(
    tables: Tables, action: Setups, first: int, last: int, inventory: Units, set_up: Setups,
    cost: FloatArray,
) -> None:  # fmt: skip
    """Decisions, in place."""
    for row in range(first, last):
        cost[row] = decide(tables, action, row, inventory, row, set_up)


@compiled
def advance(
    tables: Tables, demand: Units, first: int, last: int, inventory: Units, lost: FloatArray,
    holding: FloatArray,
) -> None:  # fmt: skip
    """Demand, in place."""
    for row in range(first, last):
        lost[row], holding[row] = 0.0, 0.0
        for item in range(inventory.shape[1]):
            inventory[row, item], missed, held = serve(
                inventory[row, item],
                demand[row, item],
                np.int32(tables.capacity[item]),
                tables.lost_sales_cost[item],
                tables.holding_cost[item],
            )
            lost[row] += missed
            holding[row] += held


@compiled
def reset(
    tables: Tables, key: Key, episode: IntArray, first: int, last: int, inventory: Units,
    set_up: Setups, period: Units,
) -> None:  # fmt: skip
    """First states of episodes."""
    words = np.empty((inventory.shape[1] + set_up.shape[1], last - first), np.uint32)
    period[first:last] = 0
    random_words(key, episode, period, first, last, words, 0)
    for row in range(first, last):
        start(tables, words, row - first, inventory, row, set_up, row)


@compiled
def observe(
    layout: Layout, inventory: Units, set_up: Setups, period: Units, first: int, last: int,
    out: Features,
) -> None:  # fmt: skip
    """States as numbers."""
    for row in range(first, last):
        out[row] = 0
        show(layout, inventory, row, set_up, period, row, out)
        mark(layout, inventory.shape[1], set_up, row, 1.0, out)


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
    tiles: Units,
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

    `first` and `last` count tiles: `tiles` (tiles, I, LANES) holds the stock of LANES rows item
    by item, so that the processor serves several rows at once. Row j's next episode is `stride`
    after its last one. `costs` (n, 3) are set-up, lost sales and holding. `observation` comes in
    as that of the state. Where an episode is over, `final_observation` is what it ended with and
    `observation` what the next one starts with.
    """
    items = tiles.shape[1]
    words, units = np.empty((items, LANES), np.uint32), np.empty(LANES, np.int32)
    start_words = np.empty((items + set_up.shape[1], 1), np.uint32)
    lost, holding = np.empty(LANES), np.empty(LANES)
    shown = np.empty((items, LANES), np.float32)
    for tile in range(first, last):
        top, stock = tile * LANES, tiles[tile]
        lanes = min(LANES, len(episode) - top)
        random_words(demand_key, episode, period, top, top + lanes, words, 0)
        for lane in range(lanes):
            mark(layout, items, set_up, top + lane, 0.0, observation)
            costs[top + lane, 0] = decide(tables, action, top + lane, stock.T, lane, set_up)
        lost[:], holding[:] = 0.0, 0.0
        for item in range(items):
            guide, thresholds = tables.guide[item], tables.thresholds[item]
            for lane in range(lanes):
                units[lane] = units_of(guide, thresholds, words[item, lane])
            capacity = np.int32(tables.capacity[item])
            lost_cost, holding_cost = tables.lost_sales_cost[item], tables.holding_cost[item]
            stock_unit = layout.stock_unit[item]
            for lane in range(lanes):
                stock[item, lane], missed, held = serve(
                    stock[item, lane], units[lane], capacity, lost_cost, holding_cost
                )
                lost[lane] += missed
                holding[lane] += held
                shown[item, lane] = stock[item, lane] * stock_unit
        for lane in range(lanes):
            row = top + lane
            costs[row, 1], costs[row, 2] = lost[lane], holding[lane]
            reward[row] = -(costs[row, 0] + (lost[lane] + holding[lane]))
            period[row] += 1
            ended[row] = period[row] == horizon
            if ended[row]:
                final_observation[row] = 0
                show(layout, stock.T, lane, set_up, period, row, final_observation)
                mark(layout, items, set_up, row, 1.0, final_observation)
                period[row] = 0
                episode[row] += stride
                random_words(reset_key, episode, period, row, row + 1, start_words, 0)
                start(tables, start_words, 0, stock.T, lane, set_up, row)
                for item in range(items):
                    shown[item, lane] = stock[item, lane] * layout.stock_unit[item]
            for item in range(items):
                observation[row, item] = shown[item, lane]
            show_rest(layout, items, set_up, period, row, observation)
            mark(layout, items, set_up, row, 1.0, observation)
