"""The plant over some periods as a mixed-integer program, for one or several demand scenarios.

Columns, by scenario s, period t and pair q of a machine and an item that it can make: `run`
(binary) and `switch`; by s, t and item: `stock`, `lost` and `discarded` at the end of the period
and `full` (binary), which alone allows stock to be discarded; by s and item `wanted`, the last
stock as far as it earns a credit. All scenarios run the same in the first periods (`agreed`).

Source: the multi-item capacitated lot-sizing problem with set-up carry-over, Pochet and Wolsey
(2006), "Production Planning by Mixed Integer Programming", chapter 12, with lost sales.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import highspy
import numpy as np
import numpy.typing as npt
from scipy import sparse

from decisions.domains.lotsizing.instance import Instance
from decisions.errors import DecisionsError
from decisions.policy import BoolArray, FloatArray, IntArray

Actions = npt.NDArray[np.int16]


class NoPlan(DecisionsError):
    """A program has no plan, or none was found within the time given."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Credits:
    """What the end of the horizon is worth, so that the last periods do not stop producing."""

    stock: FloatArray  # (I,), for each unit of the last stock, up to `most`
    most: FloatArray  # (I,), units
    set_up: FloatArray  # (M, I), for a machine that ran the item in the last period


@dataclass(frozen=True, kw_only=True, eq=False)
class Program:
    """A plant in a known state that faces `demand` (S, H, I), mean over scenarios.

    With `exact` stock is discarded where it exceeds the capacity and nowhere else, as in the
    plant; without, anywhere, which can only cost less: a relaxation.
    """

    instance: Instance
    inventory: IntArray  # (I,)
    set_up: IntArray  # (M,), 0: none
    demand: FloatArray  # (S, H, I)
    agreed: int = 1  # periods in which all scenarios run the same
    exact: bool = True
    credits: Credits | None = None

    @cached_property
    def pairs(self) -> tuple[IntArray, IntArray]:
        """Machines and items, counted from 0, that go together, (Q,) each."""
        machine, item = np.nonzero(self.instance.production)
        return machine, item

    @cached_property
    def columns(self) -> dict[str, IntArray]:
        """Column numbers by kind, in arrays (S, H, Q), (S, H, I) or (S, I)."""
        scenarios, periods, items = self.demand.shape
        pairs = len(self.pairs[0])
        shapes = {
            "run": (scenarios, periods, pairs),
            "switch": (scenarios, periods, pairs),
            "stock": self.demand.shape,
            "lost": self.demand.shape,
            "discarded": self.demand.shape,
            "full": self.demand.shape,
            "wanted": (scenarios, items),
        }
        numbers: dict[str, IntArray] = {}
        first = 0
        for kind, shape in shapes.items():
            size = int(np.prod(shape))
            numbers[kind] = np.arange(first, first + size, dtype=np.int64).reshape(shape)
            first += size
        return numbers

    @property
    def initially(self) -> FloatArray:
        """1 for a pair that is set up at the start, (Q,)."""
        machine, item = self.pairs
        return (self.set_up[machine] == item + 1).astype(np.float64)

    def plan(self, values: FloatArray) -> Actions:
        """Actions (S, H, M) of a solution."""
        machine, item = self.pairs
        run = values[self.columns["run"]] > 0.5
        actions = np.zeros((*run.shape[:2], self.instance.machines), dtype=np.int16)
        s, t, q = np.nonzero(run)
        actions[s, t, machine[q]] = (item[q] + 1).astype(np.int16)
        return actions

    def values(self, actions: npt.NDArray[np.integer]) -> FloatArray:
        """The solution in which all columns follow from actions (S, H, M), as the plant works."""
        instance, columns = self.instance, self.columns
        machine, item = self.pairs
        values = np.zeros(int(columns["wanted"].max()) + 1)
        stock = np.tile(self.inventory.astype(np.float64), (len(self.demand), 1))
        before = np.tile(self.initially, (len(self.demand), 1))
        made, missed = instance.production[machine, item], instance.setup_loss[machine, item]
        to_item = (item[:, None] == np.arange(instance.items)).astype(np.float64)
        for t in range(self.demand.shape[1]):
            run = (actions[:, t, machine] == item + 1).astype(np.float64)
            switch = run * (1.0 - before)
            left = stock + (run * made - switch * missed) @ to_item - self.demand[:, t]
            stock = np.clip(left, 0.0, instance.capacity)
            values[columns["run"][:, t]] = run
            values[columns["switch"][:, t]] = switch
            values[columns["stock"][:, t]] = stock
            values[columns["lost"][:, t]] = np.maximum(-left, 0.0)
            values[columns["discarded"][:, t]] = np.maximum(left - stock, 0.0) * (left > 0)
            values[columns["full"][:, t]] = left > instance.capacity
            before = run
        if self.credits is not None:
            values[columns["wanted"]] = np.minimum(stock, self.credits.most)
        return values

    def cost(self, values: FloatArray) -> float:
        """The objective of a solution."""
        return float(self._costs @ values)

    @cached_property
    def _costs(self) -> FloatArray:
        instance, columns = self.instance, self.columns
        machine, item = self.pairs
        costs = np.zeros(int(columns["wanted"].max()) + 1)
        costs[columns["switch"]] = instance.setup_cost[machine, item]
        costs[columns["stock"]] = instance.holding_cost
        costs[columns["lost"]] = instance.lost_sales_cost
        if self.credits is not None:
            costs[columns["run"][:, -1]] = -self.credits.set_up[machine, item]
            costs[columns["wanted"]] = -self.credits.stock
        return costs / len(self.demand)

    @cached_property
    def _bounds(self) -> tuple[FloatArray, FloatArray, BoolArray]:
        """Lowest and highest value of each column, and which are integers."""
        instance, columns = self.instance, self.columns
        machine, item = self.pairs
        lower = np.zeros(len(self._costs))
        upper = np.ones(len(lower))
        upper[columns["switch"][:, 0]] = 1.0 - self.initially
        upper[columns["stock"]] = instance.capacity
        below = np.maximum(instance.setup_loss - instance.production, 0)[machine, item]
        upper[columns["lost"]] = self.demand + np.bincount(item, below, instance.items)
        upper[columns["discarded"]] = np.inf
        upper[columns["wanted"]] = 0.0 if self.credits is None else self.credits.most
        integer = np.zeros(len(lower), dtype=np.bool_)
        integer[columns["run"]] = True
        if self.exact:
            integer[columns["full"]] = True
        return lower, upper, integer

    def highs_model(self) -> highspy.HighsLp:
        """The program as HiGHS reads it, column by column."""
        rows = _Rows()
        self._add_machines(rows)
        self._add_stocks(rows)
        matrix, lowest, highest = rows.matrix(len(self._costs))
        lower, upper, integer = self._bounds
        model = highspy.HighsLp()
        model.num_col_, model.num_row_ = len(lower), len(lowest)
        model.col_cost_ = self._costs
        model.col_lower_, model.col_upper_ = lower, upper
        model.row_lower_, model.row_upper_ = lowest, highest
        model.a_matrix_.format_ = highspy.MatrixFormat.kColwise
        model.a_matrix_.start_ = matrix.indptr
        model.a_matrix_.index_ = matrix.indices
        model.a_matrix_.value_ = matrix.data
        kinds = (highspy.HighsVarType.kContinuous, highspy.HighsVarType.kInteger)
        model.integrality_ = [kinds[flag] for flag in integer.astype(int)]
        return model

    def _add_machines(self, rows: "_Rows") -> None:
        """One item a machine; a switch is a run that was not set up; what scenarios share."""
        run, switch = self.columns["run"], self.columns["switch"]
        machine, _ = self.pairs
        for m in range(self.instance.machines):
            own = run[:, :, machine == m]
            rows.add([(own[..., j], 1.0) for j in range(own.shape[-1])], -np.inf, 1.0)
        rows.add([(switch[:, 0], 1.0), (run[:, 0], -1.0)], -self.initially, np.inf)
        rows.add([(run, 1.0), (switch, -1.0)], 0.0, np.inf)
        now, before = run[:, 1:], run[:, :-1]
        rows.add([(switch[:, 1:], 1.0), (now, -1.0), (before, 1.0)], 0.0, np.inf)
        rows.add([(switch[:, 1:], 1.0), (before, 1.0)], -np.inf, 1.0)
        shared = run[:, : self.agreed]
        rows.add(
            [(shared[1:], 1.0), (np.broadcast_to(shared[:1], shared[1:].shape), -1.0)], 0.0, 0.0
        )

    def _add_stocks(self, rows: "_Rows") -> None:
        """What comes in and goes out of each stock, and where stock may be discarded."""
        columns, instance = self.columns, self.instance
        machine, item = self.pairs
        for i in range(instance.items):
            stock = columns["stock"][:, :, i]
            terms = [
                (stock, 1.0),
                (columns["lost"][:, :, i], -1.0),
                (columns["discarded"][:, :, i], 1.0),
            ]
            for q in np.flatnonzero(item == i):
                made, missed = (
                    float(table[machine[q], i])
                    for table in (instance.production, instance.setup_loss)
                )
                terms.append((columns["run"][:, :, q], -made))
                terms.append((columns["switch"][:, :, q], missed))
            first = [(column[:, :1], value) for column, value in terms]
            later = [(column[:, 1:], value) for column, value in terms]
            need = -self.demand[:, :, i]
            at_first = need[:, :1] + float(self.inventory[i])
            rows.add(first, at_first, at_first)
            rows.add([*later, (stock[:, :-1], -1.0)], need[:, 1:], need[:, 1:])
        if self.credits is not None:
            rows.add([(columns["stock"][:, -1], 1.0), (columns["wanted"], -1.0)], 0.0, np.inf)
        if self.exact:
            most = np.maximum(instance.production.sum(axis=0) - self.demand, 0.0)
            full = columns["full"]
            rows.add([(columns["discarded"], 1.0), (full, -most)], -np.inf, 0.0)
            rows.add([(columns["stock"], 1.0), (full, -instance.capacity)], 0.0, np.inf)


