"""The simulated environment as a `World`: arrivals, retries, and outcomes as they become known."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from decisions.domains.payments.simulator import DAY, EPOCH, UNITS, Environment
from decisions.frames import OUTCOMES
from decisions.policy import FloatArray, pick
from decisions.seeds import RowKeys

_ANSWER = timedelta(seconds=1)  # of an issuer that answers at once


@dataclass(frozen=True, kw_only=True)
class Delay:
    """`share` of outcomes arrive late, exponentially; authorised ones take twice the mean."""

    share: float = 0.0
    mean_days: float = 0.0


SYNCHRONOUS = Delay()
LIGHT = Delay(share=0.10, mean_days=0.3)
HEAVY = Delay(share=0.30, mean_days=0.5)


def late_days(delay: Delay, rewards: FloatArray, uniforms: FloatArray) -> FloatArray:
    """Days until each of `rewards` (n,) is known, from two numbers a row: 0 when at once."""
    mean = delay.mean_days * np.where(rewards > 0, 2.0, 1.0)
    return np.where(uniforms[:, 0] < delay.share, -mean * np.log1p(-uniforms[:, 1]), 0.0)


@dataclass(frozen=True, kw_only=True)
class Retries:
    """A declined first attempt may be repeated once, whole intervals of arrivals later.

    `soft_share` of declines, on average over issuers, allow it, and `probability` of those do.
    """

    soft_share: float = 0.6
    probability: float = 0.3


@dataclass(frozen=True, kw_only=True)
class SimulatedWorld:
    """`per_day` first attempts a day in `environment`, and their consequences."""

    environment: Environment
    per_day: int = 10_000
    delay: Delay = LIGHT
    retries: Retries = Retries()

    def arrivals(self, start: datetime, end: datetime, settled: pl.DataFrame) -> pl.DataFrame:
        """First attempts in [start, end), and retries of the declined ones in `settled`.

        A retry comes whole intervals after its parent; each decision is in the history of one
        interval only, so it is repeated once at most. It is a unit of its own: `attempt_no` 2,
        `parent_id` the declined decision, the same card.
        """
        days = range((start - EPOCH) // DAY, -((EPOCH - end) // DAY))
        ranks = np.arange(self.per_day, dtype=np.int64)
        first = [
            self.environment.arrivals(day, ranks, per_day=self.per_day).filter(
                pl.col("observed_at").is_between(start, end, closed="left")
            )
            for day in days
        ]
        return pl.concat([*first, self._repeated(start, end, settled)]).sort(
            "observed_at", "reference"
        )

    def _repeated(self, start: datetime, end: datetime, settled: pl.DataFrame) -> pl.DataFrame:
        columns = ["reference", "observed_at", *UNITS]
        if settled.is_empty():
            empty = self.environment.arrivals(0, np.zeros(0, dtype=np.int64), per_day=1)
            return empty.select(columns)
        declined = settled.filter((pl.col("reward") == 0) & (pl.col("attempt_no") == 1))
        issuer = declined["issuer"].str.slice(1).cast(pl.Int64).to_numpy()
        keys = RowKeys(self.environment.seed, declined["decision_id"].to_numpy())
        u = keys.uniforms("payments", "retry", columns=2)
        soft = u[:, 0] < self.retries.soft_share * self.environment.soft_factor[issuer]
        again = soft & (u[:, 1] < self.retries.probability)
        length = (end - start) // timedelta(microseconds=1)
        behind = -((pl.col("observed_at") - start).dt.total_microseconds() // length)
        return (
            declined.filter(pl.Series(again))
            .with_columns(
                parent_id=pl.col("decision_id"),
                reference=pl.col("reference") + "-2",
                attempt_no=pl.lit(2, pl.Int64()),
                observed_at=pl.col("observed_at") + pl.duration(microseconds=behind * length),
            )
            .with_columns(hour=pl.col("observed_at").dt.hour().cast(pl.Int64))
            .select(columns)
        )

    def outcomes(self, decisions: pl.DataFrame, as_of: datetime) -> pl.DataFrame:
        """What has become known of `decisions` by `as_of`: authorised (1) or not (0).

        One number a unit decides the rewards of all 24 actions (common random numbers), so
        another policy meets the same payer.
        """
        action = decisions["action"].list.first().cast(pl.Int64).to_numpy()
        chance = pick(self.environment.success(decisions), action)
        seed = self.environment.seed
        units = RowKeys(seed, decisions["unit_id"].to_numpy())
        reward = (units.uniforms("payments", "outcome")[:, 0] < chance).astype(np.float64)
        waits = RowKeys(seed, decisions["decision_id"].to_numpy())
        days = late_days(self.delay, reward, waits.uniforms("payments", "delay", columns=2))
        micros = pl.Series("late", np.rint(days * 86_400e6).astype(np.int64))
        return (
            decisions.select(
                "decision_id",
                reward=pl.Series(reward),
                observed_at=pl.col("decided_at") + _ANSWER + micros.cast(pl.Duration("us")),
            )
            .filter(pl.col("observed_at") <= as_of)
            .match_to_schema(OUTCOMES)
        )
