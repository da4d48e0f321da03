"""Which of several candidates may be promoted: at most one a cut-off, at an honest level."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import log
from statistics import NormalDist

from decisions.evaluation import Estimate, Evaluation, unknown
from decisions.evidence import Evidence
from decisions.gate import ErrorBudget, GateRule, Reason, Verdict, judge


@dataclass(frozen=True, kw_only=True)
class Challenger:
    """A candidate held at an earlier cut-off, looked at again.

    `evaluation` is of decisions that are new to it, but its `evidence` is of all of them so far.
    `candidates` of its own cut-off share that cut-off's error.
    """

    evaluation: Evaluation
    candidates: int


def for_several(difference: Estimate, *, candidates: int) -> Estimate:
    """`difference` with the interval that holds for all of `candidates` comparisons at once.

    The best of m candidates wins by luck m times as often as one would, so each is held to
    level 1 - (1 - level) / m (Bonferroni). Both arms of the interval are stretched by the ratio
    of normal quantiles: exact for normal intervals, cautious for those whose width grows with
    sqrt(log(1 / error)), as the empirical Bernstein interval's leading term does.

    Source: Dunn (1961), "Multiple comparisons among means".
    """
    if candidates == 1 or difference.upper == float("inf"):
        return difference
    error = 1 - difference.level
    normal = NormalDist()
    stretch = normal.inv_cdf(1 - error / (2 * candidates)) / normal.inv_cdf(1 - error / 2)
    return replace(
        difference,
        lower=difference.value - stretch * (difference.value - difference.lower),
        upper=difference.value + stretch * (difference.upper - difference.value),
        level=1 - error / candidates,
        method=f"{difference.method}, level for {candidates} candidates",
    )


def for_all_looks(evidence: Evidence, budget: ErrorBudget, *, candidates: int) -> Estimate:
    """The difference with a lower end that holds at every look of the budget's period at once.

    The lower end is that of the bets, which needs no approximation for large samples. The upper
    end, which promotes nobody, is the normal one at the same error for this one look.
    """
    error = budget.share(candidates)
    reach = NormalDist().inv_cdf(1 - error) * evidence.standard_error
    method = (
        f"betting on {evidence.rows} rows, error {error:.3g}: {budget.error:g} over"
        f" {budget.looks} looks and {candidates} candidates"
    )
    if not evidence.rows:
        return unknown(n=0, level=1 - 2 * error, method=method)
    return Estimate(
        value=evidence.value,
        lower=evidence.lower_bound(error),
        upper=evidence.value + reach,
        level=1 - 2 * error,
        method=method,
        n=evidence.rows,
        effective_n=float(evidence.rows),
    )


def judge_together(
    evaluations: Mapping[int, Evaluation],
    rule: GateRule,
    *,
    candidates: int,
    challengers: Mapping[int, Challenger] | None = None,
    looks_before: int = 0,
) -> dict[int, Verdict]:
    """A verdict a generation number: of those that pass the gate, one is promoted.

    The one promoted has the greatest lower bound, the lowest number among equals; the others that
    passed are held, saying so. `candidates` share the error of the cut-off: those planned, judged
    here or not, but for the unchanged, which cannot be promoted. Who is unchanged follows from
    policies and contexts, so the share is known before an outcome is.

    Where the rule has a budget, `challengers` of earlier cut-offs compete as well, and
    `looks_before` says how many other cut-offs were judged in the period before this one: when
    they have spent it, the new candidates are held.
    """
    entered = {
        number: Challenger(evaluation=evaluation, candidates=candidates)
        for number, evaluation in evaluations.items()
    }
    everyone = entered | dict(challengers or {})
    corrected = {number: _corrected(each, rule) for number, each in everyone.items()}
    verdicts = {number: judge(evaluation, rule) for number, evaluation in corrected.items()}
    if rule.budget is not None:
        verdicts |= {
            number: _within_budget(
                verdicts[number],
                rule,
                rule.budget,
                each,
                looks=1 + (looks_before if number in entered else 0),
            )
            for number, each in everyone.items()
            if each.evaluation.unchanged is None
        }
    passed = [number for number, verdict in verdicts.items() if verdict.promoted]
    if not passed:
        return verdicts
    best = min(passed, key=lambda number: (-corrected[number].difference.lower, number))
    held = {
        number: verdicts[number].held(
            f"generation {best}, judged at the same cut-off, has the greater lower bound"
        )
        for number in passed
        if number != best
    }
    return verdicts | held


def _corrected(each: Challenger, rule: GateRule) -> Evaluation:
    """The evaluation with the interval of the difference that the gate may read."""
    evaluation, candidates = each.evaluation, each.candidates
    if evaluation.unchanged is not None:
        return evaluation
    if rule.budget is None:
        difference = for_several(evaluation.difference, candidates=candidates)
    elif (evidence := _against(evaluation, rule)) is None:
        difference = unknown(n=evaluation.difference.n, method="no bets against this margin")
    else:
        difference = for_all_looks(evidence, rule.budget, candidates=candidates)
    return replace(evaluation, difference=difference)


def _against(evaluation: Evaluation, rule: GateRule) -> Evidence | None:
    """The evidence, where it is against the margin that the rule has now."""
    evidence = evaluation.evidence
    return evidence if evidence is not None and evidence.margin == rule.margin else None


def _within_budget(
    verdict: Verdict, rule: GateRule, budget: ErrorBudget, each: Challenger, *, looks: int
) -> Verdict:
    """The verdict with what an auditor recomputes it from, held where the budget is spent."""
    evidence = _against(each.evaluation, rule)
    wanted = -log(budget.share(each.candidates))
    won = None if evidence is None else evidence.log_e_value
    added = (
        Reason(
            rule="log_e_value",
            measured=won,
            low=wanted,
            high=float("inf"),
            kept=won is not None and won >= wanted,
            method="logarithm of the capital won by betting against the margin",
        ),
        Reason(
            rule="looks_in_period",
            measured=float(looks),
            low=0.0,
            high=float(budget.looks),
            kept=looks <= budget.looks,
            method=f"cut-offs judged in {budget.period.days} days, this one included",
        ),
    )
    kept = all(reason.kept for reason in added)
    found = replace(verdict, reasons=verdict.reasons + added)
    if found.promoted and not kept:
        return found.held(f"{looks} looks are more than the error allows")
    return found
