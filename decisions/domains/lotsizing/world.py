"""Plants that never stop: a period a day, each beginning with what the one before left.

The closing stock of a day is a unit. At the midnight that follows it is decided what every machine
makes; the day's demand then follows, and so does the next closing stock. Nothing is kept between
calls: the state of a plant is its last unit and the decision on it, and demand is a function of
plant and day.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from decisions.domains.lotsizing.instance import Instance
from decisions.domains.lotsizing.plan import Planner
from decisions.domains.lotsizing.plant import Plant, PlantState, Units
from decisions.errors import DataError
from decisions.frames import OUTCOMES, UTC_TIME
from decisions.policy import FloatArray, IntArray
from decisions.seeds import RowKeys

DAY = timedelta(days=1)
CLOSING = timedelta(minutes=1)  # before midnight: when the stock of a day is taken
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_BY_ITEM = pl.List(pl.Int32())
UNITS = pl.Schema(
    {
        "plant": pl.String(),  # "20x10/2" is the second plant of the instance 20x10
        "instance": pl.String(),  # digest of the model
        "period": pl.Int64(),  # periods the plant has lived
        "inventory": _BY_ITEM,  # units in stock
        "set_up": pl.List(pl.Int16()),  # by machine, item 1 to I; 0: none
        "horizon_left": pl.Int64(),  # periods that a plan looks ahead: a plant never ends
        "demand": _BY_ITEM,  # of the period that ended, as all below; empty at a start
        "lost": _BY_ITEM,  # units of demand not met
        "produced": _BY_ITEM,  # net of what switching lost
        "setup_cost": pl.Float64(),
        "lost_cost": pl.Float64(),
        "holding_cost": pl.Float64(),
    }
)


class Lived(NamedTuple):
    """What a period brought n plants."""

    state: PlantState  # after it
    demand: Units  # (n, I)
    lost: Units  # (n, I)
    produced: Units  # (n, I)
    setup_cost: FloatArray  # (n,), as the others
    lost_cost: FloatArray
    holding_cost: FloatArray

    @property
    def cost(self) -> FloatArray:
        """All of it, (n,)."""
        return self.setup_cost + self.lost_cost + self.holding_cost


def lived(
    plant: Plant, state: PlantState, action: npt.NDArray[np.integer], demand: Units
) -> Lived:
    """A period of n plants, under an action (n, M) and a demand (n, I)."""
    post, setup_cost = plant.apply(state, action)
    after, lost_cost, holding_cost = plant.advance_with(post, demand)
    return Lived(
        state=after,
        demand=demand,
        lost=np.maximum(demand - post.inventory, 0),
        produced=post.inventory - state.inventory,
        setup_cost=setup_cost,
        lost_cost=lost_cost,
        holding_cost=holding_cost,
    )


def lists(frame: pl.DataFrame, column: str, width: int) -> IntArray:
    """A column of lists of numbers as whole ones, (n, width).

    Raises:
        DataError: a list is missing or of another length, or an entry is missing or not finite.
    """
    lengths = frame[column].list.len().fill_null(0).to_numpy()
    wrong = np.flatnonzero(lengths != width)
    if len(wrong):
        raise DataError(
            f"{column} of row {wrong[0]} has {lengths[wrong[0]]} entries; wanted {width}"
        )
    flat = frame[column].explode(empty_as_null=False)
    missing = ~flat.is_finite().fill_null(value=False)
    if missing.any():
        place = int(missing.to_numpy().argmax())
        raise DataError(
            f"{column} of row {place // width} has {flat[place]} as entry {place % width}; wanted"
            " numbers"
        )
    return flat.cast(pl.Int64).to_numpy().reshape(frame.height, width)


def state_of(frame: pl.DataFrame, instance: Instance) -> PlantState:
    """The plants of a frame with the columns of `UNITS`, with as much of a horizon left.

    Raises:
        DataError: naming the column, where a plant cannot be in such a state.
    """
    inventory = lists(frame, "inventory", instance.items)
    set_up = lists(frame, "set_up", instance.machines)
    if frame["horizon_left"].null_count():
        row = frame["horizon_left"].is_null().arg_true()[0]
        raise DataError(f"horizon_left of row {row} is missing; wanted periods of a horizon")
    left = frame["horizon_left"].to_numpy()
    _refuse("inventory", inventory, (inventory < 0) | (inventory > instance.capacity), "stock")
    made = np.pad(instance.production > 0, ((0, 0), (1, 0)), constant_values=True)
    known = (set_up >= 0) & (set_up <= instance.items)
    possible = made[np.arange(instance.machines), np.where(known, set_up, 0)]
    _refuse("set_up", set_up, ~(known & possible), "an item the machine can make, or 0")
    _refuse("horizon_left", left, (left < 1) | (left > instance.horizon), "periods of a horizon")
    return PlantState(
        inventory.astype(np.int32),
        set_up.astype(np.int16),
        (instance.horizon - left).astype(np.int32),
    )


def _refuse(name: str, values: IntArray, bad: npt.NDArray[np.bool_], wanted: str) -> None:
    if bad.any():
        place = tuple(int(i) for i in np.argwhere(bad)[0])
        at = "".join(f"[{i}]" for i in place)
        raise DataError(f"{name}{at} is {values[place]}; wanted {wanted}")


def units_of(instance: Instance, state: PlantState, brought: Lived | None) -> pl.DataFrame:
    """The columns of `UNITS` but `plant` and `period`; `brought` is None at a start."""
    n = len(state.period)
    by_item = dict[str, pl.Series]()
    costs = dict[str, FloatArray]()
    for name in ("demand", "lost", "produced"):
        values = np.zeros((n, 0), np.int32) if brought is None else getattr(brought, name)
        by_item[name] = pl.Series(name, values.tolist(), dtype=_BY_ITEM)
    for name in ("setup_cost", "lost_cost", "holding_cost"):
        costs[name] = np.zeros(n) if brought is None else getattr(brought, name)
    return pl.DataFrame(
        {
            "instance": pl.repeat(instance.digest, n, dtype=pl.String(), eager=True),
            "inventory": pl.Series(state.inventory.tolist(), dtype=_BY_ITEM),
            "set_up": pl.Series(state.set_up.tolist(), dtype=pl.List(pl.Int16())),
            "horizon_left": pl.repeat(instance.horizon, n, dtype=pl.Int64(), eager=True),
            **by_item,
            **costs,
        }
    )


@dataclass(frozen=True, kw_only=True)
class RollingPlants:
    """`plants` plants of one instance, each with a demand of its own: a `World`.

    A plant without a decision at the midnight before, or of another instance then, starts afresh
    by the instance's reset rule. Every day there is a whole horizon ahead.
    """

    instance: Instance
    plants: int = 2
    seed: int = 20

    @cached_property
    def plant(self) -> Plant:
        """Its kernels."""
        return Plant(self.instance)

    @property
    def names(self) -> list[str]:
        """What the plants are called."""
        return [f"{self.instance.name}/{number + 1}" for number in range(self.plants)]

    def demand(self, number: IntArray, day: IntArray) -> Units:
        """What is asked of plants, by number (n,) and days since 1970 (n,): (n, I)."""
        keys = RowKeys(self.seed, np.ascontiguousarray(number, dtype=np.int64))
        return self.plant.demand(self.plant.demand_uniforms(keys, day.astype(np.int32)))

    def sample(self, n: int, rng: np.random.Generator, planner: Planner) -> pl.DataFrame:
        """`n` plausible units: plants a period after a random start."""
        keys = RowKeys(int(rng.integers(2**62)), np.arange(n, dtype=np.int64))
        state = self.plant.reset(keys)
        demand = self.plant.demand(self.plant.demand_uniforms(keys, state.period))
        brought = lived(self.plant, state, planner(state), demand)
        names = pl.Series("plant", self.names, dtype=pl.String())
        return (
            units_of(self.instance, brought.state, brought)
            .select(
                names.gather(np.arange(n) % self.plants),
                pl.repeat(1, n, dtype=pl.Int64()).alias("period"),
                pl.all(),
            )
            .select(list(UNITS))
        )

    def arrivals(self, start: datetime, end: datetime, settled: pl.DataFrame) -> pl.DataFrame:
        """The closing stock of the day that ends in [start, end), of every plant.

        Raises:
            DataError: more than one day is asked for: the second follows decisions on the first.
        """
        first, after = (-((EPOCH - CLOSING - each) // DAY) - 1 for each in (start, end))
        closings = range(first, after)
        if len(closings) > 1:
            raise DataError(
                f"{len(closings)} days of plants are asked for at once, {start} to {end}; wanted"
                " one, since the next follows the decisions on it"
            )
        names = pl.DataFrame(
            {"plant": self.names if len(closings) else []}, schema_overrides=UNITS
        )
        closed = EPOCH + (closings[0] + 1) * DAY - CLOSING if len(closings) else start
        before = self._carried_out(settled)
        going_on = self._followed(before.filter(pl.col("observed_at") == closed - DAY))
        fresh = names.join(going_on, on="plant", how="anti", maintain_order="left")
        units = pl.concat([going_on, self._started(fresh, closed)]).sort("plant")
        return units.select(
            pl.concat_str("plant", pl.lit(f"{closed:@%Y-%m-%d}")).alias("reference"),
            pl.lit(closed, dtype=UTC_TIME).alias("observed_at"),
            *UNITS,
        )

    def outcomes(self, decisions: pl.DataFrame, as_of: datetime) -> pl.DataFrame:
        """Minus the cost of the period of each decision, known a day after it was taken.

        A decision that was not carried out has none: one taken after its midnight, when the plant
        had begun afresh, or on a plant of another instance.
        """
        known = self._carried_out(decisions).filter(pl.col("decided_at") + DAY <= as_of)
        return known.select(
            "decision_id",
            pl.Series("reward", -self._lived(known).cost),
            (pl.col("decided_at") + DAY).alias("observed_at"),
        ).match_to_schema(OUTCOMES)

    def _carried_out(self, decisions: pl.DataFrame) -> pl.DataFrame:
        """The decisions on these plants that were taken at the midnight after the unit."""
        return decisions.filter(
            pl.col("decided_at") == pl.col("observed_at") + CLOSING,
            pl.col("instance") == self.instance.digest,
            pl.col("plant").is_in(self.names),
        )

    def _lived(self, decisions: pl.DataFrame) -> Lived:
        """The periods that decisions on units of these plants began: the day after each unit."""
        machines = self.instance.machines
        action = decisions["action"].list.head(machines)
        number = decisions["plant"].str.split("/").list.last().cast(pl.Int64).to_numpy() - 1
        micros = (decisions["observed_at"] - EPOCH).dt.total_microseconds().to_numpy()
        day = micros // (DAY // timedelta(microseconds=1)) + 1
        return lived(
            self.plant,
            state_of(decisions, self.instance),
            lists(action.to_frame(), "action", machines),
            self.demand(number, day),
        )

    def _followed(self, decisions: pl.DataFrame) -> pl.DataFrame:
        """The units that decisions lead to, one a plant."""
        latest = decisions.sort("decision_id").unique("plant", keep="last", maintain_order=True)
        brought = self._lived(latest)
        return units_of(self.instance, brought.state, brought).select(
            latest["plant"], (latest["period"] + 1).alias("period"), pl.all()
        )

    def _started(self, names: pl.DataFrame, closed: datetime) -> pl.DataFrame:
        """New plants, by the reset rule."""
        number = names["plant"].str.split("/").list.last().cast(pl.Int64).to_numpy()
        keys = RowKeys(self.seed, (closed - EPOCH) // DAY * 1000 + number)
        return units_of(self.instance, self.plant.reset(keys), None).select(
            names["plant"], pl.lit(0, pl.Int64()).alias("period"), pl.all()
        )
