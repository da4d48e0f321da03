"""Candidate against champion as judged without off-policy estimation: by a model's predictions."""

from typing import cast

import numpy as np
import polars as pl

from decisions.bandits.intervals import normal
from decisions.bandits.oracles import cross_fitted_predictions
from decisions.bandits.training_set import TrainingSet
from decisions.domains.payments.training import (
    context_of,
    fit_encoded,
    logged_actions,
    logged_eligible,
    settled,
)
from decisions.evaluation import Estimate, Evaluation
from decisions.policy import FinitePolicy, FloatArray, Policy, total_variation

FOLDS = 3


def evaluate_by_model(
    candidate: Policy, champion: Policy, history: pl.LazyFrame, rng: np.random.Generator
) -> Evaluation:
    """The paired difference of two policies in a reward model's predictions (direct method).

    The model of a block of held-out decisions was fitted on the other blocks. No weight corrects
    what it gets wrong, least of all where the log hardly tried an action, so the intervals promise
    nothing about the truth; nor is such a log ever refused. Checks: `churn_tv`.

    Raises:
        DataError: no held-out decision has a known outcome.
    """
    rows = settled(history)
    context, eligible = context_of(rows), logged_eligible(rows)
    data = TrainingSet(
        context=context, action=logged_actions(rows), reward=rows["reward"].to_numpy()
    )
    time = rows["decision_id"].to_numpy()
    q = cross_fitted_predictions(fit_encoded, data, eligible, rng, time=time, folds=FOLDS)
    new, old = (
        cast("FinitePolicy", policy).probabilities(context, eligible)
        for policy in (candidate, champion)
    )
    cards = context["card"].to_numpy()

    def predicted(probabilities: FloatArray) -> Estimate:
        terms = np.where(eligible, probabilities * q, 0.0).sum(axis=1)
        return normal(terms, clusters=cards)

    return Evaluation(
        candidate=predicted(new),
        champion=predicted(old),
        difference=predicted(new - old),
        estimates={"logged": normal(data.reward, clusters=cards)},
        checks={"churn_tv": total_variation(new, old)},
    )
