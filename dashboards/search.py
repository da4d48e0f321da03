"""Decisions found by what people know of them: a name, a span, who decided."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import polars as pl
from queries import read

from decisions.frames import SLOTS, unit_id

PAGE = 50  # decisions a page
LARGEST_ID = 2**63 - 1


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is searched for; None leaves it open. Days are of arrival, UTC, both included.

    `below` is the id that a further page goes on below.
    """

    domain: str
    name: str | None = None  # a unit's reference, or a decision's id
    generation: int | None = None
    arm: str | None = None
    since: date | None = None
    until: date | None = None
    below: int | None = None


def found(wanted: Wanted, tallies: pl.DataFrame) -> pl.DataFrame:
    """Up to PAGE rows of `decision/search`, the newest first.

    `tallies` are the rows of `tally/by_arm`. They bound the ids that can match, so that a search
    touches few rows however many decisions there are.
    """
    bounds = _bounds(wanted, tallies)
    if bounds is None:
        return read_range(wanted, 0, 0)
    if wanted.name is None:
        return read_range(wanted, *bounds)
    low, high = _named(wanted.domain, wanted.name)
    return read_range(wanted, max(low, bounds[0]), min(high, bounds[1]))


def read_range(wanted: Wanted, low: int, high: int) -> pl.DataFrame:
    """The newest decisions with ids in [low, high) that match."""
    return read(
        "decision/search",
        domain=wanted.domain,
        low=low,
        high=high,
        generation=wanted.generation,
        arm=wanted.arm,
        count=PAGE,
    )


def _bounds(wanted: Wanted, tallies: pl.DataFrame) -> tuple[int, int] | None:
    """The least id and one past the greatest that can match; None where none can."""
    if wanted.generation is not None:
        tallies = tallies.filter(pl.col("generation") == wanted.generation)
    if wanted.arm is not None:
        tallies = tallies.filter(pl.col("arm") == wanted.arm)
    if tallies.is_empty():
        return None
    lows = [tallies["first_decision_id"].sort()[0]]
    highs = [tallies["last_decision_id"].sort()[-1] + 1]
    if wanted.since is not None:
        lows.append(_first_id(wanted.since))
    if wanted.until is not None:
        highs.append(_first_id(wanted.until + timedelta(days=1)))
    if wanted.below is not None:
        highs.append(wanted.below)
    return max(lows), min(highs)


def _first_id(day: date) -> int:
    """The least id of a decision on a unit that arrived on that day or later."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return unit_id(int(midnight.timestamp()) // 60, 0) * SLOTS


def _named(domain: str, name: str) -> tuple[int, int]:
    """The ids of the unit of that reference, or the one id; an empty range for neither."""
    units = read("unit/of_reference", domain=domain, reference=name)
    if units.height:
        first = int(units["unit_id"][0]) * SLOTS
        return first, first + SLOTS
    number = int(name) if name.isdecimal() and int(name) < LARGEST_ID else None
    return (0, 0) if number is None else (number, number + 1)
