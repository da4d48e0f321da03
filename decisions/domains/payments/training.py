"""A new payments policy from logged decisions: whose rows teach, how traffic is split."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import cast

import numpy as np
import polars as pl

from decisions.bandits import serialisation
from decisions.bandits.exploration import damped
from decisions.bandits.oracles import (
    ConstantOracle,
    Ensemble,
    LightGBMConfig,
    LightGBMOracle,
    RegressionOracle,
    fit_bootstrap,
    fit_lightgbm,
)
from decisions.bandits.pair_trees import PairTrees
from decisions.bandits.policies import (
    BanditPolicy,
    Damped,
    FixedAction,
    Floor,
    OraclePolicy,
    Rule,
    Split,
)
from decisions.bandits.posterior import Basis, Posterior, basis_of
from decisions.bandits.stabilised import Stabilised, learned
from decisions.bandits.training_set import TrainingSet, pair_features
from decisions.domains.payments.actions import COUNT, DO_NOTHING, FLAG_MATRIX
from decisions.domains.payments.features import (
    CATEGORIES,
    CODES,
    NUMERIC,
    RATES,
    EncodedOracle,
    Encoder,
    fit_encoder,
    observe,
)
from decisions.errors import DataError
from decisions.policy import BoolArray, IntArray, Policy, total_variation
from decisions.seeds import stream


def settled(history: pl.LazyFrame, *, what: str = "decision") -> pl.DataFrame:
    """The decisions of `history` whose outcome was known, in the order of their ids.

    Raises:
        DataError: there is none.
    """
    rows = history.filter(pl.col("reward").is_not_null()).sort("decision_id").collect()
    if rows.is_empty():
        raise DataError(
            f"no {what} of the window has a known outcome: train later, or look further back"
        )
    return rows


def context_of(rows: pl.DataFrame) -> pl.DataFrame:
    """The context of each row of a history frame, as `observe` gives it."""
    return rows.lazy().pipe(observe).collect()


def settled_exploring(history: pl.LazyFrame) -> pl.DataFrame:
    """The settled rows of the arm "explore", which alone teach.

    Raises:
        DataError: no row of that arm, or none with a known outcome; the arms seen are named.
    """
    arms = history.group_by("arm").len().sort("arm").collect()
    counts = dict(arms.iter_rows())
    if counts and "explore" not in counts:
        seen = ", ".join(f"{arm} {count}" for arm, count in counts.items())
        raise DataError(
            f"no decision of the window has the arm explore (seen: {seen}): only rows whose action"
            " was drawn at random teach; log them as explore, with the probabilities drawn from"
        )
    return settled(history.filter(pl.col("arm") == "explore"), what="exploring decision")


def logged_actions(rows: pl.DataFrame) -> IntArray:
    """The action each row of a history frame got, (n,).

    Raises:
        DataError: an action is not one of the 24; its row is named.
    """
    action = rows["action"].list.first().cast(pl.Int64).to_numpy()
    unknown = np.flatnonzero((action < 0) | (action >= COUNT))
    if len(unknown):
        row = int(unknown[0])
        raise DataError(
            f"decision {rows['decision_id'][row]} has action {action[row]}, wanted 0 to"
            f" {COUNT - 1} ({len(unknown)} such rows)"
        )
    return action


def logged_eligible(rows: pl.DataFrame) -> BoolArray:
    """The actions that were eligible when each row was decided, (n, 24).

    Read from the log, not from today's rules, which may be of a later version.
    """
    sizes = rows["eligible"].list.len().to_numpy()
    mask = np.zeros((rows.height, COUNT), dtype=np.bool_)
    flat = rows["eligible"].explode(empty_as_null=False).to_numpy()
    mask[np.repeat(np.arange(rows.height), sizes), flat] = True
    return mask


def fit_encoded(
    data: TrainingSet, rng: np.random.Generator, *, config: LightGBMConfig | None = None
) -> EncodedOracle:
    """Boosted trees over codes, target encodings and flags, from plain contexts in order of time.

    Raises:
        DataError: see `fit_encoder` and `fit_lightgbm`.
    """
    encoder, context = fit_encoder(data.context, data.reward)
    features = pair_features(
        context, flags=FLAG_MATRIX, categorical=CODES, numeric=(*NUMERIC, *RATES)
    )
    fitted = fit_lightgbm(replace(data, context=context), rng, features=features, config=config)
    return EncodedOracle(encoder=encoder, oracle=fitted)


def expected_rewards(history: pl.LazyFrame, rng: np.random.Generator) -> EncodedOracle:
    """A model of rewards from all of settled `history`, whoever decided.

    Raises:
        DataError: there is no row.
    """
    rows = settled(history)
    data = TrainingSet(
        context=context_of(rows), action=logged_actions(rows), reward=rows["reward"].to_numpy()
    )
    fitted = fit_encoded(data, rng)
    if isinstance(fitted.oracle, LightGBMOracle):
        return replace(fitted, oracle=PairTrees(oracle=fitted.oracle))
    return fitted


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How one candidate is trained: a `Trainer`.

    SPLIT mode: `explore_share` of the arm keys (see `observe`) explore by `rule`, with at least
    `floor`/K on every eligible action, and their rows alone teach; `control_share` of them get no
    intervention, the yardstick that takes drift out of every series; the rest get the best
    predicted action.
    FULL mode is `explore_share=1, control_share=0`. Predictions are the mean over the new model
    and those of the last `average` - 1 champions, which damps swings from one to the next. A rule
    that explores by how models differ gets as many as it asks for, each fitted on a bootstrap of
    the rows, and no others: the spread between generations is no measure of doubt.
    """

    rule: Rule
    explore_share: float
    control_share: float = 0.01
    floor: float = 0.1
    average: int = 1
    oracle: LightGBMConfig = field(default_factory=LightGBMConfig)

    def __post_init__(self) -> None:
        """Refuses to mix the models of a bootstrap with those of other generations."""
        if self.rule.models > 1 and self.average > 1:
            raise DataError(
                f"{type(self.rule).__name__} explores by how {self.rule.models} models of one"
                f" window differ; average is {self.average}, wanted 1"
            )

    def __call__(
        self, history: pl.LazyFrame, predecessors: Sequence[Policy], rng: np.random.Generator
    ) -> Policy:
        """A policy from the exploring rows of `history` whose outcome was known.

        Raises:
            DataError: no exploring row has a known outcome.
        """
        rows = settled_exploring(history)
        data = TrainingSet(
            context=context_of(rows),
            action=logged_actions(rows),
            reward=rows["reward"].to_numpy(),
        )
        exploring = Floor(
            policy=OraclePolicy(oracle=self._fitted(data, predecessors, rng), rule=self.rule),
            floor=self.floor,
        )
        if self.explore_share == 1.0 and self.control_share == 0.0:
            return exploring
        return Split(
            explore=exploring,
            explore_share=self.explore_share,
            control=FixedAction(action=DO_NOTHING),
            control_share=self.control_share,
            cluster="arm_key",
        )

    def _fitted(
        self, data: TrainingSet, predecessors: Sequence[Policy], rng: np.random.Generator
    ) -> RegressionOracle:
        """What the rule explores over."""
        fit = partial(fit_encoded, config=self.oracle)
        if self.rule.models > 1:
            return fit_bootstrap(fit, data, rng, models=self.rule.models)
        oracle = fit(data, rng)
        earlier = [seen for policy in predecessors if (seen := newest_oracle(policy))]
        members = (oracle, *earlier[: self.average - 1])
        return Ensemble(members=members) if len(members) > 1 else oracle


