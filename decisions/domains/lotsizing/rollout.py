"""H4: one step of policy improvement on the grouped rotation, by simulation.

In each state every machine's possible moves are tried in the same simulated futures, in which the
plant follows its rotation from the next period on, and the joint move with the least mean cost is
taken, machine by machine. A rotation's groups share nothing, so a future is simulated for the
groups that a move touches alone; and an item that nobody makes needs no simulation at all.

After the move a machine may also make nothing for good, if that is cheaper: an improvement on the
better of two policies, machine by machine. Without it no machine would stop before the horizon,
since its rotation would only start it again.

Source: Tesauro and Galperin (1996), "On-line policy improvement using Monte-Carlo search";
Bertsekas (2020), "Rollout, Policy Iteration, and Distributed Reinforcement Learning", chapters 2
(parallel rollout) and 3 (one agent at a time); Glasserman and Yao (1992), "Some guidelines and
guarantees for common random numbers".
"""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from decisions.domains.lotsizing.decomposition import idle_costs
from decisions.domains.lotsizing.instance import Instance
from decisions.domains.lotsizing.plant import Plant, PlantState
from decisions.domains.lotsizing.rotation import GroupedRotation, members_of, rotation_of
from decisions.domains.lotsizing.simulation import realised_demand
from decisions.domains.lotsizing.tables import Setups
from decisions.errors import DataError
from decisions.seeds import RowKeys

if TYPE_CHECKING:
    from decisions.domains.lotsizing.trials import Trial

FUTURES = 104_729  # seed of the scenarios: none of them is one that policies are evaluated in


@dataclass(frozen=True, kw_only=True, eq=False)
class Rollout:
    """A policy: the best single moves of the machines, each tried in `scenarios` futures.

    A future lasts `lookahead` periods or to the horizon. The scenarios of a period are the same
    for every state, so a decision depends on its own state alone. `sweeps` limits how often the
    machines are gone through.
    """

    instance: Instance
    base: GroupedRotation
    scenarios: int = 4
    lookahead: int = 100
    sweeps: int = 3

    def __post_init__(self) -> None:
        for name in ("scenarios", "lookahead", "sweeps"):
            if getattr(self, name) < 1:
                raise DataError(f"{name} is {getattr(self, name)}; wanted an integer >= 1")
        self.base.check(self.instance)

    @classmethod
    def of(cls, instance: Instance, *, scenarios: int = 4, lookahead: int = 100) -> "Rollout":
        """The rollout of the instance's tuned rotation."""
        base = rotation_of(instance)
        return cls(instance=instance, base=base, scenarios=scenarios, lookahead=lookahead)

    def act(self, state: PlantState) -> Setups:
        """Actions (n, M)."""
        from decisions.domains.lotsizing.trials import best_moves

        action = self.base.act(state)
        best_moves(self._trial, *state, self.sweeps, action)
        return action

    @cached_property
    def _trial(self) -> "Trial":
        from decisions.domains.lotsizing.trials import Trial

        plant = Plant(self.instance)
        owner = np.full(self.instance.items, -1, dtype=np.int64)
        for machine, group in enumerate(self.base.groups):
            owner[[item - 1 for item in group]] = machine
        futures = RowKeys(FUTURES, np.arange(self.scenarios, dtype=np.int64))
        return Trial(
            production=self.instance.production,
            setup_cost=self.instance.setup_cost,
            setup_loss=self.instance.setup_loss,
            capacity=self.instance.capacity,
            lost_sales_cost=self.instance.lost_sales_cost,
            holding_cost=self.instance.holding_cost,
            members=members_of(self.base.groups),
            owner=owner,
            low=self.base.low,
            gap=self.base.gap,
            idle=idle_costs(self.instance),
            demand=realised_demand(plant, futures, self.instance.horizon),
            lookahead=self.lookahead,
        )
