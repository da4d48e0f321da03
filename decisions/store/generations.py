"""Generations: numbered policies, what is known of each, and which of them was champion when."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import polars as pl
from sqlalchemy import Connection

from decisions.errors import StoreError
from decisions.evaluation import Estimate, Evaluation
from decisions.evidence import Evidence, ended
from decisions.gate import Reason, Verdict
from decisions.store import leases
from decisions.store.artifacts import digest, verified
from decisions.store.database import Database, execute, read
from decisions.store.leases import Lease
from decisions.store.records import (
    DIAGNOSTIC,
    EVALUATION,
    GENERATION,
    PROMOTION,
    REVIEW,
    TRAINING,
    VERDICT,
    Kind,
    prepare,
    write,
)
from decisions.store.seals import chain_head

END_OF_TIME = datetime(9999, 1, 1, tzinfo=UTC)
_MAIN = ("candidate", "champion", "difference")


@dataclass(frozen=True, kw_only=True)
class Generation:
    """A numbered policy; its parent was champion when it was planned. Number 0 is the baseline."""

    domain: str
    number: int
    parent: int | None  # None for number 0 alone
    policy: str
    cutoff: datetime
    seed: int
    config: dict[str, Any]
    code_version: str
    planned_at: datetime


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A generation's verdict and when it was given."""

    number: int
    verdict: Verdict
    judged_at: datetime


@dataclass(frozen=True, kw_only=True)
class Held:
    """A candidate that the gate held, with the evidence of all its rows so far.

    They were decided before `until`, None where it was not looked at again yet. `candidates` is
    how many its cut-off had.
    """

    number: int
    evidence: Evidence
    until: datetime | None
    cutoff: datetime
    candidates: int


@dataclass(frozen=True, kw_only=True)
class Review:
    """A held candidate looked at again: rows decided in [since, until) are new to it."""

    since: datetime
    until: datetime
    evidence: Evidence  # of all its rows so far
    verdict: Verdict


def begin(
    db: Database,
    domain: str,
    *,
    policy: str,
    cutoff: datetime,
    seed: int,
    config: Mapping[str, Any],
    code_version: str,
    now: datetime,
) -> int:
    """Plans generation 0, the baseline, unless it is there; always 0. Promote it to begin with."""
    with db.transaction() as connection:
        chain_head(connection, lock=True)
        if _all(connection, domain).is_empty():
            row = _planned(0, None, policy, cutoff, seed, config, code_version, now)
            record_rows(connection, GENERATION, domain, [row], batch="0", now=now)
    return 0


def plan(
    db: Database,
    domain: str,
    *,
    cutoff: datetime,
    policies: Sequence[str],
    seed: int,
    config: Mapping[str, Any],
    code_version: str,
    now: datetime,
    lease: Lease | None = None,
) -> list[int]:
    """A generation number for each of `policies` at this cut-off; the same ones when repeated.

    The champion as of the cut-off becomes the parent of those that are new: a cut-off that is made
    up for later competes with whoever was champion then.

    Raises:
        StoreError: the domain had no champion then: `begin` and `promote` come first.
    """
    with db.transaction() as connection:
        leases.check(connection, lease)
        chain_head(connection, lock=True)
        existing = _all(connection, domain)
        known: dict[str, int] = dict(
            existing.filter(pl.col("cutoff") == cutoff).select("policy", "number").iter_rows()
        )
        champions = read(connection, "promotion/at", domain=domain, time=cutoff)["number"]
        if champions.is_empty():
            raise StoreError(
                f"{domain} has no champion to improve on: plan generation 0 with `begin` and"
                " promote it first"
            )
        new = [policy for policy in dict.fromkeys(policies) if policy not in known]
        following = int(existing["number"].max() or 0) + 1  # pyright: ignore[reportArgumentType]
        known |= {policy: following + i for i, policy in enumerate(new)}
        rows = [
            _planned(known[name], champions[0], name, cutoff, seed, config, code_version, now)
            for name in new
        ]
        record_rows(connection, GENERATION, domain, rows, batch=f"{cutoff.isoformat()}", now=now)
    return [known[policy] for policy in policies]


