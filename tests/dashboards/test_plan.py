"""The planner's page in its empty, usual and failed states, and what its statements read."""

import json
from collections.abc import Callable, Generator
from datetime import date
from types import ModuleType
from typing import Any

import numpy as np
import polars as pl
import pytest
from streamlit.testing.v1 import AppTest

from decisions.domains.lotsizing.instance import packaged
from decisions.domains.lotsizing.plant import Plant, PlantState
from decisions.frames import SLOTS, UNITS, unit_id
from decisions.store import decision_log
from decisions.store.database import Database
from tests.conftest import copied
from tests.dashboards.plan_ledger import COSTS, HORIZON, INSTANCE, PERIODS, judged, planned
from tests.dashboards.reading import unfold
from tests.dashboards.samples import DAY, START, begun

Modules = Callable[[str], ModuleType]
HERE = {"domain": "lotsizing", "plant": "6x3/1"}
LAST = START + (PERIODS - 1) * DAY  # the newest decided day


@pytest.fixture(scope="module")
def plans(postgres_url: str, template: str) -> Generator[Database]:
    """Two plants with plans, to read alone."""
    with copied(postgres_url, template) as database:
        planned(database)
        yield database


@pytest.fixture
def page(dashboard: AppTest) -> AppTest:
    """The page, before it is run over a database."""
    return dashboard.run().switch_page("pages/plan.py")


def over(monkeypatch: pytest.MonkeyPatch, db: Database, page: AppTest, **asked: str) -> AppTest:
    """The page over a database, at an address."""
    monkeypatch.setenv("DECISIONS_DATABASE_URL", db.url)
    for name, value in asked.items():
        page.query_params[name] = value
    page.run()
    assert not page.exception
    return page


