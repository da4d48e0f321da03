from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from decisions.bandits.exploration import uniform
from decisions.domains.payments import DOMAIN, WORLD
from decisions.domains.payments.actions import (
    ACTIONS,
    COUNT,
    DO_NOTHING,
    FLAG_MATRIX,
    FORMAT,
    SCA,
    TOKEN,
    UPDATE,
    eligible,
)
from decisions.domains.payments.simulator import (
    UNITS,
    Absence,
    Environment,
    authorised,
    best_value,
    policy_value,
)
from decisions.domains.payments.world import (
    HEAVY,
    SYNCHRONOUS,
    SimulatedWorld,
    late_days,
)
from decisions.seeds import RowKeys

START = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def units(environment: Environment, n: int, *, day: int = 0) -> pl.DataFrame:
    return environment.arrivals(day, np.arange(n, dtype=np.int64), per_day=n)


def by_hand(e: Environment, unit: dict[str, Any], action: int) -> float:
    """P(authorised) of one unit and action, written out from the design's formula."""
    m, i = int(str(unit["merchant"])[1:]), int(str(unit["issuer"])[1:])
    sca, token, form, update = (flag[action] for flag in (SCA, TOKEN, FORMAT, UPDATE))
    amount = np.log(unit["amount_minor"] / 100) - 3.6
    expiring = unit["days_to_expiry"] < 90
    effect = e._action_effects
    day = (unit["observed_at"] - datetime(1970, 1, 1, tzinfo=UTC)).days
    logit = e.base + e.merchant_effect[m] + e.issuer_effect[i]
    logit += -0.25 * amount - 0.35 * unit["risk"] - 0.8 * expiring + 0.2 * unit["recurring"]
    drift = e.drift * np.sin(2 * np.pi * (day / e.drift_period + e.drift_phase[i]))
    logit += sca * (effect["sca"][i] + effect["sca_amount"][i] * amount + drift)
    logit += token * (effect["token"][i] + 0.3 * unit["recurring"])
    logit += effect["format"][i, form]
    logit += update * (effect["update"][m] + 0.5 * expiring) - 0.25 * sca * update
    return float(expit(logit))


def test_probabilities_are_the_formula_written_out_for_every_action() -> None:
    environment = Environment(seed=3, drift=1.0)
    some = units(environment, 25, day=5)

    found = environment.success(some)

    wanted = [[by_hand(environment, unit, a) for a in range(COUNT)] for unit in some.to_dicts()]
    np.testing.assert_allclose(found, wanted, atol=1e-12)


def test_eligible_sets_have_the_sizes_that_four_rules_can_give() -> None:
    sizes = eligible(units(Environment(seed=10), 20_000)).sum(axis=1)

    assert set(np.unique(sizes).tolist()) == {1, 2, 3, 4, 6, 8, 12, 24}


def test_doing_nothing_is_always_eligible_and_nothing_breaks_its_rule() -> None:
    some = units(Environment(seed=10), 5_000)
    mask = eligible(some)

    assert mask[:, DO_NOTHING].all()
    assert not mask[some["recurring"].to_numpy()][:, SCA == 1].any()
    assert not mask[~some["token_enabled"].to_numpy()][:, TOKEN == 1].any()
    assert not mask[~some["format_supported"].to_numpy()][:, FORMAT > 0].any()


def test_actions_and_flags_are_one_to_one() -> None:
    assert len(set(ACTIONS.names)) == len(np.unique(FLAG_MATRIX, axis=0)) == COUNT
    assert ACTIONS.names[DO_NOTHING] == "nothing"
    assert not FLAG_MATRIX[DO_NOTHING].any()


def test_values_are_those_the_design_measured() -> None:
    figures = []
    for seed in range(40):
        environment = Environment(seed=seed, cards=5_000)
        some = units(environment, 4_000)
        mask, success = eligible(some), environment.success(some)
        nothing, spread = success[:, DO_NOTHING].mean(), policy_value(uniform(mask), success)
        figures.append([nothing, spread, best_value(mask, success), mask.sum(axis=1).mean()])

    mean, error = np.mean(figures, axis=0), np.std(figures, axis=0, ddof=1) / len(figures) ** 0.5
    published = np.array([0.909, 0.881, 0.946, 8.2])  # the means of six environments
    tolerance = 4 * error * np.sqrt(1 + len(figures) / 6)  # 4 standard errors of the difference
    assert (np.abs(mean - published) <= tolerance).all()


@pytest.mark.parametrize(("base", "nothing", "best"), [(1.9, 0.837, 0.901), (3.5, 0.958, 0.975)])
def test_base_rates_move_the_whole_level(base: float, nothing: float, best: float) -> None:
    figures = []
    for seed in range(40):
        environment = Environment(seed=seed, base=base, cards=5_000)
        some = units(environment, 2_000)
        success = environment.success(some)
        figures.append([success[:, DO_NOTHING].mean(), best_value(eligible(some), success)])

    error = np.std(figures, axis=0, ddof=1) / 40**0.5
    off = np.abs(np.mean(figures, axis=0) - [nothing, best])
    assert (off <= 4 * error * np.sqrt(1 + 40 / 6)).all()


