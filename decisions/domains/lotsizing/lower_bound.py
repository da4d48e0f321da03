"""What no policy can beat: a lower bound on the expected cost of an episode.

Items meet only at the machines: a machine runs one item at a time. Let machine `m` in period `t`
be rented at a price instead, to as many items as want it, and give the rents back. A policy of
the plant pays rents of at most what is given back, so it costs no less than the sum over items of
the least expected cost of an item on its own, rents included, less all rents given back. That
holds for any prices >= 0; the best ones are sought by ascent, whose direction is how far the
expected use of a machine exceeds one.

`refined_bound` goes further: in each simulated episode, prices may follow what happens. Items
then know their demand, but pay for what that tells them, so at the prices of the Lagrangian bound
nothing is gained, and better prices of the episode can only raise the bound.

Source: Hawkins (2003), "A Langrangian decomposition approach to weakly coupled dynamic
optimization problems"; Adelman and Mersereau (2008), "Relaxations of weakly coupled stochastic
dynamic programs"; Brown, Smith and Sun (2010), "Information relaxations and duality in stochastic
dynamic programs"; Ye, Zhu and Zhou (2018), "Weakly coupled dynamic program: information and
Lagrangian relaxations".
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from importlib.resources import files
from typing import Any

import numpy as np
import numpy.typing as npt

from decisions.domains.lotsizing.instance import Instance
from decisions.domains.lotsizing.plant import Plant
from decisions.domains.lotsizing.simulation import realised_demand
from decisions.errors import DataError
from decisions.policy import FloatArray, IntArray
from decisions.seeds import RowKeys

Report = Callable[[int, float], None]

ROUNDING = 1e-6  # of the costs that are added up: sums of floats, laws rounded to 32 bits
LARGEST_MEMORY_GIB = 4.0
MOST_MACHINES = 16  # that can make an item: the bits of `machine_rent.Choices`
DECIMALS = 3  # of prices, and more where costs are below one: what is stored was evaluated


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A run of ascent steps on prices that are constant in each of `blocks` parts of the horizon.

    Steps are in units of what a period of a machine is worth, and fall geometrically.
    """

    blocks: int
    evaluations: int
    first_step: float
    last_step: float


COARSE_TO_FINE = (
    Stage(blocks=1, evaluations=30, first_step=0.1, last_step=0.02),
    Stage(blocks=10, evaluations=40, first_step=0.06, last_step=0.01),
    Stage(blocks=100, evaluations=100, first_step=0.02, last_step=0.002),
)
ONE_EPISODE = (Stage(blocks=100, evaluations=50, first_step=0.15, last_step=0.008),)


