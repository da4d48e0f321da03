"""Compiled kernels of one item that rents machines: what the Lagrangian relaxation leaves of it.

The item may run any subset of the machines that can make it, at a price a machine and period. Its
state is its stock and the subset that is set up for it, written as the bits of a number: bit `k`
stands for machine `k`, and since idling forgets a set-up, the subset set up is the subset run in
the period before. The choice of a subset is made machine after machine, from the last to the
first: machine `k` finds the bits from `k + 1` on decided already and those up to `k` still old.
What one machine adds to stock does not depend on the others, so this is exact, and a period costs
n 2^n operations a stock instead of 4^n.

Stocks between a decision and demand, and in the middle of a decision, are columns: column `j` is
`j - low` units, where `low` is the most that switching can take below nothing. The last column
stands for itself and all larger stocks, which fill the capacity whatever the demand.
"""

import numpy as np
import numpy.typing as npt

from decisions.domains.lotsizing.stepping import compiled
from decisions.policy import FloatArray, IntArray

Choices = npt.NDArray[np.uint16]  # a bit a machine


@compiled
def lowest(production: IntArray, setup_loss: IntArray) -> int:
    """The most units by which switching machines on can take stock below what it was."""
    low = 0
    for k in range(len(production)):
        low += max(0, setup_loss[k] - production[k])
    return low


@compiled
def shifted(values: FloatArray, units: int, result: FloatArray) -> None:
    """`result[j] = values[j + units]`, the first and the last standing for what is beyond."""
    size = len(values)
    first, last = min(max(-units, 0), size), max(min(size - units, size), 0)
    result[:first] = values[0]
    result[first:last] = values[first + units : last + units]
    result[last:] = values[size - 1]


@compiled
def choose(
    production: IntArray,  # (n,), of the machines that can make the item, and so the next two
    setup_cost: FloatArray,
    setup_loss: IntArray,
    price: FloatArray,  # (n,), of running each in this period
    costs: FloatArray,
    choice: Choices,
) -> None:
    """Turns post-decision `costs` (2^n, columns) into costs before the decision, in place.

    Bit `k` of `choice[subset, column]` says whether machine `k` is run, when it is asked.
    """
    columns = costs.shape[1]
    off, going_on, switching = np.empty(columns), np.empty(columns), np.empty(columns)
    choice[:] = 0
    for k in range(len(production)):
        bit = 1 << k
        rent, switch = price[k], price[k] + setup_cost[k]
        for subset in range(len(costs)):
            if subset & bit:
                continue
            without, using = costs[subset], costs[subset | bit]
            off[:] = without
            shifted(using, production[k], going_on)
            shifted(using, production[k] - setup_loss[k], switching)
            chosen, chosen_on = choice[subset], choice[subset | bit]
            for j in range(columns):
                value = rent + going_on[j]
                using[j] = value if value < off[j] else off[j]
            for j in range(columns):
                value = switch + switching[j]
                without[j] = value if value < off[j] else off[j]
            for j in range(columns):
                chosen_on[j] |= np.uint16((using[j] < off[j]) << k)
                chosen[j] |= np.uint16((without[j] < off[j]) << k)


@compiled
def expect(
    low: int,
    demand: FloatArray,  # (K,)
    lost_sales_cost: float,
    holding_cost: float,
    following: FloatArray,  # (2^n, capacity + 1), costs from the next period on
    costs: FloatArray,
) -> None:
    """Fills `costs` (2^n, columns) of post-decision stocks: the mean over a period's demand."""
    columns, capacity, most = costs.shape[1], following.shape[1] - 1, len(demand) - 1
    lost = np.zeros(columns)
    for j in range(columns):
        for d in range(len(demand)):
            lost[j] += demand[d] * lost_sales_cost * max(d - (j - low), 0)
    after = np.empty(columns + most)  # index: post-decision stock + low - demand + most
    for subset in range(len(costs)):
        for r in range(columns + most):
            stock = min(max(r - most - low, 0), capacity)
            after[r] = holding_cost * stock + following[subset, stock]
        row = costs[subset]
        row[:] = lost
        for d in range(len(demand)):
            share, shifted_after = demand[d], after[most - d : most - d + columns]
            for j in range(columns):
                row[j] += share * shifted_after[j]


@compiled
def rent(
    production: IntArray,
    setup_cost: FloatArray,
    setup_loss: IntArray,
    price: FloatArray,  # (n, T)
    lost_sales_cost: float,
    holding_cost: float,
    demand: FloatArray,
    start: FloatArray,  # (2^n, capacity + 1), the law of the first state
    usage: FloatArray,
) -> float:
    """The least expected cost of the item, rents included; fills `usage` (n, T).

    `usage` holds the probability that a least-cost plan runs a machine in a period.
    """
    subsets, stocks = start.shape
    low = lowest(production, setup_loss)
    columns = stocks + len(demand) + 2 * low
    periods = price.shape[1]
    choice = np.empty((periods, subsets, columns), dtype=np.uint16)
    costs = np.empty((subsets, columns))
    following = np.zeros((subsets, stocks))
    for period in range(periods - 1, -1, -1):
        expect(low, demand, lost_sales_cost, holding_cost, following, costs)
        choose(production, setup_cost, setup_loss, price[:, period], costs, choice[period])
        following[:] = costs[:, low : low + stocks]
    use(production, setup_loss, demand, start, choice, usage)
    return (start * following).sum()


