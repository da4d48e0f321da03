"""The audit page: verify, export, who changed what, what was set aside."""

import io
import json
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from streamlit.testing.v1 import AppTest

from decisions.flow.references import NO_UNIT
from decisions.store import audit, decision_log, generations
from decisions.store.database import Database
from tests.dashboards.reading import cells, unfold
from tests.dashboards.samples import DAY, START, begun, judged


@pytest.fixture
def page(dashboard: AppTest) -> AppTest:
    """The page, before it is run over a database."""
    return dashboard.run().switch_page("pages/audit.py")


def over(monkeypatch: pytest.MonkeyPatch, db: Database, page: AppTest, **asked: str) -> AppTest:
    """The page over a database, at an address."""
    monkeypatch.setenv("DECISIONS_DATABASE_URL", db.url)
    for name, value in asked.items():
        page.query_params[name] = value
    unfold(page, "verification", "export", "promotions", "versions")
    assert not page.exception
    return page


def press(page: AppTest, label: str) -> None:
    next(button for button in page.button if button.label == label).click().run()
    assert not page.exception


def tamper(db: Database, *statements: str) -> None:
    with db.transaction("owner") as connection:
        connection.exec_driver_sql("set local session_replication_role = replica")
        for statement in statements:
            connection.exec_driver_sql(statement)


def test_an_empty_ledger_says_what_to_run(
    page: AppTest, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    over(monkeypatch, database, page)

    assert "Nothing is sealed yet" in page.info[0].value


def test_a_missing_database_is_a_sentence(page: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DECISIONS_DATABASE_URL", "postgresql://postgres@127.0.0.1:1/none")

    page.run()

    assert not page.exception
    assert "cannot be reached" in page.error[0].value


def test_the_latest_date_that_was_sealed_for_is_not_that_of_a_backfill(
    page: AppTest, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged(database, cutoffs=5)
    begun(database, "lotsizing")  # as of START, after all the others

    over(monkeypatch, database, page)

    assert page.metric[2].value == f"{START + 5 * DAY:%Y-%m-%d}"


def test_an_outcome_that_matched_nothing_is_counted_with_its_reason(
    page: AppTest, own_ledger: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = datetime(2026, 3, 1, tzinfo=UTC)
    strangers = pl.DataFrame(
        {"reference": ["a ", "b "], "reward": [1.0, 0.0], "observed_at": [now] * 2}
    ).with_columns(problem=pl.lit(NO_UNIT))
    decision_log.set_aside(own_ledger, "payments", "outcome", "settle/x", strangers, now=now)

    over(monkeypatch, own_ledger, page)

    [counted] = [row for row in cells(page) if row.get("Reason") == NO_UNIT]
    assert (counted["Kind"], counted["Rows"]) == ("outcome", "2")


def test_the_chain_is_verified_on_a_button(
    page: AppTest, ledger: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = audit.verify(ledger)

    over(monkeypatch, ledger, page)
    assert page.metric[0].value == f"{whole.head.number:,}"
    press(page, "Verify now")

    assert f"Intact: {whole.head.number:,} seals over {whole.rows:,} rows" in page.success[0].value
    assert whole.head.digest.hex() in page.success[0].value

    page.radio[0].set_value("The newest 100 seals")
    press(page, "Verify now")
    assert "Intact: 100 seals" in page.success[0].value
    assert "before them were not checked" in page.success[0].value


def test_an_edited_row_is_named(
    page: AppTest, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged(database, cutoffs=1)
    tamper(database, "update promotion set promoted_by = 'someone else' where number = 1")

    over(monkeypatch, database, page)
    press(page, "Verify now")

    assert "Broken" in page.error[0].value
    assert "promotion" in page.error[0].value
    assert "was edited" in page.error[0].value


def test_an_anchor_of_another_chain_is_refused(
    page: AppTest, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged(database, cutoffs=1)
    foreign = json.dumps({"seal": 1, "digest": "00" * 32, "anchored_at": "2026-01-01"})

    over(monkeypatch, database, page)
    page.file_uploader[0].set_value(("anchor.json", foreign.encode(), "application/json"))
    press(page, "Verify now")
    assert "made anew" in page.error[0].value

    page.file_uploader[0].set_value(("anchor.json", b"no anchor", "application/json"))
    press(page, "Verify now")
    assert "is no anchor" in page.error[0].value


def test_more_rows_than_a_page_reads_take_a_command(
    page: AppTest,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    judged(database, cutoffs=1)
    tamper(
        database,
        "alter table seal drop constraint seal_check",
        "update seal set row_count = 3000000",
    )

    over(monkeypatch, database, page)

    assert "take minutes to read" in page.info[0].value
    assert "Verify now" not in [button.label for button in page.button]
    assert any("too many for a download" in each.value for each in page.info)
    assert any(each.value == "decisions audit verify --anchor FILE" for each in page.code)


def test_evidence_is_packed_and_verifies_without_the_database(
    page: AppTest, ledger: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    over(monkeypatch, ledger, page, domain="open_bandit")
    assert page.code[1].value == "decisions audit export FOLDER --domain open_bandit"
    press(page, "Pack the evidence")

    packed: Any = page.session_state["evidence open_bandit None None"]
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        archive.extractall(tmp_path)
    found = audit.verify_export(tmp_path / "evidence")
    assert found.broken is None
    assert found.scope.domain == "open_bandit"
    assert found.rows > 0


def test_a_span_without_seals_is_said(
    page: AppTest, ledger: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    over(monkeypatch, ledger, page, domain="payments", until="1999-12-31")

    assert any("was sealed in that span" in each.value for each in page.info)


def test_who_promoted_what_and_what_was_set_aside(
    page: AppTest, own_ledger: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    generations.promote(
        own_ledger, "payments", 1, by="ann", reason="rolled back", now=START + 60 * DAY
    )

    over(monkeypatch, own_ledger, page)

    tables: list[Any] = [each.value for each in page.dataframe]
    promoted = next(table for table in tables if "By" in table.columns)
    assert promoted.iloc[0][["Domain", "By", "Why"]].to_list() == [
        "payments",
        "ann",
        "rolled back",
    ]
    assert (promoted["From (UTC)"] == "the beginning").any()
    aside = [row for row in cells(page) if "Reason" in row]
    assert sum(int(row["Rows"]) for row in aside) == 2
    assert next(row["Why"] for row in cells(page) if "By" in row) == "rolled back"
    versions = next(table for table in tables if "Numbers" in table.columns)
    assert set(versions["Domain"]) >= {"payments", "open_bandit"}
