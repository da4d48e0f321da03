"""A plant taken apart into machines with their own items, each solved exactly, put together anew.

Plants are weakly coupled: what machine m makes moves only the stocks of what it makes. If a
partition gives each machine m a group G of one or two items that nobody else makes, then the
expected cost of the best policy that keeps to the partition is a sum of small exact problems,

    J(s, t) = sum over machines of V[m, G](stocks of G, set-up of m, t)
              + sum over the items that nobody makes of U[i](stock of i, t),

each solved by backward induction over stocks, set-up and periods to go: it knows when to start,
when to turn to the other item, and when to stop before the horizon. Adelman and Mersereau (2008),
"Relaxations of weakly coupled stochastic dynamic programs", and Hawkins (2003), "A Lagrangian
decomposition approach to weakly coupled dynamic optimization problems", price the coupling and
get a bound from below; a partition forbids it and gets the cost of a policy, from above.

The policy decides by one step of improvement over *all* partitions at once: with J the least of
their costs, it takes the joint action a with the least switching cost + E[period + J(next state)],
where a machine may also make what another one owns or nobody does. Improving on the least of
several exact costs costs no more than the best of them from any state: Bertsekas (2020),
"Rollout, Policy Iteration, and Distributed Reinforcement Learning", chapter 2 (parallel
rollout); Powell (2011), "Approximate Dynamic Programming", chapter 4. We search partitions by
descent, from the planned one and from the present set-ups, and actions machine by machine, so the
least may be a local one. A policy of the method's first version keeps to the first start, and to
what was a negligible change then, so that its decisions replay.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from itertools import combinations
from math import prod
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from decisions.domains.lotsizing.exact import check_stocks, item_lookahead
from decisions.domains.lotsizing.instance import Instance
from decisions.domains.lotsizing.plant import PlantState
from decisions.domains.lotsizing.tables import Setups
from decisions.errors import ArtifactAltered, DataError
from decisions.policy import FloatArray, IntArray
from decisions.seeds import stream

Costs = npt.NDArray[np.float32]
Index = npt.NDArray[np.int32]

LARGEST_STOCK = 2_000  # capacity plus demand, in units: a table holds every stock of an item
PAIR_INTERVALS = 30  # of stock up to the capacity, in the tables of groups of two
SCREEN_INTERVALS = 12  # likewise where groups of two are only screened
# in shares of what an idle plant costs in an episode:
LEAST_GAIN = 1e-4  # that making two items must win over making one of them
SLACK = 3e-2  # by which a plan with a group may cost more than the best, for the group to be kept
MOST_PAIRS = 600  # groups of two that are kept over 100 periods, a megabyte each
TABLES, ABOUT = "tables.safetensors", "decomposition.json"
SAVED = ("costs", "idle", "machine", "members", "offset", "sizes", "node", "share", "planned")
ROUNDS = 3_000  # of the search for the planned partition
SETTINGS: Mapping[str, float] = {
    "version": 2,  # of the method: one more with every change of what it finds
    "pair_intervals": PAIR_INTERVALS,
    "screen_intervals": SCREEN_INTERVALS,
    "least_gain": LEAST_GAIN,
    "slack": SLACK,
    "most_pairs": MOST_PAIRS,
    "rounds": ROUNDS,
}


class GroupTables(NamedTuple):
    """Expected costs to go of G groups and of items that nobody makes, and how to read them.

    All costs are those of post-decision states: this period's demand and all that follows. The
    table of group `g` in period `t` starts at `costs[t, offset[g]]`: first the machine is left
    without a set-up of the group, then with the one of each member; within, stocks of the first
    member and then of the second. A group of one knows every stock, a group of two the nodes.
    """

    costs: Costs  # (periods, width)
    idle: Costs  # (periods, I, stocks)
    machine: Index  # (G,)
    members: Index  # (G, 2), ascending
    offset: IntArray  # (G,)
    group: Index  # (M, I, I), the group of a machine and two items (twice the same: one), or -1
    sizes: IntArray  # (2, I), stocks of an item in a group of one, nodes in a group of two
    node: Index  # (I, stocks), the node at or below a stock
    share: Costs  # (I, stocks), of the next node in a stock
    production: IntArray  # (M, I)
    setup_cost: FloatArray  # (M, I)
    setup_loss: IntArray  # (M, I)
    lost_sales_cost: FloatArray  # (I,)


@dataclass(frozen=True, kw_only=True, eq=False)
class Decomposition:
    """A policy: one step of improvement over every partition of the items among the machines.

    `planned` (M, 2) holds the partition (items from 0, -1: none) with the least expected `cost` of
    an episode, before any improvement on it. The tables hold the periods 0 to `periods` - 1.
    `settings` are the `SETTINGS` that it was made with; empty where a file does not tell them.
    """

    instance: Instance
    tables: GroupTables
    planned: Index
    cost: float
    settings: Mapping[str, float]

    @property
    def periods(self) -> int:
        """Periods in which the policy can act, counted from 0."""
        return len(self.tables.costs)

    @property
    def groups(self) -> tuple[tuple[int, ...], ...]:
        """The planned partition: items 1 to I by machine."""
        return tuple(tuple(int(i) + 1 for i in row if i >= 0) for row in self.planned)

    def act(self, state: PlantState) -> Setups:
        """Actions (n, M). Raises DataError in a period that the tables do not hold."""
        return self.look(state)[0]

    def look(self, state: PlantState) -> tuple[Setups, FloatArray]:
        """Actions (n, M), and the expected cost (n,) of the rest of the episode after them.

        The cost counts one step of improvement; the policy improves again in each later period, so
        that on average it pays less.
        """
        from decisions.domains.lotsizing import dispatch

        n = len(state.period)
        if n and (state.period.min() < 0 or state.period.max() >= self.periods):
            raise DataError(
                f"period is {state.period.max()}; wanted 0 to {self.periods - 1}, the periods"
                " whose costs this policy holds"
            )
        action, value = np.empty((n, self.instance.machines), np.int16), np.empty(n)
        owner = _owner(self.planned, self.instance.items)
        first = self.settings.get("version", 1) < 2
        dispatch.choose(self.tables, self.planned, owner, first, *state, action, value)
        return action, value


def save(policy: Decomposition, *, periods: int = 1) -> dict[str, bytes]:
    """A policy as files; of its costs, the first `periods` alone: a rolling plant needs period 0.

    The arrays are in one safetensors file, whose digest the JSON beside it holds.
    """
    from safetensors.numpy import save as tensors

    arrays = {**policy.tables._asdict(), "planned": policy.planned}
    arrays |= {name: arrays[name][:periods] for name in ("costs", "idle")}
    content = tensors({name: np.ascontiguousarray(arrays[name]) for name in SAVED})
    told = {
        "instance": policy.instance.digest,
        "cost": policy.cost,
        "settings": dict(policy.settings),
        "sha256": sha256(content).hexdigest(),
    }
    return {TABLES: content, ABOUT: json.dumps(told, sort_keys=True).encode()}


def load_decomposition(instance: Instance, files: Mapping[str, bytes]) -> Decomposition:
    """The policy that `save` wrote.

    Raises:
        ArtifactAltered: a file is missing or altered, or it is a policy of another instance.
    """
    from safetensors.numpy import load

    try:
        told = json.loads(files[ABOUT])
        made_for, digest, cost = told["instance"], told["sha256"], float(told["cost"])
        settings = dict(told.get("settings", {}))
        content = files[TABLES]
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactAltered(f"the decomposition cannot be read: {error!r}") from error
    if sha256(content).hexdigest() != digest:
        raise ArtifactAltered(f"{TABLES} is not the file that {ABOUT} was written with")
    if made_for != instance.digest:
        raise ArtifactAltered(
            f"instance of the decomposition is {made_for[:12]}; wanted {instance.name},"
            f" {instance.digest[:12]}: make one for this plant"
        )
    arrays = load(content)
    planned = arrays.pop("planned")
    machine, members = arrays["machine"], arrays["members"]
    tables = GroupTables(
        **arrays,
        group=_group_index(instance, machine, members),
        production=instance.production,
        setup_cost=instance.setup_cost,
        setup_loss=instance.setup_loss,
        lost_sales_cost=instance.lost_sales_cost,
    )
    return Decomposition(
        instance=instance, tables=tables, planned=planned, cost=cost, settings=settings
    )


def can_decompose(instance: Instance) -> bool:
    """Whether stocks are few enough for tables."""
    return _stocks(instance) <= LARGEST_STOCK


def _stocks(instance: Instance) -> int:
    """Rows of the tables: stocks up to the largest capacity plus the largest demand."""
    return int(instance.capacity.max()) + instance.demand.shape[1]


def decomposition(instance: Instance) -> Decomposition:
    """The policy for an instance: tables of all groups worth having, and the planned partition.

    Takes seconds; ten machines and twenty-five items half a minute.

    Raises:
        DataError: a capacity is so large that tables of every stock would not fit.
    """
    longest = _stocks(instance)
    if not can_decompose(instance):
        raise DataError(
            f"capacity plus demand is {longest} units; wanted at most {LARGEST_STOCK}: count in"
            " larger units"
        )
    found = _Groups(instance)
    group = _group_index(instance, found.machine, found.members)
    gain = np.array(found.gain)
    planned, change = _plan(instance, group, gain, float(found.idle_start.sum()))
    kept = _within_slack(instance, group, gain, planned, change, found)
    tables = [found.table(g) for g in kept]
    machine = np.array([found.machine[g] for g in kept], dtype=np.int32)
    members = np.array([found.members[g] for g in kept], dtype=np.int32)
    widths = [table.shape[1] for table in tables]
    every = np.arange(longest, dtype=np.int64)
    placed = [stocks.place(every) for stocks in found.nodes]
    return Decomposition(
        instance=instance,
        tables=GroupTables(
            costs=np.concatenate(tables, axis=1),
            idle=found.idle,
            machine=machine,
            members=members,
            offset=np.cumsum([0, *widths[:-1]]),
            group=_group_index(instance, machine, members),
            sizes=np.array(
                [[len(s.nodes) for s in found.stocks], [len(s.nodes) for s in found.nodes]]
            ),
            node=np.array([node for node, _ in placed], dtype=np.int32),
            share=np.array([share for _, share in placed], dtype=np.float32),
            production=instance.production,
            setup_cost=instance.setup_cost,
            setup_loss=instance.setup_loss,
            lost_sales_cost=instance.lost_sales_cost,
        ),
        planned=planned,
        cost=float(found.idle_start.sum()) + change,
        settings=SETTINGS,
    )


class _ItemStocks:
    """One item's stock on nodes: what a period's demand does, and what making it does."""

    def __init__(self, instance: Instance, item: int, intervals: int) -> None:
        self.instance, self.item = instance, item
        capacity, most = int(instance.capacity[item]), instance.demand.shape[1] - 1
        self.nodes = _nodes(capacity, most, intervals)
        cost, law = item_lookahead(instance, item, 0, int(self.nodes[-1]))
        self.cost = cost[self.nodes]
        spread = self._spread(np.arange(capacity + 1))
        self.law: FloatArray = law[self.nodes] @ spread
        self.start = spread[:capacity].mean(axis=0)  # stocks of a reset: uniform below capacity
        positive = self.law > 0
        self.low = positive.argmax(axis=1)
        self.high = len(self.nodes) - positive[:, ::-1].argmax(axis=1)

    def place(self, stock: IntArray) -> tuple[IntArray, FloatArray]:
        """The node at or below each stock, and the share of the next one in it; clipped."""
        below = np.searchsorted(self.nodes, stock, side="right") - 1
        node = np.clip(below, 0, len(self.nodes) - 2)
        share = (stock - self.nodes[node]) / np.diff(self.nodes)[node]
        return node, np.clip(share, 0.0, 1.0)

    def made(self, machine: int) -> tuple[IntArray, FloatArray, FloatArray]:
        """Node, share of the next and cost of falling short, (2, n): after a switch, going on."""
        loss = np.array([[self.instance.setup_loss[machine, self.item]], [0]])
        stock: IntArray = self.nodes + self.instance.production[machine, self.item] - loss
        short = self.instance.lost_sales_cost[self.item] * np.maximum(-stock, 0)
        return *self.place(stock), short

    def _spread(self, stock: IntArray) -> FloatArray:
        node, share = self.place(stock)
        spread = np.zeros((len(stock), len(self.nodes)))
        spread[np.arange(len(stock)), node] = 1.0 - share
        spread[np.arange(len(stock)), node + 1] += share
        return spread


class _Groups:
    """All groups worth a thought, with what each adds to an idle plant's expected cost."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        every = int(instance.capacity.max())
        self.stocks = [_ItemStocks(instance, i, every) for i in range(instance.items)]
        self.idle = idle_costs(instance)
        self.idle_start = np.array(
            [s.start @ self.idle[0, s.item, : len(s.nodes)] for s in self.stocks]
        )
        least = LEAST_GAIN * float(self.idle_start.sum())
        self.machine: list[int] = []
        self.members: list[tuple[int, int]] = []
        self.gain: list[float] = []
        alone = np.zeros(instance.production.shape)
        for machine, item in np.argwhere(instance.production > 0):
            alone[machine, item] = gain = self._gain(machine, [self.stocks[item]])
            self._add(machine, (item, -1), gain)
        coarse = [_ItemStocks(instance, i, SCREEN_INTERVALS) for i in range(instance.items)]
        self.nodes = [_ItemStocks(instance, i, PAIR_INTERVALS) for i in range(instance.items)]
        for machine in range(instance.machines):
            can = np.flatnonzero(instance.production[machine]).tolist()
            for first, second in combinations(can, 2):
                useful = min(alone[machine, first], alone[machine, second], 0.0) - least
                if self._gain(machine, [coarse[first], coarse[second]]) < useful:
                    gain = self._gain(machine, [self.nodes[first], self.nodes[second]])
                    self._add(machine, (first, second), gain)

    def table(self, g: int) -> Costs:
        """The costs of a group in every period, of one item by stock and of two by node."""
        first, second = self.members[g]
        pair = second >= 0
        chosen = [self.nodes[first], self.nodes[second]] if pair else [self.stocks[first]]
        return _group_costs(self.instance, self.machine[g], chosen)

    def _add(self, machine: int, members: tuple[int, int], gain: float) -> None:
        self.machine.append(machine)
        self.members.append(members)
        self.gain.append(gain)

    def _gain(self, machine: int, stocks: list[_ItemStocks]) -> float:
        first = _group_costs(self.instance, machine, stocks)[0]
        cost = _cost_at_start(self.instance, machine, stocks, first)
        return cost - sum(float(self.idle_start[s.item]) for s in stocks)


