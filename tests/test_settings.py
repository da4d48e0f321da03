"""Settings that are empty, malformed or half-written are as unset, or a named error."""

from pathlib import Path

import pytest

from decisions.errors import StackError
from decisions.settings import Settings, configured, settings

NAMES = sorted(Settings.model_fields)


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in NAMES:
        monkeypatch.delenv(f"DECISIONS_{name.upper()}", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "sign_in_file"])
@pytest.mark.parametrize("value", ["", "  "])
def test_an_empty_variable_is_as_one_that_is_not_set(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    unset = configured()

    monkeypatch.setenv(f"DECISIONS_{name.upper()}", value)

    assert settings() == unset


def test_an_empty_sign_in_file_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DECISIONS_SIGN_IN_FILE", "")

    with pytest.raises(StackError, match="DECISIONS_SIGN_IN_FILE: it is empty"):
        settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SEED", "hunter2"),
        ("SEED", "-1"),
        ("MLFLOW_URL", "hunter2"),
        ("MLFLOW_URL", "http://"),
        ("AIRFLOW_URL", "127.0.0.1:8080/hunter2"),
        ("DASHBOARD_URL", "file:///hunter2"),
        ("ALERT_WEBHOOK", "hunter2.example.org"),
        ("DATABASE_URL", "hunter2"),
        ("DATABASE_URL", "mysql://me:hunter2@db/x"),
    ],
)
def test_a_malformed_value_is_refused_by_name_and_not_shown(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"DECISIONS_{name}", value)

    with pytest.raises(StackError, match=f"^DECISIONS_{name}: ") as raised:
        settings()

    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize("text", ["", '{"database_url": "postg', "[1]", "null"])
def test_a_half_written_stack_file_is_named_with_the_way_out(text: str) -> None:
    file = configured().stack_file
    file.parent.mkdir()
    file.write_text(text)

    with pytest.raises(StackError, match=r"stack\.json.*`decisions down` removes it"):
        settings()


def test_a_running_stacks_addresses_complete_what_is_not_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = configured().stack_file
    file.parent.mkdir()
    file.write_text(
        '{"database_url": "postgresql://a@b/c", "mlflow_url": "http://127.0.0.1:5000"}'
    )
    monkeypatch.setenv("DECISIONS_MLFLOW_URL", "https://mlflow.example.org")

    given = settings()

    assert given.database_url == "postgresql://a@b/c"
    assert given.mlflow_url == "https://mlflow.example.org"
