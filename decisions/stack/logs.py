"""Readable logs: one file a service under `logs/`, each line with its time."""

import logging
import re
from pathlib import Path
from typing import Protocol

_STOPPED = re.compile(r"^(\S+) stopped \(rc=(-?\d+)\)")
log = logging.getLogger(__name__)


class Line(Protocol):
    """The part of `honcho.printer.Message` that is read here."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def data(self) -> str | bytes: ...  # noqa: D102
    @property
    def time(self) -> object: ...  # noqa: D102


class ServiceLogs:
    """What the supervisor writes lines to, in place of a terminal: a file a service.

    The file of the run before is kept as `<name>.log.1`. `stopped` is the service that ended
    first, and its exit status; None while all run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.width = 0  # honcho sets it
        self.stopped: tuple[str, int] | None = None
        self._started: set[str] = set()

    def write(self, message: Line) -> None:
        """Appends a line to its service's file."""
        data = message.data
        text = data.decode(errors="replace") if isinstance(data, bytes) else data
        match = _STOPPED.match(text) if message.name == "system" else None
        if match is not None and self.stopped is None:
            self.stopped = (match[1], int(match[2]))
        with self._file(message.name).open("a") as stream:
            stream.writelines(f"{message.time:%H:%M:%S} {line}\n" for line in text.splitlines())

    def _file(self, name: str) -> Path:
        file = self.folder / f"{name}.log"
        if name not in self._started:
            self._started.add(name)
            self.folder.mkdir(parents=True, exist_ok=True)
            if file.exists():
                file.replace(file.with_suffix(".log.1"))
        return file


def tail(file: Path, lines: int = 15) -> str:
    """The last lines of a log; says so when there is none."""
    if not file.exists():
        return f"(no log at {file})"
    return "\n".join(file.read_text(errors="replace").splitlines()[-lines:])
