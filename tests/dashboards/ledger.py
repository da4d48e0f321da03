"""A ledger as three weeks leave it, for pages: written by the spine and the store, never by SQL.

The last days of payments were lived, with a small simulator and small trees: those decisions
replay. Earlier evaluations, and what is measured over the cycles, are made up, so that each
verdict has something to show. The other domains hold one awkward case each.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from decisions import flow
from decisions.bandits.oracles import LightGBMConfig
from decisions.bandits.policies import FastCB, SquareCB
from decisions.cli.bench.big_ledger import record_cycles
from decisions.diagnostics.oscillation import Series
from decisions.domains.open_bandit import DOMAIN as OPEN_BANDIT
from decisions.domains.payments import DOMAIN
from decisions.domains.payments.simulator import Environment
from decisions.domains.payments.training import Recipe
from decisions.domains.payments.world import SimulatedWorld
from decisions.evaluation import Evaluation, unknown
from decisions.frames import DECISIONS, UNITS, unit_id
from decisions.gate import GateRule, judge
from decisions.judging import judge_together
from decisions.policy import FloatArray
from decisions.store import artifacts, decision_log, generations
from decisions.store.database import Database
from tests.dashboards.plan_ledger import planned
from tests.dashboards.samples import DAY, START, begun, estimate

CYCLES = 16
MADE_UP = 13  # of them are made up; the last ones are lived
FIRST = START + 5 * DAY  # the first cut-off with matured history before its holdout
LAST = FIRST + (CYCLES - 1) * DAY
SEED = 7
_TREES = LightGBMConfig(trees=10, leaves=7, learning_rate=0.2)
PAYMENTS = replace(
    DOMAIN,
    world=SimulatedWorld(environment=Environment(seed=2024), per_day=150),
    candidates={
        "squarecb": Recipe(rule=SquareCB(300.0), explore_share=0.5, oracle=_TREES),
        "fastcb": Recipe(rule=FastCB(100.0), explore_share=0.5, oracle=_TREES),
    },
    gate=GateRule(margin=-0.05, limits={"ess_share": (0.05, 1.0)}),
    maturity=DAY,
    holdout=2 * DAY,
    window=4 * DAY,
)
"""The production domain with few units, small trees and a lenient gate; policies load as its."""


def lived(db: Database) -> None:
    """Fills an empty, migrated database; about ten seconds."""
    _payments(db)
    _record(db, "payments", _series(np.random.default_rng(SEED)), first=FIRST)
    _open_bandit(db)
    _lotsizing(db)
    begun(db, "fishery")
    _navigation(db)
    _units_alone(db)


def _payments(db: Database) -> None:
    """Cycles made up, cycles lived through the spine, then a promotion by a person."""
    flow.begin(db, PAYMENTS, now=START, seed=SEED)
    rng = np.random.default_rng(SEED)
    for cycle in range(CYCLES):
        cutoff = FIRST + cycle * DAY
        if cycle < MADE_UP:
            _make_up(db, cycle, cutoff, rng)
        else:
            _live(db, cutoff)
    flow.settle(db, PAYMENTS, as_of=LAST, holder="sample")
    [_, newest] = [each.number for each in flow.planned_generations(db, PAYMENTS, LAST)]
    generations.promote(
        db,
        "payments",
        newest,
        by="ann.lee@example.com",
        reason="Approved after review: the logs of two days could not decide",
        now=LAST + timedelta(hours=9),
    )
    flow.catch_up(db, PAYMENTS, until=LAST + DAY, holder="sample")
    _quarantined(db)


def _live(db: Database, cutoff: datetime) -> None:
    """The days that were not lived yet, then a generation of each candidate, as a DAG does it."""
    flow.catch_up(db, PAYMENTS, until=cutoff, holder="sample")
    for number in flow.plan_generations(db, PAYMENTS, cutoff=cutoff, seed=SEED):
        flow.train_generation(db, PAYMENTS, number, holder="sample")
        flow.evaluate_generation(db, PAYMENTS, number, holder="sample")
    flow.judge_cutoff(db, PAYMENTS, cutoff=cutoff, holder="sample")


def _make_up(db: Database, cycle: int, cutoff: datetime, rng: np.random.Generator) -> None:
    """Two candidates with made-up evaluations, judged by the production gate.

    Their policy is the baseline's: whoever loads one finds one.
    """
    policies = sorted(PAYMENTS.candidates)
    numbers = _planned(db, "payments", policies, cutoff, seed=SEED)
    champion = generations.champion(db, "payments")
    content = artifacts.pack(PAYMENTS.dump(PAYMENTS.baseline))
    evaluations: dict[int, Evaluation] = {}
    for number, policy in zip(numbers, policies, strict=True):
        swing = 0.0055 * (-1.0) ** cycle if policy == "squarecb" else 0.0
        gain = (0.02 if champion == 0 else 0.001) + swing + float(rng.normal(0, 0.002))
        evaluations[number] = _evaluation(0.93 + swing, gain)
        generations.record_artifact(
            db, "payments", number, content, rows=40_000, details={}, now=cutoff
        )
        generations.record_evaluation(
            db, "payments", number, champion, evaluations[number], now=cutoff
        )
    verdicts = judge_together(evaluations, DOMAIN.gate, candidates=len(numbers))
    generations.conclude(
        db, "payments", verdicts, reason=f"passed at {cutoff.isoformat()}", now=cutoff
    )


def _evaluation(value: float, gain: float) -> Evaluation:
    """An evaluation with every estimator's answer: DM is biased, IPS wide."""
    spread = {"DR": 0.006, "SNIPS": 0.009, "IPS": 0.016, "DM": 0.003}
    bias = {"DR": 0.0, "SNIPS": 0.001, "IPS": 0.003, "DM": -0.02}
    estimates = {"logged": estimate(0.915, 0.004), "do nothing": estimate(0.909, 0.008)}
    for name, half in spread.items():
        estimates |= {
            f"candidate {name}": replace(estimate(value + bias[name], half), method=name),
            f"champion {name}": replace(estimate(value - gain + bias[name], half), method=name),
            f"difference {name}": replace(estimate(gain, 0.7 * half), method=name),
        }
    return Evaluation(
        candidate=estimates["candidate DR"],
        champion=estimates["champion DR"],
        difference=estimates["difference DR"],
        estimates=estimates,
        checks={
            "ess": 310.0,
            "ess_share": 0.31,
            "champion_ess_share": 0.44,
            "support_violation": 0.0,
            "max_weight": 14.2,
            "mean_weight_z": 0.8,
            "churn_tv": 0.24,
            "churn_from_trained": 0.24,
            "worst_segment_loss": 0.0,
            "unresolved_share": 0.004,
        },
    )


