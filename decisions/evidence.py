"""What has been won by betting against "the candidate is no better than the margin allows"."""

from dataclasses import dataclass, replace
from math import exp, inf, isfinite, log

from decisions.errors import DataError

BETS = tuple(2.0**-step for step in range(2, 9))
"""Stakes per unit of reward, from 0.25 down to 0.004: docs/gate.md says how they were chosen."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Bets on the paired differences of `rows` decisions, as sums that further days add to.

    Against the hypothesis that the true difference is at most `margin`, each bet of BETS starts
    with an equal share of a capital of one, and multiplies it by 1 + bet * (sum of difference -
    margin) at every cluster of rows that were decided together. Were the hypothesis true, no bet
    would be expected to gain, whatever the distribution of the differences, however often it is
    looked at, whenever it is stopped. A capital of 1 / error is therefore reached with probability
    `error` at most (Ville's inequality). docs/gate.md states the theorem and what it assumes.

    `log_wealth` holds the logarithm of what each bet made of a capital of one. A day on which a
    bet could lose more than it has lowers that bet to what is safe, and `staked` is the sum of
    what each bet really was, row by row; where that happens, the hypothesis is about the mean
    difference with days weighted by it.
    `total` is the sum of the differences and `variance` that of `total`: for people to read.
    `forgone` rows were bet on as well, but their evaluation was refused (`without_gain`).
    """

    margin: float  # units of the reward
    rows: int
    total: float
    variance: float
    log_wealth: tuple[float, ...]
    staked: tuple[float, ...]
    forgone: int = 0

    def __post_init__(self) -> None:
        """Refuses what no rows can have left behind."""
        figures = isfinite(self.margin) and isfinite(self.total) and 0 <= self.variance < inf
        wealth = all(won < inf for won in self.log_wealth)  # NaN is not
        wealth = wealth and all(0 <= stake < inf for stake in self.staked)
        bets = len(self.log_wealth) == len(self.staked) == len(BETS)
        if not (figures and wealth and bets and self.rows >= 0 and self.forgone >= 0):
            raise DataError(
                f"evidence of {self.rows} rows: margin {self.margin:g}, total {self.total:g},"
                f" variance {self.variance:g}, {len(self.log_wealth)} bets; wanted finite numbers,"
                f" no negative variance and {len(BETS)} bets below infinity"
            )

    @property
    def begun(self) -> bool:
        """Whether any row was bet on yet."""
        return any(self.staked) or self.forgone > 0

    @property
    def value(self) -> float:
        """The mean difference; NaN of no rows."""
        return self.total / self.rows if self.rows else float("nan")

    @property
    def standard_error(self) -> float:
        """Of `value`; infinite of no rows."""
        return self.variance**0.5 / self.rows if self.rows else inf

    def plus(self, later: "Evidence") -> "Evidence":
        """This evidence and that of other rows.

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
            log_wealth=_added(self.log_wealth, later.log_wealth),
            staked=_added(self.staked, later.staked),
            forgone=self.forgone + later.forgone,
        )

    def without_gain(self) -> "Evidence":
        """What is left of these rows where their evaluation was refused: no bet wins by them.

        A loss stays. Were it given back as well, whoever refuses would choose, after the actions
        were drawn, which losses count, and a capital could grow by that. It stays in full against
        every other margin, too: nothing counts as staked.
        """
        return replace(
            unbet(margin=self.margin),
            log_wealth=tuple(min(won, 0.0) for won in self.log_wealth),
            forgone=self.forgone + self.rows,
        )

    def _capital(self) -> list[tuple[float, float]]:
        """(what was staked, logarithm of its share of the capital) of the bets that stand."""
        return [
            (staked, won - log(len(BETS)))
            for staked, won in zip(self.staked, self.log_wealth, strict=True)
            if won > -inf
        ]

    @property
    def log_e_value(self) -> float:
        """Logarithm of the whole capital, which began at one; minus infinity where none stands."""
        return _log_sum([won for _, won in self._capital()])

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
        reached = [(won - wanted) / staked for staked, won in capital]
        low = max(reached)
        high = max((won + several - wanted) / staked for staked, won in capital)
        for _ in range(60):
            middle = (low + high) / 2
            total = _log_sum([won - staked * middle for staked, won in capital])
            low, high = (middle, high) if total >= wanted else (low, middle)
        exact = self.log_e_value >= wanted
        return self.margin + (max(low, 0.0) if exact else min(low, 0.0))


def ended(*, margin: float) -> Evidence:
    """Evidence with every bet forfeited: nothing that comes later can revive it."""
    return replace(unbet(margin=margin), log_wealth=(-inf,) * len(BETS))


def unbet(*, margin: float) -> Evidence:
    """Evidence before the first bet."""
    nothing = (0.0,) * len(BETS)
    return Evidence(
        margin=margin, rows=0, total=0.0, variance=0.0, log_wealth=nothing, staked=nothing
    )


def _added(first: tuple[float, ...], second: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(a + b for a, b in zip(first, second, strict=True))


def _log_sum(logarithms: list[float]) -> float:
    """Logarithm of the sum of the exponentials."""
    top = max(logarithms, default=-inf)
    return top + log(sum(exp(each - top) for each in logarithms)) if top > -inf else -inf
