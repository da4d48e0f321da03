"""What an episode would have cost at least, had its demand been known from the start.

The mean over episodes of this cost is a lower bound on what any policy can reach, weaker than
`lower_bound`, since no policy knows demand; on one episode it says how much luck was in a result.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from decisions.domains.lotsizing.instance import Instance
from decisions.domains.lotsizing.plant import Plant, PlantState
from decisions.domains.lotsizing.production_program import Actions, Program, solve
from decisions.errors import DataError


@dataclass(frozen=True, kw_only=True, eq=False)
class Hindsight:
    """The best plan found for known demand, and a bound that no plan can be below."""

    actions: Actions  # (H, M)
    cost: float  # of the actions, in the plant; in the relaxation for a relaxed program
    bound: float
    optimal: bool  # within the solver's tolerance of 1e-4

    @property
    def gap(self) -> float:
        """(cost - bound) / cost; 0 where nothing costs anything."""
        return 0.0 if self.cost == 0 else (self.cost - self.bound) / abs(self.cost)


def perfect_information(
    instance: Instance,
    start: PlantState,
    demand: npt.NDArray[np.integer],
    *,
    seconds: float = 60.0,
    incumbent: npt.NDArray[np.integer] | None = None,
    exact: bool = True,
) -> Hindsight:
    """The best plan HiGHS finds for one plant's known demand.

    Args:
        instance: the plant.
        start: one row.
        demand: units, (H, I).
        seconds: for the solver, on one thread.
        incumbent: actions (H, M) to improve upon, such as a policy's under the same demand.
        exact: stock is discarded above the capacity only, as in the plant. False gives the
            relaxation in which it may be discarded any time: its bound holds for the plant too.

    Raises:
        NoPlan: time ran out before a plan was found.
        DataError: the shapes do not fit the instance.
    """
    shape = (len(demand), instance.items)
    if demand.shape != shape or len(demand) < 1 or len(start.inventory) != 1:
        raise DataError(
            f"demand has shape {demand.shape} and there are {len(start.inventory)} plants; wanted"
            f" periods by {instance.items} items, and one plant"
        )
    program = Program(
        instance=instance,
        inventory=start.inventory[0].astype(np.int64),
        set_up=start.set_up[0].astype(np.int64),
        demand=demand[None].astype(np.float64),
        exact=exact,
    )
    found = solve(
        program, seconds=seconds, incumbent=None if incumbent is None else incumbent[None]
    )
    actions = program.plan(found.values)[0]
    return Hindsight(
        actions=actions,
        cost=replayed_cost(instance, start, demand, actions) if exact else found.objective,
        bound=found.bound,
        optimal=found.optimal,
    )


def replayed_cost(
    instance: Instance,
    start: PlantState,
    demand: npt.NDArray[np.integer],
    actions: npt.NDArray[np.integer],
) -> float:
    """What actions (H, M) cost one plant under a demand (H, I)."""
    plant = Plant(instance)
    state, total = start, 0.0
    for action, units in zip(actions, demand, strict=True):
        post, switching = plant.apply(state, action[None])
        state, lost, holding = plant.advance_with(post, units[None])
        total += float(switching[0] + lost[0] + holding[0])
    return total