def _nodes(capacity: int, most: int, intervals: int) -> IntArray:
    """Stocks from 0 to capacity + `most`, about evenly spread, the capacity among them."""
    width = max(1.0, capacity / intervals)
    below = np.linspace(0, capacity, round(capacity / width) + 1)
    above = np.linspace(capacity, capacity + most, max(1, round(most / width)) + 1)
    return np.unique(np.rint(np.concatenate([below, above])).astype(np.int64))


def idle_costs(instance: Instance) -> Costs:
    """Expected costs to go of items that nobody makes, (T, I, stocks), after a period's decision.

    Stocks are 0 to the largest capacity plus the largest demand; beyond them nothing changes.
    """
    check_stocks(instance, int(instance.capacity.argmax()))
    every = int(instance.capacity.max())
    costs = np.zeros(
        (instance.horizon, instance.items, every + instance.demand.shape[1]), np.float32
    )
    for item in range(instance.items):
        stocks = _ItemStocks(instance, item, every)
        node = np.minimum(np.arange(costs.shape[2], dtype=np.int64), len(stocks.nodes) - 1)
        value: FloatArray = np.zeros(len(stocks.nodes))
        for period in reversed(range(instance.horizon)):
            value = stocks.cost + stocks.law @ value
            costs[period, item] = value[node]
    return costs


