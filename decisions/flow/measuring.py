"""What is measured after each generation."""

from datetime import datetime
from math import isfinite
from typing import cast

import polars as pl

from decisions.actions import ActionSet
from decisions.diagnostics.churn import greedy_churn, normalised_entropy, total_variation
from decisions.domain import Domain
from decisions.flow.comparing import parent_of
from decisions.flow.learning import held_out_history, load_policy, planned_generations
from decisions.flow.rows import unresolved_share
from decisions.policy import BoolArray, FinitePolicy
from decisions.store import generations
from decisions.store.database import Database
from decisions.store.generations import Generation


def diagnose(db: Database, domain: Domain, *, cutoff: datetime) -> None:
    """Records, for each generation of a cut-off, how far it moved from its parent.

    `decisions` held out; `unresolved_share` of them without a known outcome; `reward_mean` of the
    known; `churn_total_variation` and `churn_greedy` against the parent, `entropy_normalised`, all
    three over the held-out contexts (finite actions only).

    Measured once, with outcomes as known at the cut-off: one of before the cut-off that is stored
    later would change the figures, and those that stand are those that could be known.
    """
    measured = set(db.read("diagnostic/all", domain=domain.name)["number"].to_list())
    planned = [
        item for item in planned_generations(db, domain, cutoff) if item.number not in measured
    ]
    if not planned:
        return
    held_out = held_out_history(db, domain, cutoff)
    common = {
        "decisions": float(held_out.height),
        "unresolved_share": unresolved_share(held_out),
        "reward_mean": float(held_out["reward"].drop_nulls().to_numpy().mean())
        if held_out["reward"].count()
        else float("nan"),
    }
    context = domain.observe(held_out.select(list(domain.units)).lazy()).collect()
    eligible = domain.eligible(context)
    for item in planned:
        values = common | _churn(db, domain, item, context, eligible)
        generations.record_diagnostics(
            db,
            domain.name,
            item.number,
            {name: value for name, value in values.items() if isfinite(value)},
            now=cutoff,
        )


def _churn(
    db: Database, domain: Domain, item: Generation, context: pl.DataFrame, eligible: BoolArray
) -> dict[str, float]:
    if not isinstance(domain.actions, ActionSet) or not context.height:
        return {}
    own, before = (
        cast("FinitePolicy", load_policy(db, domain, number)).probabilities(context, eligible)
        for number in (item.number, parent_of(item))
    )
    return {
        "churn_total_variation": total_variation(own, before),
        "churn_greedy": greedy_churn(own, before),
        "entropy_normalised": normalised_entropy(own, eligible),
    }
