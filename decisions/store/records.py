"""What is stored: the kinds of record, and the one way in which any of them is written."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString

import numpy as np
import polars as pl
from psycopg import sql
from sqlalchemy import Connection

from decisions.errors import ConflictingRecord
from decisions.frames import DECISIONS, OUTCOMES, UNITS, UTC_TIME, conform, minute_of
from decisions.store import copy_format
from decisions.store.columns import content_digest, differing, fingerprints, flatten
from decisions.store.database import execute, raw
from decisions.store.seals import Seal, add_seal, chain_head, seals_of_batch


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A table of sealed rows.

    `key` identifies a row within a domain and orders a batch; `lookup` is the part of the key that
    finds stored rows. `stamps` say when a row was written; a repetition may differ in them.
    """

    name: LiteralString
    schema: pl.Schema
    key: tuple[LiteralString, ...]
    lookup: LiteralString
    stamps: tuple[LiteralString, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """The stored columns, without `seal`, in their canonical order."""
        return ("domain", *self.schema)


_TEXT, _NUMBER, _REAL, _WHOLE = pl.String(), pl.Int32(), pl.Float64(), pl.Int64()
UNIT = Kind(name="unit", schema=UNITS, key=("unit_id",), lookup="unit_id")
DECISION = Kind(name="decision", schema=DECISIONS, key=("decision_id",), lookup="decision_id")
OUTCOME = Kind(name="outcome", schema=OUTCOMES, key=("decision_id",), lookup="decision_id")
CORRECTION = Kind(
    name="correction",
    schema=OUTCOMES,
    key=("decision_id", "observed_at"),
    lookup="decision_id",
)
GENERATION = Kind(
    name="generation",
    schema=pl.Schema(
        {
            "number": _NUMBER,
            "parent": _NUMBER,
            "policy": _TEXT,
            "cutoff": UTC_TIME,
            "seed": _WHOLE,
            "config": _TEXT,
            "code_version": _TEXT,
            "planned_at": UTC_TIME,
        }
    ),
    key=("number",),
    lookup="number",
    stamps=("planned_at",),
)
TRAINING = Kind(
    name="training",
    schema=pl.Schema(
        {
            "number": _NUMBER,
            "digest": _TEXT,
            "row_count": _WHOLE,
            "details": _TEXT,
            "trained_at": UTC_TIME,
        }
    ),
    key=("number",),
    lookup="number",
    stamps=("trained_at",),
)
EVALUATION = Kind(
    name="evaluation",
    schema=pl.Schema(
        {
            "number": _NUMBER,
            "champion": _NUMBER,
            "role": _TEXT,
            "name": _TEXT,
            "value": _REAL,
            "lower": _REAL,
            "upper": _REAL,
            "level": _REAL,
            "method": _TEXT,
            "n": _WHOLE,
            "effective_n": _REAL,
            "note": _TEXT,
            "evaluated_at": UTC_TIME,
        }
    ),
    key=("number", "role", "name"),
    lookup="number",
    stamps=("evaluated_at",),
)
VERDICT = Kind(
    name="verdict",
    schema=pl.Schema(
        {
            "number": _NUMBER,
            "outcome": _TEXT,
            "reasons": _TEXT,
            "note": _TEXT,
            "judged_at": UTC_TIME,
        }
    ),
    key=("number",),
    lookup="number",
    stamps=("judged_at",),
)
PROMOTION = Kind(
    name="promotion",
    schema=pl.Schema(
        {"number": _NUMBER, "promoted_at": UTC_TIME, "promoted_by": _TEXT, "reason": _TEXT}
    ),
    key=("number", "promoted_at"),
    lookup="number",
)
DIAGNOSTIC = Kind(
    name="diagnostic",
    schema=pl.Schema({"number": _NUMBER, "name": _TEXT, "value": _REAL, "measured_at": UTC_TIME}),
    key=("number", "name"),
    lookup="number",
    stamps=("measured_at",),
)
MEASUREMENT = Kind(
    name="measurement",
    schema=pl.Schema(
        {
            "cutoff": UTC_TIME,
            "series": _TEXT,
            "name": _TEXT,
            "value": _REAL,
            "measured_at": UTC_TIME,
        }
    ),
    key=("cutoff", "series", "name"),
    lookup="cutoff",
    stamps=("measured_at",),
)
DIAGNOSIS = Kind(
    name="diagnosis",
    schema=pl.Schema(
        {
            "cutoff": UTC_TIME,
            "series": _TEXT,
            "verdict": _TEXT,
            "explanation": _TEXT,
            "action": _TEXT,
            "reasons": _TEXT,
            "statistics": _TEXT,
            "measured_at": UTC_TIME,
        }
    ),
    key=("cutoff", "series"),
    lookup="cutoff",
    stamps=("measured_at",),
)
ANNOUNCEMENT = Kind(
    name="announcement",
    schema=pl.Schema(
        {
            "cutoff": UTC_TIME,
            "series": _TEXT,
            "channel": _TEXT,
            "message": _TEXT,
            "announced_at": UTC_TIME,
        }
    ),
    key=("cutoff", "series", "channel"),
    lookup="cutoff",
    stamps=("announced_at",),
)
REVIEW = Kind(
    name="review",
    schema=pl.Schema(
        {
            "number": _NUMBER,
            "cutoff": UTC_TIME,
            "champion": _NUMBER,
            "since": UTC_TIME,
            "until": UTC_TIME,
            "evidence": _TEXT,
            "outcome": _TEXT,
            "reasons": _TEXT,
            "note": _TEXT,
            "reviewed_at": UTC_TIME,
        }
    ),
    key=("number", "cutoff"),
    lookup="number",
    stamps=("reviewed_at",),
)
QUARANTINE = Kind(
    name="quarantine",
    schema=pl.Schema(
        {
            "kind": _TEXT,
            "digest": _TEXT,
            "batch": _TEXT,
            "reason": _TEXT,
            "content": _TEXT,
            "quarantined_at": UTC_TIME,
        }
    ),
    key=("kind", "digest"),
    lookup="digest",
    stamps=("quarantined_at", "batch", "reason", "content"),
)
KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        UNIT,
        DECISION,
        OUTCOME,
        CORRECTION,
        GENERATION,
        TRAINING,
        EVALUATION,
        VERDICT,
        PROMOTION,
        DIAGNOSTIC,
        MEASUREMENT,
        DIAGNOSIS,
        ANNOUNCEMENT,
        REVIEW,
        QUARANTINE,
    )
}


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """Rows made ready to be written before any lock is taken: sorted, flat, hashed, encoded."""

    kind: Kind
    domain: str
    frame: pl.DataFrame
    content: bytes
    fingerprints: bytes
    encoded: copy_format.Encoded


