import stat
from pathlib import Path

import pytest

from decisions.stack import services

PORTS = {"mlflow": 15000, "airflow": 18080, "dashboard": 18501}


def test_every_server_listens_on_loopback_only(tmp_path: Path) -> None:
    env = services.environment(tmp_path, PORTS, "postgresql://x/y", scheduled=True)
    commands = {part.name: " ".join(part.command) for part in services.services(tmp_path, PORTS)}

    assert env["AIRFLOW__API__HOST"] == "127.0.0.1"
    assert "--host 127.0.0.1" in commands["mlflow"]
    assert "--server.address 127.0.0.1" in commands["dashboard"]
    assert "--skip-serve-logs" in commands["airflow-scheduler"]
    assert env["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"


def test_services_learn_each_others_addresses(tmp_path: Path) -> None:
    env = services.environment(tmp_path, PORTS, "postgresql://x/y", scheduled=False)

    assert env["DECISIONS_DATABASE_URL"] == "postgresql://x/y"
    assert env["DECISIONS_MLFLOW_URL"] == "http://127.0.0.1:15000"
    assert env["DECISIONS_AIRFLOW_URL"] == "http://127.0.0.1:18080"
    assert env["DECISIONS_SCHEDULE"] == "off"


def test_a_secret_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "folder" / "secret"

    first = services.secret(file)

    assert services.secret(file) == first
    assert len(first) == 64
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_the_dashboard_is_told_where_sign_in_is_configured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def command() -> tuple[str, ...]:
        return services.services(tmp_path, PORTS)[-1].command

    monkeypatch.delenv("DECISIONS_SIGN_IN_FILE", raising=False)
    assert "--secrets.files" not in command()

    monkeypatch.setenv("DECISIONS_SIGN_IN_FILE", str(tmp_path / "sign-in.toml"))

    assert command()[-2:] == ("--secrets.files", str(tmp_path / "sign-in.toml"))
