"""The process that starts the stack, keeps it, and stops all of it when any part ends.

Honcho runs the services. Beside it there is a watchdog, for the case that this process is killed.
"""

import argparse
import fcntl
import json
import logging
import os
import shlex
import signal
import subprocess
import sys
import types
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil
from honcho.manager import Manager

from decisions.errors import DecisionsError, StackError
from decisions.stack import ports, processes
from decisions.stack.logs import ServiceLogs, tail
from decisions.stack.services import (
    PORTS,
    USER,
    Service,
    addresses,
    environment,
    login_file,
    secret,
    services,
)

log = logging.getLogger("decisions.stack")


@contextmanager
def only_supervisor(home: Path) -> Generator[None]:
    """Holds the lock of `home`.

    Raises:
        StackError: another supervisor holds it.
    """
    with (home / "stack.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StackError(
                f"another stack runs in {home}: see `decisions status`, or end it with"
                " `decisions down`"
            ) from error
        yield


def watchdog(home: Path, owner: int | None) -> None:
    """Starts the process that cleans up after this one, should it or its owner be killed."""
    command = [sys.executable, "-m", "decisions.stack.watchdog", str(home), str(os.getpid())]
    subprocess.Popen(
        command if owner is None else [*command, "--owner", str(owner)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env={key: value for key, value in os.environ.items() if key != processes.MARK},
    )


def publish(home: Path, phase: str, **facts: object) -> None:
    """Writes `stack.json`: the phase, this process, and the addresses known so far.

    Only this user may read it: the database's address may hold a password.
    """
    this = psutil.Process()
    content = {"phase": phase, "supervisor": this.pid, "started": this.create_time(), **facts}
    scratch = home / "stack.json.tmp"
    scratch.unlink(missing_ok=True)  # one left by a killed process keeps its own mode
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(json.dumps(content, indent=1))
    scratch.replace(home / "stack.json")


def keep(parts: Sequence[Service], env: Mapping[str, str], logs: ServiceLogs) -> None:
    """Runs the services until a signal comes.

    Raises:
        StackError: one of them ended by itself; the message names it and quotes its log.
    """
    manager = Manager(printer=logs)
    for part in parts:
        manager.add_process(part.name, f"exec {shlex.join(part.command)}", env=dict(env))
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        manager.loop()
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    asked = manager.returncode in (130, 143)
    if logs.stopped is not None and not asked:
        name, status = logs.stopped
        file = logs.folder / f"{name}.log"
        raise StackError(f"{name} ended with status {status}; {file} ends with:\n{tail(file)}")


def _prepare_airflow(env: Mapping[str, str], logs: Path) -> "subprocess.Popen[bytes]":
    with (logs / "airflow-migrate.log").open("wb") as file:
        return subprocess.Popen(
            [sys.executable, "-m", "airflow", "db", "migrate"],
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
        )


def _write_login(home: Path) -> None:
    """Makes the login before Airflow would make one and print it into a log."""
    file = login_file(home)
    if not file.exists():
        password = secret(file.with_name("login.secret"))[:20]
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as stream:
            stream.write(json.dumps({USER: password}) + "\n")


@contextmanager
def _database(home: Path) -> Generator[str]:
    from decisions.stack.postgres import create_database, running_postgres

    own = os.environ.get("DECISIONS_DATABASE_URL")
    if own:
        yield own
        return
    with running_postgres(home / "postgres") as url:
        yield create_database(url, "decisions")


def run(home: Path, *, scheduled: bool, owner: int | None) -> None:
    """Starts everything and returns when it was asked to stop.

    Raises:
        DecisionsError: a part did not start, or ended by itself.
    """
    from decisions.store.database import Database, migrate

    logs = home / "logs"
    for folder in (logs, home / "mlflow", home / "airflow"):
        folder.mkdir(parents=True, exist_ok=True)
    with only_supervisor(home):
        watchdog(home, owner)
        _write_login(home)
        publish(home, "starting PostgreSQL and preparing Airflow's database")
        chosen = ports.choose(PORTS)
        draft = environment(home, chosen, "", scheduled=scheduled)
        airflow = _prepare_airflow(draft, logs)
        try:
            with _database(home) as database_url:
                migrate(Database(database_url))
                publish(home, "preparing Airflow's database", database_url=database_url)
                if airflow.wait() != 0:
                    file = logs / "airflow-migrate.log"
                    raise StackError(f"airflow db migrate failed; {file} ends with:\n{tail(file)}")
                parts = services(home, chosen)
                publish(
                    home,
                    "services",
                    database_url=database_url,
                    services={part.name: [part.health_url, part.part] for part in parts},
                    **addresses(chosen),
                )
                env = environment(home, chosen, database_url, scheduled=scheduled)
                keep(parts, env, ServiceLogs(logs))
        finally:
            airflow.kill()
            (home / "stack.json").unlink(missing_ok=True)


def _stop(_number: int, _frame: types.FrameType | None) -> None:
    raise SystemExit(0)


def main() -> None:
    """`python -m decisions.stack.supervisor HOME`; its log is its standard error."""
    parser = argparse.ArgumentParser()
    parser.add_argument("home", type=Path)
    parser.add_argument("--unscheduled", action="store_true")
    parser.add_argument("--owner", type=int, help="stop when this process is gone")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    home = given.home.resolve()
    try:
        run(home, scheduled=not given.unscheduled, owner=given.owner)
    except DecisionsError as error:
        log.error("%s", error)  # noqa: TRY400 - the message is for people
        raise SystemExit(1) from None
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        processes.sweep(home)


if __name__ == "__main__":
    main()
