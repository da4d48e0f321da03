"""What actions are called, and what they do, in words."""

import math
from collections.abc import Sequence

import polars as pl
from units import domain_of

from decisions.actions import ActionBox, ActionSet


def name(domain: str, action: Sequence[float]) -> str:
    """A stored action in words: its name, or the numbers of a vector with their units."""
    known = domain_of(domain)
    actions = None if known is None else known.actions
    if not action:
        return "not told"
    if isinstance(actions, ActionBox):
        table = by_place(domain, action)
        if table is not None:
            return _in_places(table)
        if len(action) == len(actions.units):
            pairs = zip(action, actions.units, strict=True)
            return ", ".join(f"{value:.4g} {unit}" for value, unit in pairs)
    if len(action) == 1 and math.isfinite(action[0]) and float(action[0]).is_integer():
        index = int(action[0])
        if isinstance(actions, ActionSet) and 0 <= index < len(actions.names):
            return actions.names[index]
        return f"action {index}"
    return ", ".join(f"{value:.4g}" for value in action)


def by_place(domain: str, action: Sequence[float]) -> pl.DataFrame | None:
    """A vector of several kinds of number in several places, one row a place.

    Its units say so, as "item on machine 1" does: columns are `place`, then one a kind. How many
    places there are is the action's to say: a stored one may be of another plant than the domain's
    of today. None for other actions.
    """
    known = domain_of(domain)
    if known is None or not isinstance(known.actions, ActionBox):
        return None
    units = known.actions.units
    places = list(dict.fromkeys(unit.partition(" on ")[2] for unit in units))
    kinds = list(dict.fromkeys(unit.partition(" on ")[0] for unit in units))
    if units != tuple(f"{kind} on {place}" for kind in kinds for place in places):
        return None
    each, rest = divmod(len(action), len(kinds))
    if each == 0 or rest:
        return None
    if each != len(places):
        what = places[0].rpartition(" ")[0]
        places = [f"{what} {number}" for number in range(1, each + 1)]
    columns = {
        kind: pl.Series(action[start : start + each])
        for kind, start in zip(kinds, range(0, len(action), each), strict=True)
    }
    return pl.DataFrame({"place": places, **columns})


def _in_places(table: pl.DataFrame) -> str:
    """The first kind of number in each place: "items 9, 8, none on machines 1 to 3"."""
    numbers = ", ".join(f"{value:.4g}" if value else "none" for value in table[table.columns[1]])
    first, last = table["place"][0], table["place"][-1]
    if first == last:
        return f"{table.columns[1]} {numbers} on {first}"
    what, _, number = first.rpartition(" ")
    return f"{table.columns[1]}s {numbers} on {what}s {number} to {last.rpartition(' ')[2]}"


def are_vectors(domain: str) -> bool:
    """Whether an action is a vector within bounds, not one of a list."""
    known = domain_of(domain)
    return known is not None and isinstance(known.actions, ActionBox)


def meaning(domain: str, index: int) -> str:
    """What a numbered action does, for people; empty where its name says it."""
    known = domain_of(domain)
    actions = None if known is None else known.actions
    if isinstance(actions, ActionSet) and 0 <= index < len(actions.meanings):
        return actions.meanings[index]
    return ""
