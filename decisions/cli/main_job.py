"""What the main job does for each domain, and how domains run side by side.

The earlier days are processed by the spine in a process of their own; the last ones are run by
Airflow. Two domains are at work at a time.
"""

import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO

from decisions import flow
from decisions.cli.progress import Board
from decisions.domain import Domain
from decisions.errors import StackError
from decisions.stack import processes
from decisions.stack.airflow import Airflow, sign_in
from decisions.stack.logs import tail
from decisions.stack.running import Stack

LANES = 2  # domains at work at a time
BY_AIRFLOW = 2  # days at the end that Airflow runs
SETTLED_AT = timedelta(minutes=30)  # after midnight


@dataclass(frozen=True)
class Job:
    """One DAG for one date."""

    dag: str
    date: datetime


@dataclass(frozen=True)
class Work:
    """One domain's part: cut-offs for the spine, the first day before them, then DAG runs.

    `first` is None where Airflow runs all of it.
    """

    domain: str
    first: datetime | None
    cutoffs: tuple[datetime, ...]
    jobs: tuple[Job, ...]

    @property
    def parts(self) -> int:
        """How many parts there are to be done."""
        return len(self.cutoffs) + len(self.jobs)


def planned(domain: Domain, *, days: int, until: datetime, by_airflow: int | None = None) -> Work:
    """The days of a domain that end with `until` (a midnight), oldest first.

    Airflow runs the last `by_airflow` of them (None: all), and the day of the last cut-off, which
    may be earlier where the cadence is longer. Each of its days is decided and settled; deciding
    makes up for the days since the last time. A domain of logs of the past has its own cut-offs.
    """
    if domain.cutoffs:
        *earlier, last = domain.cutoffs
        ended = [*earlier, last] if by_airflow is None else [last]
        jobs = [Job(f"{domain.name}_generation", cutoff) for cutoff in ended]
        dates, cutoffs = list(domain.cutoffs), list(domain.cutoffs)
    else:
        dates = [until - flow.DAY * back for back in reversed(range(days))]
        cutoffs = flow.scheduled(domain, dates)
        late = dates if by_airflow is None else dates[-by_airflow:]
        ended = [*cutoffs[-1:], *(cutoff for cutoff in cutoffs if cutoff >= late[0])]
        late = sorted({*late, *(cutoff - flow.AT for cutoff in ended)})
        jobs = [
            *(Job(f"{domain.name}_decide", date) for date in late),
            *(Job(f"{domain.name}_settle", date + SETTLED_AT) for date in late),
            *(Job(f"{domain.name}_generation", cutoff) for cutoff in dict.fromkeys(ended)),
        ]
    return Work(
        domain=domain.name,
        first=dates[0] if dates[0] < jobs[0].date else None,
        cutoffs=tuple(cutoff for cutoff in cutoffs if cutoff not in ended),
        jobs=tuple(sorted(jobs, key=lambda job: job.date)),
    )


