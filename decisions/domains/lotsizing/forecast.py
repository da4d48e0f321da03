"""What a fixed plan leads to under the demand law: stock, lost sales and costs, exactly."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from decisions.domains.lotsizing.instance import Instance
from decisions.policy import FloatArray, IntArray

LOW, MIDDLE, HIGH = 0.05, 0.5, 0.95
_ROUNDING = 1e-12


class Forecast(NamedTuple):
    """Of n plants, H periods and I items; stock is that at the end of a period."""

    low: FloatArray  # (n, H, I), units of product: one time in twenty there is less
    middle: FloatArray  # (n, H, I): the median
    high: FloatArray  # (n, H, I): one time in twenty there is more
    lost: FloatArray  # (n, H, I), units of demand that are expected not to be met
    setup_cost: FloatArray  # (n, H), cost units, as the plan has it
    lost_cost: FloatArray  # (n, H), cost units expected
    holding_cost: FloatArray  # (n, H), cost units expected

    def rows(self) -> FloatArray:
        """(n, H * (4 I + 3)): period after period the low, middle and high stock, lost, costs."""
        by_item = np.concatenate([self.low, self.middle, self.high, self.lost], axis=2)
        costs = np.stack([self.setup_cost, self.lost_cost, self.holding_cost], axis=2)
        blocks = np.concatenate([by_item, costs], axis=2)
        return blocks.reshape(len(blocks), -1)


def forecast(
    instance: Instance,
    *,
    inventory: npt.NDArray[np.integer[Any]],
    produced: npt.NDArray[np.number[Any]],
    setup_cost: FloatArray,
) -> Forecast:
    """What follows when the plan is carried out as it stands, whatever the demand turns out to be.

    Demand is independent from item to item, so the stock of each item is a Markov chain of its
    own over 0 to its ceiling, and its distribution is exact; nothing is sampled. A row depends on
    nothing but itself.

    Args:
        instance: the plant.
        inventory: (n, I), units in stock when the plan begins.
        produced: (n, H, I), net units that the plan makes in each period.
        setup_cost: (n, H), what the plan pays for set-ups in each period.
    """
    n, horizon, items = produced.shape
    top = int(instance.capacity.max())
    ceiling = np.tile(instance.capacity, n)  # rows are (plant, item) pairs, item fastest
    demand = np.tile(instance.demand, (n, 1))
    chance = np.zeros((n * items, top + 1))
    chance[np.arange(n * items), inventory.reshape(-1)] = 1.0
    low, middle, high, stock, lost = (np.empty((horizon, n * items)) for _ in range(5))
    for period in range(horizon):
        quantity = produced[:, period].reshape(-1).astype(np.int64)
        chance, lost[period] = _next(chance, quantity, demand, ceiling)
        below = chance.cumsum(axis=1)
        for level, found in ((LOW, low), (MIDDLE, middle), (HIGH, high)):
            found[period] = (below < level - _ROUNDING).sum(axis=1)
        stock[period] = (chance * np.arange(top + 1)).sum(axis=1)

    def by_plant(rows: FloatArray) -> FloatArray:
        return rows.reshape(horizon, n, items).swapaxes(0, 1)

    return Forecast(
        low=by_plant(low),
        middle=by_plant(middle),
        high=by_plant(high),
        lost=by_plant(lost),
        setup_cost=setup_cost,
        lost_cost=(np.ascontiguousarray(by_plant(lost)) * instance.lost_sales_cost).sum(axis=2),
        holding_cost=(np.ascontiguousarray(by_plant(stock)) * instance.holding_cost).sum(axis=2),
    )


def _next(
    chance: FloatArray, quantity: IntArray, demand: FloatArray, ceiling: IntArray
) -> tuple[FloatArray, FloatArray]:
    """The chances (r, S) of each stock a period later, and the units expected to be lost (r,)."""
    rows, size = chance.shape
    kinds = demand.shape[1]
    left = np.zeros((rows, size + kinds - 1))  # chances of stock - demand, from 1 - kinds up
    for sold in range(kinds):
        start = kinds - 1 - sold
        left[:, start : start + size] += demand[:, [sold]] * chance
    after: IntArray = np.arange(1 - kinds, size, dtype=np.int64)[None] + quantity[:, None]
    lost: FloatArray = (left * np.maximum(-after, 0)).sum(axis=1)
    first = size * np.arange(rows, dtype=np.int64)  # of each row, where all lie in one line
    place: IntArray = np.minimum(np.maximum(after, 0), ceiling[:, None]) + first[:, None]
    chances = np.bincount(place.ravel(), left.ravel(), minlength=rows * size)
    return chances.reshape(rows, size).astype(np.float64), lost
