"""When one machine that serves one item should run: exact, from each stock and period."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from decisions.domains.lotsizing.exact import check_stocks, item_lookahead
from decisions.domains.lotsizing.instance import Instance
from decisions.policy import BoolArray, FloatArray

Savings = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, eq=False)
class StartStop:
    """What machine m gains by serving item i alone until the horizon, and whether it runs now.

    Axes: period (T), machine (M), item (I), set up for it (0 no, 1 yes), stock (largest capacity
    + 1). Entries of an item that a machine cannot make mean nothing.
    """

    runs: BoolArray
    saving: Savings  # cost of never making the item again, less the cost of serving it
    mean_saving: FloatArray  # (M, I), over the starts that `Plant.reset` draws; -inf: cannot


def start_stop(instance: Instance, *, stops: bool, waits: bool) -> StartStop:
    """The least costly way to serve an item, by backward induction on its stock.

    Args:
        instance: any plant.
        stops: whether a machine may stop for good, set up or not.
        waits: whether a machine that is not set up may start later. With `stops`, a running one
            may pause; that forgets the set-up.

    Raises:
        DataError: a capacity is too large for tables of every stock.
    """
    check_stocks(instance, int(instance.capacity.argmax()))
    shape = (
        *(instance.horizon, instance.machines, instance.items),
        *(2, int(instance.capacity.max()) + 1),
    )
    runs, saving = np.zeros(shape, dtype=np.bool_), np.zeros(shape, dtype=np.float32)
    mean = np.full((instance.machines, instance.items), -np.inf)
    for item in range(instance.items):
        machines = np.flatnonzero(instance.production[:, item])
        _serve(instance, item, machines, stops, waits, runs, saving)
        starts = saving[0, machines, item, :, : int(instance.capacity[item])].mean(axis=-1)
        chance = 1 / (instance.production[machines] > 0).sum(axis=1)
        mean[machines, item] = starts[:, 0] * (1 - chance) + starts[:, 1] * chance
    return StartStop(runs=runs, saving=saving, mean_saving=mean)


def _serve(
    instance: Instance,
    item: int,
    machines: npt.NDArray[np.int64],
    stops: bool,
    waits: bool,
    runs: BoolArray,
    saving: Savings,
) -> None:
    """Fills in one item, for all machines that can make it."""
    size = int(instance.capacity[item]) + 1
    made = instance.production[machines, item]
    lost, price = instance.setup_loss[machines, item], instance.setup_cost[machines, item]
    low, high = int(min(0, (made - lost).min())), int(size - 1 + made.max())
    cost, transition = item_lookahead(instance, item, low, high)
    stock = np.arange(size) - low
    going_on, switching = stock + made[:, None], stock + (made - lost)[:, None]
    row = np.arange(len(machines))[:, None]
    never, served = np.zeros(size), np.zeros((len(machines), 2, size))
    for period in reversed(range(instance.horizon)):
        after = cost + served @ transition.T
        never = (cost + transition @ never)[stock]
        idle = after[:, 0, stock]
        cannot = np.full_like(idle, np.inf)
        stopped = np.broadcast_to(never, idle.shape) if stops else cannot
        rest_off = np.minimum(idle if waits else cannot, stopped)
        rest_on = np.minimum(idle if waits and stops else cannot, stopped)
        start = price[:, None] + after[row, 1, switching]
        go_on = after[row, 1, going_on]
        served = np.stack([np.minimum(start, rest_off), np.minimum(go_on, rest_on)], axis=1)
        runs[period, machines, item, 0, :size] = start < rest_off
        runs[period, machines, item, 1, :size] = go_on < rest_on
        saving[period, machines, item, :, :size] = never - served
