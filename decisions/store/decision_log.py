"""Units, decisions and outcomes: checked, sealed and written in batches, and read back."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import polars as pl
from sqlalchemy import Connection

from decisions.errors import DataError
from decisions.frames import UNITS, UNITS_A_MINUTE, UTC_TIME, conform
from decisions.store import leases
from decisions.store.artifacts import digest
from decisions.store.corrections import parted, stored_outcomes, with_disputed
from decisions.store.database import Database, execute, read
from decisions.store.leases import Lease
from decisions.store.problems import PROBLEMS, ZERO_BYTE, first
from decisions.store.records import (
    CORRECTION,
    DECISION,
    KINDS,
    OUTCOME,
    QUARANTINE,
    UNIT,
    prepare,
    write,
)
from decisions.store.seals import chain_head

Logged = Literal["unit", "decision", "outcome"]


@dataclass(frozen=True, kw_only=True)
class Appended:
    """What became of a batch: rows written, rows that were there already, rows refused.

    `quarantined` holds the refused rows with their `problem`. `seal` is None for no good row.
    """

    written: int
    present: int
    seal: int | None
    quarantined: pl.DataFrame


def append(
    db: Database,
    domain: str,
    kind: Logged,
    batch: str,
    frame: pl.DataFrame,
    *,
    now: datetime,
    lease: Lease | None = None,
) -> Appended:
    """Stores a batch of units, decisions or outcomes in one transaction, under one seal.

    Rows that break a rule go to quarantine with the reason, the others are stored. Repeating a
    call changes nothing; a repetition that brings further rows adds those, under a further seal.
    An outcome of a decision that has one already, observed at another time, is stored as its
    correction: both stay, and the newest known at a time counts.

    Raises:
        DataError: a column is missing or has another type: nothing can be judged row by row.
        ConflictingRecord: a row is stored already with other content. Nothing was written.
        LeaseLost: another worker has taken the work over. Nothing was written.
        StoreError: the database cannot be reached, or refused. Nothing was written.
    """
    if kind not in PROBLEMS:
        raise DataError(f"kind is {kind!r}, wanted one of {sorted(PROBLEMS)}")
    problems = PROBLEMS[kind](frame, now=now)
    good, bad = _parted(frame, problems)
    prepared = prepare(KINDS[kind], domain, good)
    with db.transaction() as connection:
        leases.check(connection, lease)
        problems = _REFERENCES[kind](connection, domain, good)
        if problems.null_count() < len(problems):
            good, worse = _parted(good, problems)
            bad = pl.concat([bad, worse])
            prepared = prepare(KINDS[kind], domain, good)
        later = good.clear()
        if kind == OUTCOME.name:
            first, later = parted(good, stored_outcomes(connection, domain, good))
            prepared = prepare(OUTCOME, domain, first) if len(later) else prepared
        parts = [write(connection, prepared, batch=batch, now=now)]
        if len(later):
            corrections = prepare(CORRECTION, domain, later)
            parts.append(write(connection, corrections, batch=batch, now=now))
        _set_aside(connection, domain, kind, batch, bad, now=now)
    return Appended(
        written=sum(part.written for part in parts),
        present=sum(part.present for part in parts),
        seal=next((part.seal for part in parts if part.seal is not None), None),
        quarantined=bad,
    )


def assign_units(db: Database, domain: str, arrivals: pl.DataFrame) -> pl.DataFrame:
    """The UNITS frame of `arrivals` (`reference`, `observed_at`, `payload`), ids assigned, by id.

    A reference that is stored keeps its id; new ones follow the last of their minute in the order
    of `observed_at` and `reference`. Read, then `append`: a second assigner of the same domain at
    the same time is refused there by the key.

    A row given twice is kept once. No other is left out, so that `append` sets aside, with the
    reason, what cannot be stored: rows that differ under one reference share an id behind those
    of their minute, and a row without a reference has none.

    Raises:
        DataError: more units in one minute than an id has room for.
    """
    schema = pl.Schema({name: UNITS[name] for name in ("reference", "observed_at", "payload")})
    given = conform(arrivals, schema, "arrivals").unique(maintain_order=True)
    references = (
        given.drop_nulls("reference")
        .group_by("reference")
        .agg(pl.col("observed_at").min(), disputed=pl.len() > 1)
        .with_columns(minute=pl.col("observed_at").dt.epoch("s") // 60)
    )
    with db.reading() as connection:
        known = units_of(connection, domain, references["reference"])
        fresh = references.join(known, on="reference", how="anti")
        minutes = fresh["minute"].drop_nulls().unique().to_list()
        last = read(connection, "unit/last_of_minutes", domain=domain, minute_list=minutes)
    taken = pl.col("unit_id") % UNITS_A_MINUTE + 1
    ranked = (
        fresh.join(last.select("minute", taken.alias("taken")), on="minute", how="left")
        .sort("disputed", "observed_at", "reference")
        .with_columns(rank=pl.int_range(pl.len()).over("minute") + pl.col("taken").fill_null(0))
    )
    if ranked.select((pl.col("rank") >= UNITS_A_MINUTE).any()).item():
        raise DataError(f"more than {UNITS_A_MINUTE} units of {domain} in one minute")
    numbered = ranked.select(
        "reference", unit_id=pl.col("minute") * UNITS_A_MINUTE + pl.col("rank")
    )
    parts = (known, numbered)
    ids = pl.concat([part.select("reference", pl.col("unit_id").cast(pl.Int64)) for part in parts])
    whole = given.join(ids, on="reference", how="left", maintain_order="left")
    return whole.select(list(UNITS)).sort("unit_id", nulls_last=True, maintain_order=True)


def units_of(connection: Connection, domain: str, references: pl.Series) -> pl.DataFrame:
    """The stored UNITS of these references, by id; missing references are passed over.

    No stored text holds a zero byte, and PostgreSQL takes none in a parameter: a reference with
    one is the name of nothing.
    """
    return read(
        connection, "unit/ids_of_references", domain=domain, reference_list=_sound(references)
    )


def decisions_of(db: Database, domain: str, references: pl.Series) -> pl.DataFrame:
    """`reference`, `unit_id` and first `decision_id` of the stored units of these references.

    The decision is null while none is taken. By unit id.
    """
    return db.read("decision/of_references", domain=domain, reference_list=_sound(references))


def _sound(references: pl.Series) -> list[str]:
    texts = references.drop_nulls()
    return texts.filter(~texts.str.contains(ZERO_BYTE, literal=True)).to_list()


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """Units without a decision, and the seal up to which all units then have one or are refused.

    `through` holds once `units` were decided or refused.
    """

    units: pl.DataFrame  # UNITS, by id
    through: int


def waiting(db: Database, domain: str, until: datetime) -> Waiting:
    """The units observed before `until` that no decision was taken for.

    None is missed, however old, and history is not read again: seals are numbered in the order
    in which they were committed, so once all units up to a seal are decided or in quarantine, one
    that waits lies in a later seal or in quarantine (`mark_decided`).
    """
    with db.reading() as connection:
        connection.exec_driver_sql("set local enable_nestloop = off")
        known = read(connection, "unit/decided_through", domain=domain)["seal"]
        after = int(known[0]) if len(known) else 0
        low, high, later = read(
            connection, "unit/sealed_after", domain=domain, after=after, until=until
        ).row(0)
        fresh = read(
            connection,
            "unit/pending",
            domain=domain,
            until=until,
            after=after,
            low=0 if low is None else low,
            high=-1 if high is None else high,
        )
        connection.exec_driver_sql("set local enable_nestloop = on")
        aside = read(connection, "quarantine/units", domain=domain)["unit_id"].drop_nulls()
        refused = read(
            connection, "unit/pending_among", domain=domain, id_list=aside.to_list(), until=until
        )
        head = chain_head(connection).number
    units = pl.concat([fresh, refused]).unique("unit_id").sort("unit_id")
    return Waiting(units=units, through=head if later is None else later - 1)


def pending(db: Database, domain: str, until: datetime) -> pl.DataFrame:
    """UNITS observed before `until` that no decision was taken for, by id."""
    return waiting(db, domain, until).units


def mark_decided(db: Database, domain: str, through: int, *, lease: Lease | None = None) -> None:
    """Notes that all units up to a seal are decided or in quarantine.

    Raises:
        LeaseLost: another worker has taken the work over.
    """
    with db.transaction() as connection:
        leases.check(connection, lease)
        execute(connection, "unit/mark_decided", domain=domain, seal=through)


def history(
    db: Database,
    domain: str,
    *,
    since: datetime,
    until: datetime,
    as_of: datetime,
    every: int = 1,
) -> pl.DataFrame:
    """Decisions taken in [since, until) with their units and outcomes as known at `as_of`.

    Columns: DECISIONS, `reference`, `observed_at`, `payload`, `reward`, `reward_at`; the last two
    are those of the newest outcome or correction observed by `as_of`, null where there is none.
    By decision id. With `every` = k > 1, only the decisions on about one unit in k.
    """
    span = _span(db, domain, since, until)
    return db.scan(
        "decision/history",
        domain=domain,
        since=since,
        until=until,
        as_of=as_of,
        every=every,
        **span,
    )


def count(db: Database, domain: str, *, since: datetime, until: datetime) -> int:
    """How many decisions were taken in [since, until)."""
    span = _span(db, domain, since, until)
    found = db.read("decision/count", domain=domain, since=since, until=until, **span)
    return int(found["decisions"][0])


def unsettled(db: Database, domain: str, *, as_of: datetime, maturity: timedelta) -> pl.DataFrame:
    """Decisions without an outcome, taken in [as_of - maturity, as_of], with units (by id)."""
    since = as_of - maturity
    span = _span(db, domain, since, as_of)
    return db.scan("decision/unsettled", domain=domain, since=since, until=as_of, **span)


def _span(db: Database, domain: str, since: datetime, until: datetime) -> dict[str, int]:
    """`low` and `high` decision ids of a span of time, so that no query reads beyond it.

    A unit decided long after it was observed widens the range to its age: slower, never wrong.
    """
    low, high = db.read("tally/span", domain=domain, since=since, until=until).row(0)
    return {"low": 0, "high": -1} if low is None else {"low": low, "high": high}


def decisions(db: Database, domain: str, ids: Sequence[int] | pl.Series) -> pl.DataFrame:
    """The decisions of these ids with their units, by id; those not stored are left out."""
    return db.read("decision/by_id", domain=domain, id_list=list(ids))


def taken_elsewhere(db: Database, domain: str, ids: Sequence[int] | pl.Series) -> pl.Series:
    """Those of these ids whose decision others took: its seal names the step that brought it."""
    return db.read("decision/elsewhere", domain=domain, id_list=list(ids))["decision_id"]


def sample_ids(db: Database, domain: str, n: int, seed: int) -> list[int]:
    """Up to `n` decision ids, the same ones for the same seed and decisions, ascending."""
    return sorted(db.read("decision/sample", domain=domain, seed=seed, count=n)["decision_id"])


def _parted(frame: pl.DataFrame, problems: pl.Series) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows without a problem, and those with one, with it."""
    if problems.null_count() == len(problems):
        return frame, frame.clear().with_columns(problem=pl.lit(None, dtype=pl.String()))
    named = frame.with_columns(problem=problems)
    good = named.filter(pl.col("problem").is_null()).drop("problem")
    return good, named.filter(pl.col("problem").is_not_null())


