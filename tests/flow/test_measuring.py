"""What the spine measures and diagnoses after each cycle, and how little it reads to do so."""

import json
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest

from decisions import flow
from decisions.diagnostics.oscillation import Diagnosis, Statistics
from decisions.domain import Domain
from decisions.flow import measures
from decisions.policy import BoolArray, Draw
from decisions.seeds import RowKeys
from decisions.store import audit, cycles, decision_log, generations
from decisions.store.database import Database
from decisions.store.decision_log import append
from tests.integration.coins import COINS, Table
from tests.store.samples import NOW, begun, decided, units

DAY = timedelta(days=1)
START = datetime.fromisoformat("2026-03-02T00:00:00+00:00")


def live(db: Database, days: list[int], *, domain: Domain = COINS) -> None:
    flow.begin(db, domain, now=START, seed=11)
    for day in days:
        now = START + day * DAY
        flow.catch_up(db, domain, until=now, holder="test")
        flow.settle(db, domain, as_of=now, holder="test")
        cycle(db, now, domain=domain)


def cycle(db: Database, now: datetime, *, domain: Domain = COINS) -> None:
    for number in flow.plan_generations(db, domain, cutoff=now, seed=11):
        flow.train_generation(db, domain, number, holder="test")
        flow.evaluate_generation(db, domain, number, holder="test")
    flow.judge_cutoff(db, domain, cutoff=now, holder="test")
    flow.diagnose(db, domain, cutoff=now)


def measured(db: Database, series: str, day: int) -> dict[str, float]:
    rows = cycles.measurements(db, COINS.name).filter(
        pl.col("cutoff") == START + day * DAY, pl.col("series") == series
    )
    return dict(rows.select("name", "value").iter_rows())


def latest(db: Database) -> dict[str, dict[str, object]]:
    return {row["series"]: row for row in db.read("diagnosis/latest").iter_rows(named=True)}


def with_control(self: Table, context: pl.DataFrame, eligible: BoolArray, keys: RowKeys) -> Draw:
    """A fifth of the traffic is the control, which always takes the middle coin."""
    draw = act(self, context, eligible, keys)
    control = keys.uniforms("arm")[:, 0] < 0.2
    action = np.where(control, 1.0, draw.action[:, 0])
    assert draw.probabilities is not None
    p = 0.8 * draw.probabilities + 0.2 * np.array([0.0, 1.0, 0.0])
    chosen = p[np.arange(len(p)), action.astype(int)]
    return replace(
        draw,
        action=action[:, None],
        probabilities=p,
        propensity=chosen,
        arm=np.where(control, "control", "explore"),
    )


act = Table.act
YOUNG = Diagnosis(
    verdict="inconclusive",
    reasons=(),
    explanation="",
    action="",
    statistics=Statistics(generations=1),
)


def test_every_series_of_a_cycle_is_measured_and_diagnosed_once(database: Database) -> None:
    live(database, [1, 2, 3, 4])
    before = cycles.measurements(database, COINS.name)

    flow.diagnose(database, COINS, cutoff=START + 4 * DAY)

    assert cycles.measurements(database, COINS.name).equals(before)
    assert set(latest(database)) == {"deployed", "means", "worst"}
    assert {row["verdict"] for row in latest(database).values()} == {"inconclusive"}
    candidate, deployed = measured(database, "worst", 4), measured(database, "deployed", 4)
    assert "value" not in measured(database, "means", 4)  # it decides as the champion does
    assert {
        "value",
        "value_se",
        "level",
        "decisions",
        "negatives_share",
        "entropy_normalised",
        "churn_total_variation",
        "score_ks",
        "auc",
        "realizability_gap",
        "window_rows",
        "window_cycles",
        "window_uniform_share",
    } <= set(candidate)
    assert {"generation", "entropy_normalised", "unresolved_share", "auc"} <= set(deployed)
    assert deployed["decisions"] > 300
    assert audit.verify(database).broken is None


