"""What has been won by betting against "the candidate is no better than the margin allows"."""

from dataclasses import dataclass, replace
from math import exp, inf, isfinite, log

from decisions.errors import DataError

BETS = tuple(2.0 ** (-step / 2) for step in range(24))
"""Stakes per unit of reward, from 1 down to 0.0003."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Bets on the paired differences of `rows` decisions, as sums that further days add to.

    Against the hypothesis that the true difference is at most `margin`, each bet of BETS starts
    with a capital of one and multiplies it by 1 + bet * (difference - margin) at every row. Were
    the hypothesis true, no bet would be expected to gain, whatever the distribution of the
    differences, however often it is looked at, whenever it is stopped. A capital of 1 / error is
    therefore reached with probability `error` at most (Ville's inequality).

    `log_wealth` holds the logarithm of each capital, minus infinity where it was forfeited. A day
    on which a bet could lose more than it has lowers that bet to what is safe, and `staked` is the
    sum of what each bet really was, row by row; the hypothesis is then about the mean difference
    with days weighted by it. The capital at the start is spread over the bets from number `first`
    on, the largest that was safe then: 1/2, 1/6, 1/12, and so on.
    `total` is the sum of the differences and `variance` that of `total`: for people to read.
    """

    margin: float  # units of the reward
    rows: int
    total: float
    variance: float
    first: int
    log_wealth: tuple[float, ...]
    staked: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuses what no rows can have left behind."""
        figures = isfinite(self.margin) and isfinite(self.total) and 0 <= self.variance < inf
        wealth = all(each < inf for each in self.log_wealth)  # NaN is not
        wealth = wealth and all(0 <= each < inf for each in self.staked)
        bets = len(self.log_wealth) == len(self.staked) == len(BETS)
        if not (figures and wealth and bets and self.rows >= 0):
            raise DataError(
                f"evidence of {self.rows} rows: margin {self.margin:g}, total {self.total:g},"
                f" variance {self.variance:g}, {len(self.log_wealth)} bets; wanted finite numbers,"
                f" no negative variance and {len(BETS)} bets below infinity"
            )

    @property
    def value(self) -> float:
        """The mean difference; NaN of no rows."""
        return self.total / self.rows if self.rows else float("nan")

    @property
    def standard_error(self) -> float:
        """Of `value`; infinite of no rows."""
        return self.variance**0.5 / self.rows if self.rows else inf

    def plus(self, later: "Evidence") -> "Evidence":
        """This evidence and that of other rows; the capital keeps its first spread.

        Raises:
            DataError: the two bet against different margins.
        """
        if later.margin != self.margin:
            raise DataError(
                f"evidence against {self.margin:g} and against {later.margin:g} does not add up:"
                " the margin of a gate may only change for candidates that come later"
            )
        return replace(
            self,
            rows=self.rows + later.rows,
            total=self.total + later.total,
            variance=self.variance + later.variance,
            log_wealth=tuple(
                a + b for a, b in zip(self.log_wealth, later.log_wealth, strict=True)
            ),
            staked=tuple(a + b for a, b in zip(self.staked, later.staked, strict=True)),
        )

    def ended(self) -> "Evidence":
        """This evidence with every bet forfeited: nothing that comes later can revive it."""
        return replace(self, log_wealth=(-inf,) * len(BETS))

    def _capital(self) -> list[tuple[float, float]]:
        """(what was staked, logarithm of the share of the capital) of the bets that stand."""
        shared = enumerate(
            zip(self.staked[self.first :], self.log_wealth[self.first :], strict=True)
        )
        return [
            (staked, wealth - log((place + 1) * (place + 2)))
            for place, (staked, wealth) in shared
            if wealth > -inf
        ]

    @property
    def log_e_value(self) -> float:
        """Logarithm of the whole capital, which began at one; minus infinity where none stands."""
        return _log_sum([wealth for _, wealth in self._capital()])

    def lower_bound(self, error: float) -> float:
        """The difference that is exceeded, except with probability `error` at any time at all.

        It exceeds `margin` exactly where the capital has reached 1 / `error`. Elsewhere it is
        what the capital would be against another margin, to first order in bet times distance.

        Raises:
            DataError: `error` is not in (0, 1).
        """
        if not 0 < error < 1:
            raise DataError(f"an error of {error:g}; wanted a probability above 0 and below 1")
        capital = self._capital()
        if not (capital and self.rows):
            return -inf
        wanted, several = -log(error), log(len(capital))
        reached = [(wealth - wanted) / staked for staked, wealth in capital]
        low = max(reached)
        high = max((wealth + several - wanted) / staked for staked, wealth in capital)
        for _ in range(60):
            middle = (low + high) / 2
            won = _log_sum([wealth - staked * middle for staked, wealth in capital])
            low, high = (middle, high) if won >= wanted else (low, middle)
        exact = self.log_e_value >= wanted
        return self.margin + (max(low, 0.0) if exact else min(low, 0.0))


def _log_sum(logarithms: list[float]) -> float:
    """Logarithm of the sum of the exponentials."""
    top = max(logarithms, default=-inf)
    return top + log(sum(exp(each - top) for each in logarithms)) if top > -inf else -inf