def set_aside(
    db: Database,
    domain: str,
    kind: Logged,
    batch: str,
    bad: pl.DataFrame,
    *,
    now: datetime,
    lease: Lease | None = None,
) -> None:
    """Puts rows that cannot even be given an id into quarantine, each with its `problem`.

    Repeating it changes nothing.

    Raises:
        LeaseLost: another worker has taken the work over. Nothing was written.
    """
    with db.transaction() as connection:
        leases.check(connection, lease)
        _set_aside(connection, domain, kind, batch, bad, now=now)


def _set_aside(
    connection: Connection, domain: str, kind: str, batch: str, bad: pl.DataFrame, *, now: datetime
) -> None:
    """Writes refused rows to quarantine as text; one that is there already is left as it is.

    A row's digest names it. A decision that is refused is taken again, at another time, as long as
    its unit waits: that time is not part of its name, or each attempt would be a further row.
    """
    if bad.is_empty():
        return
    bad = bad.unique(maintain_order=True)
    schema = bad.drop("problem").schema
    # As text, number by number: JSON has no NaN. A zero byte is shown as its symbol, or PostgreSQL
    # could not look into the JSON.
    texts = [
        pl.col(name).cast(pl.List(pl.String()))
        if isinstance(dtype, pl.List)
        else pl.col(name).cast(pl.String()).str.replace_all(ZERO_BYTE, "␀", literal=True)
        for name, dtype in schema.items()
    ]
    lasting = [text for text, name in zip(texts, schema, strict=True) if name != "decided_at"]
    content, name = (
        bad.select(pl.struct(columns).struct.json_encode().alias("text")).to_series()
        for columns in (texts, lasting)
    )
    # Rows of one batch that differ in that time alone are told apart by their order.
    place = pl.DataFrame({"name": name}).select(pl.int_range(pl.len()).over("name")).to_series()
    names = [f"{each} {k}" if k else each for each, k in zip(name, place, strict=True)]
    rows = pl.DataFrame(
        {
            "kind": pl.repeat(kind, len(bad), dtype=pl.String(), eager=True),
            "digest": [digest(each.encode()) for each in names],
            "batch": pl.repeat(batch, len(bad), dtype=pl.String(), eager=True),
            "reason": bad["problem"],
            "content": content,
            "quarantined_at": pl.repeat(now, len(bad), dtype=UTC_TIME, eager=True),
        }
    )
    aside = prepare(QUARANTINE, domain, rows.cast(QUARANTINE.schema))
    write(connection, aside, batch=f"{kind} {batch}", now=now)


