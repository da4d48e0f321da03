"""The generations page in its empty, usual and failed states."""

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from decisions.flow.steps import LEASE_SECONDS
from decisions.store import generations, leases
from decisions.store.database import Database
from tests.dashboards.reading import cells, plain, unfold
from tests.dashboards.samples import DAY, START, begun, judged, later, passed, planned

APP = Path(__file__).parents[2] / "dashboards" / "app.py"


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AppTest:
    monkeypatch.setenv("DECISIONS_HOME", str(tmp_path))
    monkeypatch.delenv("DECISIONS_DATABASE_URL", raising=False)
    app = AppTest.from_file(str(APP), default_timeout=60).run()
    return app.switch_page("pages/generations.py")


def test_an_empty_store_says_what_to_run(
    page: AppTest, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DECISIONS_DATABASE_URL", database.url)

    page.run()

    assert not page.exception
    assert "No generation has been trained yet" in page.info[0].value
    assert "make run" in page.info[0].value


def test_a_store_with_the_baseline_alone_says_so(
    page: AppTest, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun(database)
    monkeypatch.setenv("DECISIONS_DATABASE_URL", database.url)

    page.run()

    assert not page.exception
    assert "Only the baseline" in page.info[0].value


def test_generations_show_champion_verdicts_and_reasons(
    page: AppTest, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged(database)
    monkeypatch.setenv("DECISIONS_DATABASE_URL", database.url)

    unfold(page, "generations", "values", "champions")

    assert not page.exception
    assert not page.error
    assert len(page.get("vega_lite_chart")) == 3
    table = page.dataframe[0].value
    assert table["Generation"].to_list() == list(range(10, 0, -1))
    refused = table[table["Generation"] == 2].iloc[0]
    assert refused["Value, %"] == "unknown"
    assert "effective sample size 12.0" in refused["Why"]
    assert page.metric[0].label == "Champion"
    assert any("cannot support" in caption.value for caption in page.caption)
    assert any("with its 95 % interval" in caption.value for caption in page.caption)
    worse = table[table["Generation"] == 4].iloc[0]
    assert worse["Verdict"] == "rejected"
    assert "lower bound -2.80 percentage points, not above +0.00" in worse["Why"]
    newest = cells(page)
    assert [row["Generation"].partition(":")[0] for row in newest] == [
        "10",
        "9",
        "8",
        "7",
        "6",
        "5",
    ]
    assert newest[0]["Verdict"] == "refused"
    assert "effective sample size 12.0" in newest[0]["Why"]
    assert "lower bound" in newest[1]["Why"]


def test_candidates_that_wait_are_told_from_those_that_nobody_works_on(
    page: AppTest, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned(database, "payments", START + DAY)
    monkeypatch.setenv("DECISIONS_DATABASE_URL", database.url)

    def said() -> list[str]:
        st.cache_data.clear()
        page.run()
        assert not page.exception
        return [row["Verdict"] for row in sorted(cells(page), key=lambda row: row["Generation"])]

    idle = said()
    leases.acquire(database, "payments/train/1", holder="first", seconds=LEASE_SECONDS)
    first = said()
    leases.acquire(database, "payments/evaluate/2", holder="second", seconds=LEASE_SECONDS)
    both = said()
    later(database, minutes=31)  # both workers were killed

    assert idle == ["not judged", "not judged"]
    assert first == ["being trained", "waiting"]
    assert both == ["being trained", "being evaluated"]
    assert said() == idle


def test_only_a_promotion_makes_a_champion(
    page: AppTest, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun(database)
    passed(database, START + DAY)
    monkeypatch.setenv("DECISIONS_DATABASE_URL", database.url)

    page.run()

    assert "the champion stays" in page.markdown[0].value
    assert [row["Verdict"] for row in cells(page)] == ["passed"]

    now = START + 2 * DAY
    generations.promote(database, "payments", 1, by="ann", reason="by hand", now=now)
    st.cache_data.clear()
    page.run()

    assert "generation 1 (squarecb) became champion" in page.markdown[0].value
    assert "promoted by ann" in page.markdown[0].value
    assert [row["Verdict"] for row in cells(page)] == ["promoted"]


@pytest.mark.parametrize(
    ("domain", "name", "rule", "words"),
    [
        (
            "payments",
            "worst_segment_loss",
            {"low": "-inf", "high": 0.005, "measured": 0.01, "kept": False},
            "loss in the worst segment is +1.00 percentage points, wanted at most +0.50",
        ),
        (
            "elsewhere",
            "worst_segment_loss",
            {"low": "-inf", "high": 0.005, "measured": 1.5, "kept": False},
            "is +1.50 units of reward, wanted at most +0.01 units of reward",
        ),
        (
            "payments",
            "odd_one",
            {"low": "-inf", "high": 0.005, "measured": None, "kept": False},
            "odd one is not measured, wanted at most 0.005",
        ),
        (
            "payments",
            "ess_share",
            {"low": 0.05, "high": 1.0, "measured": 0.04, "kept": False},
            "still informs is 4 %, wanted at least 5 %",
        ),
        (
            "payments",
            "support_violation",
            {"low": 0, "high": 0, "measured": 1, "kept": False},
            "never tried is 100 %, must be 0 %",
        ),
    ],
)
def test_a_broken_rule_is_told_in_words(
    monkeypatch: pytest.MonkeyPatch, domain: str, name: str, rule: dict[str, Any], words: str
) -> None:
    monkeypatch.syspath_prepend(str(APP.parent))
    verdicts, units = import_module("verdicts"), import_module("units")

    told = verdicts._reason("", json.dumps([{"rule": name, **rule}]), units.unit_of(domain))

    assert words in told["why"]
    assert told["margin"] is None


def test_the_address_names_the_domain(
    page: AppTest, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged(database, cutoffs=1)
    judged(database, "open_bandit", cutoffs=2)
    monkeypatch.setenv("DECISIONS_DATABASE_URL", database.url)
    page.query_params["domain"] = "payments"

    page.run()

    assert not page.exception
    assert page.selectbox[0].value == "payments"
    page.selectbox[0].select("open_bandit").run()
    assert not page.exception
    assert page.query_params["domain"] == "open_bandit"
    assert len(cells(page)) == 4


@pytest.mark.parametrize(
    ("url", "says"),
    [
        (None, "DECISIONS_DATABASE_URL"),
        ("postgresql://postgres@127.0.0.1:1/none", "cannot be reached"),
    ],
)
def test_a_missing_database_is_a_sentence_with_the_way_out(
    page: AppTest, monkeypatch: pytest.MonkeyPatch, url: str | None, says: str
) -> None:
    if url:
        monkeypatch.setenv("DECISIONS_DATABASE_URL", url)

    page.run()

    assert not page.exception
    assert says in plain(page.error[0].value)
    assert "decisions up" in page.markdown[0].value


def test_a_generation_is_opened_by_its_address_with_every_rule_of_the_gate(
    page: AppTest, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged(database)
    monkeypatch.setenv("DECISIONS_DATABASE_URL", database.url)
    page.query_params["domain"] = "payments"
    page.query_params["generation"] = "4"

    page.run()

    assert not page.exception
    assert any("**reject**" in each.value for each in page.markdown)
    rule = next(row for row in cells(page) if "Rule" in row)
    assert (rule["Kept"], rule["Measured"]) == ("✗ not kept", "-2.80 percentage points")
    assert rule["Allowed"] == "above +0.00 percentage points"
    assert any("run of `payments_generation`" in each.value for each in page.markdown)


def test_a_champion_says_who_promoted_it_and_why(
    page: AppTest, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged(database, cutoffs=2)
    monkeypatch.setenv("DECISIONS_DATABASE_URL", database.url)
    page.query_params["generation"] = "1"

    page.run()

    assert any("promoted by gate: passed" in each.value for each in page.markdown)
    page.query_params["generation"] = "0"
    page.run()
    assert any("baseline" in each.value for each in page.info)


def test_two_generations_differ_in_what_is_recorded_of_them(
    page: AppTest, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged(database, cutoffs=3)
    monkeypatch.setenv("DECISIONS_DATABASE_URL", database.url)
    page.query_params["compare"] = "1,2"

    page.run()

    assert not page.exception
    differing = {row["Field"]: row for row in cells(page) if "Field" in row}
    recipe = differing["recipe"]
    assert (recipe["Generation 1"], recipe["Generation 2"]) == ("squarecb", "fastcb")
    assert "SHA-256" in differing
    assert "known until" not in differing
    page.toggle[0].set_value(True).run()
    assert "known until" in {row["Field"] for row in cells(page) if "Field" in row}
    assert page.query_params["compare"] in ("1,2", ["1,2"])