@compiled
def use(
    production: IntArray,
    setup_loss: IntArray,
    demand: FloatArray,
    start: FloatArray,
    choice: Choices,  # (T, 2^n, columns)
    usage: FloatArray,
) -> None:
    """Fills `usage` (n, T): how likely each machine is run when the choices are followed."""
    subsets, stocks = start.shape
    periods, _, columns = choice.shape
    low = lowest(production, setup_loss)
    mass = np.zeros((subsets, columns))
    off, on = np.empty(columns), np.empty(columns)
    now = start.copy()
    for period in range(periods):
        mass[:] = 0.0
        mass[:, low : low + stocks] = now
        for k in range(len(production) - 1, -1, -1):
            bit = 1 << k
            for subset in range(subsets):
                if subset & bit or mass[subset].sum() + mass[subset | bit].sum() == 0.0:
                    continue
                off[:] = 0.0
                on[:] = 0.0
                for old, units in (
                    (subset, production[k] - setup_loss[k]),
                    (subset | bit, production[k]),
                ):
                    for j in range(columns):
                        share = mass[old, j]
                        if share == 0.0:
                            continue
                        if choice[period, old, j] & bit:
                            on[min(max(j + units, 0), columns - 1)] += share
                        else:
                            off[j] += share
                mass[subset], mass[subset | bit] = off, on
                usage[k, period] += on.sum()
        now[:] = 0.0
        for subset in range(subsets):
            if mass[subset].sum() == 0.0:
                continue
            for j in range(columns):
                share = mass[subset, j]
                for d in range(len(demand)):
                    stock = min(max(j - low - d, 0), stocks - 1)
                    now[subset, stock] += share * demand[d]


@compiled
def costs_to_go(
    production: IntArray,
    setup_cost: FloatArray,
    setup_loss: IntArray,
    price: FloatArray,  # (n, T)
    lost_sales_cost: float,
    holding_cost: float,
    demand: FloatArray,
    before: FloatArray,
    after: FloatArray,
) -> None:
    """Fills the least expected costs from each period on, before and after its decision.

    `before` (T + 1, 2^n, capacity + 1) is by stock, `after` (T, 2^n, columns) by column.
    """
    stocks = before.shape[2]
    low = lowest(production, setup_loss)
    costs = np.empty(after.shape[1:])
    choice = np.empty(after.shape[1:], dtype=np.uint16)
    before[-1] = 0.0
    for period in range(len(after) - 1, -1, -1):
        expect(low, demand, lost_sales_cost, holding_cost, before[period + 1], costs)
        after[period] = costs
        choose(production, setup_cost, setup_loss, price[:, period], costs, choice)
        before[period] = costs[:, low : low + stocks]


@compiled
def rent_knowing(
    production: IntArray,
    setup_cost: FloatArray,
    setup_loss: IntArray,
    price: FloatArray,  # (n, T)
    before: FloatArray,  # as `costs_to_go` fills them, at any prices
    after: FloatArray,
    path: npt.NDArray[np.int32],  # (T,), the demand to come
    first_subset: int,
    first_stock: int,
    usage: FloatArray,
) -> float:
    """The least cost of the item if it knew its demand and paid for what that tells it.

    In each period it pays the expected instead of the realised cost, and gives back how much
    better than expected `before` turns out: a martingale difference under every plan that does
    not know demand. Adds to `usage` (n, T) the machines that are run.
    """
    periods, subsets, columns = after.shape
    stocks = before.shape[2]
    low = lowest(production, setup_loss)
    choice = np.empty(after.shape, dtype=np.uint16)
    costs = np.empty((subsets, columns))
    following = np.zeros((subsets, stocks))
    gain = np.empty(stocks)
    for period in range(periods - 1, -1, -1):
        costs[:] = after[period]
        served = low + path[period]  # columns that demand leaves nothing of
        for row in range(subsets):
            for stock in range(stocks):
                gain[stock] = following[row, stock] - before[period + 1, row, stock]
            costs[row, :served] += gain[0]
            costs[row, served : served + stocks] += gain
            costs[row, served + stocks :] += gain[stocks - 1]
        choose(production, setup_cost, setup_loss, price[:, period], costs, choice[period])
        following[:] = costs[:, low : low + stocks]
    subset, column = first_subset, first_stock + low
    for period in range(periods):
        for k in range(len(production) - 1, -1, -1):
            bit = 1 << k
            if choice[period, subset, column] & bit:
                units = production[k] if subset & bit else production[k] - setup_loss[k]
                column = min(max(column + units, 0), columns - 1)
                subset |= bit
                usage[k, period] += 1.0
            else:
                subset &= ~bit
        column = min(max(column - low - path[period], 0), stocks - 1) + low
    return following[first_subset, first_stock]