def generations(db: Database, domain: str) -> list[Generation]:
    """All generations of a domain, by number."""
    with db.reading() as connection:
        frame = _all(connection, domain)
    return [
        Generation(domain=domain, **{**row, "config": json.loads(row["config"])})
        for row in frame.iter_rows(named=True)
    ]


def generation(db: Database, domain: str, number: int) -> Generation:
    """One generation.

    Raises:
        StoreError: there is none of that number.
    """
    found = [each for each in generations(db, domain) if each.number == number]
    if not found:
        raise StoreError(f"{domain} has no generation {number}")
    return found[0]


def record_artifact(
    db: Database,
    domain: str,
    number: int,
    content: bytes,
    *,
    rows: int,
    details: Mapping[str, Any],
    now: datetime,
    lease: Lease | None = None,
) -> str:
    """Stores the packed policy of a generation, trained on `rows` rows; the digest of its bytes.

    Raises:
        ConflictingRecord: the generation has another policy already.
        LeaseLost: another worker has taken the work over.
    """
    name = digest(content)
    row = {
        "number": number,
        "digest": name,
        "row_count": rows,
        "details": _json(details),
        "trained_at": now,
    }
    with db.transaction() as connection:
        leases.check(connection, lease)
        chain_head(connection, lock=True)
        execute(connection, "artifact/add", digest=name, content=content)
        record_rows(connection, TRAINING, domain, [row], batch=str(number), now=now)
    return name


def artifact_digest(db: Database, domain: str, number: int) -> str:
    """The recorded digest of the packed policy of a generation.

    Raises:
        StoreError: it has not been trained.
    """
    found = db.read("training/of_generation", domain=domain, number=number)["digest"]
    if found.is_empty():
        raise _untrained(domain, number)
    return str(found[0])


def _untrained(domain: str, number: int) -> StoreError:
    """The error about a generation that has no policy yet."""
    return StoreError(f"generation {number} of {domain} has no policy yet: train it first")


def artifact(db: Database, domain: str, number: int) -> bytes:
    """The packed policy of a generation; its digest was found equal to the recorded one.

    Raises:
        StoreError: it has not been trained.
        ArtifactAltered: the bytes are not those that were recorded.
    """
    with db.reading() as connection:
        found = execute(
            connection, "artifact/of_generation", domain=domain, number=number
        ).one_or_none()
    if found is None:
        raise _untrained(domain, number)
    return verified(bytes(found.content), found.digest)


def record_evaluation(
    db: Database,
    domain: str,
    number: int,
    champion: int,
    evaluation: Evaluation,
    *,
    now: datetime,
    lease: Lease | None = None,
) -> None:
    """Stores the evaluation of a generation against the champion of the time.

    Raises:
        ConflictingRecord: it has been evaluated already, with another result.
        LeaseLost: another worker has taken the work over.
    """
    fixed: dict[str, Any] = {"number": number, "champion": champion, "evaluated_at": now}
    named = [(role, "", getattr(evaluation, role)) for role in _MAIN]
    named += [("estimate", name, each) for name, each in evaluation.estimates.items()]
    rows: list[dict[str, Any]] = [
        {**fixed, "role": role, "name": name, **vars(each)} for role, name, each in named
    ]
    rows += [
        {**fixed, "role": "check", "name": name, "value": value}
        for name, value in evaluation.checks.items()
    ]
    notes = {"refusal": evaluation.refusal, "unchanged": evaluation.unchanged}
    if evaluation.evidence is not None:
        notes["evidence"] = _json(vars(evaluation.evidence))
    rows += [
        {**fixed, "role": role, "name": "", "note": note}
        for role, note in notes.items()
        if note is not None
    ]
    with db.transaction() as connection:
        leases.check(connection, lease)
        record_rows(connection, EVALUATION, domain, rows, batch=str(number), now=now)


