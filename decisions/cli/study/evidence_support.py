"""Refusals of sound logs, power against wrong ones, and how often intervals cover the truth.

Logs of payments whose truth is known: contexts and cards are drawn once, actions and answers anew
for each log, by the probabilities of a policy that production would deploy. Arms of traffic are
drawn by card, so that the rows of a card depend on one another: 1, 2 or 15 of them.

*False refusals*: evaluations of sound logs that are refused for how their actions were drawn, of
a stabilised and of a SquareCB candidate against the policy that logged. *Power*: of logs drawn
otherwise than is written. *Coverage*: of 95 % intervals of the doubly robust value of a candidate,
and of its paired difference from the logging policy, with reward models of an independent log of
two thirds of the size, as cross-fitting has them; misses are counted on each side.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from typing import Any

import numpy as np
import polars as pl
from scipy.stats import beta

from decisions.bandits.exploration import uniform
from decisions.bandits.off_policy import LoggedDecisions, estimate, supported, terms_of
from decisions.bandits.policies import BanditPolicy, Split, SquareCB, Uniform
from decisions.bandits.support import SupportRule
from decisions.bandits.training_set import TrainingSet
from decisions.cli.report import Workbench
from decisions.domains.payments import ORACLE
from decisions.domains.payments.actions import COUNT, DO_NOTHING, eligible
from decisions.domains.payments.features import observe
from decisions.domains.payments.simulator import Environment
from decisions.domains.payments.training import Recipe, StabilisedRecipe, fit_encoded
from decisions.policy import BoolArray, FloatArray, IntArray, choose, pick
from decisions.seeds import stream
from decisions.shapes import label_codes

SEED = 2026  # of the environment; methods were chosen in environments 71 and 81 to 84
ROWS = 3_000  # of a log whose refusal is asked for
ROWS_A_CARD = (1, 2, 15)
SIZES = (500, 2_000, 5_000, 5_500, 20_000, 50_000)
LOGS = 400  # of each size, for coverage
MODELS = 6  # reward models that they share
BASES = {"16 % fail": 1.9, "2 % fail": 4.6}  # logits of success of an average payment
RULE = SupportRule()
TRAINERS = {
    "stabilised": StabilisedRecipe(),
    "squarecb": Recipe(rule=SquareCB(300.0), explore_share=0.5, average=2, oracle=ORACLE),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Payments:
    """n payments, what each action would have done, and the policies that may act on them."""

    context: pl.DataFrame
    eligible: BoolArray  # (n, 24)
    success: FloatArray  # (n, 24)
    within: FloatArray  # (arms, n, 24), probabilities of the logging policy within each arm
    shares: FloatArray  # (arms,)
    candidates: Mapping[str, FloatArray]  # (n, 24) each

    @property
    def logged(self) -> FloatArray:
        """The logging policy's probabilities, marginal over the arms, (n, 24)."""
        return np.tensordot(self.shares, self.within, 1)

    @cached_property
    def card(self) -> IntArray:
        """A number for each row's card, from 0, (n,)."""
        return label_codes(self.context["card"].to_numpy())

    def log(self) -> LoggedDecisions:
        """What evaluation reads of them, as payments gives it; actions and rewards are to come."""
        labels = {
            name: label_codes(self.context[name].to_numpy())
            for name in ("merchant", "issuer", "attempt_no")
        }
        n = len(self.eligible)
        return LoggedDecisions(
            eligible=self.eligible,
            action=np.zeros(n, dtype=np.int64),
            propensity=np.ones(n),
            reward=np.zeros(n),
            logged=self.logged,
            clusters=self.card,
            groups=labels,
        )

    def drawn(self, rng: np.random.Generator, *, within: FloatArray | None = None) -> IntArray:
        """New actions, (n,): one arm a card, then each row's own draw `within` it."""
        within = self.within if within is None else within
        n, cards = len(self.card), int(self.card.max()) + 1
        arm = choose(np.broadcast_to(self.shares, (cards, len(self.shares))), rng.random(cards))
        return choose(within[arm[self.card], np.arange(n)], rng.random(n))


def lesson(environment: Environment, rows: int) -> pl.DataFrame:
    """History of one day of uniform decisions, as trainers read it."""
    units = environment.arrivals(0, np.arange(rows, dtype=np.int64), per_day=rows)
    context = units.lazy().pipe(observe).collect()
    rng = stream(environment.seed, "evidence", "lesson")
    action = choose(uniform(eligible(context)), rng.random(rows))
    reward = rng.random(rows) < pick(environment.success(units), action)
    return units.with_columns(
        decision_id=pl.int_range(rows, dtype=pl.Int64()),
        arm=pl.lit("explore"),
        action=pl.Series(action.astype(np.float64)[:, None], dtype=pl.List(pl.Float64())),
        reward=pl.Series(reward.astype(np.float64)),
    )


