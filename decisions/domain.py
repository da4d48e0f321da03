"""What a decision domain must say about itself to be run."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

import numpy as np
import polars as pl

from decisions.actions import ActionBox, ActionSet
from decisions.evaluation import Estimate, Evaluation
from decisions.gate import GateRule
from decisions.policy import BoolArray, FloatArray, Policy


class World(Protocol):
    """Where units come from and how outcomes become known: a simulator, or a company's tables."""

    def arrivals(self, start: datetime, end: datetime, settled: pl.DataFrame) -> pl.DataFrame:
        """Units observed in [start, end): `reference`, `observed_at`, then the domain's columns.

        `settled` is the history (see `Domain`) of the same length of time before `start`, for
        worlds in which outcomes lead to new units, such as a retry; `Domain.successive` says
        whether decisions taken at `start` itself are among it. `reference` is the source's own
        unique name of the unit. A column `parent_reference` may stand in place of the domain's
        `parent_id`: the reference of the unit that this one follows up, however old, or null.
        """
        ...

    def outcomes(self, decisions: pl.DataFrame, as_of: datetime) -> pl.DataFrame:
        """Outcomes known at `as_of`: `decision_id`, `reward`, `observed_at`.

        `decisions` is history without outcomes: decisions joined to their units' columns. With the
        unit's `reference` in place of `decision_id`, outcomes of other units may be among them:
        corrections, and what matches nothing, which is set aside with the reason.
        """
        ...


class RewardModel(Protocol):
    """What is expected of every action, learned from logged decisions."""

    def predict(self, context: pl.DataFrame, eligible: BoolArray) -> FloatArray:
        """Expected rewards, (n, k); only those of eligible actions are read."""
        ...


class Trainer(Protocol):
    """Trains one candidate. Reads nothing but its arguments."""

    def __call__(
        self, history: pl.LazyFrame, predecessors: Sequence[Policy], rng: np.random.Generator
    ) -> Policy:
        """A policy from `history`; `predecessors` are earlier champions, the newest first."""
        ...


@dataclass(frozen=True, kw_only=True)
class Log:
    """Decisions that others took: frames of the forms `frames.ARRIVALS`, and so on.

    `arrivals` as from `World.arrivals`; `decisions` has `reference` in place of `decision_id`
    and `unit_id`; so has `outcomes`, which may hold several of a unit (corrections).
    """

    arrivals: pl.DataFrame
    decisions: pl.DataFrame
    outcomes: pl.DataFrame


@dataclass(frozen=True, kw_only=True)
class Domain:
    """The whole of a domain as the spine sees it: pure functions, schemas and a gate.

    A *history* frame holds `frames.DECISIONS`, the domain's unit columns, and `reward` and
    `reward_at`, null where no outcome was known at the cut-off: logged decisions left-joined to
    outcomes. A logged domain trains and evaluates on it; a simulated one calibrates with it.

    The *account* of a policy is what its training has to tell, as JSON; it is stored with the
    training. Where it has a "curve", a list of [steps, mean reward, lower, upper], that is the
    learning curve; a "fallback" says why nothing was learned, and verdicts repeat it.

    A candidate with a *recipe* does not learn from history: its recipe names all that it is made
    from. Once the gate has rejected it, no later cut-off trains it, until its recipe changes.

    What is deployed is compared with a *reference*: doing nothing, or the rule that was there
    before. A logged domain names the action that is it, and how to fit a model of rewards; a
    simulated one says by what a policy beats it.
    """

    name: str
    title: str  # for people
    reward: str  # what a reward of one is, with its unit: "authorised share of attempts"
    reward_unit: str = ""  # in which people read a mean reward; "%" shows a share times a hundred
    units: pl.Schema  # payload of a unit
    sample: Callable[[int, np.random.Generator], pl.DataFrame]  # plausible units, for tests, demos
    actions: ActionSet | ActionBox
    baseline: Policy  # generation zero
    observe: Callable[[pl.LazyFrame], pl.LazyFrame]  # unit columns -> context, same order
    eligible: Callable[[pl.DataFrame], BoolArray]  # context -> (n, k)
    candidates: Mapping[str, Trainer]  # what a scheduled generation trains, by policy name
    evaluate: Callable[[Policy, Policy, pl.LazyFrame, np.random.Generator], Evaluation]
    gate: GateRule
    dump: Callable[[Policy], dict[str, bytes]]  # a policy's files, in native formats
    load: Callable[[dict[str, bytes]], Policy]
    maturity: timedelta  # how long training and evaluation wait for an outcome; few come later
    holdout: timedelta  # the newest matured history, kept from train and given to evaluate
    window: timedelta  # how far back training may look, before the holdout
    world: World | None = None  # None: decisions are taken elsewhere, and `logged` brings them
    logged: Callable[[datetime, datetime], Log] | None = None
    cluster: str | None = None  # context column whose equal values depend on one another
    cutoffs: tuple[datetime, ...] = ()  # of logs of the past: when to train; empty: each cadence
    cadence: timedelta = timedelta(days=1)  # from one scheduled generation to the next
    successive: bool = False  # a unit shows what the decision taken at its day's start led to
    account: Callable[[Policy], Mapping[str, object]] | None = None  # of training, see above
    recipes: Mapping[str, str] = field(default_factory=dict[str, str])  # by name, see above
    reference: str = "the control"  # in words
    nothing: int | None = None  # the action that is the reference, always eligible
    rewards: Callable[[pl.LazyFrame, np.random.Generator], RewardModel] | None = None
    """Of settled history, in the order of decision ids."""
    gain: Callable[[Policy, np.random.Generator], Estimate] | None = None
    """Of a policy over the reference, in simulation: paired, mean reward."""
    part: str | None = None  # context column that parts the traffic, such as the issuer
    material: float = 0.002  # the smallest change of mean reward that matters