def test_drawn_rewards_average_to_the_exact_value() -> None:
    environment = Environment(seed=4)
    some = units(environment, 40_000)
    success = environment.success(some)
    u = RowKeys(4, np.arange(40_000)).uniforms("test")[:, 0]

    drawn = authorised(success, u).mean(axis=0)

    tolerance = 4 * np.sqrt((success * (1 - success)).mean(axis=0) / 40_000)
    assert (np.abs(drawn - success.mean(axis=0)) <= tolerance).all()


def test_in_the_true_null_no_action_changes_anything() -> None:
    environment = Environment(seed=5, effects=False, drift=1.0)

    success = environment.success(units(environment, 500))

    assert np.ptp(success, axis=1).max() == 0.0


def test_an_outage_takes_two_logits_from_its_issuers_for_a_day() -> None:
    calm, broken = Environment(seed=6), Environment(seed=6, outage_share=0.3)
    some = units(calm, 3_000, day=9)

    off = broken.logits(some) - calm.logits(some)

    by_issuer = some.select("issuer").with_columns(down=pl.Series(off[:, 0] < -1))
    assert by_issuer.group_by("issuer").agg(pl.col("down").n_unique())["down"].max() == 1
    assert set(np.round(off, 9).ravel().tolist()) == {0.0, -2.0}


def test_merchants_enter_one_a_day() -> None:
    environment = Environment(seed=7, entries=5, first_day=100)

    seen = [units(environment, 20_000, day=day)["merchant"].n_unique() for day in (100, 103, 120)]

    assert max(seen) <= 45
    early = set(units(environment, 20_000, day=100)["merchant"].to_list())
    assert not early & {f"m{i}" for i in range(40, 45)}


def test_redrawing_changes_issuers_from_its_day_on_and_merchants_never() -> None:
    calm, redrawn = Environment(seed=6), Environment(seed=6, redraw_day=9)
    before, after = (units(calm, 3_000, day=day) for day in (8, 9))

    assert (calm.success(before) == redrawn.success(before)).all()
    off = redrawn.logits(after) - calm.logits(after)
    update = off[:, UPDATE == 1] - off[:, UPDATE == 0]
    np.testing.assert_allclose(update, 0.0, atol=1e-12)
    by_issuer = after.select("issuer").with_columns(off=pl.Series(off[:, DO_NOTHING].round(9)))
    assert by_issuer.group_by("issuer").agg(pl.col("off").n_unique())["off"].max() == 1
    assert by_issuer["off"].n_unique() == by_issuer["issuer"].n_unique() > 50


def test_redrawn_effects_have_the_same_law() -> None:
    drawn = [Environment(seed=seed, redraw_day=1) for seed in range(100)]

    after = np.concatenate([e.issuer_effect[e.issuers :] for e in drawn])
    before = np.concatenate([e.issuer_effect[: e.issuers] for e in drawn])

    n = len(after)
    assert abs(after.mean()) < 4 * 0.6 / n**0.5
    assert abs(after.std() - 0.6) < 4 * 0.6 / (2 * n) ** 0.5
    assert abs(np.corrcoef(before, after)[0, 1]) < 4 / n**0.5


def test_an_absent_flag_is_eligible_on_no_unit_and_nothing_else_changes() -> None:
    plain = Environment(seed=7)
    lost = Environment(seed=7, absences=(Absence("token_enabled", 9, 12),))

    for day in (8, 12):
        assert units(lost, 500, day=day).equals(units(plain, 500, day=day))
    gone = units(lost, 500, day=10)
    assert not gone["token_enabled"].any()
    assert gone.drop("token_enabled").equals(units(plain, 500, day=10).drop("token_enabled"))
    assert not eligible(gone)[:, TOKEN == 1].any()


@given(cuts=st.lists(st.integers(1, 23), max_size=4, unique=True))
@settings(max_examples=10, deadline=None)
def test_arrivals_in_pieces_are_the_arrivals_at_once(cuts: list[int]) -> None:
    world = SimulatedWorld(environment=Environment(seed=8), per_day=300)
    nothing = pl.DataFrame()
    edges = [START, *(START + timedelta(hours=hour) for hour in sorted(cuts)), START + 2 * DAY]

    whole = world.arrivals(START, START + 2 * DAY, nothing)
    pieces = [world.arrivals(a, b, nothing) for a, b in pairwise(edges)]

    assert pl.concat(pieces).equals(whole)
    assert whole["reference"].n_unique() == whole.height == 600
    assert whole["observed_at"].is_sorted()


