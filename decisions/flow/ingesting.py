"""Decisions that others took, with their units and outcomes."""

from datetime import datetime
from functools import partial

import polars as pl

from decisions.domain import Domain
from decisions.errors import DataError
from decisions.flow.rows import payload
from decisions.flow.steps import batch_name, latest
from decisions.frames import DECISIONS, conform, decision_id
from decisions.store import decision_log
from decisions.store.database import Database


def ingest_log(
    db: Database,
    domain: Domain,
    *,
    start: datetime,
    end: datetime,
    holder: str,
    known_at: datetime | None = None,
) -> int:
    """Stores the decisions that others took in [start, end), with outcomes; how many were new.

    They are kept under generation 0, the domain's stand-in for whoever took them. Outcomes
    observed after `known_at` (default: `end`) are left for a later call. Units, decisions and
    outcomes are three transactions in this order; repeating the call stores what is missing.

    Raises:
        DataError: the domain brings no log, or a decision names a unit that did not arrive.
    """
    if domain.logged is None:
        raise DataError(f"{domain.name} brings no log: its decisions are taken here, decide")
    log = domain.logged(start, end)
    with latest(db, f"{domain.name}/ingest", holder) as lease:
        units = decision_log.assign_units(db, domain.name, payload(log.arrivals, domain))
        put = partial(decision_log.append, db, domain.name, now=known_at or end, lease=lease)
        put("unit", batch_name("ingest", start), units)
        ids = units.select("reference", "unit_id").drop_nulls().unique()
        decisions = _identified(log.decisions, ids).with_columns(
            decision_id(pl.col("unit_id"), pl.col("slot")).alias("decision_id")
        )
        taken = put(
            "decision",
            batch_name("ingest", start),
            conform(decisions.drop("reference"), DECISIONS, f"log of {domain.name}"),
        )
        if "slot" not in log.outcomes.columns:
            log_outcomes = log.outcomes.with_columns(pl.lit(0, dtype=pl.Int16()).alias("slot"))
        else:
            log_outcomes = log.outcomes
        outcomes = (
            _identified(log_outcomes, ids)
            .select(
                decision_id(pl.col("unit_id"), pl.col("slot")).alias("decision_id"),
                "reward",
                "observed_at",
            )
            .filter(pl.col("observed_at") <= (known_at or end))
        )
        put("outcome", batch_name("ingest", start), outcomes)
    return taken.written


def _identified(frame: pl.DataFrame, ids: pl.DataFrame) -> pl.DataFrame:
    joined = frame.join(ids, on="reference", how="left", validate="m:1", maintain_order="left")
    unknown_units = joined.filter(pl.col("unit_id").is_null())["reference"]
    if len(unknown_units):
        raise DataError(
            f"{len(unknown_units)} logged rows name units that did not arrive, first"
            f" {unknown_units.head(5).to_list()}: bring every unit in `arrivals`"
        )
    return joined