def evaluation(db: Database, domain: str, number: int) -> tuple[int, Evaluation] | None:
    """The champion a generation was held against, and the result; None before it is evaluated."""
    frame = db.read("evaluation/of_generation", domain=domain, number=number)
    if frame.is_empty():
        return None
    rows = frame.to_dicts()
    main = {row["role"]: _estimate(row) for row in rows if row["role"] in _MAIN}
    notes: dict[str, str] = {row["role"]: row["note"] for row in rows}
    return int(frame["champion"][0]), Evaluation(
        candidate=main["candidate"],
        champion=main["champion"],
        difference=main["difference"],
        estimates={row["name"]: _estimate(row) for row in rows if row["role"] == "estimate"},
        checks={row["name"]: row["value"] for row in rows if row["role"] == "check"},
        refusal=notes.get("refusal"),
        unchanged=notes.get("unchanged"),
        evidence=_evidence(notes["evidence"]) if "evidence" in notes else None,
    )


def record_verdict(
    db: Database,
    domain: str,
    number: int,
    verdict: Verdict,
    *,
    now: datetime,
    lease: Lease | None = None,
) -> None:
    """Stores what the gate said of a generation.

    Raises:
        ConflictingRecord: it has been judged already, otherwise.
        LeaseLost: another worker has taken the work over.
    """
    with db.transaction() as connection:
        leases.check(connection, lease)
        _record_verdict(connection, domain, number, verdict, now=now)


def conclude(
    db: Database,
    domain: str,
    verdicts: Mapping[int, Verdict],
    *,
    reason: str,
    now: datetime,
    reviews: Mapping[int, Review] | None = None,
    lease: Lease | None = None,
) -> dict[int, Verdict]:
    """Stores the verdicts of one cut-off and promotes whom they promote, in one transaction.

    `reviews` are of candidates held at earlier cut-offs: their verdicts are stored beside the
    first ones.

    Whether a candidate may still become champion is decided in that transaction, while nobody
    else can promote: the champion that it was compared with must be champion, for no later time
    than `now`. Where it is not, the candidate is held, and the verdict says so. What was stored
    is returned; a stored verdict to promote always has its promotion.

    Raises:
        ConflictingRecord: one of them has been judged already, otherwise.
        LeaseLost: another worker has taken the work over. Nothing was written.
    """
    reviewed = dict(reviews or {})
    given = dict(verdicts) | {number: each.verdict for number, each in reviewed.items()}
    with db.transaction() as connection:
        leases.check(connection, lease)
        chain_head(connection, lock=True)
        for number, verdict in list(given.items()):
            overtaken = _overtaken(connection, domain, number, at=now)
            if verdict.promoted and overtaken is not None:
                given[number] = verdict.held(f"passed, but {overtaken}")
            if number in reviewed:
                review = replace(reviewed[number], verdict=given[number])
                _record_review(connection, domain, number, review, now=now)
            else:
                _record_verdict(connection, domain, number, given[number], now=now)
            if given[number].promoted:
                _record_promotion(
                    connection, domain, number, by="gate", reason=reason, since=now, now=now
                )
    return given


def _overtaken(connection: Connection, domain: str, number: int, *, at: datetime) -> str | None:
    """Why a generation cannot become champion at a time any more, in words; None if it can."""
    known = _all(connection, domain).filter(pl.col("number") == number)
    if known.is_empty():
        raise StoreError(f"{domain} has no generation {number}")
    parent = known["parent"][0]
    promoted = read(connection, "promotion/before", domain=domain, time=END_OF_TIME)
    if promoted.is_empty():
        return "there is no champion it could have been compared with"
    champion, since = promoted.row(0)[:2]
    if since > at:
        return f"generation {champion} has been champion since {since.isoformat()}, a later time"
    if champion != parent:
        return f"it was compared with generation {parent}, and {champion} is champion"
    return None


