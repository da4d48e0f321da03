"""A ledger of millions of decisions, written by the store itself, batch after sealed batch."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import Any

import numpy as np
import polars as pl

from decisions import flow
from decisions.cli.bench.ledger import decided
from decisions.cli.report import Workbench
from decisions.diagnostics.oscillation import Diagnosis, Series, diagnose_all
from decisions.domains import domain_named
from decisions.evaluation import Estimate, Evaluation
from decisions.frames import DECISIONS, OUTCOMES, SLOTS, UNITS, unit_id
from decisions.gate import GateRule
from decisions.judging import judge_together
from decisions.policy import FloatArray
from decisions.seeds import stream
from decisions.store import generations
from decisions.store.database import Database
from decisions.store.decision_log import append
from decisions.store.records import DIAGNOSIS, MEASUREMENT, Kind, prepare, write

SEED = 11
START = datetime(2026, 1, 5, tzinfo=UTC)
DAY = timedelta(days=1)
DAYS = 120  # five monthly partitions
BATCH = 50_000
SETTLED_DAYS = 3  # the newest days, whose outcomes are stored
SHARES = {"payments": 0.7, "open_bandit": 0.2, "lotsizing": 0.1}
POLICIES = ("fastcb", "squarecb")
PLANT = "plant"  # a domain of its own: the made-up rows of lot sizing hold no plans
PLANNED_DAYS = 21
_LIVE = "deployed"


@dataclass(frozen=True)
class Template:
    """One batch of a domain: every day has the same rows, under ids of its own."""

    units: pl.DataFrame
    decisions: pl.DataFrame

    @staticmethod
    def of(domain: str, rows: int) -> "Template":
        """`rows` units and valid decisions; payloads as the domain writes them."""
        rng = stream(SEED, domain, "big ledger")
        ids = pl.int_range(rows, eager=True)
        units = pl.DataFrame(
            {
                "unit_id": ids,
                "reference": ids.cast(pl.String()),
                "observed_at": pl.repeat(START, rows, eager=True),
                "payload": _payloads(domain, rows, rng),
            }
        ).cast(UNITS)
        return Template(units, decided(units, rng))

    def on(self, day: datetime, part: int, *, generation: int) -> "Template":
        """The batch `part` of a day, decided by `generation`."""
        observed = day + timedelta(hours=12, minutes=part)
        first = unit_id(int(observed.timestamp()) // 60, 0)
        ids = self.units["unit_id"] + first
        units = self.units.with_columns(
            unit_id=ids, reference=ids.cast(pl.String()), observed_at=pl.lit(observed)
        )
        decisions = self.decisions.with_columns(
            decision_id=ids * SLOTS,
            unit_id=ids,
            generation=pl.lit(generation),
            decided_at=pl.lit(observed + timedelta(seconds=1)),
        )
        return Template(units.cast(UNITS), decisions.cast(DECISIONS))


def fill(
    db: Database,
    bench: Workbench,
    *,
    rows: int,
    days: int = DAYS,
    planned_days: int = PLANNED_DAYS,
) -> None:
    """Fills a migrated database with `rows` decisions of `days`; one filled in part is completed.

    Units, decisions, tallies, seals, generations, evaluations, verdicts, promotions, measurements
    and diagnoses are written by the store's own functions, in batches as the spine makes them.
    Each day of a domain repeats the rows of one batch under ids of its own. A plant that the
    lot-sizing domain itself plans day after day stands beside them.
    """
    if _filled(db, rows):
        return
    written = 0
    for domain, share in SHARES.items():
        _begin(db, domain)
        daily = ceil(rows * share / days)
        sizes = [min(BATCH, daily - start) for start in range(0, daily, BATCH)]
        templates = {size: Template.of(domain, size) for size in set(sizes)}
        done = set(db.read("seal/batches", domain=domain, kind="decision")["batch"].to_list())
        for index in bench.track(range(days), f"filling {domain}"):
            day = START + index * DAY
            champion = _cutoff(db, domain, day + DAY, index)
            for part, size in enumerate(sizes):
                batch = f"{day:%Y-%m-%d}/{part}"
                if batch not in done:
                    content = templates[size].on(day, part, generation=champion)
                    _day(db, domain, batch, content, settled=index >= days - SETTLED_DAYS)
                    written += size
        _measure(db, domain, days)
    planned = replace(domain_named("lotsizing"), name=PLANT)
    flow.begin(db, planned, now=START, seed=SEED)
    flow.catch_up(db, planned, until=START + planned_days * DAY, holder="bench")
    if written:
        with db.transaction("owner") as connection:
            connection.exec_driver_sql("analyze")  # as autovacuum does in time


def _filled(db: Database, rows: int) -> bool:
    tallies = db.read("tally/by_generation")
    return PLANT in set(tallies["domain"]) and int(tallies["decisions"].sum()) >= rows


def _payloads(domain: str, rows: int, rng: np.random.Generator) -> pl.Series:
    if domain not in ("payments", "open_bandit"):
        return pl.repeat('{"stock": 12}', rows, eager=True)
    known = domain_named(domain)
    units = known.sample(rows, rng)
    return units.select(pl.struct(list(known.units)).struct.json_encode()).to_series()


def _begin(db: Database, domain: str) -> None:
    generations.begin(
        db,
        domain,
        policy="baseline",
        cutoff=START,
        seed=SEED,
        config={},
        code_version="bench",
        now=START,
    )
    if db.read("promotion/champion", domain=domain).is_empty():
        generations.promote(db, domain, 0, by="begin", reason="the baseline", now=START)


def _day(db: Database, domain: str, batch: str, rows: Template, *, settled: bool) -> None:
    """Units and decisions of a batch, and outcomes where it is `settled`."""
    taken = rows.decisions
    now = taken["decided_at"][0] + DAY
    append(db, domain, "unit", batch, rows.units, now=now)
    append(db, domain, "decision", batch, taken, now=now)
    if settled:
        rewards = stream(SEED, domain, "rewards", batch).random(taken.height) < 0.93
        outcomes = taken.select(
            "decision_id",
            pl.Series("reward", rewards.astype(np.float64)),
            observed_at=pl.col("decided_at") + timedelta(minutes=1),
        )
        append(db, domain, "outcome", batch, outcomes.cast(OUTCOMES), now=now)


def _cutoff(db: Database, domain: str, cutoff: datetime, index: int) -> int:
    """Two candidates a day, evaluated and judged; the champion of the day before the cut-off."""
    champion = generations.champion_at(db, domain, cutoff - DAY)
    numbers = generations.plan(
        db,
        domain,
        cutoff=cutoff,
        policies=POLICIES,
        seed=SEED,
        config={},
        code_version="bench",
        now=cutoff,
    )
    if generations.verdicts(db, domain, cutoff):
        return champion
    rng = stream(SEED, domain, "evaluations", cutoff.isoformat())
    evaluations = {number: _evaluation(rng, index) for number in numbers}
    for number, evaluation in evaluations.items():
        generations.record_evaluation(db, domain, number, champion, evaluation, now=cutoff)
    verdicts = judge_together(evaluations, GateRule(), candidates=len(numbers))
    generations.conclude(db, domain, verdicts, reason="passed", now=cutoff)
    return champion


def _evaluation(rng: np.random.Generator, index: int) -> Evaluation:
    def estimate(value: float, half: float, method: str = "DR") -> Estimate:
        return Estimate(
            value=value,
            lower=value - half,
            upper=value + half,
            level=0.95,
            method=method,
            n=30_000,
            effective_n=9_000.0,
        )

    gain = float(rng.normal(0.004 if index % 10 == 0 else -0.002, 0.002))
    named = {
        f"{role} {method}": estimate(value, half, method)
        for role, value in (("candidate", 0.93 + gain), ("champion", 0.93), ("difference", gain))
        for method, half in (("DR", 0.004), ("SNIPS", 0.006), ("IPS", 0.01), ("DM", 0.002))
    }
    return Evaluation(
        candidate=named["candidate DR"],
        champion=named["champion DR"],
        difference=estimate(gain, 0.002),
        estimates=named,
        checks={"ess_share": 0.3, "support_violation": 0.0, "churn_tv": 0.2},
    )


def _measure(db: Database, domain: str, days: int) -> None:
    """One cycle a day of every series."""
    if len(db.read("measurement/all", domain=domain)):
        return
    rng = stream(SEED, domain, "measurements")
    found = {name: _series(rng, days, swinging=name == "squarecb") for name in (_LIVE, *POLICIES)}
    record_cycles(db, domain, found, first=START + DAY, rng=rng)


def record_cycles(
    db: Database,
    domain: str,
    found: Mapping[str, Series],
    *,
    first: datetime,
    rng: np.random.Generator,
) -> None:
    """Stores series of a cycle a day from `first` on, and what is diagnosed from all up to each.

    `rng` is for the null of the diagnoses. What is NaN was not measured.
    """
    measured: list[dict[str, Any]] = []
    diagnosed: list[dict[str, Any]] = []
    for cycle in range(max(len(one.value) for one in found.values())):
        cutoff = first + cycle * DAY
        for name, one in found.items():
            columns = {**one.measures, "value": one.value, "value_se": one.standard_error}
            measured += [
                {"cutoff": cutoff, "series": name, "name": each, "value": float(column[cycle])}
                for each, column in columns.items()
                if np.isfinite(column[cycle])
            ]
        until = {name: _until(one, cycle + 1) for name, one in found.items()}
        for name, diagnosis in diagnose_all(until, rng).items():
            diagnosed.append({"cutoff": cutoff, "series": name, **_record(diagnosis)})
    _store(db, domain, MEASUREMENT, measured)
    _store(db, domain, DIAGNOSIS, diagnosed)


def _series(rng: np.random.Generator, days: int, *, swinging: bool) -> Series:
    """A series of as many cycles with all that is measured beside its value."""
    cycle = np.arange(days)
    swing: FloatArray = np.where(cycle % 2, -0.005, 0.005) * swinging
    control = 0.909 + 0.004 * np.sin(2 * np.pi * cycle / 8) + rng.normal(0, 0.0005, days)
    value = 0.02 + swing + rng.normal(0, 0.001, days)

    def around(mean: float, spread: float) -> FloatArray:
        return mean + rng.normal(0, spread, days)

    measures: Mapping[str, FloatArray] = {
        "level": control + value,
        "control": control,
        "control_se": around(0.003, 0.0001),
        "decisions": np.full(days, 50_000.0),
        "unresolved_share": around(0.004, 0.0004),
        "negatives_share": around(0.085, 0.001) - 2 * np.roll(swing, 1),
        "entropy_normalised": around(0.42, 0.01) + 8 * np.roll(swing, 1),
        "effective_actions": around(3.1, 0.1),
        "propensity_minimum": around(0.0042, 0.0001),
        "propensity_1_percent": around(0.0061, 0.0002),
        "churn_total_variation": around(0.22, 0.01),
        "churn_greedy": around(0.46, 0.02),
        "score_ks": around(0.11, 0.01),
        "auc": around(0.712, 0.004),
        "calibration_error_greedy": around(0.009, 0.0008),
        "calibration_error_unchosen": around(0.016, 0.0012),
        "realizability_gap": around(0.0075, 0.0006),
        "bias_unchosen": around(0.012, 0.001),
        "ess_share": around(0.31, 0.01),
        "window_rows": np.full(days, 400_000.0),
        "window_cycles": np.full(days, 8.0),
        "window_uniform_share": np.zeros(days),
    }
    return Series(value=value, standard_error=np.full(days, 0.0012), measures=measures)


def _until(one: Series, cycles: int) -> Series:
    return Series(
        value=one.value[:cycles],
        standard_error=one.standard_error[:cycles],
        measures={name: column[:cycles] for name, column in one.measures.items()},
    )


def _record(diagnosis: Diagnosis) -> dict[str, str]:
    return {
        "verdict": diagnosis.verdict,
        "explanation": diagnosis.explanation,
        "action": diagnosis.action,
        "reasons": json.dumps(list(diagnosis.reasons)),
        "statistics": json.dumps(diagnosis.statistics.record()),
    }


def _store(db: Database, domain: str, kind: Kind, rows: list[dict[str, Any]]) -> None:
    frame = pl.DataFrame(
        [{**row, "measured_at": row["cutoff"]} for row in rows], schema=kind.schema, orient="row"
    )
    newest = max(row["cutoff"] for row in rows)
    with db.transaction() as connection:
        write(connection, prepare(kind, domain, frame), batch="all cycles", now=newest)
