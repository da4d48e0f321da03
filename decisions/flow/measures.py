"""What one cycle of a domain shows: its traffic as logged, and policies on fixed contexts.

Every quantity is a number by the name under which it is stored. What cannot be measured is left
out: there is no name for it.
"""

from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import cast

import numpy as np
import polars as pl
from scipy.stats import rankdata

from decisions.actions import ActionSet
from decisions.diagnostics.churn import greedy_churn, total_variation
from decisions.diagnostics.drift import exploration, score_distance
from decisions.diagnostics.realizability import from_logs
from decisions.domain import Domain
from decisions.evaluation import Estimate, Evaluation
from decisions.policy import BoolArray, Draw, FloatArray, IntArray, Policy
from decisions.seeds import RowKeys, stream

CONTROL = "control"  # the arm of the traffic that takes drift out of a series
DO_NOTHING = "do nothing"  # the estimate that does so where a candidate is evaluated
REFERENCE_ROWS = 2_000
JUDGED_ROWS = 2_000  # of the newest logged rows, on which a candidate's predictions are held
_REFERENCE_SEED = 0  # fixed: the reference batch is the same in every cycle

Measures = dict[str, float]


@dataclass(frozen=True, eq=False)
class Batch:
    """Contexts with their eligible actions, (n, k)."""

    context: pl.DataFrame
    eligible: BoolArray


@dataclass(frozen=True, eq=False)
class Seen:
    """What a policy makes of a batch: probabilities (n, k), propensities (n,), scores (n, k)."""

    eligible: BoolArray  # (n, k), of the batch
    probabilities: FloatArray
    propensity: FloatArray
    scores: FloatArray | None


def reference_batch(domain: Domain) -> Batch:
    """Contexts that are the same in every cycle, from the domain's own `sample`."""
    units = domain.sample(REFERENCE_ROWS, stream(_REFERENCE_SEED, domain.name, "reference"))
    return batch_of(domain, units)


def batch_of(domain: Domain, units: pl.DataFrame) -> Batch:
    """The context and eligible actions of rows that hold a domain's unit columns."""
    context = domain.observe(units.select(list(domain.units)).lazy()).collect()
    return Batch(context, domain.eligible(context))


def act_on(domain: Domain, policy: Policy, batch: Batch) -> Seen | None:
    """What a policy of finitely many actions makes of a batch; None for another.

    None as well where its probabilities are not finite; scores that are not are left out.
    """
    if not isinstance(domain.actions, ActionSet) or not batch.context.height:
        return None
    keys = RowKeys(_REFERENCE_SEED, np.arange(batch.context.height))
    draw: Draw = policy.act(batch.context, batch.eligible, keys)
    if draw.probabilities is None or not np.isfinite(draw.probabilities).all():
        return None
    finite = draw.scores is not None and np.isfinite(draw.scores[batch.eligible]).all()
    scores = draw.scores if finite else None
    return Seen(batch.eligible, draw.probabilities, draw.propensity, scores)


def traffic(domain: Domain, rows: pl.DataFrame) -> Measures:
    """What a cycle's traffic earned against its control slice, and how widely it tried.

    `decisions` taken and the `unresolved_share` of them without a known outcome; `level`, the mean
    reward of the others; `control`, that of the control slice; `over_control`, their difference;
    `value`, the same, or the level itself where there is no control. `_se` are standard errors,
    clustered by the domain's `cluster`. `generation` decided most of it. The rest as in `explored`
    and `predicted`.
    """
    found: Measures = {"decisions": float(rows.height)}
    if rows.is_empty():
        return found
    settled = rows.filter(pl.col("reward").is_finite())
    found["unresolved_share"] = 1 - settled.height / rows.height
    acting = rows["generation"].value_counts().sort("count", "generation", descending=True)
    found["generation"] = float(acting["generation"][0])
    found |= _earned(domain, settled)
    log = logged(domain, rows)
    if log is not None:
        eligible, probabilities, kept = log
        found |= explored(probabilities, eligible, kept["propensity"].to_numpy())
    scored = logged(domain, settled.filter(pl.col("scores").list.len() > 0), column="scores")
    if scored is not None:
        eligible, scores, kept = scored
        found |= predicted(scores, eligible, kept)
    return _finite(found)


