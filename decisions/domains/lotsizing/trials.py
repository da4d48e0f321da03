"""Compiled kernels of `rollout`: what a group costs in simulated futures, and the best moves."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from decisions.domains.lotsizing.stepping import compiled
from decisions.domains.lotsizing.tables import Setups, Units
from decisions.domains.lotsizing.turning import next_item
from decisions.policy import FloatArray, IntArray

NEGLIGIBLE = 1e-10  # a change of cost that is none, as a share of what all items cost


class Trial(NamedTuple):
    """A plant, the rotation it follows after a move, and the futures it is tried in."""

    production: IntArray  # (M, I)
    setup_cost: FloatArray  # (M, I)
    setup_loss: IntArray  # (M, I)
    capacity: IntArray  # (I,)
    lost_sales_cost: FloatArray  # (I,)
    holding_cost: FloatArray  # (I,)
    members: Setups  # (M, largest group), items 1 to I, then 0
    owner: IntArray  # (I,), the machine that an item belongs to, -1: none
    low: int
    gap: int
    idle: npt.NDArray[np.float32]  # (T, I, stocks), costs to go of items that nobody makes
    demand: Units  # (scenarios, periods, I)
    lookahead: int


@compiled
def made(trial: Trial, machine: int, set_up: int, action: int) -> int:
    """Units that an action (1 to I) of a machine makes, less what a switch loses."""
    units = trial.production[machine, action - 1]
    return units if set_up == action else units - trial.setup_loss[machine, action - 1]


@compiled
def switching(trial: Trial, machine: int, set_up: int, action: int) -> float:
    """What a machine's action costs at once."""
    free = action == 0 or action == set_up
    return 0.0 if free else trial.setup_cost[machine, action - 1]


@compiled
def idle_cost(trial: Trial, periods: int, item: int, stock: int) -> float:
    """Expected cost of an item that nobody makes for this and `periods` - 1 more periods."""
    below = -min(stock, 0) * trial.lost_sales_cost[item]
    last = trial.idle.shape[2] - 1
    return trial.idle[len(trial.idle) - periods, item, min(max(stock, 0), last)] + below


@compiled
def turning_cost(
    trial: Trial, machine: int, set_up: int, stock: Units, period: int, periods: int, now: Units
) -> float:
    """Mean cost of a machine's items over the scenarios if it follows its rotation from next on.

    `stock` (I,) is post-decision; `now` (I,) is room for the stock on the way.
    """
    total = 0.0
    members = trial.members[machine]
    for scenario in range(len(trial.demand)):
        for item in members:
            if item > 0:
                now[item - 1] = stock[item - 1]
        current = set_up
        for ahead in range(periods):
            if ahead > 0:
                action = next_item(now, members, current, trial.low, trial.gap)
                total += switching(trial, machine, current, action)
                now[action - 1] += made(trial, machine, current, action)
                current = action
            for item in members:
                if item == 0:
                    break
                i = item - 1
                left = now[i] - trial.demand[scenario, period + ahead, i]
                total -= min(left, 0) * trial.lost_sales_cost[i]
                now[i] = min(max(left, 0), trial.capacity[i])
                total += now[i] * trial.holding_cost[i]
    return total / len(trial.demand)


@compiled
def machine_cost(
    trial: Trial, machine: int, set_up: int, stock: Units, period: int, periods: int, now: Units
) -> float:
    """Cost of a machine's items: it follows its rotation from next on, or stops if that is less.

    The mean is over the scenarios, and exact where it stops.
    """
    stopped = 0.0
    for item in trial.members[machine]:
        if item > 0:
            stopped += idle_cost(trial, periods, item - 1, int(stock[item - 1]))
    if trial.members[machine, 0] == 0 or periods == 1:
        return stopped
    return min(stopped, turning_cost(trial, machine, set_up, stock, period, periods, now))