@dataclass(frozen=True, kw_only=True, eq=False)
class Bound:
    """Every policy's expected cost of an episode, over resets and demand, is at least `value`.

    `multipliers` (M, T) are the prices that prove it; `lagrangian_at` computes the value again.
    """

    value: float  # cost units
    multipliers: FloatArray

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the prices, in hexadecimal."""
        return sha256(np.ascontiguousarray(self.multipliers, dtype="<f8").tobytes()).hexdigest()


def gap(cost: float, bound: float) -> float:
    """How much dearer than the bound a cost is, as a share of the bound, which is not 0."""
    return cost / bound - 1


@dataclass(frozen=True, kw_only=True, eq=False)
class RefinedBound:
    """A bound that holds in expectation: `base`, and what prices of the episode add to it.

    `gains` (n,) are independent over episodes and none is negative.
    """

    base: Bound
    gains: FloatArray

    @property
    def value(self) -> float:
        """The estimate of the bound, unbiased, in cost units."""
        return self.base.value + float(self.gains.mean())

    @property
    def standard_error(self) -> float:
        """Of `value`."""
        return float(self.gains.std(ddof=1) / np.sqrt(len(self.gains)))


def lagrangian_bound(
    instance: Instance,
    *,
    stages: Sequence[Stage] = COARSE_TO_FINE,
    report: Report | None = None,
) -> Bound:
    """The best bound found by ascent on the prices; `report` hears of each evaluation's value.

    Raises:
        DataError: an item can be made by more machines than its subsets can be listed for.
    """
    items = _items(instance)

    def evaluate(prices: FloatArray) -> tuple[float, FloatArray]:
        return _relaxed(items, prices)

    first = np.full((instance.machines, instance.horizon), 0.4 * _worth(instance))
    prices = ascend(evaluate, first, stages, unit=_worth(instance), report=report)
    return lagrangian_at(instance, prices.round(_decimals(instance)))


def lagrangian_at(instance: Instance, multipliers: FloatArray) -> Bound:
    """The bound that given prices (M, T) prove: one backward induction an item.

    Raises:
        DataError: the prices are not (M, T) numbers >= 0, or the instance is too large.
    """
    shape = (instance.machines, instance.horizon)
    if multipliers.shape != shape or not ((multipliers >= 0) & np.isfinite(multipliers)).all():
        raise DataError(
            f"multipliers have shape {multipliers.shape}, from {multipliers.min():g} to"
            f" {multipliers.max():g}; wanted {shape}, finite and >= 0"
        )
    value, _ = _relaxed(_items(instance), multipliers)
    margin = ROUNDING * (abs(value) + float(multipliers.sum()))
    return Bound(value=value - margin, multipliers=multipliers)


def refined_bound(
    instance: Instance,
    base: Bound,
    episodes: RowKeys,
    *,
    stages: Sequence[Stage] = ONE_EPISODE,
    report: Report | None = None,
) -> RefinedBound:
    """`base` raised by prices that follow each of `episodes`: starts and demand as simulated.

    Raises:
        DataError: the tables of costs-to-go would not fit into memory.
    """
    items = _items(instance)
    gib = sum(item.start.size * 2.3 for item in items) * (instance.horizon + 1) * 8 / 2**30
    if gib > LARGEST_MEMORY_GIB:
        raise DataError(
            f"{instance.name!r} would need {gib:.1f} GiB of costs-to-go; wanted at most"
            f" {LARGEST_MEMORY_GIB:g}: use `lagrangian_bound` alone"
        )
    tables = [item.costs_to_go(base.multipliers) for item in items]
    plant = Plant(instance)
    start = plant.reset(episodes)
    demand = realised_demand(plant, episodes, instance.horizon).transpose(0, 2, 1)
    gains: list[float] = []
    for row in range(len(episodes.rows)):
        stock, set_up, paths = start.inventory[row], start.set_up[row], demand[row].copy()

        def evaluate(
            prices: FloatArray,
            stock: npt.NDArray[np.int32] = stock,
            set_up: npt.NDArray[np.int16] = set_up,
            paths: npt.NDArray[np.int32] = paths,
        ) -> tuple[float, FloatArray]:
            usage = np.zeros_like(prices)
            value = -float(prices.sum())
            for item, table in zip(items, tables, strict=True):
                value += item.cost_knowing(prices, table, paths, stock, set_up, usage)
            return value, usage - 1.0

        unpriced, _ = evaluate(base.multipliers)
        prices = ascend(evaluate, base.multipliers, stages, unit=_worth(instance))
        gains.append(max(0.0, evaluate(prices)[0] - unpriced))
        if report is not None:
            report(row, gains[-1])
    return RefinedBound(base=base, gains=np.array(gains))


def packaged_bound(instance: Instance) -> dict[str, Any] | None:
    """What is known of a packaged instance, without computing it; None for any other.

    `value` is proved by `multipliers`; `refined` and its `standard_error` are over `scenarios`
    simulated episodes; `command` made them all.
    """
    known = json.loads((files("decisions.domains.lotsizing") / "bounds.json").read_text())
    return known.get(instance.digest)


def packaged_multipliers(instance: Instance) -> FloatArray | None:
    """The prices (M, T) behind the packaged bound; None for an instance that has none."""
    known = packaged_bound(instance)
    return None if known is None else np.array(known["multipliers"], dtype=np.float64)


def ascend(
    evaluate: Callable[[FloatArray], tuple[float, FloatArray]],
    first: FloatArray,
    stages: Sequence[Stage],
    *,
    unit: float,
    report: Report | None = None,
) -> FloatArray:
    """The best prices met while climbing from `first` (M, T) along supergradients.

    Source: Kingma and Ba (2015), "Adam", whose steps need no guess of the maximum. Each stage
    starts from the best prices so far.
    """
    best, highest, count = first, -np.inf, 0
    for stage in stages:
        prices = best
        parts = _parts(first.shape[1], stage.blocks)
        sizes = np.bincount(parts)
        speed, size = np.zeros_like(first), np.zeros_like(first)
        for step in range(1, stage.evaluations + 1):
            value, direction = evaluate(prices)
            if value > highest:
                best, highest = prices, value
            if report is not None:
                report(count, value)
            count += 1
            sums = np.array([np.bincount(parts, weights=row) for row in direction])
            direction = (sums / sizes)[:, parts]
            speed = 0.8 * speed + 0.2 * direction
            size = 0.98 * size + 0.02 * direction**2
            corrected = np.sqrt(size / (1 - 0.98**step)) + 1e-3
            done = (step - 1) / stage.evaluations
            length = unit * stage.first_step * (stage.last_step / stage.first_step) ** done
            prices = np.maximum(prices + length * speed / (1 - 0.8**step) / corrected, 0.0)
    return best


def _parts(periods: int, blocks: int) -> IntArray:
    """Which of at most `blocks` parts of nearly equal length each period is in, (periods,)."""
    return np.arange(periods, dtype=np.int64) * min(blocks, periods) // periods


@dataclass(frozen=True, kw_only=True, eq=False)
class Item:
    """One item on its own, with the machines that can make it."""

    index: int
    machines: IntArray  # (n,)
    production: IntArray  # (n,), and so the next two
    setup_cost: FloatArray
    setup_loss: IntArray
    lost_sales_cost: float
    holding_cost: float
    demand: FloatArray  # (K,)
    start: FloatArray  # (2^n, capacity + 1), the law of the first subset set up and stock

    @property
    def making(self) -> tuple[IntArray, FloatArray, IntArray]:
        """What machines do for it."""
        return self.production, self.setup_cost, self.setup_loss

    @property
    def unit_costs(self) -> tuple[float, float]:
        """Of a unit of lost sales, and of holding."""
        return self.lost_sales_cost, self.holding_cost

    def cost(self, prices: FloatArray, usage: FloatArray) -> float:
        """The least expected cost with rents; adds the expected use to `usage` (M, T)."""
        from decisions.domains.lotsizing.machine_rent import rent

        rents = prices[self.machines]
        used = np.zeros_like(rents)
        value = rent(*self.making, rents, *self.unit_costs, self.demand, self.start, used)
        usage[self.machines] += used
        return value

    def costs_to_go(self, prices: FloatArray) -> tuple[FloatArray, FloatArray]:
        """The least expected costs with rents of every period and state on.

        Before the decision by stock, (T + 1, 2^n, capacity + 1), and after it by column,
        (T, 2^n, columns), as `machine_rent` numbers them.
        """
        from decisions.domains.lotsizing.machine_rent import costs_to_go, lowest

        rents = prices[self.machines]
        subsets, stocks = self.start.shape
        columns = stocks + len(self.demand) + 2 * lowest(self.production, self.setup_loss)
        before = np.empty((rents.shape[1] + 1, subsets, stocks))
        after = np.empty((rents.shape[1], subsets, columns))
        costs_to_go(*self.making, rents, *self.unit_costs, self.demand, before, after)
        return before, after

    def cost_knowing(
        self,
        prices: FloatArray,
        to_go: tuple[FloatArray, FloatArray],
        demand: npt.NDArray[np.int32],  # (I, T)
        stock: npt.NDArray[np.int32],  # (I,)
        set_up: npt.NDArray[np.int16],  # (M,)
        usage: FloatArray,
    ) -> float:
        """The least cost in one episode, known but paid for; adds the use to `usage` (M, T)."""
        from decisions.domains.lotsizing.machine_rent import rent_knowing

        rents = prices[self.machines]
        used = np.zeros_like(rents)
        subset = int((set_up[self.machines] == self.index + 1) @ (1 << np.arange(len(rents))))
        first = int(stock[self.index])
        path = demand[self.index]
        value = rent_knowing(*self.making, rents, *to_go, path, subset, first, used)
        usage[self.machines] += used
        return value


def _relaxed(items: Sequence[Item], prices: FloatArray) -> tuple[float, FloatArray]:
    """The relaxation's value and its supergradient (M, T): expected use less one."""
    usage = np.zeros_like(prices)
    value = sum(item.cost(prices, usage) for item in items) - float(prices.sum())
    return value, usage - 1.0


