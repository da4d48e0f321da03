"""Which of several candidates of one cut-off may be promoted: at most one, at an honest level."""

from collections.abc import Mapping
from dataclasses import replace
from statistics import NormalDist

from decisions.evaluation import Estimate, Evaluation
from decisions.gate import GateRule, Verdict, judge


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


def judge_together(
    evaluations: Mapping[int, Evaluation], rule: GateRule, *, candidates: int
) -> dict[int, Verdict]:
    """A verdict a generation number: of those that pass the gate, one is promoted.

    The one promoted has the greatest lower bound, the lowest number among equals; the others that
    passed are held, saying so. `candidates` is how many were planned, judged here or not.
    """
    corrected = {
        number: for_several(evaluation.difference, candidates=candidates)
        for number, evaluation in evaluations.items()
    }
    verdicts = {
        number: judge(replace(evaluation, difference=corrected[number]), rule)
        for number, evaluation in evaluations.items()
    }
    passed = [number for number, verdict in verdicts.items() if verdict.promoted]
    if not passed:
        return verdicts
    best = min(passed, key=lambda number: (-corrected[number].lower, number))
    held = {
        number: replace(
            verdicts[number],
            outcome="hold",
            note=f"generation {best} of the same cut-off has the greater lower bound",
        )
        for number in passed
        if number != best
    }
    return verdicts | held