def _quarantined(db: Database) -> None:
    """Two decisions that break a rule: they are set aside, with the reason."""
    stored = flow.history(db, PAYMENTS, since=LAST - DAY, until=LAST, as_of=LAST).head(2)
    broken = stored.select(list(DECISIONS)).with_columns(propensity=pl.Series([0.0, 1.5]))
    decision_log.append(db, "payments", "decision", "resent", broken, now=LAST + DAY)


def _open_bandit(db: Database) -> None:
    """An hour of logs of others, one refused evaluation, and nothing measured over cycles."""
    logged = datetime(2019, 11, 25, tzinfo=UTC)
    flow.begin(db, OPEN_BANDIT, now=logged, seed=SEED)
    flow.ingest_log(
        db, OPEN_BANDIT, start=logged, end=logged + timedelta(hours=1), holder="sample"
    )
    now = START + DAY
    [number] = _planned(db, "open_bandit", ["women_bts"], now)
    nothing = unknown(n=900)
    refused = Evaluation(
        candidate=nothing,
        champion=nothing,
        difference=nothing,
        refusal="candidate: unsupported: effective sample size 12.0 of 900 rows",
    )
    generations.record_evaluation(db, "open_bandit", number, 0, refused, now=now)
    generations.record_verdict(db, "open_bandit", number, judge(refused, GateRule()), now=now)


def _lotsizing(db: Database) -> None:
    """Plans, candidates too unsure to be promoted, and one cycle: nothing can be diagnosed."""
    planned(db)
    one = Series(value=np.array([0.01]), standard_error=np.array([0.025]))
    _record(db, "lotsizing", {"pdppo": one}, first=START + DAY)


