"""What runs in the local stack: the command, environment and health check of each service."""

import os
import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from decisions.settings import configured
from decisions.stack.ports import LOOPBACK
from decisions.stack.processes import mark

REPOSITORY = Path(__file__).parents[2]
PORTS = {"mlflow": 5000, "airflow": 8080, "dashboard": 8501}  # preferred; others where taken
USER = "admin"


@dataclass(frozen=True, kw_only=True)
class Service:
    """One long-running program.

    It is healthy when `health_url` answers 200 and, where `part` is given, when the JSON answer
    says that this part is: Airflow's API server speaks for its scheduler and DAG processor.
    """

    name: str
    command: tuple[str, ...]
    health_url: str
    part: str | None = None


def addresses(ports: Mapping[str, int]) -> dict[str, str]:
    """The fields of `Settings` that name servers, from the chosen ports."""
    return {f"{name}_url": f"http://{LOOPBACK}:{port}" for name, port in ports.items()}


def _module(name: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", name, *arguments)


def services(home: Path, ports: Mapping[str, int]) -> list[Service]:
    """The services of a stack, in the order in which they are started."""
    url = addresses(ports)
    airflow = f"{url['airflow_url']}/api/v2/monitor/health"
    mlflow = home / "mlflow"
    return [
        Service(
            name="airflow-api",
            command=_module("airflow", "api-server"),
            health_url=f"{url['airflow_url']}/api/v2/version",
        ),
        Service(
            name="airflow-dag-processor",
            command=_module("airflow", "dag-processor"),
            health_url=airflow,
            part="dag_processor",
        ),
        Service(
            name="airflow-scheduler",  # the API server reads the log files itself
            command=_module("airflow", "scheduler", "--skip-serve-logs"),
            health_url=airflow,
            part="scheduler",
        ),
        Service(
            name="mlflow",
            command=_module(
                "mlflow",
                "server",
                *("--host", LOOPBACK, "--port", str(ports["mlflow"]), "--workers", "1"),
                *("--backend-store-uri", f"sqlite:///{mlflow / 'mlflow.db'}"),
                *("--artifacts-destination", str(mlflow / "artifacts")),
            ),
            health_url=f"{url['mlflow_url']}/health",
        ),
        Service(
            name="dashboard",
            command=_module(
                "streamlit",
                *("run", str(REPOSITORY / "dashboards" / "app.py")),
                *("--server.address", LOOPBACK, "--server.port", str(ports["dashboard"])),
                *("--server.headless", "true", "--browser.gatherUsageStats", "false"),
                *("--client.toolbarMode", "viewer"),
                *("--server.fileWatcherType", "none", "--client.showErrorDetails", "none"),
                *_sign_in(),
            ),
            health_url=f"{url['dashboard_url']}/_stcore/health",
        ),
    ]


def _sign_in() -> tuple[str, ...]:
    """Streamlit's secrets, when the dashboard asks people to sign in."""
    file = configured().sign_in_file
    return () if file is None else ("--secrets.files", str(file.resolve()))


def login_file(home: Path) -> Path:
    """Where Airflow's generated passwords lie: a JSON object, password by user."""
    return home / "airflow" / "login.json"


def secret(file: Path) -> str:
    """The secret in `file`, made and stored for this user alone when there is none."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as stream:
            stream.write(secrets.token_hex(32))
    return file.read_text()


def environment(
    home: Path, ports: Mapping[str, int], database_url: str, *, scheduled: bool
) -> dict[str, str]:
    """The variables of every service: addresses, Airflow's settings, threads, the stack's mark.

    With `scheduled` false no DAG starts by itself; each waits to be triggered.
    """
    settings = {f"DECISIONS_{key.upper()}": value for key, value in addresses(ports).items()}
    paths = [str(REPOSITORY), str(REPOSITORY / "dags"), str(REPOSITORY / "infra" / "airflow")]
    inherited = [path for path in (os.environ.get("PYTHONPATH"),) if path]
    return {
        **os.environ,
        **mark(home),
        **settings,
        **airflow_settings(home, ports["airflow"]),
        "DECISIONS_HOME": str(home),
        "DECISIONS_DATABASE_URL": database_url,
        "DECISIONS_SCHEDULE": "on" if scheduled else "off",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "OMP_NUM_THREADS": "1",  # two tasks run at a time
        "POLARS_MAX_THREADS": str(max(1, (os.cpu_count() or 2) // 2)),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
        "PYTHONPATH": os.pathsep.join([*paths, *inherited]),
        "PYTHONUNBUFFERED": "1",
    }


def airflow_settings(home: Path, port: int) -> dict[str, str]:
    """Airflow's configuration: loopback only, no examples, and quick to start a task.

    What makes a task start in 0.3 s instead of 1.5-5 s on two cores: the supervisor of a task
    notices its end within MIN_HEARTBEAT_INTERVAL (5 s by default, when it misses the closing of
    the sockets), so that interval is one second and there are more workers than slots; and the
    scheduler sleeps a fifth of a second. The imports that tasks share are made once, in
    `infra/airflow/airflow_local_settings.py`.
    """
    folder = home / "airflow"
    values = {
        "CORE": {
            "DAGS_FOLDER": REPOSITORY / "dags",
            "LOAD_EXAMPLES": False,
            "EXECUTOR": "LocalExecutor",
            "PARALLELISM": 4,
            "DEFAULT_POOL_TASK_SLOT_COUNT": 2,
            "DAGS_ARE_PAUSED_AT_CREATION": False,
            "SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin",
            "SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": login_file(home),
            "EXECUTION_API_SERVER_URL": f"http://{LOOPBACK}:{port}/execution/",
        },
        "API": {
            "HOST": LOOPBACK,
            "PORT": port,
            "BASE_URL": f"http://{LOOPBACK}:{port}",
            "WORKERS": 1,
            "SECRET_KEY": secret(folder / "api.secret"),
        },
        "API_AUTH": {"JWT_SECRET": secret(folder / "jwt.secret")},
        "DATABASE": {"SQL_ALCHEMY_CONN": f"sqlite:///{folder / 'airflow.db'}"},
        "DAG_PROCESSOR": {"REFRESH_INTERVAL": 60, "MIN_FILE_PROCESS_INTERVAL": 60},
        "SCHEDULER": {
            "SCHEDULER_IDLE_SLEEP_TIME": 0.2,
            "SCHEDULER_HEARTBEAT_SEC": 1,
            "SCHEDULER_HEALTH_CHECK_THRESHOLD": 15,
            "ORPHANED_TASKS_CHECK_INTERVAL": 15,
            "TASK_INSTANCE_HEARTBEAT_TIMEOUT": 60,
        },
        "WORKERS": {"MIN_HEARTBEAT_INTERVAL": 1},
        "USAGE_DATA_COLLECTION": {"ENABLED": False},
        "LOGGING": {"BASE_LOG_FOLDER": home / "logs" / "tasks"},
    }
    return {"AIRFLOW_HOME": str(folder)} | {
        f"AIRFLOW__{section}__{key}": str(value)
        for section, pairs in values.items()
        for key, value in pairs.items()
    }
