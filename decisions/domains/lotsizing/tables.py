"""What the kernels of a plant read, prepared once, for the compiled and the plain ones alike."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from decisions.domains.lotsizing.instance import Instance
from decisions.policy import FloatArray, IntArray

Units = npt.NDArray[np.int32]
Setups = npt.NDArray[np.int16]
Words = npt.NDArray[np.uint32]
Key = tuple[int, int]

LANES = 64  # rows that compiled kernels take together


class Tables(NamedTuple):
    """A plant for kernels; idling is column 0 of the first three."""

    production: IntArray  # (M, I + 1)
    setup_cost: FloatArray  # (M, I + 1)
    setup_loss: IntArray  # (M, I + 1)
    capacity: IntArray  # (I,)
    lost_sales_cost: FloatArray  # (I,)
    holding_cost: FloatArray  # (I,)
    thresholds: IntArray  # (I, K), P(demand <= d) in units of 2^-32; 2^32 from the largest on
    guide: Setups  # (I, 256), the smallest demand of a word whose upper 8 bits are given
    makeable: Setups  # (M, I), the items 1 to I that a machine can make, ascending, then zeros
    makeable_count: IntArray  # (M,)


class Layout(NamedTuple):
    """How a state is written as numbers: stock, then set-ups machine by machine, then time."""

    stock_unit: FloatArray  # (I,), what one unit in stock shows as
    labels: int  # of the one-hot code of a set-up; 1: its number by `setup_unit`; 0: not shown
    setup_unit: float
    time_unit: float  # what one period shows as; 0: not shown


def tables_of(instance: Instance) -> Tables:
    """The tables of an instance."""
    idle_first = ((0, 0), (1, 0))
    thresholds = _thresholds(instance)
    starts = np.arange(256, dtype=np.int64) << 24
    guide = [np.searchsorted(row, starts, side="right") for row in thresholds]
    makeable = np.where(instance.production > 0, np.arange(1, instance.items + 1), 0)
    order = np.argsort(makeable == 0, axis=1, kind="stable")
    return Tables(
        production=np.pad(instance.production, idle_first),
        setup_cost=np.pad(instance.setup_cost, idle_first),
        setup_loss=np.pad(instance.setup_loss, idle_first),
        capacity=instance.capacity,
        lost_sales_cost=instance.lost_sales_cost,
        holding_cost=instance.holding_cost,
        thresholds=thresholds,
        guide=np.array(guide, dtype=np.int16),
        makeable=np.take_along_axis(makeable, order, axis=1).astype(np.int16),
        makeable_count=(makeable > 0).sum(axis=1, dtype=np.int64),
    )


def _thresholds(instance: Instance) -> IntArray:
    reached = np.rint(np.cumsum(instance.demand, axis=1) * 2.0**32).astype(np.int64)
    for row, chances in zip(reached, instance.demand, strict=True):
        row[np.flatnonzero(chances)[-1] :] = 2**32
    return np.minimum(reached, 2**32)


def tiles_of(inventory: Units) -> Units:
    """Stock (n, I) as tiles of LANES rows, item by item, (tiles, I, LANES); 0 beyond row n."""
    rows, items = inventory.shape
    count = -(-rows // LANES)
    padded = np.zeros((count * LANES, items), dtype=np.int32)
    padded[:rows] = inventory
    return np.ascontiguousarray(padded.reshape(count, LANES, items).transpose(0, 2, 1))


def rows_of(tiles: Units, rows: int) -> Units:
    """The stock (rows, I) that tiles hold."""
    return tiles.transpose(0, 2, 1).reshape(-1, tiles.shape[1])[:rows]
