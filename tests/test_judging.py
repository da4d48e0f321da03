"""Which of several candidates is promoted, at one cut-off and over a year of them."""

from dataclasses import replace
from math import inf, isclose, log

import pytest

from decisions.evaluation import Estimate, Evaluation, unchanged, unknown
from decisions.evidence import BETS, Evidence
from decisions.gate import ErrorBudget, GateRule
from decisions.judging import Challenger, for_all_looks, for_several, judge_together

BUDGET = ErrorBudget(error=0.05, looks=365)
RULE = GateRule(margin=-0.001, budget=BUDGET)
WANTED = log(2 * 365 / 0.05)


def difference(value: float, half: float = 0.01) -> Estimate:
    return Estimate(
        value=value,
        lower=value - half,
        upper=value + half,
        level=0.95,
        method="DR",
        n=1000,
        effective_n=1000.0,
    )


def evaluation(value: float, won: float | None = None, *, margin: float = -0.001) -> Evaluation:
    """`won`: logarithm of the capital, all of it in the first bet."""
    same, evidence = difference(0.9), None
    if won is not None:
        wealth = [-inf] * len(BETS)
        wealth[6] = won + log(len(BETS))
        evidence = Evidence(
            margin=margin,
            rows=30_000,
            total=30_000 * value,
            variance=30_000 * 0.25,
            log_wealth=tuple(wealth),
            staked=tuple(30_000 * bet for bet in BETS),
        )
    return Evaluation(
        candidate=same, champion=same, difference=difference(value), evidence=evidence
    )


def outcomes(rule: GateRule, *, candidates: int, **evaluations: Evaluation) -> list[str]:
    given = dict(enumerate(evaluations.values(), start=1))
    judged = judge_together(given, rule, candidates=candidates)
    return [judged[number].outcome for number in sorted(judged)]


def test_without_a_budget_candidates_share_the_error_of_their_cut_off() -> None:
    passes_alone = evaluation(0.0105)

    assert outcomes(GateRule(), candidates=1, one=passes_alone) == ["promote"]
    assert outcomes(GateRule(), candidates=2, one=passes_alone) == ["hold"]


def test_a_stretched_interval_is_that_of_the_smaller_error() -> None:
    found = for_several(difference(0.0, half=1.959964), candidates=10)

    assert isclose(found.upper, 2.807034, rel_tol=1e-5)  # the normal quantile of 0.9975
    assert isclose(found.level, 0.995)


def test_the_year_is_kept_by_what_betting_won_not_by_the_interval() -> None:
    sure, lucky = evaluation(0.05, WANTED + 0.01), evaluation(0.05, WANTED - 0.01)

    assert outcomes(RULE, candidates=2, one=sure) == ["promote"]
    assert outcomes(RULE, candidates=2, one=lucky) == ["hold"]
    assert outcomes(RULE, candidates=3, one=sure) == ["hold"]  # three share what two did


def test_reasons_let_an_auditor_recompute_the_verdict() -> None:
    given = evaluation(0.02, WANTED + 1)

    verdict = judge_together({7: given}, RULE, candidates=2)[7]

    reasons = {reason.rule: reason for reason in verdict.reasons}
    assert given.evidence is not None
    bound = reasons["difference_lower_bound"]
    assert bound.measured == given.evidence.lower_bound(0.05 / 730)
    assert "error 6.85e-05: 0.05 over 365 looks and 2 candidates" in bound.method
    assert reasons["log_e_value"].measured == given.evidence.log_e_value
    assert isclose(reasons["log_e_value"].low, WANTED)
    assert (reasons["looks_in_period"].measured, reasons["looks_in_period"].high) == (1.0, 365.0)


@pytest.mark.parametrize(
    "blind",
    [evaluation(0.05), evaluation(0.05, 100.0, margin=-0.01)],
    ids=["none", "other margin"],
)
def test_a_budget_holds_what_brings_no_evidence_against_its_margin(blind: Evaluation) -> None:
    verdict = judge_together({1: blind}, RULE, candidates=1)[1]

    assert verdict.outcome == "hold"
    assert {r.rule: r.measured for r in verdict.reasons}["log_e_value"] is None