@dataclass(frozen=True)
class Written:
    """How many rows were new, how many were there already, and their seal."""

    written: int
    present: int
    seal: int | None  # None when no row was new and none was there


def prepare(kind: Kind, domain: str, frame: pl.DataFrame) -> Prepared:
    """`frame` of `kind`'s schema, in canonical order."""
    rows = len(frame)
    whole = conform(frame, kind.schema, kind.name).select(pl.lit(domain).alias("domain"), pl.all())
    ordered = whole.sort(kind.key)
    columns = flatten(ordered)
    return Prepared(
        kind=kind,
        domain=domain,
        frame=ordered,
        content=content_digest(columns, rows),
        fingerprints=fingerprints(columns, rows).astype("<u8").tobytes(),
        encoded=copy_format.encode(columns, rows),
    )


def write(connection: Connection, prepared: Prepared, *, batch: str, now: datetime) -> Written:
    """Stores the rows that are not there yet, under one seal, in the caller's transaction.

    Writers take turns from here to the end of their transactions: the chain never forks.

    Raises:
        ConflictingRecord: a row is stored already with other content; row and field are named.
    """
    rows = len(prepared.frame)
    if rows == 0:
        return Written(0, 0, None)
    kind, domain = prepared.kind, prepared.domain
    head = chain_head(connection, lock=True)
    parts = seals_of_batch(connection, domain, kind.name, batch)
    if prepared.content in parts:
        return Written(0, rows, parts[prepared.content])
    fresh = _without_stored(connection, prepared)
    if len(fresh.frame) == 0:
        return Written(0, rows, _seal_of(connection, prepared))
    if kind is DECISION:
        _open_months(connection, fresh.frame)
    seal = head.next(
        domain=domain,
        kind=kind.name,
        batch=batch,
        part=len(parts),
        row_count=len(fresh.frame),
        content=fresh.content,
        fingerprints=fresh.fingerprints,
        sealed_at=now,
    )
    add_seal(connection, seal)
    _copy(connection, fresh, seal)
    if kind is DECISION:
        _count(connection, fresh.frame, seal)
    return Written(len(fresh.frame), rows - len(fresh.frame), seal.number)


def stored_rows(
    connection: Connection, kind: Kind, domain: str, values: Sequence[Any], *, seal: bool = False
) -> pl.DataFrame:
    """The stored rows of a domain whose lookup column holds one of `values`, by key."""
    names = [*kind.columns, "seal"] if seal else list(kind.columns)
    statement = sql.SQL(
        "select {columns} from {table} where domain = {domain} and {lookup} = any({values})"
        " order by {key}"
    ).format(
        columns=sql.SQL(", ").join(map(sql.Identifier, names)),
        table=sql.Identifier(kind.name),
        domain=sql.Literal(domain),
        lookup=sql.Identifier(kind.lookup),
        values=sql.Literal(list(values)),
        key=sql.SQL(", ").join(map(sql.Identifier, kind.key)),
    )
    driver = raw(connection)
    return copy_format.fetch(driver, statement.as_bytes(driver))


