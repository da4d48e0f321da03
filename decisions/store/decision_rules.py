"""The rules of a decision's row, each in two forms that stand side by side.

`kept` names the rows that break a rule. `whole` says of an ordinary batch, in a quarter of the
time, that no row does; it may say no too often, never too seldom. Neither form can be left out.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl

from decisions.frames import SLOTS, UNITS_A_MINUTE, decision_id, decision_rules, minute_of
from decisions.store.columns import Array, Column, Ints, flatten

ZERO_BYTE = "\0"  # which PostgreSQL keeps in no text
_LISTS = ("eligible", "scores", "probabilities", "action", "nominal")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Batch:
    """The columns of DECISIONS as flat arrays, for the `whole` form of the rules."""

    def __init__(self, decisions: pl.DataFrame, now: datetime) -> None:
        self.decisions, self.now = decisions, now
        self._columns: dict[str, Column] = {c.name: c for c in flatten(decisions)}

    def __getitem__(self, name: str) -> Array:
        """The numbers of a column, those of lists one after the other."""
        return self._columns[name].values

    def lengths(self, name: str) -> Ints:
        """How many numbers each list of a column holds, shape (n,)."""
        lengths = self._columns[name].lengths
        assert lengths is not None
        return lengths

    @property
    def ordinary(self) -> bool:
        """Whether there are rows, nothing is missing, and each chose one of several actions."""
        complete = (c.valid is None for c in self._columns.values() if c.name != "parent_id")
        return (
            len(self.decisions) > 0
            and all(complete)
            and self["eligible"].dtype == np.int16  # a missing number makes it another type
            and bool((self.lengths("eligible") > 0).all() and (self.lengths("action") == 1).all())
            and np.array_equal(self.lengths("eligible"), self.lengths("probabilities"))
        )

    @cached_property
    def starts(self) -> Ints:
        """Where each row's actions begin, shape (n,)."""
        return np.cumsum(self.lengths("eligible")) - self.lengths("eligible")

    @cached_property
    def chosen(self) -> Array:
        """Which of all eligible actions were taken."""
        return self["eligible"] == np.repeat(self["action"], self.lengths("eligible"))

    def rises(self) -> bool:
        """Whether each row's actions ascend."""
        rising = np.ones(len(self["eligible"]), dtype=np.bool_)
        rising[1:] = self["eligible"][1:] > self["eligible"][:-1]
        rising[self.starts] = True
        return bool(rising.all())

    def finite(self, *names: str) -> bool:
        """Whether every number of these columns is."""
        return all(bool(np.isfinite(self[name]).all()) for name in names)

    def distinct(self, name: str) -> bool:
        """Whether no number of a column is there twice."""
        ids = self[name]
        return bool((np.diff(ids) > 0).all()) or len(np.unique(ids)) == len(ids)


@dataclass(frozen=True)
class Rule:
    """One rule in its two forms; `kept` is null or false for a row that breaks it."""

    kept: pl.Expr
    whole: Callable[[Batch], Any]


def rules(now: datetime) -> dict[str, Rule]:
    """The rules by name, in the order in which a row is judged: those of `frames` first."""
    named = decision_rules(now) | _stored(now)
    return {name: Rule(kept, _WHOLE[name]) for name, kept in named.items()}


def _stored(now: datetime) -> dict[str, pl.Expr]:
    lists = pl.col(*_LISTS)
    uniform, nominal = pl.col("uniform"), pl.col("nominal")
    return {
        "decision_id is not that of its unit and slot": pl.col("slot").is_between(0, SLOTS - 1)
        & (pl.col("decision_id") == decision_id(pl.col("unit_id"), pl.col("slot"))),
        "decision_id lies in the future": minute_of(pl.col("unit_id")) * 60 <= now.timestamp(),
        "arm is missing": pl.col("arm").str.len_bytes() > 0,
        "text holds a zero byte": ~pl.col("arm").str.contains(ZERO_BYTE, literal=True),
        "a list is missing": pl.all_horizontal(lists.is_not_null()),
        "a list holds a missing number": ~pl.any_horizontal(
            lists.list.eval(pl.element().is_null()).list.any()
        ),
        "nominal holds a number that is not finite": nominal.list.eval(
            pl.element().is_finite()
        ).list.all(),
        "arm_propensity is not above 0 and finite": pl.col("arm_propensity").is_finite()
        & (pl.col("arm_propensity") > 0),
        # Who decided before us, generation 0, may have kept neither the number drawn with nor
        # what would have been done without exploring.
        "uniform is not in [0, 1)": uniform.is_between(0, 1, closed="left")
        | (uniform.is_nan() & (pl.col("generation") == 0) & (nominal.list.len() == 0)),
    }


_WHOLE: dict[str, Callable[[Batch], Any]] = {
    "probabilities and eligible differ in length": lambda b: np.array_equal(
        b.lengths("probabilities"), b.lengths("eligible")
    ),
    "decision_id is not a number of 0 or more": lambda b: b["decision_id"].min() >= 0,
    "decision_id is given twice": lambda b: b.distinct("decision_id"),
    "decided_at lies in the future": lambda b: (
        b["decided_at"].max() <= (b.now - _EPOCH) // timedelta(microseconds=1)
    ),
    "action is empty or not finite": lambda b: b.finite("action"),
    "eligible is not ascending": Batch.rises,
    "scores hold a number that is not finite": lambda b: b.finite("scores"),
    "probabilities hold a negative or missing number": lambda b: (b["probabilities"] >= 0).all(),
    "probabilities do not sum to one": lambda b: (
        np.abs(np.add.reduceat(b["probabilities"], b.starts) - 1) <= 1e-9
    ).all(),
    "action is not eligible": lambda b: (
        np.add.reduceat(b.chosen.astype(np.int64), b.starts) == 1
    ).all(),
    "propensity is not above 0 and finite": lambda b: (
        b["propensity"].min() > 0 and b.finite("propensity")
    ),
    "propensity is not the probability of the action": lambda b: np.array_equal(
        b["probabilities"][b.chosen], b["propensity"]
    ),
    "decision_id is not that of its unit and slot": lambda b: (
        b["slot"].min() >= 0
        and b["slot"].max() < SLOTS
        and np.array_equal(b["decision_id"], b["unit_id"] * SLOTS + b["slot"])
    ),
    "decision_id lies in the future": lambda b: (
        b["unit_id"].max() // UNITS_A_MINUTE * 60 <= b.now.timestamp()
    ),
    "arm is missing": lambda b: (b.decisions["arm"].str.len_bytes() > 0).all(),
    "text holds a zero byte": lambda b: (
        not b.decisions["arm"].str.contains(ZERO_BYTE, literal=True).any()
    ),
    "a list is missing": lambda b: b.ordinary,
    "a list holds a missing number": lambda b: b.ordinary and b.finite(*_LISTS),
    "nominal holds a number that is not finite": lambda b: b.finite("nominal"),
    "arm_propensity is not above 0 and finite": lambda b: (
        b["arm_propensity"].min() > 0 and b.finite("arm_propensity")
    ),
    "uniform is not in [0, 1)": lambda b: b["uniform"].min() >= 0 and b["uniform"].max() < 1,
}
