"""The process that starts the stack, keeps it, and stops all of it when any part ends.

Honcho runs the services. Beside it there is a watchdog, for the case that this process is killed.
"""

import argparse
import json
import logging
import os
import shlex
import signal
import subprocess
import sys
import threading
import types
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from honcho.manager import Manager

from decisions.errors import DecisionsError, StackError
from decisions.settings import configured
from decisions.stack import ports, processes
from decisions.stack.lock import held
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
PERIOD_S = 0.5
LOCK_PATIENCE_S = 45.0  # a watchdog may still be sweeping after a killed supervisor


def watchdog(home: Path, owner: processes.Identity | None) -> None:
    """Starts the process that cleans up after this one, should it or its owner be killed."""
    this = map(repr, processes.identity())
    command = [sys.executable, "-m", "decisions.stack.watchdog", str(home), *this]
    subprocess.Popen(
        command if owner is None else [*command, "--owner", *map(repr, owner)],
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
    pid, started = processes.identity()
    content = {"phase": phase, "supervisor": pid, "started": started, **facts}
    scratch = home / "stack.json.tmp"
    scratch.unlink(missing_ok=True)  # one left by a killed process keeps its own mode
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(json.dumps(content, indent=1))
    scratch.replace(home / "stack.json")


@contextmanager
def interrupting(ended: Callable[[], str | None]) -> Generator[None]:
    """Sends this process SIGTERM when `ended`, asked every half second, says how."""
    over = threading.Event()

    def follow() -> None:
        while not over.wait(PERIOD_S):
            if ended() is not None:
                os.kill(os.getpid(), signal.SIGTERM)
                return

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def keep(
    parts: Sequence[Service],
    env: Mapping[str, str],
    logs: ServiceLogs,
    *,
    ended: Callable[[], str | None] = lambda: None,
) -> None:
    """Runs the services until a signal comes, or until `ended`, of the database, says how.

    Raises:
        StackError: one of them ended by itself; the message names it and quotes its log.
    """
    manager = Manager(printer=logs)
    for part in parts:
        manager.add_process(part.name, f"exec {shlex.join(part.command)}", env=dict(env))
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with interrupting(ended):
            manager.loop()
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if (how := ended()) is not None:
        raise StackError(how)
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
def _database(home: Path) -> Generator[tuple[str, Callable[[], str | None]]]:
    """The database's address, and what says how its server ended, None while it has not."""
    from decisions.stack.postgres import create_database, serving

    own = configured().database_url
    if own is not None:
        yield own, lambda: None
        return
    with serving(home / "postgres", env={**os.environ, **processes.mark(home)}) as server:
        yield create_database(server.url, "decisions"), server.ended


def run(home: Path, *, scheduled: bool, owner: processes.Identity | None) -> None:
    """Starts everything, returns when it was asked to stop, and leaves nothing.

    Raises:
        DecisionsError: a part did not start, or ended by itself; or another stack runs in `home`,
            which is left alone.
    """
    with held(home, patience_s=LOCK_PATIENCE_S, hopeless=lambda: is_published(home)):
        tell = partial(publish, home, owner=owner)
        tell("cleaning up after earlier runs")
        try:
            watchdog(home, owner)
            if left := processes.sweep(home):
                log.info("ended %d processes that an earlier run had left", left)
            _serve(home, tell, scheduled=scheduled)
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            tell(processes.STOPPING)
            processes.sweep(home)
            (home / "stack.json").unlink(missing_ok=True)


def is_published(home: Path) -> bool:
    """Whether a live supervisor has written `stack.json`."""
    try:
        content = json.loads((home / "stack.json").read_text())
        return processes.is_alive(content["supervisor"], content["started"])
    except (OSError, ValueError, KeyError, TypeError):  # none, or one that was never finished
        return False


def _serve(home: Path, tell: Callable[..., None], *, scheduled: bool) -> None:
    from decisions.store.database import Database, migrate

    logs = home / "logs"
    for folder in (logs, home / "mlflow", home / "airflow"):
        folder.mkdir(parents=True, exist_ok=True)
    _write_login(home)
    tell("starting PostgreSQL and preparing Airflow's database")
    chosen = ports.choose(PORTS)
    draft = environment(home, chosen, "", scheduled=scheduled)
    airflow = _prepare_airflow(draft, logs)
    try:
        with _database(home) as (database_url, ended):
            migrate(Database(database_url))
            tell("preparing Airflow's database", database_url=database_url)
            if airflow.wait() != 0:
                file = logs / "airflow-migrate.log"
                raise StackError(f"airflow db migrate failed; {file} ends with:\n{tail(file)}")
            parts = services(home, chosen)
            tell(
                "services",
                database_url=database_url,
                services={
                    "postgresql": [database_url, None],
                    **{part.name: [part.health_url, part.part] for part in parts},
                },
                **addresses(chosen),
            )
            env = environment(home, chosen, database_url, scheduled=scheduled)
            keep(parts, env, ServiceLogs(logs), ended=ended)
    finally:
        airflow.kill()
        airflow.wait()


def _stop(_number: int, _frame: types.FrameType | None) -> None:
    raise SystemExit(0)


def main() -> None:
    """`python -m decisions.stack.supervisor HOME`; its log is its standard error."""
    parser = argparse.ArgumentParser()
    parser.add_argument("home", type=Path)
    parser.add_argument("--unscheduled", action="store_true")
    parser.add_argument(
        "--owner",
        nargs=2,
        type=float,
        metavar=("PID", "CREATED"),
        help="stop when this process is gone",
    )
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("alembic").setLevel(logging.WARNING)  # a start that failed is quoted
    owner = None if given.owner is None else (int(given.owner[0]), given.owner[1])
    try:
        run(given.home.resolve(), scheduled=not given.unscheduled, owner=owner)
    except DecisionsError as error:
        log.error("%s", error)  # noqa: TRY400 - the message is for people
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
