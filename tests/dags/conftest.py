"""An Airflow of the tests' own: its home, its SQLite database, no examples, no retries."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def in_airflow(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Runs Python with the arguments given in a process with a migrated Airflow.

    Airflow warns while it is imported and keeps global state, so it stays out of this process.
    """
    home = tmp_path_factory.mktemp("airflow")
    fixed = os.environ | {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "tests/dags/files"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
        "AIRFLOW__CORE__DEFAULT_TASK_RETRIES": "0",
        "DECISIONS_RETRIES": "0",
        "DECISIONS_HOME": str(home / "decisions"),
        "PYTHONPATH": os.pathsep.join(
            str(ROOT / part) for part in ("", "dags", "tests", "tests/dags", "tests/dags/files")
        ),
        "PYTHONWARNINGS": "ignore",
        "OMP_NUM_THREADS": "1",
        "POLARS_MAX_THREADS": "1",
    }

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments],
            env=fixed | environment,
            cwd=home,
            capture_output=True,
            text=True,
            check=False,
        )

    migrated = run("-m", "airflow", "db", "migrate")
    assert migrated.returncode == 0, migrated.stderr
    return run
