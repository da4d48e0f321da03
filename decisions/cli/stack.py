"""The local stack's commands."""

import signal
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from decisions.errors import StackError
from decisions.settings import configured, settings
from decisions.stack import doctor as examination
from decisions.stack import running
from decisions.stack.airflow import password
from decisions.stack.database_url import without_password
from decisions.stack.logs import tail
from decisions.stack.processes import is_alive
from decisions.stack.services import USER

OUT = Console(width=None if sys.stdout.isatty() else 140)  # a pipe has no width of its own
ERR = Console(stderr=True, highlight=False)
TITLES = {
    "dashboard_url": "Dashboard",
    "airflow_url": "Airflow",
    "mlflow_url": "MLflow",
    "database_url": "PostgreSQL",
}


def reporter() -> Callable[[str], None]:
    """What prints a line of progress on standard error, with the seconds since it was made."""
    began = time.monotonic()

    def report(text: str) -> None:
        seconds = f"{time.monotonic() - began:6.1f} s"
        ERR.print(Text.assemble((seconds, "dim"), "  ", text), soft_wrap=True)

    return report


def terminate_politely() -> None:
    """Makes SIGTERM end this process as Ctrl-C does, so that the stack is stopped.

    Ctrl-C as well: a shell starts what it puts in the background with SIGINT ignored.
    """

    def interrupt(_number: int, _frame: types.FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    signal.signal(signal.SIGINT, interrupt)


def home() -> Path:
    """The folder of the local stack."""
    return configured().home.expanduser().resolve()


def print_addresses(stack: running.Stack) -> None:
    """Where everything is."""
    table = Table(show_header=False, box=None)
    for key, title in TITLES.items():
        if key in stack.addresses:
            table.add_row(title, Text(without_password(stack.addresses[key])))
    table.add_row("Logs", Text(str(home() / "logs")))
    ERR.print(table)
    ERR.print("Airflow's login is shown by [bold]decisions status[/bold].")


def serve_until_stopped(stack: running.Stack) -> None:
    """Returns on Ctrl-C.

    Raises:
        StackError: a service ended by itself.
    """
    ERR.print("Serving. Ctrl-C stops everything.")
    try:
        while is_alive(*stack.supervisor):
            time.sleep(0.5)
    except KeyboardInterrupt:
        return
    log = home() / "logs" / "supervisor.log"
    raise StackError(f"the stack (supervisor {stack.supervisor[0]}) ended:\n{tail(log)}")


def up(
    detach: Annotated[bool, typer.Option(help="Return once it runs; stop with `down`.")] = False,
) -> None:
    """Start PostgreSQL, MLflow, Airflow and the dashboard, and keep them until Ctrl-C."""
    terminate_politely()
    report = reporter()
    found = running.find_lasting(home(), report)
    if found is not None:
        ERR.print("The stack runs already.")
        print_addresses(found)
        return
    stack = None
    try:
        stack = running.start(home(), report, detached=detach)
        print_addresses(stack)
        if not detach:
            serve_until_stopped(stack)
    except KeyboardInterrupt:
        pass
    finally:
        if stack is not None and not detach:
            ERR.print("Stopping.")
            running.stop(home(), stack)


def status() -> None:
    """Show addresses, the Airflow login, and the health of every service."""
    stack = running.find(home())
    if stack is None:
        ERR.print(f"No stack runs in {home()}. Start one with `decisions up`.", markup=False)
        raise typer.Exit(1)
    wrong = running.ailments(stack)
    table = Table("service", "health")
    for name in stack.checks:
        table.add_row(name, Text(wrong.get(name, "healthy")))
    OUT.print(table)
    for key, title in TITLES.items():
        if key in stack.addresses:
            shown = without_password(stack.addresses[key])
            OUT.print(f"{title:<11} {shown}", soft_wrap=True, markup=False)
    OUT.print(f"Airflow login: {USER} / {password(home())}", highlight=False)
    if wrong or not stack.checks:
        ERR.print(f"Phase: {stack.phase}")
        raise typer.Exit(1)


def down() -> None:
    """Stop the stack, and end whatever an earlier one left running."""
    found = running.find(home()) is not None
    left = running.stop(home())
    ERR.print("Stopped." if found else "No stack was running.")
    if left:
        ERR.print(f"Ended {left} processes that were left over.")


def doctor() -> None:
    """Look for what could keep the stack from working, and say what to do about it."""
    table = Table("check", "finding", "what to do")
    findings = examination.examine(home(), settings())
    for finding in findings:
        seen = Text(finding.seen, style="green" if finding.ok else "red")
        table.add_row(finding.check, seen, Text(finding.remedy))
    OUT.print(table)
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)