def test_the_value_is_that_of_the_traffic_minus_its_control(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Table, "act", with_control)
    live(database, [1, 2, 3])

    found = measured(database, "deployed", 3)
    cutoff = START + 3 * DAY
    rows = flow.history(
        database,
        COINS,
        since=START + 2 * DAY - COINS.maturity,
        until=cutoff - COINS.maturity,
        as_of=cutoff,
    )
    control = rows.filter(pl.col("arm") == "control")["reward"].to_numpy()
    everyone = rows["reward"].to_numpy()
    assert found["value"] == pytest.approx(everyone.mean() - control.mean())
    rest = rows.filter(pl.col("arm") != "control")["reward"].to_numpy()
    share = len(rest) / len(everyone)  # (1 - c) (rest - control), of independent rows
    error = share * np.hypot(rest.std() / len(rest) ** 0.5, control.std() / len(control) ** 0.5)
    assert found["value_se"] == pytest.approx(error, rel=0.01)
    assert found["control"] == pytest.approx(control.mean())
    assert "no control slice" not in str(latest(database)["deployed"]["reasons"])


def test_rows_of_one_cluster_count_as_one() -> None:
    once = _settled([1.0, 0.0, 1.0, 1.0, 0.0, 0.0])
    thrice = pl.concat([once, once, once])
    clustered = replace(COINS, cluster="weight")

    plain = measures.traffic(clustered, once)
    found = measures.traffic(clustered, thrice)

    assert found["value_se"] == pytest.approx(plain["value_se"])
    assert measures.traffic(COINS, thrice)["value_se"] < 0.7 * plain["value_se"]


def _settled(reward: list[float]) -> pl.DataFrame:
    n = len(reward)
    return decided(units(n)).with_columns(
        reward=pl.Series(reward),
        colour=pl.Series([0] * n),
        weight=pl.Series(np.arange(n) / 8),
        parent_id=pl.lit(None, dtype=pl.Int64),
    )


def test_without_a_control_the_diagnosis_says_what_the_value_is_measured_against(
    database: Database,
) -> None:
    live(database, [1, 2, 3])

    found = measured(database, "deployed", 3)
    assert found["value"] == found["level"]
    assert "control" not in found
    reasons = json.loads(str(latest(database)["deployed"]["reasons"]))
    assert any(reason.startswith("there is nothing to compare with") for reason in reasons)
    candidate = json.loads(str(latest(database)["means"]["reasons"]))
    assert any("difference from the champion" in reason for reason in candidate)


def test_a_domain_without_a_generation_or_a_decision_gets_a_diagnosis_that_says_so(
    database: Database,
) -> None:
    flow.diagnose(database, COINS, cutoff=START)
    flow.begin(database, COINS, now=START, seed=11)
    flow.diagnose(database, COINS, cutoff=START + DAY)

    (row,) = latest(database).values()
    assert (row["series"], row["verdict"], row["cycles"]) == ("deployed", "inconclusive", 2)
    assert "no generation has a value yet" in str(row["reasons"])


def test_a_cycle_made_up_for_later_is_measured_and_later_diagnoses_stand(
    database: Database,
) -> None:
    live(database, [1, 3, 4])
    before = database.read("diagnosis/history", domain=COINS.name)

    cycle(database, START + 2 * DAY)
    live(database, [5])

    after = database.read("diagnosis/history", domain=COINS.name)
    stood = after.join(before.select("cutoff", "series"), on=["cutoff", "series"], how="semi")
    assert stood.drop("previous").equals(before.drop("previous"))
    assert START + 2 * DAY in cycles.diagnosed(database, COINS.name)
    statistics = json.loads(str(latest(database)["deployed"]["statistics"]))
    assert "value" in measured(database, "deployed", 2)
    assert statistics["generations"] == 4  # nothing had matured at the first cut-off


def test_a_constant_value_is_degenerate_and_no_traffic_is_inconclusive(
    database: Database,
) -> None:
    flow.begin(database, COINS, now=START, seed=11)
    for day in range(1, 10):
        steady = {"deployed": {"value": 0.5, "value_se": 0.0, "control": 0.1}}
        cycles.record(
            database, COINS.name, START + day * DAY, steady, {"deployed": YOUNG}, now=START
        )
    flow.diagnose(database, COINS, cutoff=START + 10 * DAY)

    row = latest(database)["deployed"]
    assert row["verdict"] == "degenerate"
    assert "left out" in str(row["reasons"])


