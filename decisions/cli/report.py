"""What a study or a benchmark prints: progress on the way, checks and a verdict at the end."""

import inspect
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TimeElapsedColumn
from rich.table import Table

from decisions.code_version import PACKAGE, source_digest
from decisions.errors import StackError
from decisions.settings import settings

STDERR = Console(stderr=True)
if not STDERR.is_terminal:
    STDERR.width = 140  # a pipe has no width of its own
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Check:
    """One figure held against its threshold; `ok` is None for a figure that is only reported."""

    name: str
    value: float | str
    threshold: str
    ok: bool | None
    interval: tuple[float, float] | None = None


@dataclass
class Workbench:
    """Where a study works: it keeps finished parts, so that a killed run resumes, and reports."""

    name: str
    folder: Path
    progress: Progress
    checks: list[Check] = field(default_factory=list[Check])
    sections: list[str] = field(default_factory=list[str])

    def part(self, key: str, compute: Callable[[], Any]) -> Any:
        """`compute()`, a JSON value, or what an earlier run of the same code stored for `key`.

        Always returns the value as JSON gives it back, so a resumed run sees the same as a fresh
        one.
        """
        path = self.folder / f"{key}.json"
        if not path.exists():
            text = json.dumps(compute())
            self.folder.mkdir(parents=True, exist_ok=True)
            scratch = path.with_suffix(f".{os.getpid()}.tmp")
            scratch.write_text(text)
            scratch.replace(path)
        return json.loads(path.read_text())

    def track(self, items: Sequence[T], label: str) -> Iterator[T]:
        """`items`, with a progress bar on standard error."""
        yield from self.progress.track(items, description=escape(label))

    def check(
        self,
        name: str,
        value: float | str,
        threshold: str,
        *,
        ok: bool | None,
        interval: tuple[float, float] | None = None,
    ) -> None:
        """Records a figure; `ok=None` when it has no bar."""
        self.checks.append(
            Check(name=name, value=value, threshold=threshold, ok=ok, interval=interval)
        )

    def section(self, markdown: str) -> None:
        """Adds a table or a text that is shown and published below the figures."""
        self.sections.append(markdown.strip())


def machine() -> str:
    """Processor, number of cores and Python version, in words."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        model = names[0].partition(":")[2].strip() if names else model
    return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}"


def _table(checks: list[Check]) -> Table:
    table = Table("check", "value", "interval", "threshold", "ok")
    for check in checks:
        table.add_row(*map(escape, _row(check)))
    return table


@contextmanager
def _progress() -> Generator[Progress]:
    columns = (SpinnerColumn(), *Progress.get_default_columns(), TimeElapsedColumn())
    with Progress(*columns, console=STDERR) as progress:
        yield progress


def _row(check: Check) -> tuple[str, str, str, str, str]:
    """A check as the cells of a table."""
    value = f"{check.value:.6g}" if isinstance(check.value, float) else str(check.value)
    interval = "" if check.interval is None else "[{:.4g}, {:.4g}]".format(*check.interval)
    ok = {True: "yes", False: "NO", None: "-"}[check.ok]
    return check.name, value, interval, check.threshold, ok


def _page(name: str) -> Path:
    return PACKAGE.parent / "docs" / "results" / f"{name}.md"


def _publish(
    kind: str, report: dict[str, Any], bench: Workbench, *, notes: str, asked: str
) -> Path:
    """Writes the figures and the command that made them to docs/results, in a checkout."""
    path = _page(report["name"])
    verb = {"studies": "study", "benchmarks": "bench"}[kind]
    rows = [
        "| " + " | ".join(cell.replace("|", "\\|") for cell in _row(check)) + " |"
        for check in bench.checks
    ]
    head = [
        f"# {report['name']}",
        "",
        f"Made by `decisions {verb} {asked} --publish` in {report['seconds']} s on"
        f" {report['machine']}. Verdict: **{'ok' if report['ok'] else 'not ok'}**.",
        "",
        *([notes.strip(), ""] if notes.strip() else []),
        "| check | value | interval | threshold | ok |",
        "|---|---|---|---|---|",
    ]
    sections = [line for section in bench.sections for line in ("", section)]
    path.write_text("\n".join([*head, *rows, *sections]) + "\n")
    return path


def check_writable(file: Path) -> None:
    """Makes the folder of a file that long work will write, and leaves the file as it is.

    Raises:
        StackError: the file cannot be written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        there = file.exists()
        file.open("a").close()
        if not there:
            file.unlink()
    except OSError as error:
        raise StackError(f"{file} cannot be written ({error.strerror}): name another") from error


def conduct(
    kind: str,
    name: str,
    work: Callable[[Workbench], None],
    *,
    as_json: bool,
    fresh: bool,
    publish: bool = False,
    asked: str | None = None,
) -> None:
    """Runs `work`, prints its checks and exits with status 1 when one is not ok.

    With `as_json` the last line of standard output is one JSON object: `name`, `seconds`,
    `machine`, `checks`, `ok`. With `publish` the figures go to docs/results as well, below the
    docstring of the module that made them; `asked` is the command, where that is not `name`.
    """
    folder = settings().home / kind / name / source_digest()[:16]
    for file in (folder / "part", *([_page(name)] if publish else [])):
        check_writable(file)
    if fresh:
        for suffix in ("json", "safetensors"):  # finished parts, and checkpoints of others
            for path in folder.glob(f"*.{suffix}"):
                path.unlink()
    began = time.perf_counter()
    with _progress() as progress:
        bench = Workbench(name, folder, progress)
        work(bench)
    seconds = time.perf_counter() - began
    ok = all(check.ok is not False for check in bench.checks)
    STDERR.print(_table(bench.checks))
    for section in bench.sections:
        STDERR.print(f"\n{section}", markup=False, highlight=False)
    report = {
        "name": name,
        "seconds": round(seconds, 3),
        "machine": machine(),
        "checks": [asdict(check) for check in bench.checks],
        "ok": ok,
    }
    if publish:
        notes = inspect.getdoc(inspect.getmodule(getattr(work, "func", work))) or ""
        STDERR.print(
            f"written: {_publish(kind, report, bench, notes=notes, asked=asked or name)}",
            markup=False,
        )
    if as_json:
        sys.stdout.write(json.dumps(report) + "\n")
    else:
        STDERR.print(f"{name}: {'ok' if ok else 'NOT OK'} in {seconds:.1f} s")
    if not ok:
        raise typer.Exit(1)
