"""A held candidate gathers evidence on later days, and may be promoted by it."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import isclose

import numpy as np
import polars as pl
import pytest

from decisions import flow
from decisions.bandits.sequential import wager
from decisions.domain import Domain
from decisions.evaluation import Evaluation, unchanged
from decisions.evidence import Evidence
from decisions.flow.reviewing import challengers, evidence_since
from decisions.gate import ErrorBudget, GateRule
from decisions.policy import Policy, pick
from decisions.store import audit, generations
from decisions.store.database import Database
from tests.integration.coins import COINS, Table, eligible, evaluate, observe

START = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
MARGIN = -0.01
FEW = ErrorBudget(error=0.05, looks=100, period=timedelta(days=100), challengers=1)


def with_evidence(
    candidate: Policy, champion: Policy, data: pl.LazyFrame, rng: np.random.Generator
) -> Evaluation:
    seen = data.collect().filter(pl.col("reward").is_not_null())
    context = observe(seen.lazy()).collect()
    action = seen["action"].list.first().to_numpy().astype(np.int64)
    propensity, reward = seen["propensity"].to_numpy(), seen["reward"].to_numpy()
    new, old = (
        pick(policy.probabilities(context, eligible(context)), action) / propensity * reward
        for policy in (candidate, champion)
        if isinstance(policy, Table)
    )
    return replace(
        evaluate(candidate, champion, data, rng),
        evidence=wager(new - old, lowest=-10.0, margin=MARGIN),
    )


def coins(budget: ErrorBudget = FEW) -> Domain:
    return replace(COINS, gate=GateRule(margin=MARGIN, budget=budget), evaluate=with_evidence)


def live(db: Database, domain: Domain, days: range) -> None:
    flow.begin(db, domain, now=START, seed=11)
    for day in days:
        now = START + day * DAY
        flow.catch_up(db, domain, until=now, holder="test")
        flow.settle(db, domain, as_of=now, holder="test")
        for number in flow.plan_generations(db, domain, cutoff=now, seed=11):
            flow.train_generation(db, domain, number, holder="test")
            flow.evaluate_generation(db, domain, number, holder="test")
        flow.judge_cutoff(db, domain, cutoff=now, holder="test")


def reviews(db: Database) -> pl.DataFrame:
    with db.reading() as connection:
        found = connection.exec_driver_sql(
            "select number, cutoff, champion, since, until, outcome from review"
            " order by cutoff, number"
        ).all()
    names = ("number", "cutoff", "champion", "since", "until", "outcome")
    return pl.DataFrame([tuple(row) for row in found], schema=names, orient="row")


def test_a_candidate_held_for_want_of_evidence_is_promoted_by_later_days(
    database: Database,
) -> None:
    domain = coins()

    live(database, domain, range(1, 9))

    champion = generations.champion(database, domain.name)
    first = generations.verdict(database, domain.name, champion)
    told = reviews(database)
    promoted = told.filter(pl.col("outcome") == "promote")
    assert champion > 0
    assert first is not None
    assert first.outcome == "hold"
    assert promoted["number"].to_list()[0] == champion
    policy = flow.load_policy(database, domain, champion)
    assert isinstance(policy, Table)
    assert np.array(policy.shares).argmax(axis=1).tolist() == [2, 0]
    assert audit.verify(database).broken is None


def test_days_of_a_challenger_follow_one_another_and_a_repetition_adds_none(
    database: Database,
) -> None:
    domain = coins(replace(FEW, error=1e-9))  # nothing is ever promoted
    live(database, domain, range(1, 7))
    told = reviews(database)

    live(database, domain, range(1, 7))

    assert reviews(database).equals(told)
    assert told.height >= 2
    for _, spans in told.group_by("number"):
        ordered = spans.sort("cutoff")
        assert (ordered["since"][1:] == ordered["until"][:-1]).all()


def test_an_auditor_recomputes_the_evidence_from_the_stored_days(database: Database) -> None:
    domain = coins(replace(FEW, error=1e-9))
    live(database, domain, range(1, 6))
    number = int(reviews(database)["number"][0])
    generation = generations.generation(database, domain.name, number)
    stored = {
        each.number: each
        for each in generations.held(database, domain.name, 0, before=START + 100 * DAY)
    }[number]
    assert stored.until is not None

    rows = flow.history(
        database,
        domain,
        since=generation.cutoff - domain.maturity - domain.holdout,
        until=stored.until,
        as_of=START + 5 * DAY,
    )
    again = with_evidence(
        flow.load_policy(database, domain, number),
        flow.load_policy(database, domain, 0),
        rows.lazy(),
        np.random.default_rng(0),
    ).evidence

    assert again is not None
    assert again.rows == stored.evidence.rows
    assert isclose(again.log_e_value, stored.evidence.log_e_value, abs_tol=1e-6)
    assert isclose(again.total, stored.evidence.total, abs_tol=1e-6)


def test_challengers_retire_with_the_champion_they_were_compared_with(
    database: Database,
) -> None:
    domain = coins(replace(FEW, error=1e-9))
    live(database, domain, range(1, 5))
    flow.catch_up(database, domain, until=START + 5 * DAY, holder="test")
    flow.settle(database, domain, as_of=START + 5 * DAY, holder="test")
    before = challengers(database, domain, START + 5 * DAY)
    number = next(iter(before))

    generations.promote(
        database, domain.name, number, by="a person", reason="test", now=START + 4.5 * DAY
    )

    assert challengers(database, domain, START + 5 * DAY) == {}


def test_no_comparison_reads_rows_on_which_its_champion_was_chosen(database: Database) -> None:
    domain = replace(coins(), holdout=3 * DAY)
    flow.begin(database, domain, now=START, seed=11)
    flow.catch_up(database, domain, until=START + 2 * DAY, holder="test")
    flow.settle(database, domain, as_of=START + 2 * DAY, holder="test")
    cutoff, other = START + 6 * DAY, replace(domain, gate=GateRule())

    whole = evidence_since(database, domain, cutoff)
    generations.promote(database, domain.name, 0, by="gate", reason="test", now=START + 5 * DAY)
    chosen = evidence_since(database, domain, cutoff)
    unbounded = evidence_since(database, other, cutoff)

    assert whole == unbounded == cutoff - domain.maturity - 3 * DAY
    assert chosen == START + 5 * DAY - domain.maturity


def test_a_judge_killed_over_its_challengers_leaves_nothing_and_is_repeated_whole(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    domain = coins(replace(FEW, error=1e-9))
    live(database, domain, range(1, 4))
    told = reviews(database)
    record = generations.record_rows

    def killed(connection: object, kind: object, *arguments: object, **named: object) -> None:
        if kind is generations.REVIEW:
            raise KeyboardInterrupt
        record(connection, kind, *arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(generations, "record_rows", killed)
    with pytest.raises(KeyboardInterrupt):
        live(database, domain, range(4, 5))
    cutoff = START + 4 * DAY
    assert reviews(database).equals(told)
    assert generations.verdicts(database, domain.name, cutoff) == []
    monkeypatch.undo()

    flow.judge_cutoff(database, domain, cutoff=cutoff, holder="retry")

    assert len(generations.verdicts(database, domain.name, cutoff)) == 2
    assert reviews(database).height == told.height + 1
    assert audit.verify(database).broken is None


def test_challengers_that_nobody_looked_at_for_long_retire(database: Database) -> None:
    domain = coins(replace(FEW, error=1e-9))
    live(database, domain, range(1, 4))
    longest = domain.window + domain.holdout
    (held, *_) = generations.held(database, domain.name, 0, START + 100 * DAY)
    seen = held.until or held.cutoff - domain.maturity
    oldest = seen + longest + domain.maturity
    flow.catch_up(database, domain, until=oldest, holder="test")
    flow.settle(database, domain, as_of=oldest, holder="test")

    assert held.number in challengers(database, domain, oldest)
    assert held.number not in challengers(database, domain, oldest + DAY)


def test_a_cut_off_made_up_for_late_looks_at_no_day_twice(database: Database) -> None:
    domain = coins(replace(FEW, error=1e-9))
    live(database, domain, range(1, 5))

    again = challengers(database, domain, START + 3 * DAY)

    assert all(each.since < each.until for each in again.values())
    known = reviews(database)
    for number, each in again.items():
        assert (
            known.filter(pl.col("number") == number)
            .filter(pl.col("until") > each.since)
            .is_empty()
        )


def test_evidence_of_an_evaluation_is_stored_and_read_unchanged(database: Database) -> None:
    domain = coins()
    live(database, domain, range(1, 4))
    number = flow.planned_generations(database, domain, START + 3 * DAY)[0].number

    found = generations.evaluation(database, domain.name, number)

    assert found is not None
    assert isinstance(found[1].evidence, Evidence)
    assert found[1].evidence.rows > 0


def test_looks_beyond_the_budget_hold_new_candidates(database: Database) -> None:
    domain = coins(replace(FEW, looks=1, error=1e-9))
    live(database, domain, range(1, 6))

    last = [
        generations.verdict(database, domain.name, each.number)
        for each in flow.planned_generations(database, domain, START + 5 * DAY)
    ]

    assert last
    for verdict in last:
        assert verdict is not None
        looks = {reason.rule: reason for reason in verdict.reasons}["looks_in_period"]
        assert (verdict.outcome, looks.kept) == ("hold", False)


def test_a_refused_look_ends_nobody_and_wins_nothing(database: Database) -> None:
    domain = coins(replace(FEW, error=1e-9))
    live(database, domain, range(1, 5))
    number = int(reviews(database)["number"][-1])

    def won() -> Evidence:
        held = generations.held(database, domain.name, 0, START + 100 * DAY)
        return {each.number: each for each in held}[number].evidence

    def doubtful(
        candidate: Policy, champion: Policy, data: pl.LazyFrame, rng: np.random.Generator
    ) -> Evaluation:
        return replace(with_evidence(candidate, champion, data, rng), refusal="doubtful")

    before = won()
    live(database, replace(domain, evaluate=doubtful), range(5, 6))
    refused = won()
    live(database, domain, range(6, 8))
    after = won()

    assert before.log_e_value >= refused.log_e_value > -np.inf
    assert (refused.rows, refused.value) == (before.rows, before.value)
    assert after.rows > before.rows
    assert after.log_e_value > before.log_e_value
    first = generations.evaluation(
        database,
        domain.name,
        flow.planned_generations(database, domain, START + 5 * DAY)[0].number,
    )
    assert first is not None
    assert first[1].evidence is not None
    assert max(first[1].evidence.log_wealth) <= 0


def test_rows_too_few_to_answer_are_bet_on_once_with_those_that_come_later(
    database: Database,
) -> None:
    def doubtful(
        candidate: Policy, champion: Policy, data: pl.LazyFrame, rng: np.random.Generator
    ) -> Evaluation:
        whole = with_evidence(candidate, champion, data, rng)
        few = data.collect()["reward"].count() < 700
        return replace(whole, refusal="few rows", too_few=True) if few else whole

    patient = coins(replace(FEW, error=1e-9))
    live(database, replace(patient, evaluate=doubtful), range(1, 8))

    looked = reviews(database)
    [number] = looked["number"].unique().to_list()
    held = generations.held(database, COINS.name, 0, START + 100 * DAY)
    first = generations.evaluation(database, COINS.name, number)
    cutoff = generations.generation(database, COINS.name, number).cutoff
    since = evidence_since(database, patient, cutoff)
    last = looked.sort("until")["until"][-1]
    rows = flow.history(database, patient, since=since, until=last, as_of=START + 7 * DAY)
    again = with_evidence(
        flow.load_policy(database, patient, number),
        flow.load_policy(database, patient, 0),
        rows.lazy(),
        np.random.default_rng(0),
    ).evidence
    evidence = {each.number: each for each in held}[number].evidence

    assert first is not None
    assert first[1].evidence is not None
    assert first[1].evidence.log_e_value == pytest.approx(0.0)
    spans = looked.sort("until").select("since", "until").rows()
    assert spans[0][0] == since
    assert all(until - begun > DAY for begun, until in spans)
    assert again is not None
    assert (again.rows, again.total) == (evidence.rows, pytest.approx(evidence.total))
    assert again.log_e_value == pytest.approx(evidence.log_e_value)


def test_each_verdict_on_a_candidate_that_learned_nothing_says_so(database: Database) -> None:
    def account(_: Policy) -> dict[str, object]:
        return {"fallback": "three rows are too few"}

    domain = replace(coins(replace(FEW, error=1e-9)), account=account)

    live(database, domain, range(1, 5))

    number = int(reviews(database)["number"][0])
    first = generations.verdict(database, domain.name, number)
    with database.reading() as connection:
        later = connection.exec_driver_sql("select distinct note from review").scalars().all()
    wanted = "the candidate learned nothing: three rows are too few"
    assert first is not None
    assert (first.note, list(later)) == (wanted, [wanted])


def test_after_a_rollback_no_row_that_the_human_had_seen_testifies(database: Database) -> None:
    domain = coins(replace(FEW, error=1e-9))
    live(database, domain, range(1, 5))
    held = int(reviews(database)["number"][-1])
    back = START + 6 * DAY
    for number, now in ((held, START + 5 * DAY), (0, back)):
        generations.promote(
            database, domain.name, number, by="ops", reason="a look", now=now, since=now
        )

    live(database, domain, range(5, 9))

    told = reviews(database).filter(pl.col("cutoff") > back)
    assert told.height
    assert all(since >= back for since in told["since"])


def test_a_challenger_unchanged_on_one_look_is_looked_at_again(database: Database) -> None:
    domain = coins(replace(FEW, error=1e-9))
    live(database, domain, range(1, 5))
    number = int(reviews(database)["number"][-1])

    def same(*_: object) -> Evaluation:
        return unchanged("the same on these rows", n=300)

    live(database, replace(domain, evaluate=same), range(5, 6))
    live(database, domain, range(6, 7))

    outcomes = reviews(database).filter(pl.col("number") == number)["outcome"].to_list()
    assert outcomes[-2:] == ["unchanged", "hold"]


def test_evidence_of_the_earlier_form_is_over(database: Database) -> None:
    """Bets on single rows, each with a `first`: they are read as forfeited, not as an error."""
    domain = coins(replace(FEW, error=1e-9))
    live(database, domain, range(1, 4))
    cutoff = START + 4 * DAY
    flow.catch_up(database, domain, until=cutoff, holder="test")
    flow.settle(database, domain, as_of=cutoff, holder="test")
    number = next(iter(challengers(database, domain, cutoff)))
    old = {"margin": MARGIN, "rows": 9, "total": 1.0, "variance": 1.0, "first": 2}
    old |= {"log_wealth": [50.0] * 24, "staked": [0.1] * 24}
    with database.transaction("owner") as connection:
        connection.exec_driver_sql("alter table evaluation disable trigger all")
        connection.exec_driver_sql(
            "update evaluation set note = %s where number = %s and role = 'evidence'",
            (json.dumps(old), number),
        )
        connection.exec_driver_sql("alter table evaluation enable trigger all")

    again = generations.evaluation(database, domain.name, number)

    assert again is not None
    assert again[1].evidence is not None
    assert again[1].evidence.log_e_value == -np.inf
    assert number not in challengers(database, domain, cutoff)


def with_a_copy(domain: Domain) -> Domain:
    """The domain with a candidate that is the baseline's copy in all but its bytes."""

    def copied(*_: object) -> Policy:
        return Table(((0.2, 0.2, 0.2), (0.2, 0.2, 0.2)))

    def compared(
        candidate: Policy, champion: Policy, data: pl.LazyFrame, rng: np.random.Generator
    ) -> Evaluation:
        assert isinstance(candidate, Table)
        if candidate.shares[0][0] == 0.2:
            return unchanged("the same probabilities", n=data.collect().height)
        return domain.evaluate(candidate, champion, data, rng)

    return replace(domain, candidates={**domain.candidates, "copy": copied}, evaluate=compared)


