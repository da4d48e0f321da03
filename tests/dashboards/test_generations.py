"""The generations page in its empty, usual and failed states."""

from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from decisions.store.database import Database
from tests.dashboards.samples import begun, judged

APP = Path(__file__).parents[2] / "dashboards" / "app.py"


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AppTest:
    monkeypatch.setenv("DECISIONS_HOME", str(tmp_path))
    monkeypatch.delenv("DECISIONS_DATABASE_URL", raising=False)
    st.cache_data.clear()
    return AppTest.from_file(str(APP), default_timeout=60)


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