def payments(environment: Environment, rows: int, *, logger: str, taught: int) -> Payments:
    """`rows` payments of a day that `logger` decides: "uniform", or one of TRAINERS.

    Candidates were trained on the first half of a day of uniform decisions, the logger on its
    second half.
    """
    history = lesson(environment, 2 * taught)
    halves = history.head(taught).lazy(), history.tail(taught).lazy()
    units = environment.arrivals(9, np.arange(rows, dtype=np.int64), per_day=rows)
    context = units.lazy().pipe(observe).collect()
    mask = eligible(context)

    def trained(name: str, half: pl.LazyFrame) -> Any:
        return TRAINERS[name](half, [], stream(environment.seed, "evidence", "train", name))

    acting: BanditPolicy = Uniform() if logger == "uniform" else trained(logger, halves[1])
    if isinstance(acting, Split):
        within, shares = acting.arm_probabilities(context, mask)[0], acting.shares
    else:
        within, shares = acting.probabilities(context, mask)[None], np.ones(1)
    nothing = np.zeros((rows, COUNT))
    nothing[:, DO_NOTHING] = 1.0
    named = {name: trained(name, halves[0]).probabilities(context, mask) for name in TRAINERS}
    return Payments(
        context=context,
        eligible=mask,
        success=environment.success(units),
        within=within,
        shares=shares,
        candidates={**named, "do nothing": nothing},
    )


def clopper_pearson(successes: int, trials: int, *, level: float = 0.95) -> tuple[float, float]:
    """Exact interval for a probability. Source: Clopper and Pearson (1934)."""
    tail, rest = (1 - level) / 2, trials - successes
    low = float(beta.ppf(tail, successes, rest + 1)) if successes else 0.0
    return low, float(beta.ppf(1 - tail, successes + 1, rest)) if rest else 1.0


def refused(
    given: Payments,
    evaluations: int,
    draw: Callable[[np.random.Generator], IntArray],
    rng: np.random.Generator,
) -> dict[str, int]:
    """Of so many logs, with actions by `draw`: refused for how they were drawn, by candidate.

    A candidate's evaluation is refused for its own weights, for those of the policy that logged,
    or for the counts of actions, as in production.
    """
    log, logged = given.log(), given.logged
    count = dict.fromkeys(given.candidates, 0)
    rule = replace(RULE, effective_n=0.0, violation=1.0)
    for _ in range(evaluations):
        action = draw(rng)
        new = replace(log, action=action, propensity=pick(logged, action))
        reasons = supported(new, {**given.candidates, "champion": logged}, rule)[1]
        broken = {reason.partition(":")[0] for reason in reasons}
        for name in count:
            count[name] += not broken.isdisjoint((name, "champion", "log"))
    return count


def _world(rows: int, rows_a_card: int) -> Environment:
    cards = 20 * rows if rows_a_card == 1 else rows // rows_a_card
    return Environment(seed=SEED, cards=cards)


def check_refusals(bench: Workbench, *, evaluations: int = 1_000, rows: int = ROWS) -> None:
    """Sound logs that are refused: at most 0.5 % of evaluations, at 1, 2 and 15 rows a card."""
    for logger in ("uniform", "stabilised"):
        for rows_a_card in ROWS_A_CARD if logger == "stabilised" else (1,):  # without arms
            given = partial(payments, _world(rows, rows_a_card), rows, logger=logger, taught=rows)
            counts = bench.part(
                f"refusals-{logger}-{rows_a_card}-{rows}-{evaluations}",
                partial(_false_refusals, given, evaluations, f"{logger}/{rows_a_card}"),
            )
            for name, count in counts.items():
                share = count / evaluations
                bench.check(
                    f"sound logs refused, %: {name}, logged {logger}, {rows_a_card} rows a card",
                    100 * share,
                    f"<= {100 * RULE.error:g}",
                    ok=share <= RULE.error,
                    interval=_percent(clopper_pearson(count, evaluations)),
                )


def _percent(interval: tuple[float, float]) -> tuple[float, float]:
    return 100 * interval[0], 100 * interval[1]


def _false_refusals(
    given: Callable[[], Payments], evaluations: int, purpose: str
) -> dict[str, int]:
    made = given()
    rng = stream(SEED, "evidence", "refusals", purpose)
    return refused(made, evaluations, made.drawn, rng)


def wrong_draws(given: Payments) -> dict[str, Callable[[np.random.Generator], IntArray]]:
    """Ways in which a log may be drawn otherwise than is written."""
    favourite = int(given.logged.mean(axis=0)[DO_NOTHING + 1 :].argmax()) + DO_NOTHING + 1
    names, issuer = np.unique(given.context["issuer"].to_numpy(), return_inverse=True)
    largest = issuer.reshape(-1) == np.bincount(issuer.reshape(-1), minlength=len(names)).argmax()
    often = given.within.copy()
    often[:, :, favourite] *= 1.5
    often /= often.sum(axis=2, keepdims=True)
    elsewhere = given.within.copy()
    elsewhere[:, largest] = uniform(given.eligible)[largest]
    return {
        "an action drawn 1.5 times as often as written": partial(given.drawn, within=often),
        "control and explore shares swapped": partial(given.drawn, within=given.within[[1, 0, 2]]),
        "one issuer's actions drawn uniformly": partial(given.drawn, within=elsewhere),
    }


