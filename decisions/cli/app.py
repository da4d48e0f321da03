"""The `decisions` command.

Nothing of a group of commands is imported before one of them is called: the help, and a mistyped
name, answer at once.
"""

import os
import sys
from importlib import import_module
from typing import Any

import typer
from typer.main import get_command

from decisions.errors import DecisionsError

HELP = """
Train, judge, promote and audit generations of decision policies.

A *domain* (payments, open_bandit, ...) says what is decided. A *generation* is a numbered policy
trained on what was known at its cut-off; a gate compares it with the champion and promotes, holds
or rejects it. Every decision is sealed, and can be taken again bit for bit.

Begin with `decisions run`: it starts the local stack, trains and judges some weeks of generations,
the last days through Airflow, and shows what came of them. Then: `decisions report`, `decisions
replay --sample 1000`, `decisions audit verify`.

Settings are variables DECISIONS_...: HOME (.decisions), DATABASE_URL (yours, in place of the
embedded PostgreSQL), SEED. Exit status: 0 well; 1 a check or a run failed; 2 it could not be done,
and the message says why. DECISIONS_DEBUG=1 shows the traceback.
"""
COMMANDS = (  # panel, name, module, attribute, help
    ("Run", "run", "run", "run", "The main job: start the stack, run the days, show the table."),
    ("Run", "backfill", "run", "backfill", "Run one domain's last N days through Airflow."),
    ("Local stack", "up", "stack", "up", "Start PostgreSQL, MLflow, Airflow, the dashboard."),
    ("Local stack", "status", "stack", "status", "Addresses, Airflow's login, health."),
    ("Local stack", "down", "stack", "down", "Stop the stack and clean up after earlier ones."),
    ("Local stack", "doctor", "stack", "doctor", "Find what is wrong, and what to do about it."),
    ("Govern", "migrate", "govern", "migrate", "Create the schema, or bring it up to date."),
    ("Govern", "promote", "govern", "promote", "Make a generation champion by hand; roll back."),
    ("Evidence", "report", "standing", "report", "What each domain shows: verdicts and series."),
    ("Evidence", "audit", "audit", "app", "Verify, anchor and export the chain of seals."),
    ("Evidence", "replay", "replay", "replay", "Take stored decisions again, bit for bit."),
    ("Run", "lotsizing", "lotsizing", "app", "Plans for plants of your own."),
    ("Measure", "study", "study", "app", "Long measurements with a verdict at the end."),
    ("Measure", "bench", "bench", "app", "Ours against the peer, in one run."),
)
_PASS_ON: dict[str, Any] = {
    "allow_extra_args": True,
    "ignore_unknown_options": True,
    "help_option_names": [],
}

app = typer.Typer(
    name="decisions",
    help=HELP,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)


def _register(panel: str, name: str, module: str, attribute: str, text: str) -> None:
    def call(context: typer.Context) -> None:
        target: Any = getattr(import_module(f"decisions.cli.{module}"), attribute)
        if not isinstance(target, typer.Typer):
            function = target
            target = typer.Typer(add_completion=False)
            target.command(name)(function)
        get_command(target)(args=context.args, prog_name=f"decisions {name}")

    app.command(name, help=text, rich_help_panel=panel, context_settings=_PASS_ON)(call)


for command in COMMANDS:
    _register(*command)


def main() -> None:
    """Runs the command line; an error of ours is one message, and exit status 2."""
    try:
        app()
    except DecisionsError as error:
        if os.environ.get("DECISIONS_DEBUG") == "1":
            raise
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
