"""The nominal plan: what a planner would do in the coming periods, were demand always average."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from decisions.actions import ActionBox
from decisions.domains.lotsizing.instance import Instance
from decisions.domains.lotsizing.plant import Plant, PlantState
from decisions.policy import FloatArray, IntArray

HORIZON = 14  # periods

Planner = Callable[[PlantState], npt.NDArray[np.integer]]
"""What each machine makes, (n, M): 1 to I, or 0 to idle."""


def rolling(planner: Planner) -> Planner:
    """`planner` for plants that never end: in every period it sees a whole horizon ahead."""
    return lambda state: planner(state._replace(period=np.zeros_like(state.period)))


class Plan(NamedTuple):
    """Of n plants, H periods, M machines and I items."""

    items: IntArray  # (n, H, M), 0: idle
    quantities: IntArray  # (n, H, M), units net of what switching loses
    produced: IntArray  # (n, H, I), by item
    setup_cost: FloatArray  # (n, H)

    def rows(self) -> FloatArray:
        """(n, H * 2 M): period after period the items, then the quantities, by machine."""
        both = np.concatenate([self.items, self.quantities], axis=2)
        return both.reshape(len(both), -1).astype(np.float64)


def nominal_plan(
    plant: Plant, planner: Planner, state: PlantState, *, horizon: int = HORIZON
) -> Plan:
    """What `planner` does from `state` on, under mean demand, rounded so that it adds up.

    The horizon ahead stays what it is in `state`: a rolling plant has as much of it every day.
    """
    mean = plant.instance.mean_demand
    items: list[IntArray] = []
    quantities: list[IntArray] = []
    produced: list[IntArray] = []
    setup_cost: list[FloatArray] = []
    now = state
    for period in range(horizon):
        chosen = np.ascontiguousarray(planner(now), dtype=np.int64)
        post, switching = plant.apply(now, chosen)
        items.append(chosen)
        quantities.append(net_quantities(plant.instance, now, chosen))
        produced.append(post.inventory.astype(np.int64) - now.inventory)
        setup_cost.append(switching)
        asked = np.rint(mean * (period + 1)) - np.rint(mean * period)
        demand = np.tile(asked.astype(np.int32), (len(chosen), 1))
        now = plant.advance_with(post, demand)[0]._replace(period=state.period)
    return Plan(
        items=np.stack(items, axis=1),
        quantities=np.stack(quantities, axis=1),
        produced=np.stack(produced, axis=1),
        setup_cost=np.stack(setup_cost, axis=1),
    )


def net_quantities(instance: Instance, state: PlantState, action: IntArray) -> IntArray:
    """Units that each machine adds to stock, (n, M), less what a switch loses; 0 when idle."""
    machine, busy = np.arange(instance.machines), action > 0
    item = np.maximum(action - 1, 0)
    lost = np.where(action != state.set_up, instance.setup_loss[machine, item], 0)
    return np.where(busy, instance.production[machine, item] - lost, 0)


def action_box(instance: Instance) -> ActionBox:
    """The bounds of a decision: the item of each machine, then its net quantity."""
    makes = instance.production > 0
    least = np.where(makes, instance.production - instance.setup_loss, 0).min(axis=1)
    machines = range(1, instance.machines + 1)
    return ActionBox(
        low=(*(0.0 for _ in machines), *np.minimum(least, 0).astype(np.float64).tolist()),
        high=(
            *(float(instance.items) for _ in machines),
            *instance.production.max(axis=1).astype(np.float64).tolist(),
        ),
        units=(
            *(f"item on machine {machine}" for machine in machines),
            *(f"units on machine {machine}" for machine in machines),
        ),
    )