def _no_references(connection: Connection, domain: str, units: pl.DataFrame) -> pl.Series:
    return pl.repeat(None, len(units), dtype=pl.String(), eager=True)


def _decision_references(connection: Connection, domain: str, rows: pl.DataFrame) -> pl.Series:
    """Why a decision refers to nothing that is stored, or null."""
    if rows.is_empty():
        return _no_references(connection, domain, rows)
    units = _observed(connection, domain, rows["unit_id"].unique())
    numbers = read(connection, "generation/all", domain=domain)["number"]
    parents = rows["parent_id"].drop_nulls().unique().to_list()
    parent_known = pl.col("parent_id").is_null()
    if parents:
        stored = read(connection, "decision/decided", domain=domain, id_list=parents)
        known = pl.concat([stored["decision_id"], rows["decision_id"]])
        parent_known |= pl.col("parent_id").is_in(known.implode())
    joined = rows.join(units, on="unit_id", how="left", maintain_order="left")
    return first(
        joined,
        {
            "unit is not stored": pl.col("observed_at").is_not_null(),
            "decided before its unit was observed": pl.col("decided_at") >= pl.col("observed_at"),
            "generation is not stored": pl.col("generation").is_in(numbers.implode()),
            "parent decision is not stored": parent_known,
        },
    )