def check_power(bench: Workbench, *, evaluations: int = 100, rows: int = 2 * ROWS) -> None:
    """Wrong logs that are refused, of stabilised logs with one row a card and with 15."""
    for rows_a_card in (1, 15):
        given = partial(
            payments, _world(rows, rows_a_card), rows, logger="stabilised", taught=rows
        )
        counts = bench.part(
            f"power-{rows_a_card}-{rows}-{evaluations}", partial(_power, given, evaluations)
        )
        for wrong, by_candidate in counts.items():
            for name, count in by_candidate.items():
                bench.check(
                    f"wrong logs refused, %: {wrong}, {name}, {rows_a_card} rows a card",
                    100 * count / evaluations,
                    "reported",
                    ok=None,
                    interval=_percent(clopper_pearson(count, evaluations)),
                )


def _power(given: Callable[[], Payments], evaluations: int) -> dict[str, dict[str, int]]:
    made = given()
    return {
        wrong: refused(made, evaluations, draw, stream(SEED, "evidence", "power", wrong))
        for wrong, draw in wrong_draws(made).items()
    }


def check_coverage(
    bench: Workbench, *, logs: int = LOGS, sizes: tuple[int, ...] = SIZES, pool: int = 12_000
) -> None:
    """How often 95 % intervals cover the truth: no size may be shown to be below 93 % of logs.

    A check fails where the upper end of the exact interval of what was covered is below 93 %: of
    400 logs, where 362 or fewer are. The lower ends of the intervals fail more often where rare
    failures have large weights: each tail is shown.
    """
    for words, base in BASES.items():
        for logger in ("uniform", "stabilised"):
            environment = Environment(seed=SEED, base=base)
            given = cache(partial(payments, environment, pool, logger=logger, taught=pool // 2))
            name = "squarecb" if logger == "stabilised" else "stabilised"
            for size in sizes:
                counts = bench.part(
                    f"coverage-{base}-{logger}-{size}-{logs}-{pool}",
                    partial(_covered, given, name, size, logs, f"{base}/{logger}/{size}"),
                )
                for what, (above, below) in counts.items():
                    missed = above + below
                    interval = clopper_pearson(logs - missed, logs)
                    bench.check(
                        f"coverage of the {what}, %: {size} rows, {words}, logged by {logger}"
                        f" (missed {above} above, {below} below)",
                        100 * (1 - missed / logs),
                        "upper end >= 93",
                        ok=interval[1] >= 0.93,
                        interval=_percent(interval),
                    )


def _covered(
    given: Callable[[], Payments], name: str, size: int, logs: int, purpose: str
) -> dict[str, list[int]]:
    """Intervals wholly above and wholly below the truth, of a candidate and its difference."""
    made = given()
    logged, candidate = made.logged, made.candidates[name]
    rng = stream(SEED, "evidence", "coverage", purpose)
    missed = {"value": [0, 0], "difference": [0, 0]}
    q = np.zeros_like(logged)
    for number in range(logs):
        if number % -(-logs // MODELS) == 0:
            q = _reward_model(made, logged, 2 * size // 3, rng)
        row = rng.integers(0, len(logged), size)
        action = choose(logged[row], rng.random(size))
        log = LoggedDecisions(
            eligible=made.eligible[row],
            action=action,
            propensity=pick(logged[row], action),
            reward=(rng.random(size) < pick(made.success[row], action)).astype(np.float64),
            q=q[row],
            logged=logged[row],
        )
        new, old = (terms_of(log, each[row])["DR"] for each in (candidate, logged))
        moved = candidate - logged
        for what, terms, change in (
            ("value", new, candidate),
            ("difference", new.minus(old), moved),
        ):
            found = estimate(log, terms, change[row])
            truth = float((change * made.success).sum(axis=1).mean())
            missed[what][0] += found.lower > truth
            missed[what][1] += found.upper < truth
    return missed


def _reward_model(
    made: Payments, logged: FloatArray, rows: int, rng: np.random.Generator
) -> FloatArray:
    """What a model of an independent log of so many rows predicts of every payment, (n, 24)."""
    row = np.sort(rng.integers(0, len(logged), rows))
    action = choose(logged[row], rng.random(rows))
    reward = (rng.random(rows) < pick(made.success[row], action)).astype(np.float64)
    data = TrainingSet(context=made.context[row], action=action, reward=reward)
    return fit_encoded(data, rng).predict(made.context, made.eligible)
