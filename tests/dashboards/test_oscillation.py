"""The oscillation page in its empty, usual and failed states, and with awkward series."""

import json
import re

import polars as pl
import pytest
from streamlit.testing.v1 import AppTest

from decisions.store.database import Database
from tests.dashboards.reading import plain, unfold


def _everyone(page: AppTest) -> list[tuple[str, str]]:
    """Series and verdict of each line of the last table."""
    [table] = [each.value for each in page.markdown if each.value.startswith("| Series")]
    verdict = re.compile(r"\| (\w+) \| :\w+\[:material/\w+: ([\w ]+)\]")
    return [(found[1], found[2]) for line in table.splitlines() if (found := verdict.match(line))]


@pytest.fixture
def page(dashboard: AppTest) -> AppTest:
    return dashboard.run().switch_page("pages/oscillation.py")


def _subheaders(page: AppTest) -> list[str]:
    return [each.value for each in page.subheader]


def test_an_empty_store_says_what_to_run(
    page: AppTest, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DECISIONS_DATABASE_URL", database.url)

    page.run()

    assert not page.exception
    assert "Nothing has been diagnosed yet" in page.info[0].value
    assert "make run" in page.info[0].value


def test_the_most_serious_series_is_shown_with_verdict_reasons_and_action(
    page: AppTest, ledger: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DECISIONS_DATABASE_URL", ledger.url)

    page.run()

    assert not page.exception
    assert not page.error
    assert page.query_params["domain"] == "payments"
    assert page.query_params["series"] == "squarecb"
    told = plain("\n".join(each.value for each in page.markdown))
    assert ":red-badge[:material/error: Oscillating] candidate squarecb" in told
    stored = ledger.read("diagnosis/latest").row(
        by_predicate=pl.col("verdict") == "oscillating", named=True
    )
    assert stored["explanation"] in told
    assert f"**Recommended:** {stored['action']}" in told
    assert page.text[0].value == "\n".join(f"• {each}" for each in json.loads(stored["reasons"]))
    assert {each.label: each.value for each in page.metric}["Strongest period"] == "2 cycles"
    assert _subheaders(page) == [
        "The series",
        "All series of this domain",
        "A closer look",
    ]
    assert len(page.get("vega_lite_chart")) == 1
    latest = ledger.read("diagnosis/latest").filter(pl.col("domain") == "payments")
    assert set(_everyone(page)) == set(latest.select("series", "verdict").rows())
    assert _everyone(page)[0] == ("squarecb", "oscillating")


def test_every_figure_is_there_as_a_table_too(
    page: AppTest, ledger: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DECISIONS_DATABASE_URL", ledger.url)
    page.query_params["part"] = "Rhythm"

    unfold(page, "series", "rhythm")

    assert not page.exception
    assert len(page.dataframe) == 1 + 2
    assert any("More than chance?" in each.value for each in page.caption)
    series = page.dataframe[0].value
    assert len(series) == 16
    assert None not in series["Value, percentage points"].to_list()


@pytest.mark.parametrize(
    ("part", "charts"),
    [
        ("Policy and control", 1),
        ("Rhythm", 2),
        ("What moves with it", 1),
        ("Drift", 4),
        ("Variety", 3),
        ("Calibration", 3),
        ("Training window", 3),
        ("nothing", 0),
    ],
)
def test_what_changed_beside_the_value_is_shown_a_part_at_a_time(
    page: AppTest, ledger: Database, monkeypatch: pytest.MonkeyPatch, part: str, charts: int
) -> None:
    monkeypatch.setenv("DECISIONS_DATABASE_URL", ledger.url)
    page.query_params["part"] = part

    page.run()

    assert not page.error
    assert len(page.get("vega_lite_chart")) == 1 + charts


def test_cycles_without_a_control_are_gaps_and_are_named(
    page: AppTest, ledger: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DECISIONS_DATABASE_URL", ledger.url)
    page.query_params["domain"] = "payments"
    page.query_params["series"] = "deployed"

    page.run()

    assert not page.error
    assert any("Not measured in 2 of 16 cycles" in each.value for each in page.caption)


@pytest.mark.parametrize(
    ("domain", "badge", "says"),
    [
        ("lotsizing", "Inconclusive", "Too few cycles"),
        ("navigation", "Degenerate", "a value that never changes"),
    ],
)
def test_a_series_without_rhythm_says_why_there_is_nothing_to_draw(
    page: AppTest,
    ledger: Database,
    monkeypatch: pytest.MonkeyPatch,
    domain: str,
    badge: str,
    says: str,
) -> None:
    monkeypatch.setenv("DECISIONS_DATABASE_URL", ledger.url)
    page.query_params["domain"] = domain
    page.query_params["part"] = "Rhythm"

    page.run()

    assert not page.exception
    assert not page.error
    assert any(badge in each.value for each in page.markdown)
    assert says in page.info[0].value
    assert any("There is nothing to compare with" in each.value for each in page.caption)
    assert any(each.value.startswith("Not measured for this series") for each in page.caption)


def test_an_unknown_domain_or_series_is_said_and_another_shown(
    page: AppTest, ledger: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DECISIONS_DATABASE_URL", ledger.url)
    page.query_params["domain"] = "parcels"
    page.query_params["series"] = "nobody"

    page.run()

    assert not page.error
    assert [each.value for each in page.warning] == [
        "There is nothing of “parcels” to show yet; this is payments.",
        "There is nothing of “nobody” to show yet; this is squarecb.",
    ]


def test_another_domain_starts_with_its_own_series(
    page: AppTest, ledger: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DECISIONS_DATABASE_URL", ledger.url)
    page.run()

    page.selectbox[0].select("navigation").run()

    assert not page.error
    assert not page.warning
    assert page.query_params["series"] == "ppo"


def test_a_database_that_stops_while_the_page_is_open_is_told(
    page: AppTest, ledger: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DECISIONS_DATABASE_URL", ledger.url)
    page.run()
    assert not page.error

    monkeypatch.setenv("DECISIONS_DATABASE_URL", "postgresql://postgres@127.0.0.1:1/none")
    page.run()

    assert not page.exception
    assert "cannot be reached" in page.error[0].value
    assert "decisions up" in page.markdown[0].value
