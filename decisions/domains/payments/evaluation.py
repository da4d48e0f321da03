"""Candidate against champion on held-out payments, with every check of the gate."""

from dataclasses import replace
from datetime import timedelta
from typing import cast

import numpy as np
import polars as pl

from decisions.bandits.exploration import uniform
from decisions.bandits.off_policy import LoggedDecisions, evaluate_pair
from decisions.bandits.oracles import cross_fitted_predictions
from decisions.bandits.policies import BanditPolicy
from decisions.bandits.sequential import paired_evidence
from decisions.bandits.training_set import TrainingSet
from decisions.domains.payments.actions import COUNT, DO_NOTHING
from decisions.domains.payments.training import (
    context_of,
    fit_encoded,
    is_trained,
    logged_actions,
    logged_eligible,
    settled,
)
from decisions.evaluation import Evaluation, unchanged
from decisions.gate import ErrorBudget, GateRule
from decisions.policy import BoolArray, FinitePolicy, FloatArray, Policy

FOLDS = 3
SAME = 1e-9  # below which two policies' probabilities are one and the same
_FEW = 300  # rows below which no reward model is fitted, and DR gives way to SNIPS

GATE = GateRule(
    margin=-0.001,
    limits={
        "ess_share": (0.05, 1.0),
        "support_violation": (0.0, 0.0),
        "churn_from_trained": (0.0, 0.3),
        "worst_segment_loss": (-float("inf"), 0.005),
    },
    budget=ErrorBudget(error=0.05, looks=365, period=timedelta(days=365), challengers=2),
)
"""Section 1.2 of the design: lower bound of the paired difference above -0.1 pp, and limits.

In 95 of 100 years of daily looks no candidate is promoted that is worse than the champion by more
than that: docs/gate.md says why, `decisions study evidence` shows it, and what it costs.
"""


def logged_probabilities(rows: pl.DataFrame, eligible: BoolArray) -> FloatArray:
    """The logging policies' own marginal probabilities, (n, 24), 0 where not eligible."""
    result = np.zeros((rows.height, COUNT))
    result[eligible] = rows["probabilities"].explode(empty_as_null=False).to_numpy()
    return result


def logged_decisions(rows: pl.DataFrame, rng: np.random.Generator) -> LoggedDecisions:
    """What estimators read of settled history rows, with cross-fitted rewards.

    The reward model of a block of time was fitted on the other blocks. Cards are the clusters;
    merchants, issuers and the number of eligible actions are the segments in which a candidate
    must not lose; in each of them, and of the attempt numbers, the mean weight must be one.
    """
    context, eligible = context_of(rows), logged_eligible(rows)
    action, reward = logged_actions(rows), rows["reward"].to_numpy()
    q = None
    if rows.height >= _FEW:
        data = TrainingSet(context=context, action=action, reward=reward)
        time = rows["decision_id"].to_numpy()
        q = cross_fitted_predictions(fit_encoded, data, eligible, rng, time=time, folds=FOLDS)
    segments = {
        "merchant": context["merchant"].to_numpy(),
        "issuer": context["issuer"].to_numpy(),
        "eligible actions": eligible.sum(axis=1),
    }
    return LoggedDecisions(
        eligible=eligible,
        action=action,
        propensity=rows["propensity"].to_numpy(),
        reward=reward,
        q=q,
        logged=logged_probabilities(rows, eligible),
        clusters=context["card"].to_numpy(),
        groups=segments | {"attempt": context["attempt_no"].to_numpy()},
        segments=segments,
    )


def evaluate(
    candidate: Policy, champion: Policy, history: pl.LazyFrame, rng: np.random.Generator
) -> Evaluation:
    """The paired difference of two policies on held-out decisions, doubly robust.

    Adds to the checks of `evaluate_pair`: `unresolved_share`, of the held-out decisions without
    an outcome (left out: the maturity cut), and `churn_from_trained`, the total variation from
    the champion where that one was trained. It is 0 against the untrained baseline: leaving
    uniform exploration is what generation 1 is for, so that override is given beforehand.

    `evidence` is what betting on the differences has won against the margin of GATE. Rewards are
    held against what the candidate itself predicts, which it learned before the first of these
    decisions, and rows of one `arm_key`, drawn together, are one bet (docs/gate.md).

    A candidate with the champion's own probabilities is unchanged, before anything is estimated.

    Raises:
        DataError: no held-out decision has a known outcome.
    """
    rows = settled(history)
    unresolved = 1 - rows.height / history.select(pl.len()).collect().item()
    context, eligible = context_of(rows), logged_eligible(rows)
    own = cast("BanditPolicy", candidate).assess(context, eligible)
    p_new = own.probabilities
    p_old = cast("FinitePolicy", champion).probabilities(context, eligible)
    if np.abs(p_new - p_old).max() <= SAME:
        return unchanged(
            f"it decides as the champion does: no probability of {rows.height} held-out decisions"
            f" differs by more than {SAME:g}",
            n=rows.height,
        )
    log = logged_decisions(rows, rng)
    nothing = np.zeros_like(p_new)
    nothing[:, DO_NOTHING] = 1.0
    found = evaluate_pair(
        log,
        candidate=p_new,
        champion=p_old,
        baselines={"do nothing": nothing, "uniform": uniform(log.eligible)},
    )
    checks = {
        **found.checks,
        "unresolved_share": unresolved,
        "churn_from_trained": found.checks["churn_tv"] if is_trained(champion) else 0.0,
    }
    evidence = paired_evidence(
        log,
        candidate=p_new,
        champion=p_old,
        margin=GATE.margin,
        predicted=own.scores,
        together=context["arm_key"].to_numpy(),
    )
    return replace(found, checks=checks, evidence=evidence)
