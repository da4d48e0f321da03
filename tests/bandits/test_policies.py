"""Policies act with the probabilities they state."""

from functools import partial

import numpy as np
import polars as pl
import pytest

from decisions.bandits import policies
from decisions.bandits.exploration import best_action
from decisions.bandits.oracles import Ensemble, fit_bootstrap, fit_lightgbm
from decisions.bandits.policies import BanditPolicy
from decisions.errors import DataError, NoEligibleAction
from decisions.policy import choose, pick, total_variation
from decisions.seeds import RowKeys
from tests.bandits.logs import Logs, uniform_logs


@pytest.fixture(scope="module")
def logs() -> Logs:
    return uniform_logs(3000)


@pytest.fixture(scope="module")
def ensemble(logs: Logs) -> Ensemble:
    fit = partial(fit_lightgbm, features=logs.features)
    return fit_bootstrap(fit, logs.data, np.random.default_rng(0), models=3)


@pytest.fixture(scope="module")
def keys() -> RowKeys:
    return RowKeys(11, np.arange(3000, dtype=np.int64) * 64)


RULES = [
    policies.Greedy(),
    policies.EpsilonGreedy(0.1),
    policies.Softmax(20.0),
    policies.SquareCB(100.0),
    policies.FastCB(100.0),
    policies.Bagging(),
    policies.RegCBElimination(),
    policies.RegCBOptimistic(),
    policies.SquareCBElimination(100.0),
]


def every_policy(ensemble: Ensemble) -> list[BanditPolicy]:
    explore = policies.OraclePolicy(oracle=ensemble, rule=policies.SquareCB(100.0))
    split = policies.Split(
        explore=explore,
        explore_share=0.3,
        control=policies.FixedAction(action=0),
        control_share=0.1,
        cluster="card",
    )
    return [
        *(policies.OraclePolicy(oracle=ensemble, rule=rule) for rule in RULES),
        policies.Uniform(),
        policies.FixedAction(action=0),
        policies.Floor(policy=explore, floor=0.1),
        policies.Damped(policy=explore, previous=policies.Uniform(), share=0.4),
        split,
        policies.Floor(policy=split, floor=0.05),
    ]


@pytest.mark.parametrize("index", range(15))
def test_a_draw_states_the_probability_it_was_made_with(
    index: int, logs: Logs, ensemble: Ensemble, keys: RowKeys
) -> None:
    policy = every_policy(ensemble)[index]

    draw = policy.act(logs.data.context, logs.eligible, keys)
    probabilities = policy.probabilities(logs.data.context, logs.eligible)

    action = draw.action[:, 0].astype(int)
    assert draw.probabilities is not None
    np.testing.assert_array_equal(draw.probabilities, probabilities)
    np.testing.assert_array_equal(draw.propensity, pick(probabilities, action))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, atol=1e-12)
    assert logs.eligible[np.arange(3000), action].all()
    assert logs.eligible[np.arange(3000), draw.nominal[:, 0].astype(int)].all()
    assert (draw.propensity > 0).all()
    assert (draw.arm_propensity > 0).all()


@pytest.mark.parametrize("index", range(15))
def test_pieces_of_a_batch_in_any_order_get_the_same_bits(
    index: int, logs: Logs, ensemble: Ensemble, keys: RowKeys
) -> None:
    policy = every_policy(ensemble)[index]
    whole = policy.act(logs.data.context, logs.eligible, keys)

    order = np.random.default_rng(2).permutation(3000)
    for rows in (order[:1], order[1:8], order[8:]):
        part = policy.act(logs.data.context[rows], logs.eligible[rows], keys.take(rows))

        for name in ("action", "nominal", "propensity", "arm", "arm_propensity", "uniform"):
            np.testing.assert_array_equal(getattr(part, name), getattr(whole, name)[rows])
        assert part.probabilities is not None
        assert whole.probabilities is not None
        np.testing.assert_array_equal(part.probabilities, whole.probabilities[rows])


def test_the_nominal_action_is_the_greedy_one(
    logs: Logs, ensemble: Ensemble, keys: RowKeys
) -> None:
    policy = policies.OraclePolicy(oracle=ensemble, rule=policies.SquareCB(100.0))

    draw = policy.act(logs.data.context, logs.eligible, keys)

    best = best_action(ensemble.predict(logs.data.context, logs.eligible), logs.eligible)
    np.testing.assert_array_equal(draw.nominal[:, 0], best)
    greedy = policies.without_exploring(policy).act(logs.data.context, logs.eligible, keys)
    np.testing.assert_array_equal(greedy.action[:, 0], best)
    assert (greedy.arm == "exploit").all()


def test_the_logged_uniform_gives_the_action_again(
    logs: Logs, ensemble: Ensemble, keys: RowKeys
) -> None:
    policy = policies.OraclePolicy(oracle=ensemble, rule=policies.SquareCB(100.0))

    draw = policy.act(logs.data.context, logs.eligible, keys)

    assert draw.probabilities is not None
    np.testing.assert_array_equal(choose(draw.probabilities, draw.uniform), draw.action[:, 0])


