"""H1: each machine makes one item for the whole episode, or nothing.

An item's stock under constant production is a small Markov chain, so what an assignment costs is
exact up to the set-ups that an episode happens to start with, and the best one is a linear
assignment problem.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from decisions.domains.lotsizing.exact import item_lookahead
from decisions.domains.lotsizing.instance import Instance
from decisions.domains.lotsizing.plant import PlantState
from decisions.policy import FloatArray


@dataclass(frozen=True, eq=False)
class StaticAssignment:
    """A policy: machine `m` always makes item `item[m]` (0: it idles).

    `cost` is the expected cost of an episode in which every machine starts in another set-up and
    no first period loses units: the reset draws the right set-up now and then.
    """

    item: npt.NDArray[np.int16]  # (M,)
    cost: float

    def act(self, state: PlantState) -> npt.NDArray[np.int16]:
        """The same action (n, M) in every state."""
        return np.tile(self.item, (len(state.period), 1))


def static_assignment(instance: Instance) -> StaticAssignment:
    """The assignment with the least expected cost over the horizon, one machine an item at most.

    Source: Kuhn (1955), the Hungarian method, with a column of doing nothing for each machine.
    """
    from scipy.optimize import linear_sum_assignment  # takes long to import

    never = np.array([constant_production_cost(instance, i, 0) for i in range(instance.items)])
    saving = np.full((instance.machines, instance.items), np.inf)
    for machine, item in np.argwhere(instance.production > 0):
        made = constant_production_cost(instance, item, int(instance.production[machine, item]))
        saving[machine, item] = made - never[item] + instance.setup_cost[machine, item]
    idle = np.zeros((instance.machines, instance.machines))
    costs = np.hstack([saving, idle])
    machines, columns = linear_sum_assignment(costs)
    item = np.zeros(instance.machines, dtype=np.int16)
    made = columns < instance.items
    item[machines[made]] = columns[made] + 1
    return StaticAssignment(item, float(never.sum() + costs[machines, columns].sum()))


def constant_production_cost(instance: Instance, item: int, units: int) -> float:
    """Expected lost-sales and holding cost of an episode in which `units` are made every period.

    `item` counts from 0; the first stock is uniform on 0 to capacity - 1, as `Plant.reset` draws.
    """
    return float(cost_to_go(instance, item, units)[0, : int(instance.capacity[item])].mean())


def cost_to_go(instance: Instance, item: int, units: int) -> FloatArray:
    """Expected cost of the rest of an episode under constant production, (T + 1, capacity + 1)."""
    capacity = int(instance.capacity[item])
    cost, transition = item_lookahead(instance, item, units, units + capacity)
    to_go = np.zeros((instance.horizon + 1, capacity + 1))
    for period in reversed(range(instance.horizon)):
        to_go[period] = cost + transition @ to_go[period + 1]
    return to_go
