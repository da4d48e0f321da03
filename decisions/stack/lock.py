"""The lock of a home: whoever holds it, and nobody else, may start or sweep its processes."""

import fcntl
import os
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from decisions.errors import StackError

_PERIOD_S = 0.1


@contextmanager
def held(
    home: Path, *, patience_s: float = 0.0, hopeless: Callable[[], bool] = lambda: False
) -> Generator[None]:
    """Holds the lock of `home` in this process alone: the kernel frees it when the process ends.

    Raises:
        StackError: another process still holds it after `patience_s`, or once waiting is
            `hopeless`.
    """
    deadline = time.monotonic() + patience_s
    with (home / "stack.lock").open("w") as file:
        # What is forked from here must not keep the lock of a killed supervisor.
        os.register_at_fork(after_in_child=file.close)
        while not _taken(file.fileno()):
            if time.monotonic() >= deadline or hopeless():
                raise StackError(
                    f"another stack runs in {home}: see `decisions status`, or end it with"
                    " `decisions down`"
                )
            time.sleep(_PERIOD_S)
        yield


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
