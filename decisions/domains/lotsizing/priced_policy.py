"""A policy from the lower bound: each item's costs-to-go with rents say what a machine is worth.

The Lagrangian relaxation values every item on its own, machine rents included. In each period
the machines are matched to items so that the sum of these values is least: a linear assignment.
Future rents stand for the competition of the other items later; in the present period no rent is
needed, since the matching gives a machine to one item only. Departure from the source: an item
gets one machine a period at most.

Source: Hawkins (2003), "A Langrangian decomposition approach to weakly coupled dynamic
optimization problems"; Adelman and Mersereau (2008), "Relaxations of weakly coupled stochastic
dynamic programs".
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from decisions.domains.lotsizing.instance import Instance
from decisions.domains.lotsizing.lower_bound import item_alone, packaged_multipliers
from decisions.domains.lotsizing.plant import PlantState
from decisions.domains.lotsizing.stepping import compiled
from decisions.domains.lotsizing.tables import Setups, Units
from decisions.domains.lotsizing.turning import best_matching
from decisions.errors import DataError
from decisions.policy import FloatArray, IntArray

Costs = npt.NDArray[np.float32]


class Values(NamedTuple):
    """Expected costs from post-decision stocks on, by period; column `j` is `j - low` units.

    The last column stands for all larger stocks.
    """

    idle: Costs  # (T, I, columns), where no machine runs the item
    run: Costs  # (T, M, I, columns), where this machine does
    low: int
    production: IntArray  # (M, I)
    setup_cost: FloatArray  # (M, I)
    setup_loss: IntArray  # (M, I)


@dataclass(frozen=True, kw_only=True, eq=False)
class PricedPolicy:
    """Machines go where they save most by the items' values under `multipliers` (M, T).

    A plant without end acts as an episode always does in period `always`.
    """

    instance: Instance
    multipliers: FloatArray
    always: int | None = None

    def act(self, state: PlantState) -> Setups:
        """Actions (n, M).

        Raises:
            DataError: a state lies outside the horizon and `always` is not given.
        """
        period = state.period.astype(np.int64)
        if self.always is not None:
            period = np.full_like(period, self.always)
        if len(period) and not (period.min() >= 0 and period.max() < self.instance.horizon):
            raise DataError(
                f"period goes from {period.min()} to {period.max()}; wanted 0 to"
                f" {self.instance.horizon - 1}, or a policy with `always`"
            )
        action = np.zeros(state.set_up.shape, dtype=np.int16)
        cheapest_items(state.inventory, state.set_up, period, self.values, action)
        return action

    @cached_property
    def values(self) -> Values:
        """The tables that decisions are read from; made once, in seconds."""
        from decisions.domains.lotsizing.machine_rent import expect

        instance = self.instance
        periods, machines, items = instance.horizon, instance.machines, instance.items
        low = int(instance.setup_loss.max())
        columns = low + int(instance.capacity.max()) + instance.demand.shape[1]
        idle = np.zeros((periods, items, columns), dtype=np.float32)
        run = np.zeros((periods, machines, items, columns), dtype=np.float32)
        for index in range(items):
            item = item_alone(instance, index)
            singles = np.concatenate([[0], 1 << np.arange(len(item.machines))])
            to_go = item.costs_to_go(self.multipliers)[0][:, singles]
            costs = np.empty((len(singles), columns))
            for period in range(periods):
                expect(low, item.demand, *item.unit_costs, to_go[period + 1], costs)
                idle[period, index] = costs[0]
                run[period, item.machines, index] = costs[1:]
        making = (instance.production, instance.setup_cost, instance.setup_loss)
        return Values(idle, run, low, *making)


def priced_policy(instance: Instance) -> PricedPolicy:
    """The policy under the packaged multipliers, or under some found now, which takes minutes."""
    multipliers = packaged_multipliers(instance)
    if multipliers is None:
        from decisions.domains.lotsizing.lower_bound import lagrangian_bound

        multipliers = lagrangian_bound(instance).multipliers
    return PricedPolicy(instance=instance, multipliers=multipliers)


@compiled
def cheapest_items(
    inventory: Units, set_up: Setups, period: IntArray, values: Values, action: Setups
) -> None:
    """Fills `action` (n, M) with the matching of machines to items that costs least."""
    machines, items = values.production.shape
    last = values.idle.shape[2] - 1
    saving = np.empty((machines, items))
    column = np.empty(machines, dtype=np.int64)
    for row in range(len(inventory)):
        now = period[row]
        for item in range(items):
            stock = inventory[row, item]
            without = values.idle[now, item, min(stock + values.low, last)]
            for machine in range(machines):
                units = values.production[machine, item]
                if units == 0:
                    saving[machine, item] = -1.0
                    continue
                cost = 0.0
                if set_up[row, machine] != item + 1:
                    units -= values.setup_loss[machine, item]
                    cost = values.setup_cost[machine, item]
                after = values.run[now, machine, item, min(stock + units + values.low, last)]
                saving[machine, item] = without - after - cost
        best_matching(saving, column)
        for machine in range(machines):
            action[row, machine] = column[machine] + 1
