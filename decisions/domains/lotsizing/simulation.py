"""Whole episodes of a plant under a policy, every policy meeting the same demand."""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
import numpy.typing as npt

from decisions.domains.lotsizing.plant import Plant, PlantState, Units, check_action
from decisions.policy import FloatArray
from decisions.seeds import RowKeys


@dataclass(frozen=True, kw_only=True, eq=False)
class Costs:
    """What n episodes cost, (n,) each, in the instance's unit of cost; the return is -`total`."""

    setup: FloatArray
    lost: FloatArray
    holding: FloatArray

    @property
    def total(self) -> FloatArray:
        """Cost of each episode, (n,)."""
        return self.setup + self.lost + self.holding


def evaluation_episodes(count: int = 1000, *, first: int = 10_000, seed: int = 0) -> RowKeys:
    """The episodes on which policies are compared; none of them is met in training."""
    return RowKeys(seed, np.arange(first, first + count, dtype=np.int64))


def simulate(
    plant: Plant,
    policy: Callable[[PlantState], npt.NDArray[np.integer[Any]]],
    episodes: RowKeys,
) -> Costs:
    """What whole episodes cost under a policy, which sees n states and returns actions (n, M).

    The noise is a function of the episodes alone, so policies are compared on common random
    numbers.

    Raises:
        DataError: an action is outside the mask.
    """
    state = plant.reset(episodes)
    setup, lost, holding = (np.zeros(len(episodes.rows)) for _ in range(3))
    for _ in range(plant.instance.horizon):
        action = policy(state)
        check_action(plant, action)
        post, switching = plant.apply(state, action)
        uniforms = plant.demand_uniforms(episodes, state.period)
        state, missed, held = plant.advance(post, uniforms)
        setup += switching
        lost += missed
        holding += held
    return Costs(setup=setup, lost=lost, holding=holding)


def realised_demand(plant: Plant, episodes: RowKeys, periods: int) -> Units:
    """Units asked for in the first `periods` periods of episodes, (n, periods, I)."""
    n = len(episodes.rows)
    demand = np.empty((n, periods, plant.instance.items), dtype=np.int32)
    for period in range(periods):
        now = np.full(n, period, dtype=np.int32)
        demand[:, period] = plant.demand(plant.demand_uniforms(episodes, now))
    return demand


def scenario_digest(plant: Plant, episodes: RowKeys) -> str:
    """SHA-256 of the first states and of all demand of episodes: what a comparison was run on."""
    start = plant.reset(episodes)
    digest = sha256(start.inventory.astype("<i4").tobytes())
    digest.update(start.set_up.astype("<i2").tobytes())
    digest.update(realised_demand(plant, episodes, plant.instance.horizon).astype("<i4").tobytes())
    return digest.hexdigest()
