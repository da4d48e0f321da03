"""Cycles: what was measured up to each cut-off, what was diagnosed, and who was told."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import polars as pl

from decisions.diagnostics.oscillation import Diagnosis
from decisions.store.database import Database
from decisions.store.generations import record_rows
from decisions.store.records import ANNOUNCEMENT, DIAGNOSIS, MEASUREMENT

Channel = Literal["log", "webhook", "email"]


@dataclass(frozen=True, kw_only=True)
class Change:
    """A series whose newest verdict is not the one that was told last."""

    cutoff: datetime
    series: str
    verdict: str
    previous: str | None  # None for the first diagnosis of the series
    explanation: str
    action: str


def measurements(db: Database, domain: str) -> pl.DataFrame:
    """`cutoff`, `series`, `name`, `value` of all that was measured over a domain's cycles."""
    return db.read("measurement/all", domain=domain)


def diagnosed(db: Database, domain: str) -> list[datetime]:
    """The cut-offs whose cycles were diagnosed, ascending."""
    return db.read("diagnosis/cutoffs", domain=domain)["cutoff"].to_list()


def record(
    db: Database,
    domain: str,
    cutoff: datetime,
    measured: Mapping[str, Mapping[str, float]],
    diagnoses: Mapping[str, Diagnosis],
    *,
    now: datetime,
) -> None:
    """Stores a cycle's measurements and diagnoses by series, in one transaction.

    Raises:
        ConflictingRecord: the cycle is stored with another content.
    """
    batch = cutoff.isoformat()
    values = [
        {"cutoff": cutoff, "series": series, "name": name, "value": value, "measured_at": now}
        for series, found in measured.items()
        for name, value in found.items()
    ]
    rows = [
        {
            "cutoff": cutoff,
            "series": series,
            "verdict": each.verdict,
            "explanation": each.explanation,
            "action": each.action,
            "reasons": json.dumps(each.reasons),
            "statistics": json.dumps(each.statistics.record(), allow_nan=False, sort_keys=True),
            "measured_at": now,
        }
        for series, each in diagnoses.items()
    ]
    with db.transaction() as connection:
        record_rows(connection, MEASUREMENT, domain, values, batch=batch, now=now)
        record_rows(connection, DIAGNOSIS, domain, rows, batch=batch, now=now)


def changes(db: Database, domain: str, channel: Channel) -> list[Change]:
    """The series whose newest verdict differs from what the channel was told last, by series.

    Before anything was told that is the verdict of the first diagnosis, which itself is told only
    where it is one to act on. So a change that could not be told is told later, one that was taken
    back meanwhile never, and none twice.
    """
    found = db.read("diagnosis/changed", domain=domain, channel=channel)
    return [Change(**row) for row in found.to_dicts()]


def record_announcement(
    db: Database, domain: str, change: Change, channel: Channel, message: str, *, now: datetime
) -> None:
    """Notes that a change was told; it is not told again by that channel."""
    row = {
        "cutoff": change.cutoff,
        "series": change.series,
        "channel": channel,
        "message": message,
        "announced_at": now,
    }
    batch = f"{change.cutoff.isoformat()} {change.series} {channel}"
    with db.transaction() as connection:
        record_rows(connection, ANNOUNCEMENT, domain, [row], batch=batch, now=now)