@dataclass(frozen=True, kw_only=True, eq=False)
class Solved:
    """The best solution found, and what no solution can be below."""

    values: FloatArray
    objective: float
    bound: float
    optimal: bool


def solve(
    program: Program,
    *,
    seconds: float,
    incumbent: npt.NDArray[np.integer] | None = None,
    relative_gap: float = 1e-4,
) -> Solved:
    """What HiGHS finds in so many seconds on one thread, from actions (S, H, M) if given.

    Raises:
        NoPlan: the program is infeasible, or time ran out before a solution was found.
    """
    highs = highspy.Highs()
    options = {
        "output_flag": False,
        "threads": 1,
        "random_seed": 0,
        "time_limit": float(seconds),
        "mip_rel_gap": relative_gap,
    }
    for name, value in options.items():
        highs.setOptionValue(name, value)
    highs.passModel(program.highs_model())
    if incumbent is not None:
        start = highspy.HighsSolution()
        start.col_value = program.values(incumbent).tolist()
        highs.setSolution(start)
    highs.run()
    info, status = highs.getInfo(), highs.getModelStatus()
    if info.primal_solution_status != highspy.SolutionStatus.kSolutionStatusFeasible:
        raise NoPlan(
            f"no plan for {program.instance.name!r} over {program.demand.shape[1]} periods:"
            f" HiGHS ended with {highs.modelStatusToString(status)!r} after {seconds:g} s; give"
            " more time, fewer periods, or an incumbent"
        )
    return Solved(
        values=np.array(highs.getSolution().col_value),
        objective=info.objective_function_value,
        bound=info.mip_dual_bound,
        optimal=status == highspy.HighsModelStatus.kOptimal,
    )


