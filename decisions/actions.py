"""What a policy may choose from."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ActionSet:
    """Finitely many actions; an action is its index into `names`.

    `meanings` says for people what each does; empty where the names say it.
    """

    names: tuple[str, ...]
    meanings: tuple[str, ...] = ()


@dataclass(frozen=True)
class ActionBox:
    """A vector a unit, within bounds; `units` names each component's unit of measure."""

    low: tuple[float, ...]
    high: tuple[float, ...]
    units: tuple[str, ...]
