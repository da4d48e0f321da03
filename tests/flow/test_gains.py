"""What all traffic gained over doing nothing, and what its policies were expected to gain."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest

from decisions import flow
from decisions.domain import Domain
from decisions.evaluation import Estimate, mean_estimate
from decisions.flow import gains, measures
from decisions.policy import BoolArray, FloatArray, Policy
from decisions.seeds import RowKeys, stream
from decisions.store import cycles
from decisions.store.database import Database
from tests.flow.test_measuring import START, latest, live, measured, with_control
from tests.integration.coins import CHANCE, COINS, CoinWorld, Table, with_world
from tests.store.samples import decided, units
from tests.store.test_audit import tamper

DAY = timedelta(days=1)
MIDDLE = 1


@dataclass(frozen=True)
class Means:
    """Mean rewards by colour and coin, (2, 3)."""

    table: FloatArray

    def predict(self, context: pl.DataFrame, eligible: BoolArray) -> FloatArray:
        return np.where(eligible, self.table[context["colour"].to_numpy()], 0.0)


def fit_means(history: pl.LazyFrame, rng: np.random.Generator) -> Means:
    rows = history.collect()
    cell = rows["colour"].to_numpy() * 3 + rows["action"].list.first().to_numpy().astype(int)
    count = np.bincount(cell, minlength=6) + 2.0
    total = np.bincount(cell, weights=rows["reward"].to_numpy(), minlength=6) + 1.0
    return Means((total / count).reshape(2, 3))


MODELLED = replace(
    with_world(CoinWorld(per_day=1_400)),
    reference="the middle coin",
    nothing=MIDDLE,
    rewards=fit_means,
    part="colour",
)


def logged_by(policy: Table, n: int, *, seed: int = 1) -> pl.DataFrame:
    """Settled rows of a policy that decided `n` units."""
    rng = stream(seed, "gains")
    rows = decided(units(n))
    context = pl.DataFrame({"colour": rng.integers(0, 2, n), "weight": rng.random(n)})
    eligible = np.ones((n, 3), dtype=np.bool_)
    draw = policy.act(context, eligible, RowKeys(seed, np.arange(n)))
    assert draw.probabilities is not None
    chance = CHANCE[context["colour"].to_numpy(), draw.action[:, 0].astype(int)]
    return rows.with_columns(
        action=pl.Series(draw.action.tolist()),
        propensity=pl.Series(draw.propensity),
        probabilities=pl.Series(draw.probabilities.tolist()),
        reward=pl.Series((rng.random(n) < chance).astype(np.float64)),
        colour=context["colour"],
        weight=context["weight"],
        parent_id=pl.lit(None, dtype=pl.Int64),
    )


GOOD = Table(((0.1, 0.1, 0.8), (0.8, 0.1, 0.1)))  # gains 0.7 * 0.3 over the middle coin
BAD = Table(((0.8, 0.1, 0.1), (0.1, 0.1, 0.8)))


def test_all_traffic_tells_what_it_gains_over_doing_nothing() -> None:
    found = gains.gained(MODELLED, logged_by(GOOD, 4_000))

    assert found["value"] == pytest.approx(0.7 * 0.3, abs=4 * found["value_se"])
    assert found["nothing"] == pytest.approx(0.5, abs=4 * found["nothing_se"])
    alone = 0.5 / (0.1 * 4_000) ** 0.5  # standard error of the tenth that got the middle coin
    assert found["value_se"] < 1.3 * alone


def test_gains_cover_the_truth_as_often_as_they_say() -> None:
    within = [
        abs(found["value"] - 0.21) < 1.96 * found["value_se"]
        for seed in range(40)
        for found in [gains.gained(MODELLED, logged_by(GOOD, 3_000, seed=seed))]
    ]

    assert np.mean(within) > 0.95 - 4 * (0.95 * 0.05 / 40) ** 0.5


def test_nothing_is_said_where_nothing_was_hardly_ever_done() -> None:
    never = Table(((0.1, 0.0, 0.9), (0.9, 0.0, 0.1)))

    rarely = Table(((0.1, 0.9, 0.0), (1.0, 0.0, 0.0)))

    assert gains.gained(MODELLED, logged_by(never, 1_000)) == {}
    assert gains.gained(MODELLED, logged_by(rarely, 4_000)) == {}  # half of the rows never
    assert gains.gained(MODELLED, logged_by(GOOD, 600)) == {}
    assert gains.gained(COINS, logged_by(GOOD, 1_000)) == {}


def test_nothing_is_said_where_a_few_rows_speak_for_doing_nothing() -> None:
    seldom = Table(((0.25, 0.5, 0.25), (0.89, 0.01, 0.1)))
    rows = logged_by(seldom, 2_000)

    assert (rows["action"].list.first() == MIDDLE).sum() > 400
    assert gains.gained(MODELLED, rows) == {}


def with_part(units: pl.LazyFrame) -> pl.LazyFrame:
    return units.select("colour", "weight", "part")


def test_rows_without_a_part_are_one_of_their_own() -> None:
    rows = logged_by(GOOD, 1_000)
    named = rows.with_columns(part=pl.when(pl.col("weight") < 0.5).then(pl.lit("light")))
    parted = replace(
        MODELLED,
        part="part",
        units=pl.Schema(MODELLED.units | {"part": pl.String()}),
        observe=with_part,
    )

    found = gains.expected(parted, [named])

    assert found is not None
    assert found.shares.sum() == pytest.approx(1)
    assert len(found.shares) == 2


def test_outcomes_that_were_not_seen_may_still_come() -> None:
    rows = logged_by(GOOD, 4_000).with_columns(reward=pl.lit(1.0))

    found = gains.gained(MODELLED, rows)

    unseen = 1 - 0.025 ** (1 / 4_000)  # upper limit of the share of failures
    for name in ("value", "nothing"):
        assert found[f"{name}_se"] > 0.8 * unseen * 10 / 1.96  # weights reach ten


def test_parts_add_up_to_what_each_cycle_was_expected_to_gain() -> None:
    policies: Sequence[Table] = (GOOD, BAD, GOOD)
    rows = [logged_by(policy, 2_000, seed=seed) for seed, policy in enumerate(policies)]

    found = gains.expected(MODELLED, rows)

    assert found is not None
    assert found.parts.shape == (2, 3)
    np.testing.assert_allclose(found.parts.sum(axis=0), [0.21, -0.21, 0.21], atol=0.03)
    np.testing.assert_allclose(found.shares, 0.5, atol=0.03)


def test_a_cycle_without_rows_has_no_part() -> None:
    empty = logged_by(GOOD, 10).clear()

    found = gains.expected(MODELLED, [logged_by(GOOD, 1_000), empty])

    assert found is not None
    assert np.isnan(found.parts).tolist() == [[False, True], [False, True]]


def test_thinning_spreads_evenly() -> None:
    rows = pl.DataFrame({"row": range(10)})

    assert gains.thinned(rows, 4)["row"].to_list() == [0, 3, 6, 9]
    assert gains.thinned(rows, 10).height == 10


def test_a_sample_has_about_as_many_rows_as_are_wanted(database: Database) -> None:
    live(database, [1, 2, 3], domain=MODELLED)
    since, until, as_of = START, START + 3 * DAY, START + 9 * DAY

    whole, some = (
        gains.sample(database, MODELLED, since=since, until=until, as_of=as_of, most=most)
        for most in (gains.CYCLE_ROWS, 300)
    )

    assert 150 < some.height <= 300 < whole.height <= gains.CYCLE_ROWS
    assert some["decision_id"].is_in(whole["decision_id"].implode()).all()
    means = [float(frame["reward"].to_numpy().mean()) for frame in (some, whole)]
    assert abs(means[0] - means[1]) < 0.12  # 4 standard errors


def test_the_deployed_series_is_of_all_traffic_and_its_rhythm_of_parts(
    database: Database,
) -> None:
    live(database, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10], domain=MODELLED)

    found = measured(database, "deployed", 10)
    row = latest(database)["deployed"]
    statistics = json.loads(str(row["statistics"]))
    assert found["value"] == pytest.approx(found["level"] - found["nothing"])
    assert 0 < found["value_se"] < 0.06
    assert statistics["parts"] == 2
    assert len(statistics["expected"]) == statistics["generations"] >= 8
    assert statistics["visible_swing"] is None or statistics["visible_swing"] > 0
    assert row["verdict"] != "inconclusive"
    shown = database.read("oscillation/cycles", domain=COINS.name, series="deployed")
    assert shown["value"].null_count() < shown.height
    answer = database.read("overview/gains").row(0, named=True)
    assert (answer["way"], answer["generation"]) == ("all traffic", found["generation"])
    assert answer["lower"] < answer["gain"] < answer["upper"]
    assert answer["over_control"] is None  # these coins have no control slice


def test_a_cycle_that_logged_no_probabilities_leaves_no_gap(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Table, "act", with_control)
    modelled = replace(MODELLED, world=CoinWorld(per_day=100))
    live(database, [1, 2, 3, 4, 5, 6], domain=modelled)
    tamper(
        database,
        "update decision set probabilities = '{}'"
        " where decided_at >= '2026-03-06T23:00Z' and decided_at < '2026-03-07T23:00Z'",
    )
    live(database, [7, 8, 9], domain=modelled)

    row = latest(database)["deployed"]
    statistics = json.loads(str(row["statistics"]))
    assert statistics["generations"] == 8  # all since the first that was measured
    assert statistics["parts"] == 0
    assert "left out" not in str(row["reasons"])


def test_parts_and_value_of_a_cycle_are_of_the_same_span(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cycle begins where the last cut-off was planned, also where that one failed since."""
    spans: list[tuple[datetime, datetime]] = []
    drawn = gains.sample

    def sample(
        db: Database,
        domain: Domain,
        *,
        since: datetime,
        until: datetime,
        as_of: datetime,
        most: int,
    ) -> pl.DataFrame:
        spans.append((since, until))
        return drawn(db, domain, since=since, until=until, as_of=as_of, most=most)

    live(database, [1, 2, 3], domain=MODELLED)
    failing = START + 4 * DAY
    flow.catch_up(database, MODELLED, until=failing, holder="test")
    assert flow.plan_generations(database, MODELLED, cutoff=failing, seed=11)
    monkeypatch.setattr(gains, "sample", sample)

    live(database, [5], domain=MODELLED)

    until = START + 5 * DAY - MODELLED.maturity
    assert spans[-1] == (until - DAY, until)
    rows = flow.history(database, MODELLED, since=until - DAY, until=until, as_of=START + 5 * DAY)
    assert measured(database, "deployed", 5)["decisions"] == rows.height


def test_a_simulated_domain_is_valued_by_paired_simulation(database: Database) -> None:
    def gain(policy: Policy, rng: np.random.Generator) -> Estimate:
        assert isinstance(policy, Table)
        edge = float((np.array(policy.shares) * CHANCE).sum(axis=1).mean()) - 0.5
        return mean_estimate(edge + 0.01 * rng.standard_normal(100))

    simulated: Domain = replace(COINS, gain=gain, reference="a fair coin")
    live(database, [1, 2, 3], domain=simulated)

    found = measured(database, "deployed", 3)
    assert found["value_se"] == pytest.approx(0.001, rel=0.3)
    acting = flow.load_policy(database, simulated, int(found["generation"]))
    assert isinstance(acting, Table)
    edge = float((np.array(acting.shares) * CHANCE).sum(axis=1).mean()) - 0.5
    assert found["value"] == pytest.approx(edge, abs=4 * found["value_se"])
    assert "nothing to compare" not in str(latest(database)["deployed"]["reasons"])
    assert cycles.diagnosed(database, COINS.name)[-1] == START + 3 * DAY
    assert measures.CONTROL not in found
