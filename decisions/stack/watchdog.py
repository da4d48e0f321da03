"""Ends what a supervisor leaves behind when it is killed outright, and a stack nobody owns."""

import argparse
import os
import signal
import time
from contextlib import suppress
from pathlib import Path

from decisions.errors import StackError
from decisions.stack import processes
from decisions.stack.lock import held

PERIOD_S = 0.5


def watch(
    home: Path, supervisor: processes.Identity, owner: processes.Identity | None = None
) -> None:
    """Waits for the supervisor to end, then ends all that is left and removes its address file.

    When `owner`, the command that wanted the stack, is gone first, or was before this process
    came up, the supervisor is told to stop. A new supervisor that was quicker cleans up itself.
    """
    while processes.is_alive(*supervisor):
        if owner is not None and not processes.is_alive(*owner):
            with suppress(ProcessLookupError):
                os.kill(supervisor[0], signal.SIGTERM)
            owner = None
        time.sleep(PERIOD_S)
    # A process that the supervisor was just starting may keep the lock for a moment.
    with suppress(StackError), held(home, patience_s=10.0):
        processes.sweep(home)
        (home / "stack.json").unlink(missing_ok=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("home", type=Path)
    parser.add_argument("supervisor", nargs=2, type=float, help="its id and creation time")
    parser.add_argument("--owner", nargs=2, type=float, help="likewise")
    given = parser.parse_args()
    watch(
        given.home,
        (int(given.supervisor[0]), given.supervisor[1]),
        None if given.owner is None else (int(given.owner[0]), given.owner[1]),
    )
