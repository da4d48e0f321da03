"""What a fixed plan leads to under the demand law: stock, lost sales and costs, exactly."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from decisions.domains.lotsizing.instance import Instance
from decisions.policy import FloatArray

LEVELS = (0.05, 0.5, 0.95)


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
    produced: npt.NDArray[np.integer[Any]],
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
    from decisions.domains.lotsizing.stock_chains import stock_chains  # numba is slow to import

    quantiles = np.empty((len(LEVELS), *produced.shape))
    stock, lost = np.empty(produced.shape), np.empty(produced.shape)
    stock_chains(
        instance.capacity.astype(np.int64),
        instance.demand,
        np.array(LEVELS),
        np.ascontiguousarray(inventory, dtype=np.int32),
        np.ascontiguousarray(produced, dtype=np.int64),
        quantiles,
        stock,
        lost,
    )
    return Forecast(
        low=quantiles[0],
        middle=quantiles[1],
        high=quantiles[2],
        lost=lost,
        setup_cost=setup_cost,
        lost_cost=(lost * instance.lost_sales_cost).sum(axis=2),
        holding_cost=(stock * instance.holding_cost).sum(axis=2),
    )