def test_actions_fall_as_often_as_the_marginal_says(logs: Logs, ensemble: Ensemble) -> None:
    """One card a row, so that arms are drawn row by row; 4 standard errors."""
    policy = every_policy(ensemble)[13]
    n = 60_000
    row = np.zeros(n, dtype=np.int64)
    context = logs.data.context[row].with_columns(card=pl.Series(np.arange(n)))
    mask = np.repeat(logs.eligible[:1], n, axis=0)
    keys = RowKeys(3, np.arange(n, dtype=np.int64))

    draw = policy.act(context, mask, keys)

    assert draw.probabilities is not None
    p = draw.probabilities[0]
    seen = np.bincount(draw.action[:, 0].astype(int), minlength=8) / n
    np.testing.assert_array_less(np.abs(seen - p), 4 * np.sqrt(p * (1 - p) / n) + 1e-12)
    shares = [(draw.arm == arm).mean() for arm in ("control", "explore", "exploit")]
    np.testing.assert_allclose(shares, [0.1, 0.3, 0.6], atol=4 * np.sqrt(0.25 / n))


def test_the_marginal_is_the_mixture_of_the_arms(logs: Logs, ensemble: Ensemble) -> None:
    policy = every_policy(ensemble)[13]
    assert isinstance(policy, policies.Split)

    p = policy.probabilities(logs.data.context, logs.eligible)

    explore = policy.explore.probabilities(logs.data.context, logs.eligible)
    exploit = policies.OraclePolicy(oracle=ensemble, rule=policies.Greedy()).probabilities(
        logs.data.context, logs.eligible
    )
    control = np.eye(8)[np.zeros(3000, dtype=int)]
    np.testing.assert_allclose(p, 0.1 * control + 0.3 * explore + 0.6 * exploit, atol=1e-15)


@pytest.mark.parametrize("kind", [pl.Int64, pl.String])
def test_a_card_stays_in_one_arm(
    kind: type[pl.DataType], logs: Logs, ensemble: Ensemble, keys: RowKeys
) -> None:
    policy = every_policy(ensemble)[13]
    context = logs.data.context.with_columns(pl.col("card").cast(kind))

    first = policy.act(context, logs.eligible, keys)
    later = policy.act(context, logs.eligible, RowKeys(keys.seed, keys.rows + 10**9))

    arms = pl.DataFrame({"card": context["card"], "first": first.arm, "later": later.arm})
    assert arms.group_by("card").agg(pl.col("first", "later").n_unique())["first"].max() == 1
    assert (arms["first"] == arms["later"]).all()
    assert arms["first"].n_unique() == 3
    assert (first.uniform != later.uniform).all()


@pytest.mark.parametrize(
    ("cards", "message"),
    [
        (pl.Series("card", [1, None]), "1 nulls"),
        (pl.Series("card", [0.5, 1.0]), "Float64"),
        (pl.Series("card", [-1, 1]), "integers from 0"),
        (pl.Series("other", [1, 1]), "no column 'card'"),
    ],
)
def test_a_cluster_column_that_cannot_name_clusters_is_refused(
    cards: pl.Series, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        policies.cluster_ids(pl.DataFrame([cards]), "card")


def test_shares_must_be_shares() -> None:
    with pytest.raises(DataError, match="shares"):
        policies.Split(
            explore=policies.Uniform(),
            explore_share=0.8,
            control=policies.FixedAction(action=0),
            control_share=0.3,
            cluster="card",
        )


def test_a_fixed_action_that_is_not_eligible_is_refused(logs: Logs) -> None:
    mask = logs.eligible.copy()
    mask[7] = [False, True] * 4

    with pytest.raises(DataError, match=r"action 0 is not eligible in 1 rows, first \[7\]"):
        policies.FixedAction(action=0).probabilities(logs.data.context, mask)


def test_one_eligible_action_gets_probability_one_under_every_policy(
    logs: Logs, ensemble: Ensemble, keys: RowKeys
) -> None:
    mask = np.zeros_like(logs.eligible)
    mask[:, 0] = True

    for policy in every_policy(ensemble):
        draw = policy.act(logs.data.context, mask, keys)

        np.testing.assert_allclose(draw.propensity, 1.0, atol=1e-15)
        assert (draw.action == 0).all()


def test_a_row_with_nothing_eligible_is_an_error(
    logs: Logs, ensemble: Ensemble, keys: RowKeys
) -> None:
    mask = logs.eligible.copy()
    mask[5] = False

    for policy in every_policy(ensemble):
        with pytest.raises((NoEligibleAction, DataError)):
            policy.act(logs.data.context, mask, keys)


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule.models > 1])
def test_a_rule_that_reads_differences_of_models_is_refused_a_single_one(
    rule: policies.Rule, ensemble: Ensemble
) -> None:
    alone = ensemble.members[0]

    for oracle in (alone, Ensemble(members=(alone,))):
        with pytest.raises(DataError, match=r"models differ, and there is 1; wanted an Ensemble"):
            policies.OraclePolicy(oracle=oracle, rule=rule)


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule.models > 1])
def test_with_an_ensemble_such_a_rule_explores_otherwise_than_the_best_action(
    rule: policies.Rule, ensemble: Ensemble, logs: Logs
) -> None:
    policy = policies.OraclePolicy(oracle=ensemble, rule=rule)
    best = policies.OraclePolicy(oracle=ensemble, rule=policies.Greedy())

    given, greedy = (
        each.probabilities(logs.data.context, logs.eligible) for each in (policy, best)
    )

    assert total_variation(given, greedy) > 0.05
