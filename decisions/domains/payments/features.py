"""From a payment attempt to what a model reads: plain context, then codes and target encodings."""

import json
from dataclasses import dataclass

import numpy as np
import polars as pl

from decisions.errors import DataError
from decisions.policy import BoolArray, Draw, FinitePolicy, FloatArray, IntArray
from decisions.seeds import RowKeys

CATEGORIES = ("merchant", "issuer")
PRIOR_STRENGTH = 50.0
FOLDS = 5


def observe(units: pl.LazyFrame) -> pl.LazyFrame:
    """The context of each unit, in the same order; reads no outcome and no other row.

    `log_amount` is the natural logarithm of the amount in EUR. `card` is there for clusters and
    traffic arms, the last three columns for eligibility; models read neither.
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

    `levels` and `rates` are by column of CATEGORIES, aligned; a name never seen gets code -1
    (missing, to a tree) and the window's overall rate `prior`.
    """

    levels: dict[str, tuple[str, ...]]
    rates: dict[str, tuple[float, ...]]
    prior: float

    def encode(self, context: pl.DataFrame) -> pl.DataFrame:
        """NUMERIC, CODES and RATES of `context`, and its `card`, row by row."""
        codes = {name: self.codes(context, name) for name in CATEGORIES}
        rates = {name: np.array([*self.rates[name], self.prior]) for name in CATEGORIES}
        return _encoded(context, codes, {name: rates[name][codes[name]] for name in CATEGORIES})

    def codes(self, context: pl.DataFrame, name: str) -> IntArray:
        """The code of each row in one column of CATEGORIES, -1 where never seen, (n,)."""
        levels = self.levels[name]
        codes = np.arange(len(levels), dtype=np.int64)
        return (
            context[name]
            .replace_strict(pl.Series(levels, dtype=pl.String), codes, default=-1)
            .cast(pl.Int64)
            .to_numpy()
        )

    def to_json(self) -> bytes:
        """The encoder as canonical JSON: equal encoders give equal bytes."""
        values = {"levels": self.levels, "rates": self.rates, "prior": self.prior}
        return json.dumps(values, sort_keys=True).encode()

    @staticmethod
    def from_json(content: bytes) -> "Encoder":
        """The encoder that `to_json` wrote."""
        values = json.loads(content)
        return Encoder(
            levels={name: tuple(values["levels"][name]) for name in CATEGORIES},
            rates={name: tuple(values["rates"][name]) for name in CATEGORIES},
            prior=float(values["prior"]),
        )


def _encoded(
    context: pl.DataFrame, codes: dict[str, IntArray], rates: dict[str, FloatArray]
) -> pl.DataFrame:
    return context.select(
        *(pl.col(name).cast(pl.Float64) for name in NUMERIC),
        *(pl.Series(f"{name}_code", codes[name]) for name in CATEGORIES),
        *(pl.Series(f"{name}_rate", rates[name]) for name in CATEGORIES),
        "card",
    )


def fit_encoder(context: pl.DataFrame, reward: FloatArray) -> tuple[Encoder, pl.DataFrame]:
    """An encoder of the window, and the window itself encoded *out of fold*.

    `context` is in order of time, `reward` (n,) is 0 or 1. The window is cut into FOLDS equal
    stretches of time, and a row's rates come from the other stretches only: a model trained on
    them never meets a row's own reward in its features, which would make gaps look larger than
    they are, and the policy greedier than the data allow.

    Raises:
        DataError: there is no row, or a reward is neither 0 nor 1.
    """
    n = context.height
    if n == 0 or not np.isin(reward, (0.0, 1.0)).all():
        raise DataError(f"{n} rows to encode; wanted at least one, with rewards of 0 or 1 only")
    success = reward.astype(np.int64)  # integers: sums do not depend on their order
    fold = np.arange(n) * FOLDS // n
    levels = {name: tuple(context[name].unique().sort().to_list()) for name in CATEGORIES}
    encoder = Encoder(levels=levels, rates=dict.fromkeys(CATEGORIES, ()), prior=0.0)
    rates: dict[str, tuple[float, ...]] = {}
    codes: dict[str, IntArray] = {}
    outside: dict[str, FloatArray] = {}
    overall = float(success.sum() / n)
    for name in CATEGORIES:
        code, size = encoder.codes(context, name), len(levels[name])
        cell = fold * size + code
        wins, count = (
            np.bincount(cell, weights, FOLDS * size).reshape(FOLDS, size).astype(np.int64)
            for weights in (success, None)
        )
        rates[name] = tuple(_shrunk(wins.sum(axis=0), count.sum(axis=0), overall).tolist())
        left_wins, left = wins.sum(axis=0) - wins, count.sum(axis=0) - count
        prior = (left_wins.sum(axis=1) / np.maximum(left.sum(axis=1), 1))[:, None]
        outside[name] = _shrunk(left_wins, left, prior)[fold, code]
        codes[name] = code
    fitted = Encoder(levels=levels, rates=rates, prior=overall)
    return fitted, _encoded(context, codes, outside)


@dataclass(frozen=True, kw_only=True)
class EncodedPolicy:
    """A policy that reads codes and rates, with the encoder of its own training window."""

    encoder: Encoder
    policy: FinitePolicy

    def probabilities(self, context: pl.DataFrame, eligible: BoolArray) -> FloatArray:
        """See FinitePolicy."""
        return self.policy.probabilities(self.encoder.encode(context), eligible)

    def act(self, context: pl.DataFrame, eligible: BoolArray, keys: RowKeys) -> Draw:
        """See Policy."""
        return self.policy.act(self.encoder.encode(context), eligible, keys)
