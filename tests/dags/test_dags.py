"""The DAGs are wired as drawn, parse fast, and run a day on a real database."""

import json
from datetime import UTC, datetime, timedelta

from decisions.store import generations
from decisions.store.database import Database
from tests.dags.conftest import Run
from tests.integration.coins import COINS

GENERATION = {
    "plan": ["train"],
    "train": ["evaluate"],
    "evaluate": ["judge"],
    "judge": ["publish"],
    "publish": [],
}
USUAL = {"catchup": False, "max_active_runs": 1, "notes": True, "retries": [2]}
WIRING = {
    "payments_decide": {"schedule": "0 0 * * *", "edges": {"decide": []}, **USUAL},
    "payments_settle": {"schedule": "30 0 * * *", "edges": {"settle": []}, **USUAL},
    "payments_generation": {"schedule": "0 2 * * *", "edges": GENERATION, **USUAL},
    "open_bandit_generation": {"schedule": None, "edges": GENERATION, **USUAL},
}


def test_dags_have_the_wiring_that_was_drawn_and_parse_without_heavy_imports(
    in_airflow: Run,
) -> None:
    done = in_airflow("-m", "wiring", "payments", "open_bandit", DECISIONS_RETRIES="2")

    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout.splitlines()[-1])
    assert seen["dags"] == WIRING
    assert seen["heavy"] == []
    assert max(seen["seconds"].values()) < 0.3


def test_without_a_schedule_every_dag_waits_to_be_triggered(in_airflow: Run) -> None:
    done = in_airflow("-m", "wiring", "payments", DECISIONS_SCHEDULE="off")

    seen = json.loads(done.stdout.splitlines()[-1])
    assert {each["schedule"] for each in seen["dags"].values()} == {None}


def test_three_days_of_dags_bring_a_new_champion(in_airflow: Run, database: Database) -> None:
    start = datetime(2026, 3, 2, tzinfo=UTC)
    days = [(start + timedelta(days=day)).isoformat() for day in range(3)]

    done = in_airflow("-m", "live", *days, DECISIONS_DATABASE_URL=database.url)

    assert done.returncode == 0, done.stderr[-4000:]
    states = json.loads(done.stdout.splitlines()[-1])
    assert set(states.values()) <= {"success", "skipped"}, states
    champion = generations.champion(database, COINS.name)
    assert generations.generation(database, COINS.name, champion).policy == "means"
