"""Units that a source names by its own references, and the decisions that it means by them."""

import polars as pl

from decisions.domain import Domain
from decisions.flow.rows import unit_columns
from decisions.frames import OUTCOMES
from decisions.store import decision_log
from decisions.store.database import Database

NO_UNIT = "no unit has the reference of this outcome"
NO_DECISION = "no decision was taken on the unit of this outcome"


def with_parents(
    db: Database, domain: Domain, arrivals: pl.DataFrame, *, beside: pl.DataFrame | None = None
) -> pl.DataFrame:
    """`arrivals` with `parent_id` in place of `parent_reference`, where they have that column.

    It is the decision on the unit of that reference, however old: a stored one, or one of `beside`
    (`reference`, `decision_id`), which are stored together with `arrivals`. Null where there is
    none. A unit that is stored keeps the parent that it was stored with.
    """
    if "parent_reference" not in arrivals.columns:
        return arrivals
    named = arrivals.filter(pl.col("parent_reference").is_not_null())
    with db.reading() as connection:
        stored = decision_log.units_of(connection, domain.name, named["reference"])
    kept = unit_columns(stored, domain).select("reference", kept="parent_id", stored=True)
    taken = decision_log.decisions_of(db, domain.name, named["parent_reference"])
    parents = taken.drop_nulls("decision_id").select("reference", "decision_id")
    if beside is not None:
        parents = pl.concat([parents, beside]).unique("reference")
    return (
        arrivals.join(
            parents.select(parent_reference="reference", parent_id="decision_id"),
            on="parent_reference",
            how="left",
            validate="m:1",
            maintain_order="left",
        )
        .join(kept, on="reference", how="left", validate="m:1", maintain_order="left")
        .with_columns(parent_id=pl.when("stored").then("kept").otherwise("parent_id"))
        .drop("parent_reference", "kept", "stored")
    )


def identified(
    db: Database, domain: Domain, outcomes: pl.DataFrame, taken: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Outcomes by `reference` as OUTCOMES, and those without a decision, with their `problem`.

    References are looked for among the `taken` decisions (`reference` and `decision_id`, of slot
    0) first, then in the store: an outcome of a decision that has one already may correct it.
    """
    joined = outcomes.join(
        taken.select("reference", near="decision_id"),
        on="reference",
        how="left",
        validate="m:1",
        maintain_order="left",
    )
    rest = joined.filter(pl.col("near").is_null())["reference"].unique()
    stored = decision_log.decisions_of(db, domain.name, rest)
    slot = pl.col("slot") if "slot" in outcomes.columns else pl.lit(0)
    problem = (
        pl.when(pl.col("unit_id").is_null()).then(pl.lit(NO_UNIT)).otherwise(pl.lit(NO_DECISION))
    )
    whole = joined.join(
        stored, on="reference", how="left", validate="m:1", maintain_order="left"
    ).with_columns(decision_id=pl.coalesce("near", "decision_id") + slot, problem=problem)
    strangers = whole.filter(pl.col("decision_id").is_null())
    return (
        whole.drop_nulls("decision_id").select(list(OUTCOMES)),
        strangers.select("reference", "reward", "observed_at", "problem"),
    )
