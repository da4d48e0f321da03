"""Real noise for simulated years: how doubly robust differences of payments policies scatter.

Two logs of three days, as the gate reads them: one taken by the uniform baseline, one by a first
champion that half explores. The policies that production would have trained by then are compared
with the policy that took the log. New days are drawn from the log's own payments, with new actions
and new answers of the issuers, so that a rare and costly answer that this log happens to lack
comes as often as it truly does.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import cast

import numpy as np
import polars as pl

from decisions.domain import Domain, World
from decisions.domains.payments import DOMAIN
from decisions.domains.payments.evaluation import logged_decisions
from decisions.domains.payments.simulator import EPOCH, Environment
from decisions.domains.payments.training import context_of, settled
from decisions.domains.payments.world import SimulatedWorld
from decisions.errors import DataError
from decisions.frames import decided
from decisions.policy import FinitePolicy, FloatArray, IntArray, Policy, choose
from decisions.seeds import RowKeys, stream

DAY = timedelta(days=1)
START = EPOCH + 20_454 * DAY  # 2026-01-01
UNIFORM_DAYS = 5  # the first two train the first champion, three judge it
TRAINED = (8, 10, 12, 14)  # last days that the later candidates learn from
HELD_OUT = (15, 18)  # days of the champion's log on which they are judged


@dataclass(frozen=True, kw_only=True, eq=False)
class Pool:
    """Logged rows, sorted by card, and what each could have said of `p` policies.

    `first` (cards,) is the first row of each card and `days` how many days the log holds.
    """

    logged: FloatArray  # (n, 24), probabilities that the log was taken with
    success: FloatArray  # (n, 24), the true chance of a reward
    q: FloatArray  # (n, 24), what the reward model predicts
    weights: FloatArray  # (n, 24, p), candidate minus logger over `logged`
    base: FloatArray  # (n, p), predicted difference
    first: IntArray
    days: int

    @cached_property
    def truth(self) -> FloatArray:
        """The exact differences on these rows, (p,)."""
        moved = self.weights * self.logged[:, :, None]
        return (moved * self.success[:, :, None]).sum(axis=1).mean(axis=0)

    @property
    def lowest(self) -> float:
        """What a row's difference can be at least."""
        least = np.where(self.weights > 0, self.weights, 0.0) * self.q[:, :, None]
        most = np.where(self.weights < 0, self.weights, 0.0) * (1 - self.q[:, :, None])
        return float((self.base[:, None] - least + most).min())

    def moments(self) -> tuple[FloatArray, FloatArray]:
        """Exact standard deviation of a row's difference and skewness of the log's mean, (p,)."""
        centred = self.base - self.truth
        second, third = np.zeros_like(self.truth), np.zeros_like(self.truth)
        for reward, chance in ((1.0, self.success), (0.0, 1 - self.success)):
            share = (self.logged * chance)[:, :, None]
            terms = centred[:, None] + self.weights * (reward - self.q)[:, :, None]
            second += (share * terms**2).sum(axis=1).mean(axis=0)
            third += (share * terms**3).sum(axis=1).mean(axis=0)
        return np.sqrt(second), third / second**1.5 / len(self.base) ** 0.5

    def day(self, rng: np.random.Generator) -> tuple[FloatArray, IntArray]:
        """Differences of one new day, (rows, p) without their expectation, and cards' first rows.

        As many cards as a day of the log has, drawn anew with all their rows; new actions by the
        logged probabilities, new rewards by the true chances.
        """
        sizes: IntArray = np.diff(np.append(self.first, len(self.base)))
        cards = rng.integers(0, len(self.first), len(self.first) // self.days)
        size: IntArray = np.take(sizes, cards)
        starts: IntArray = size.cumsum() - size
        row: IntArray = np.repeat(self.first[cards] - starts, size) + np.arange(int(size.sum()))
        action = choose(self.logged[row], rng.random(len(row)))
        reward = rng.random(len(row)) < self.success[row, action]
        residual = reward - self.q[row, action]
        terms = self.base[row] + self.weights[row, action] * residual[:, None]
        return terms - self.truth, starts


@dataclass(frozen=True, kw_only=True, eq=False)
class Pools:
    """`first`: candidates for the first promotion, on uniform logs; `later`: all that follow."""

    first: Pool
    later: Pool


def measure(environment: Environment, *, per_day: int, domain: Domain = DOMAIN) -> Pools:
    """Lives eighteen days of payments as production would, and keeps how estimates scatter."""
    world = SimulatedWorld(environment=environment, per_day=per_day)
    log = _log(world, domain, domain.baseline, range(UNIFORM_DAYS), None)
    first = [_trained(domain, log, name, 2, []) for name in sorted(domain.candidates)]
    held_out = log.filter(pl.col("observed_at") >= START + 2 * DAY)
    pools = _pool(environment, held_out, first, domain.baseline, days=UNIFORM_DAYS - 2)
    champion = first[int(pools.truth.argmax())]
    log = _log(world, domain, champion, range(UNIFORM_DAYS, HELD_OUT[1]), log)
    later = [
        _trained(domain, log, name, until, [champion])
        for until in TRAINED
        for name in sorted(domain.candidates)
    ]
    held_out = log.filter(pl.col("observed_at") >= START + HELD_OUT[0] * DAY)
    days = HELD_OUT[1] - HELD_OUT[0]
    return Pools(first=pools, later=_pool(environment, held_out, later, champion, days=days))


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
    domain: Domain, log: pl.DataFrame, name: str, until: int, predecessors: list[Policy]
) -> Policy:
    window = log.filter(
        pl.col("observed_at").is_between(
            START + until * DAY - domain.window, START + until * DAY, closed="left"
        )
    )
    rng = stream(1, "peeking", "train", name, str(until))
    return domain.candidates[name](window.lazy(), predecessors, rng)


def _pool(
    environment: Environment,
    held_out: pl.DataFrame,
    policies: list[Policy],
    logger: Policy,
    *,
    days: int,
) -> Pool:
    rows = settled(held_out.lazy())
    log = logged_decisions(rows, stream(1, "peeking", "reward model"))
    if log.logged is None or log.q is None:
        raise DataError("payments logs hold probabilities and train a reward model; these did not")
    context = context_of(rows)

    def probabilities(policy: Policy) -> FloatArray:
        return cast("FinitePolicy", policy).probabilities(context, log.eligible)

    moved = np.stack([probabilities(each) for each in policies], axis=2)
    moved -= probabilities(logger)[:, :, None]
    q = np.where(log.eligible, log.q, 0.0)
    weights = np.divide(
        moved, log.logged[:, :, None], out=np.zeros_like(moved), where=log.logged[:, :, None] > 0
    )
    card = context["card"].to_numpy()
    order = np.argsort(card, kind="stable")
    return Pool(
        logged=log.logged[order],
        success=np.nan_to_num(environment.success(rows))[order],
        q=q[order],
        weights=weights[order],
        base=(moved * q[:, :, None]).sum(axis=1)[order],
        first=np.unique(card[order], return_index=True)[1].astype(np.int64),
        days=days,
    )
