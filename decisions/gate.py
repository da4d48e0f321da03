"""Whether a candidate may replace the champion."""

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Literal

from decisions.errors import DataError
from decisions.evaluation import Evaluation

Outcome = Literal["promote", "hold", "reject", "unchanged"]


@dataclass(frozen=True, kw_only=True)
class ErrorBudget:
    """How often a gate that is looked at again and again may err: once in 1 / `error` periods.

    Of the candidates of any `period`, with at most `looks` cut-offs judged, the probability that
    one is ever promoted whose true difference from the champion, on average over the decisions it
    was judged on (by what was staked on them, see docs/gate.md), is at most the margin, is at most
    `error`. Each look may spend error / looks, shared by its candidates (union bound); a candidate
    that is held keeps its share and gathers evidence on later days, `challengers` of them at a
    time.
    """

    error: float = 0.05
    looks: int = 365
    period: timedelta = timedelta(days=365)
    challengers: int = 2

    def __post_init__(self) -> None:
        """Refuses a budget that bounds nothing."""
        if not (0 < self.error < 1 and self.looks >= 1 and self.challengers >= 0):
            raise DataError(
                f"an error of {self.error:g} over {self.looks} looks, {self.challengers}"
                " challengers; wanted an error above 0 and below 1, at least one look and no"
                " negative number"
            )

    def share(self, candidates: int) -> float:
        """The error that one of the `candidates` of a look may spend, at all times together."""
        return self.error / (self.looks * candidates)


@dataclass(frozen=True, kw_only=True)
class GateRule:
    """Limits an evaluation must keep.

    `margin`: the lower bound of the paired difference must exceed it (negative: non-inferiority).
    `limits`: (low, high) of each check by name, both included.
    `approval`: a human must agree as well; until then, and at a time-out, the verdict is hold.
    `budget`: the error of all looks of a period together, from evidence by betting; without it,
    each cut-off errs as often as the level of its intervals says.
    """

    margin: float = 0.0
    limits: dict[str, tuple[float, float]] = field(default_factory=dict[str, tuple[float, float]])
    approval: bool = False
    budget: ErrorBudget | None = None


@dataclass(frozen=True, kw_only=True)
class Reason:
    """One rule, what was measured, and the threshold it was held against (units of the check).

    `method` says how it was measured, where that is more than one number.
    """

    rule: str
    measured: float | None
    low: float
    high: float
    kept: bool
    method: str = ""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the gate said, and every rule's reason.

    Promote, hold (evidence too weak), reject (evidence against), or unchanged: the candidate
    decides as the champion does, so that nothing was asked and no error spent.
    """

    outcome: Outcome
    reasons: tuple[Reason, ...]
    note: str = ""

    @property
    def promoted(self) -> bool:
        """Whether the candidate becomes champion."""
        return self.outcome == "promote"

    def held(self, why: str) -> "Verdict":
        """The same reasons, but the candidate is held; `why` comes before what was noted."""
        return replace(self, outcome="hold", note=_joined(why, self.note))


def _joined(*notes: str | None) -> str:
    return "; ".join(filter(None, notes))


def judge(evaluation: Evaluation, rule: GateRule) -> Verdict:
    """Promote only when the lower bound of the difference clears the margin and all checks hold.

    A check that the rule names and the evaluation lacks, or that is NaN, counts as broken. Reject
    when the whole interval of the difference lies at or below the margin: the evidence is against
    the candidate. Hold in every other case: the interval straddles the margin, the evidence was
    refused, or a limit is broken that a human may override by promoting by hand. A candidate that
    decides as the champion does is held against no rule: its verdict is unchanged.
    """
    if evaluation.unchanged is not None:
        note = _joined(evaluation.unchanged, evaluation.note)
        return Verdict(outcome="unchanged", reasons=(), note=note)
    inf = float("inf")
    reasons = [
        Reason(
            rule=name,
            measured=(seen := evaluation.checks.get(name)),
            low=low,
            high=high,
            kept=seen is not None and low <= seen <= high,
        )
        for name, (low, high) in sorted(rule.limits.items())
    ]
    gained = evaluation.difference.lower > rule.margin
    reasons.append(
        Reason(
            rule="difference_lower_bound",
            measured=evaluation.difference.lower,
            low=rule.margin,
            high=inf,
            kept=gained,
            method=f"level {evaluation.difference.level:.6g}, {evaluation.difference.method}",
        )
    )
    if evaluation.refusal is not None:
        note = _joined(evaluation.refusal, evaluation.note)
        return Verdict(outcome="hold", reasons=tuple(reasons), note=note)
    if all(reason.kept for reason in reasons):
        if rule.approval:
            note = _joined("waits for approval", evaluation.note)
            return Verdict(outcome="hold", reasons=tuple(reasons), note=note)
        return Verdict(outcome="promote", reasons=tuple(reasons), note=evaluation.note)
    against = evaluation.difference.upper <= rule.margin
    outcome = "reject" if against else "hold"
    return Verdict(outcome=outcome, reasons=tuple(reasons), note=evaluation.note)