def test_no_verdict_drops_what_was_noted_of_the_training() -> None:
    note = "the candidate learned nothing"
    best, second = evaluation(0.05, 100.0), replace(evaluation(0.04, 90.0), note=note)
    same = replace(unchanged("it decides as the champion does", n=3), note=note)

    together = judge_together({1: best, 2: second, 3: same}, RULE, candidates=2)
    late = judge_together({2: second}, RULE, candidates=1, looks_before=365)

    assert [together[number].outcome for number in (1, 2, 3)] == ["promote", "hold", "unchanged"]
    assert late[2].outcome == "hold"
    for verdict in (together[2], together[3], late[2]):
        assert verdict.note.endswith(f"; {note}")


def test_a_refused_evaluation_is_held_whatever_was_won() -> None:
    nothing = unknown(n=0)
    refused = replace(evaluation(0.05, 100.0), difference=nothing, refusal="no overlap")

    verdict = judge_together({1: refused}, RULE, candidates=1)[1]

    assert (verdict.outcome, verdict.note) == ("hold", "no overlap")


def test_more_looks_than_the_error_was_divided_by_promote_nobody_new() -> None:
    won = {1: evaluation(0.05, 100.0)}

    last = judge_together(won, RULE, candidates=1, looks_before=364)[1]
    over = judge_together(won, RULE, candidates=1, looks_before=365)[1]

    assert (last.outcome, over.outcome) == ("promote", "hold")
    assert over.note == "366 looks are more than the error allows"


def test_a_challenger_competes_with_the_share_it_came_with() -> None:
    challenger = Challenger(evaluation=evaluation(0.03, WANTED + 0.5), candidates=2)
    poorer = replace(challenger, candidates=4)

    def judged(each: Challenger, looks: int = 0) -> dict[int, str]:
        found = judge_together(
            {9: evaluation(0.02, WANTED + 0.1)},
            RULE,
            candidates=2,
            challengers={4: each},
            looks_before=looks,
        )
        return {number: verdict.outcome for number, verdict in found.items()}

    assert judged(challenger) == {9: "hold", 4: "promote"}
    assert judged(poorer) == {9: "promote", 4: "hold"}
    assert judged(challenger, looks=365) == {9: "hold", 4: "promote"}  # its look was paid for


def test_of_several_that_pass_the_greatest_lower_bound_is_promoted() -> None:
    verdicts = judge_together(
        {1: evaluation(0.02, 40.0), 2: evaluation(0.02, 50.0), 3: evaluation(0.02, 50.0)},
        RULE,
        candidates=3,
    )

    assert [verdicts[n].outcome for n in (1, 2, 3)] == ["hold", "promote", "hold"]
    assert "generation 2" in verdicts[3].note


@pytest.mark.parametrize("rule", [RULE, GateRule(margin=-0.001)], ids=["a year", "a cut-off"])
def test_who_decides_as_the_champion_does_is_unchanged_and_held_against_nothing(
    rule: GateRule,
) -> None:
    same, passes = unchanged("its policy is the champion's", n=30_000), evaluation(0.05, 100.0)

    verdicts = judge_together({1: same, 2: passes}, rule, candidates=1, looks_before=500)

    assert verdicts[1].outcome == "unchanged"
    assert (verdicts[1].note, verdicts[1].reasons) == ("its policy is the champion's", ())
    alone = judge_together({2: passes}, rule, candidates=1, looks_before=500)
    assert verdicts[2] == alone[2]


def test_evidence_against_a_candidate_rejects_it() -> None:
    assert outcomes(RULE, candidates=2, one=evaluation(-0.05, -30.0)) == ["reject"]


def test_no_rows_give_no_interval() -> None:
    some = evaluation(0.0, 0.0).evidence
    assert some is not None
    nothing = replace(some, rows=0, total=0.0, variance=0.0)

    found = for_all_looks(nothing, BUDGET, candidates=2)

    assert (found.lower, found.upper) == (-inf, inf)
