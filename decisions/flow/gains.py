"""What is deployed against its reference: what traffic gained, and what was expected of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl

from decisions.bandits.estimators import dr
from decisions.bandits.intervals import normal, variance_floor
from decisions.bandits.oracles import time_blocks
from decisions.bandits.support import SupportRule, kish
from decisions.domain import Domain
from decisions.flow.measures import Measures, clusters, logged, standard_error
from decisions.flow.rows import unit_columns
from decisions.policy import BoolArray, FloatArray, IntArray, Policy, pick
from decisions.seeds import stream
from decisions.shapes import label_codes
from decisions.store import decision_log
from decisions.store.database import Database

FEWEST_ROWS = 300  # of a cycle, below which rewards are not modelled
EFFECTIVE_NOTHING = SupportRule().effective_n  # of them given the reference's action, by Kish
CYCLE_ROWS = 4_000  # of each cycle that the common model reads
MODEL_ROWS = 64_000  # of all cycles together
FOLDS = 3


@dataclass(frozen=True, kw_only=True, eq=False)
class Expected:
    """What the policies of g cycles were expected to gain, by part of the traffic.

    `parts` (c, g) add up to the mean gain of a decision; NaN in a cycle without usable rows.
    `shares` (c,) are the parts' of the traffic. All cycles are held against one model of rewards:
    its errors are common to them, and only policies move the series.
    """

    parts: FloatArray
    shares: FloatArray


def gained(domain: Domain, settled: pl.DataFrame) -> Measures:
    """What all settled traffic gained over doing nothing, doubly robust; empty if not known.

    `value` and `gain`, the mean of reward minus the term that estimates doing nothing in the same
    context; `nothing`, the mean of those terms; `_se`, clustered. Rewards are modelled across
    FOLDS blocks of time, each by a model of the others. Rows given the reference's action
    correct the model: nothing is said where a few of them would speak for all, or where a row
    could not have been given it, and errors are no smaller than `variance_floor` makes them. Of
    rows that could hardly have been given it the model alone speaks, and errors do not show that.
    """
    if domain.rewards is None or domain.nothing is None or settled.height < FEWEST_ROWS:
        return {}
    log = logged(domain, settled)
    if log is None or log[2].height < settled.height:
        return {}
    eligible, probabilities, rows = log
    chance = probabilities[:, domain.nothing]
    action = rows["action"].list.first().cast(pl.Int64).to_numpy()
    reward = rows["reward"].to_numpy()
    weights = (action == domain.nothing) / rows["propensity"].to_numpy()
    cluster = clusters(domain, rows)
    if kish(weights) < EFFECTIVE_NOTHING or len(np.unique(cluster)) < 2 or not (chance > 0).all():
        return {}
    predicted = _out_of_fold(domain, rows, eligible)
    chosen = pick(predicted, action)
    nothing = dr(weights, reward, chosen, predicted[:, domain.nothing]).rows
    found: Measures = {}
    for name, terms, moved in (
        ("value", reward - nothing, 1 - weights),
        ("nothing", nothing, weights),
    ):
        estimate = variance_floor(
            normal(terms, clusters=cluster),
            terms,
            moved,
            reward,
            residual=reward - chosen,
            clusters=cluster,
        )
        found[name] = estimate.value
        found[f"{name}_se"] = standard_error(estimate)
    return found | {"gain": found["value"], "gain_se": found["value_se"]}


def _out_of_fold(domain: Domain, rows: pl.DataFrame, eligible: BoolArray) -> FloatArray:
    assert domain.rewards is not None
    blocks = time_blocks(rows["decision_id"].to_numpy(), FOLDS)
    context = domain.observe(rows.select(list(domain.units)).lazy()).collect()
    result = np.zeros(eligible.shape)
    for block in range(FOLDS):
        held = blocks == block
        rng = stream(0, domain.name, "rewards", str(block))
        model = domain.rewards(rows.filter(pl.Series(~held)).lazy(), rng)
        result[held] = model.predict(context.filter(pl.Series(held)), eligible[held])
    return result


def simulated(domain: Domain, policy: Policy, cutoff: datetime) -> Measures:
    """What a policy gains over the reference in simulation, by the names of `gained`."""
    assert domain.gain is not None
    found = domain.gain(policy, stream(0, domain.name, "gain", cutoff.isoformat()))
    error = standard_error(found)
    return {"value": found.value, "value_se": error, "gain": found.value, "gain_se": error}


def expected(domain: Domain, cycles: Sequence[pl.DataFrame]) -> Expected | None:
    """What the policies that decided the rows of some cycles were expected to gain.

    `cycles` are settled rows of history. Each row's logged probabilities are held against a model
    of rewards fitted to all rows together. None where rewards are not modelled, no action does
    nothing, or fewer than FEWEST_ROWS rows have their probabilities logged.
    """
    if domain.rewards is None or domain.nothing is None:
        return None
    most = rows_of_each(len(cycles))
    pooled = pl.concat(
        thinned(rows, most).with_columns(cycle=pl.lit(at)) for at, rows in enumerate(cycles)
    )
    log = logged(domain, pooled)
    if log is None or log[2].height < FEWEST_ROWS:
        return None
    eligible, probabilities, rows = log
    context = domain.observe(rows.select(list(domain.units)).lazy()).collect()
    model = domain.rewards(rows.lazy(), stream(0, domain.name, "rewards", "common"))
    predicted = model.predict(context, eligible)
    gain = (probabilities * predicted).sum(axis=1) - predicted[:, domain.nothing]
    label = np.zeros(rows.height, dtype=np.int64)
    if domain.part is not None:
        label = label_codes(context[domain.part].to_numpy())
    return by_part(gain, label, rows["cycle"].to_numpy(), len(cycles))


def by_part(gain: FloatArray, label: IntArray, cycle: IntArray, count: int) -> Expected:
    """Mean expected gain of the decisions of `count` cycles, split by part.

    `gain`, `label` (its part, from 0) and `cycle` (from 0) are of rows, (n,).
    """
    shape = (int(label.max()) + 1, count)
    cell = label * count + cycle
    total = np.bincount(cell, weights=gain, minlength=shape[0] * count).reshape(shape)
    size = np.bincount(cycle, minlength=count)
    shares = np.bincount(label, minlength=shape[0]) / len(label)
    return Expected(parts=np.where(size > 0, total / np.maximum(size, 1), np.nan), shares=shares)


def rows_of_each(cycles: int) -> int:
    """How many rows, at most, the common model reads of each of some cycles."""
    return max(1, MODEL_ROWS // max(cycles, 1))


def thinned(rows: pl.DataFrame, most: int) -> pl.DataFrame:
    """At most `most` rows, evenly spread over the frame."""
    return rows if rows.height <= most else rows.gather_every(-(-rows.height // most))


def sample(
    db: Database,
    domain: Domain,
    *,
    since: datetime,
    until: datetime,
    as_of: datetime,
    most: int = CYCLE_ROWS,
) -> pl.DataFrame:
    """At most `most` of the decisions taken in [since, until) whose outcome was known.

    An outcome may be stored long after it became known, so nothing is kept from one cut-off to the
    next. Only about as many rows are read as are returned.
    """
    taken = decision_log.count(db, domain.name, since=since, until=until)
    stored = decision_log.history(
        db,
        domain.name,
        since=since,
        until=until,
        as_of=as_of,
        every=max(1, taken // max(most, 1)),
    )
    kept = thinned(stored.filter(pl.col("reward").is_finite()), most)
    return unit_columns(kept, domain).drop("payload")