def any_stored(connection: Connection, kind: Kind, domain: str, values: pl.Series) -> bool:
    """Whether a stored row lies in the range of lookup `values`: one index probe, usually no."""
    statement = sql.SQL(
        "select exists (select from {table} where domain = {domain}"
        " and {lookup} between {low} and {high})"
    ).format(
        table=sql.Identifier(kind.name),
        domain=sql.Literal(domain),
        lookup=sql.Identifier(kind.lookup),
        low=sql.Literal(values.min()),
        high=sql.Literal(values.max()),
    )
    found = raw(connection).execute(statement).fetchone()
    return bool(found and found[0])


def _without_stored(connection: Connection, prepared: Prepared) -> Prepared:
    """The rows that are not stored yet; raises ConflictingRecord for the first that differs."""
    kind, frame = prepared.kind, prepared.frame
    if not any_stored(connection, kind, prepared.domain, frame[kind.lookup]):
        return prepared
    key = list(kind.key)
    values = frame[kind.lookup].unique().to_list()
    stored = stored_rows(connection, kind, prepared.domain, values)
    stored = stored.join(frame.select(key), on=key, how="semi").sort(key)
    if stored.is_empty():
        return prepared
    given = frame.join(stored.select(key), on=key, how="semi").sort(key)
    _compare(kind, stored, given)
    fresh = frame.join(stored.select(key), on=key, how="anti")
    return prepare(kind, prepared.domain, fresh.drop("domain"))


def _seal_of(connection: Connection, prepared: Prepared) -> int:
    """The seal over the first of rows that are all stored."""
    first = prepared.frame.head(1)
    lookup = first[prepared.kind.lookup].to_list()
    stored = stored_rows(connection, prepared.kind, prepared.domain, lookup, seal=True)
    key = list(prepared.kind.key)
    return int(stored.join(first.select(key), on=key, how="semi")["seal"][0])


def _compare(kind: Kind, stored: pl.DataFrame, given: pl.DataFrame) -> None:
    """Raises ConflictingRecord for the first row and field in which the two frames differ."""
    content = [name for name in kind.columns if name not in kind.stamps]
    pairs = zip(flatten(stored.select(content)), flatten(given.select(content)), strict=True)
    differ = {here.name: differing(here, there) for here, there in pairs}
    rows = np.flatnonzero(np.any(list(differ.values()), axis=0))
    if not len(rows):
        return
    row = int(rows[0])
    field = next(name for name in content if differ[name][row])
    name = ", ".join(f"{part} {given[part][row]}" for part in kind.key)
    raise ConflictingRecord(
        f"{kind.name} {name} of {given['domain'][row]} is stored with {field} ="
        f" {_shown(stored[field][row])}; this batch has {_shown(given[field][row])}"
        f" ({len(rows)} such rows). What is stored stays: correct the batch, or give new ids"
    )


def _shown(value: object) -> str:
    text = repr(value.to_list() if isinstance(value, pl.Series) else value)
    return text if len(text) <= 120 else f"{text[:117]}..."


def _open_months(connection: Connection, decisions: pl.DataFrame) -> None:
    """Makes the partitions of every month that the ids fall into."""
    minute = minute_of(pl.col("unit_id"))
    months = decisions.select(
        pl.from_epoch((minute * 60).unique(), time_unit="s").dt.truncate("1mo").unique().sort()
    ).to_series()
    for month in months:
        execute(connection, "decision/open_month", day=month.date())


def _count(connection: Connection, decisions: pl.DataFrame, seal: Seal) -> None:
    """Adds the tally of a batch, which spares every reader from counting it."""
    counted = (
        decisions.group_by("generation", "arm")
        .agg(
            pl.len().alias("decisions"),
            pl.col("decided_at").min().alias("first_decided_at"),
            pl.col("decided_at").max().alias("last_decided_at"),
            pl.col("decision_id").min().alias("first_decision_id"),
            pl.col("decision_id").max().alias("last_decision_id"),
        )
        .sort("generation", "arm")
    )
    for row in counted.iter_rows(named=True):
        execute(connection, "tally/add", domain=seal.domain, seal=seal.number, **row)


def _copy(connection: Connection, prepared: Prepared, seal: Seal) -> None:
    statement = sql.SQL("copy {table} ({columns}) from stdin (format binary)").format(
        table=sql.Identifier(prepared.kind.name),
        columns=sql.SQL(", ").join(map(sql.Identifier, [*prepared.kind.columns, "seal"])),
    )
    stream = prepared.encoded.filled(seal.number)
    with raw(connection).cursor() as cursor, cursor.copy(statement) as copy:
        copy.write(stream)