def _group_costs(instance: Instance, machine: int, stocks: list[_ItemStocks]) -> Costs:
    """`dispatch.group_costs` of a machine and its items, (T, (1 + g) nodes)."""
    from decisions.domains.lotsizing import dispatch

    sizes = np.array([len(s.nodes) for s in stocks])
    g, n = len(stocks), int(sizes.max())
    law, low, high = np.zeros((g, n, n)), np.zeros((g, n), np.int64), np.zeros((g, n), np.int64)
    cost, node = np.zeros((g, n)), np.zeros((g, 2, n), np.int64)
    share, short = np.zeros((g, 2, n)), np.zeros((g, 2, n))
    for j, (s, k) in enumerate(zip(stocks, sizes, strict=True)):
        law[j, :k, :k], low[j, :k], high[j, :k], cost[j, :k] = s.law, s.low, s.high, s.cost
        node[j, :, :k], share[j, :, :k], short[j, :, :k] = s.made(machine)
    setup_cost = instance.setup_cost[machine, [s.item for s in stocks]]
    costs = np.zeros((instance.horizon, (g + 1) * prod(sizes.tolist())), dtype=np.float32)
    dispatch.group_costs(sizes, law, low, high, cost, node, share, short, setup_cost, costs)
    return costs


def _cost_at_start(
    instance: Instance, machine: int, stocks: list[_ItemStocks], post: Costs
) -> float:
    """Expected cost of a group over the starts of an episode, from `post` of its first period."""
    after = post.astype(np.float64).reshape(-1, *(len(s.nodes) for s in stocks))
    best = [after[0]] * (1 + len(stocks))  # by set-up: none of the group, then each member
    for j, s in enumerate(stocks):
        node, share, short = s.made(machine)
        costs = np.moveaxis(after[j + 1], j, 0)
        across = (-1,) + (1,) * (len(stocks) - 1)
        switched, kept = (
            np.moveaxis(
                (1 - share[k]).reshape(across) * costs[node[k]]
                + share[k].reshape(across) * costs[node[k] + 1]
                + short[k].reshape(across),
                0,
                j,
            )
            for k in range(2)
        )
        switched = switched + instance.setup_cost[machine, s.item]
        best = [
            np.minimum(cost, kept if set_up == j + 1 else switched)
            for set_up, cost in enumerate(best)
        ]
    means: list[float] = []
    for costs in best:
        for s in stocks:
            costs = np.tensordot(s.start, costs, axes=(0, 0))
        means.append(float(costs))
    can = np.count_nonzero(instance.production[machine])  # set-ups of a reset: uniform over these
    return (means[0] * (can - len(stocks)) + sum(means[1:])) / can


