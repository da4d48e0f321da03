"""Decisions taken again from what was stored of them, and compared to the bit."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan
from typing import Any

import numpy as np
import polars as pl

from decisions import flow
from decisions.bandits.policies import ARMS, Split
from decisions.domain import Domain
from decisions.errors import DataError
from decisions.frames import DECISIONS
from decisions.store import artifacts, decision_log, generations
from decisions.store.database import Database

COMPARED = (
    "eligible",
    "scores",
    "probabilities",
    "action",
    "nominal",
    "propensity",
    "arm",
    "arm_propensity",
    "uniform",
)


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """Stored decisions and the same decisions taken again, row by row, by decision id.

    `differing` counts, for each compared column, the rows whose bits differ. `elsewhere` holds the
    stored decisions that others took: there is nothing to take them again with.
    """

    stored: pl.DataFrame
    again: pl.DataFrame
    elsewhere: pl.DataFrame
    differing: dict[str, int]

    @property
    def equal(self) -> bool:
        """Whether there are decisions taken again, and every compared bit of them is the same."""
        return self.stored.height > 0 and not any(self.differing.values())


def replay(db: Database, domain: Domain, ids: Sequence[int]) -> Replayed:
    """Takes the decisions of `ids` again, each with its generation's artefact and seed.

    Raises:
        DataError: an id is not stored.
        ArtifactAltered: the bytes of a generation are not those recorded.
    """
    stored = decision_log.decisions(db, domain.name, ids)
    absent = sorted(set(ids) - set(stored["decision_id"].to_list()))
    if absent:
        raise DataError(f"{len(absent)} ids of {domain.name} are not stored, first {absent[:5]}")
    brought = decision_log.taken_elsewhere(db, domain.name, ids)
    others = stored["decision_id"].is_in(brought.implode())
    elsewhere, stored = stored.filter(others), stored.filter(~others)
    parts = [
        _again(db, domain, part) for _, part in stored.group_by("generation", maintain_order=True)
    ]
    again = pl.concat(parts).sort("decision_id") if parts else stored.select(list(DECISIONS))
    return Replayed(
        stored=stored,
        again=again,
        elsewhere=elsewhere,
        differing={name: _differing(stored[name], again[name]) for name in COMPARED},
    )


def within_arm(db: Database, domain: Domain, decision: int) -> list[float] | None:
    """The chances of a decision's eligible actions within its arm, recomputed from its policy.

    The ledger keeps the marginal ones and that of the action taken. None where the policy does
    not say what it does in each arm, or others took the decision.

    Raises:
        DataError: the decision is not stored.
        ArtifactAltered: the bytes of its generation are not those recorded.
    """
    stored = decision_log.decisions(db, domain.name, [decision])
    if stored.is_empty():
        raise DataError(f"decision {decision} of {domain.name} is not stored")
    if len(decision_log.taken_elsewhere(db, domain.name, [decision])):
        return None
    row = stored.row(0, named=True)
    if row["arm_propensity"] == row["propensity"]:
        return list(row["probabilities"])
    policy = flow.load_policy(db, domain, row["generation"])
    if not isinstance(policy, Split):
        return None
    units = flow.unit_columns(stored, domain).select(list(domain.units))
    context = domain.observe(units.lazy()).collect()
    eligible = domain.eligible(context)
    arms, _ = policy.arm_probabilities(context, eligible)
    return arms[ARMS.index(row["arm"]), 0, eligible[0]].tolist()


def sample(db: Database, domain: Domain, count: int, seed: int) -> tuple[int, int, list[int]]:
    """How many decisions are stored, how many of them others took, and a sample of the rest.

    The sample has `count` ids, or as many as there are; it is the same one for the same seed.
    """
    present, elsewhere = db.read("decision/replayable", domain=domain.name).row(0)
    ids = db.read("decision/replayable_sample", domain=domain.name, seed=seed, count=count)
    return int(present), int(elsewhere), sorted(ids["decision_id"].to_list())


def _again(db: Database, domain: Domain, part: pl.DataFrame) -> pl.DataFrame:
    """One generation's decisions; `decided_at` is the time of recording and is not recomputed."""
    number = int(part["generation"][0])
    return flow.decisions_for(
        domain,
        flow.load_policy(db, domain, number),
        part.select("unit_id", "slot", "parent_id", "reference", "observed_at", "payload"),
        seed=generations.generation(db, domain.name, number).seed,
        generation=number,
        now=part["decided_at"][0],
    )


