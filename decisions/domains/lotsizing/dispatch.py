"""Compiled kernels of `decomposition`: what groups cost, the best partition, the machines' moves.

A *group* is a machine and the items that it alone makes, one or two. Items count from 0 here and
-1 is none; a set-up and an action are 1 to I, and 0 is none. A *partition* gives each machine at
most one group: `member` (M, 2) holds its items, `owner` (I,) the place of each item in `member`,
counted row by row.
"""

import numpy as np

from decisions.domains.lotsizing.decomposition import Costs, GroupTables, Index
from decisions.domains.lotsizing.stepping import compiled, inlined
from decisions.domains.lotsizing.tables import Setups, Units
from decisions.policy import FloatArray, IntArray

NEGLIGIBLE = 1e-10  # a change of cost that is none, as a share of the costs that are added up
FIRST_LEAST = 1e-6  # the same in the first version of the method, whatever the costs
MOST_ROUNDS = 1_000  # of a descent, which ends much sooner
BLOCK = 64  # rows that are looked at together


@compiled
def next_stocks(
    values: FloatArray,
    before: int,
    after: int,
    law: FloatArray,
    low: IntArray,
    high: IntArray,
    result: FloatArray,
) -> None:
    """`result[a, r, b]` = sum over k of `law[r, k] * values[a, k, b]`: the mean along one axis.

    Arrays are flat, `a` counts to `before` and `b` to `after`; row r is zero outside `low[r]` to
    `high[r]`.
    """
    size = len(low)
    for a in range(before):
        for r in range(size):
            into = (a * size + r) * after
            for b in range(after):
                result[into + b] = 0.0
            for k in range(low[r], high[r]):
                chance, source = law[r, k], (a * size + k) * after
                for b in range(after):
                    result[into + b] += chance * values[source + b]