def _earned(domain: Domain, settled: pl.DataFrame) -> Measures:
    reward = settled["reward"].to_numpy()
    if not len(reward):
        return {}
    cluster = clusters(domain, settled)
    control = settled["arm"].to_numpy() == CONTROL
    level = float(reward.mean())
    share = (reward - level) / len(reward)
    found = {"level": level, "level_se": error_of(share, cluster)}
    if not control.any():
        return found | {"value": level, "value_se": found["level_se"]}
    base = float(reward[control].mean())
    base_share = np.where(control, reward - base, 0.0) / control.sum()
    over = error_of(share - base_share, cluster) if control.sum() > 1 else float("nan")
    return found | {
        "control": base,
        "control_se": error_of(base_share[control], cluster[control]),
        "over_control": level - base,
        "over_control_se": over,
        "value": level - base,
        "value_se": over,
    }


def clusters(domain: Domain, rows: pl.DataFrame) -> IntArray:
    """A number for each row (n,), the same for rows of one of the domain's clusters."""
    if domain.cluster is None:
        return np.arange(rows.height)
    context = domain.observe(rows.select(list(domain.units)).lazy()).collect()
    return context[domain.cluster].rank("dense").cast(pl.Int64).to_numpy() - 1


def error_of(shares: FloatArray, cluster: IntArray) -> float:
    """Standard error of a mean from its rows' `shares` in it (n,), summed by `cluster` (n,).

    Source: Liang and Zeger (1986), the cluster-robust variance, with the factor g / (g - 1).
    """
    sums = np.bincount(np.unique(cluster, return_inverse=True)[1], weights=shares)
    g = len(sums)
    return float(np.sqrt(g / (g - 1) * (sums**2).sum())) if g > 1 else float("nan")


def logged(
    domain: Domain, rows: pl.DataFrame, *, column: str = "probabilities"
) -> tuple[BoolArray, FloatArray, pl.DataFrame] | None:
    """Rows whose log holds a list aligned with `eligible`: what could be, the list, (n, k)."""
    if not isinstance(domain.actions, ActionSet):
        return None
    kept = rows.filter(
        pl.col(column).list.len() == pl.col("eligible").list.len(),
        pl.col("eligible").list.len() > 0,
    )
    if kept.is_empty():
        return None
    sizes = kept["eligible"].list.len().to_numpy()
    row = np.repeat(np.arange(kept.height), sizes)
    at = kept["eligible"].explode(empty_as_null=False).to_numpy()
    shape = (kept.height, len(domain.actions.names))
    eligible, values = np.zeros(shape, dtype=np.bool_), np.zeros(shape)
    eligible[row, at] = True
    values[row, at] = kept[column].explode(empty_as_null=False).to_numpy()
    return eligible, values, kept


def explored(probabilities: FloatArray, eligible: BoolArray, propensity: FloatArray) -> Measures:
    """The fields of `drift.Exploration`."""
    return asdict(exploration(probabilities, eligible, propensity))


def predicted(scores: FloatArray, eligible: BoolArray, settled: pl.DataFrame) -> Measures:
    """How right predictions (n, k) were about logged rows (n,) with known outcomes.

    `auc` of the score of the logged action, for rewards of 0 or 1;
    `calibration_error_greedy` and `_unchosen`, `realizability_gap` and `bias_unchosen` by inverse
    propensities (`realizability.from_logs`).
    """
    action = settled["action"].list.first().cast(pl.Int64).to_numpy()
    reward = settled["reward"].to_numpy()
    propensity = settled["propensity"].to_numpy()
    rows = np.arange(len(action))
    known = eligible[rows, action] & (propensity <= 1)
    if not known.any() or not np.isfinite(scores[eligible]).all():
        return {}
    found = from_logs(
        scores[known],
        eligible[known],
        action=action[known],
        reward=reward[known],
        propensity=propensity[known],
    )
    return _finite(
        {
            "auc": _area(scores[rows, action][known], reward[known]),
            "calibration_error_greedy": found.error_greedy,
            "calibration_error_unchosen": found.error_unchosen,
            "realizability_gap": found.gap,
            "bias_unchosen": found.bias_unchosen,
        }
    )


