"""Check that what is stored is what was sealed; take the evidence elsewhere."""

from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from decisions.errors import DecisionsError
from decisions.settings import required_database_url, settings
from decisions.store import audit
from decisions.store.database import Database
from decisions.store.seals import Seal

app = typer.Typer(no_args_is_help=True, help=__doc__)
OUT, STDERR = Console(), Console(stderr=True)

Anchor = Annotated[
    Path | None,
    typer.Option(help="A file written by `decisions audit anchor`: the chain must contain it."),
]


def _database() -> Database:
    return Database(required_database_url(settings()))


def _alarm(what: str, text: str) -> None:
    """Prints `what` in red, then `text` as it is: stored text is no markup."""
    STDERR.print(Text.assemble((what, "red"), text), highlight=False)


def _say(text: str) -> None:
    OUT.print(text, highlight=False, markup=False, soft_wrap=True)


@contextmanager
def _named_failures() -> Generator[None]:
    """Ends the command with status 2 and the error's own words: nothing was decided."""
    try:
        yield
    except DecisionsError as error:
        _alarm(type(error).__name__, f": {error}")
        raise typer.Exit(2) from error


@contextmanager
def _shown(label: str) -> Generator[audit.Progress]:
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=STDERR, transient=True) as progress:
        task = progress.add_task(label, total=None)
        yield lambda seal: progress.update(task, description=_described(label, seal))


def _described(label: str, seal: Seal) -> str:
    return f"{label} seal {seal.number}: {seal.kind} {seal.batch}"


def _conclude(found: audit.Audit) -> None:
    if found.broken is not None:
        _alarm("BROKEN", f" at {found.broken}")
        raise typer.Exit(1)
    head = found.head
    seals = head.number - found.scope.after
    part = "" if found.scope.whole else f" ({found.scope}; the rest was not checked)"
    _say(f"intact: {seals} seals over {found.rows} rows; head {head.digest.hex()}{part}")


@app.command()
def verify(
    anchor: Anchor = None,
    newest: Annotated[
        int | None, typer.Option(min=1, help="Check so many seals, the newest, and no others.")
    ] = None,
) -> None:
    """Recompute every seal from the stored rows and name the first broken place.

    Exit status: 0 intact, 1 broken (the seal and the row are named), 2 it could not be checked.

    A superuser can rewrite rows and chain alike. What he cannot do is keep the head: compare with
    one that was anchored elsewhere (--anchor), and everything below that head is proven.
    """
    with _named_failures(), _shown("checking") as progress:
        db = _database()
        scope = audit.ALL if newest is None else audit.newest(db, newest)
        found = audit.verify(db, anchor=anchor, scope=scope, progress=progress)
    _conclude(found)


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(help="A new or empty folder.")],
    domain: Annotated[str | None, typer.Option(help="The rows of this domain alone.")] = None,
    since: Annotated[
        datetime | None, typer.Option(help="What was sealed from then on (UTC).")
    ] = None,
    until: Annotated[
        datetime | None, typer.Option(help="What was sealed before then (UTC).")
    ] = None,
) -> None:
    """Write sealed rows, their policies and the chain to FOLDER, as Parquet and JSON.

    All of it, or the shortest part of the chain that holds a domain's seals of a span.
    `decisions audit verify-export FOLDER` checks it anywhere, without a database.
    """
    with _named_failures(), _shown("exporting") as progress:
        db = _database()
        scope = audit.ALL
        if (domain, since, until) != (None, None, None):
            scope = audit.section(db, domain=domain, since=_utc(since), until=_utc(until))
        head = audit.export(db, folder, scope=scope, progress=progress)
    _say(f"{head.number - scope.after} seals exported to {folder}")


def _utc(time: datetime | None) -> datetime | None:
    return None if time is None else time.replace(tzinfo=UTC)


@app.command()
def verify_export(
    folder: Annotated[Path, typer.Argument(help="What `decisions audit export` wrote.")],
    anchor: Anchor = None,
) -> None:
    """Check an export without a database.

    Exit status: 0 intact, 1 broken (the seal and the row are named), 2 it could not be checked.
    """
    with _named_failures(), _shown("checking") as progress:
        found = audit.verify_export(folder, anchor=anchor, progress=progress)
    _conclude(found)


@app.command()
def anchor(
    file: Annotated[Path, typer.Argument(help="Keep it where no database owner can write.")],
) -> None:
    """Write the head of the chain to FILE (commit it, sign it, print it).

    A file that is there is replaced only if the chain still contains the head that it names.
    """
    with _named_failures():
        head = audit.write_anchor(_database(), file, now=datetime.now(UTC))
    _say(f"seal {head.number} anchored in {file}")
