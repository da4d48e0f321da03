"""Many plants stepped in place, each starting its next episode by itself: the fast way to data."""

import numpy as np
import numpy.typing as npt

from decisions.domains.lotsizing.environment import PlantEnvironment
from decisions.domains.lotsizing.plant import DEMAND, RESET, PlantState
from decisions.domains.lotsizing.tables import rows_of, tiles_of
from decisions.policy import FloatArray
from decisions.seeds import RowKeys


class PlantBatch:
    """n plants, one kernel call a period; the arrays below are rewritten by every call.

    Row j lives the episodes `episodes.rows[j]`, then that number plus `stride`, and so on.
    Each of its episodes is the one that `environment` gives, bit for bit.
    """

    def __init__(
        self, environment: PlantEnvironment, episodes: RowKeys, *, stride: int = 1
    ) -> None:
        self.environment = environment
        self._inputs = (
            environment.plant.tables,
            environment.layout,
            episodes.philox_key(*DEMAND),
            episodes.philox_key(*RESET),
            environment.horizon,
            stride,
        )
        n = len(episodes.rows)
        state = environment.reset(episodes)
        self._tiles = tiles_of(state.inventory)
        self._set_up, self._period = state.set_up, state.period
        self.episode = episodes.rows.copy()  # (n,), of `state`
        self.observation = environment.observe(state)  # (n, width), of `state`
        self.final_observation = np.zeros_like(self.observation)  # where an episode has ended
        self.reward: FloatArray = np.zeros(n)
        self.costs: FloatArray = np.zeros((n, 3))  # set-up, lost sales, holding
        self.ended = np.zeros(n, dtype=np.bool_)  # whether the horizon was reached

    @property
    def state(self) -> PlantState:
        """A copy of the states."""
        inventory = rows_of(self._tiles, len(self.episode)).copy()
        return PlantState(inventory, self._set_up.copy(), self._period.copy())

    def step(self, action: npt.NDArray[np.integer]) -> None:
        """Lives one period under `action` (n, M).

        Raises:
            DataError: an action is outside the mask.
        """
        plant = self.environment.plant
        chosen = plant.choices(action, len(self.episode), masked=self.environment.masked)
        outputs = (
            self._tiles,
            self._set_up,
            self._period,
            self.episode,
            self.costs,
            self.reward,
            self.ended,
            self.observation,
            self.final_observation,
        )
        plant.share(plant.kernels.step, (*self._inputs, chosen), outputs)
