import subprocess
import sys
import time

import pytest

from decisions.cli import app
from decisions.errors import StoreError


def decisions(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "decisions.cli.app", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_help_teaches_every_command() -> None:
    answer = decisions("--help")

    assert answer.returncode == 0
    for _, name, *_ in app.COMMANDS:
        assert name in answer.stdout


def test_help_imports_nothing_heavy() -> None:
    code = "import sys, decisions.cli.app; print([m for m in sys.modules if '.' not in m])"
    began = time.perf_counter()

    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert not {"polars", "numpy", "sqlalchemy", "mlflow"} & set(eval(answer.stdout))
    assert time.perf_counter() - began < 10  # a busy machine; 0.3 s on an idle one


def test_a_command_shows_its_own_help() -> None:
    answer = decisions("run", "--help")

    assert answer.returncode == 0
    assert "--headless" in answer.stdout
    assert "resumes" in answer.stdout


def test_a_mistyped_command_is_refused() -> None:
    answer = decisions("rnu")

    assert answer.returncode == 2
    assert "run" in answer.stderr


def _fail() -> None:
    raise StoreError("the database is away: start it")


def test_our_errors_are_one_message_and_status_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(app, "app", _fail)
    monkeypatch.delenv("DECISIONS_DEBUG", raising=False)

    with pytest.raises(SystemExit) as ended:
        app.main()

    assert ended.value.code == 2
    assert capsys.readouterr().err == "StoreError: the database is away: start it\n"


def test_debugging_shows_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "app", _fail)
    monkeypatch.setenv("DECISIONS_DEBUG", "1")

    with pytest.raises(StoreError):
        app.main()