def _observed(connection: Connection, domain: str, ids: pl.Series) -> pl.DataFrame:
    """`unit_id` and `observed_at` of the stored units among `ids` (and perhaps of others).

    A batch is mostly a run of ids: the units of its whole range come as two arrays in one row,
    which is ten times as fast as asking for each. Where the range holds many others, each it is.
    """
    most = 2 * len(ids) + 1000
    found = read(
        connection,
        "unit/observed_between",
        domain=domain,
        low=ids.min(),
        high=ids.max(),
        most=most,
    )
    units = found.select(pl.col("unit_ids", "instants").list.explode()).select(
        unit_id="unit_ids", observed_at=pl.col("instants").cast(UTC_TIME)
    )
    if len(units) < most:
        return units
    return read(connection, "unit/observed", domain=domain, id_list=ids.to_list())


def _outcome_references(connection: Connection, domain: str, rows: pl.DataFrame) -> pl.Series:
    """Why an outcome does not fit a stored decision, or null."""
    ids = rows["decision_id"].to_list()
    taken = read(connection, "decision/decided", domain=domain, id_list=ids)
    named = with_disputed(rows, stored_outcomes(connection, domain, rows))
    joined = named.join(taken, on="decision_id", how="left", maintain_order="left")
    return first(
        joined,
        {
            "decision is not stored": pl.col("decided_at").is_not_null(),
            "outcome lies before its decision": pl.col("observed_at") >= pl.col("decided_at"),
            "another outcome is stored for the same time: a correction has its own": ~pl.col(
                "disputed"
            ),
        },
    )


_REFERENCES: dict[str, Callable[[Connection, str, pl.DataFrame], pl.Series]] = {
    UNIT.name: _no_references,
    DECISION.name: _decision_references,
    OUTCOME.name: _outcome_references,
}
