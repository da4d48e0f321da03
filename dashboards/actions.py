"""What actions are called, and what they do, in words."""

import math
from collections.abc import Sequence

from units import domain_of

from decisions.actions import ActionBox, ActionSet


def name(domain: str, action: Sequence[float]) -> str:
    """A stored action in words: its name, or the numbers of a vector with their units."""
    known = domain_of(domain)
    actions = None if known is None else known.actions
    if not action:
        return "not told"
    if isinstance(actions, ActionBox):
        pairs = zip(action, actions.units, strict=False)
        return ", ".join(f"{value:.4g} {unit}" for value, unit in pairs)
    if len(action) == 1 and math.isfinite(action[0]) and float(action[0]).is_integer():
        index = int(action[0])
        if isinstance(actions, ActionSet) and 0 <= index < len(actions.names):
            return actions.names[index]
        return f"action {index}"
    return ", ".join(f"{value:.4g}" for value in action)


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
