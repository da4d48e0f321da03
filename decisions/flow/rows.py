"""Rows of the store in the columns of a domain, and back."""

from datetime import datetime

import polars as pl

from decisions.domain import Domain, World
from decisions.errors import DataError
from decisions.frames import UTC_TIME, conform
from decisions.store import decision_log
from decisions.store.database import Database


def history(
    db: Database, domain: Domain, *, since: datetime, until: datetime, as_of: datetime
) -> pl.DataFrame:
    """Decisions taken in [since, until) with their units' columns and what was known at `as_of`.

    `reward` and `reward_at` are null where no outcome was known then. Ordered by decision id.
    """
    stored = decision_log.history(db, domain.name, since=since, until=until, as_of=as_of)
    return unit_columns(stored, domain).drop("payload")


def unit_columns(frame: pl.DataFrame, domain: Domain) -> pl.DataFrame:
    """`frame` with its `payload` decoded into the domain's unit columns.

    A unit column that `frame` has already under the same name (a retry's `parent_id`, say) keeps
    the value of `frame`.
    """
    fresh = [name for name in domain.units if name not in frame.columns]
    payload = pl.col("payload").str.json_decode(pl.Struct(dict(domain.units)))
    return frame.with_columns(payload).with_columns(
        pl.col("payload").struct.field(name) for name in fresh
    )


def payload(arrivals: pl.DataFrame, domain: Domain) -> pl.DataFrame:
    """`reference`, `observed_at`, and the domain's unit columns as one JSON text."""
    wanted = pl.Schema({"reference": pl.String(), "observed_at": UTC_TIME} | dict(domain.units))
    return conform(arrivals, wanted, f"arrivals of {domain.name}").select(
        "reference",
        "observed_at",
        pl.struct(list(domain.units)).struct.json_encode().alias("payload"),
    )


def unresolved_share(seen: pl.DataFrame) -> float:
    """Share of the rows of a history frame without a known outcome; 0 of none."""
    return seen["reward"].null_count() / max(seen.height, 1)


def world_of(domain: Domain) -> World:
    """Where the units of a domain come from.

    Raises:
        DataError: its decisions are taken elsewhere.
    """
    if domain.world is None:
        raise DataError(f"{domain.name} has no world: its decisions are taken elsewhere, ingest")
    return domain.world
