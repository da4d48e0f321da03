"""The generations page in its empty, usual and failed states."""

import json
from importlib import import_module
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from decisions.store import generations
from decisions.store.database import Database
from tests.dashboards.samples import DAY, START, begun, judged, passed

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

    page.run()

    assert not page.exception
    assert not page.error
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
    assert "lower bound -2.80 points, not above +0.00" in worse["Why"]


def test_only_a_promotion_makes_a_champion(
    page: AppTest, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun(database)
    passed(database, START + DAY)
    monkeypatch.setenv("DECISIONS_DATABASE_URL", database.url)

    page.run()

    assert "the champion stays" in page.markdown[0].value
    assert page.dataframe[0].value["Verdict"].to_list() == ["passed"]

    now = START + 2 * DAY
    generations.promote(database, "payments", 1, by="ann", reason="by hand", now=now)
    st.cache_data.clear()
    page.run()

    assert "generation 1 (squarecb) became champion" in page.markdown[0].value
    assert "promoted by ann" in page.markdown[0].value
    assert page.dataframe[0].value["Verdict"].to_list() == ["promoted"]


def test_a_broken_rule_is_told_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(APP.parent))
    queries = import_module("queries")

    infinite = {"low": "-inf", "high": 0.005, "measured": 0.01, "kept": False}
    for name, rule, words in (
        ("worst_segment_loss", infinite, "loss in the worst segment is 0.01, at most 0.005 is"),
        ("odd_one", {**infinite, "measured": None}, "odd one was not measured, at most 0.005 is"),
        (
            "ess_share",
            {"low": 0.05, "high": 1.0, "measured": 0.04, "kept": False},
            "at least 0.05",
        ),
        ("support_violation", {"low": 0, "high": 0, "measured": 1, "kept": False}, "must be 0"),
    ):
        told = queries._reason("", json.dumps([{"rule": name, **rule}]))
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
    assert len(page.dataframe[0].value) == 4


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
    assert says in page.error[0].value
    assert "decisions up" in page.markdown[0].value
