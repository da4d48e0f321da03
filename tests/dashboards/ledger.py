"""A ledger as three weeks leave it, for pages: written by the spine and the store, never by SQL.

The last days of payments were lived, with a small simulator and small trees: those decisions
replay. Earlier evaluations, and what is measured over the cycles, are made up, so that each
verdict has something to show. The other domains hold one awkward case each.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import isfinite, nan
from typing import Any

import numpy as np
import polars as pl

from decisions import flow
from decisions.bandits.oracles import LightGBMConfig
from decisions.bandits.policies import FastCB, SquareCB
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
from decisions.store.records import DIAGNOSIS, MEASUREMENT, Kind, prepare, write
from tests.dashboards.samples import DAY, START, begun, estimate

CYCLES = 16
MADE_UP = 10  # of them are made up; the last ones are lived
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


@dataclass(frozen=True, kw_only=True)
class Series:
    """What was measured of one series, a value a cycle, and what was diagnosed in the end."""

    name: str
    value: FloatArray
    standard_error: float
    measures: Mapping[str, FloatArray]
    verdict: str
    explanation: str
    action: str
    reasons: Sequence[str]


def lived(db: Database) -> None:
    """Fills an empty, migrated database; about ten seconds."""
    _payments(db)
    for series in _series(np.random.default_rng(SEED)):
        measured(db, "payments", series, first=FIRST)
    _open_bandit(db)
    _lotsizing(db)
    begun(db, "fishery")
    _navigation(db)
    _units_alone(db)


def measured(db: Database, domain: str, series: Series, *, first: datetime) -> None:
    """Stores a series cycle by cycle; its verdict is reached over suspicion from the 12th on."""
    for cycle in range(len(series.value)):
        cutoff = first + cycle * DAY
        values = {name: float(column[cycle]) for name, column in series.measures.items()}
        value = float(series.value[cycle])
        values |= {"value": value, "value_se": series.standard_error if isfinite(value) else nan}
        rows = [
            {"series": series.name, "name": name, "value": value}
            for name, value in sorted(values.items())
            if isfinite(value)
        ]
        _store(db, domain, MEASUREMENT, cutoff, rows, batch=f"{cutoff.isoformat()} {series.name}")
        _store(
            db,
            domain,
            DIAGNOSIS,
            cutoff,
            [_diagnosis(series, cycle + 1)],
            batch=f"{cutoff.isoformat()} {series.name}",
        )


def _diagnosis(series: Series, cycles: int) -> dict[str, Any]:
    early = {
        "verdict": "inconclusive",
        "explanation": f"{cycles} cycles are too few to tell a swing from chance.",
        "action": "Wait for eight cycles.",
        "reasons": json.dumps([f"{cycles} of 8 cycles"]),
    }
    final = {
        "verdict": series.verdict,
        "explanation": series.explanation,
        "action": series.action,
        "reasons": json.dumps(list(series.reasons)),
    }
    between = final | ({"verdict": "suspect"} if series.verdict == "oscillating" else {})
    told = early if cycles < 8 else between if cycles < 12 else final
    found = statistics(series.value[:cycles], series.standard_error)
    return {"series": series.name, **told, "statistics": json.dumps(found)}


def statistics(value: FloatArray, standard_error: float) -> dict[str, Any]:
    """The statistics of a series in the stored form; null where it is too short."""
    value = value[np.isfinite(value)]
    n = len(value)
    centred = value - value.mean()
    power = float(centred @ centred)
    lags = [] if power < 1e-20 or n < 8 else range(1, n // 2)
    bound = 1.64 / n**0.5
    correlation = [float(centred[lag:] @ centred[:-lag]) / power for lag in lags]
    shares = [] if power < 1e-20 or n < 8 else np.abs(np.fft.rfft(centred)[1:]) ** 2
    spectrum = [
        [n / (k + 1), float(share) / float(np.sum(shares))] for k, share in enumerate(shares)
    ]
    strongest = max(spectrum, key=lambda pair: pair[1], default=[None, None])
    step = np.abs(np.diff(value))
    return {
        "generations": n,
        "swing": float(np.ptp(value)),
        "sd": float(value.std(ddof=1)) if n > 1 else None,
        "rms_se": standard_error,
        "excess_variance": float(value.var(ddof=1) - standard_error**2) if n > 1 else None,
        "flip_rate": float(np.mean(np.diff(np.sign(np.diff(value))) != 0)) if n > 2 else None,
        "significant_flips": int(np.sum(step > 2.77 * standard_error)),
        "r1": correlation[0] if correlation else None,
        "r1_null_low": -1 / n - bound if correlation else None,
        "r1_null_high": -1 / n + bound if correlation else None,
        "p_r1": (0.0005 if correlation[0] < -bound else 0.4) if correlation else None,
        "p_holm": (0.001 if correlation[0] < -bound else 0.8) if correlation else None,
        "runs_p": None,
        "nyquist_share": spectrum[-1][1] if spectrum else None,
        "nyquist_p": None,
        "period": strongest[0],
        "period_share": strongest[1],
        "spectrum": spectrum,
        "autocorrelation": [
            [lag, r, -1 / n - bound, -1 / n + bound]
            for lag, r in zip(lags, correlation, strict=True)
        ],
        "trend": float(np.polyfit(np.arange(n), value, 1)[0]) if n > 2 else None,
        "mechanism": [["negatives_share", -0.81, n - 1], ["entropy_normalised", 0.62, n - 1]]
        if n >= 8
        else [],
        "class_slope": None,
        "class_correlation": None,
    }


def _store(
    db: Database,
    domain: str,
    kind: Kind,
    cutoff: datetime,
    rows: Sequence[Mapping[str, Any]],
    *,
    batch: str,
) -> None:
    whole = [{"cutoff": cutoff, "measured_at": cutoff, **row} for row in rows]
    frame = pl.DataFrame(whole, schema=kind.schema, orient="row")
    with db.transaction() as connection:
        write(connection, prepare(kind, domain, frame), batch=batch, now=cutoff)


def _payments(db: Database) -> None:
    """Ten cycles made up, six lived through the spine, then a promotion by a person."""
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
    """One generation whose evaluation was refused, and nothing measured over cycles."""
    begun(db, "open_bandit")
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
    """One generation, too unsure to be promoted; one cycle, so nothing can be diagnosed."""
    begun(db, "lotsizing")
    now = START + DAY
    [number] = _planned(db, "lotsizing", ["pdppo"], now)
    unsure = Evaluation(
        candidate=estimate(0.52, 0.08),
        champion=estimate(0.51, 0.08),
        difference=estimate(0.01, 0.05),
    )
    generations.record_evaluation(db, "lotsizing", number, 0, unsure, now=now)
    generations.record_verdict(db, "lotsizing", number, judge(unsure, GateRule()), now=now)
    one = Series(
        name="pdppo",
        value=np.array([0.01]),
        standard_error=0.025,
        measures={},
        verdict="inconclusive",
        explanation="",
        action="",
        reasons=[],
    )
    measured(db, "lotsizing", one, first=now)


def _navigation(db: Database) -> None:
    """A value that never changes, and no control slice."""
    begun(db, "navigation")
    constant = Series(
        name="ppo",
        value=np.full(12, 0.8),
        standard_error=0.0,
        measures={"level": np.full(12, 0.8), "decisions": np.full(12, 500.0)},
        verdict="degenerate",
        explanation="The value has not changed in 12 cycles.",
        action="Check that the environment rewards anything the policy can change.",
        reasons=["the value is the same in every cycle", "no control slice"],
    )
    measured(db, "navigation", constant, first=START + DAY)


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


def _series(rng: np.random.Generator) -> list[Series]:
    """Payments: one series swings with period two, one is steady, the whole traffic drifts."""
    cycle = np.arange(CYCLES)
    swing: FloatArray = np.where(cycle % 2, -0.0055, 0.0055)
    control = 0.909 + 0.004 * np.sin(2 * np.pi * cycle / 8) + rng.normal(0, 0.0005, CYCLES)
    return [
        Series(
            name="squarecb",
            value=0.024 + swing + rng.normal(0, 0.0008, CYCLES),
            standard_error=0.0012,
            measures=_measures(control, swing, rng, window=1),
            verdict="oscillating",
            explanation="The value of a new model swings up and down from one cycle to the next:"
            " each is trained on the rows of one cycle, which the model before it chose.",
            action="Keep the rows of at least four cycles for training, or average the last three"
            " models.",
            reasons=[
                "lag-1 autocorrelation is below what a shuffled series shows (p = 0.0005)",
                "the swing is larger than the standard errors explain",
            ],
        ),
        Series(
            name="fastcb",
            value=0.021 + rng.normal(0, 0.001, CYCLES),
            standard_error=0.0012,
            measures=_measures(control, np.zeros(CYCLES), rng, window=8),
            verdict="stable",
            explanation="The value moves no more than its standard errors explain.",
            action="Nothing to do.",
            reasons=["the lag-1 autocorrelation lies inside its null"],
        ),
        Series(
            name="deployed",
            value=np.where(
                cycle < CYCLES - 2, 0.012 + 0.0004 * cycle + rng.normal(0, 0.001, CYCLES), np.nan
            ),
            standard_error=0.0015,
            measures=_measures(
                np.where(cycle < CYCLES - 2, control, np.nan), np.zeros(CYCLES), rng, window=8
            ),
            verdict="suspect",
            explanation="The value changed by more than its standard errors explain, without a"
            " period.",
            action="Look at the last two cycles: their control slice is missing.",
            reasons=["no control slice in the last 2 of 16 cycles"],
        ),
    ]


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