@dataclass(eq=False)
class Lanes:
    """Threads that do the work of domains, side by side, each domain's in order."""

    home: Path
    stack: Stack  # whose database answers
    board: Board
    resumed: bool  # no worker of an earlier stack is alive
    patience_s: float
    _airflow_url: str = field(default="", init=False)
    _healthy: threading.Event = field(default_factory=threading.Event, init=False)
    _left: "queue.SimpleQueue[Work]" = field(default_factory=queue.SimpleQueue, init=False)
    _errors: list[Exception] = field(default_factory=list[Exception], init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _stopping: bool = field(default=False, init=False)
    _workers: "list[subprocess.Popen[str]]" = field(
        default_factory=list["subprocess.Popen[str]"], init=False
    )
    _threads: list[threading.Thread] = field(default_factory=list[threading.Thread], init=False)

    def start(self, works: Sequence[Work]) -> None:
        """Begins with the first works; returns at once."""
        for work in works:
            self._left.put(work)
        self._threads = [threading.Thread(target=self._lane, daemon=True) for _ in range(LANES)]
        for thread in self._threads:
            thread.start()

    def use_airflow(self, url: str) -> None:
        """Lets the lanes go on to what Airflow runs, once it is healthy."""
        self._airflow_url = url
        self._healthy.set()

    def join(self) -> None:
        """Returns when all is done; a domain that fails keeps no other from its work.

        Raises:
            StackError: work of a domain failed; the message says how, of each.
        """
        for thread in self._threads:
            while thread.is_alive():
                thread.join(0.2)
        if self._errors:
            raise StackError("\n".join(map(str, self._errors))) from self._errors[0]

    def stop(self) -> None:
        """Ends the processes that were started here, and lets no other begin."""
        with self._lock:
            self._stopping = True
            for worker in self._workers:
                worker.terminate()
        for worker in self._workers:
            worker.wait()

    def _lane(self) -> None:
        with suppress(queue.Empty):
            while not self._stopping:
                work = self._left.get_nowait()
                self._try(work)
                self.board.leaves(work.domain)

    def _try(self, work: Work) -> None:
        """Does a domain's work; its last days only after all earlier ones.

        A generation of the last days would overtake those of cut-offs that are left.
        """
        try:
            self._earlier(work)
            if not self._stopping:
                self._by_airflow(work)
        except Exception as error:
            self._errors.append(error)

    def _begin(self, command: Sequence[str], log: IO[str]) -> "subprocess.Popen[str]":
        with self._lock:
            if self._stopping:
                raise StackError("the main job is being stopped")
            worker = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=self._environment(),
            )
            self._workers.append(worker)
        return worker

    def _earlier(self, work: Work) -> None:
        if work.first is None:
            return
        file = self.home / "logs" / f"earlier-{work.domain}.log"
        moments = (work.first, *work.cutoffs)
        command = [sys.executable, "-m", "decisions.cli.earlier", work.domain]
        command += [moment.isoformat() for moment in moments]
        with file.open("w") as log, self._begin(command, log) as worker:
            self._follow(work, worker.stdout or ())
        if worker.returncode != 0:
            raise StackError(
                f"the earlier days of {work.domain} failed (status {worker.returncode}):\n"
                f"{tail(file)}\nWhat was done before is kept: once the cause is removed, the same"
                " command resumes."
            )

    def _follow(self, work: Work, lines: Iterable[str]) -> None:
        for line in lines:
            cutoff, _, step = line.rstrip("\n").partition("\t")
            day = cutoff[:10]
            if step in ("done", "failed"):
                self.board.ended(work.domain, f"{day} {step}")
            else:
                self.board.runs(work.domain, f"{day}: {step}")

    def _environment(self) -> dict[str, str]:
        """One thread a process; with the stack's mark, so that what a kill leaves is ended."""
        return {
            **os.environ,
            **processes.mark(self.home),
            "DECISIONS_HOME": str(self.home),
            "DECISIONS_DATABASE_URL": self.stack.addresses["database_url"],
            "OMP_NUM_THREADS": "1",
            "POLARS_MAX_THREADS": "1",
        }

    def _by_airflow(self, work: Work) -> None:
        if not work.jobs:
            return
        self.board.runs(work.domain, "waits for Airflow")
        self._healthy.wait()
        with sign_in(self._airflow_url, self.home) as airflow:
            airflow.await_dags({job.dag for job in work.jobs})
            for job in work.jobs:
                self._run(airflow, work, job)

    def _run(self, airflow: Airflow, work: Work, job: Job) -> None:
        step = job.dag.removeprefix(f"{work.domain}_")
        label = f"{job.date:%Y-%m-%d}: Airflow's {step}"
        self.board.runs(work.domain, label)
        ran = airflow.complete(
            job.dag,
            job.date,
            lambda text: self.board.runs(work.domain, f"{label}: {text}"),
            resumed=self.resumed,
            patience_s=self.patience_s,
        )
        self.board.ended(work.domain, f"{label} {'done' if ran else 'was done before'}")