def test_a_control_slice_too_small_to_see_anything_is_said_in_place_of_stability(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Table, "act", with_control)
    flow.begin(database, COINS, now=START, seed=11)
    value = np.random.default_rng(3).normal(0.0, 0.06, 9)
    for day in range(1, 10):
        noisy = {"value": value[day - 1], "value_se": 0.06, "control": 0.5, "control_se": 0.06}
        cutoff = START + day * DAY
        cycles.record(
            database, COINS.name, cutoff, {"deployed": noisy}, {"deployed": YOUNG}, now=START
        )
    flow.catch_up(database, COINS, until=START + 10 * DAY, holder="test")
    flow.settle(database, COINS, as_of=START + 10 * DAY, holder="test")

    flow.diagnose(database, COINS, cutoff=START + 10 * DAY)

    row = latest(database)["deployed"]
    reasons = json.loads(str(row["reasons"]))
    assert row["verdict"] == "cannot tell"
    assert "could pass unseen" in str(row["explanation"])
    assert "The smallest swing that would be seen" in str(row["explanation"])
    assert "larger control slice" in str(row["action"])
    assert any("would be seen four times of five" in each for each in reasons)


@pytest.mark.parametrize("controlled", [[False, True, True], [False, False, False]])
def test_a_value_without_a_control_is_not_shown_among_those_with_one(
    database: Database, controlled: list[bool]
) -> None:
    for day, control in enumerate(controlled):
        found = {"value": 0.02, "value_se": 0.01} if control else {"value": 0.8, "value_se": 0.01}
        found |= {"control": 0.78} if control else {}
        cycles.record(
            database,
            COINS.name,
            START + day * DAY,
            {"deployed": found},
            {"deployed": YOUNG},
            now=START,
        )

    shown = database.read("oscillation/cycles", domain=COINS.name, series="deployed")

    expected = [None, 0.02, 0.02] if any(controlled) else [0.8, 0.8, 0.8]
    assert shown["value"].to_list() == expected
    assert shown["lower"].is_null().to_list() == [each is None for each in expected]


def test_scores_that_are_not_finite_are_left_out() -> None:
    class Blind(Table):
        def act(self, context: pl.DataFrame, eligible: BoolArray, keys: RowKeys) -> Draw:
            draw = super().act(context, eligible, keys)
            return replace(draw, scores=np.full(eligible.shape, np.nan))

    seeing = Table(((0.8, 0.1, 0.1), (0.1, 0.1, 0.8)))
    batch = measures.reference_batch(COINS)
    before, now = (measures.act_on(COINS, each, batch) for each in (seeing, Blind(seeing.shares)))

    assert before is not None
    assert before.scores is not None
    assert now is not None
    assert now.scores is None
    assert "score_ks" in measures.moved(before, before)
    assert set(measures.moved(now, before)) == {"churn_total_variation", "churn_greedy"}


def test_a_generation_says_which_logs_trained_it(database: Database) -> None:
    live(database, [1, 2, 3, 4, 5])

    newest = generations.generations(database, COINS.name)[-1]
    found = database.read("training/of_generation", domain=COINS.name, number=newest.number)
    details = json.loads(found["details"][0])
    assert sum(details["generations"].values()) == found["row_count"][0]
    assert details["cycles"] >= 2
    assert 0 < details["negatives_share"] < 1


def test_only_units_that_may_wait_are_looked_at_and_none_is_lost(database: Database) -> None:
    begun(database)
    rng = np.random.default_rng(5)
    lost = units(40, first=100_000)
    append(database, "payments", "unit", "old", units(50), now=NOW)
    append(database, "payments", "decision", "old", decided(units(50)), now=NOW)
    decision_log.mark_decided(database, "payments", _through(database))
    assert decision_log.pending(database, "payments", NOW).is_empty()

    append(database, "payments", "unit", "late", lost, now=NOW)  # observed before those decided
    later = units(10, first=200_000, start=NOW)
    append(database, "payments", "unit", "tomorrow", later, now=NOW + DAY)
    waiting = decision_log.waiting(database, "payments", NOW)

    assert waiting.units["unit_id"].to_list() == lost["unit_id"].to_list()
    kept = decided(lost).sample(30, seed=int(rng.integers(100)))
    refused = decided(lost).join(kept, on="unit_id", how="anti")
    bad = refused.with_columns(propensity=pl.lit(0.0))
    append(database, "payments", "decision", "late", pl.concat([kept, bad]), now=NOW)
    decision_log.mark_decided(database, "payments", waiting.through)
    assert (
        decision_log.pending(database, "payments", NOW)["unit_id"].to_list()
        == refused["unit_id"].to_list()
    )
    everything = decision_log.pending(database, "payments", NOW + DAY)
    assert set(everything["unit_id"]) == {*refused["unit_id"], *later["unit_id"]}


def _through(db: Database) -> int:
    return decision_log.waiting(db, "payments", NOW).through