def _record_verdict(
    connection: Connection, domain: str, number: int, verdict: Verdict, *, now: datetime
) -> None:
    row = {
        "number": number,
        "outcome": verdict.outcome,
        "reasons": _json([vars(reason) for reason in verdict.reasons]),
        "note": verdict.note,
        "judged_at": now,
    }
    record_rows(connection, VERDICT, domain, [row], batch=str(number), now=now)


def _record_review(
    connection: Connection, domain: str, number: int, review: Review, *, now: datetime
) -> None:
    row = {
        "number": number,
        "cutoff": now,
        "champion": _parent(connection, domain, number),
        "since": review.since,
        "until": review.until,
        "evidence": _json(vars(review.evidence)),
        "outcome": review.verdict.outcome,
        "reasons": _json([vars(reason) for reason in review.verdict.reasons]),
        "note": review.verdict.note,
        "reviewed_at": now,
    }
    record_rows(connection, REVIEW, domain, [row], batch=f"{number} {now.isoformat()}", now=now)


def _parent(connection: Connection, domain: str, number: int) -> int:
    known = _all(connection, domain).filter(pl.col("number") == number)
    if known.is_empty():
        raise StoreError(f"{domain} has no generation {number}")
    return int(known["parent"][0])


def held(db: Database, domain: str, champion: int, before: datetime) -> list[Held]:
    """Candidates held at cut-offs before `before` in favour of `champion`, by number.

    Only those whose evidence may still grow: gathered by betting, within the looks that the gate's
    error allowed, not rejected since.
    """
    frame = db.read("review/held", domain=domain, champion=champion, before=before)
    return [
        Held(
            number=row["number"],
            evidence=_evidence(row["evidence"]),
            until=row["until"],
            cutoff=row["cutoff"],
            candidates=row["candidates"],
        )
        for row in frame.iter_rows(named=True)
        if all(
            reason.kept for reason in _reasons(row["reasons"]) if reason.rule == "looks_in_period"
        )
    ]


def judged_between(db: Database, domain: str, since: datetime, until: datetime) -> int:
    """How many cut-offs in (since, until] spent some of the gate's error: each is a look.

    One of which all candidates were unchanged spent none.
    """
    frame = db.read("verdict/judged_between", domain=domain, since=since, until=until)
    return int(frame["cutoffs"][0])


def _record_promotion(
    connection: Connection,
    domain: str,
    number: int,
    *,
    by: str,
    reason: str,
    since: datetime,
    now: datetime,
) -> None:
    row = {"number": number, "promoted_at": since, "promoted_by": by, "reason": reason}
    batch = f"{number} {since.isoformat()}"
    record_rows(connection, PROMOTION, domain, [row], batch=batch, now=now)


def verdicts(db: Database, domain: str, cutoff: datetime) -> list[Judged]:
    """The verdicts over the candidates of one cut-off, by number."""
    frame = db.read("verdict/of_cutoff", domain=domain, cutoff=cutoff)
    return [_judged(row) for row in frame.iter_rows(named=True)]


def verdict(db: Database, domain: str, number: int) -> Verdict | None:
    """The verdict over a generation; None before it is judged."""
    frame = db.read("verdict/of_generation", domain=domain, number=number)
    return None if frame.is_empty() else _judged(frame.row(0, named=True)).verdict


def promote(
    db: Database,
    domain: str,
    number: int,
    *,
    by: str,
    reason: str,
    now: datetime,
    since: datetime | None = None,
    lease: Lease | None = None,
) -> None:
    """Makes a generation champion from `since` (default: `now`) on; an older number rolls back.

    One promoted for a time before that of the present champion was champion for a while only.

    Raises:
        StoreError: there is no such generation.
        ConflictingRecord: it was made champion at the same instant for another reason.
        LeaseLost: another worker has taken the work over.
    """
    with db.transaction() as connection:
        leases.check(connection, lease)
        _record_promotion(
            connection, domain, number, by=by, reason=reason, since=since or now, now=now
        )


