"""Starting, finding, asking and stopping a stack from another process."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

from decisions.errors import StackError
from decisions.stack import database_url, processes
from decisions.stack.lock import held
from decisions.stack.logs import tail

START_PATIENCE_S = 180.0
STOP_PATIENCE_S = 25.0
_STARTED: list["subprocess.Popen[bytes]"] = []  # kept, so that they are reaped when they end


@dataclass(frozen=True, kw_only=True)
class Stack:
    """A stack that runs: its supervisor's process, phase, addresses and health checks."""

    supervisor: processes.Identity
    phase: str
    addresses: dict[str, str]  # fields of `Settings`
    checks: dict[str, tuple[str, str | None]]  # by service: URL, and part of its JSON answer
    owner: processes.Identity | None = None  # the command that it ends with

    def is_ending(self) -> bool:
        """Whether it stops, or will at once because the command that wanted it is gone."""
        orphaned = self.owner is not None and not processes.is_alive(*self.owner)
        return orphaned or self.phase == processes.STOPPING


def find(home: Path) -> Stack | None:
    """The stack whose supervisor is alive, or None."""
    try:
        content: dict[str, Any] = json.loads((home / "stack.json").read_text())
        services = content.get("services", {})
        found = Stack(
            supervisor=(content["supervisor"], content["started"]),
            phase=content["phase"],
            addresses={key: content[key] for key in content if key.endswith("_url")},
            checks={name: (url, part) for name, (url, part) in services.items()},
            owner=tuple(content["owner"]) if content.get("owner") else None,
        )
        return found if processes.is_alive(*found.supervisor) else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # no stack, or a file that was never finished


def find_lasting(home: Path, report: Callable[[str], None]) -> Stack | None:
    """The stack that runs and is not about to end; one that is ending is waited for."""
    deadline = time.monotonic() + 2 * STOP_PATIENCE_S
    told = False
    while (stack := find(home)) is not None and stack.is_ending():
        if time.monotonic() > deadline:
            break
        if not told:
            report("waiting for the stack of an earlier run to end")
            told = True
        time.sleep(0.2)
    return stack


def ailment(url: str, part: str | None, *, timeout_s: float = 5.0) -> str | None:
    """What is wrong with a service, or the database, or None when it is healthy."""
    if url.startswith("postgres"):
        return database_url.ailment(url, timeout_s=max(2, round(timeout_s)))
    try:
        answer = httpx.get(url, timeout=timeout_s)
    except httpx.HTTPError as error:
        return f"no answer at {url} ({type(error).__name__})"
    if not answer.is_success:
        return f"{url} answers {answer.status_code}"
    if part is None:
        return None
    status = answer.json().get(part, {}).get("status")
    return None if status == "healthy" else f"{part} is {status or 'not started'}"


def ailments(stack: Stack) -> dict[str, str]:
    """What is wrong, by service; empty when all are healthy."""
    found = {name: ailment(url, part) for name, (url, part) in stack.checks.items()}
    return {name: problem for name, problem in found.items() if problem is not None}


def start(
    home: Path,
    report: Callable[[str], None],
    *,
    scheduled: bool = True,
    detached: bool = False,
    whole: bool = True,
    patience_s: float = START_PATIENCE_S,
) -> Stack:
    """Starts a stack and returns once every service is healthy; `report` is told of each step.

    Unless `whole`, it returns once the database answers and its schema is up to date; the others
    still start then (`await_health`). The stack ends with this process, however that ends, unless
    `detached`.

    Raises:
        StackError: a part did not start, in time or at all; the message names it. Nothing of what
            was started is left running then; a stack that runs in `home` already stays.
    """
    logs = home / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "decisions.stack.supervisor", str(home)]
    command += [] if scheduled else ["--unscheduled"]
    command += [] if detached else ["--owner", *map(repr, processes.identity())]
    file = logs / "supervisor.log"
    with file.open("ab") as log:
        before = log.tell()
        supervisor = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C reaches it through `stop`, once
        )
    _STARTED.append(supervisor)

    def ended() -> str | None:
        if supervisor.poll() is None:
            return None
        said = file.read_bytes()[before:].decode(errors="replace").strip()
        return f"the stack did not start:\n{said or 'its supervisor said nothing'}"

    try:
        return _await_health(home, report, ended, patience_s, whole=whole)
    except BaseException:
        with suppress(psutil.NoSuchProcess):
            _end(psutil.Process(supervisor.pid))
        raise
    finally:
        _STARTED[:] = [process for process in _STARTED if process.poll() is None]


def await_health(
    home: Path, report: Callable[[str], None], *, patience_s: float = START_PATIENCE_S
) -> Stack:
    """The stack that another command started, once every service of it is healthy.

    Raises:
        StackError: it ended, or is not healthy in time.
    """

    def ended() -> str | None:
        if find(home) is not None:
            return None
        log = home / "logs" / "supervisor.log"
        return f"the stack in {home} ended; start it again. {log} ends with:\n{tail(log)}"

    return _await_health(home, report, ended, patience_s)


def _await_health(
    home: Path,
    report: Callable[[str], None],
    ended: Callable[[], str | None],
    patience_s: float,
    *,
    whole: bool = True,
) -> Stack:
    deadline = time.monotonic() + patience_s
    phase, missing = "", dict[str, str]()
    waiting: set[str] = set()
    while time.monotonic() < deadline:
        if (how := ended()) is not None:
            raise StackError(how)
        stack = find(home)
        if stack is not None and stack.phase != phase:
            phase = stack.phase
            if not stack.checks:
                report(phase)
        if stack is not None and not whole and "database_url" in stack.addresses:
            return stack
        if stack is not None and stack.checks:
            waiting = waiting or set(stack.checks)
            missing = ailments(stack)
            for name in sorted(waiting - set(missing)):
                report(f"{name} is healthy")
            waiting &= set(missing)
            if not waiting:
                return stack
        time.sleep(0.2)
    named = "; ".join(f"{name}: {problem}" for name, problem in missing.items()) or phase
    raise StackError(
        f"not healthy after {patience_s:.0f} s: {named}. The logs are in {home / 'logs'}"
    )


def stop(home: Path, stack: Stack | None = None) -> int:
    """Stops the stack of `home` and whatever earlier ones left; returns how many were left over.

    The supervisor is asked first; what it did not end is ended here. With `stack` no other one is
    stopped: if another has taken its place, that one stays.

    Raises:
        StackError: without `stack`: another stack was started meanwhile.
    """
    meant = find(home) if stack is None else stack
    if meant is not None and processes.is_alive(*meant.supervisor):
        with suppress(psutil.NoSuchProcess):
            _end(psutil.Process(meant.supervisor[0]))
    _STARTED[:] = [process for process in _STARTED if process.poll() is None]
    home.mkdir(parents=True, exist_ok=True)
    try:
        with held(home, patience_s=STOP_PATIENCE_S, hopeless=lambda: find(home) is not None):
            left = processes.sweep(home)
            (home / "stack.json").unlink(missing_ok=True)
            return left
    except StackError:
        if stack is None:
            raise
        return 0


def _end(supervisor: psutil.Process) -> None:
    try:
        supervisor.terminate()
        supervisor.wait(STOP_PATIENCE_S)
    except psutil.TimeoutExpired:
        supervisor.kill()
        supervisor.wait(STOP_PATIENCE_S)
    except psutil.NoSuchProcess:
        return
