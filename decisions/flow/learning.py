"""Generations: the baseline, the candidates of a cut-off, and how they are trained."""

import json
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import lru_cache

import polars as pl

from decisions.code_version import code_version
from decisions.diagnostics.drift import negatives_share
from decisions.domain import Domain
from decisions.flow.ingesting import ingest_log
from decisions.flow.rows import history, unresolved_share
from decisions.flow.steps import BEGINNING, DAY, GRACE, batch_name, day_of, days, leased, sealed
from decisions.frames import UTC_TIME
from decisions.policy import Policy
from decisions.seeds import stream
from decisions.store import artifacts, decision_log, generations
from decisions.store.database import Database
from decisions.store.generations import Generation

PREDECESSORS = 4  # how many earlier champions a trainer is shown


def begin(db: Database, domain: Domain, *, now: datetime, seed: int) -> None:
    """Makes the baseline generation 0 and champion, so that an incumbent always exists.

    It is champion of every time before the first promotion, also of days before `now` that are
    made up for later.
    """
    generations.begin(
        db,
        domain.name,
        policy="baseline",
        cutoff=now,
        seed=seed,
        config=_config(domain),
        code_version=code_version(),
        now=now,
    )
    begun = generations.generation(db, domain.name, 0).cutoff
    if not trained(db, domain, 0):
        content = artifacts.pack(domain.dump(domain.baseline))
        generations.record_artifact(db, domain.name, 0, content, rows=0, details={}, now=begun)
    if db.read("promotion/champion", domain=domain.name).is_empty():
        generations.promote(
            db,
            domain.name,
            0,
            by="begin",
            reason="the baseline comes first",
            now=begun,
            since=BEGINNING,
        )


def trained(db: Database, domain: Domain, number: int) -> bool:
    """Whether a generation has its artefact."""
    return number in db.read("generation/told", domain=domain.name)["number"].to_list()


def planned_generations(db: Database, domain: Domain, cutoff: datetime) -> list[Generation]:
    """The candidates of a cut-off, by number; generation 0 is none."""
    return [
        each
        for each in generations.generations(db, domain.name)
        if each.cutoff == cutoff and each.parent is not None
    ]


def champions(db: Database, domain: Domain, *, until: datetime) -> list[int]:
    """Generations promoted up to `until`, each once, the latest promoted first."""
    promoted = db.read("promotion/before", domain=domain.name, time=until)["number"]
    return list(dict.fromkeys(promoted.to_list()))


def load_policy(db: Database, domain: Domain, number: int) -> Policy:
    """The policy of a generation, from its artefact.

    Raises:
        ArtifactAltered: the stored bytes do not have the recorded digest; no parser saw them.
    """
    return domain.load(artifacts.unpack(generations.artifact(db, domain.name, number)))


@lru_cache(maxsize=6)
def _loaded(
    db: Database,
    domain: str,
    number: int,
    digest: str,
    load: Callable[[dict[str, bytes]], Policy],
) -> Policy:
    return load(artifacts.unpack(generations.artifact(db, domain, number)))


def cached_policy(db: Database, domain: Domain, number: int) -> Policy:
    """As `load_policy`, read once by each process for each recorded digest.

    For the steps of cut-offs, which ask for few policies many times. What audits stored bytes
    calls `load_policy`.

    Raises:
        ArtifactAltered: see `load_policy`.
    """
    digest = generations.artifact_digest(db, domain.name, number)
    return _loaded(db, domain.name, number, digest, domain.load)


def _config(domain: Domain) -> dict[str, object]:
    budget = domain.gate.budget
    return {
        "maturity_hours": domain.maturity / timedelta(hours=1),
        "holdout_hours": domain.holdout / timedelta(hours=1),
        "window_hours": domain.window / timedelta(hours=1),
        "gate_margin": domain.gate.margin,
        **({"recipes": dict(domain.recipes)} if domain.recipes else {}),
        **({} if budget is None else {"gate_error": budget.error, "gate_looks": budget.looks}),
    }


def training_span(domain: Domain, cutoff: datetime) -> tuple[datetime, datetime]:
    """When the decisions that a cut-off trains on were taken: [since, until)."""
    until = cutoff - domain.maturity - domain.holdout
    return until - domain.window, until


def held_out_history(db: Database, domain: Domain, cutoff: datetime) -> pl.DataFrame:
    """The newest matured history of a cut-off, which no trainer sees."""
    until = cutoff - domain.maturity
    return history(db, domain, since=until - domain.holdout, until=until, as_of=cutoff)


