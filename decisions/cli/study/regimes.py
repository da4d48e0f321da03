"""The regimes that a cure for oscillation must hold up in, and the fixed options it is held to."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from decisions.bandits.arms import Arm, ArmTrainer
from decisions.bandits.classification import load
from decisions.bandits.generations import Lateness, Trainer, World, at_once
from decisions.bandits.labelled_days import labelled_days
from decisions.bandits.oracles import LightGBMConfig
from decisions.bandits.stabilised import trainer as stabilised
from decisions.domains.open_bandit.semi_synthetic import semi_synthetic_days
from decisions.domains.payments.experiment import Days
from decisions.domains.payments.simulator import Absence, Environment
from decisions.domains.payments.world import HEAVY, late_days

ROWS = 4_000
DESIGN_ROWS = 10_000  # of the design, for the three regimes whose bars were set with them
GENERATIONS = 16


@dataclass(frozen=True, kw_only=True)
class Regime:
    """A world by seed, with `rows` a generation, for so many generations.

    The rows of `retention` generations may be kept, None for all. Figures are means over the
    generations from `first` on. `changes` are those at which the world changes at once: the units
    of that number are the first that are otherwise.
    """

    name: str
    about: str
    world: Callable[[int, int], World]  # of a seed and a number of rows
    rows: int = ROWS
    generations: int = GENERATIONS
    retention: int | None = None
    late: Lateness = at_once
    first: int = 1
    changes: tuple[int, ...] = ()


_USUAL = Environment(seed=0)


def payments(seed: int, rows: int, *, environment: Environment = _USUAL) -> World:
    """A World of the payments environment, its seed replaced."""
    return Days(replace(environment, seed=seed), rows=rows)


def _digits(seed: int, rows: int) -> World:
    return labelled_days(load("digits"), seed=seed, rows=rows, labels=6)


def _recommendations(seed: int, rows: int) -> World:
    return semi_synthetic_days("men", seed=seed, rows=rows)


_CHANGE = 9
_LOST_AND_NEW = (
    Absence("format_supported", 0, 5),
    Absence("token_enabled", 9, 13),
)

REGIMES = (
    Regime(
        name="long retention",
        about="The paper-like payments world; all generations may be kept.",
        world=payments,
        rows=DESIGN_ROWS,
    ),
    Regime(
        name="short retention",
        about="The same, but only the newest generation's rows may be kept.",
        world=payments,
        rows=DESIGN_ROWS,
        retention=1,
    ),
    Regime(
        name="aged out",
        about="Eight generations are kept, so the uniform one is lost; the last 8 of 24 count.",
        world=payments,
        rows=DESIGN_ROWS,
        retention=8,
        generations=24,
        first=17,
    ),
    Regime(
        name="drift 4",
        about="The effect of authentication swings by 3 logits, by issuer, every 4 generations.",
        world=partial(payments, environment=replace(_USUAL, drift=3.0, drift_period=4.0)),
    ),
    Regime(
        name="mild drift 8",
        about="It swings by 1 logit every 8 generations.",
        world=partial(payments, environment=replace(_USUAL, drift=1.0, drift_period=8.0)),
    ),
    Regime(
        name="drift 8",
        about="It swings by 3 logits every 8 generations.",
        world=partial(payments, environment=replace(_USUAL, drift=3.0, drift_period=8.0)),
    ),
    Regime(
        name="drift 16",
        about="It swings by 3 logits every 16 generations.",
        world=partial(payments, environment=replace(_USUAL, drift=3.0, drift_period=16.0)),
    ),
    Regime(
        name="drift 8, short",
        about="It swings by 3 logits every 8 generations, and only the newest rows may be kept.",
        world=partial(payments, environment=replace(_USUAL, drift=3.0, drift_period=8.0)),
        retention=1,
    ),
    Regime(
        name="abrupt",
        about="All effects of all issuers are drawn anew at generation 9 of 20.",
        world=partial(payments, environment=replace(_USUAL, redraw_day=_CHANGE)),
        generations=20,
        changes=(_CHANGE,),
    ),
    Regime(
        name="abrupt, short",
        about="The same, and only the newest generation's rows may be kept.",
        world=partial(payments, environment=replace(_USUAL, redraw_day=_CHANGE)),
        generations=20,
        retention=1,
        changes=(_CHANGE,),
    ),
    Regime(
        name="lost and new",
        about="Message formats appear at generation 5; tokens are lost at 9 and return at 13.",
        world=partial(payments, environment=replace(_USUAL, absences=_LOST_AND_NEW)),
        changes=(5, 9, 13),
    ),
    Regime(
        name="delay",
        about="30 % of outcomes arrive late, half a generation on average, successes later.",
        world=payments,
        late=partial(late_days, HEAVY),
    ),
    Regime(
        name="outages",
        about="3 % of issuers are down each generation and lose 2 logits.",
        world=partial(payments, environment=replace(_USUAL, outage_share=0.03)),
    ),
    Regime(
        name="merchants enter",
        about="One more merchant each generation.",
        world=partial(payments, environment=replace(_USUAL, entries=16)),
    ),
    Regime(
        name="low base",
        about="A lower rate of success (base logit 1.9).",
        world=partial(payments, environment=replace(_USUAL, base=1.9)),
    ),
    Regime(
        name="high base",
        about="A higher rate of success (base logit 3.5).",
        world=partial(payments, environment=replace(_USUAL, base=3.5)),
    ),
    Regime(
        name="small batches",
        about="2,000 decisions a generation.",
        world=payments,
        rows=2_000,
    ),
    Regime(
        name="large batches",
        about="25,000 decisions a generation, eight generations.",
        world=payments,
        rows=25_000,
        generations=8,
    ),
    Regime(
        name="digits",
        about="Guess a digit among six of ten labels, 1,200 images a generation.",
        world=_digits,
        rows=1_200,
    ),
    Regime(
        name="open bandit",
        about="34 items, 5 clicks in 1,000, by a model fitted to real logs and taken as truth.",
        world=_recommendations,
        rows=4_000,
        generations=12,
    ),
)

_LARGE = LightGBMConfig(trees=80, leaves=31)

ARMS = (
    Arm(name="untreated", parameter=1000.0),
    Arm(name="window 4", parameter=1000.0, window=4),
    Arm(name="FastCB, all kept", rule="fastcb", parameter=3000.0, window=None, oracle=_LARGE),
    Arm(name="average of 3", parameter=1000.0, average=3),
    Arm(
        name="continued boosting",
        rule="fastcb",
        parameter=1000.0,
        continued=True,
        oracle=LightGBMConfig(trees=15, learning_rate=0.08),
    ),
    Arm(name="floor 0.1", parameter=1000.0, floor=0.1),
    Arm(name="SquareCB 100", parameter=100.0),
    Arm(name="greedy, all kept", rule="greedy", window=None, oracle=_LARGE),
)
"""The mitigations of the reference, each as one fixed setting for all regimes."""


@dataclass(frozen=True, kw_only=True)
class Option:
    """A way to run generations by name: a learner, made for a world and a seed, and its window."""

    name: str
    learner: Callable[[World, int], Trainer]
    window: int | None = None


def _arm(world: World, seed: int, *, arm: Arm) -> Trainer:
    return ArmTrainer(arm=arm, features=world.features, seed=seed)


def _belief(world: World, seed: int, *, retention: float) -> Trainer:
    del seed
    return stabilised(world.features, retention=retention)


def _adaptive(world: World, seed: int) -> Trainer:
    del seed
    return stabilised(world.features, trees=BELIEVED)


def of_arm(arm: Arm) -> Option:
    """A fixed arm in FULL mode as an option."""
    return Option(name=arm.name, learner=partial(_arm, arm=arm), window=arm.window)


def _kept(retention: float) -> Option:
    learner = partial(_belief, retention=retention)
    share = "all" if retention == 1 else f"{retention:g}"
    return Option(name=f"belief, {share} kept", learner=learner, window=1)


FIXED = (*map(of_arm, ARMS), _kept(1.0), _kept(0.9))
"""Fixed arms, and the adaptive learner's oracle with the same forgetting in every generation."""

BELIEVED = LightGBMConfig(trees=200, leaves=31)
"""Fewer are unsure of what they know, and lose the log loss by which beliefs are weighed."""

ADAPTIVE = Option(name="adaptive", learner=_adaptive)
