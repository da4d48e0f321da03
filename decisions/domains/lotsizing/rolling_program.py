"""A policy that plans some periods ahead by a mixed-integer program and carries out the first.

With one scenario of mean demand it is the deterministic plan; with several, the two-stage
stochastic program: the first period is decided before demand is known, later ones after it. That
recourse knows too much, so later lost sales look avoidable; `fixed` lets all scenarios share one
plan for the whole horizon instead.

Source: Birge and Louveaux (2011), "Introduction to Stochastic Programming", chapter 2, with a
rolling horizon. Departure: what the last period leaves is credited, or production would stop.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from decisions.domains.lotsizing.instance import Instance
from decisions.domains.lotsizing.plant import Plant, PlantState
from decisions.domains.lotsizing.production_program import Actions, Credits, Program, solve
from decisions.policy import FloatArray
from decisions.seeds import stream

UNIT_CREDIT = 0.9  # of the lost-sales cost, for a unit of stock that will be sold
COVER = 12.5  # periods of mean demand that the last stock is credited for at most
SET_UP_CREDIT = 0.5  # of the set-up cost, for a machine that is set up when the horizon ends


@dataclass(frozen=True, kw_only=True, eq=False)
class RollingProgram:
    """Plans `horizon` periods, or to the end of the episode where that is nearer.

    `scenarios` is 0 for mean demand, or how many demand paths are drawn, by `seed` and period;
    `base` is a policy whose plan the solver starts from. Each decision may take `seconds`, so
    unless programs are solved to the end, what is decided depends on the machine's speed.
    """

    instance: Instance
    base: Callable[[PlantState], npt.NDArray[np.integer]]
    horizon: int = 12
    scenarios: int = 0
    fixed: bool = False
    seconds: float = 1.0
    seed: int = 0

    def act(self, state: PlantState) -> Actions:
        """Actions (n, M), a program a row.

        Raises:
            NoPlan: the state is none of a plant.
        """
        action = np.zeros(state.set_up.shape, dtype=np.int16)
        for row in range(len(action)):
            one = slice(row, row + 1)
            action[row] = self._first(
                PlantState(state.inventory[one], state.set_up[one], state.period[one])
            )
        return action

    def _first(self, state: PlantState) -> npt.NDArray[np.int16]:
        """What one plant does now, (M,)."""
        left = self.instance.horizon - int(state.period[0])
        periods = min(self.horizon, max(left, 1))
        demand = self._demand(periods, int(state.period[0]))
        program = Program(
            instance=self.instance,
            inventory=state.inventory[0].astype(np.int64),
            set_up=state.set_up[0].astype(np.int64),
            demand=demand,
            agreed=periods if self.fixed else 1,
            credits=end_credits(self.instance, left - periods),
        )
        start = self._incumbent(state, demand)
        found = solve(program, seconds=self.seconds, incumbent=start)
        return program.plan(found.values)[0, 0]

    def _demand(self, periods: int, period: int) -> FloatArray:
        """Scenarios (S, H, I), the same for all plants in a period."""
        mean = self.instance.mean_demand
        if not self.scenarios:
            return np.tile(mean, (1, periods, 1))
        rng = stream(self.seed, "lotsizing", "rolling program", str(period))
        uniform = rng.random((self.scenarios, periods, self.instance.items))
        reached = np.cumsum(self.instance.demand, axis=1)
        demand = [
            np.searchsorted(law[:-1], uniform[..., item], side="right")
            for item, law in enumerate(reached)
        ]
        return np.stack(demand, axis=-1).astype(np.float64)

    def _incumbent(self, state: PlantState, demand: FloatArray) -> Actions:
        """The base policy's actions (S, H, M) under the scenarios; of the first alone if fixed."""
        plant = Plant(self.instance)
        lived = 1 if self.fixed else len(demand)
        now = PlantState(
            np.repeat(state.inventory, lived, axis=0),
            np.repeat(state.set_up, lived, axis=0),
            np.repeat(state.period, lived),
        )
        actions = np.zeros((*demand.shape[:2], self.instance.machines), dtype=np.int16)
        for period in range(demand.shape[1]):
            actions[:, period] = self.base(now)
            post, _ = plant.apply(now, actions[:lived, period])
            now, _, _ = plant.advance_with(post, np.rint(demand[:lived, period]).astype(np.int64))
        return actions


def end_credits(instance: Instance, left: int) -> Credits | None:
    """What stock and set-ups are worth when `left` periods remain; None at the end."""
    if left <= 0:
        return None
    mean = instance.mean_demand
    most = np.minimum(mean * min(COVER, left), instance.capacity)
    sold = np.minimum(instance.production, mean) * instance.lost_sales_cost
    return Credits(
        stock=UNIT_CREDIT * instance.lost_sales_cost,
        most=most,
        set_up=np.minimum(SET_UP_CREDIT * instance.setup_cost, sold),
    )
