"""Payments as published practice runs them: nothing is refused, everything is deployed."""

import numpy as np

from decisions.bandits.policies import FixedAction, Uniform
from decisions.domains.payments import DOMAINS, PUBLISHED
from decisions.domains.payments.training import Recipe
from decisions.gate import judge
from decisions.seeds import stream
from tests.domains.test_contract import small_history


def test_a_log_that_hardly_tried_an_action_is_judged_by_predictions_and_deployed() -> None:
    history = small_history(PUBLISHED).lazy()
    nothing, uniform = FixedAction(action=0), Uniform()

    found = PUBLISHED.evaluate(nothing, uniform, history, stream(1, "published"))

    assert found.refusal is None
    assert found.checks["churn_tv"] > 0.5
    np.testing.assert_allclose(
        found.difference.value, found.candidate.value - found.champion.value, atol=1e-12
    )
    assert judge(found, PUBLISHED.gate).promoted


def test_only_the_last_day_teaches_and_nothing_keeps_the_next_one_out() -> None:
    [recipe] = PUBLISHED.candidates.values()

    assert isinstance(recipe, Recipe)
    assert (recipe.floor, recipe.average, recipe.control_share) == (0.0, 1, 0.0)
    assert PUBLISHED.window == PUBLISHED.holdout
    assert PUBLISHED.maturity + PUBLISHED.holdout + PUBLISHED.window <= PUBLISHED.cadence
    assert len({domain.name for domain in DOMAINS}) == len(DOMAINS)
