"""H1: each machine makes one item for the whole episode, or nothing.

An item's stock under constant production is a small Markov chain, so what an assignment costs is
exact up to the set-ups that an episode happens to start with, and the best one in which no two
machines make the same item is a linear assignment problem. Machines that it leaves idle are then
added where a second one pays. Where a chain would be too large, costs are means over simulated
episodes.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from decisions.domains.lotsizing.exact import LARGEST_CAPACITY, item_lookahead
from decisions.domains.lotsizing.instance import Instance
from decisions.domains.lotsizing.plant import PlantState
from decisions.policy import FloatArray
from decisions.seeds import stream

EPISODES = 1_000  # simulated, of an item whose capacity is too large for a chain


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


def static_assignment(instance: Instance, *, shared: bool = True) -> StaticAssignment:
    """An assignment of little expected cost: the best with one machine an item, and then more.

    Args:
        instance: any plant.
        shared: whether idle machines may join another one in making an item.

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
    cost = float(never.sum() + costs[machines, columns].sum())
    return StaticAssignment(item, cost + (_reinforce(instance, item) if shared else 0.0))


def _reinforce(instance: Instance, item: npt.NDArray[np.int16]) -> float:
    """Gives idle machines items in place, those first that save most; the change of the cost."""
    total = 0.0
    for _ in range(instance.machines):
        made = np.zeros(instance.items, dtype=np.int64)
        for machine in np.flatnonzero(item):
            made[item[machine] - 1] += instance.production[machine, item[machine] - 1]
        pairs = np.argwhere((instance.production > 0) & (item[:, None] == 0))
        changes = [
            constant_production_cost(instance, i, int(made[i] + instance.production[m, i]))
            - constant_production_cost(instance, i, int(made[i]))
            + float(instance.setup_cost[m, i])
            for m, i in pairs.tolist()
        ]
        if min(changes, default=0.0) >= 0:
            break
        best = int(np.argmin(changes))
        machine, chosen = pairs[best]
        item[machine] = chosen + 1
        total += changes[best]
    return total


def constant_production_cost(instance: Instance, item: int, units: int) -> float:
    """Expected lost-sales and holding cost of an episode in which `units` are made every period.

    `item` counts from 0; the first stock is uniform on 0 to capacity - 1, as `Plant.reset` draws.
    Exact up to a capacity of LARGEST_CAPACITY, else a mean over EPISODES of the item.
    """
    if instance.capacity[item] > LARGEST_CAPACITY:
        return _simulated_cost(instance, item, units)
    return float(cost_to_go(instance, item, units)[0, : int(instance.capacity[item])].mean())


def _simulated_cost(instance: Instance, item: int, units: int) -> float:
    """`constant_production_cost` over episodes whose first stocks are spread evenly."""
    capacity, law = int(instance.capacity[item]), instance.demand[item]
    rng = stream(0, "lotsizing", "constant production", str(item))
    demand = rng.choice(len(law), size=(instance.horizon, EPISODES), p=law / law.sum())
    stock = (np.arange(EPISODES, dtype=np.int64) * capacity) // EPISODES
    total = 0.0
    for asked in demand:
        left = stock + units - asked
        stock = np.clip(left, 0, capacity)
        total += float(np.maximum(-left, 0).mean()) * float(instance.lost_sales_cost[item])
        total += float(stock.mean()) * float(instance.holding_cost[item])
    return total


def cost_to_go(instance: Instance, item: int, units: int) -> FloatArray:
    """Expected cost of the rest of an episode under constant production, (T + 1, capacity + 1)."""
    capacity = int(instance.capacity[item])
    cost, transition = item_lookahead(instance, item, units, units + capacity)
    to_go = np.zeros((instance.horizon + 1, capacity + 1))
    for period in reversed(range(instance.horizon)):
        to_go[period] = cost + transition @ to_go[period + 1]
    return to_go
