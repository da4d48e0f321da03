"""Ends what a supervisor leaves behind when it is killed outright, and a stack nobody owns."""

import argparse
import time
from pathlib import Path

import psutil

from decisions.stack import processes

PERIOD_S = 0.5


def watch(home: Path, supervisor: psutil.Process, owner: psutil.Process | None) -> None:
    """Waits for the supervisor to end, then ends all that is left and removes its address file.

    When `owner`, the command that wanted the stack, is gone first, the supervisor is told to stop.
    """
    while processes.is_alive(supervisor.pid, supervisor.create_time()):
        if owner is not None and not processes.is_alive(owner.pid, owner.create_time()):
            supervisor.terminate()
            owner = None
        time.sleep(PERIOD_S)
    processes.sweep(home)
    (home / "stack.json").unlink(missing_ok=True)


def _process(pid: int | None) -> psutil.Process | None:
    try:
        return None if pid is None else psutil.Process(pid)
    except psutil.NoSuchProcess:
        return None


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("home", type=Path)
    parser.add_argument("supervisor", type=int)
    parser.add_argument("--owner", type=int)
    given = parser.parse_args()
    watched = _process(given.supervisor)
    if watched is None:
        processes.sweep(given.home)
    else:
        watch(given.home, watched, _process(given.owner))