def _differing(stored: pl.Series, again: pl.Series) -> int:
    """How many rows differ in any bit; floats are compared as their 64 bits."""
    if stored.dtype == pl.Float64():
        pair = (series.to_numpy().view(np.uint64) for series in (stored, again))
        first, second = pair
        return int((first != second).sum())
    if stored.dtype == pl.List(pl.Float64()):
        rows = pl.DataFrame({"stored": stored, "again": again}).with_row_index()
        lengths = rows.select(
            (pl.col("stored").list.len() != pl.col("again").list.len()).alias("differ")
        )["differ"]
        same = rows.filter(~lengths).explode("stored", "again").drop_nulls()
        bits = (same[name].to_numpy().view(np.uint64) for name in ("stored", "again"))
        first, second = bits
        unequal = same.filter(pl.Series(first != second, dtype=pl.Boolean()))["index"]
        return int(lengths.sum()) + unequal.n_unique()
    return int((~stored.eq_missing(again)).sum())


def explain(db: Database, domain: Domain, decision: int) -> tuple[str, bool | None]:
    """One decision in words, and whether taking it again gave the same bits.

    None where others took it: then only its seal can be verified.
    """
    replayed = replay(db, domain, [decision])
    elsewhere = replayed.elsewhere.height > 0
    row = (replayed.elsewhere if elsewhere else replayed.stored).row(0, named=True)
    lines = _told(db, domain, row, elsewhere=elsewhere)
    if elsewhere:
        said = "no: taken elsewhere; only its seal can be verified (`decisions audit verify`)"
    elif replayed.equal:
        said = "equal to the bit"
    else:
        again = replayed.again.row(0, named=True)
        said = "NOT EQUAL in " + ", ".join(
            f"{name}: {again[name]!r}" for name, count in replayed.differing.items() if count
        )
    lines += ["", f"taken again  {said}"]
    return "\n".join(lines), None if elsewhere else replayed.equal


def _told(db: Database, domain: Domain, row: dict[str, Any], *, elsewhere: bool) -> list[str]:
    """What is stored of a decision, in lines."""
    follows = "nothing" if row["parent_id"] is None else f"decision {row['parent_id']}"
    lines = [
        f"Decision {row['decision_id']} of {domain.title} ({domain.name})",
        f"unit         {row['unit_id']} ({row['reference']}), observed {row['observed_at']}",
        f"payload      {row['payload']}",
        f"follows up   {follows}",
    ]
    if elsewhere:
        lines += [f"decided      {row['decided_at']} by others, arm {row['arm']!r}", ""]
    else:
        generation = generations.generation(db, domain.name, row["generation"])
        content = generations.artifact(db, domain.name, row["generation"])
        lines += [
            f"decided      {row['decided_at']} by generation {row['generation']}"
            f" ({generation.policy}), arm {row['arm']!r}",
            f"artefact     sha256 {artifacts.digest(content)}, seed {generation.seed}",
            "",
        ]
    if row["eligible"]:
        names = getattr(domain.actions, "names", None)
        lines.append(f"{'eligible':32} {'score':>12} {'probability':>12}")
        scores = row["scores"] or [None] * len(row["eligible"])
        for action, score, share in zip(
            row["eligible"], scores, row["probabilities"], strict=True
        ):
            name = names[action] if names else str(action)
            mark = "  <- drawn" if [float(action)] == row["action"] else ""
            shown = "-" if score is None else f"{score:.6f}"
            lines.append(f"{f'{action} {name}':32} {shown:>12} {share:>12.6f}{mark}")
        lines.append("")
    drawn = "not kept" if isnan(row["uniform"]) else repr(row["uniform"])
    return [
        *lines,
        f"draw         uniform number {drawn}",
        f"action       {row['action']}, without exploring {row['nominal'] or 'not told'}",
        f"propensity   {row['propensity']!r} (within the arm {row['arm_propensity']!r})",
    ]