def _stored(db: Database) -> tuple[list[dict[str, Any]], pl.DataFrame]:
    """Payloads and decisions of the first plant, by day."""
    ids = [
        unit_id((int((START + n * DAY).timestamp()) - 60) // 60, 1) * SLOTS for n in range(PERIODS)
    ]
    rows = db.read("decision/by_id", domain="lotsizing", id_list=ids)
    return [json.loads(each) for each in rows["payload"]], rows


def test_an_empty_ledger_says_what_to_run(
    page: AppTest, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    over(monkeypatch, database, page)

    assert not page.error
    assert "No plant has been planned yet" in page.info[0].value
    assert "make run" in page.info[0].value


def test_a_database_that_cannot_be_reached_is_a_sentence(
    page: AppTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DECISIONS_DATABASE_URL", "postgresql://postgres@127.0.0.1:1/none")

    page.run()

    assert not page.exception
    assert "cannot be reached" in page.error[0].value


def test_plants_without_a_decision_wait_for_one(
    page: AppTest, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun(database, "lotsizing")
    unit = {
        "unit_id": unit_id(int(START.timestamp()) // 60, 0),
        "reference": "a",
        "observed_at": START,
        "payload": '{"plant": "6x3/1", "set_up": [1], "inventory": [3], "period": 0}',
    }
    frame = pl.DataFrame([unit], schema=UNITS)
    decision_log.append(database, "lotsizing", "unit", "a", frame, now=START + DAY)

    over(monkeypatch, database, page)

    assert "none is planned yet" in page.info[0].value


def test_a_domain_without_plans_is_said(
    page: AppTest, plans: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    over(monkeypatch, plans, page, domain="payments")

    assert "nothing of “payments”" in page.warning[0].value
    assert page.query_params["domain"] == "lotsizing"


def test_the_coming_day_is_told_in_a_sentence_and_every_part_is_drawn(
    page: AppTest, plans: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    over(monkeypatch, plans, page, **HERE)

    assert not page.error
    assert f"The newest plan is of {LAST:%a %-d %b %Y}" in page.warning[0].value
    _, decisions = _stored(plans)
    expected = -decisions["scores"][-1][0]
    said = page.markdown[0].value
    assert said.startswith(f"**{LAST:%a %-d %b}:**")
    assert f"**{expected:.1f} cost units**" in said
    assert [each.value for each in page.subheader] == [
        "What does each machine make?",
        "Does stock last?",
    ]
    assert len(page.get("vega_lite_chart")) == 2
    unfold(page, "costs", "learning", "gap")
    assert not page.error
    assert len(page.get("vega_lite_chart")) == 5
    metrics = {each.label: each.value for each in page.metric}
    assert metrics["Expected cost of the day"] == f"{expected:.1f}"
    behind = np.array(decisions["nominal"][-1])[HORIZON * 6 :][18:24]  # lost of the first day
    assert list(metrics) == [
        "Expected cost of the day",
        "Expected lost sales of the day",
        "Items out of stock now",
        "Cost of the 14 days before",
        "Champion above the bound, cost units a period",
        "Champion against H2, cost units a period",
    ]
    assert metrics["Expected lost sales of the day"] == f"{behind.sum():.1f} units"
    stock = plans.read("plan/items", **HERE)["stock"]
    assert metrics["Items out of stock now"] == f"{(stock == 0).sum()} of 6"
    assert metrics["Champion above the bound, cost units a period"] == "+2.30"
    assert metrics["Champion against H2, cost units a period"] == "+0.00"
    evaluated = "over 1,000 simulated episodes, the same for all, with its 95 % interval"
    assert any(evaluated in each.value for each in page.caption)


def test_the_plant_and_the_item_are_in_the_address(
    page: AppTest, plans: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    over(monkeypatch, plans, page, domain="lotsizing", plant="6x3/2", item="5")

    assert page.selectbox[1].value == "6x3/2"
    assert len(page.warning) == 1  # that the plan is old
    unfold(page, "stock table")
    table = page.dataframe[0].value
    assert set(table["Item"]) == {5}

    page.selectbox[1].select("6x3/1").run()
    assert not page.exception
    assert page.query_params["plant"] == "6x3/1"


def test_machines_are_shown_as_decided_and_then_as_planned(plans: Database) -> None:
    payloads, decisions = _stored(plans)
    nominal = np.array(decisions["nominal"][-1])[: HORIZON * 6].reshape(HORIZON, 2, 3)

    cells = plans.read("plan/machines", **HERE, periods=15)

    states = cells.group_by("state", maintain_order=True).len().rows()
    assert states == [("past", 14 * 3), ("now", 3), ("planned", (HORIZON - 1) * 3)]
    assert cells["starts_at"].unique().sort()[0] == LAST - 14 * DAY
    now = cells.filter(pl.col("state") == "now")
    assert now["starts_at"].unique().to_list() == [LAST]
    assert [*now["item"], *now["quantity"]] == decisions["action"][-1].to_list()
    assert now["item_before"].to_list() == payloads[-1]["set_up"]
    coming = cells.filter(pl.col("state") != "past")
    items = coming["item"].to_numpy().reshape(HORIZON, 3)
    np.testing.assert_array_equal(items, nominal[:, 0])
    np.testing.assert_array_equal(coming["quantity"].to_numpy().reshape(HORIZON, 3), nominal[:, 1])
    before = np.concatenate([[payloads[-1]["set_up"]], items[:-1]])
    changes = (items > 0) & (items != before)
    np.testing.assert_array_equal(coming["set_up"].to_numpy().reshape(HORIZON, 3), changes)
    assert changes.any()


def test_stock_is_what_the_next_day_began_with_and_then_the_forecast(plans: Database) -> None:
    payloads, decisions = _stored(plans)
    behind = np.array(decisions["nominal"][-1])[HORIZON * 6 :].reshape(HORIZON, 4 * 6 + 3)

    rows = plans.read("plan/stock", **HERE, periods=15)

    past = rows.filter(pl.col("state") == "past")
    for name, key in (("stock", "inventory"), ("lost", "lost"), ("made", "produced")):
        told = np.array([each[key] for each in payloads[-14:]])
        np.testing.assert_array_equal(past[name].to_numpy().reshape(14, 6), told)
    coming = rows.filter(pl.col("state") != "past")
    for place, name in enumerate(("low", "middle", "high", "lost_expected")):
        found = coming[name].to_numpy().reshape(HORIZON, 6)
        np.testing.assert_array_equal(found, behind[:, 6 * place : 6 * place + 6])
    planned = coming["made"].to_numpy().reshape(HORIZON, 6)
    np.testing.assert_array_equal(planned[0], _made(decisions))


def _made(decisions: pl.DataFrame) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Net units by item of the newest action."""
    item, quantity = np.array(decisions["action"][-1]).reshape(2, 3)
    made = np.zeros(INSTANCE.items)
    np.add.at(made, item[item > 0].astype(int) - 1, quantity[item > 0])
    return made


def test_costs_add_up_to_rewards_and_expectations_to_scores(plans: Database) -> None:
    payloads, decisions = _stored(plans)

    costs = plans.read("plan/costs", **HERE, periods=15)

    past = (
        costs.filter(pl.col("state") == "past")
        .group_by("starts_at", maintain_order=True)
        .agg(pl.col("realised", "expected").sum())
    )
    told = [each["setup_cost"] + each["lost_cost"] + each["holding_cost"] for each in payloads]
    np.testing.assert_allclose(past["realised"].to_numpy(), told[-14:])
    scores = np.array([each[0] for each in decisions["scores"]])
    np.testing.assert_allclose(past["expected"].to_numpy(), -scores[-15:-1])
    ahead = costs.filter(pl.col("state") != "past")
    assert ahead["starts_at"].n_unique() == HORIZON
    assert ahead["realised"].null_count() == ahead.height


def test_the_first_expected_cost_is_the_plants_own(plans: Database) -> None:
    payloads, decisions = _stored(plans)
    plant = Plant(INSTANCE, backend="numpy")
    chosen = np.array(decisions["action"][-1])[None, :3].astype(np.int64)
    state = PlantState(
        np.array([payloads[-1]["inventory"]], dtype=np.int32),
        np.array([payloads[-1]["set_up"]], dtype=np.int16),
        np.zeros(1, dtype=np.int32),
    )
    post, setup_cost = plant.apply(state, chosen)
    lost, holding = plant.expected_costs(post)

    now = plans.read("plan/costs", **HERE, periods=1).filter(pl.col("state") == "now")

    np.testing.assert_allclose(
        now["expected"].to_numpy(), [setup_cost[0], lost[0], holding[0]], atol=1e-9
    )


def test_items_run_out_when_the_forecast_says(plans: Database) -> None:
    stock = plans.read("plan/stock", **HERE, periods=1)

    items = plans.read("plan/items", **HERE)

    assert items["item"].to_list() == list(range(1, 7))
    for name, column in (("likely_out_at", "middle"), ("may_run_out_at", "low")):
        first = stock.filter(pl.col(column) == 0).group_by("item").agg(pl.col("starts_at").min())
        found = items.drop_nulls(name).select("item", name).rows()
        assert dict(found) == dict(first.rows())
    assert items.filter(~pl.col("made"))["item"].to_list() == [5]


def test_the_champion_stands_between_bound_and_heuristics(plans: Database) -> None:
    standing = plans.read("plan/standing", domain="lotsizing", name_list=list(COSTS))

    assert standing["cost"].is_sorted()
    assert standing.filter(pl.col("role") == "estimate").height == len(COSTS)
    [champion] = standing.filter(pl.col("role") == "champion").to_dicts()
    assert (champion["name"], champion["generation"]) == ("baseline", 0)
    assert champion["above_bound"] == pytest.approx(17.4 - 15.1)
    assert champion["bound_share"] == pytest.approx((17.4 - 15.1) / 15.1)
    assert champion["above_rotation"] == pytest.approx(0.0)
    assert champion["lower"] < champion["cost"] < champion["upper"]
    assert sorted(standing.filter(pl.col("role") == "candidate")["name"]) == [
        "pdppo-1",
        "pdppo-2",
        "ppo-1",
        "ppo-2",
    ]


def test_curves_are_costs_by_kind_of_policy(plans: Database) -> None:
    curves = plans.read("plan/curves", domain="lotsizing")

    assert curves.group_by("kind", "policy").len().sort("policy").rows() == [
        ("pdppo", "pdppo-1", 21),
        ("pdppo", "pdppo-2", 21),
        ("ppo", "ppo-1", 21),
        ("ppo", "ppo-2", 21),
    ]
    assert (curves["lower"] < curves["cost"]).all()
    assert (curves["cost"] < curves["upper"]).all()


def test_curves_of_another_plant_are_left_out(database: Database) -> None:
    planned(database)
    before = database.read("plan/curves", domain="lotsizing")
    later = START + (PERIODS + 1) * DAY
    judged(database, "lotsizing", instance=packaged("tiny_2x1"), now=later)

    curves = database.read("plan/curves", domain="lotsizing")

    assert curves.equals(before)
    assert set(curves["plant"]) == {"6x3"}


def test_a_past_day_without_an_outcome_costs_nothing_that_is_known(
    page: AppTest, plans: Database, monkeypatch: pytest.MonkeyPatch, modules: Modules
) -> None:
    queries, charts = modules("queries"), modules("plan_charts")
    read, drawn = queries.read, []

    def without_a_day(name: str, **asked: Any) -> pl.DataFrame:
        rows = read(name, **asked)
        if name != "plan/costs":
            return rows
        lost = pl.col("starts_at") == LAST - 3 * DAY
        return rows.with_columns(pl.when(~lost).then("realised").alias("realised"))

    def spent(parts: pl.DataFrame, totals: pl.DataFrame, *, ink: str) -> Any:
        drawn.append((parts, totals))
        return charted(parts, totals, ink=ink)

    charted = charts.costs
    monkeypatch.setattr(queries, "read", without_a_day)
    monkeypatch.setattr(charts, "costs", spent)
    page.session_state["unfolded costs"] = True
    over(monkeypatch, plans, page, **HERE)

    [(parts, totals)] = drawn
    unknown = parts.filter(pl.col("starts_at") == LAST - 3 * DAY)
    assert unknown["cost"].to_list() == [None] * 3
    assert totals.height == 13
    assert parts.filter(pl.col("state") != "past")["cost"].null_count() == 0


def test_a_simulated_evaluation_is_not_told_as_one_from_logs(
    dashboard: AppTest, plans: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = dashboard.run().switch_page("pages/off_policy.py")

    over(monkeypatch, plans, page, domain="lotsizing", generation="1")

    assert not page.error
    said = page.markdown[0].value
    assert "each ran the same 1,000 simulated episodes" in said
    assert "+0.80 [-0.10 to +1.70] cost units a period" in said
    assert "held-out" not in said
    assert [each.value for each in page.subheader] == [
        "What would each earn?",
        "What else was checked?",
    ]


def test_a_distance_is_allowed_up_to_its_limit(modules: Callable[[str], ModuleType]) -> None:
    verdicts, unit = modules("verdicts"), modules("units").unit_of("lotsizing")

    assert verdicts.allowed("demand_drift", 0.0, 5.0, unit) == "at most +5.00 standard errors"
    gain = verdicts.allowed("difference_from_rotation", 0.0, float("inf"), unit)
    assert gain == "at least +0.00 cost units a period"


@pytest.fixture
def words(modules: Callable[[str], ModuleType]) -> ModuleType:
    return modules("plan_words")


def _cells(*machines: tuple[int, int]) -> pl.DataFrame:
    """Cells of one day: what each machine made before, and makes."""
    return pl.DataFrame(
        [
            {
                "state": "now",
                "starts_at": START,
                "machine": number,
                "item_before": before,
                "item": item,
                "set_up": item not in (0, before),
            }
            for number, (before, item) in enumerate(machines, start=1)
        ]
    )


def _items(*rows: tuple[int, bool, int | None, int | None]) -> pl.DataFrame:
    """Items with stock, whether they are made, and in how many days they (may) run out."""
    return pl.DataFrame(
        [
            {
                "item": number,
                "stock": stock,
                "made": made,
                "likely_out_at": None if likely is None else START + likely * DAY,
                "may_run_out_at": None if may is None else START + may * DAY,
                "lost_expected": 0.0,
            }
            for number, (stock, made, likely, may) in enumerate(rows, start=1)
        ],
        schema_overrides={
            "likely_out_at": pl.Datetime("us", "UTC"),
            "may_run_out_at": pl.Datetime("us", "UTC"),
        },
    )


def test_the_headline_names_who_changes_over_and_what_runs_out(words: ModuleType) -> None:
    said = words.headline(
        _cells((1, 3), (0, 2), (4, 0), (5, 5)),
        _items((9, True, 3, 2), (4, True, None, 1), (0, False, 0, 0), (5, False, 2, 1)),
        {"set-up": 12.0, "lost sales": 0.0, "holding": 2.25},
        today=date(2026, 1, 4),
    )

    assert said == (
        "**Tomorrow, Mon 5 Jan:** **2 machines change over** (machine 1 from item 1 to 3; machine"
        " 2 from idle to 2), machine 3 stops (made item 4). Item 1 is **likely to run out on"
        " Thu 8 Jan**; item 2 may run out on Tue 6 Jan. Not in the plan: 1 item out of"
        " stock, 1 more out by Wed 7 Jan."
        " The day is expected to cost **14.2 cost units** (12.0 set-up, 2.2 holding)."
    )


def test_what_is_planned_and_out_of_stock_comes_first_and_lasting_idleness_apart(
    words: ModuleType,
) -> None:
    said = words.headline(
        _cells((0, 0), (2, 0)),
        _items((0, True, 0, 0), (0, True, 0, 0), (9, True, 3, 2)),
        {"lost sales": 4.0},
        today=date(2026, 1, 5),
    )

    assert "no machine of 2 changes over, machine 2 stops (made item 2), machine 1 idle." in said
    assert "Items 1 and 2 are **out of stock**; item 3 is **likely to run out on" in said


def test_a_plan_is_stale_once_its_day_has_passed(words: ModuleType) -> None:
    assert words.stale(START, today=START.date()) is None
    assert "decide step has not run" in words.stale(START, today=(START + DAY).date())


def test_a_quiet_day_is_said_to_be_one(words: ModuleType) -> None:
    said = words.headline(
        _cells((1, 1), (2, 2)),
        _items((90, True, None, None), (80, True, None, None)),
        {"set-up": 0.0, "lost sales": 0.0, "holding": 1.7},
        today=date(2026, 1, 5),
    )

    assert said == (
        "**Today, Mon 5 Jan:** no machine of 2 changes over. Nothing that the plan makes is about"
        " to run out. The day is expected to cost **1.7 cost units** (1.7 holding)."
    )


def test_many_changes_are_counted_and_the_first_are_named(words: ModuleType) -> None:
    said = words.headline(
        _cells(*[(1, 2)] * 6),
        _items(*[(9, True, None, 4)] * 5),
        {"holding": 1.0},
        today=date(2026, 2, 1),
    )

    assert "**6 machines change over**" in said
    assert "machine 4 from item 1 to 2 and 2 more)" in said
    assert "5 items may run out on Fri 9 Jan" in said


def test_charts_of_items_begin_with_what_runs_out_first(words: ModuleType) -> None:
    titles = words.titles(
        _items(
            (9, True, None, None),
            (4, True, None, 5),
            (3, True, 2, 1),
            (0, False, 0, 0),
            (0, True, 0, 0),
            (7, False, 1, 1),
        )
    )

    assert list(titles.items()) == [
        (5, "Item 5 ▼ out of stock"),
        (3, "Item 3 ▼ out 7 Jan"),
        (2, "Item 2 ▽ may be out 10 Jan"),
        (1, "Item 1"),
        (4, "Item 4 · not in the plan"),
        (6, "Item 6 ▼ out 6 Jan · not made"),
    ]


def test_an_action_of_machines_is_told_by_machine(modules: Callable[[str], ModuleType]) -> None:
    actions = modules("actions")
    items = [3, 0, 1, 7, 15, 9, 8, 12, 16, 17]
    quantities = [24.0, 0.0, *[9.0] * 8]

    name = actions.name("lotsizing", [*items, *quantities])
    table = actions.by_place("lotsizing", [*items, *quantities])

    assert name == "items 3, none, 1, 7, 15, 9, 8, 12, 16, 17 on machines 1 to 10"
    assert table.columns == ["place", "item", "units"]
    assert table.rows()[:2] == [("machine 1", 3, 24), ("machine 2", 0, 0)]
    assert actions.by_place("lotsizing", [3.0]) is None
    assert actions.name("lotsizing", [3.0, 1.0, 2.5]) == "3, 1, 2.5"
    assert actions.by_place("payments", [3.0]) is None


def test_an_action_of_another_plant_has_the_machines_of_that_plant(modules: Modules) -> None:
    actions = modules("actions")

    assert actions.name("lotsizing", [2, 0, 5, 30.0, 0.0, 9.0]) == (
        "items 2, none, 5 on machines 1 to 3"
    )
    assert actions.by_place("lotsizing", [2, 0, 5, 30.0, 0.0, 9.0]).rows() == [
        ("machine 1", 2, 30),
        ("machine 2", 0, 0),
        ("machine 3", 5, 9),
    ]
