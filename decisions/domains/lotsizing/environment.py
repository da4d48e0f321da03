"""The plant as a simulator to learn in: what an agent sees, may do and earns."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt

from decisions.domains.lotsizing.plant import Plant, PlantState, PostState, check_action
from decisions.domains.lotsizing.tables import Layout
from decisions.policy import BoolArray, FloatArray, IntArray
from decisions.rl.environment import Features, MultiDiscrete
from decisions.seeds import RowKeys

Observation = Literal["full", "inventory", "inventory+setup"]


@dataclass(frozen=True, eq=False)
class PlantEnvironment:
    """`decisions.rl.environment.Environment` of a plant; rewards are minus its costs, unscaled.

    `observation` "full" is Markov: stock over capacity, each machine's set-up as a one-hot code
    (none first), and, with `time`, the share of the horizon that has passed. "inventory" hides
    the set-ups and "inventory+setup" shows their numbers, as published codes did, both without
    the time. `scaled=False` leaves stock and set-up numbers as they are; `masked=False` lets an
    agent choose items that a machine cannot make, which only loses units.
    """

    plant: Plant
    observation: Observation = "full"
    time: bool = True
    scaled: bool = True
    masked: bool = True

    @property
    def horizon(self) -> int:
        """Periods of an episode."""
        return self.plant.instance.horizon

    @property
    def actions(self) -> MultiDiscrete:
        """A head a machine: 0 idles, i makes item i."""
        instance = self.plant.instance
        return MultiDiscrete((instance.items + 1,) * instance.machines)

    @property
    def observation_size(self) -> int:
        """Width of `observe`."""
        instance = self.plant.instance
        return (
            instance.items + instance.machines * self.layout.labels + (self.layout.time_unit > 0)
        )

    @property
    def keep_columns(self) -> tuple[int, int] | None:
        """Columns of the observation that are 1 where a choice keeps the set-up, if it shows."""
        instance = self.plant.instance
        width = instance.machines * self.layout.labels
        return (instance.items, instance.items + width) if self.layout.labels > 1 else None

    @property
    def keep_worthy(self) -> BoolArray:
        """The choices that have a set-up to keep: all but idling, machine after machine."""
        instance = self.plant.instance
        return np.tile(np.arange(instance.items + 1) > 0, instance.machines)

    @property
    def post_observation_size(self) -> int:
        """Width of `observe_post`: the same."""
        return self.observation_size

    def reset(self, episodes: RowKeys) -> PlantState:
        """The first states of episodes, by the rule of `Plant.reset`."""
        return self.plant.reset(episodes)

    def observe(self, state: PlantState) -> Features:
        """Stock, set-ups and time as the agent sees them, (n, observation_size)."""
        return self._encode(state)

    def mask(self, state: PlantState) -> BoolArray | None:
        """Idling and the items that a machine can make, machine after machine; all rows alike."""
        if not self.masked:
            return None
        return np.broadcast_to(self._flat_mask, (len(state.inventory), self._flat_mask.size))

    def apply(
        self, state: PlantState, action: npt.NDArray[np.generic]
    ) -> tuple[PostState, FloatArray]:
        """Post-decision states and minus the set-up costs (n,), of `action` (n, M).

        Raises:
            DataError: an action is outside the mask.
        """
        if self.masked:
            check_action(self.plant, action)
        post, cost = self.plant.apply(state, action)
        return post, -cost

    def observe_post(self, post: PostState) -> Features:
        """The same as `observe`, of stock after production and before demand."""
        return self._encode(post)

    def expected_reward(self, post: PostState) -> FloatArray:
        """Minus the lost-sales and holding costs that demand brings on average, exact, (n,)."""
        lost, holding = self.plant.expected_costs(post)
        return -(lost + holding)

    def advance(
        self, post: PostState, episodes: RowKeys, period: IntArray
    ) -> tuple[PlantState, FloatArray, BoolArray]:
        """Next states, minus the lost-sales and holding costs (n,), and False: no episode ends."""
        uniforms = self.plant.demand_uniforms(episodes, period)
        state, lost, holding = self.plant.advance(post, uniforms)
        return state, -(lost + holding), np.zeros(len(lost), dtype=np.bool_)

    @cached_property
    def _flat_mask(self) -> BoolArray:
        return self.plant.mask.ravel()

    @cached_property
    def layout(self) -> Layout:
        """How a state is shown."""
        instance, full = self.plant.instance, self.observation == "full"
        ones = np.ones(instance.items)
        return Layout(
            stock_unit=1 / instance.capacity if self.scaled else ones,
            labels={"full": instance.items + 1, "inventory": 0, "inventory+setup": 1}[
                self.observation
            ],
            setup_unit=1 / instance.items if self.scaled else 1.0,
            time_unit=1 / self.horizon if full and self.time else 0.0,
        )

    def _encode(self, state: PlantState | PostState) -> Features:
        features = np.empty((len(state.inventory), self.observation_size), dtype=np.float32)
        self.plant.share(self.plant.kernels.observe, (self.layout, *state), (features,))
        return features
