from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import cast

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decisions.bandits.exploration import uniform
from decisions.bandits.oracles import Ensemble, LightGBMConfig
from decisions.bandits.policies import Bagging, Floor, OraclePolicy, Split, SquareCB, Uniform
from decisions.domains.payments import DOMAIN, WORLD
from decisions.domains.payments.evaluation import evaluate
from decisions.domains.payments.features import BLOCKS, RATES, fit_encoder
from decisions.domains.payments.training import (
    Recipe,
    StabilisedRecipe,
    context_of,
    logged_eligible,
    newest_oracle,
    stabilised_part,
)
from decisions.domains.payments.world import Retries
from decisions.errors import DataError
from decisions.frames import DECISIONS, decided, decision_id, decision_problems, unit_id
from decisions.gate import judge
from decisions.policy import (
    BoolArray,
    FinitePolicy,
    FloatArray,
    Policy,
    pick,
    total_variation,
)
from decisions.seeds import RowKeys, stream

START = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
SMALL = Recipe(rule=SquareCB(300.0), explore_share=0.5, oracle=LightGBMConfig(trees=10))


def history_of(policy: Policy, n: int, *, day: int = 0) -> pl.DataFrame:
    """Matured history of `n` decisions of one policy, on one day."""
    start = START + day * DAY
    index = (start - datetime(1970, 1, 1, tzinfo=UTC)).days
    arrivals = WORLD.environment.arrivals(index, np.arange(n, dtype=np.int64), per_day=n)
    minute = int(start.timestamp()) // 60
    ids = pl.Series([unit_id(minute, rank) for rank in range(n)], dtype=pl.Int64())
    units = arrivals.with_columns(unit_id=ids, slot=pl.lit(0, pl.Int16()))
    context = DOMAIN.observe(units.lazy()).collect()
    eligible = DOMAIN.eligible(context)
    rows = units.select(decision_id(pl.col("unit_id"), pl.col("slot"))).to_series().to_numpy()
    now = start + DAY
    draw = policy.act(context, eligible, RowKeys(1, rows))
    made = decided(units, draw, eligible, generation=0, now=now)
    assert decision_problems(made, now=now).null_count() == n
    joined = made.drop("parent_id").join(units.drop("slot"), on="unit_id", validate="1:1")
    outcomes = WORLD.outcomes(joined, now + 30 * DAY).rename({"observed_at": "reward_at"})
    return joined.join(outcomes, on="decision_id", how="left", validate="1:1")


def chances(policy: Policy, context: pl.DataFrame, eligible: BoolArray) -> FloatArray:
    return cast("FinitePolicy", policy).probabilities(context, eligible)


@pytest.fixture(scope="module")
def uniform_history() -> pl.DataFrame:
    return history_of(DOMAIN.baseline, 4_000)


@pytest.fixture(scope="module")
def trained(uniform_history: pl.DataFrame) -> Policy:
    return SMALL(uniform_history.lazy(), [], stream(1, "train"))


CONTEXT = context_of(
    WORLD.environment.arrivals(0, np.arange(60, dtype=np.int64), per_day=60).select(
        pl.exclude("observed_at")
    )
)