@dataclass(frozen=True, kw_only=True)
class StabilisedRecipe:
    """How a stabilised candidate is trained: a `Trainer` (see `bandits.stabilised`).

    It carries on from the newest stabilised policy among the champions before it, with the rows
    that one has not seen; without one it learns from the whole window. No row teaches twice. Some
    never do: those between a champion older than the window and the window's start, and those
    whose outcome, or decision, came after a later row was learned from. All traffic but the
    control slice explores.

    `share` of it follows the posterior's draws, far more than learning needs: a successor is
    evaluated on these logs, and what it may come to prefer is what the draws prefer now and then.
    `floor`/K on every eligible action is for other challengers.

    Every generation draws with the same noise, so that two policies' draws differ by what was
    learned in between: fresh noise would move traffic, and the gate limits how much may move. A
    successor that would move more than `churn` of it (total variation) is mixed with as much of
    the champion as keeps it there; the rest follows in the next generations. So it does where an
    action would be taken more than `ratio` times as often as the champion takes it: the champion's
    log could not tell what that is worth (docs/gate.md has what it costs, and what it buys).
    """

    control_share: float = 0.01
    share: float = 0.5
    floor: float = 0.02
    draws: int = 32
    churn: float = 0.25
    ratio: float = 10.0

    def __call__(
        self, history: pl.LazyFrame, predecessors: Sequence[Policy], rng: np.random.Generator
    ) -> Policy:
        """A policy from the exploring rows of `history` whose outcome was known.

        Raises:
            DataError: no exploring row has a known outcome, and nothing was learned before.
        """
        known = [seen for policy in predecessors if (seen := stabilised_part(policy))]
        del rng
        if not known:
            return self._deployed(self._begun(history))
        policy = self._carried_on(known[0], history)
        champion = predecessors[0]
        if policy is known[0] or stabilised_part(champion) is not known[0]:
            return self._deployed(policy)
        rows = history.sort("decision_id").tail(_REFERENCE).collect()
        near = Damped(
            policy=policy,
            previous=_without_its_past(cast("Split", champion).explore),
            share=0.0,
            ratio=self.ratio,
        )
        return self._deployed(
            _held_back(
                near,
                cast("Split", champion).explore,
                context=context_of(rows),
                eligible=logged_eligible(rows),
                limit=self.churn,
            )
        )

    def _deployed(self, explore: BanditPolicy) -> Split:
        return Split(
            explore=explore,
            explore_share=1.0 - self.control_share,
            control=FixedAction(action=DO_NOTHING),
            control_share=self.control_share,
            cluster="arm_key",
        )

    def _begun(self, history: pl.LazyFrame) -> Stabilised:
        rows = settled_exploring(history)
        basis = basis_of(
            context_of(rows), flags=FLAG_MATRIX, categorical=CATEGORIES, numeric=NUMERIC
        )
        return self._learned(basis, rows, None)

    def _carried_on(self, before: Stabilised, history: pl.LazyFrame) -> Stabilised:
        """What `before` knows, and the rows since; itself where none is known yet."""
        fresh = (pl.col("decision_id") > before.last_row) & (pl.col("arm") == "explore")
        rows = history.filter(fresh, pl.col("reward").is_not_null()).collect()
        if rows.is_empty():
            return before
        return self._learned(before.beliefs[0].basis, settled(rows.lazy()), before)

    def _learned(self, basis: Basis, rows: pl.DataFrame, before: Stabilised | None) -> Stabilised:
        data = TrainingSet(
            context=context_of(rows),
            action=logged_actions(rows),
            reward=rows["reward"].to_numpy(),
        )
        noise = stream(0, "payments", "stabilised draws")
        policy = learned(
            basis, data, before, noise, share=self.share, floor=self.floor, draws=self.draws
        )
        return replace(policy, last_row=rows["decision_id"][-1])


