"""Units for which no decision could be made, in quarantine beside the decisions refused."""

from datetime import datetime

import polars as pl

from decisions.frames import UTC_TIME
from decisions.store import leases
from decisions.store.artifacts import digest
from decisions.store.database import Database
from decisions.store.leases import Lease
from decisions.store.records import QUARANTINE, prepare, write

PASSING = (
    "parent decision is not stored",
    "unit is not stored",
    "generation is not stored",
    "decided_at lies in the future",
    "decision_id lies in the future",
    "decided before its unit was observed",
)
"""Reasons for which a decision was refused that a later try may not meet."""


def set_aside(
    db: Database,
    domain: str,
    batch: str,
    failed: pl.DataFrame,
    *,
    generation: int,
    now: datetime,
    lease: Lease | None = None,
) -> None:
    """Puts units that `generation` could not decide (`unit_id`, `reason`) into quarantine.

    Repeating it changes nothing.

    Raises:
        LeaseLost: another worker has taken the work over. Nothing was written.
    """
    if failed.is_empty():
        return
    unit = pl.col("unit_id").cast(pl.String())
    number = pl.lit(str(generation)).alias("generation")
    rows = failed.select(
        kind=pl.lit("decision"),
        batch=pl.lit(batch),
        reason="reason",
        content=pl.struct(unit, number).struct.json_encode(),
        quarantined_at=pl.lit(now, UTC_TIME),
    )
    rows = rows.with_columns(digest=pl.Series([digest(t.encode()) for t in rows["content"]]))
    aside = prepare(QUARANTINE, domain, rows.select(list(QUARANTINE.schema)))
    with db.transaction() as connection:
        leases.check(connection, lease)
        write(connection, aside, batch=f"decision {batch}", now=now)


def undecidable(db: Database, domain: str, generation: int) -> pl.Series:
    """Ids of the units that `generation` has failed to decide and would fail to decide again."""
    return db.read(
        "quarantine/undecidable", domain=domain, generation=generation, passing=list(PASSING)
    )["unit_id"]
