"""Whether a candidate may replace the champion."""

from math import inf, nan

import pytest

from decisions.errors import DataError
from decisions.evaluation import Estimate, Evaluation, unknown
from decisions.gate import ErrorBudget, GateRule, judge

RULE = GateRule(margin=-0.001, limits={"churn": (0.0, 0.3)})


def difference(lower: float, upper: float) -> Estimate:
    return Estimate(
        value=(lower + upper) / 2,
        lower=lower,
        upper=upper,
        level=0.95,
        method="DR",
        n=1000,
        effective_n=500.0,
    )


def evaluation(lower: float, upper: float, **checks: float) -> Evaluation:
    same = difference(0.9, 0.92)
    return Evaluation(
        candidate=same, champion=same, difference=difference(lower, upper), checks=checks
    )


@pytest.mark.parametrize(
    ("lower", "upper", "churn", "outcome"),
    [
        (0.0, 0.01, 0.2, "promote"),
        (-0.0005, 0.01, 0.3, "promote"),  # the limit itself is kept
        (-0.001, 0.01, 0.2, "hold"),  # the margin must be exceeded
        (-0.02, -0.001, 0.2, "reject"),
        (0.0, 0.01, 0.31, "hold"),  # a human may override
        (-0.02, -0.01, 0.31, "reject"),
        (0.0, 0.01, nan, "hold"),
        (nan, nan, 0.2, "hold"),
    ],
)
def test_the_lower_bound_and_the_limits_decide(
    lower: float, upper: float, churn: float, outcome: str
) -> None:
    assert judge(evaluation(lower, upper, churn=churn), RULE).outcome == outcome


def test_a_check_named_and_absent_counts_as_broken() -> None:
    verdict = judge(evaluation(0.0, 0.01), RULE)

    assert verdict.outcome == "hold"
    assert [(r.rule, r.measured, r.kept) for r in verdict.reasons] == [
        ("churn", None, False),
        ("difference_lower_bound", 0.0, True),
    ]


def test_evidence_that_was_refused_is_held_whatever_it_says() -> None:
    nothing = unknown(n=0)
    refused = Evaluation(
        candidate=nothing, champion=nothing, difference=nothing, refusal="effective sample 2.1"
    )

    verdict = judge(refused, GateRule(margin=-inf))

    assert (verdict.outcome, verdict.note) == ("hold", "effective sample 2.1")


def test_approval_holds_what_would_pass() -> None:
    verdict = judge(evaluation(0.001, 0.01), GateRule(approval=True))

    assert (verdict.outcome, verdict.note) == ("hold", "waits for approval")


def test_the_bound_says_its_level_and_method() -> None:
    verdict = judge(evaluation(0.001, 0.01, churn=0.1), RULE)

    assert verdict.reasons[-1].method == "level 0.95, DR"


def test_the_shares_of_all_candidates_of_all_looks_add_up_to_the_error() -> None:
    budget = ErrorBudget(error=0.05, looks=365)

    assert sum(budget.share(2) for _ in range(2 * 365)) == pytest.approx(0.05, abs=1e-12)


@pytest.mark.parametrize(
    "wrong", [{"error": 0.0}, {"error": 1.0}, {"error": nan}, {"looks": 0}, {"challengers": -1}]
)
def test_a_budget_that_bounds_nothing_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(DataError, match="wanted an error above 0"):
        ErrorBudget(**wrong)  # type: ignore[arg-type]
