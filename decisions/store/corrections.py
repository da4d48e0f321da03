"""Outcomes that are known again: the first of a decision is its outcome, the others correct it."""

import polars as pl
from sqlalchemy import Connection

from decisions.frames import OUTCOMES
from decisions.store.records import CORRECTION, OUTCOME, any_stored, stored_rows


def stored_outcomes(connection: Connection, domain: str, rows: pl.DataFrame) -> pl.DataFrame:
    """OUTCOMES stored of the decisions of `rows`; `first` is false for corrections."""
    ids = rows["decision_id"].unique()
    parts = [
        stored_rows(connection, kind, domain, ids.to_list())
        .select(list(OUTCOMES))
        .with_columns(first=pl.lit(kind is OUTCOME))
        for kind in (OUTCOME, CORRECTION)
        if any_stored(connection, kind, domain, ids)
    ]
    return pl.concat(parts) if parts else pl.DataFrame(schema={**OUTCOMES, "first": pl.Boolean()})


def with_disputed(rows: pl.DataFrame, stored: pl.DataFrame) -> pl.DataFrame:
    """`rows` with `disputed`: whether another reward is stored for the same moment."""
    same = stored.select("decision_id", "observed_at", other="reward")
    keys = ["decision_id", "observed_at"]
    joined = rows.join(same, on=keys, how="left", maintain_order="left")
    disputed = (pl.col("other") != pl.col("reward")).fill_null(value=False)
    return joined.with_columns(disputed=disputed).drop("other")


def parted(rows: pl.DataFrame, stored: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """`rows` (OUTCOMES) that are a decision's first outcome, and those that correct one.

    The first is the one that is stored as such; of a decision without one, the earliest.
    """
    first = stored.filter("first").select("decision_id", first_at="observed_at")
    known = rows.join(first, on="decision_id", how="left", maintain_order="left")
    earliest = pl.col("observed_at").min().over("decision_id")
    is_first = pl.col("observed_at") == pl.col("first_at").fill_null(earliest)
    named = known.with_columns(is_first=is_first)
    outcomes = named.filter("is_first").select(list(OUTCOMES))
    return outcomes, named.filter(~pl.col("is_first")).select(list(OUTCOMES))
