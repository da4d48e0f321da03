"""Changes of verdict, told to the outside once."""

from collections.abc import Callable
from datetime import datetime

from decisions.domain import Domain
from decisions.store import cycles
from decisions.store.cycles import Change, Channel
from decisions.store.database import Database


def announce(
    db: Database,
    domain: Domain,
    channel: Channel,
    send: Callable[[dict[str, str]], None],
    *,
    now: datetime,
) -> int:
    """Sends each change of verdict that a channel has not been told of; how many were sent.

    What was sent is noted after it was, so a worker that is killed in between sends it again, and
    one whose `send` raises has told nothing: its next run does. Nothing is told twice otherwise,
    also when a run is repeated.

    Raises:
        Exception: what `send` raised.
    """
    changed = cycles.changes(db, domain.name, channel)
    for change in changed:
        told = message(domain, change)
        send(told)
        cycles.record_announcement(db, domain.name, change, channel, told["text"], now=now)
    return len(changed)


def message(domain: Domain, change: Change) -> dict[str, str]:
    """What is told of a change: `text` in one line, and its parts by name."""
    before = "first verdict" if change.previous is None else f"was {change.previous}"
    return {
        "text": f"{domain.name}/{change.series} is {change.verdict} ({before}), cycle of"
        f" {change.cutoff.isoformat()}: {change.explanation} {change.action}",
        "domain": domain.name,
        "series": change.series,
        "cutoff": change.cutoff.isoformat(),
        "verdict": change.verdict,
        "previous": change.previous or "",
        "explanation": change.explanation,
        "action": change.action,
    }
