"""From a payment attempt to what a model reads: plain context, then codes and target encodings."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from decisions.bandits.oracles import RegressionOracle
from decisions.errors import DataError
from decisions.policy import BoolArray, FloatArray, IntArray

CATEGORIES = ("merchant", "issuer")
PRIOR_STRENGTH = 50.0
BLOCKS = 10


def observe(units: pl.LazyFrame) -> pl.LazyFrame:
    """The context of each unit, in the same order; reads no outcome and no other row.

    `log_amount` is the natural logarithm of the amount in EUR. `card` is there for clusters,
    `arm_key` for traffic arms, the last three columns for eligibility; models read none of them.

    `arm_key` is card and attempt number: payments of a card stay in one arm, and its retries have
    an arm of their own, drawn anew. With the parent's arm, more retries would explore than the
    stated share (0.555 in place of 0.50), because exploring is declined more often and only
    declined attempts are repeated; their propensities would not be those given the context. The
    price: in an experiment between arms, a retry is another attempt, not a part of its parent's.
    """
    return units.select(
        "merchant",
        "issuer",
        (pl.col("amount_minor") / 100).log().alias("log_amount"),
        "recurring",
        "days_to_expiry",
        "hour",
        "risk",
        "attempt_no",
        "card",
        pl.format("{}/{}", "card", "attempt_no").alias("arm_key"),
        "sca_supported",
        "token_enabled",
        "format_supported",
    )


NUMERIC = ("log_amount", "recurring", "days_to_expiry", "hour", "risk", "attempt_no")
CODES = tuple(f"{name}_code" for name in CATEGORIES)
RATES = tuple(f"{name}_rate" for name in CATEGORIES)


def _shrunk(successes: IntArray, count: IntArray, prior: float | FloatArray) -> FloatArray:
    """Rates drawn towards `prior` with the weight of PRIOR_STRENGTH rows."""
    return (successes + PRIOR_STRENGTH * prior) / (count + PRIOR_STRENGTH)


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """Codes and authorisation rates of merchants and issuers, from one training window.

    `levels` and `rates` hold one entry for each of CATEGORIES, aligned; a name never seen gets
    code -1 (missing, to a tree) and the window's overall rate `prior`.
    """

    levels: tuple[tuple[str, ...], ...]
    rates: tuple[tuple[float, ...], ...]
    prior: float

    def encode(self, context: pl.DataFrame) -> pl.DataFrame:
        """NUMERIC, CODES and RATES of `context`, row by row."""
        codes = [self.codes(context, column) for column in range(len(CATEGORIES))]
        rates = [
            np.array([*rates, self.prior])[code]
            for rates, code in zip(self.rates, codes, strict=True)
        ]
        return _encoded(context, codes, rates)

    def codes(self, context: pl.DataFrame, column: int) -> IntArray:
        """The code of each row in one of CATEGORIES, -1 where never seen, (n,)."""
        levels = self.levels[column]
        return (
            context[CATEGORIES[column]]
            .replace_strict(
                pl.Series(levels, dtype=pl.String),
                np.arange(len(levels), dtype=np.int64),
                default=-1,
                return_dtype=pl.Int64,
            )
            .to_numpy()
        )


def _encoded(
    context: pl.DataFrame, codes: Sequence[IntArray], rates: Sequence[FloatArray]
) -> pl.DataFrame:
    return context.select(
        *(pl.col(name).cast(pl.Float64) for name in NUMERIC),
        *(pl.Series(name, code) for name, code in zip(CODES, codes, strict=True)),
        *(pl.Series(name, rate) for name, rate in zip(RATES, rates, strict=True)),
    )


def fit_encoder(context: pl.DataFrame, reward: FloatArray) -> tuple[Encoder, pl.DataFrame]:
    """An encoder of the window, and the window itself encoded *time-lagged*.

    `context` is in order of time, `reward` (n,) is 0 or 1. The window is cut into BLOCKS equal
    stretches of time, and a row's rates come from earlier stretches only, as they will when the
    encoder serves later rows; those of the first are the window's overall rate, one number that
    tells no row from another. A model trained on them never meets a row's own reward in its
    features, nor what that reward took away from the rest: rates from all other stretches fall
    where a row's own stretch did well, by issuer a correlation of -0.16 to -0.19 on pure noise.

    Raises:
        DataError: there is no row, or a reward is neither 0 nor 1.
    """
    n = context.height
    if n == 0 or not np.isin(reward, (0.0, 1.0)).all():
        raise DataError(f"{n} rows to encode; wanted at least one, with rewards of 0 or 1 only")
    success = reward.astype(np.int64)  # integers: sums do not depend on their order
    block = np.arange(n) * BLOCKS // n
    levels = tuple(tuple(context[name].unique().sort().to_list()) for name in CATEGORIES)
    overall = float(success.sum() / n)
    encoder = Encoder(levels=levels, rates=((),) * len(CATEGORIES), prior=overall)
    codes = [encoder.codes(context, column) for column in range(len(CATEGORIES))]
    rates: list[tuple[float, ...]] = []
    lagged: list[FloatArray] = []
    for names, code in zip(levels, codes, strict=True):
        size = len(names)
        cell = block * size + code
        wins, count = (
            np.bincount(cell, weights, BLOCKS * size).reshape(BLOCKS, size).astype(np.int64)
            for weights in (success, None)
        )
        rates.append(tuple(_shrunk(wins.sum(axis=0), count.sum(axis=0), overall).tolist()))
        past_wins, past = wins.cumsum(axis=0) - wins, count.cumsum(axis=0) - count
        rows = past.sum(axis=1)
        prior = np.where(rows > 0, past_wins.sum(axis=1) / np.maximum(rows, 1), overall)
        lagged.append(_shrunk(past_wins, past, prior[:, None])[block, code])
    return replace(encoder, rates=tuple(rates)), _encoded(context, codes, lagged)


@dataclass(frozen=True, kw_only=True)
class EncodedOracle:
    """An oracle that reads codes and rates, with the encoder of its own training window."""

    encoder: Encoder
    oracle: RegressionOracle

    def predict(self, context: pl.DataFrame, eligible: BoolArray) -> FloatArray:
        """Expected rewards from plain context, (n, 24); see RegressionOracle."""
        return self.oracle.predict(self.encoder.encode(context), eligible)
