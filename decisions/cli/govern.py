"""Set the schema up; make a generation champion by hand."""

from datetime import UTC, datetime
from getpass import getuser
from typing import Annotated

import typer
from rich.console import Console

from decisions.settings import required_database_url, settings
from decisions.store import database, generations
from decisions.store.database import Database

OUT = Console()


def _database() -> Database:
    return Database(required_database_url(settings()))


def _say(text: str) -> None:
    OUT.print(text, highlight=False, markup=False, soft_wrap=True)


def migrate() -> None:
    """Bring the schema of DECISIONS_DATABASE_URL, or of the running stack, up to date.

    Nothing happens when it is. A migration that has run is never edited: one that was is an error.
    """
    db = _database()
    database.migrate(db)
    _say(f"the schema of {db.place} is up to date")


def promote(
    domain: Annotated[str, typer.Argument(help="The domain, such as payments.")],
    number: Annotated[int, typer.Argument(min=0, help="The generation to make champion.")],
    reason: Annotated[str, typer.Option(help="Why: it is sealed with the promotion.")],
    by: Annotated[str, typer.Option(help="Who.", show_default="you")] = "",
    since: Annotated[
        datetime | None,
        typer.Option(help="From when on, a past time (UTC).", show_default="now"),
    ] = None,
) -> None:
    """Make a trained generation champion from now on, whatever the gate said of it.

    An older number rolls back. The generation's policy must be stored, and unaltered. With
    --since, runs for dates from then on that are made up for take it, too.
    """
    if not reason.strip():
        raise typer.BadParameter("say why", param_hint="--reason")
    now = datetime.now(UTC)
    start = now if since is None else since.replace(tzinfo=UTC)
    if start > now:
        raise typer.BadParameter(
            f"{start:%Y-%m-%d %H:%M} UTC is to come: a champion is made now or for the past",
            param_hint="--since",
        )
    db = _database()
    planned = generations.generation(db, domain, number)
    generations.artifact(db, domain, number)
    before = generations.champion(db, domain)
    if number == before == generations.champion_at(db, domain, start):
        _say(f"generation {number} ({planned.policy}) of {domain} is champion already")
        return
    generations.promote(
        db, domain, number, by=by.strip() or getuser(), reason=reason, now=now, since=start
    )
    after = generations.champion(db, domain)
    _say(f"champion of {domain} before: {_described(db, domain, before)}")
    _say(f"champion of {domain} now:    {_described(db, domain, after)}")
    if since is not None:
        _say(f"runs for dates from {start:%Y-%m-%d %H:%M} UTC on take generation {number}")
    if after != number:
        _say(f"generation {number} is not: generation {after} was promoted for a later time")
        raise typer.Exit(1)


def _described(db: Database, domain: str, number: int) -> str:
    found = generations.generation(db, domain, number)
    return f"generation {number} ({found.policy}, trained up to {found.cutoff:%Y-%m-%d %H:%M})"