def _area(score: FloatArray, reward: FloatArray) -> float:
    """Area under the ROC curve: how often a success outscores a failure, ties counting half."""
    success = reward == 1
    wins, losses = int(success.sum()), int((reward == 0).sum())
    if not wins or not losses or wins + losses < len(reward):
        return float("nan")
    ranks = rankdata(score)
    return float((ranks[success].sum() - wins * (wins + 1) / 2) / (wins * losses))


def moved(now: Seen | None, before: Seen | None) -> Measures:
    """How far a policy went from the one before it, on the reference batch.

    `churn_total_variation`, `churn_greedy` of their probabilities; `score_ks`, the
    Kolmogorov-Smirnov distance of their predicted scores over eligible actions.
    """
    if now is None or before is None:
        return {}
    found = {
        "churn_total_variation": total_variation(now.probabilities, before.probabilities),
        "churn_greedy": greedy_churn(now.probabilities, before.probabilities),
    }
    if now.scores is not None and before.scores is not None:
        found["score_ks"] = score_distance(
            before.scores[before.eligible], now.scores[now.eligible]
        )
    return found


def estimated(evaluation: Evaluation) -> Measures:
    """A candidate's value by the held-out logs: minus doing nothing, else minus its champion.

    `value` and `value_se`; `level`, its own estimate; `control`, that of doing nothing; the
    `ess_share` of the weights. Of a refused evaluation, and of one that found nothing changed,
    only what was counted. The two estimates share their rows, which `value_se` does not use: it is
    somewhat too large.
    """
    own, base = evaluation.candidate, evaluation.estimates.get(DO_NOTHING)
    found = {"decisions": float(own.n)} | (
        {"ess_share": evaluation.checks["ess_share"]} if "ess_share" in evaluation.checks else {}
    )
    if evaluation.refusal is not None or evaluation.unchanged is not None:
        return _finite(found)
    found |= {"level": own.value, "level_se": standard_error(own)}
    if base is None:
        paired = evaluation.difference
        found |= {"value": paired.value, "value_se": standard_error(paired)}
    else:
        found |= {
            "control": base.value,
            "control_se": standard_error(base),
            "value": own.value - base.value,
            "value_se": float(np.hypot(standard_error(own), standard_error(base))),
        }
    return _finite(found)


def standard_error(estimate: Estimate) -> float:
    """That of the normal interval with the estimate's width and level."""
    return (estimate.upper - estimate.lower) / (2 * NormalDist().inv_cdf((1 + estimate.level) / 2))


def _finite(found: Measures) -> Measures:
    return {name: float(value) for name, value in found.items() if np.isfinite(value)}


def window(details: dict[str, object], rows: int) -> Measures:
    """Whose decisions trained a generation, from what its training noted.

    `window_rows`; the `window_cycles` they were decided in; `window_uniform_share`, of them
    decided by the baseline; `negatives_share`, failures among those with a known outcome.
    """
    found: Measures = {"window_rows": float(rows)}
    for name, key in (
        ("window_cycles", "cycles"),
        ("negatives_share", "negatives_share"),
        ("unresolved_share", "unresolved_share"),
    ):
        if isinstance(details.get(key), int | float):
            found[name] = float(cast("float", details[key]))
    logged = details.get("generations")
    if isinstance(logged, dict) and rows:
        by_baseline = cast("dict[str, int]", logged).get("0", 0)
        found["window_uniform_share"] = by_baseline / rows
    return _finite(found)