def _navigation(db: Database) -> None:
    """A value that never changes, and no control slice."""
    begun(db, "navigation")
    constant = Series(
        value=np.full(12, 0.8),
        standard_error=np.zeros(12),
        measures={"level": np.full(12, 0.8), "decisions": np.full(12, 500.0)},
    )
    _record(db, "navigation", {"ppo": constant}, first=START + DAY)


def _units_alone(db: Database) -> None:
    """Units of a domain that has no generation, not even the baseline."""
    units = pl.DataFrame(
        {
            "unit_id": [unit_id(int(START.timestamp()) // 60, rank) for rank in range(3)],
            "reference": ["a", "b", "c"],
            "observed_at": [START] * 3,
            "payload": ["{}"] * 3,
        },
        schema=UNITS,
    )
    decision_log.append(db, "parcels", "unit", "by hand", units, now=START + DAY)


def _record(db: Database, domain: str, found: Mapping[str, Series], *, first: datetime) -> None:
    record_cycles(db, domain, found, first=first, rng=np.random.default_rng(SEED))


def _planned(
    db: Database, domain: str, policies: Sequence[str], now: datetime, *, seed: int = 1
) -> list[int]:
    return generations.plan(
        db,
        domain,
        cutoff=now,
        policies=policies,
        seed=seed,
        config={},
        code_version="test",
        now=now,
    )


def _series(rng: np.random.Generator) -> dict[str, Series]:
    """Payments: one series begins to swing with period two, one is steady, and the whole traffic.

    That one has no control slice, so no value, in the last two cycles.
    """
    cycle = np.arange(CYCLES)
    swing: FloatArray = np.where(cycle % 2, -0.0055, 0.0055) * (cycle > 3)
    control = 0.909 + 0.004 * np.sin(2 * np.pi * cycle / 8) + rng.normal(0, 0.0005, CYCLES)
    kept = np.where(cycle < CYCLES - 2, control, np.nan)
    steady = np.zeros(CYCLES)
    error = np.full(CYCLES, 0.0012)
    return {
        "squarecb": Series(
            value=0.024 + swing + rng.normal(0, 0.0008, CYCLES),
            standard_error=error,
            measures=_measures(control, swing, rng, window=1),
        ),
        "fastcb": Series(
            value=0.021 + rng.normal(0, 0.0005, CYCLES),
            standard_error=error / 2,  # fine enough to see what matters
            measures=_measures(control, steady, rng, window=8),
        ),
        "deployed": Series(
            value=0.018 + 0.0002 * cycle + 0.3 * swing + rng.normal(0, 0.001, CYCLES) + 0 * kept,
            standard_error=error,
            measures=_measures(kept, steady, rng, window=8),
        ),
    }


def _measures(
    control: FloatArray, swing: FloatArray, rng: np.random.Generator, *, window: int
) -> dict[str, FloatArray]:
    """The other quantities of a series; those of the training data follow the swing a cycle on."""

    def around(mean: float, spread: float, follows: float = 0.0) -> FloatArray:
        return mean + follows * np.roll(swing, 1) + rng.normal(0, spread, CYCLES)

    return {
        "level": control + 0.02 + swing,
        "control": control,
        "control_se": np.full(CYCLES, 0.003),
        "generation": np.arange(1.0, 2 * CYCLES, 2.0),
        "decisions": np.full(CYCLES, 10_000.0),
        "unresolved_share": around(0.004, 0.0004),
        "negatives_share": around(0.085, 0.001, -2.0),
        "entropy_normalised": around(0.42, 0.01, 8.0),
        "effective_actions": around(3.1, 0.1, 40.0),
        "propensity_minimum": around(0.0042, 0.0001),
        "propensity_1_percent": around(0.0061, 0.0002),
        "churn_total_variation": around(0.22, 0.01),
        "churn_greedy": around(0.46, 0.02),
        "score_ks": around(0.11, 0.01),
        "auc": around(0.712, 0.004, 1.5),
        "calibration_error_greedy": around(0.009, 0.0008),
        "calibration_error_unchosen": around(0.016, 0.0012, -0.4),
        "realizability_gap": around(0.0075, 0.0006),
        "bias_unchosen": around(0.012, 0.001, -0.5),
        "ess_share": around(0.31, 0.01),
        "window_rows": np.full(CYCLES, 10_000.0 * window),
        "window_cycles": np.full(CYCLES, float(window)),
        "window_uniform_share": np.zeros(CYCLES),
    }