def _held_back(
    near: Damped,
    deployed: BanditPolicy,
    *,
    context: pl.DataFrame,
    eligible: BoolArray,
    limit: float,
) -> Damped:
    """`near` with the least share of its previous policy that moves at most `limit` of traffic.

    In tenths, at most nine; `deployed` is what acts now, on a reference `context` (n,).
    """
    new, old, now = (
        each.probabilities(context, eligible) for each in (near, near.previous, deployed)
    )
    shares = (tenths / 10 for tenths in range(10))
    fits = (m for m in shares if total_variation(damped(new, old, share=m), now) <= limit)
    return replace(near, share=next(fits, 0.9))


def _without_its_past(deployed: BanditPolicy) -> BanditPolicy:
    """What acts now, but for what acted before its predecessor: else policies would grow for ever.

    That is forgotten of the few actions that were held back twice in a row: for them the ratio is
    one to what would have been done, and may be a few times larger to what was.
    """
    if isinstance(deployed, Damped) and isinstance(deployed.previous, Damped):
        return replace(deployed, previous=deployed.previous.policy)
    return deployed


def stabilised_part(policy: Policy) -> Stabilised | None:
    """What a policy of `StabilisedRecipe` believes; None for any other policy."""
    part: object = policy.explore if isinstance(policy, Split) else policy
    if isinstance(part, Damped):
        part = part.policy
    return part if isinstance(part, Stabilised) else None


def is_trained(policy: Policy) -> bool:
    """Whether a policy learned from rows at all; the baseline did not."""
    return newest_oracle(policy) is not None or stabilised_part(policy) is not None


def newest_oracle(policy: Policy) -> RegressionOracle | None:
    """The oracle that a policy of `Recipe` was trained with itself; None for any other policy.

    Of an ensemble over generations the newest; a bootstrap's is one oracle, the whole ensemble.
    """
    part: object = policy
    if isinstance(part, Split):
        part = part.explore
    if isinstance(part, Floor):
        part = part.policy
    if not isinstance(part, OraclePolicy):
        return None
    oracle = part.oracle
    members = oracle.members if isinstance(oracle, Ensemble) else (oracle,)
    if not isinstance(members[0], EncodedOracle):
        return None
    return oracle if part.rule.models > 1 else members[0]


def account(policy: Policy) -> Mapping[str, object]:
    """What training has to tell: `fallback`, why nothing was learned; nothing where all is well.

    A policy without a model explores every action alike, which no page could tell from a model
    that finds them equally good.
    """
    oracle = newest_oracle(policy)
    members = oracle.members if isinstance(oracle, Ensemble) else (oracle,)
    inner = [each.oracle for each in members if isinstance(each, EncodedOracle)]
    reasons = [each.reason for each in inner if isinstance(each, ConstantOracle)]
    return {"fallback": reasons[0]} if reasons else {}


_REFERENCE = 2_000  # newest rows on which churn is foreseen
_KINDS = (Basis, EncodedOracle, Encoder, Posterior, Stabilised)


def dump(policy: Policy) -> dict[str, bytes]:
    """A policy's files; its encoders are among them."""
    return serialisation.dump(cast("BanditPolicy", policy), kinds=_KINDS)


def load(files: dict[str, bytes]) -> Policy:
    """The policy that `dump` wrote.

    Raises:
        ArtifactAltered: see `serialisation.load`.
    """
    return cast("Policy", serialisation.load(files, kinds=_KINDS))