def test_a_copy_of_the_champion_takes_no_error_and_retires_nobody(database: Database) -> None:
    domain = with_a_copy(coins(replace(FEW, error=1e-9)))

    live(database, domain, range(1, 5))

    cutoff = START + 4 * DAY
    verdicts = {
        each.policy: generations.verdict(database, domain.name, each.number)
        for each in flow.planned_generations(database, domain, cutoff)
    }
    copy, best = verdicts["copy"], verdicts["means"]
    assert copy is not None
    assert best is not None
    assert (copy.outcome, copy.note) == ("unchanged", "the same probabilities")
    share = {reason.rule: reason for reason in best.reasons}["log_e_value"].low
    assert isclose(share, np.log(2 * 100 / 1e-9))  # of two candidates: the copy is none
    held = generations.held(database, domain.name, 0, START + 100 * DAY)
    assert {each.candidates for each in held} == {2}
    assert reviews(database).height > 0
    assert generations.champion(database, domain.name) == 0
    assert audit.verify(database).broken is None


def test_a_policy_that_is_its_champion_s_byte_for_byte_is_not_evaluated(
    database: Database,
) -> None:
    def again(*_: object) -> Policy:
        return COINS.baseline

    def never(*_: object) -> Evaluation:
        raise AssertionError("evaluated")

    domain = replace(coins(), candidates={"again": again}, evaluate=never)

    live(database, domain, range(1, 4))

    [planned] = flow.planned_generations(database, domain, START + 3 * DAY)
    verdict = generations.verdict(database, domain.name, planned.number)
    assert verdict is not None
    assert verdict.outcome == "unchanged"
    assert verdict.note == "its policy is that of generation 0, byte for byte"
    assert generations.judged_between(database, domain.name, START, START + 9 * DAY) == 0


def test_a_gate_without_a_budget_reviews_nobody(database: Database) -> None:
    live(database, replace(coins(), gate=GateRule(margin=0.9)), range(1, 6))

    assert reviews(database).is_empty()
