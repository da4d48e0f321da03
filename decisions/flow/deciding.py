"""Decisions on the units that wait for one."""

from collections.abc import Callable
from datetime import datetime
from functools import partial

import numpy as np
import polars as pl

from decisions.domain import Domain
from decisions.flow.learning import cached_policy
from decisions.flow.rows import unit_columns
from decisions.flow.steps import batch_name, latest
from decisions.frames import SLOTS, decided, decision_id
from decisions.policy import Policy
from decisions.seeds import RowKeys, stream
from decisions.store import decision_log, generations, undecided
from decisions.store.database import Database

BATCH = 50_000  # decisions a transaction


def decisions_for(
    domain: Domain,
    policy: Policy,
    units: pl.DataFrame,
    *,
    seed: int,
    generation: int,
    now: datetime,
) -> pl.DataFrame:
    """The DECISIONS frame of `policy` for a UNITS frame; it depends on nothing else.

    Neither the order nor the number of `units` changes a row: the draw of a row is counted by its
    decision id. A unit column `parent_id` names the decision that a unit follows up.
    """
    columns = unit_columns(units, domain)
    if "parent_id" not in columns.columns:
        columns = columns.with_columns(pl.lit(None, dtype=pl.Int64()).alias("parent_id"))
    keyed = columns.with_columns(pl.lit(0, dtype=pl.Int16()).alias("slot"))
    ids = keyed.select(decision_id(pl.col("unit_id"), pl.col("slot"))).to_series()
    context = domain.observe(keyed.select(list(domain.units)).lazy()).collect()
    eligible = domain.eligible(context)
    draw = policy.act(context, eligible, RowKeys(seed, ids.to_numpy()))
    return decided(keyed, draw, eligible, generation=generation, now=now)


def decide(db: Database, domain: Domain, *, now: datetime, holder: str) -> int:
    """Decides every unit observed before `now` that has no decision; how many were stored.

    The champion of that time acts. A unit for which it fails (no eligible action, a payload that
    cannot be read), and a decision that breaks a rule of `frames.decision_problems`, go to
    quarantine with the reason; the others are decided. Such a unit stays pending: the generation
    that failed does not try it again, the next champion does, once. Reasons that time mends, as a
    parent decision that is missing yet, are tried again on every run.

    Raises:
        Exception: what the policy raised, where it can decide neither any unit of a batch nor a
            sample of the domain's own: then the policy is broken, not the units.
    """
    with latest(db, f"{domain.name}/decide", holder) as lease:
        number = generations.champion_at(db, domain.name, now)
        seed = generations.generation(db, domain.name, number).seed
        policy = cached_policy(db, domain, number)
        waiting = decision_log.waiting(db, domain.name, now)
        pending = waiting.units
        if pending.height:
            failed_before = undecided.undecidable(db, domain.name, number)
            pending = pending.filter(~pl.col("unit_id").is_in(failed_before.implode()))
        take = partial(decisions_for, domain, policy, seed=seed, generation=number, now=now)
        written = 0
        for units in pending.iter_slices(BATCH):
            made, failed = _tried(take, units)
            if not made:
                _act_on_sample(domain, policy, seed)
            batch = f"{batch_name('decide', now)}/{units['unit_id'][0] * SLOTS}"
            undecided.set_aside(
                db, domain.name, batch, _failures(failed), generation=number, now=now, lease=lease
            )
            if made:
                written += decision_log.append(
                    db, domain.name, "decision", batch, pl.concat(made), now=now, lease=lease
                ).written
        decision_log.mark_decided(db, domain.name, waiting.through, lease=lease)
    return written


def _tried(
    take: Callable[[pl.DataFrame], pl.DataFrame], units: pl.DataFrame
) -> tuple[list[pl.DataFrame], list[tuple[int, str]]]:
    """Decisions of the units that can be decided, and (unit id, why) of those that cannot.

    A batch that fails is halved until the units at fault stand alone.
    """
    try:
        return [take(units)], []
    except Exception as error:
        if units.height == 1:
            return [], [(int(units["unit_id"][0]), f"{type(error).__name__}: {error}")]
    half = units.height // 2
    made, failed = _tried(take, units.head(half))
    more, also_failed = _tried(take, units.tail(-half))
    return made + more, failed + also_failed


def _failures(failed: list[tuple[int, str]]) -> pl.DataFrame:
    schema = {"unit_id": pl.Int64(), "reason": pl.String()}
    return pl.DataFrame(failed, schema=schema, orient="row")


def _act_on_sample(domain: Domain, policy: Policy, seed: int) -> None:
    """Raises whatever a policy raises that cannot even decide the domain's own sample."""
    rng = stream(seed, domain.name, "probe")
    context = domain.observe(domain.sample(16, rng).lazy()).collect()
    policy.act(context, domain.eligible(context), RowKeys(seed, np.arange(16)))