def plan_generations(db: Database, domain: Domain, *, cutoff: datetime, seed: int) -> list[int]:
    """Numbers of the candidates that `cutoff` trains; empty while there is no matured history.

    Planned twice, a candidate keeps its number. Its parent is the champion at the cut-off. What
    was rejected at an earlier cut-off is left out where nothing it is made from has changed since
    (`Domain.recipes`).
    """
    planned = planned_generations(db, domain, cutoff)
    if planned:
        return [generation.number for generation in planned]
    since, until = training_span(domain, cutoff)
    if decision_log.count(db, domain.name, since=since, until=until) == 0:
        return []
    return generations.plan(
        db,
        domain.name,
        cutoff=cutoff,
        policies=sorted(domain.candidates.keys() - _rejected(db, domain, cutoff)),
        seed=seed,
        config=_config(domain),
        code_version=code_version(),
        now=cutoff,
    )


def _rejected(db: Database, domain: Domain, cutoff: datetime) -> set[str]:
    """Candidates that the gate rejected before `cutoff`, with the recipe that they have now."""
    if not domain.recipes:
        return set()
    judged = db.read("generation/described", domain=domain.name)
    rejected = judged.filter(pl.col("outcome") == "reject", pl.col("cutoff") < cutoff)
    return {
        policy
        for policy, config in rejected.select("policy", "config").iter_rows()
        if policy in domain.recipes
        and json.loads(config).get("recipes", {}).get(policy) == domain.recipes[policy]
    }


def prepare(db: Database, domain: Domain, *, cutoff: datetime, seed: int, holder: str) -> None:
    """What a cut-off needs before it is planned: a champion, and others' logs where they decide.

    A logged domain ingests the days of its training window and holdout. A day is done once its
    outcomes, which are stored last, are there and no more are to come: days younger than the
    maturity and GRACE are asked for again, and so is one that a kill interrupted.
    """
    if domain.logged is None:
        begin(db, domain, now=cutoff, seed=seed)
        return
    first = day_of(training_span(domain, cutoff)[0])
    begin(db, domain, now=first, seed=seed)
    done = sealed(db, domain, "outcome")
    for start in days(first, cutoff):
        final = start + DAY + domain.maturity + GRACE <= cutoff
        if not (final and batch_name("ingest", start) in done):
            ingest_log(db, domain, start=start, end=start + DAY, known_at=cutoff, holder=holder)


def train_generation(
    db: Database,
    domain: Domain,
    number: int,
    *,
    holder: str,
    run: Mapping[str, str | int] | None = None,
) -> int:
    """Trains a planned generation and stores its artefact; the number, also when it was there.

    `run` says which run of a scheduler did it; it is stored with the training, as is the domain's
    own account of it.

    The trainer sees decisions of [cutoff - maturity - holdout - window, cutoff - maturity -
    holdout) with outcomes as known at the cut-off, and earlier champions; nothing newer.
    """
    if trained(db, domain, number):
        return number
    with leased(db, f"{domain.name}/train/{number}", holder) as lease:
        planned = generations.generation(db, domain.name, number)
        since, until = training_span(domain, planned.cutoff)
        seen = history(db, domain, since=since, until=until, as_of=planned.cutoff)
        predecessors = champions(db, domain, until=planned.cutoff)[:PREDECESSORS]
        policy = domain.candidates[planned.policy](
            seen.lazy(),
            [cached_policy(db, domain, each) for each in predecessors],
            stream(planned.seed, domain.name, "train", planned.policy, planned.cutoff.isoformat()),
        )
        generations.record_artifact(
            db,
            domain.name,
            number,
            artifacts.pack(domain.dump(policy)),
            rows=seen.height,
            details={
                "since": since.isoformat(),
                "until": until.isoformat(),
                "predecessors": predecessors,
                "unresolved_share": unresolved_share(seen),
                **_provenance(db, domain, seen, planned.cutoff),
                **({} if domain.account is None else domain.account(policy)),
                **({} if run is None else {"airflow": dict(run)}),
            },
            lease=lease,
            now=planned.cutoff,
        )
    return number


def learned_nothing(db: Database, domain: Domain, number: int) -> str:
    """What verdicts on a generation say of a training that fell back; empty where none did."""
    [details] = db.read("training/of_generation", domain=domain.name, number=number)["details"]
    fallback = json.loads(details).get("fallback")
    return f"the candidate learned nothing: {fallback}" if fallback else ""


def _provenance(
    db: Database, domain: Domain, seen: pl.DataFrame, cutoff: datetime
) -> dict[str, object]:
    """Whose decisions teach a cut-off: rows by generation, cycles, and the failures among them.

    A cycle is what matured between two cut-offs.
    """
    known = {each.cutoff for each in generations.generations(db, domain.name)}
    ends = pl.Series(
        [each - domain.maturity for each in sorted(known) if each < cutoff], dtype=UTC_TIME
    )
    counted = seen["generation"].value_counts().sort("generation")
    reward = seen["reward"].drop_nulls()
    found: dict[str, object] = {
        "generations": {str(number): rows for number, rows in counted.iter_rows()},
        "cycles": ends.search_sorted(seen["decided_at"], side="right").n_unique(),
    }
    if len(reward) and reward.is_between(0, 1).all():
        found["negatives_share"] = negatives_share(reward.to_numpy())
    return found