@compiled
def group_costs(
    sizes: IntArray,
    law: FloatArray,
    low: IntArray,
    high: IntArray,
    period_cost: FloatArray,
    node: IntArray,
    share: FloatArray,
    shortfall: FloatArray,
    setup_cost: FloatArray,
    costs: Costs,
) -> None:
    """Backward induction for a group of g items: fills `costs` (T, (1 + g) N), last period last.

    For each member: `law` (g, n, n) of the next stock from a post-decision one, `period_cost`
    (g, n) of demand; made (g, 2, n), after a switch or going on, stock `r` becomes node `node`
    and by `share` the next one, and `shortfall` costs what a switch took below 0.
    """
    members, total = len(sizes), 1
    for size in sizes:
        total *= size
    value = np.zeros((members + 1, total))  # before a decision, by set-up
    post = np.empty((members + 1, total))
    mean = np.empty(total)
    for period in range(len(costs) - 1, -1, -1):
        for set_up in range(members + 1):
            post[set_up] = value[set_up]
            before, after = 1, total
            for j in range(members):
                n = sizes[j]
                after //= n
                next_stocks(post[set_up], before, after, law[j], low[j, :n], high[j, :n], mean)
                for place in range(total):
                    post[set_up, place] = mean[place] + period_cost[j, place // after % n]
                before *= n
            for place in range(total):
                costs[period, set_up * total + place] = post[set_up, place]
        for set_up in range(members + 1):
            value[set_up] = post[0]  # idling forgets
        after = total
        for j in range(members):
            n = sizes[j]
            after //= n
            for going_on in range(2):
                for place in range(total):
                    r = place // after % n
                    source = place + (node[j, going_on, r] - r) * after
                    part = share[j, going_on, r]
                    cost = (1.0 - part) * post[j + 1, source] + shortfall[j, going_on, r]
                    if part > 0.0:
                        cost += part * post[j + 1, source + after]
                    if going_on:
                        value[j + 1, place] = min(value[j + 1, place], cost)
                    else:
                        cost += setup_cost[j]
                        for set_up in range(members + 1):
                            if set_up != j + 1:  # what is set up goes on: no loss is to be had
                                value[set_up, place] = min(value[set_up, place], cost)


@inlined
def idle_cost(tables: GroupTables, period: int, item: int, stock: int) -> float:
    """Expected cost to go of an item that nobody makes, from any post-decision stock."""
    if stock < 0:
        return tables.idle[period, item, 0] - stock * tables.lost_sales_cost[item]
    return tables.idle[period, item, min(stock, tables.idle.shape[2] - 1)]


@inlined
def group_cost(tables: GroupTables, period: int, g: int, set_up: int, stock: IntArray) -> float:
    """Expected cost to go of a group, its machine left set up for item `set_up`.

    `stock` (I,) is post-decision. Linear between nodes; a unit below 0 is a lost sale, and stock
    above the last node is cut by the capacity whatever the demand.
    """
    first, second = tables.members[g, 0], tables.members[g, 1]
    x, y = stock[first], stock[second]
    below = -min(x, 0) * tables.lost_sales_cost[first]
    n = tables.sizes[0, first]
    if second < 0:
        start = tables.offset[g] + (n if set_up == first + 1 else 0)
        return tables.costs[period, start + min(max(x, 0), n - 1)] + below
    below -= min(y, 0) * tables.lost_sales_cost[second]
    last = tables.node.shape[1] - 1
    x, y = min(max(x, 0), last), min(max(y, 0), last)
    n, k = tables.sizes[1, first], tables.sizes[1, second]
    state = 1 if set_up == first + 1 else (2 if set_up == second + 1 else 0)
    at = tables.offset[g] + (state * n + tables.node[first, x]) * k + tables.node[second, y]
    right, up = tables.share[first, x], tables.share[second, y]
    costs = tables.costs  # a row of them would be a view to make and to count
    low = (1.0 - up) * costs[period, at] + up * costs[period, at + 1]
    high = (1.0 - up) * costs[period, at + k] + up * costs[period, at + k + 1]
    return (1.0 - right) * low + right * high + below


@inlined
def made(tables: GroupTables, machine: int, set_up: int, action: int) -> int:
    """Units that an action (1 to I) of a machine makes, less what a switch loses."""
    units = tables.production[machine, action - 1]
    return units if set_up == action else units - tables.setup_loss[machine, action - 1]


@inlined
def switching(tables: GroupTables, machine: int, set_up: int, action: int) -> float:
    """What a machine's action costs at once."""
    free = action == 0 or action == set_up
    return 0.0 if free else tables.setup_cost[machine, action - 1]


@inlined
def own_action(
    tables: GroupTables, period: int, g: int, set_up: int, stock: IntArray
) -> tuple[float, int]:
    """A group's expected cost to go from pre-decision `stock`, and the action that reaches it."""
    machine = tables.machine[g]
    best, action = group_cost(tables, period, g, 0, stock), 0
    for slot in range(2):
        item = tables.members[g, slot]
        if item >= 0:
            units = made(tables, machine, set_up, item + 1)
            stock[item] += units
            cost = switching(tables, machine, set_up, item + 1)
            cost += group_cost(tables, period, g, item + 1, stock)
            stock[item] -= units
            if cost < best:
                best, action = cost, item + 1
    return best, action


@inlined
def group_of(group: Index, machine: int, first: int, second: int) -> int:
    """The group of a machine and up to two items; -1: no items, or no such group."""
    if first < 0:
        first = second
    if second < 0:
        second = first
    return group[machine, first, second] if first >= 0 else -1


@compiled
def gain_of(group: Index, gain: FloatArray, machine: int, first: int, second: int) -> float:
    """What giving these items to a machine adds to the cost: 0 for none, inf if it cannot be."""
    if first < 0 and second < 0:
        return 0.0
    g = group_of(group, machine, first, second)
    return gain[g] if g >= 0 else np.inf


@compiled
def least_change(gain: FloatArray, idle: float) -> float:
    """The least change of cost that counts, where sums of gains and `idle` costs are compared.

    It is far above the rounding of such sums, so that no exchange looks like an improvement both
    ways round.
    """
    largest = idle
    for value in gain:
        if np.isfinite(value):
            largest = max(largest, abs(value))
    return NEGLIGIBLE * largest


@compiled
def place_item(member: Index, owner: Index, place: int, item: int) -> None:
    """Puts an item, or none, in a place; what was there is the caller's care."""
    member[place // 2, place % 2] = item
    if item >= 0:
        owner[item] = place


@compiled
def descend(group: Index, gain: FloatArray, member: Index, owner: Index, least: float) -> float:
    """Improves a partition by single changes until none wins `least`; returns the change of cost.

    A change empties a place, fills it with an item that nobody makes, exchanges two places of two
    machines, or all that two machines have.
    """
    machines, items = len(member), len(owner)
    total = 0.0
    for _ in range(MOST_ROUNDS):
        improved = False
        for place in range(2 * machines):
            m = place // 2
            stays = member[m, 1 - place % 2]
            old = gain_of(group, gain, m, member[m, place % 2], stays)
            best, choice = old - least, -2
            for item in range(-1, items):
                if item < 0 or owner[item] < 0:
                    new = gain_of(group, gain, m, item, stays)
                    if new < best:
                        best, choice = new, item
            if choice > -2:
                was = member[m, place % 2]
                if was >= 0:
                    owner[was] = -1
                place_item(member, owner, place, choice)
                total += best - old
                improved = True
            for other in range(2 * (m + 1), 2 * machines):
                k = other // 2
                mine, theirs = member[m, place % 2], member[k, other % 2]
                if mine < 0 and theirs < 0:
                    continue
                rest = member[k, 1 - other % 2]
                change = gain_of(group, gain, m, theirs, stays)
                change += gain_of(group, gain, k, mine, rest)
                change -= gain_of(group, gain, m, mine, stays)
                change -= gain_of(group, gain, k, theirs, rest)
                if change < -least:
                    place_item(member, owner, place, theirs)
                    place_item(member, owner, other, mine)
                    total += change
                    improved = True
        for m in range(machines):
            for k in range(m + 1, machines):
                a, b, c, d = member[m, 0], member[m, 1], member[k, 0], member[k, 1]
                change = gain_of(group, gain, m, c, d) + gain_of(group, gain, k, a, b)
                change -= gain_of(group, gain, m, a, b) + gain_of(group, gain, k, c, d)
                if change < -least:
                    place_item(member, owner, 2 * m, c)
                    place_item(member, owner, 2 * m + 1, d)
                    place_item(member, owner, 2 * k, a)
                    place_item(member, owner, 2 * k + 1, b)
                    total += change
                    improved = True
        if not improved:
            break
    return total


@compiled
def search_partition(
    group: Index,
    gain: FloatArray,
    member: Index,
    owner: Index,
    machine: IntArray,
    item: IntArray,
    least: float,
) -> float:
    """Iterated local search; returns the change of the partition's cost.

    Each round takes the best partition, empties the machines `machine[round]` (2,), gives the
    first of them `item[round]` if nobody makes it, and descends.
    Source: Lourenço, Martin and Stützle (2003), "Iterated local search".
    """
    best = descend(group, gain, member, owner, least)
    trial, trial_owner = member.copy(), owner.copy()
    for turn in range(len(item)):
        change = best
        for m in machine[turn]:
            change -= gain_of(group, gain, m, trial[m, 0], trial[m, 1])
            for slot in range(2):
                if trial[m, slot] >= 0:
                    trial_owner[trial[m, slot]] = -1
                trial[m, slot] = -1
        first = machine[turn, 0]
        if trial_owner[item[turn]] < 0 and group[first, item[turn], item[turn]] >= 0:
            place_item(trial, trial_owner, 2 * first, item[turn])
            change += gain_of(group, gain, first, item[turn], -1)
        change += descend(group, gain, trial, trial_owner, least)
        if change < best - least:
            best = change
            member[:], owner[:] = trial, trial_owner
        else:
            trial[:], trial_owner[:] = member, owner
    return best


@inlined
def held_cost(
    tables: GroupTables,
    period: int,
    machine: int,
    item: int,
    chosen: IntArray,
    stock: IntArray,
    member: Index,
) -> float:
    """Expected cost to go of a machine's group, or with machine -1 of an item nobody owns."""
    if machine < 0:
        return idle_cost(tables, period, item, stock[item])
    g = group_of(tables.group, machine, member[machine, 0], member[machine, 1])
    return group_cost(tables, period, g, chosen[machine], stock) if g >= 0 else 0.0


@compiled
def improve_actions(
    tables: GroupTables,
    period: int,
    set_up: Setups,
    member: Index,
    owner: Index,
    chosen: IntArray,
    stock: IntArray,
    least: float,
) -> None:
    """Coordinate descent over what each machine makes, of its own group or for anybody.

    `stock` (I,) is what `chosen` (M,) leaves; both are improved in place until no machine alone
    can do better by `least`.
    """
    machines, items = tables.production.shape
    for _ in range(MOST_ROUNDS):
        improved = False
        for m in range(machines):
            was = chosen[m]
            if was > 0:
                stock[was - 1] -= made(tables, m, set_up[m], was)
            chosen[m] = 0
            idling = held_cost(tables, period, m, -1, chosen, stock, member)
            best, choice, present = 0.0, 0, 0.0
            for action in range(1, items + 1):
                i = action - 1
                if tables.production[m, i] == 0:
                    continue
                keeper = owner[i] // 2 if owner[i] >= 0 else -1
                change = switching(tables, m, set_up[m], action) - idling
                if keeper != m:
                    change -= held_cost(tables, period, keeper, i, chosen, stock, member)
                units = made(tables, m, set_up[m], action)
                chosen[m] = action
                stock[i] += units
                change += held_cost(tables, period, m, -1, chosen, stock, member)
                if keeper != m:
                    change += held_cost(tables, period, keeper, i, chosen, stock, member)
                stock[i] -= units
                if action == was:
                    present = change
                if change < best:
                    best, choice = change, action
            if best > present - least:
                choice = was
            chosen[m] = choice
            improved |= choice != was
            if choice > 0:
                stock[choice - 1] += made(tables, m, set_up[m], choice)
        if not improved:
            break


@compiled
def group_gains(
    tables: GroupTables,
    stocks: IntArray,
    set_ups: Setups,
    periods: Units,
    gain: FloatArray,
    own: IntArray,
) -> None:
    """Fills what each group adds to the cost of leaving its items alone, and its action: (n, G).

    `stocks` (n, I) are pre-decision. Groups come first, then rows: a group's table is read for
    all rows while it is near.
    """
    for g in range(len(tables.machine)):
        machine = tables.machine[g]
        for row in range(len(periods)):
            period, stock = periods[row], stocks[row]
            cost, own[row, g] = own_action(tables, period, g, set_ups[row, machine], stock)
            for slot in range(2):
                item = tables.members[g, slot]
                if item >= 0:
                    cost -= idle_cost(tables, period, item, stock[item])
            gain[row, g] = cost


@compiled
def partition_gain(group: Index, gain: FloatArray, member: Index) -> float:
    """What a partition adds to the cost of an idle plant."""
    total = 0.0
    for m in range(len(member)):
        total += gain_of(group, gain, m, member[m, 0], member[m, 1])
    return total


@compiled
def set_up_partition(group: Index, set_up: Setups, items: int) -> tuple[Index, Index]:
    """The partition in which each machine makes what it is set up for; the first of several."""
    member, owner = np.full((len(set_up), 2), -1, np.int32), np.full(items, -1, np.int32)
    for m in range(len(set_up)):
        item = set_up[m] - 1
        if item >= 0 and owner[item] < 0 and group[m, item, item] >= 0:
            place_item(member, owner, 2 * m, item)
    return member, owner


@compiled
def choose(
    tables: GroupTables,
    planned: Index,
    planned_owner: Index,
    first_version: bool,
    inventory: Units,
    set_ups: Setups,
    periods: Units,
    action: Setups,
    value: FloatArray,
) -> None:
    """Fills `action` (n, M) and `value` (n,), the expected cost to go of it.

    `first_version`: as policies of the method's first version decided, whose decisions replay.
    """
    groups = len(tables.machine)
    own, gain = np.empty((BLOCK, groups), np.int64), np.empty((BLOCK, groups))
    for first in range(0, len(periods), BLOCK):
        rows = slice(first, min(first + BLOCK, len(periods)))
        stocks = inventory[rows].astype(np.int64)
        group_gains(tables, stocks, set_ups[rows], periods[rows], gain, own)
        for row in range(len(stocks)):
            at = first + row
            value[at] = choose_one(
                tables,
                planned,
                planned_owner,
                first_version,
                stocks[row],
                set_ups[at],
                periods[at],
                gain[row],
                own[row],
                action[at],
            )


@compiled
def choose_one(
    tables: GroupTables,
    planned: Index,
    planned_owner: Index,
    first_version: bool,
    stock: IntArray,
    set_up: Setups,
    period: int,
    gain: FloatArray,
    own: IntArray,
    action: Setups,
) -> float:
    """Fills `action` (M,), and returns the expected cost to go of it; `stock` is spent."""
    machines, items = tables.production.shape
    idle = 0.0
    for i in range(items):
        idle += idle_cost(tables, period, i, stock[i])
    least = FIRST_LEAST if first_version else least_change(gain, idle)
    member, owner = planned.copy(), planned_owner.copy()
    cost = partition_gain(tables.group, gain, member)
    cost += descend(tables.group, gain, member, owner, least)
    if not first_version:
        other, other_owner = set_up_partition(tables.group, set_up, items)
        change = partition_gain(tables.group, gain, other)
        change += descend(tables.group, gain, other, other_owner, least)
        if change < cost - least:
            member, owner = other, other_owner
    chosen = np.zeros(machines, np.int64)
    for m in range(machines):
        g = group_of(tables.group, m, member[m, 0], member[m, 1])
        chosen[m] = own[g] if g >= 0 else 0
        if chosen[m] > 0:
            stock[chosen[m] - 1] += made(tables, m, set_up[m], chosen[m])
    improve_actions(tables, period, set_up, member, owner, chosen, stock, least)
    value = 0.0
    for m in range(machines):
        action[m] = chosen[m]
        value += switching(tables, m, set_up[m], chosen[m])
        value += held_cost(tables, period, m, -1, chosen, stock, member)
    for i in range(items):
        if owner[i] < 0:
            value += idle_cost(tables, period, i, stock[i])
    return value
