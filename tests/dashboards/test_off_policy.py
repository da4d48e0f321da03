"""The off-policy page: estimators side by side, support, refusals."""

from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from decisions.evaluation import Evaluation
from decisions.gate import GateRule, judge
from decisions.store import generations
from decisions.store.database import Database
from tests.dashboards.reading import cells, plain, unfold
from tests.dashboards.samples import DAY, START, begun, estimate, judged

CHECKS = {
    "ess": 700.0,
    "ess_share": 0.7,
    "support_violation": 0.0,
    "mean_weight_z": 0.4,
    "max_weight": 9.5,
    "weight_median": 0.4,
    "weight_90_percent": 2.5,
    "weight_99_percent": 6.0,
    "made_up": 3.0,
}


@pytest.fixture
def page(dashboard: AppTest) -> AppTest:
    """The page, before it is run over a database."""
    return dashboard.run().switch_page("pages/off_policy.py")


def compared(db: Database, domain: str = "payments") -> None:
    """One candidate with several estimators, baselines and checks."""
    begun(db, domain)
    now = START + DAY
    [number] = generations.plan(
        db,
        domain,
        cutoff=now,
        policies=["squarecb"],
        seed=1,
        config={},
        code_version="test",
        now=now,
    )
    further = {
        f"{whose} {name}": estimate(value, half)
        for name, half in (("DR", 0.01), ("IPS", 0.03), ("DM", 0.002))
        for whose, value in (("candidate", 0.9), ("champion", 0.88), ("difference", 0.02))
    }
    evaluation = Evaluation(
        candidate=estimate(0.9, 0.01),
        champion=estimate(0.88, 0.01),
        difference=estimate(0.02, 0.01),
        estimates=further | {"logged": estimate(0.87, 0.005), "do nothing": estimate(0.86, 0.01)},
        checks=CHECKS,
    )
    rule = GateRule(margin=-0.001, limits={"ess_share": (0.05, 1.0)})
    generations.record_evaluation(db, domain, number, 0, evaluation, now=now)
    generations.record_verdict(db, domain, number, judge(evaluation, rule), now=now)


def test_an_empty_store_says_what_to_run(
    page: AppTest, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun(database)
    monkeypatch.setenv("DECISIONS_DATABASE_URL", database.url)

    page.run()

    assert not page.exception
    assert "No generation has been evaluated yet" in page.info[0].value


def test_a_missing_database_is_a_sentence(page: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DECISIONS_DATABASE_URL", "postgresql://postgres@127.0.0.1:1/none")

    page.run()

    assert not page.exception
    assert "cannot be reached" in page.error[0].value


def test_estimators_stand_side_by_side_and_the_gates_own_is_named(
    page: AppTest, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared(database)
    monkeypatch.setenv("DECISIONS_DATABASE_URL", database.url)

    unfold(page, "numbers", "weights")

    assert not page.exception
    assert not page.error
    assert len(page.get("vega_lite_chart")) == 3
    numbers: Any = page.dataframe[0].value
    assert numbers["Estimator"].to_list()[:3] == ["DR", "DR", "DR"]
    assert set(numbers["Estimator"]) == {"DR", "IPS", "DM", "logged", "do nothing"}
    difference = numbers[(numbers["Of"] == "difference") & (numbers["Estimator"] == "IPS")]
    assert difference[["Value", "From", "To"]].iloc[0].to_list() == [2.0, -1.0, 5.0]
    assert any("**The gate reads DR.**" in each.value for each in page.caption)
    assert (page.metric[0].label, page.metric[0].value) == (
        "Difference, percentage points",
        "+2.00",
    )
    assert page.metric[2].value == "70 %"
    checks = {row["Check"]: row for row in cells(page)}
    assert checks["share of the log that still informs"]["Gate"] == "✓ at least 5 %"
    assert checks["largest weight"]["Gate"] == "no limit"
    assert checks["made up"]["Measured"] == "3"


def test_a_refusal_is_said_in_words_and_no_value_is_shown(
    page: AppTest, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged(database, cutoffs=1)
    monkeypatch.setenv("DECISIONS_DATABASE_URL", database.url)
    page.query_params["generation"] = "2"

    page.run()

    assert not page.exception
    assert "The logs cannot answer" in page.warning[0].value
    assert "effective sample size 12.0" in plain(page.warning[0].value)
    assert page.metric[0].value == "unknown"
    assert not page.dataframe


def test_units_are_those_of_the_domain(
    page: AppTest, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared(database, "elsewhere")
    monkeypatch.setenv("DECISIONS_DATABASE_URL", database.url)

    page.run()

    assert not page.exception
    assert page.metric[0].label == "Difference, units of reward"
    assert page.metric[0].value == "+0.02"


def test_a_whole_ledger_has_estimates_of_each_candidate(
    page: AppTest, ledger: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = {
        number: ledger.read("evaluation/of_generation", domain="payments", number=number)
        for number in range(1, 33)
    }
    known = [number for number, rows in told.items() if "estimate" in rows["role"].to_list()]
    monkeypatch.setenv("DECISIONS_DATABASE_URL", ledger.url)
    page.query_params["domain"] = "payments"
    page.query_params["generation"] = str(known[-1])

    unfold(page, "numbers")

    assert not page.exception
    assert not page.error
    assert {"DR", "SNIPS", "IPS"} <= set(page.dataframe[0].value["Estimator"])
    page.selectbox[1].select_index(0).run()
    assert not page.exception
    assert page.query_params["generation"] in ("32", ["32"])
