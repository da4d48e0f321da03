"""The whole real stack, once, and its commands: it binds to loopback, and dies with its head."""

import signal
import time
from pathlib import Path

import psutil
import pytest
from typer.testing import CliRunner

from decisions.cli.app import app
from decisions.stack import processes, running
from decisions.stack.airflow import sign_in


def listening(process: psutil.Process) -> set[str]:
    try:
        connections = process.net_connections(kind="inet")
    except psutil.Error:
        return set()
    return {link.laddr.ip for link in connections if link.status == psutil.CONN_LISTEN}


def command(*words: str) -> tuple[int, str]:
    """The exit status of a command, and all that it said."""
    done = CliRunner().invoke(app, words)
    return done.exit_code, done.output


@pytest.mark.slow
def test_the_stack_starts_whole_and_a_killed_supervisor_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DECISIONS_DATABASE_URL", raising=False)
    monkeypatch.setenv("DECISIONS_HOME", str(tmp_path))
    told: list[str] = []
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        stack = running.start(tmp_path, told.append, scheduled=False)

        assert running.ailments(stack) == {}
        assert "runs already" in command("up")[1]
        assert "Airflow login" in command("status")[1]
        assert "all import" in command("doctor")[1]
        addresses = [listening(process) for process in processes.members(tmp_path)]
        assert set[str]().union(*addresses) == {"127.0.0.1"}
        with sign_in(stack.addresses["airflow_url"], tmp_path) as airflow:
            airflow.await_dags({"payments_decide", "payments_settle", "payments_generation"})
            assert airflow.import_errors() == {}
        password = (tmp_path / "airflow" / "login.secret").read_text()[:20]
        assert all(password not in log.read_text() for log in (tmp_path / "logs").glob("*.log"))

        ran, said = command("backfill", "--days", "1")
        assert (ran, "Generations of payments" in said) == (0, True), said

        psutil.Process(stack.supervisor[0]).kill()

        deadline = time.monotonic() + 40
        while processes.members(tmp_path) and time.monotonic() < deadline:
            time.sleep(0.2)
        assert processes.members(tmp_path) == []
        assert running.find(tmp_path) is None
    finally:
        assert command("down")[0] == 0
        for number, handler in handlers.items():
            signal.signal(number, handler)
