"""Candidates that were held, looked at again on days that came later."""

from dataclasses import dataclass, replace
from datetime import datetime
from math import inf

from decisions.bandits.sequential import accumulate
from decisions.domain import Domain
from decisions.evaluation import Evaluation
from decisions.evidence import Evidence, unbet
from decisions.flow.learning import cached_policy, learned_nothing
from decisions.flow.rows import history
from decisions.gate import Verdict
from decisions.judging import Challenger
from decisions.seeds import stream
from decisions.store import generations
from decisions.store.database import Database
from decisions.store.generations import Held, Review


@dataclass(frozen=True, kw_only=True)
class Looked:
    """A held candidate on decisions of [since, until), and the evidence of all that it has."""

    challenger: Challenger
    since: datetime
    until: datetime
    evidence: Evidence

    def review(self, verdict: Verdict) -> Review:
        """What is stored of it, with its verdict."""
        return Review(since=self.since, until=self.until, evidence=self.evidence, verdict=verdict)


def testified(evaluation: Evaluation) -> Evaluation:
    """The evaluation with the evidence that may count: where it was refused, nothing is won.

    A refusal is a look without evidence. What was won before stays, and what comes later counts.
    Where rows were too few, nothing is bet yet: a later look reads them again, with more.
    """
    if evaluation.refusal is None or evaluation.evidence is None:
        return evaluation
    if evaluation.too_few:
        return replace(evaluation, evidence=unbet(margin=evaluation.evidence.margin))
    return replace(evaluation, evidence=evaluation.evidence.without_gain())


def evidence_since(db: Database, domain: Domain, cutoff: datetime) -> datetime:
    """From when on decisions may testify for the candidates of a cut-off.

    The holdout's beginning, or, where the gate bounds its error over many looks, the end of the
    decisions on which the champion was chosen, if that is later. Holdouts of neighbouring cut-offs
    overlap, and a champion looks better than it is on the very rows that made it champion; so no
    comparison is judged on rows that anyone had looked at before both of its policies were fixed.
    One who promotes by hand is taken to have seen every decision up to that moment.
    """
    since = cutoff - domain.maturity - domain.holdout
    chosen = _champion_chosen(db, domain, cutoff)
    return since if domain.gate.budget is None or chosen is None else max(since, chosen)


def _champion_chosen(db: Database, domain: Domain, cutoff: datetime) -> datetime | None:
    """The end of the decisions that the champion of a cut-off was chosen on; None without one."""
    promotions = db.read("promotion/before", domain=domain.name, time=cutoff)
    if promotions.is_empty():
        return None
    chosen, by = promotions["promoted_at"][0], promotions["promoted_by"][0]
    return chosen - domain.maturity if by == "gate" else chosen


def challengers(db: Database, domain: Domain, cutoff: datetime) -> dict[int, Looked]:
    """The best held candidates, each with what has matured since it was last looked at, by number.

    Best is whose bets have won most. Held candidates are those compared with the present champion;
    they retire with it, or when nobody has looked at them for as long as a cut-off's whole history
    (window and holdout), which bounds what one cut-off reads.
    """
    budget = domain.gate.budget
    if budget is None or not budget.challengers:
        return {}
    champion = generations.champion_at(db, domain.name, cutoff)
    until = cutoff - domain.maturity
    chosen = _champion_chosen(db, domain, cutoff)
    candidates = generations.held(db, domain.name, champion, cutoff)
    since = {each.number: _fresh_since(db, domain, each, chosen) for each in candidates}
    ready = [
        each
        for each in candidates
        if until - domain.window - domain.holdout <= since[each.number] < until
        and each.evidence.margin == domain.gate.margin
        and each.evidence.log_e_value > -inf
    ]
    best = sorted(ready, key=lambda each: (-each.evidence.log_e_value, each.number))
    found = {
        each.number: _reviewed(db, domain, each, champion, since[each.number], cutoff)
        for each in best[: budget.challengers]
    }
    return {number: each for number, each in found.items() if each is not None}


def _fresh_since(db: Database, domain: Domain, held: Held, chosen: datetime | None) -> datetime:
    """From when on decisions may testify for a held candidate.

    After those that it has bet on; where it has not bet yet, as at its own cut-off. None lies
    before `chosen`, the end of the decisions that its champion was chosen on: a rollback may have
    chosen that champion again since.
    """
    if held.until is None and not held.evidence.begun:
        since = evidence_since(db, domain, held.cutoff)
    else:
        since = held.until or held.cutoff - domain.maturity
    return since if chosen is None else max(since, chosen)


def _reviewed(
    db: Database, domain: Domain, held: Held, champion: int, since: datetime, cutoff: datetime
) -> Looked | None:
    """None where decisions since that have a known outcome are too few, or none.

    They are then read again with those that come later, and bet on once.
    """
    until = cutoff - domain.maturity
    rows = history(db, domain, since=since, until=until, as_of=cutoff)
    if rows["reward"].count() == 0:
        return None
    seed = generations.generation(db, domain.name, held.number).seed
    evaluation = testified(
        domain.evaluate(
            cached_policy(db, domain, held.number),
            cached_policy(db, domain, champion),
            rows.lazy(),
            stream(seed, domain.name, "review", str(held.number), cutoff.isoformat()),
        )
    )
    if evaluation.too_few:
        return None
    evidence = held.evidence
    if evaluation.evidence is not None:
        spans = [(since, until, evaluation.evidence)]
        if held.evidence.begun:
            before = held.cutoff - domain.maturity - domain.holdout
            spans = [(before, since, held.evidence), *spans]
        evidence = accumulate(spans)
    note = learned_nothing(db, domain, held.number)
    return Looked(
        challenger=Challenger(
            evaluation=replace(evaluation, evidence=evidence, note=note),
            candidates=held.candidates,
        ),
        since=since,
        until=until,
        evidence=evidence,
    )
