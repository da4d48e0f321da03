"""What runs, how far it is, and how long it may take yet."""

import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text


@dataclass
class Board:
    """The parts of a job: one live line in a terminal, elsewhere a line when one has ended.

    Threads may call it at once.
    """

    console: Console
    progress: Progress
    task: TaskID
    total: int
    began: float = field(default_factory=time.monotonic)  # seconds, of `time.monotonic`
    done: int = 0
    _running: dict[str, str] = field(default_factory=dict[str, str], init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def runs(self, lane: str, what: str) -> None:
        """Shows what a lane does now."""
        with self._lock:
            self._running[lane] = what
            self._show()

    def ended(self, lane: str, what: str) -> None:
        """Counts a part of a lane as done."""
        with self._lock:
            self.done += 1
            self._show()
            self.progress.advance(self.task)
            if not self.console.is_terminal:
                seconds = f"{time.monotonic() - self.began:6.1f} s"
                line = f"  [{self.done}/{self.total}{self._rest()}] {lane} {what}"
                self.console.print(Text.assemble((seconds, "dim"), line), soft_wrap=True)

    def leaves(self, lane: str) -> None:
        """Shows a lane no longer."""
        with self._lock:
            self._running.pop(lane, None)
            self._show()

    def _show(self) -> None:
        texts = (f"{lane} {what}" for lane, what in self._running.items())
        self.progress.update(self.task, description=" · ".join(texts))

    def _rest(self) -> str:
        left = self.total - self.done
        if not left:
            return ""
        return f", about {(time.monotonic() - self.began) / self.done * left:.0f} s left"


@contextmanager
def board(console: Console, total: int) -> Generator[Board]:
    """A board of `total` parts, shown until the block ends."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("elapsed,"),
        TimeRemainingColumn(),
        TextColumn("left"),
    )
    with Progress(
        *columns,
        console=console,
        speed_estimate_period=600,
        transient=True,
        disable=not console.is_terminal,
    ) as progress:
        yield Board(console, progress, progress.add_task("starting", total=total), total)
