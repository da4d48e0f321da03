"""Outcomes that come late: which rows may be used, with which factor, and whether that is right.

An outcome is known at the cut-off iff its delay is at most the row's age. Later outcomes are
often of one kind (an authorisation comes later than a refusal), so a correction that is blind to
the outcome can be worse than none; `checked` finds that out on a generation whose outcomes are all
known by now.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from decisions.errors import DataError
from decisions.policy import BoolArray, FloatArray
from decisions.shapes import check_rows, check_weights

Labels = npt.NDArray[np.generic]
_UNKNOWN = "/unknown"  # the outcome of a stratum of `by_outcome`


def matured(age: FloatArray, *, maturity: float) -> BoolArray:
    """Rows old enough that an outcome still missing is missing for good; same unit of time."""
    return age >= maturity


def unresolved_share(resolved: BoolArray, arms: Labels) -> dict[str, float]:
    """Share of rows without an outcome, by arm: a difference between arms biases comparisons."""
    check_rows(resolved=resolved, arms=arms)
    names, codes = np.unique(arms.astype(str), return_inverse=True)
    share = np.bincount(codes.reshape(-1), weights=~resolved) / np.bincount(codes.reshape(-1))
    return dict(zip(names.tolist(), share.tolist(), strict=True))


@dataclass(frozen=True)
class DelayCurve:
    """Probability that an outcome is known within a time: steps at `times`, both (m,)."""

    times: FloatArray
    known: FloatArray

    def at(self, age: FloatArray) -> FloatArray:
        """Probability that the delay is at most `age` (n,)."""
        step = np.searchsorted(self.times, age, side="right")
        return np.concatenate([[0.0], self.known])[step]


def kaplan_meier(time: FloatArray, resolved: BoolArray) -> DelayCurve:
    """The delay's distribution from rows resolved after `time`, or still open at that age.

    Source: Kaplan and Meier (1958), product-limit estimator.
    """
    check_rows(time=time, resolved=resolved)
    if not np.isfinite(time).all() or (time < 0).any():
        raise DataError(f"delays range from {time.min():g} to {time.max():g}; wanted >= 0, finite")
    times, codes = np.unique(time, return_inverse=True)
    events = np.bincount(codes.reshape(-1), weights=resolved, minlength=len(times))
    rows = np.bincount(codes.reshape(-1), minlength=len(times))
    at_risk = rows[::-1].cumsum()[::-1]
    survival = np.cumprod(1 - events / np.maximum(at_risk, 1))
    seen = events > 0
    return DelayCurve(times[seen], (1 - survival[seen]).astype(np.float64))


@dataclass(frozen=True)
class DelayCurves:
    """A curve a stratum, and that of all rows for a stratum never seen."""

    strata: Mapping[str, DelayCurve]
    pooled: DelayCurve

    def known_by(self, age: FloatArray, strata: Labels) -> FloatArray:
        """Probability that each row's outcome is known at its `age` (n,), by its stratum."""
        check_rows(age=age, strata=strata)
        known = self.pooled.at(age)
        for name, curve in self.strata.items():
            rows = strata.astype(str) == name
            known[rows] = curve.at(age[rows])
        return known


def fit_curves(
    time: FloatArray, resolved: BoolArray, strata: Labels, *, reward: FloatArray | None = None
) -> DelayCurves:
    """Delay curves by stratum, from a generation that is matured (or censored at its age).

    With `reward` (n,) the curves are by stratum and outcome (`by_outcome`). All outcomes must be
    known then: a censored row's outcome is not, and counting it as declined moves the rate.

    Raises:
        DataError: a reward is unknown, or a stratum of `by_outcome` says so.
    """
    if reward is not None:
        strata = by_outcome(strata, reward)
    labels = strata.astype(str)
    unknown = np.char.endswith(labels, _UNKNOWN)
    if unknown.any():
        raise DataError(
            f"{int(unknown.sum())} of {len(labels)} rewards are unknown; curves by outcome want a"
            " matured generation, every outcome of which is known"
        )
    names = np.unique(strata.astype(str))
    each = {
        str(name): kaplan_meier(time[rows], resolved[rows])
        for name in names
        for rows in [strata.astype(str) == name]
    }
    return DelayCurves(each, kaplan_meier(time, resolved))


def by_outcome(strata: Labels, reward: FloatArray) -> npt.NDArray[np.str_]:
    """Strata split by outcome: rewards above 0, the rest, and NaN for outcomes not known yet."""
    check_rows(strata=strata, reward=reward)
    outcome = np.where(np.isnan(reward), _UNKNOWN, np.where(reward > 0, "/rewarded", "/not"))
    return np.char.add(strata.astype(str), outcome)


def censoring_factor(
    age: FloatArray, resolved: BoolArray, curves: DelayCurves, strata: Labels
) -> FloatArray:
    """Inverse probability of being known, 0 for unresolved rows, shape (n,).

    A resolved row stands for all those of its stratum that had the same age and were not known.
    Where the curve says that it could not be known yet, the row stands for itself alone.

    Source: Robins and Rotnitzky (1992), inverse probability of censoring weighting.
    """
    check_rows(age=age, resolved=resolved, strata=strata)
    known = curves.known_by(age, strata)
    return np.where(resolved, 1 / np.where(known > 0, known, 1.0), 0.0)


def weighted_rate(factor: FloatArray, reward: FloatArray) -> float:
    """Mean reward of resolved rows under `factor`; unresolved rewards are not read."""
    check_rows(factor=factor, reward=reward)
    check_weights(factor=factor)
    return float(factor @ np.where(factor > 0, reward, 0.0) / factor.sum())


def rates(
    age: FloatArray,
    resolved: BoolArray,
    reward: FloatArray,
    *,
    strata: Labels,
    blind: DelayCurves,
    outcome: DelayCurves,
) -> dict[str, float]:
    """The mean reward of rows that are not matured, by each way to correct it.

    `blind` curves are by stratum, `outcome` curves by stratum and outcome. "missing is zero" is
    here to show what it does; nothing uses it.
    """
    split = by_outcome(strata, reward)
    return {
        "missing is zero": float(np.where(resolved, reward, 0.0).mean()),
        "naive": weighted_rate(resolved.astype(np.float64), reward),
        "outcome-blind": weighted_rate(censoring_factor(age, resolved, blind, strata), reward),
        "by outcome": weighted_rate(censoring_factor(age, resolved, outcome, split), reward),
    }


@dataclass(frozen=True)
class Correction:
    """How far one correction was off on a generation whose truth is known by now."""

    bias: float
    sound: bool


def checked(
    previous: Mapping[str, float], truth: float, *, tolerance: float
) -> dict[str, Correction]:
    """Each correction's bias on the previous generation, by name, and whether it is sound.

    `previous` holds `rates` of that generation as they stood at its own cut-off, `truth` its mean
    reward now that it is matured. A correction that was off by more than `tolerance` (in units of
    reward) is not sound: its use on the current generation must be refused.
    """
    return {
        name: Correction(bias=rate - truth, sound=abs(rate - truth) <= tolerance)
        for name, rate in previous.items()
    }
