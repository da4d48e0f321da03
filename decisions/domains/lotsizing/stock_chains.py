"""The compiled kernel of `forecast`: how the stock of each item spreads, period after period."""

import numpy as np

from decisions.domains.lotsizing.stepping import Units, compiled
from decisions.policy import FloatArray, IntArray

_ROUNDING = 1e-12


@compiled
def stock_chains(
    capacity: IntArray,
    demand: FloatArray,
    levels: FloatArray,
    inventory: Units,
    produced: IntArray,
    quantiles: FloatArray,
    stock: FloatArray,
    lost: FloatArray,
) -> None:
    """Fills `quantiles` (levels, n, H, I), mean `stock` and `lost` (n, H, I) of each period's end.

    `levels` ascend. The stock of an item is a chain over 0 to its `capacity`; `demand` (I, K) is
    its law. Rows and items are independent, and each sums in one fixed order.
    """
    n, horizon, items = produced.shape
    kinds = demand.shape[1]
    for item in range(items):
        top = capacity[item]
        chance = np.zeros(top + 1)
        left = np.zeros(top + kinds)  # of stock - demand, from 1 - kinds up
        for row in range(n):
            least = most = np.int64(inventory[row, item])
            chance[:] = 0.0
            chance[least] = 1.0
            for period in range(horizon):
                left[least : most + kinds] = 0.0
                for asked in range(kinds):
                    share, place = demand[item, asked], kinds - 1 - asked
                    if share > 0.0:
                        source = chance[least : most + 1]
                        target = left[least + place : most + 1 + place]
                        for kept in range(len(source)):
                            target[kept] += share * source[kept]
                quantity = produced[row, period, item]
                missing = 0.0
                chance[least : most + 1] = 0.0
                for place in range(least, most + kinds):
                    after = place - kinds + 1 + quantity
                    if after < 0:
                        missing -= left[place] * after
                    chance[min(max(after, 0), top)] += left[place]
                least = min(max(least - kinds + 1 + quantity, 0), top)
                most = min(max(most + quantity, 0), top)
                lost[row, period, item] = missing
                below, mean, level = 0.0, 0.0, 0
                for kept in range(least, most + 1):
                    below += chance[kept]
                    mean += chance[kept] * kept
                    while level < len(levels) and below >= levels[level] - _ROUNDING:
                        quantiles[level, row, period, item] = kept
                        level += 1
                stock[row, period, item] = mean