def champion(db: Database, domain: str) -> int:
    """The generation promoted last.

    Raises:
        StoreError: none has been.
    """
    return _one(db.read("promotion/champion", domain=domain), domain, "yet")


def champion_at(db: Database, domain: str, time: datetime) -> int:
    """The generation that was champion at `time`.

    Raises:
        StoreError: none had been promoted.
    """
    return _one(db.read("promotion/at", domain=domain, time=time), domain, f"at {time}")


def record_diagnostics(
    db: Database,
    domain: str,
    number: int,
    values: Mapping[str, float],
    *,
    now: datetime,
    lease: Lease | None = None,
) -> None:
    """Stores measured quantities of a generation by name.

    Raises:
        ConflictingRecord: one of them is stored with another value.
        LeaseLost: another worker has taken the work over.
    """
    rows = [
        {"number": number, "name": name, "value": value, "measured_at": now}
        for name, value in values.items()
    ]
    with db.transaction() as connection:
        leases.check(connection, lease)
        record_rows(connection, DIAGNOSTIC, domain, rows, batch=str(number), now=now)


def _all(connection: Connection, domain: str) -> pl.DataFrame:
    return read(connection, "generation/all", domain=domain)


def _planned(
    number: int,
    parent: int | None,
    policy: str,
    cutoff: datetime,
    seed: int,
    config: Mapping[str, Any],
    code_version: str,
    now: datetime,
) -> dict[str, Any]:
    return {
        "number": number,
        "parent": parent,
        "policy": policy,
        "cutoff": cutoff,
        "seed": seed,
        "config": _json(config),
        "code_version": code_version,
        "planned_at": now,
    }


def record_rows(
    connection: Connection,
    kind: Kind,
    domain: str,
    rows: list[dict[str, Any]],
    *,
    batch: str,
    now: datetime,
) -> None:
    """Writes a few rows of `kind`; fields that a row lacks are null."""
    if rows:
        frame = pl.DataFrame(rows, schema=kind.schema, orient="row")
        write(connection, prepare(kind, domain, frame), batch=batch, now=now)


def _one(frame: pl.DataFrame, domain: str, when: str) -> int:
    if frame.is_empty():
        raise StoreError(f"{domain} had no champion {when}: promote a generation first")
    return int(frame["number"][0])


def _estimate(row: dict[str, Any]) -> Estimate:
    names = ("value", "lower", "upper", "level", "method", "n", "effective_n")
    return Estimate(**{name: row[name] for name in names})


def _evidence(text: str) -> Evidence:
    """Stored evidence; that of an earlier form, which had a `first`, is over.

    It was won by bets on single rows, which docs/gate.md does not vouch for.
    """
    given = json.loads(text)
    if "first" in given:
        return ended(margin=given["margin"])
    wealth, staked = (tuple(map(float, given.pop(name))) for name in ("log_wealth", "staked"))
    return Evidence(**given, log_wealth=wealth, staked=staked)


def _judged(row: dict[str, Any]) -> Judged:
    given = Verdict(outcome=row["outcome"], reasons=_reasons(row["reasons"]), note=row["note"])
    return Judged(number=row["number"], verdict=given, judged_at=row["judged_at"])


def _reasons(text: str) -> tuple[Reason, ...]:
    return tuple(
        Reason(
            rule=each["rule"],
            measured=None if each["measured"] is None else float(each["measured"]),
            low=float(each["low"]),
            high=float(each["high"]),
            kept=each["kept"],
            method=each.get("method", ""),
        )
        for each in json.loads(text)
    )


def _json(value: Any) -> str:
    """JSON with sorted keys; numbers that it has no form for become "inf", "-inf" and "nan"."""
    return json.dumps(_finite(value), sort_keys=True, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(each) for key, each in value.items()}  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