def _group_index(
    instance: Instance,
    machine: Index | list[int],
    members: Iterable[tuple[int, int]],
) -> Index:
    """The number of the group of a machine and two items, either way round; -1: there is none."""
    index = np.full((instance.machines, instance.items, instance.items), -1, dtype=np.int32)
    first = np.array([a for a, _ in members])
    second = np.array([a if b < 0 else b for a, b in members])
    index[machine, first, second] = index[machine, second, first] = np.arange(len(first))
    return index


def _owner(planned: Index, items: int) -> Index:
    """The place of each item in a partition, counted row by row, (I,); -1: nobody makes it."""
    owner = np.full(items, -1, dtype=np.int32)
    places = np.flatnonzero(planned.ravel() >= 0)
    owner[planned.ravel()[places]] = places
    return owner


def _plan(instance: Instance, group: Index, gain: FloatArray, idle: float) -> tuple[Index, float]:
    """The best partition found, and what it adds to `idle`, the cost of an idle plant."""
    from decisions.domains.lotsizing import dispatch

    rng = stream(0, "lotsizing", "partition")
    machine = rng.integers(instance.machines, size=(ROUNDS, 2))
    item = rng.integers(instance.items, size=ROUNDS)
    member = np.full((instance.machines, 2), -1, dtype=np.int32)
    owner = _owner(member, instance.items)
    least = dispatch.least_change(gain, idle)
    change = dispatch.search_partition(group, gain, member, owner, machine, item, least)
    return member, change


