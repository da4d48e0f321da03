"""What machines make next under the rotations, and what that costs, compiled.

Callers and callees are in one file: numba's cache on disk looks at a function's own file alone.
"""

import numpy as np

from decisions.domains.lotsizing.improved_rotation import Rule
from decisions.domains.lotsizing.stepping import compiled
from decisions.domains.lotsizing.tables import Setups, Units
from decisions.policy import BoolArray, FloatArray, IntArray


@compiled
def next_item(inventory: Units, members: Setups, current: int, low: int, gap: int) -> int:
    """What one machine makes next: an item of `members` (filled up with 0), or 0."""
    lowest = members[0]
    if lowest == 0:
        return 0
    here = lowest == current
    for j in range(1, len(members)):
        item = members[j]
        if item == 0:
            break
        here |= item == current
        if inventory[item - 1] < inventory[lowest - 1]:
            lowest = item
    if not here:
        return lowest
    short = inventory[lowest - 1]
    return lowest if short < low and inventory[current - 1] > short + gap else current


@compiled
def next_items(
    inventory: Units, set_up: Setups, members: Setups, low: int, gap: int, action: Setups
) -> None:
    """What every machine makes next, for every row of `inventory`."""
    for row in range(len(inventory)):
        for machine in range(len(members)):
            action[row, machine] = next_item(
                inventory[row], members[machine], set_up[row, machine], low, gap
            )


@compiled
def best_matching(saving: FloatArray, column: IntArray) -> None:
    """Writes to `column` (n,) the column of each row of `saving` (n, m), or -1 for none.

    A column serves one row at most, and a row need not have one; a saving below 0 is never taken.
    Rows are added one by one along a cheapest augmenting path.

    Source: Kuhn (1955); Jonker and Volgenant (1987), "A shortest augmenting path algorithm for
    dense and sparse linear assignment problems". Columns m to m + n - 1 stand for none.
    """
    rows, choices = saving.shape
    columns = choices + rows
    row_price, column_price = np.zeros(rows + 1), np.zeros(columns + 1)
    holder = np.zeros(columns + 1, dtype=np.int64)  # the row of each column, from 1; 0: free
    origin = np.zeros(columns + 1, dtype=np.int64)
    for row in range(1, rows + 1):
        holder[0] = row
        last = 0
        slack = np.full(columns + 1, np.inf)
        settled = np.zeros(columns + 1, dtype=np.bool_)
        while holder[last] != 0:
            settled[last] = True
            active = holder[last]
            step, following = np.inf, 0
            for j in range(1, columns + 1):
                if settled[j]:
                    continue
                cost = -saving[active - 1, j - 1] if j <= choices else 0.0
                reduced = cost - row_price[active] - column_price[j]
                if reduced < slack[j]:
                    slack[j], origin[j] = reduced, last
                if slack[j] < step:
                    step, following = slack[j], j
            for j in range(columns + 1):
                if settled[j]:
                    row_price[holder[j]] += step
                    column_price[j] -= step
                else:
                    slack[j] -= step
            last = following
        while last != 0:
            previous = origin[last]
            holder[last] = holder[previous]
            last = previous
    column[:] = -1
    for j in range(1, choices + 1):
        if holder[j]:
            column[holder[j] - 1] = j - 1


@compiled
def turn(
    stock: Units,
    current: int,
    members: Setups,
    wanted: BoolArray,
    low: int,
    gap: int,
    start: int,
) -> int:
    """What a machine with several items makes next; `wanted` is (I, 2, stocks)."""
    lowest, goes_on = 0, False
    for item in members:
        if item == 0:
            break
        here = item == current
        if not wanted[item - 1, 1 if here else 0, stock[item - 1]]:
            continue
        goes_on |= here
        if lowest == 0 or stock[item - 1] < stock[lowest - 1]:
            lowest = item
    if lowest == 0:
        return 0
    short = stock[lowest - 1]
    if goes_on:
        return lowest if short < low and stock[current - 1] > short + gap else current
    return lowest if short < start else 0


@compiled
def improved_items(
    rule: Rule, inventory: Units, set_up: Setups, period: Units, action: Setups
) -> None:
    """What every machine makes next, for every row of `inventory`."""
    machines, items = len(rule.members), len(rule.items)
    free = len(rule.free)
    saving, column = np.empty((free, items)), np.empty(free, dtype=np.int64)
    for row in range(len(inventory)):
        now, stock = period[row], inventory[row]
        for m in range(machines):
            current = set_up[row, m]
            item = rule.members[m, 0]
            if rule.members.shape[1] > 1 and rule.members[m, 1]:
                wanted = rule.wanted[now, m]
                limits = rule.low[m], rule.gap[m], rule.start[m]
                item = turn(stock, current, rule.members[m], wanted, *limits)
            elif item and not rule.runs[now, m, item - 1, int(item == current), stock[item - 1]]:
                item = 0
            action[row, m] = item
        for f in range(free):
            current = set_up[row, rule.free[f]]
            for j in range(items):
                item = rule.items[j]
                at = (now, rule.free[f], item - 1, int(item == current), stock[item - 1])
                saving[f, j] = rule.saving[at]
        if free:
            best_matching(saving, column)
        for f in range(free):
            m, item = rule.free[f], 0
            if column[f] >= 0:
                item = rule.items[column[f]]
                on = int(item == set_up[row, m])
                if not rule.runs[now, m, item - 1, on, stock[item - 1]]:
                    item = 0
            action[row, m] = item


@compiled
def matched_saving(saving: FloatArray) -> float:
    """Mean over n starts of the total of the best matching of `saving` (n, machines, items)."""
    total, column = 0.0, np.empty(saving.shape[1], dtype=np.int64)
    for row in range(len(saving)):
        best_matching(saving[row], column)
        for machine in range(len(column)):
            if column[machine] >= 0:
                total += saving[row, machine, column[machine]]
    return total / len(saving)


@compiled
def turning_cost(
    production: IntArray,  # (M + 1, I), and so the next two
    setup_cost: FloatArray,
    setup_loss: IntArray,
    capacity: IntArray,  # (I,), and so the next two
    lost_sales_cost: FloatArray,
    holding_cost: FloatArray,
    inventory: Units,  # (n, I), the first stocks
    set_up: Setups,  # (n, M + 1), the first set-ups
    demand: Units,  # (I, n, T)
    wanted: BoolArray,  # (T, M + 1, I, 2, stocks)
    machine: int,
    members: Setups,
    low: int,
    gap: int,
    start: int,
) -> float:
    """Mean cost of an episode of one machine and of its items alone."""
    total = 0.0
    for row in range(len(inventory)):
        stock = inventory[row].copy()
        current = int(set_up[row, machine])
        for period in range(demand.shape[2]):
            item = turn(stock, current, members, wanted[period, machine], low, gap, start)
            if item:
                stock[item - 1] += production[machine, item - 1]
                if item != current:
                    stock[item - 1] -= setup_loss[machine, item - 1]
                    total += setup_cost[machine, item - 1]
            current = item
            for member in members:
                at = member - 1
                left = np.int64(stock[at]) - demand[at, row, period]
                total += lost_sales_cost[at] * max(-left, 0)
                stock[at] = min(max(left, 0), capacity[at])
                total += holding_cost[at] * stock[at]
    return total / len(inventory)
