"""Candidates against the champion: evaluation, verdict, promotion."""

from dataclasses import replace
from datetime import datetime

import polars as pl

from decisions.domain import Domain
from decisions.errors import DataError
from decisions.evaluation import Evaluation, unchanged, unknown
from decisions.flow.learning import cached_policy, learned_nothing, planned_generations
from decisions.flow.reviewing import challengers, evidence_since, testified
from decisions.flow.rows import history
from decisions.flow.steps import latest, leased
from decisions.gate import Verdict
from decisions.judging import judge_together
from decisions.seeds import stream
from decisions.store import generations
from decisions.store.database import Database
from decisions.store.generations import Generation


def evaluate_generation(db: Database, domain: Domain, number: int, *, holder: str) -> int:
    """Compares a trained generation with its parent on the held-out history; the number.

    Without any held-out decision that may testify (see `evidence_since`) the evaluation is a
    refusal, on which the gate holds. A policy whose artefact is its parent's, byte for byte, is
    unchanged, and nothing is evaluated.
    """
    if generations.evaluation(db, domain.name, number) is not None:
        return number
    with leased(db, f"{domain.name}/evaluate/{number}", holder) as lease:
        planned = generations.generation(db, domain.name, number)
        parent = parent_of(planned)
        generations.record_evaluation(
            db,
            domain.name,
            number,
            parent,
            _compared(db, domain, planned, parent),
            lease=lease,
            now=planned.cutoff,
        )
    return number


def _compared(db: Database, domain: Domain, planned: Generation, parent: int) -> Evaluation:
    own, other = (
        generations.artifact_digest(db, domain.name, each) for each in (planned.number, parent)
    )
    if own == other:
        return unchanged(f"its policy is that of generation {parent}, byte for byte", n=0)
    held_out = _held_out(db, domain, planned.cutoff)
    if held_out is None or held_out.is_empty():
        return _refused("no matured decision in the held-out span")
    return testified(
        domain.evaluate(
            cached_policy(db, domain, planned.number),
            cached_policy(db, domain, parent),
            held_out.lazy(),
            stream(planned.seed, domain.name, "evaluate", planned.cutoff.isoformat()),
        )
    )


def _held_out(db: Database, domain: Domain, cutoff: datetime) -> pl.DataFrame | None:
    since, until = evidence_since(db, domain, cutoff), cutoff - domain.maturity
    if since >= until:
        return None
    return history(db, domain, since=since, until=until, as_of=cutoff)


def parent_of(planned: Generation) -> int:
    """The champion that a generation was planned to compete with.

    Raises:
        DataError: it is the baseline.
    """
    if planned.parent is None:
        raise DataError(f"generation {planned.number} is the baseline: it is compared with none")
    return planned.parent


def _refused(why: str) -> Evaluation:
    nothing = unknown(n=0)
    return Evaluation(candidate=nothing, champion=nothing, difference=nothing, refusal=why)


def judge_cutoff(
    db: Database, domain: Domain, *, cutoff: datetime, holder: str
) -> dict[int, Verdict]:
    """The verdict on each generation of a cut-off; promotes at most one of them.

    The intervals are corrected for the number of candidates, and, where the gate has a budget, for
    the looks of a period; held candidates of earlier cut-offs then compete as well, on all that
    was decided since. A candidate is promoted only while the champion it was compared with still
    is champion, and no other was promoted for a later time; a candidate that passes otherwise, at
    a cut-off that is processed late, is held, and its verdict says so. Verdicts and promotion are
    one transaction under the lease. Promoting by hand (a rollback) is `generations.promote`.

    Raises:
        DataError: a planned generation is not evaluated yet.
    """
    planned = planned_generations(db, domain, cutoff)
    with latest(db, f"{domain.name}/judge", holder) as lease:
        stored = generations.verdicts(db, domain.name, cutoff)
        verdicts = {each.number: each.verdict for each in stored}
        missing = [item.number for item in planned if item.number not in verdicts]
        if missing:
            looked = challengers(db, domain, cutoff)
            evaluated = {item.number: _evaluated(db, domain, item.number) for item in planned}
            judged = judge_together(
                evaluated,
                domain.gate,
                candidates=sum(each.unchanged is None for each in evaluated.values()),
                challengers={number: each.challenger for number, each in looked.items()},
                looks_before=_looks_before(db, domain, cutoff),
            )
            concluded = generations.conclude(
                db,
                domain.name,
                {number: judged[number] for number in missing},
                reviews={number: each.review(judged[number]) for number, each in looked.items()},
                reason=f"passed at {cutoff.isoformat()}",
                now=cutoff,
                lease=lease,
            )
            verdicts |= {number: concluded[number] for number in missing}
    return verdicts


def _looks_before(db: Database, domain: Domain, cutoff: datetime) -> int:
    """How many other cut-offs were judged in the period of the gate's budget that ends with this.

    A cut-off that is made up for also counts those after it: any period that holds it holds them.
    """
    budget = domain.gate.budget
    if budget is None:
        return 0
    since, until = cutoff - budget.period, cutoff + budget.period
    ahead = generations.judged_between(db, domain.name, cutoff, until)
    return generations.judged_between(db, domain.name, since, cutoff) + ahead


def _evaluated(db: Database, domain: Domain, number: int) -> Evaluation:
    found = generations.evaluation(db, domain.name, number)
    if found is None:
        raise DataError(
            f"generation {number} of {domain.name} is not evaluated, so its cut-off cannot be"
            " judged: run its train and evaluate steps again"
        )
    return replace(found[1], note=learned_nothing(db, domain, number))
