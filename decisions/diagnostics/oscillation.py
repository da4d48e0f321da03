"""Does a domain's value swing from generation to generation, or is it only noise?

The value of the deployed policy minus that of doing nothing is tested for alternation: neighbours
that differ, generations two apart that are alike (`series.alternation`). Three traps are avoided.
White noise changes direction in two of three generations, so direction alone says nothing. Its
lag-1 autocorrelation after detrending is about -2/G, so the null is drawn and never 0. And slow
movement (drift that the control does not share, a random walk, an abrupt change) makes neighbours
alike: a one-sided test takes none of it for oscillation.

A verdict of "stable" is given only where a swing that matters would have been seen four times of
five; where it would not, the verdict is "cannot tell".
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from decisions.diagnostics import series
from decisions.diagnostics.evidence import (
    FLAT,
    PERMUTATIONS,
    Statistics,
    describe,
    outcomes_follow,
    rhythm,
)
from decisions.diagnostics.explanation import amount, explain
from decisions.errors import DataError
from decisions.policy import BoolArray, FloatArray, IntArray

__all__ = [
    "Diagnosis",
    "Series",
    "Statistics",
    "diagnose",
    "diagnose_all",
    "diagnose_pooled",
    "holm",
]

Verdict = Literal["oscillating", "suspect", "cannot tell", "stable", "degenerate", "inconclusive"]

FEWEST = 8  # generations, below which nothing can be told
OSCILLATING_P, SUSPECT_P = 0.01, 0.05
SURE_SLOPE = 0.75  # standard error up to which outcomes say how large a swing is
CONTRADICTED = -1.645  # standard errors from no slope, from which outcomes go the other way
MATERIAL = 0.002  # of reward: 0.2 pp of a rate


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """A verdict on one series, why, and what to do about it."""

    verdict: Verdict
    reasons: tuple[str, ...]
    explanation: str
    action: str
    statistics: Statistics


@dataclass(frozen=True, kw_only=True, eq=False)
class Series:
    """A value by generation, (g,), with what was measured beside it.

    `value` is in the unit of the reward, the control's subtracted; NaN where a generation has
    none. `standard_error` is 0 for exact values. `index` numbers the generations, ascending; by
    default they follow one another. `measures` are named as in `mechanism.PANEL`, each (g,).
    `parts` (c, g), where known, are what c fixed parts of the traffic (issuers, say) contribute
    to the value: rhythm and swing are then sought in them, which sees much more
    (`evidence.rhythm`); `shares` (c,) are theirs of the traffic. They may be expectations of a
    model: `outcome` (g,), mean rewards as they came, then says whether these follow.
    """

    value: FloatArray
    standard_error: FloatArray
    index: IntArray | None = None
    measures: Mapping[str, FloatArray] = field(default_factory=dict[str, FloatArray])
    parts: FloatArray | None = None
    shares: FloatArray | None = None
    outcome: FloatArray | None = None


def diagnose(
    value: FloatArray,
    standard_error: FloatArray,
    rng: np.random.Generator,
    *,
    index: IntArray | None = None,
    measures: Mapping[str, FloatArray] | None = None,
    parts: FloatArray | None = None,
    shares: FloatArray | None = None,
    outcome: FloatArray | None = None,
    material: float = MATERIAL,
    name: str = "the policy",
    unit: str = "%",
    permutations: int = PERMUTATIONS,
) -> Diagnosis:
    """The verdict on one series of generations.

    Args:
        value: of each generation minus the control's, (g,), in the unit of the reward; NaN where
            missing: such a generation is left out and named in the reasons.
        standard_error: of `value`, (g,), 0 where it is exact.
        rng: for the null.
        index: number of each generation, ascending; by default 0, 1, 2 and so on.
        measures: what else was measured, each (g,), by the names of `mechanism.PANEL`.
        parts: of the value by part of the traffic, (c, g); see `Series`.
        shares: of the traffic by part, (c,).
        outcome: mean reward of each generation as it came, (g,), where `parts` are expectations.
        material: the smallest swing that matters, in the unit of the reward.
        name: what the series is called in the explanation.
        unit: of the reward, as in `Domain.reward_unit`: "%" shows a share in percentage points.
        permutations: size of the null.

    Raises:
        DataError: lengths differ, `index` does not ascend, a value or standard error is infinite,
            or a standard error is negative; the message names the generation.
    """
    one = Series(
        value=value,
        standard_error=standard_error,
        index=index,
        measures=dict(measures or {}),
        parts=parts,
        shares=shares,
        outcome=outcome,
    )
    found = _measured(one, rng, name=name, permutations=permutations, tests=1)
    return _judged(found, name=name, material=material, unit=unit)


def diagnose_pooled(
    values: FloatArray,
    standard_error: FloatArray,
    rng: np.random.Generator,
    *,
    index: IntArray | None = None,
    measures: Mapping[str, FloatArray] | None = None,
    material: float = MATERIAL,
    name: str = "the policy",
    unit: str = "%",
    permutations: int = PERMUTATIONS,
) -> Diagnosis:
    """The verdict on m independent replicates of one series (seeds), all arrays (m, g).

    Each replicate is permuted by itself, and the statistic is the mean over replicates.
    Otherwise as `diagnose`; a generation is left out where any replicate has no value.
    """
    return diagnose(
        values,
        standard_error,
        rng,
        index=index,
        measures=measures,
        material=material,
        name=name,
        unit=unit,
        permutations=permutations,
    )


def diagnose_all(
    found: Mapping[str, Series],
    rng: np.random.Generator,
    *,
    material: float = MATERIAL,
    unit: str = "%",
    headline: str | None = None,
) -> dict[str, Diagnosis]:
    """The verdicts on all series of a domain, Holm-corrected for their number.

    Series too short or too flat to be tested do not count. Nor does the `headline`, the one that
    is asked about: it is tested by itself, and the others are corrected for their own number. The
    null grows with the number of series, so that one of them can still reach `OSCILLATING_P`
    after the correction.
    """
    size = PERMUTATIONS * max(1, len(found) // 8)
    others = [name for name in found if name != headline]
    measured = {
        name: _measured(
            one, rng, name=name, permutations=size, tests=1 if name == headline else len(others)
        )
        for name, one in found.items()
    }
    corrected = dict(
        zip(others, holm([measured[name].statistics.p for name in others]), strict=True)
    )
    return {
        name: _judged(
            replace(
                each,
                statistics=replace(each.statistics, p_holm=corrected.get(name, each.statistics.p)),
            ),
            name=name,
            material=material,
            unit=unit,
        )
        for name, each in measured.items()
    }


def holm(p: Sequence[float]) -> list[float]:
    """Holm's corrected p values; NaN stays NaN and does not count.

    Source: Holm (1979), "A simple sequentially rejective multiple test procedure".
    """
    tested = sorted((each, at) for at, each in enumerate(p) if not np.isnan(each))
    corrected = [float("nan")] * len(p)
    largest = 0.0
    for rank, (each, at) in enumerate(tested):
        largest = max(largest, min(1.0, (len(tested) - rank) * each))
        corrected[at] = largest
    return corrected


@dataclass(frozen=True, kw_only=True)
class _Measured:
    """Statistics of a series, and why it cannot be tested, if so."""

    statistics: Statistics
    notes: tuple[str, ...]  # what was left out
    untested: str | None  # why there is no test
    flat: bool
    one_policy: bool = False  # the same in all cycles, as far as is known


def _measured(
    one: Series, rng: np.random.Generator, *, name: str, permutations: int, tests: int
) -> _Measured:
    """The statistics of one of `tests` series, tested where its length and movement allow it."""
    value, noise, index, measures = _arrays(one, name)
    parts = _parts(one, value, name)
    held = value + noise if parts is None else value + noise + parts.sum(axis=0)
    known: BoolArray = np.logical_and.reduce(np.isfinite(held), axis=0)
    notes = _left_out(index, known)
    value, noise, index = value[:, known], noise[:, known], index[known]
    measures = {key: each[:, known] for key, each in measures.items()}
    parts = None if parts is None or _still(parts[:, known], index) else parts[:, known]
    count = len(index)
    if count < 2:
        few = "no generation has a value yet" if not count else "one generation has a value"
        return _Measured(
            statistics=Statistics(generations=count),
            notes=notes,
            untested=f"{few}, {FEWEST} are needed: come back after more training cycles",
            flat=False,
        )
    statistics = describe(value, noise, index, measures)
    neighbours = len(series.pairs(index)[0])
    untested = None
    if count < FEWEST:
        untested = (
            f"{count} generations have a value, {FEWEST} are needed: come back after more"
            " training cycles"
        )
    elif neighbours < FEWEST - 1:
        untested = (
            f"only {neighbours} pairs of generations follow one another, {FEWEST - 1} are needed:"
            " fill the gaps, or wait for more training cycles"
        )
    flat = statistics.sd < FLAT
    if untested is None and not _still(value if parts is None else parts, index):
        tested = rhythm(
            value,
            noise,
            index,
            rng,
            parts=parts,
            shares=one.shares,
            permutations=permutations,
            error=OSCILLATING_P / tests,
        )
        statistics = replace(statistics, **tested)
    if parts is not None:
        outcome = None if one.outcome is None else np.asarray(one.outcome)[known]
        statistics = _expected(statistics, parts.sum(axis=0), outcome, index)
    acting = measures.get("generation")
    return _Measured(
        statistics=statistics,
        notes=notes,
        untested=untested,
        flat=flat,
        one_policy=acting is not None and len(np.unique(acting)) == 1,
    )


def _still(levels: FloatArray, index: IntArray) -> bool:
    """Whether no row of `levels` (m, g) departs from a line, as where a model is a constant."""
    return len(index) < 2 or float(series.detrended(levels, index).std(axis=-1).max()) < FLAT


def _expected(
    statistics: Statistics, expected: FloatArray, outcome: FloatArray | None, index: IntArray
) -> Statistics:
    """`statistics` with the swing of what the parts add up to, (g,), and what outcomes make of it.

    A model of rewards is cautious: it makes differences between policies too small. So the swing
    that is judged is that of outcomes, in step with the expected one, where they tell; and so is
    the smallest visible one, though it gets no smaller where outcomes follow but little.
    """
    swing = series.swing(expected[None], index)
    slope, error = (
        (np.nan, np.nan) if outcome is None else outcomes_follow(expected, outcome, index)
    )
    follows = slope if np.isfinite(slope) and error <= SURE_SLOPE else 1.0
    return replace(
        statistics,
        swing=swing,
        sure_swing=swing * follows,
        visible_swing=statistics.visible_swing * max(follows, 1.0),
        expected=tuple(zip(index.tolist(), expected.tolist(), strict=True)),
        outcome_slope=slope,
        outcome_slope_se=error,
    )


def _arrays(
    one: Series, name: str
) -> tuple[FloatArray, FloatArray, IntArray, dict[str, FloatArray]]:
    """Value and standard error (m, g), index (g,) and measures (m, g), checked."""
    value = np.atleast_2d(np.asarray(one.value, dtype=np.float64))
    noise = np.atleast_2d(np.asarray(one.standard_error, dtype=np.float64))
    if value.ndim != 2 or noise.shape != value.shape:
        raise DataError(
            f"{name}: value has shape {np.shape(one.value)} and standard_error"
            f" {np.shape(one.standard_error)}; wanted one standard error a generation"
        )
    count = value.shape[1]
    index = series.positions(value) if one.index is None else np.asarray(one.index)
    if index.shape != (count,):
        raise DataError(f"{name}: index has {index.size} generations, value has {count}")
    back = np.flatnonzero(np.diff(index) <= 0)
    if len(back):
        before, after = int(index[back[0]]), int(index[back[0] + 1])
        raise DataError(
            f"{name}: generation {after} comes after generation {before}; wanted ascending"
            " numbers, each once: sort the series by cut-off and drop repetitions"
        )
    for field_name, each, wrong in (
        ("value", value, np.isinf(value)),
        ("standard_error", noise, np.isinf(noise) | (noise < 0)),
    ):
        if wrong.any():
            row, column = np.argwhere(wrong)[0].tolist()
            where = f", replicate {row}" if len(value) > 1 else ""
            raise DataError(
                f"{name}: {field_name} of generation {int(index[column])}{where} is"
                f" {float(each[row, column])!r}; wanted a finite number"
                f"{', at least 0' if field_name == 'standard_error' else ''}, or NaN where missing"
            )
    measures = {
        key: np.atleast_2d(np.asarray(each, dtype=np.float64))
        for key, each in one.measures.items()
    }
    for key, each in measures.items():
        if each.shape != value.shape:
            raise DataError(
                f"{name}: measure {key} has shape {each.shape}, value {value.shape}; wanted one"
                " number a generation, NaN where it was not measured"
            )
    return value, noise, index.astype(np.int64), measures


def _parts(one: Series, value: FloatArray, name: str) -> FloatArray | None:
    """The parts (c, g), checked."""
    if one.parts is None:
        return None
    parts = np.asarray(one.parts, dtype=np.float64)
    if len(value) > 1 or parts.ndim != 2 or parts.shape[1] != value.shape[1] or not len(parts):
        raise DataError(
            f"{name}: parts have shape {parts.shape}, value {value.shape}; wanted one series, and"
            " (parts, generations)"
        )
    if np.isinf(parts).any():
        row, column = np.argwhere(np.isinf(parts))[0].tolist()
        raise DataError(
            f"{name}: part {row} of generation {column} is infinite; wanted a finite number, or"
            " NaN where missing"
        )
    return parts


def _left_out(index: IntArray, known: BoolArray) -> tuple[str, ...]:
    missing = index[~known].tolist()
    if not missing:
        return ()
    named = ", ".join(str(each) for each in missing[:5]) + (", ..." if len(missing) > 5 else "")
    return (
        f"left out, for want of a value or of its standard error: generation {named}"
        f" ({len(missing)} of {len(index)}): check that the control slice was logged and its"
        " outcomes have matured",
    )


def _judged(found: _Measured, *, name: str, material: float, unit: str) -> Diagnosis:
    """The verdict on what was measured."""
    verdict, reasons = _verdict(found, material=material, unit=unit)
    explanation, action = explain(
        verdict, found.statistics, name=name, unit=unit, material=material
    )
    return Diagnosis(
        verdict=verdict,
        reasons=(*reasons, *found.notes),
        explanation=explanation,
        action=action,
        statistics=found.statistics,
    )


def _verdict(found: _Measured, *, material: float, unit: str) -> tuple[Verdict, tuple[str, ...]]:
    s = found.statistics
    if found.untested is not None:
        return "inconclusive", (found.untested,)
    if found.flat and found.one_policy:
        return "stable", ("one policy decided in every cycle, so nothing could alternate",)
    if found.flat:
        return "degenerate", (
            f"the value does not move: its standard deviation is {s.sd:.1e}, below {FLAT:g}:"
            " check that the series is the deployed policy's value and not a constant",
        )
    if np.isnan(s.p) and s.rms_se > 0:
        return "cannot tell", (
            "values are nearer a line than their standard errors allow: check how these are made",
        )
    if np.isnan(s.p):
        return "stable", ("nothing moves but the trend: no generation departs from a line",)
    large = s.sure_swing >= material
    reasons = [
        _order(s),
        f"{_size(s, unit)} is {'at least' if large else 'below'} {amount(material, unit)} (what"
        " matters)",
        f"a swing of {amount(s.visible_swing, unit)} would be seen four times of five",
    ]
    contradicted = s.outcome_slope < CONTRADICTED * s.outcome_slope_se
    if np.isfinite(s.outcome_slope):
        reasons.append(
            f"where a generation is expected to earn 1 more, outcomes are {s.outcome_slope:+.2f}"
            f" higher (standard error {s.outcome_slope_se:.2f})"
            + (": they go the other way, so the rhythm is not believed" if contradicted else "")
        )
    return _called(s, large=large and not contradicted, material=material), tuple(reasons)


def _called(s: Statistics, *, large: bool, material: float) -> Verdict:
    if s.p_holm < OSCILLATING_P and large:
        return "oscillating"
    if s.p_holm < SUSPECT_P:
        return "suspect"
    return "stable" if s.visible_swing <= material else "cannot tell"


def _size(s: Statistics, unit: str) -> str:
    swing = f"swing {amount(s.swing, unit)} from one generation to the next"
    if s.parts and s.sure_swing != s.swing:
        return f"{swing} by a model of rewards, {amount(s.sure_swing, unit)} by outcomes,"
    if s.rms_se > 0 and not s.parts:
        sure = f"{amount(s.sure_swing, unit)} (in step, or root mean square)"
        return f"{swing} on average; {sure} beyond the errors of measurement"
    return swing


def _order(s: Statistics) -> str:
    where = f" within {s.parts} parts of the traffic" if s.parts else ""
    return (
        f"alternation{where} {s.alternation:+.2f}; without memory it stays below"
        f" {s.alternation_null_high:+.2f} in 19 of 20 series (p = {s.p_holm:.4f});"
        f" lag-1 autocorrelation {s.r1:+.2f}"
    )
