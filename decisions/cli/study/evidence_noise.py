"""Real noise for simulated years: how doubly robust differences of payments policies scatter.

Production's own policies log and are judged: a first champion that the uniform baseline's days
trained, its successor, and the candidates that later days train, beside a SquareCB learner that a
user might add (`OTHER`). Each is compared with the policy that took the log. New days are drawn
from the log's own payments, with new arms and actions as the logging policy draws them and new
answers of the issuers, so that a rare and costly answer that this log happens to lack comes as
often as it truly does.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import cast

import numpy as np
import polars as pl

from decisions.bandits.policies import BanditPolicy, Split, SquareCB
from decisions.bandits.sequential import cautious, safe_stakes, shared_cap
from decisions.domain import Domain, Trainer, World
from decisions.domains.payments import DOMAIN, ORACLE
from decisions.domains.payments.evaluation import logged_probabilities
from decisions.domains.payments.simulator import EPOCH, Environment
from decisions.domains.payments.training import (
    Recipe,
    context_of,
    logged_eligible,
    settled,
)
from decisions.domains.payments.world import SimulatedWorld
from decisions.frames import decided
from decisions.policy import FloatArray, IntArray, Policy, choose
from decisions.seeds import RowKeys, stream

DAY = timedelta(days=1)
START = EPOCH + 20_454 * DAY  # 2026-01-01
UNIFORM_DAYS = 5  # the first two train the first champion, three judge it
SECOND = (8, 10)  # the second champion learns until that day, and acts from the other on
TRAINED = (12, 13, 14)  # last days that the later candidates learn from
HELD_OUT = (15, 18)  # days of the second champion's log on which they are judged
OTHER = Recipe(rule=SquareCB(300.0), explore_share=0.5, oracle=ORACLE)


@dataclass(frozen=True, kw_only=True, eq=False)
class Pool:
    """Logged rows, in the order of their `cluster`, and what each could have said of p policies.

    Rows of a cluster are drawn together: they share the arm. `within` holds the logging policy's
    probabilities in each of its arms, `shares` how often an arm is drawn.
    """

    within: FloatArray  # (arms, n, 24)
    shares: FloatArray  # (arms,)
    success: FloatArray  # (n, 24), the true chance of a reward
    predicted: FloatArray  # (n, 24, p), rewards, by each candidate
    moved: FloatArray  # (n, 24, p), probabilities, candidate minus logger
    cluster: IntArray  # (n,), ascending
    days: int  # that the log holds

    @cached_property
    def logged(self) -> FloatArray:
        """The marginal probabilities, (n, 24)."""
        return np.tensordot(self.shares, self.within, axes=1)

    @cached_property
    def _cautious(self) -> tuple[FloatArray, FloatArray]:
        cap = shared_cap(self.cluster, len(self.cluster))
        policies = range(self.moved.shape[2])
        parts = [
            cautious(self.moved[:, :, j], self.logged, self.predicted[:, :, j], cap=cap)
            for j in policies
        ]
        weights, q = (np.stack([part[i] for part in parts], axis=2) for i in range(2))
        return weights, q

    @property
    def weights(self) -> FloatArray:
        """Moved probabilities over logged ones, (n, 24, p)."""
        return self._cautious[0]

    @property
    def q(self) -> FloatArray:
        """What each candidate's rewards are held against, (n, 24, p): see `cautious`."""
        return self._cautious[1]

    @cached_property
    def base(self) -> FloatArray:
        """The predicted differences, (n, p)."""
        return (self.moved * self.q).sum(axis=1)

    @cached_property
    def truth(self) -> FloatArray:
        """The exact differences on these rows, (p,)."""
        return (self.moved * self.success[:, :, None]).sum(axis=1).mean(axis=0)

    @cached_property
    def lowest(self) -> FloatArray:
        """What each row's difference can be at least, (n, p)."""
        least = np.where(self.weights > 0, -self.weights * self.q, self.weights * (1 - self.q))
        return self.base + least.min(axis=1)

    @cached_property
    def _first(self) -> IntArray:
        return np.flatnonzero(np.diff(self.cluster, prepend=-1)).astype(np.int64)

    def stakes(self, margin: float) -> FloatArray:
        """What the gate's bets against `margin` stake, (p, bets)."""
        reach = np.add.reduceat(margin - self.lowest, self._first, axis=0).max(axis=0)
        return np.array([safe_stakes(float(each)) for each in reach])

    def regrouped(self, size: int) -> "Pool":
        """The same rows, `size` of them to a cluster, neighbours in the present order."""
        return replace(self, cluster=np.arange(len(self.cluster), dtype=np.int64) // size)

    def deviation(self) -> FloatArray:
        """Exact standard deviation of a row's difference, (p,)."""
        second = np.zeros_like(self.truth)
        for reward, chance in ((1.0, self.success), (0.0, 1 - self.success)):
            terms = self.base[:, None] + self.weights * (reward - self.q) - self.truth
            second += ((self.logged * chance)[:, :, None] * terms**2).sum(axis=1).mean(axis=0)
        return np.sqrt(second)

    def luck_of_arms(self) -> FloatArray:
        """Standard deviation over draws of arms of the mean difference given the arms, (p,).

        For as many clusters as the log has, each of which keeps its arm for ever.
        """
        error = self.weights * (self.success[:, :, None] - self.q)
        shift = np.stack([(p[:, :, None] * error).sum(axis=1) for p in self.within])
        sums = np.add.reduceat(shift, self._first, axis=1)  # (arms, clusters, p)
        mean = np.tensordot(self.shares, sums, axes=1)
        spread = np.tensordot(self.shares, (sums - mean) ** 2, axes=1).sum(axis=0)
        return np.sqrt(spread) / len(self.base)

    def day(self, rng: np.random.Generator) -> tuple[FloatArray, IntArray]:
        """Differences of one new day, (rows, p) without their expectation, and clusters' starts.

        As many clusters as a day of the log has, drawn anew with all their rows; a new arm for
        each, new actions within it, new rewards by the true chances.
        """
        sizes: IntArray = np.diff(np.append(self._first, len(self.base)))
        drawn = rng.integers(0, len(sizes), len(sizes) // self.days)
        size: IntArray = np.take(sizes, drawn)
        starts: IntArray = size.cumsum() - size
        row: IntArray = np.repeat(self._first[drawn] - starts, size) + np.arange(int(size.sum()))
        arms = rng.choice(len(self.shares), len(drawn), p=self.shares)
        action = choose(self.within[np.repeat(arms, size), row], rng.random(len(row)))
        reward = rng.random(len(row)) < self.success[row, action]
        terms = self.base[row] + self.weights[row, action] * (
            reward[:, None] - self.q[row, action]
        )
        return terms - self.truth, starts


@dataclass(frozen=True, kw_only=True, eq=False)
class Pools:
    """`first`: candidates for the first promotion, on uniform logs; `later`: all that follow."""

    first: Pool
    later: Pool


def measure(environment: Environment, *, per_day: int, domain: Domain = DOMAIN) -> Pools:
    """Lives eighteen days of payments as production would, and keeps how estimates scatter.

    Policies of `later` are the domain's candidates of each of TRAINED, then OTHER.
    """
    world = SimulatedWorld(environment=environment, per_day=per_day)
    log = _log(world, domain, domain.baseline, range(UNIFORM_DAYS), None)
    trainers = dict(domain.candidates) | {"other": OTHER}
    first = [_trained(domain, log, trainer, name, 2, []) for name, trainer in trainers.items()]
    held_out = log.filter(pl.col("observed_at") >= START + 2 * DAY)
    pool = _pool(environment, held_out, first, domain.baseline, days=UNIFORM_DAYS - 2)
    log = _log(world, domain, first[0], range(UNIFORM_DAYS, SECOND[1]), log)
    name, trainer = next(iter(domain.candidates.items()))
    champions = [_trained(domain, log, trainer, name, SECOND[0], first[:1]), first[0]]
    champion = champions[0]
    log = _log(world, domain, champion, range(SECOND[1], HELD_OUT[1]), log)
    later = [
        _trained(domain, log, trainer, name, until, champions)
        for name, trainer in domain.candidates.items()
        for until in TRAINED
    ]
    later.append(_trained(domain, log, OTHER, "other", TRAINED[-1], champions))
    held_out = log.filter(pl.col("observed_at") >= START + HELD_OUT[0] * DAY)
    days = HELD_OUT[1] - HELD_OUT[0]
    return Pools(first=pool, later=_pool(environment, held_out, later, champion, days=days))


def _log(
    world: World, domain: Domain, policy: Policy, days: range, before: pl.DataFrame | None
) -> pl.DataFrame:
    """History of `days`, decided by `policy`, after the history `before`; every outcome known."""
    kept = [] if before is None else [before]
    for day in days:
        start = START + day * DAY
        settled_before = kept[-1] if kept else pl.DataFrame()
        if kept:
            settled_before = settled_before.filter(pl.col("observed_at") >= start - DAY)
        units = world.arrivals(start, start + DAY, settled_before)
        kept.append(_decided(world, domain, policy, units, start=start))
    return pl.concat(kept, how="vertical")


def _decided(
    world: World, domain: Domain, policy: Policy, units: pl.DataFrame, *, start: datetime
) -> pl.DataFrame:
    first = (start - EPOCH) // timedelta(minutes=1) << 24
    keyed = units.with_columns(
        unit_id=first + pl.int_range(pl.len(), dtype=pl.Int64()), slot=pl.lit(0, pl.Int16())
    )
    context = domain.observe(keyed.select(list(domain.units)).lazy()).collect()
    eligible = domain.eligible(context)
    keys = RowKeys(1, keyed["unit_id"].to_numpy() * 64)
    draw = policy.act(context, eligible, keys)
    taken = decided(keyed, draw, eligible, generation=0, now=start + DAY)
    whole = taken.with_columns(keyed.drop("unit_id", "slot", "parent_id"))
    known = world.outcomes(whole, start + 30 * DAY)
    return whole.join(
        known.rename({"observed_at": "reward_at"}),
        on="decision_id",
        how="left",
        validate="1:1",
        maintain_order="left",
    )


def _trained(
    domain: Domain,
    log: pl.DataFrame,
    trainer: Trainer,
    name: str,
    until: int,
    predecessors: list[Policy],
) -> Policy:
    window = log.filter(
        pl.col("observed_at").is_between(
            START + until * DAY - domain.window, START + until * DAY, closed="left"
        )
    )
    return trainer(window.lazy(), predecessors, stream(1, "evidence", "train", name, str(until)))


def _pool(
    environment: Environment,
    held_out: pl.DataFrame,
    policies: list[Policy],
    logger: Policy,
    *,
    days: int,
) -> Pool:
    rows = settled(held_out.lazy())
    context = context_of(rows)
    cluster = context.select("issuer", "arm_key").with_columns(
        code=pl.struct("issuer", "arm_key").rank("dense").cast(pl.Int64)
    )["code"]
    order = cluster.arg_sort()
    rows, context, cluster = rows[order], context[order], cluster[order]
    eligible = logged_eligible(rows)
    logged = logged_probabilities(rows, eligible)
    acting = cast("BanditPolicy", logger).probabilities(context, eligible)
    seen = [cast("BanditPolicy", policy).assess(context, eligible) for policy in policies]
    scores = [np.zeros(eligible.shape) if each.scores is None else each.scores for each in seen]
    within, shares = logged[None], np.ones(1)
    if isinstance(logger, Split):
        within, shares = logger.arm_probabilities(context, eligible)[0], logger.shares
    return Pool(
        within=within,
        shares=shares,
        success=np.where(eligible, np.nan_to_num(environment.success(rows)), 0.0),
        predicted=np.where(eligible[:, :, None], np.stack(scores, axis=2), 0.0),
        moved=np.stack([each.probabilities for each in seen], axis=2) - acting[:, :, None],
        cluster=cluster.to_numpy(),
        days=days,
    )