@dataclass
class _Rows:
    """Rows of a sparse matrix, many at a time."""

    count: int = 0
    row: list[IntArray] = field(default_factory=list[IntArray])
    column: list[IntArray] = field(default_factory=list[IntArray])
    value: list[FloatArray] = field(default_factory=list[FloatArray])
    low: list[FloatArray] = field(default_factory=list[FloatArray])
    high: list[FloatArray] = field(default_factory=list[FloatArray])

    def add(
        self,
        terms: Sequence[tuple[IntArray, npt.ArrayLike]],
        low: npt.ArrayLike,
        high: npt.ArrayLike,
    ) -> None:
        """A row for each entry of the terms' columns, all of one shape: low <= sum <= high."""
        shape = terms[0][0].shape
        numbers = np.arange(self.count, self.count + int(np.prod(shape)), dtype=np.int64)
        for column, value in terms:
            self.row.append(numbers)
            self.column.append(column.ravel())
            self.value.append(np.broadcast_to(np.asarray(value, np.float64), shape).ravel())
        self.low.append(np.broadcast_to(np.asarray(low, np.float64), shape).ravel())
        self.high.append(np.broadcast_to(np.asarray(high, np.float64), shape).ravel())
        self.count += len(numbers)

    def matrix(self, columns: int) -> tuple[sparse.csc_array, FloatArray, FloatArray]:
        """The matrix by columns, and the rows' bounds."""
        entries = np.concatenate(self.value)
        places = (np.concatenate(self.row), np.concatenate(self.column))
        matrix = sparse.csc_array((entries, places), shape=(self.count, columns))
        return matrix, np.concatenate(self.low), np.concatenate(self.high)
