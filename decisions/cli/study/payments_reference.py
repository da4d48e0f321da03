"""Payments against known values: vectors, real logs, estimators, true null, delay, log rules.

Acceptance checks A1 to A5 and A11 to A13 of the design.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any

import numpy as np
import polars as pl

from decisions.bandits import exploration
from decisions.bandits.gamma import power
from decisions.bandits.policies import Uniform
from decisions.cli.bench.bandit import check_parity
from decisions.cli.report import Workbench
from decisions.cli.study import off_policy_reference, open_bandit_reference
from decisions.domains.payments import DOMAIN, WORLD
from decisions.domains.payments.experiment import Days, records, square_cb
from decisions.domains.payments.simulator import Environment
from decisions.domains.payments.tables import checked
from decisions.errors import DataError
from decisions.frames import decided, decision_id, decision_problems, unit_id
from decisions.policy import BoolArray, FloatArray
from decisions.seeds import RowKeys, stream

SEED = 30
CASES = 1_000
NULL_GENERATIONS = 8


def run(bench: Workbench) -> None:
    """All parts, the quick ones first."""
    golden(bench)
    vowpal_wabbit(bench)
    random_cases(bench)
    log_rules(bench)
    open_bandit_reference.checks(bench)
    true_null(bench)
    off_policy_reference.run(bench)


_SCORES = (0.95, 0.94, 0.90, 0.85)
_GOLDEN: dict[str, tuple[Callable[[FloatArray, BoolArray], FloatArray], tuple[float, ...]]] = {
    "SquareCB 100": (
        lambda f, e: exploration.inverse_gap_weighting(f, e, gamma=100.0),
        (0.617460, 0.2, 0.111111, 0.071429),
    ),
    "SquareCB 1000": (
        lambda f, e: exploration.inverse_gap_weighting(f, e, gamma=1000.0),
        (0.900438, 0.071429, 0.018519, 0.009615),
    ),
    "FastCB 100": (
        lambda f, e: exploration.fast_cb(f, e, gamma=100.0),
        (0.943816, 0.041667, 0.009615, 0.004902),
    ),
    "softmax 50": (
        lambda f, e: exploration.softmax(f, e, inverse_temperature=50.0),
        (0.589847, 0.357761, 0.048418, 0.003974),
    ),
    "epsilon-greedy 0.06": (
        lambda f, e: exploration.epsilon_greedy(f, e, epsilon=0.06),
        (0.955, 0.015, 0.015, 0.015),
    ),
}
_FIVE = (0.656667, 0.166667, 0.1, 0.066667, 0.01)


def golden(bench: Workbench) -> None:
    """A1: the vectors of section 2, with and without an ineligible fifth action."""
    four = np.array([_SCORES])
    five = np.array([[*_SCORES, 0.0]])
    all_four = np.ones((1, 4), dtype=np.bool_)
    barred = np.array([[True, True, True, True, False]])
    for name, (rule, wanted) in _GOLDEN.items():
        error = np.abs(rule(four, all_four)[0] - wanted).max()
        also = np.abs(rule(five, barred)[0] - (*wanted, 0.0)).max()
        worst = float(max(error, also))
        bench.check(f"A1 {name}, largest error", worst, "<= 1e-6", ok=worst <= 1e-6)
    everything = np.ones((1, 5), dtype=np.bool_)
    error = np.abs(exploration.inverse_gap_weighting(five, everything, gamma=100.0)[0] - _FIVE)
    worst = float(error.max())
    bench.check("A1 SquareCB 100, fifth action eligible", worst, "<= 1e-6", ok=worst <= 1e-6)


_COSTS, _LEARNED = (0.05, 0.10, 0.20), 601
_THEIRS = (0.909316, 0.065541, 0.025143)


def vowpal_wabbit(bench: Workbench) -> None:
    """A2: Vowpal Wabbit's SquareCB at its defaults: gamma 10 sqrt(n), as many actions for mu.

    Against the figures printed in the design, and against Vowpal Wabbit itself where installed.
    """
    mask = np.ones((1, len(_COSTS)), dtype=np.bool_)
    scores = 1 - np.array([_COSTS])
    p = exploration.inverse_gap_weighting(scores, mask, gamma=power(_LEARNED))[0]
    worst = float(np.abs(p - _THEIRS).max())
    bench.check(
        f"A2 SquareCB at costs of 0.05, 0.10 and 0.20 after {_LEARNED} examples, largest error",
        worst,
        f"{_THEIRS} to 1e-6",
        ok=worst <= 1e-6,
    )
    try:
        workspace: Any = import_module("vowpalwabbit").Workspace
    except ImportError:
        bench.check("A2 against Vowpal Wabbit itself", "not installed", "optional", ok=None)
    else:
        check_parity(bench, workspace, prefix="A2 ")


def random_cases(bench: Workbench) -> None:
    """A1: what must hold of inverse gap weighting for any predictions and eligible sets."""
    rng = stream(SEED, "payments-reference", "cases")
    mask = rng.random((CASES, 24)) < rng.random((CASES, 1))
    mask[np.arange(CASES), rng.integers(24, size=CASES)] = True
    scores = rng.random((CASES, 24))
    gamma = 10 ** rng.uniform(-1, 6, size=CASES)
    p = np.concatenate(
        [
            exploration.inverse_gap_weighting(scores[[i]], mask[[i]], gamma=float(gamma[i]))
            for i in range(CASES)
        ]
    )
    best, count = exploration.best_action(scores, mask), mask.sum(axis=1)
    order = np.argsort(np.where(mask, -scores, np.inf), axis=1)
    falling = np.diff(np.take_along_axis(p, order, axis=1), axis=1) <= 1e-15
    zero = exploration.inverse_gap_weighting(scores, mask, gamma=0.0)
    claims = {
        "rows sum to one": np.abs(p.sum(axis=1) - 1) <= 1e-12,
        "nothing is negative": (p >= 0).all(axis=1),
        "the best action has 1/K or more": p[np.arange(CASES), best] >= 1 / count - 1e-12,
        "probability falls with the gap": falling.all(axis=1),
        "ineligible actions have none": (p[~mask] == 0).all(keepdims=True),
        "gamma 0 is uniform": np.abs(zero - exploration.uniform(mask)).max(axis=1) <= 1e-12,
    }
    for claim, kept in claims.items():
        broken = int((~kept).sum())
        bench.check(f"A1 cases in which not: {claim}", broken, f"0 of {CASES}", ok=broken == 0)


def true_null(bench: Workbench) -> None:
    """A11: where no action changes anything, values must not move although policies do."""
    rows = bench.part("true-null", _null_records)
    values = np.array([record["value"] - record["value_control"] for record in rows])
    spread, deviation = float(np.ptp(values)), float(values.std(ddof=1))
    bench.check("A11 true null, spread of values", spread, "< 1e-6", ok=spread < 1e-6)
    bench.check(
        "A11 true null, standard deviation of values: a degenerate series, no oscillation",
        deviation,
        "< 1e-6",
        ok=deviation < 1e-6,
    )
    churn = float(np.mean([record["churn_greedy"] for record in rows[1:]]))
    bench.check(
        "A11 true null, churn of the best action in that series", churn, "> 0.5", ok=churn > 0.5
    )


def _null_records() -> list[dict[str, float]]:
    days = Days(Environment(seed=SEED, effects=False))
    return records(days, square_cb(1000.0), generations=NULL_GENERATIONS, seed=SEED)


def _sample_log() -> tuple[pl.DataFrame, datetime]:
    """A hundred decisions of the uniform baseline, and the time after them."""
    start = datetime(2026, 1, 1, tzinfo=UTC)
    day = (start - datetime(1970, 1, 1, tzinfo=UTC)).days
    attempts = WORLD.environment.arrivals(day, np.arange(100, dtype=np.int64), per_day=100)
    minute = int(start.timestamp()) // 60
    units = attempts.with_columns(
        unit_id=pl.Series([unit_id(minute, rank) for rank in range(100)], dtype=pl.Int64()),
        slot=pl.lit(0, pl.Int16()),
    )
    context = DOMAIN.observe(attempts.lazy()).collect()
    mask = DOMAIN.eligible(context)
    ids = units.select(decision_id(pl.col("unit_id"), pl.col("slot"))).to_series().to_numpy()
    now = start + timedelta(days=1)
    draw = Uniform().act(context, mask, RowKeys(SEED, ids))
    return decided(units, draw, mask, generation=0, now=now), now


def log_rules(bench: Workbench) -> None:
    """A13: each corruption of a log is rejected, by name, and the other rows are not."""
    log, now = _sample_log()
    sound = decision_problems(log, now=now).drop_nulls().len()
    bench.check("A13 problems found in a sound log", sound, "0", ok=sound == 0)
    several = log.with_row_index("row").filter(pl.col("eligible").list.len().is_between(2, 23))
    row = int(several["row"][0])
    barred = min(set(range(24)) - set(log["eligible"][row].to_list()))
    here = pl.int_range(pl.len()) == row

    def altered(column: str, value: pl.Expr) -> pl.DataFrame:
        return log.with_columns(pl.when(here).then(value).otherwise(pl.col(column)).alias(column))

    propensity, probabilities = pl.col("propensity"), pl.col("probabilities")
    elsewhere = pl.lit([float(barred)], pl.List(pl.Float64()))
    corruptions = {
        "propensity is not the probability of the action": altered("propensity", propensity / 2),
        "propensity is not above 0 and finite": altered("propensity", pl.lit(0.0)),
        "action is not eligible": altered("action", elsewhere),
        "probabilities do not sum to one": altered("probabilities", probabilities * 1.01),
    }
    for wanted, frame in corruptions.items():
        problems = decision_problems(frame, now=now)
        seen = f"{problems[row]}; {problems.drop_nulls().len()} rows"
        bench.check(f"A13 {wanted}", seen, "this problem, 1 row", ok=seen == f"{wanted}; 1 rows")
    _named_error(bench, "a column missing", lambda: decision_problems(log.drop("arm"), now=now))
    attempts = WORLD.environment.arrivals(0, np.arange(10, dtype=np.int64), per_day=10)
    own = attempts.drop("parent_id").with_columns(retry_of=pl.lit(None, pl.String()))
    naive = own.with_columns(pl.col("observed_at").dt.replace_time_zone(None))
    _named_error(bench, "a naive time", lambda: checked(naive, "attempts"))
    risky = own.with_columns(risk=pl.lit(float("nan")))
    _named_error(bench, "a score of NaN", lambda: checked(risky, "attempts"))


def _named_error(bench: Workbench, what: str, act: Callable[[], object]) -> None:
    try:
        act()
    except DataError as error:
        bench.check(f"A13 {what}", f"DataError: {error}"[:100], "a DataError", ok=True)
    else:
        bench.check(f"A13 {what}", "accepted", "a DataError", ok=False)