def _items(instance: Instance) -> list[Item]:
    return [item_alone(instance, index) for index in range(instance.items)]


def item_alone(instance: Instance, index: int) -> Item:
    """One item, counted from 0, with what the relaxation needs of it.

    Raises:
        DataError: it can be made by more machines than its subsets can be listed for.
    """
    able = instance.production > 0
    machines = np.flatnonzero(able[:, index])
    capacity = int(instance.capacity[index])
    cells = 2 ** len(machines) * (capacity + instance.demand.shape[1]) * instance.horizon
    if len(machines) > MOST_MACHINES or cells * 2 / 2**30 > LARGEST_MEMORY_GIB:
        raise DataError(
            f"item {index + 1} of {instance.name!r} can be made by {len(machines)} machines:"
            " its subsets are too many for the Lagrangian bound; wanted at most about 14"
        )
    subset = np.ones(1)
    for chance in 1 / able[machines].sum(axis=1):  # the reset draws set-ups independently
        subset = np.concatenate([subset * (1 - chance), subset * chance])
    stock = np.where(np.arange(capacity + 1) < capacity, 1 / capacity, 0.0)
    law = instance.demand[index]
    return Item(
        index=index,
        machines=machines,
        production=instance.production[machines, index],
        setup_cost=instance.setup_cost[machines, index],
        setup_loss=instance.setup_loss[machines, index],
        lost_sales_cost=float(instance.lost_sales_cost[index]),
        holding_cost=float(instance.holding_cost[index]),
        demand=law[: int(np.flatnonzero(law)[-1]) + 1],
        start=np.outer(subset, stock),
    )


def _decimals(instance: Instance) -> int:
    """Decimals of prices that are a thousandth or less of what a period of a machine is worth."""
    return DECIMALS + max(0, -int(np.floor(np.log10(_worth(instance)))))


def _worth(instance: Instance) -> float:
    """What a period of a machine saves in lost sales, on average over what it can make."""
    able = instance.production > 0
    saved = np.minimum(instance.production, instance.mean_demand) * instance.lost_sales_cost
    worth = float(saved[able].mean())
    return worth if worth > 0 else 1.0
