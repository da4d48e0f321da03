"""A payments environment whose success probabilities are known: policy values are exact."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.special import expit, gammaincinv, ndtri

from decisions.domains.payments.actions import FORMAT, SCA, TOKEN, UPDATE
from decisions.policy import FloatArray, IntArray
from decisions.seeds import RowKeys

UNITS = pl.Schema(
    {
        "card": pl.String(),  # a hash, never a number; retries and repeat payers share it
        "merchant": pl.String(),
        "issuer": pl.String(),
        "amount_minor": pl.Int64(),
        "currency": pl.String(),
        "recurring": pl.Boolean(),
        "days_to_expiry": pl.Int64(),
        "hour": pl.Int64(),  # UTC, 0 to 23
        "risk": pl.Float64(),  # the risk engine's standardised score, higher is riskier
        "attempt_no": pl.Int64(),
        "parent_id": pl.Int64(),  # the declined decision that this attempt repeats, or null
        "sca_supported": pl.Boolean(),  # by the issuer
        "token_enabled": pl.Boolean(),  # for the merchant
        "format_supported": pl.Boolean(),  # by the issuer
    }
)
DAY = timedelta(days=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Absence:
    """A flag, by its column of UNITS, that nobody may use on days in [first_day, until_day).

    One that is absent from day 0 on appears on `until_day`.
    """

    column: Literal["sca_supported", "token_enabled", "format_supported"]
    first_day: int
    until_day: int


@dataclass(frozen=True, kw_only=True)
class Environment:
    """Who pays, what helps, and what drifts: 40 merchants, 60 issuers, 24 composed actions.

    Everything random is a function of `seed` and of a row's own number, so the same bits come
    out whatever the batch, its order or the number of threads.
    """

    seed: int
    base: float = 2.5  # logit of success at an average row; 1.9 and 3.5 are the other presets
    merchants: int = 40
    issuers: int = 60
    cards: int = 200_000
    entries: int = 0  # further merchants, of which one enters a day after `first_day`
    first_day: int = 0  # days since 1970-01-01
    drift: float = 0.0  # amplitude of each issuer's cycle in the effect of authentication, logits
    drift_period: float = 8.0  # days
    outage_share: float = 0.0  # of issuers that are down on a day
    effects: bool = True  # False: the true null, in which no action changes anything
    redraw_day: int | None = None  # from then on every issuer has other effects; None: never
    absences: tuple[Absence, ...] = ()  # flags that come, or go and return

    def _uniforms(self, purpose: str, rows: int, columns: int = 1) -> FloatArray:
        keys = RowKeys(self.seed, np.arange(rows, dtype=np.int64))
        return keys.uniforms("payments", purpose, columns=columns)

    def _normals(self, purpose: str, rows: int, columns: int = 1) -> FloatArray:
        return ndtri(np.maximum(self._uniforms(purpose, rows, columns), 2.0**-54))

    def _popularity(self, purpose: str, rows: int) -> FloatArray:
        """Dirichlet(0.6) weights before normalisation: Gamma(0.6) by inversion."""
        return np.asarray(gammaincinv(0.6, self._uniforms(purpose, rows)[:, 0]), dtype=np.float64)

    @cached_property
    def merchant_weight(self) -> FloatArray:
        """Popularity of all merchants, entering ones included, not normalised."""
        return self._popularity("merchant popularity", self.merchants + self.entries)

    @cached_property
    def issuer_weight(self) -> FloatArray:
        """Popularity of the issuers, summing to one."""
        weight = self._popularity("issuer popularity", self.issuers)
        return weight / weight.sum()

    @cached_property
    def merchant_effect(self) -> FloatArray:
        """Success logit of each merchant, N(0, .35), shape (merchants,)."""
        return 0.35 * self._normals("merchant", self.merchants + self.entries)[:, 0]

    def _of_issuers(self, purpose: str, columns: int = 1) -> FloatArray:
        """Normals by issuer, (issuers, columns); those after `redraw_day` follow, if there is one.

        Which row is an issuer's on a day, `_issuer_row` says.
        """
        eras = (purpose,) if self.redraw_day is None else (purpose, f"{purpose} redrawn")
        return np.concatenate([self._normals(era, self.issuers, columns) for era in eras])

    def _issuer_row(self, issuer: IntArray, day: IntArray) -> IntArray:
        """Where the effects of each `issuer` on each `day`, both (n,), stand."""
        if self.redraw_day is None:
            return issuer
        return issuer + self.issuers * (day >= self.redraw_day)

    @cached_property
    def issuer_effect(self) -> FloatArray:
        """Success logit of each issuer, N(0, .6), (issuers,); twice as long with `redraw_day`."""
        return 0.6 * self._of_issuers("issuer")[:, 0]

    @cached_property
    def _action_effects(self) -> dict[str, FloatArray]:
        """Logits by issuer (update: by merchant) of each flag, before the context's share."""
        on = float(self.effects)
        sca = self._of_issuers("sca", 2)
        merchants = self.merchants + self.entries
        form = -0.15 + 0.7 * self._of_issuers("format", 2)
        form = np.column_stack([np.zeros(len(form)), form])
        return {
            "sca": on * (-0.35 + sca[:, 0]),
            "sca_amount": on * 0.4 * sca[:, 1],
            "token": on * (0.25 + 0.5 * self._of_issuers("token")[:, 0]),
            "format": on * form,
            "update": on * (-0.1 + 0.6 * self._normals("update", merchants)[:, 0]),
        }

    @cached_property
    def sca_supported(self) -> npt.NDArray[np.bool_]:
        """By issuer, 80 %."""
        return self._uniforms("sca supported", self.issuers)[:, 0] < 0.8

    @cached_property
    def format_supported(self) -> npt.NDArray[np.bool_]:
        """By issuer, 70 %."""
        return self._uniforms("format supported", self.issuers)[:, 0] < 0.7

    @cached_property
    def token_enabled(self) -> npt.NDArray[np.bool_]:
        """By merchant, 60 %."""
        return self._uniforms("token enabled", self.merchants + self.entries)[:, 0] < 0.6

    @cached_property
    def card_issuer(self) -> IntArray:
        """The issuer of each card, drawn by popularity, shape (cards,)."""
        return np.searchsorted(
            self.issuer_weight.cumsum()[:-1],
            self._uniforms("card issuer", self.cards)[:, 0],
            "right",
        ).astype(np.int64)

    def _merchant(self, uniform: FloatArray, day: IntArray) -> IntArray:
        """Merchants by popularity among those active on `day`, both (n,)."""
        active = self.merchants + np.clip(day - self.first_day, 0, self.entries)
        cumulative = self.merchant_weight.cumsum()
        return np.minimum(
            np.searchsorted(cumulative, uniform * cumulative[active - 1], "right"), active - 1
        ).astype(np.int64)

    def arrivals(self, day: int, ranks: IntArray, *, per_day: int) -> pl.DataFrame:
        """First attempts number `ranks` (n,) of the `per_day` that come on one `day`.

        Returns:
            `reference`, `observed_at` (ascending with the rank) and the UNITS columns.
        """
        keys = RowKeys(self.seed, day * (1 << 32) + ranks)
        u = keys.uniforms("payments", "context", columns=7)
        micros = ((ranks + u[:, 0]) / per_day * 86_400e6).astype(np.int64)
        card = (u[:, 1] * self.cards).astype(np.int64)
        merchant, issuer = self._merchant(u[:, 2], np.full(len(u), day)), self.card_issuer[card]
        z = ndtri(np.maximum(u[:, [3, 6]], 2.0**-54))
        absent = {a.column for a in self.absences if a.first_day <= day < a.until_day}
        amount = np.maximum(1, np.rint(100 * np.exp(3.6 + 1.1 * z[:, 0]))).astype(np.int64)
        return (
            pl.DataFrame(
                {
                    "rank": ranks,
                    "observed_at": micros + day * 86_400_000_000,
                    "card": card,
                    "merchant": merchant,
                    "issuer": issuer,
                    "amount_minor": amount,
                    "recurring": u[:, 4] < 0.35,
                    "days_to_expiry": (u[:, 5] * 1500).astype(np.int64),
                    "hour": micros // 3_600_000_000,
                    "risk": z[:, 1],
                    "sca_supported": self.sca_supported[issuer],
                    "token_enabled": self.token_enabled[merchant],
                    "format_supported": self.format_supported[issuer],
                }
            )
            .with_columns(
                pl.format("{}-{}", pl.lit(day), "rank").alias("reference"),
                pl.from_epoch("observed_at", "us")
                .cast(pl.Datetime("us"))
                .dt.replace_time_zone("UTC"),
                *(
                    pl.format(f"{name[0]}{{}}", name).alias(name)
                    for name in ("card", "merchant", "issuer")
                ),
                *(pl.lit(value=False).alias(name) for name in sorted(absent)),
                currency=pl.lit("EUR"),
                attempt_no=pl.lit(1, pl.Int64()),
                parent_id=pl.lit(None, pl.Int64()),
            )
            .select("reference", "observed_at", *UNITS)
        )

    def outage(self, day: IntArray, issuer: IntArray) -> npt.NDArray[np.bool_]:
        """Whether each `issuer` is down on each `day`, both (n,)."""
        keys = RowKeys(self.seed, day * self.issuers + issuer)
        return keys.uniforms("payments", "outage")[:, 0] < self.outage_share

    def logits(self, units: pl.DataFrame) -> FloatArray:
        """Success logits of all 24 actions for `units` (with `observed_at`), shape (n, 24).

        Ineligible actions get a number too; only `actions.eligible` says which may be taken.
        """
        merchant, issuer, day = (
            units.select(
                pl.col("merchant").str.slice(1).cast(pl.Int64),
                pl.col("issuer").str.slice(1).cast(pl.Int64),
                (pl.col("observed_at").dt.epoch("us") // 86_400_000_000).alias("day"),
            )
            .to_numpy()
            .T
        )
        centred = np.log(units["amount_minor"].to_numpy() / 100) - 3.6
        row = self._issuer_row(issuer, day)
        recurring = units["recurring"].to_numpy().astype(np.float64)
        expiring = (units["days_to_expiry"].to_numpy() < 90).astype(np.float64)
        again = (units["attempt_no"].to_numpy() > 1).astype(np.float64)
        common = (
            self.base
            + self.merchant_effect[merchant]
            + self.issuer_effect[row]
            - 0.25 * centred
            - 0.35 * units["risk"].to_numpy()
            - 0.8 * expiring
            + 0.2 * recurring
            + again * (self.recovery[issuer] - 0.6)
        )
        if self.outage_share:
            common = common - 2.0 * self.outage(day, issuer)
        on, effect = float(self.effects), self._action_effects
        sca = effect["sca"][row] + effect["sca_amount"][row] * centred
        if self.drift and self.effects:
            phase = 2 * np.pi * self.drift_phase[issuer]
            sca = sca + self.drift * np.sin(2 * np.pi * day / self.drift_period + phase)
        token = effect["token"][row] + on * 0.3 * recurring
        update = effect["update"][merchant] + on * 0.5 * expiring
        return (
            common[:, None]
            + sca[:, None] * SCA
            + token[:, None] * TOKEN
            + effect["format"][row][:, FORMAT]
            + update[:, None] * UPDATE
            - on * 0.25 * (SCA * UPDATE)
        )

    def success(self, units: pl.DataFrame) -> FloatArray:
        """P(authorised | unit, action) of all 24 actions, exact, shape (n, 24)."""
        return expit(self.logits(units))

    @cached_property
    def recovery(self) -> FloatArray:
        """How much of a retry's handicap each issuer gives back, N(0, .3) logits, by issuer."""
        return 0.3 * self._normals("recovery", self.issuers)[:, 0]

    @cached_property
    def soft_factor(self) -> FloatArray:
        """Factor on the share of soft declines, uniform on [2/3, 4/3], by issuer."""
        return 2 / 3 * (1 + self._uniforms("soft", self.issuers)[:, 0])

    @cached_property
    def drift_phase(self) -> FloatArray:
        """Where in the cycle each issuer starts, as a share of the period."""
        return self._uniforms("drift", self.issuers)[:, 0]


def policy_value(probabilities: FloatArray, success: FloatArray) -> float:
    """Expected reward of acting with `probabilities` (n, 24) where P is `success` (n, 24).

    The whole sum over actions, no sampling: exact for these n units.
    """
    return float((probabilities * success).sum(axis=1).mean())


def best_value(eligible: npt.NDArray[np.bool_], success: FloatArray) -> float:
    """The value of always taking the eligible action with the highest P."""
    return float(np.where(eligible, success, -1.0).max(axis=1).mean())


def authorised(success: FloatArray, uniform: FloatArray) -> FloatArray:
    """Rewards r_a = 1[u < P(x, a)] of every action under one number a unit, shape (n, 24)."""
    return (uniform[:, None] < success).astype(np.float64)
