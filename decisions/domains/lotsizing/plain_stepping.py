"""`stepping` without a compiler: the same kernels, row by row the same bits, in plain numpy."""

from typing import Any

import numpy as np
import numpy.typing as npt

from decisions.domains.lotsizing.tables import (
    LANES,
    Key,
    Layout,
    Setups,
    Tables,
    Units,
    Words,
    rows_of,
    tiles_of,
)
from decisions.policy import BoolArray, FloatArray, IntArray
from decisions.rl.environment import Features
from decisions.seeds import random_words


def first_refused(possible: BoolArray, action: npt.NDArray[np.integer[Any]]) -> int:
    """Place, row after row, of the first action that is not `possible` (M, I + 1); -1: none."""
    machines, items = possible.shape
    known = (action >= 0) & (action < items)
    refused = ~(known & possible[np.arange(machines), np.where(known, action, 0)])
    return int(np.argmax(refused)) if refused.any() else -1


def demand_words(
    key: Key, episode: IntArray, period: Units, first: int, last: int, words: Words
) -> None:
    """A word an item."""
    words[first:last] = random_words(
        key, episode[first:last], period[first:last], columns=words.shape[1]
    )


def demand_of(tables: Tables, words: Words, first: int, last: int, demand: Units) -> None:
    """Units asked for, of random words."""
    for item, thresholds in enumerate(tables.thresholds):
        demand[first:last, item] = np.searchsorted(thresholds, words[first:last, item], "right")


def apply(
    tables: Tables, action: Setups, first: int, last: int, inventory: Units, set_up: Setups,
    cost: FloatArray,
) -> None:  # fmt: skip
    """Decisions, in place, machine after machine."""
    stock, chosen, total = inventory[first:last], action[first:last], cost[first:last]
    total[:] = 0.0
    for machine in range(action.shape[1]):
        item = chosen[:, machine]
        switch = (item != 0) & (item != set_up[first:last, machine])
        loss = np.where(switch, tables.setup_loss[machine, item], 0)
        quantity = tables.production[machine, item] - loss
        total += np.where(switch, tables.setup_cost[machine, item], 0.0)
        busy = np.flatnonzero(item)
        stock[busy, item[busy] - 1] += quantity[busy].astype(np.int32)
    set_up[first:last] = chosen


def advance(
    tables: Tables, demand: Units, first: int, last: int, inventory: Units, lost: FloatArray,
    holding: FloatArray,
) -> None:  # fmt: skip
    """Demand, in place, item after item."""
    left = inventory[first:last].astype(np.int64) - demand[first:last]
    kept = np.minimum(np.maximum(left, 0), tables.capacity)
    lost[first:last] = 0.0
    holding[first:last] = 0.0
    for item in range(left.shape[1]):
        lost[first:last] += tables.lost_sales_cost[item] * np.maximum(-left[:, item], 0)
        holding[first:last] += tables.holding_cost[item] * kept[:, item]
    inventory[first:last] = kept


def reset(
    tables: Tables, key: Key, episode: IntArray, first: int, last: int, inventory: Units,
    set_up: Setups, period: Units,
) -> None:  # fmt: skip
    """First states of episodes."""
    items, machines = inventory.shape[1], set_up.shape[1]
    period[first:last] = 0
    words = random_words(key, episode[first:last], period[first:last], columns=items + machines)
    sizes = np.concatenate([tables.capacity, tables.makeable_count]).astype(np.uint64)
    choice = ((words * sizes) >> np.uint64(32)).astype(np.int64)
    inventory[first:last] = choice[:, :items]
    set_up[first:last] = tables.makeable[np.arange(machines), choice[:, items:]]


def observe(
    layout: Layout, inventory: Units, set_up: Setups, period: Units, first: int, last: int,
    out: Features,
) -> None:  # fmt: skip
    """States as numbers."""
    rows = slice(first, last)
    parts: list[npt.NDArray[np.floating[Any]]] = [inventory[rows] * layout.stock_unit]
    if layout.labels == 1:
        parts.append(set_up[rows] * layout.setup_unit)
    elif layout.labels > 1:
        codes = set_up[rows, :, None] == np.arange(layout.labels)
        parts.append(codes.reshape(last - first, -1).astype(np.float64))
    if layout.time_unit > 0:
        parts.append((period[rows] * layout.time_unit)[:, None])
    out[rows] = np.concatenate(parts, axis=1)


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
    """A whole period, in place, as `stepping.step`; `first` and `last` count tiles."""
    top, end = first * LANES, min(last * LANES, len(episode))
    inventory = rows_of(tiles, len(episode))
    words = np.empty(inventory.shape, dtype=np.uint32)
    demand = np.empty(inventory.shape, dtype=np.int32)
    apply(tables, action, top, end, inventory, set_up, costs[:, 0])
    demand_words(demand_key, episode, period, top, end, words)
    demand_of(tables, words, top, end, demand)
    advance(tables, demand, top, end, inventory, costs[:, 1], costs[:, 2])
    switching, lost, holding = costs[top:end].T
    reward[top:end] = -(switching + (lost + holding))
    period[top:end] += 1
    ended[top:end] = period[top:end] == horizon
    for row in (top + np.flatnonzero(ended[top:end])).tolist():
        observe(layout, inventory, set_up, period, row, row + 1, final_observation)
        episode[row] += stride
        reset(tables, reset_key, episode, row, row + 1, inventory, set_up, period)
    observe(layout, inventory, set_up, period, top, end, observation)
    tiles[first:last] = tiles_of(inventory[top:end])