@compiled
def cost_of(
    trial: Trial,
    machine: int,
    item: int,
    chosen: Setups,
    stock: Units,
    period: int,
    periods: int,
    now: Units,
) -> float:
    """Cost of a machine's items, or with machine -1 of `item` (1 to I), which nobody makes."""
    if machine < 0:
        return idle_cost(trial, periods, item - 1, int(stock[item - 1]))
    return machine_cost(trial, machine, chosen[machine], stock, period, periods, now)


@compiled
def put(
    trial: Trial, machine: int, set_up: Setups, chosen: Setups, stock: Units, action: int
) -> None:
    """Lets a machine do `action` in place of what it was to do."""
    was = chosen[machine]
    if was > 0:
        stock[was - 1] -= made(trial, machine, set_up[machine], was)
    if action > 0:
        stock[action - 1] += made(trial, machine, set_up[machine], action)
    chosen[machine] = action


@compiled
def best_moves(
    trial: Trial,
    inventory: Units,
    set_ups: Setups,
    period: Units,
    sweeps: int,
    action: Setups,
) -> None:
    """Improves `action` (n, M), machine by machine.

    A machine may idle, make one of its items, or go on with what it is set up for, whoever's item
    that is. All moves meet the same demand, and only the groups that a move touches are simulated.
    """
    machines, items = trial.production.shape
    stock, now = np.empty(items, np.int32), np.empty(items, np.int32)
    own = np.empty(machines)  # cost of each machine's items under the present actions
    choices = np.empty(trial.members.shape[1] + 2, np.int64)
    for row in range(len(period)):
        t, set_up, chosen = period[row], set_ups[row], action[row]
        periods = min(trial.lookahead, len(trial.idle) - t)
        stock[:] = inventory[row]
        for m in range(machines):
            if chosen[m] > 0:
                stock[chosen[m] - 1] += made(trial, m, set_up[m], chosen[m])
        for m in range(machines):
            own[m] = machine_cost(trial, m, chosen[m], stock, t, periods, now)
        least = NEGLIGIBLE * own.sum()
        improved = True
        for _ in range(sweeps):
            if not improved:
                break
            improved = False
            for m in range(machines):
                was, kept = int(chosen[m]), int(set_up[m])
                choices[0], choices[1], count = 0, kept, 1
                if kept > 0 and trial.owner[kept - 1] != m:
                    count = 2
                for item in trial.members[m]:
                    if item > 0:
                        choices[count] = item
                        count += 1
                left = int(trial.owner[was - 1]) if was > 0 else m
                best, choice = -least, was
                for c in range(count):
                    move = int(choices[c])
                    if move == was:
                        continue
                    joined = int(trial.owner[move - 1]) if move > 0 else m
                    change = switching(trial, m, kept, move) - switching(trial, m, kept, was)
                    if left != m:
                        before = (
                            own[left]
                            if left >= 0
                            else cost_of(trial, -1, was, chosen, stock, t, periods, now)
                        )
                        change -= before
                    if joined != m and (joined < 0 or joined != left):
                        before = (
                            own[joined]
                            if joined >= 0
                            else cost_of(trial, -1, move, chosen, stock, t, periods, now)
                        )
                        change -= before
                    put(trial, m, set_up, chosen, stock, move)
                    change += machine_cost(trial, m, move, stock, t, periods, now) - own[m]
                    if left != m:
                        change += cost_of(trial, left, was, chosen, stock, t, periods, now)
                    if joined != m and (joined < 0 or joined != left):
                        change += cost_of(trial, joined, move, chosen, stock, t, periods, now)
                    put(trial, m, set_up, chosen, stock, was)
                    if change < best:
                        best, choice = change, move
                if choice != was:
                    improved = True
                    put(trial, m, set_up, chosen, stock, choice)
                    own[m] = machine_cost(trial, m, choice, stock, t, periods, now)
                    if left >= 0:
                        own[left] = machine_cost(trial, left, chosen[left], stock, t, periods, now)
                    joined = int(trial.owner[choice - 1]) if choice > 0 else m
                    if joined >= 0:
                        own[joined] = machine_cost(
                            trial, joined, chosen[joined], stock, t, periods, now
                        )