@given(order=st.permutations(range(40)))
@settings(max_examples=20, deadline=None)
def test_outcomes_do_not_depend_on_the_batch_or_its_order(order: list[int]) -> None:
    world = SimulatedWorld(environment=Environment(seed=9, cards=500), per_day=40, delay=HEAVY)
    taken = decisions(world)
    as_of = START + 400 * DAY

    whole = world.outcomes(taken, as_of)
    pieces = pl.concat([world.outcomes(taken[i : i + 1], as_of) for i in order])

    assert pieces.sort("decision_id").equals(whole.sort("decision_id"))


def decisions(world: SimulatedWorld, action: int = DO_NOTHING) -> pl.DataFrame:
    """History of one day in which every unit got the same action, one second after it came."""
    arrivals = world.arrivals(START, START + DAY, pl.DataFrame())
    index = pl.int_range(pl.len(), dtype=pl.Int64)
    return arrivals.with_columns(
        unit_id=1_000 + index,
        decision_id=(1_000 + index) * 64,
        action=pl.lit([float(action)], pl.List(pl.Float64())),
        decided_at=pl.col("observed_at"),
        reward=pl.lit(None, pl.Float64()),
    )


def test_late_outcomes_are_censored_as_the_design_says() -> None:
    world = SimulatedWorld(environment=Environment(seed=11), per_day=40_000, delay=HEAVY)
    taken = decisions(world)

    known = world.outcomes(taken, START + DAY)
    all_known = world.outcomes(taken, START + 400 * DAY)

    unresolved = 1 - known.height / taken.height
    assert all_known.height == taken.height
    assert abs(unresolved - 0.183) <= 4 * (0.183 * 0.817 / 40_000) ** 0.5 + 0.002
    first, ever = (frame["reward"].to_numpy().mean() for frame in (known, all_known))
    assert first < ever  # authorised ones are later
    assert (known["observed_at"] <= START + DAY).all()


def test_authorised_payments_take_twice_as_long_when_they_are_late() -> None:
    u = RowKeys(1, np.arange(200_000)).uniforms("late", columns=2)

    failed, paid = (late_days(HEAVY, np.full(200_000, r), u) for r in (0.0, 1.0))

    late = failed > 0
    assert abs(late.mean() - 0.3) <= 4 * (0.21 / 200_000) ** 0.5
    np.testing.assert_allclose(paid[late], 2 * failed[late])
    assert abs(failed[late].mean() - 0.5) <= 4 * 0.5 / late.sum() ** 0.5
    assert not late_days(SYNCHRONOUS, np.ones(200_000), u).any()


def test_hardly_any_outcome_is_open_at_maturity() -> None:
    u = RowKeys(1, np.arange(400_000)).uniforms("late", columns=2)
    days = DOMAIN.maturity / DAY

    for reward, stated in ((1.0, 0.0036), (0.0, 0.00013)):
        open_share = (late_days(WORLD.delay, np.full(len(u), reward), u) > days).mean()
        assert abs(open_share - stated) <= 4 * (stated / len(u)) ** 0.5 + 0.00005


def test_soft_declines_come_back_once_with_their_parent() -> None:
    world = SimulatedWorld(environment=Environment(seed=12), per_day=20_000)
    taken = decisions(world).drop("reward")
    known = world.outcomes(taken, START + 3 * DAY).select("decision_id", "reward")
    settled = taken.join(known, on="decision_id", how="left", validate="1:1")

    after = world.arrivals(START + DAY, START + 2 * DAY, settled)

    again = after.filter(pl.col("attempt_no") == 2)
    parents = again.join(settled, left_on="parent_id", right_on="decision_id", validate="1:1")
    assert parents.height == again.height > 0
    assert (parents["reward"] == 0).all()
    assert (parents["card"] == parents["card_right"]).all()
    assert again["observed_at"].is_between(START + DAY, START + 2 * DAY, closed="left").all()
    assert after.columns == ["reference", "observed_at", *UNITS]
    declined = settled.filter(pl.col("reward") == 0)
    issuer = declined["issuer"].str.slice(1).cast(pl.Int64).to_numpy()
    share = 0.3 * 0.6 * world.environment.soft_factor[issuer].mean()
    assert abs(again.height / declined.height - share) <= 4 * (share / declined.height) ** 0.5
    retried = again.with_columns(reward=pl.lit(0.0), decision_id=pl.lit(1, pl.Int64()))
    assert world.arrivals(START + DAY, START + 2 * DAY, retried)["attempt_no"].max() == 1


def test_a_retry_has_the_handicap_and_the_issuer_s_recovery() -> None:
    environment = Environment(seed=13)
    first = units(environment, 50)
    second = first.with_columns(attempt_no=pl.lit(2, pl.Int64()))

    off = environment.logits(second) - environment.logits(first)

    issuer = first["issuer"].str.slice(1).cast(pl.Int64).to_numpy()
    wanted = environment.recovery[issuer] - 0.6
    np.testing.assert_allclose(off, np.tile(wanted[:, None], 24), atol=1e-12)
