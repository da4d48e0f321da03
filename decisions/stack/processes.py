"""The processes of a stack, recognised by a mark in their environment, and how to end them all.

The mark survives double forks, new sessions and a killed supervisor, where process groups and
parents do not: whatever a task started is found.
"""

import os
import signal
from pathlib import Path

import psutil

MARK = "DECISIONS_STACK"
STOPPING = "stopping"  # the phase of a stack that ends
Identity = tuple[int, float]  # id and creation time (epoch seconds): an id alone is used again


def mark(home: Path) -> dict[str, str]:
    """The variables that make a process, and all it starts, part of the stack of `home`.

    SPT_NOENV keeps programs that set their own title (Airflow's do) from writing it over the mark.
    """
    return {MARK: str(home.expanduser().resolve()), "SPT_NOENV": "1"}


def members(home: Path) -> list[psutil.Process]:
    """Live processes that carry the mark of `home`, except this one."""
    wanted = mark(home)[MARK]
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        try:
            if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
                continue
            if process.environ().get(MARK) == wanted:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def identity() -> Identity:
    """This process."""
    this = psutil.Process()
    return this.pid, this.create_time()


def is_alive(pid: int, started: float) -> bool:
    """Whether the process of this id and creation time (epoch seconds) still runs."""
    try:
        process = psutil.Process(pid)
        same = abs(process.create_time() - started) < 1.0
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def sweep(home: Path, *, patience_s: float = 8.0) -> int:
    """Ends every member of the stack of `home`; returns how many there were.

    PostgreSQL comes last, when its clients are gone, with the signal of its fast shutdown.
    """
    found = members(home)
    databases = [process for process in found if _is_postgres(process)]
    _end([process for process in found if process not in databases], patience_s)
    for process in databases:
        _signal(process, interrupt=True)
    psutil.wait_procs(databases, timeout=4 * patience_s)  # it writes out what is in memory
    _end(members(home), patience_s)
    return len(found)


def _is_postgres(process: psutil.Process) -> bool:
    try:
        return process.name() == "postgres"
    except psutil.Error:
        return False


def _signal(process: psutil.Process, *, interrupt: bool = False) -> None:
    try:
        if interrupt:
            process.send_signal(signal.SIGINT)
        else:
            process.terminate()
    except psutil.Error:
        return


def _end(processes: list[psutil.Process], patience_s: float) -> None:
    for process in processes:
        _signal(process)
    _, stubborn = psutil.wait_procs(processes, timeout=patience_s)
    for process in stubborn:
        try:
            process.kill()
        except psutil.Error:
            continue
    psutil.wait_procs(stubborn, timeout=2.0)
