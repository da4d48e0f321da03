"""The overview in its empty, usual and failed states."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from decisions.flow.steps import LEASE_SECONDS
from decisions.store import leases
from decisions.store.database import Database
from tests.dashboards.reading import plain
from tests.dashboards.samples import later, planned

NOW = datetime.now(UTC)
DAY = timedelta(days=1)


def _answers(page: AppTest) -> str:
    return plain("\n".join(each.value for each in page.markdown))


def test_an_empty_store_says_what_to_run(
    dashboard: AppTest, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DECISIONS_DATABASE_URL", database.url)

    dashboard.run()

    assert not dashboard.exception
    assert not dashboard.error
    assert "Nothing has been decided yet. Run `make run`" in dashboard.info[0].value


def test_every_domain_is_answered_for_the_urgent_one_first(
    dashboard: AppTest, ledger: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DECISIONS_DATABASE_URL", ledger.url)

    dashboard.run()

    assert not dashboard.exception
    assert not dashboard.error
    told = _answers(dashboard)
    assert "3 of 6 domains need a look" in told
    titles = [line for line in told.splitlines() if line.startswith("#### ")]
    assert titles[0] == "#### Payments: authorisation by composed interventions"
    assert len(titles) == 6
    assert ":red-badge[:material/error: Oscillating]" in told
    number = r"\+\d\.\d\d"
    gain = f"{number} percentage points against the control \\[{number} to {number}\\], 1 cycle"
    assert re.search(f"{gain} until 23 January", told)
    assert "2 rows broke a rule and were set aside" in told
    [action] = ledger.read("diagnosis/latest").filter(pl.col("verdict") == "oscillating")["action"]
    assert action in told
    assert "No generation yet: `decisions run` begins it." in told
    changed = dashboard.text[0].value
    assert changed.startswith("• ann.lee@example.com made 32 (squarecb) champion")
    assert "1 decision row set aside: propensity is not above 0 and finite" in changed
    champion = next(each.value for each in dashboard.caption if "Champion 32" in each.value)
    assert "decisions until 26 Jan 2026" in champion
    assert "newest cycle 25 Jan 2026" in champion


def test_a_card_leads_to_the_series_that_oscillates(
    dashboard: AppTest, ledger: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DECISIONS_DATABASE_URL", ledger.url)

    dashboard.run()

    links: list[Any] = [*dashboard.get("page_link")]
    link = next(each.proto for each in links if each.label == "Oscillation of payments")
    assert link.page == "oscillation"
    assert link.query_string == "domain=payments&series=squarecb"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        (None, "DECISIONS_DATABASE_URL"),
        ("postgresql://postgres@127.0.0.1:1/none", "cannot be reached"),
    ],
)
def test_a_missing_database_is_a_sentence_with_the_way_out(
    dashboard: AppTest, monkeypatch: pytest.MonkeyPatch, url: str | None, says: str
) -> None:
    if url:
        monkeypatch.setenv("DECISIONS_DATABASE_URL", url)

    dashboard.run()

    assert not dashboard.exception
    assert says in plain(dashboard.error[0].value)
    assert "decisions up" in dashboard.markdown[0].value
    assert dashboard.button[0].label == "Try again"


def test_the_time_between_two_cutoffs_of_a_weekly_domain_does_not_make_the_next_one_late(
    dashboard: AppTest, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DECISIONS_DATABASE_URL", database.url)
    planned(database, "lotsizing", NOW - timedelta(hours=7), NOW - timedelta(hours=5))

    dashboard.run()

    assert not dashboard.exception
    assert "the next one is late" not in _answers(dashboard)


def test_candidates_in_training_are_work_in_progress_and_those_left_alone_need_a_look(
    dashboard: AppTest, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DECISIONS_DATABASE_URL", database.url)
    planned(database, "payments", NOW - 5 * DAY)
    name, seconds = "payments/train/1", LEASE_SECONDS
    leases.acquire(database, name, holder="killed", seconds=seconds)

    busy = _said(dashboard)
    later(database, minutes=31)
    killed = _said(dashboard)
    lease = leases.acquire(database, name, holder="killed", seconds=seconds)
    leases.release(database, lease)
    between = _said(dashboard)
    later(database, minutes=2)
    idle = _said(dashboard)

    for said in (busy, between):
        assert "Nothing needs a look" in said
        assert "2 new candidates are being trained and judged" in said
    for said in (killed, idle):
        assert "The newest cycle is 5 days old: the next one is late." in said
        assert "2 of 2 new candidates are not judged." in said
        assert "being trained" not in said


def _said(dashboard: AppTest) -> str:
    """What the page says now."""
    st.cache_data.clear()
    page = dashboard.run()
    return "\n".join(each.value for each in (*page.markdown, *page.caption))
