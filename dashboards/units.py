"""In which unit a page shows a domain's rewards."""

import math
from dataclasses import dataclass

from decisions.domain import Domain
from decisions.domains import all_domains


@dataclass(frozen=True, kw_only=True)
class Unit:
    """What a mean reward is called, and how its numbers are written.

    A stored value times `scale` is in `symbol`, the difference of two in `points`.
    """

    reward: str  # "authorised share of attempts"
    symbol: str  # "%", "EUR a day"; "units of reward" where the domain names none
    points: str
    scale: float

    def value(self, stored: float | None) -> str:
        """A stored value with its unit; "unknown" for none."""
        return _written(stored, self, "", self.symbol)

    def difference(self, stored: float | None) -> str:
        """A stored difference with its sign and unit; "unknown" for none."""
        return _written(stored, self, "+", self.points)


def _written(stored: float | None, unit: Unit, sign: str, symbol: str) -> str:
    if stored is None or not math.isfinite(stored):
        return "unknown"
    return f"{stored * unit.scale:{sign}.2f} {symbol}"


def domain_of(name: str) -> Domain | None:
    """The domain of that name; None for one that is stored and no longer known here."""
    return next((domain for domain in all_domains() if domain.name == name), None)


def plans(name: str) -> bool:
    """Whether the domain plans what machines make, so that the page of plans has something."""
    domain = domain_of(name)
    return domain is not None and "set_up" in domain.units


def unit_of(name: str) -> Unit:
    """The unit of the domain of that name."""
    domain = domain_of(name)
    reward = "reward" if domain is None else domain.reward
    given = "" if domain is None else domain.reward_unit
    if given == "%":
        return Unit(reward=reward, symbol="%", points="percentage points", scale=100.0)
    symbol = given or "units of reward"
    return Unit(reward=reward, symbol=symbol, points=symbol, scale=1.0)