def _within_slack(
    instance: Instance,
    group: Index,
    gain: FloatArray,
    planned: Index,
    change: float,
    found: _Groups,
) -> list[int]:
    """Groups of one, and those of two that some plan has which costs `SLACK` more at most."""
    from decisions.domains.lotsizing import dispatch

    idle = float(found.idle_start.sum())
    pairs: list[tuple[float, int]] = []
    for g, (machine, members) in enumerate(zip(found.machine, found.members, strict=True)):
        if members[1] < 0:
            continue
        member = planned.copy()
        member[np.isin(member, members)] = -1
        member[machine] = members
        plan = sum(
            gain[dispatch.group_of(group, m, *member[m])]
            for m in range(instance.machines)
            if member[m].max() >= 0
        )
        rewarded = gain.copy()
        rewarded[g] -= 10 * idle  # more than any change wins: the group stays
        owner = _owner(member, instance.items)
        least = dispatch.least_change(rewarded, idle)
        plan += dispatch.descend(group, rewarded, member, owner, least)
        if plan < change + SLACK * idle:
            pairs.append((float(plan), g))
    alone = [g for g, (_, second) in enumerate(found.members) if second < 0]
    most = MOST_PAIRS * 100 // max(100, instance.horizon)
    return alone + [g for _, g in sorted(pairs)[:most]]
