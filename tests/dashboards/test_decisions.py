"""The decisions page: search, one decision opened, and decided again."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import polars as pl
import pytest
from streamlit.testing.v1 import AppTest

from decisions.store import decision_log
from decisions.store.database import Database
from tests.dashboards.reading import plain
from tests.dashboards.samples import begun
from tests.store.samples import NOW, decided, units


@pytest.fixture
def page(dashboard: AppTest) -> AppTest:
    """The page, before it is run over a database."""
    return dashboard.run().switch_page("pages/decisions.py")


def over(monkeypatch: pytest.MonkeyPatch, db: Database, page: AppTest, **asked: str) -> AppTest:
    """The page over a database, at an address."""
    monkeypatch.setenv("DECISIONS_DATABASE_URL", db.url)
    for name, value in asked.items():
        page.query_params[name] = value
    page.run()
    assert not page.exception
    return page


def one_of(db: Database, domain: str, **wanted: Any) -> dict[str, Any]:
    """The newest decision of a domain that has these values."""
    everything = {"low": 0, "high": 2**62, "generation": None, "arm": None, "count": 5000}
    found = db.read("decision/search", domain=domain, **everything)
    for name, value in wanted.items():
        found = found.filter(found[name] == value)
    return db.read("decision/opened", domain=domain, decision_id=int(found["decision_id"][0])).row(
        0, named=True
    )


def test_an_empty_ledger_says_what_to_run(
    page: AppTest, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    over(monkeypatch, database, page)

    assert "No decision has been taken yet" in page.info[0].value
    assert "make run" in page.info[0].value


def test_a_missing_database_is_a_sentence(page: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DECISIONS_DATABASE_URL", "postgresql://postgres@127.0.0.1:1/none")

    page.run()

    assert not page.exception
    assert "cannot be reached" in page.error[0].value


def test_units_that_wait_are_no_decisions(
    page: AppTest, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun(database)
    decision_log.append(database, "payments", "unit", "a", units(2), now=NOW)

    over(monkeypatch, database, page)

    assert "none is decided yet" in page.info[0].value


def test_the_newest_decisions_are_found_and_older_ones_follow(
    page: AppTest, ledger: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    over(monkeypatch, ledger, page, domain="payments")

    first = [int(each) for each in page.dataframe[0].value["Decision"]]
    assert len(first) == 50
    assert first == sorted(first, reverse=True)

    next(button for button in page.button if button.label == "Older").click().run()

    second = [int(each) for each in page.dataframe[0].value["Decision"]]
    assert max(second) < min(first)
    next(button for button in page.button if button.label == "Newest again").click().run()
    assert [int(each) for each in page.dataframe[0].value["Decision"]] == first


def test_decisions_are_searched_by_arm_and_day_and_the_address_keeps_both(
    page: AppTest, ledger: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = one_of(ledger, "payments", arm="explore")
    day = row["observed_at"].date().isoformat()

    over(monkeypatch, ledger, page, domain="payments", arm="explore", since=day, until=day)

    shown = page.dataframe[0].value
    assert set(shown["Arm"]) == {"explore"}
    assert set(shown["Arrived (UTC)"].dt.strftime("%Y-%m-%d")) == {day}
    page.selectbox[2].set_value("control").run()
    assert page.query_params["arm"] in ("control", ["control"])
    assert not page.exception


def test_a_unit_is_found_by_its_reference_and_what_is_not_there_is_said(
    page: AppTest, ledger: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = one_of(ledger, "payments")

    over(monkeypatch, ledger, page, domain="payments", unit=row["reference"])
    assert page.dataframe[0].value["Decision"].to_list() == [str(row["decision_id"])]

    page.text_input[0].set_value(str(row["decision_id"])).run()
    assert page.dataframe[0].value["Unit"].to_list() == [row["reference"]]

    page.text_input[0].set_value("no such unit").run()
    assert "Nothing is stored under “no such unit”" in page.info[0].value
    assert not page.exception


def test_one_decision_is_opened_and_decided_again_bit_for_bit(
    page: AppTest, ledger: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = one_of(ledger, "payments", arm="explore")
    assert row["arm_propensity"] != row["propensity"]

    over(monkeypatch, ledger, page, domain="payments", decision=str(row["decision_id"]))

    told = plain(" ".join(each.value for each in page.markdown))
    assert row["reference"] in told
    assert f"generation {row['generation']}" in told
    assert "run of `payments_decide` for" in told
    assert f"seal {row['seal']}" in told
    tables: list[Any] = [each.value for each in page.dataframe]
    options = next(table for table in tables if "Propensity, %" in table.columns)
    assert abs(options["Propensity, %"].sum() - 100) < 1e-6
    assert options["Number"].to_list() == row["eligible"]
    assert (options["Note"] == "drawn").sum() == 1
    assert options["What it does"].str.len().min() > 0
    assert page.code[0].value == f"decisions replay {row['decision_id']} --domain payments"

    next(button for button in page.button if button.label == "Replay now").click().run()

    assert not page.exception
    assert "Identical" in page.success[0].value
    compared = page.dataframe[-1].value
    assert set(compared["Bits"]) == {"identical"}
    assert compared["Stored"].to_list() == compared["Decided again"].to_list()


def test_a_decision_that_was_altered_differs_in_named_columns(
    page: AppTest, own_ledger: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = one_of(own_ledger, "payments", arm="explore")
    with own_ledger.transaction("owner") as connection:
        connection.exec_driver_sql("set local session_replication_role = replica")
        connection.exec_driver_sql(
            "update decision set uniform = 0.5 where domain = 'payments' and decision_id = %s",
            (row["decision_id"],),
        )

    over(monkeypatch, own_ledger, page, domain="payments", decision=str(row["decision_id"]))
    next(button for button in page.button if button.label == "Replay now").click().run()

    assert not page.exception
    assert "It differs in: number drawn" in page.error[0].value


def test_an_altered_artefact_is_a_sentence(
    page: AppTest, own_ledger: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = one_of(own_ledger, "payments", arm="explore")
    with own_ledger.transaction("owner") as connection:
        connection.exec_driver_sql("set local session_replication_role = replica")
        connection.exec_driver_sql("alter table artifact drop constraint artifact_check")
        connection.exec_driver_sql("update artifact set content = content || 'x'")

    over(monkeypatch, own_ledger, page, domain="payments", decision=str(row["decision_id"]))
    next(button for button in page.button if button.label == "Replay now").click().run()

    assert not page.exception
    assert "digest" in page.error[0].value


@pytest.mark.parametrize("asked", ["17", "not a number", "9" * 30])
def test_a_decision_that_is_not_stored_is_said(
    page: AppTest, ledger: Database, monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    over(monkeypatch, ledger, page, domain="payments", decision=asked)

    assert f"No decision {asked} is stored" in page.warning[0].value
    next(button for button in page.button if button.label == "Back to the search").click().run()
    assert len(page.dataframe[0].value) == 50


def test_a_decision_that_others_took_opens_and_cannot_be_decided_again(
    page: AppTest, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun(database, "open_bandit")
    decision_log.append(database, "open_bandit", "unit", "a", units(1), now=NOW)
    none = pl.lit([], dtype=pl.List(pl.Float64()))
    rows = decided(units(1)).with_columns(
        none.cast(pl.List(pl.Int16())).alias("eligible"),
        *(none.alias(name) for name in ("scores", "probabilities", "nominal")),
        uniform=float("nan"),
    )
    decision_log.append(database, "open_bandit", "decision", "a", rows, now=NOW)
    number = str(rows["decision_id"][0])

    over(monkeypatch, database, page, domain="open_bandit", decision=number)

    assert any("kept the chance of the action taken" in each.value for each in page.info)
    assert any("was not kept" in each.value for each in page.info)
    assert any("not known yet" in each.value for each in page.markdown)
    next(button for button in page.button if button.label == "Replay now").click().run()
    assert not page.exception
    assert "Others took this decision" in page.warning[0].value


def test_a_manager_sees_a_decision_and_only_an_auditor_takes_it_again(
    page: AppTest,
    ledger: Database,
    monkeypatch: pytest.MonkeyPatch,
    modules: Callable[[str], ModuleType],
) -> None:
    sign_in = modules("sign_in")
    monkeypatch.setattr(sign_in, "visitor", lambda: sign_in.Visitor("ann", "manager"))
    row = one_of(ledger, "payments")

    over(monkeypatch, ledger, page, domain="payments", decision=str(row["decision_id"]))

    assert "Replay now" not in [button.label for button in page.button]
    assert any("for the role “auditor”" in each.value for each in page.info)