@given(
    rewards=st.lists(st.sampled_from([0.0, 1.0]), min_size=60, max_size=60),
    row=st.integers(0, 59),
    data=st.data(),
)
@settings(max_examples=40, deadline=None)
def test_no_row_s_encoding_depends_on_rewards_of_its_own_or_a_later_stretch_of_time(
    rewards: list[float], row: int, data: st.DataObject
) -> None:
    first = row * BLOCKS // 60 * 60 // BLOCKS  # of the row's stretch
    later = data.draw(st.permutations(range(first, 60)))  # the window's overall rate stays
    seen = slice(first, first + 60 // BLOCKS)
    given_rewards = np.array(rewards)
    moved = np.concatenate([given_rewards[:first], given_rewards[later]])

    _, before = fit_encoder(CONTEXT, given_rewards)
    _, after = fit_encoder(CONTEXT, moved)

    assert before.select(RATES)[seen].equals(after.select(RATES)[seen])


def test_noise_encoded_time_lagged_predicts_nothing_even_within_issuers() -> None:
    """Each reward is compared with the mean of its issuer's later ones.

    That comparison is fair to rates of the past only: rates that hold later rewards, as those
    from all other stretches do, fall where the difference rises.
    """
    n = 10_000
    context = CONTEXT[np.arange(n) % 60].with_columns(
        issuer=pl.Series([f"i{i}" for i in stream(3, "issuers").integers(60, size=n)])
    )
    reward = (stream(3, "noise").random(n) < 0.5).astype(np.float64)

    encoder, lagged = fit_encoder(context, reward)

    whole = encoder.encode(context)["issuer_rate"].to_numpy()
    assert np.corrcoef(whole, reward)[0, 1] > 0.05  # what its own reward would have added
    rows = pl.DataFrame({"issuer": context["issuer"], "reward": reward, "rate": 0.0})
    after = pl.col("reward").reverse().cum_sum().reverse() - pl.col("reward")
    left = pl.len() - 1 - pl.int_range(pl.len())
    surprise = rows.select(
        pl.when(left > 0)
        .then((pl.col("reward") - after / left) * (left / (left + 1)).sqrt())
        .otherwise(0.0)
        .over("issuer")
    ).to_series()
    centred = lagged["issuer_rate"].to_numpy() - 0.5
    apart = np.corrcoef(centred, surprise.to_numpy())[0, 1]
    assert abs(apart) <= 4 / n**0.5


def test_a_merchant_never_seen_gets_the_overall_rate_and_no_code() -> None:
    encoder, _ = fit_encoder(CONTEXT, np.tile([0.0, 1.0], 30))

    encoded = encoder.encode(CONTEXT.with_columns(merchant=pl.lit("new")))

    assert (encoded["merchant_code"] == -1).all()
    assert (encoded["merchant_rate"] == encoder.prior).all()


def test_encoding_refuses_rewards_that_are_no_outcomes() -> None:
    with pytest.raises(DataError, match="0 or 1"):
        fit_encoder(CONTEXT, np.full(60, 0.5))


def test_split_propensities_are_the_marginal_of_control_explore_and_exploit(
    uniform_history: pl.DataFrame, trained: Policy
) -> None:
    context, eligible = context_of(uniform_history), logged_eligible(uniform_history)
    draw = trained.act(context, eligible, RowKeys(5, np.arange(len(context))))
    assert isinstance(trained, Split)
    exploring = trained.explore.probabilities(context, eligible)

    action = draw.action[:, 0].astype(int)
    greedy = draw.nominal[:, 0] == action
    e = np.take_along_axis(exploring, action[:, None], axis=1)[:, 0]
    wanted = 0.5 * e + 0.49 * greedy + 0.01 * (action == 0)

    np.testing.assert_allclose(draw.propensity, wanted, atol=1e-12)
    shares = [(draw.arm == arm).mean() for arm in ("control", "explore", "exploit")]
    np.testing.assert_allclose(shares, [0.01, 0.5, 0.49], atol=4 * 0.5 / len(action) ** 0.5)
    by_key = pl.DataFrame({"key": context["arm_key"], "arm": draw.arm}).group_by("key")
    assert by_key.agg(pl.col("arm").n_unique())["arm"].max() == 1


def test_retries_are_split_as_stated_and_their_weights_average_to_one(trained: Policy) -> None:
    n = 40_000
    every_decline = replace(WORLD, retries=Retries(soft_share=2.0, probability=1.0))
    first = history_of(trained, n, day=1)
    retried = every_decline.arrivals(START + 2 * DAY, START + 3 * DAY, first)
    units = retried.filter(pl.col("attempt_no") == 2)
    context = DOMAIN.observe(units.lazy()).collect()
    eligible = DOMAIN.eligible(context)

    draw = trained.act(context, eligible, RowKeys(1, np.arange(n, n + len(units)) * 64))

    assert units.height > 3_000
    for arm, share in (("control", 0.01), ("explore", 0.5), ("exploit", 0.49)):
        error = (share * (1 - share) / len(units)) ** 0.5
        assert abs((draw.arm == arm).mean() - share) <= 4 * error
    action = draw.action[:, 0].astype(int)
    assert isinstance(trained, Split)
    for target in (trained.explore.probabilities(context, eligible), uniform(eligible)):
        weights = pick(target, action) / draw.propensity
        assert abs(weights.mean() - 1) <= 4 * weights.std() / len(units) ** 0.5
    greedy = (draw.nominal[:, 0] == action) / draw.propensity
    assert abs(greedy.mean() - 1) <= 4 * greedy.std() / len(units) ** 0.5


def test_training_again_gives_the_same_bits_and_so_does_loading(
    uniform_history: pl.DataFrame, trained: Policy
) -> None:
    context, eligible = context_of(uniform_history), logged_eligible(uniform_history)
    again = SMALL(uniform_history.lazy(), [], stream(1, "train"))
    files = DOMAIN.dump(trained)

    assert DOMAIN.dump(again) == files
    p = chances(trained, context, eligible)
    np.testing.assert_array_equal(chances(DOMAIN.load(files), context, eligible), p)


def test_only_exploring_rows_with_outcomes_teach(uniform_history: pl.DataFrame) -> None:
    poison = uniform_history.with_columns(
        decision_id=pl.col("decision_id") + 32, arm=pl.lit("exploit"), reward=1 - pl.col("reward")
    )
    unknown = uniform_history.with_columns(
        decision_id=pl.col("decision_id") + 16, reward=pl.lit(None, pl.Float64())
    )

    plain = SMALL(uniform_history.lazy(), [], stream(1, "train"))
    mixed = SMALL(pl.concat([poison, unknown, uniform_history]).lazy(), [], stream(1, "train"))

    assert DOMAIN.dump(mixed) == DOMAIN.dump(plain)


def test_a_window_without_outcomes_is_an_error_that_names_it(
    uniform_history: pl.DataFrame,
) -> None:
    nothing = uniform_history.with_columns(reward=pl.lit(None, pl.Float64()))

    with pytest.raises(DataError, match="known outcome"):
        SMALL(nothing.lazy(), [], stream(1, "train"))


@pytest.mark.parametrize("recipe", [SMALL, StabilisedRecipe()])
def test_a_window_without_exploring_rows_says_what_is_missing(
    uniform_history: pl.DataFrame, recipe: Recipe | StabilisedRecipe
) -> None:
    exploiting = uniform_history.with_columns(arm=pl.lit("exploit")).lazy()

    with pytest.raises(
        DataError, match=rf"arm explore \(seen: exploit {uniform_history.height}\)"
    ):
        recipe(exploiting, [], stream(1, "test"))


def test_a_window_in_which_all_was_authorised_explores_uniformly(
    uniform_history: pl.DataFrame,
) -> None:
    calm = uniform_history.with_columns(reward=pl.lit(1.0))
    recipe = Recipe(rule=SquareCB(300.0), explore_share=1.0, control_share=0.0)

    policy = recipe(calm.lazy(), [], stream(1, "train"))

    context, eligible = context_of(calm), logged_eligible(calm)
    p = chances(policy, context, eligible)
    np.testing.assert_allclose(p, Uniform().probabilities(context, eligible), atol=1e-12)


@pytest.mark.parametrize("rows", [2, 25])
def test_a_candidate_that_learned_nothing_says_so(
    uniform_history: pl.DataFrame, rows: int
) -> None:
    some = pl.concat(
        [
            uniform_history.filter(pl.col("reward") == kind).head(rows // 2 + extra)
            for kind, extra in ((0.0, 0), (1.0, rows % 2))
        ]
    )
    policy = SMALL(some.lazy(), [], stream(1, "train"))
    taught = SMALL(uniform_history.lazy(), [], stream(1, "train"))

    assert DOMAIN.account is not None
    fallback = str(DOMAIN.account(policy)["fallback"])
    assert fallback.startswith(f"{rows} rows are too few")
    assert dict(DOMAIN.account(taught)) == {}
    assert dict(DOMAIN.account(Uniform())) == {}


def test_a_rule_that_reads_a_bootstrap_gets_one(uniform_history: pl.DataFrame) -> None:
    recipe = Recipe(
        rule=Bagging(models=4),
        explore_share=1.0,
        control_share=0.0,
        floor=0.0,
        oracle=LightGBMConfig(trees=5),
    )

    policy = recipe(uniform_history.lazy(), [], stream(1, "train"))

    p = chances(policy, context_of(uniform_history), logged_eligible(uniform_history))
    np.testing.assert_allclose(4 * p, np.rint(4 * p), atol=1e-9)
    assert ((p > 0.01) & (p < 0.99)).any(axis=1).mean() > 0.1
    oracle = newest_oracle(policy)
    assert isinstance(oracle, Ensemble)
    assert len(oracle.members) == 4
    with pytest.raises(DataError, match="average is 2, wanted 1"):
        Recipe(rule=Bagging(), explore_share=0.5, average=2)


def test_a_row_with_one_eligible_action_gets_it_for_sure(trained: Policy) -> None:
    alone = CONTEXT.with_columns(
        sca_supported=pl.lit(False),
        token_enabled=pl.lit(False),
        format_supported=pl.lit(False),
        recurring=pl.lit(False),
        days_to_expiry=pl.lit(500, pl.Int64()),
    )

    draw = trained.act(alone, DOMAIN.eligible(alone), RowKeys(5, np.arange(60)))

    assert (draw.action == 0).all()
    np.testing.assert_allclose(draw.propensity, 1.0, atol=1e-12)


def test_averaging_takes_the_newest_oracle_of_the_champions(
    uniform_history: pl.DataFrame, trained: Policy
) -> None:
    recipe = Recipe(
        rule=SquareCB(300.0), explore_share=0.5, average=3, oracle=LightGBMConfig(trees=5)
    )

    policy = recipe(uniform_history.lazy(), [trained, DOMAIN.baseline], stream(2, "train"))

    assert isinstance(policy, Split)
    assert isinstance(policy.explore, Floor)
    assert isinstance(policy.explore.policy, OraclePolicy)
    oracle = policy.explore.policy.oracle
    assert isinstance(oracle, Ensemble)
    assert len(oracle.members) == 2  # the baseline has no oracle
    assert oracle.members[1] is newest_oracle(trained)
    assert oracle.members[0] is newest_oracle(policy)


def test_the_first_candidate_is_judged_better_than_uniform_within_its_interval(
    trained: Policy,
) -> None:
    held_out = history_of(DOMAIN.baseline, 4_000, day=1)

    found = evaluate(trained, DOMAIN.baseline, held_out.lazy(), stream(1, "evaluate"))

    context, eligible = context_of(held_out), logged_eligible(held_out)
    success = WORLD.environment.success(held_out)
    p = chances(trained, context, eligible) - chances(DOMAIN.baseline, context, eligible)
    truth = float((p * success).sum(axis=1).mean())
    half = (found.difference.upper - found.difference.lower) / 2 / 1.96
    assert found.refusal is None
    assert abs(found.difference.value - truth) <= 4 * half
    assert set(DOMAIN.gate.limits) <= set(found.checks)
    assert found.checks["churn_from_trained"] == 0.0 < found.checks["churn_tv"]
    assert {"do nothing", "uniform"} <= set(found.estimates)


def test_a_policy_that_decides_as_the_champion_does_is_unchanged(trained: Policy) -> None:
    held_out = history_of(trained, 2_000, day=1)
    other = DOMAIN.load(DOMAIN.dump(trained))

    found = evaluate(other, trained, held_out.lazy(), stream(1, "evaluate"))

    assert found.unchanged is not None
    assert found.difference.value == found.difference.lower == 0.0
    assert judge(found, DOMAIN.gate).outcome == "unchanged"


def test_samples_have_the_unit_schema() -> None:
    some = DOMAIN.sample(17, stream(1, "sample"))

    assert some.schema == DOMAIN.units
    assert some.height == 17
    assert set(DECISIONS) & set(DOMAIN.units) == {"parent_id"}


def test_a_stabilised_candidate_carries_on_and_reads_no_row_twice(
    uniform_history: pl.DataFrame,
) -> None:
    recipe = StabilisedRecipe()
    first = recipe(uniform_history.lazy(), [], stream(1, "test"))
    later = history_of(first, 2_000, day=1)
    second = recipe(pl.concat([uniform_history, later]).lazy(), [first], stream(2, "test"))
    alone = recipe(later.lazy(), [first], stream(2, "test"))
    assert DOMAIN.dump(second) == DOMAIN.dump(alone)
    before, after = stabilised_part(first), stabilised_part(second)
    assert before is not None
    assert after is not None
    taught = later.filter(pl.col("reward").is_not_null(), pl.col("arm") == "explore").height
    assert after.beliefs[0].rows == before.beliefs[0].rows + taught


def test_without_a_new_row_a_stabilised_candidate_stays_what_it_was(
    uniform_history: pl.DataFrame,
) -> None:
    recipe = StabilisedRecipe()
    first = recipe(uniform_history.lazy(), [], stream(1, "test"))
    again = recipe(uniform_history.lazy(), [first], stream(2, "test"))
    assert DOMAIN.dump(again) == DOMAIN.dump(first)


def test_a_stabilised_candidate_finds_its_predecessor_behind_another_champion(
    uniform_history: pl.DataFrame,
) -> None:
    recipe = StabilisedRecipe()
    first = recipe(uniform_history.lazy(), [], stream(1, "test"))
    other = SMALL(uniform_history.lazy(), [], stream(1, "test"))
    again = recipe(uniform_history.lazy(), [other, first], stream(2, "test"))
    assert DOMAIN.dump(again) == DOMAIN.dump(first)


def test_no_action_is_taken_much_more_often_than_the_champion_s_log_can_tell_of(
    uniform_history: pl.DataFrame,
) -> None:
    policies: list[Policy] = [StabilisedRecipe()(uniform_history.lazy(), [], stream(1, "test"))]
    rows = [uniform_history]
    for day in range(1, 5):
        rows.append(history_of(policies[0], 2_000, day=day))
        recipe = StabilisedRecipe(churn=1.0)
        policies.insert(0, recipe(pl.concat(rows).lazy(), policies, stream(2, "test")))

    fresh = history_of(DOMAIN.baseline, 2_000, day=5)
    context, mask = context_of(fresh), logged_eligible(fresh)
    each = [chances(policy, context, mask) for policy in policies]
    known = [stabilised_part(policy) for policy in policies]
    assert known[0] is not None
    raw = known[0].probabilities(context, mask)

    def beyond(new: FloatArray, old: FloatArray) -> float:
        """Share of the traffic on actions taken more than eleven times as often."""
        return float(np.where(new > 11 * old, new, 0.0).sum(axis=1).mean())

    assert beyond(each[-2], each[-1]) == 0.0  # of a champion without a past
    assert max(beyond(new, old) for new, old in pairwise(each)) < 0.01
    assert beyond(raw, each[1]) > 0.01
    sizes = [sum(map(len, DOMAIN.dump(policy).values())) for policy in policies]
    assert sizes[0] < 1.2 * sizes[1]  # they do not carry all their past


def test_a_stabilised_candidate_moves_no_more_traffic_than_stated(
    uniform_history: pl.DataFrame,
) -> None:
    first = StabilisedRecipe()(uniform_history.head(300).lazy(), [], stream(1, "test"))
    history = pl.concat([uniform_history, history_of(first, 2_000, day=1)]).lazy()
    free, held = (
        StabilisedRecipe(churn=churn)(history, [first], stream(2, "test")) for churn in (1.0, 0.1)
    )
    fresh = history_of(DOMAIN.baseline, 2_000, day=2)
    context, mask = context_of(fresh), logged_eligible(fresh)
    before = chances(first, context, mask)
    moved = [total_variation(chances(each, context, mask), before) for each in (free, held)]
    assert moved[0] > 0.15
    assert moved[1] < 0.12  # 0.1 was foreseen on other rows
    assert stabilised_part(held) is not None
    assert DOMAIN.dump(DOMAIN.load(DOMAIN.dump(held))) == DOMAIN.dump(held)
