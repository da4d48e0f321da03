"""Policies over finitely many actions: an oracle and a rule, and what wraps them."""

from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Protocol

import numpy as np
import polars as pl

from decisions.bandits.exploration import (
    bagging_shares,
    best_action,
    bounds_by_deviation,
    damped,
    epsilon_greedy,
    fast_cb,
    greedy,
    inverse_gap_weighting,
    reg_cb_elimination,
    reg_cb_optimistic,
    softmax,
    square_cb_elimination,
    uniform,
    with_floor,
    within_reach,
)
from decisions.bandits.oracles import Ensemble, RegressionOracle
from decisions.errors import DataError
from decisions.policy import BoolArray, Draw, FloatArray, IntArray, choose, pick
from decisions.seeds import RowKeys


@dataclass(frozen=True, kw_only=True)
class Assessment:
    """What a policy makes of n rows before anything is drawn."""

    probabilities: FloatArray  # (n, k)
    nominal: IntArray  # (n,), the action without exploring
    scores: FloatArray | None  # (n, k), 0 where not eligible; None where nothing is predicted
    arm: str  # the name of this part of the traffic


class BanditPolicy(Protocol):
    """A FinitePolicy that others can wrap."""

    def assess(self, context: pl.DataFrame, eligible: BoolArray) -> Assessment:
        """Probabilities, nominal actions and scores, computed together."""
        ...

    def probabilities(self, context: pl.DataFrame, eligible: BoolArray) -> FloatArray:
        """Rows that sum to one over the eligible actions, (n, k)."""
        ...

    def act(self, context: pl.DataFrame, eligible: BoolArray, keys: RowKeys) -> Draw:
        """One action a row."""
        ...


class Rule(Protocol):
    """From predictions to probabilities; `members` (models, n, k) are an ensemble's, or one's."""

    @property
    def models(self) -> int:
        """How many oracles to fit for it; above 1 it reads how an ensemble's members differ."""
        ...

    def __call__(self, scores: FloatArray, members: FloatArray, eligible: BoolArray) -> FloatArray:
        """Probabilities, (n, k); `scores` (n, k) is the mean of `members`."""
        ...


@dataclass(frozen=True)
class Greedy:
    """The best predicted action."""

    @property
    def models(self) -> int:
        """One: only the mean is read."""
        return 1

    def __call__(self, scores: FloatArray, members: FloatArray, eligible: BoolArray) -> FloatArray:
        """See `exploration.greedy`."""
        return greedy(scores, eligible)


@dataclass(frozen=True)
class EpsilonGreedy:
    """The best predicted action, and any with probability epsilon."""

    epsilon: float = 0.06

    @property
    def models(self) -> int:
        """One: only the mean is read."""
        return 1

    def __call__(self, scores: FloatArray, members: FloatArray, eligible: BoolArray) -> FloatArray:
        """See `exploration.epsilon_greedy`."""
        return epsilon_greedy(scores, eligible, epsilon=self.epsilon)


@dataclass(frozen=True)
class Softmax:
    """Boltzmann exploration."""

    inverse_temperature: float = 50.0

    @property
    def models(self) -> int:
        """One: only the mean is read."""
        return 1

    def __call__(self, scores: FloatArray, members: FloatArray, eligible: BoolArray) -> FloatArray:
        """See `exploration.softmax`."""
        return softmax(scores, eligible, inverse_temperature=self.inverse_temperature)


@dataclass(frozen=True)
class SquareCB:
    """Inverse gap weighting."""

    gamma: float

    @property
    def models(self) -> int:
        """One: only the mean is read."""
        return 1

    def __call__(self, scores: FloatArray, members: FloatArray, eligible: BoolArray) -> FloatArray:
        """See `exploration.inverse_gap_weighting`."""
        return inverse_gap_weighting(scores, eligible, gamma=self.gamma)


@dataclass(frozen=True)
class FastCB:
    """Inverse gap weighting by ratios of losses."""

    gamma: float

    @property
    def models(self) -> int:
        """One: only the mean is read."""
        return 1

    def __call__(self, scores: FloatArray, members: FloatArray, eligible: BoolArray) -> FloatArray:
        """See `exploration.fast_cb`."""
        return fast_cb(scores, eligible, gamma=self.gamma)


@dataclass(frozen=True)
class Bagging:
    """Each action's share of the models that prefer it; mix it with a Floor before logging."""

    models: int = 5

    def __call__(self, scores: FloatArray, members: FloatArray, eligible: BoolArray) -> FloatArray:
        """See `exploration.bagging_shares`."""
        return bagging_shares(members, eligible)


@dataclass(frozen=True)
class RegCBElimination:
    """Uniform on the actions that may still be best: mean +/- kappa deviations of the models."""

    kappa: float = 1.5
    models: int = 5

    def __call__(self, scores: FloatArray, members: FloatArray, eligible: BoolArray) -> FloatArray:
        """See `exploration.reg_cb_elimination`."""
        return reg_cb_elimination(*bounds_by_deviation(members, kappa=self.kappa), eligible)


@dataclass(frozen=True)
class RegCBOptimistic:
    """The action with the highest mean + kappa deviations of the models."""

    kappa: float = 1.5
    models: int = 5

    def __call__(self, scores: FloatArray, members: FloatArray, eligible: BoolArray) -> FloatArray:
        """See `exploration.reg_cb_optimistic`."""
        return reg_cb_optimistic(bounds_by_deviation(members, kappa=self.kappa)[0], eligible)


@dataclass(frozen=True)
class SquareCBElimination:
    """Inverse gap weighting among the actions that may still be best."""

    gamma: float
    kappa: float = 1.5
    models: int = 5

    def __call__(self, scores: FloatArray, members: FloatArray, eligible: BoolArray) -> FloatArray:
        """See `exploration.square_cb_elimination`."""
        high, low = bounds_by_deviation(members, kappa=self.kappa)
        return square_cb_elimination(scores, high, low, eligible, gamma=self.gamma)


@dataclass(frozen=True, kw_only=True)
class OraclePolicy:
    """Explores by `rule` over what `oracle` predicts."""

    oracle: RegressionOracle
    rule: Rule
    arm: str = "explore"

    def __post_init__(self) -> None:
        """Refuses a rule that explores by how models differ where there is one model."""
        count = len(self.oracle.members) if isinstance(self.oracle, Ensemble) else 1
        if self.rule.models > 1 and count < 2:
            raise DataError(
                f"{type(self.rule).__name__} explores by how models differ, and there is {count};"
                " wanted an Ensemble of two or more: see `oracles.fit_bootstrap`"
            )

    def assess(self, context: pl.DataFrame, eligible: BoolArray) -> Assessment:
        """See BanditPolicy. An Ensemble's members reach the rule; any other oracle is one."""
        if isinstance(self.oracle, Ensemble):
            members = self.oracle.predict_each(context, eligible)
            scores = members.mean(axis=0)
        else:
            scores = self.oracle.predict(context, eligible)
            members = scores[None]
        return Assessment(
            probabilities=self.rule(scores, members, eligible),
            nominal=best_action(scores, eligible),
            scores=scores,
            arm=self.arm,
        )

    def probabilities(self, context: pl.DataFrame, eligible: BoolArray) -> FloatArray:
        """Rows that sum to one over the eligible actions, (n, k)."""
        return self.assess(context, eligible).probabilities

    def act(self, context: pl.DataFrame, eligible: BoolArray, keys: RowKeys) -> Draw:
        """One action a row."""
        return drawn(self.assess(context, eligible), keys)


def without_exploring(policy: OraclePolicy) -> OraclePolicy:
    """The greedy policy of the same oracle."""
    return OraclePolicy(oracle=policy.oracle, rule=Greedy(), arm="exploit")


@dataclass(frozen=True, kw_only=True)
class Uniform:
    """Every eligible action alike; the nominal one is the smallest eligible id."""

    arm: str = "explore"

    def assess(self, context: pl.DataFrame, eligible: BoolArray) -> Assessment:
        """See BanditPolicy."""
        del context
        return Assessment(
            probabilities=uniform(eligible),
            nominal=eligible.argmax(axis=1).astype(np.int64),
            scores=None,
            arm=self.arm,
        )

    def probabilities(self, context: pl.DataFrame, eligible: BoolArray) -> FloatArray:
        """1/K on each eligible action, (n, k)."""
        return self.assess(context, eligible).probabilities

    def act(self, context: pl.DataFrame, eligible: BoolArray, keys: RowKeys) -> Draw:
        """One action a row."""
        return drawn(self.assess(context, eligible), keys)


@dataclass(frozen=True, kw_only=True)
class FixedAction:
    """Always the same action, such as doing nothing."""

    action: int
    arm: str = "control"

    def assess(self, context: pl.DataFrame, eligible: BoolArray) -> Assessment:
        """See BanditPolicy.

        Raises:
            DataError: the action is not eligible in a row.
        """
        del context
        barred = np.flatnonzero(~eligible[:, self.action])
        if len(barred):
            raise DataError(
                f"action {self.action} is not eligible in {len(barred)} rows, first"
                f" {barred[:5].tolist()}; a fixed action must be eligible everywhere"
            )
        index = np.full(len(eligible), self.action, dtype=np.int64)
        probabilities = np.zeros(eligible.shape)
        probabilities[:, self.action] = 1.0
        return Assessment(probabilities=probabilities, nominal=index, scores=None, arm=self.arm)

    def probabilities(self, context: pl.DataFrame, eligible: BoolArray) -> FloatArray:
        """One on the action, (n, k)."""
        return self.assess(context, eligible).probabilities

    def act(self, context: pl.DataFrame, eligible: BoolArray, keys: RowKeys) -> Draw:
        """One action a row."""
        return drawn(self.assess(context, eligible), keys)


@dataclass(frozen=True, kw_only=True)
class Floor:
    """`policy`, with at least floor/K on every eligible action."""

    policy: BanditPolicy
    floor: float

    def assess(self, context: pl.DataFrame, eligible: BoolArray) -> Assessment:
        """See BanditPolicy."""
        seen = self.policy.assess(context, eligible)
        return replace(
            seen, probabilities=with_floor(seen.probabilities, eligible, floor=self.floor)
        )

    def probabilities(self, context: pl.DataFrame, eligible: BoolArray) -> FloatArray:
        """Rows that sum to one over the eligible actions, (n, k)."""
        return self.assess(context, eligible).probabilities

    def act(self, context: pl.DataFrame, eligible: BoolArray, keys: RowKeys) -> Draw:
        """One action a row."""
        return drawn(self.assess(context, eligible), keys)


@dataclass(frozen=True, kw_only=True)
class Damped:
    """`share` of `previous`, the rest of `policy`; nominal actions and scores are `policy`'s.

    With a `ratio`, no action is taken much more often than that many times what `previous` does
    (`exploration.within_reach`).
    """

    policy: BanditPolicy
    previous: BanditPolicy
    share: float = 0.5
    ratio: float | None = None

    def assess(self, context: pl.DataFrame, eligible: BoolArray) -> Assessment:
        """See BanditPolicy."""
        seen = self.policy.assess(context, eligible)
        before = self.previous.probabilities(context, eligible)
        p = seen.probabilities
        if self.ratio is not None:
            p = within_reach(p, before, ratio=self.ratio)
        return replace(seen, probabilities=damped(p, before, share=self.share))

    def probabilities(self, context: pl.DataFrame, eligible: BoolArray) -> FloatArray:
        """Rows that sum to one over the eligible actions, (n, k)."""
        return self.assess(context, eligible).probabilities

    def act(self, context: pl.DataFrame, eligible: BoolArray, keys: RowKeys) -> Draw:
        """One action a row."""
        return drawn(self.assess(context, eligible), keys)


ARMS = ("control", "explore", "exploit")


@dataclass(frozen=True, kw_only=True)
class Split:
    """Traffic in three arms: control, explore, and the rest exploits.

    The arm is drawn from the value of the context column `cluster` (strings or non-negative
    integers, such as the card), so that all of a cluster stays in one arm for as long as the keys'
    seed lasts. The probabilities are marginal over that draw. Exploiting is `explore`'s nominal
    action.
    """

    explore: BanditPolicy
    explore_share: float
    control: BanditPolicy
    control_share: float
    cluster: str

    def __post_init__(self) -> None:
        shares = self.shares
        if not ((shares >= 0) & (shares <= 1)).all():
            raise DataError(
                f"control, explore and exploit shares are {shares.tolist()}; wanted each in [0, 1]"
            )

    @property
    def shares(self) -> FloatArray:
        """Of ARMS, (3,)."""
        rest = 1.0 - self.control_share - self.explore_share
        rest = 0.0 if abs(rest) < 1e-12 else rest
        return np.array([self.control_share, self.explore_share, rest])

    def arm_probabilities(
        self, context: pl.DataFrame, eligible: BoolArray
    ) -> tuple[FloatArray, Assessment]:
        """Probabilities within each arm, (3, n, k), in the order of `shares`; explore's view."""
        seen = self.explore.assess(context, eligible)
        exploit = np.zeros(eligible.shape)
        exploit[np.arange(len(exploit)), seen.nominal] = 1.0
        control = self.control.probabilities(context, eligible)
        return np.stack([control, seen.probabilities, exploit]), seen

    def assess(self, context: pl.DataFrame, eligible: BoolArray) -> Assessment:
        """See BanditPolicy; the probabilities are marginal."""
        return self._marginal(*self.arm_probabilities(context, eligible))

    def _marginal(self, arms: FloatArray, seen: Assessment) -> Assessment:
        control, explore, exploit = self.shares
        marginal = control * arms[0] + explore * arms[1] + exploit * arms[2]
        return replace(seen, probabilities=marginal, arm="split")

    def probabilities(self, context: pl.DataFrame, eligible: BoolArray) -> FloatArray:
        """Marginal over the arm, rows that sum to one over the eligible actions, (n, k)."""
        return self.assess(context, eligible).probabilities

    def arms(self, context: pl.DataFrame, keys: RowKeys) -> IntArray:
        """The arm of each row, (n,): 0 control, 1 explore, 2 exploit."""
        clusters = RowKeys(keys.seed, cluster_ids(context, self.cluster))
        shares = np.broadcast_to(self.shares, (context.height, 3))
        return choose(shares, clusters.uniforms("arm")[:, 0])

    def act(self, context: pl.DataFrame, eligible: BoolArray, keys: RowKeys) -> Draw:
        """One action a row: first the cluster's arm, then the action within it."""
        within, seen = self.arm_probabilities(context, eligible)
        arm = self.arms(context, keys)
        chosen = within[arm, np.arange(len(arm))]
        draw = drawn(replace(seen, probabilities=chosen), keys)
        marginal = self._marginal(within, seen).probabilities
        return replace(
            draw,
            propensity=pick(marginal, draw.action[:, 0].astype(np.int64)),
            arm=np.array(ARMS)[arm],
            probabilities=marginal,
        )


def cluster_ids(context: pl.DataFrame, column: str) -> IntArray:
    """A non-negative number for each row's value of `column`, the same in every batch, (n,).

    Raises:
        DataError: the column is missing, has nulls or negative numbers, or is of another type.
    """
    if column not in context.columns:
        raise DataError(f"context has no column {column!r}, by which arms are drawn")
    values = context[column]
    if values.null_count():
        raise DataError(f"context column {column!r} has {values.null_count()} nulls; arms need it")
    if values.dtype == pl.String:
        known = values.unique(maintain_order=True)
        numbers = [
            int.from_bytes(blake2b(text.encode(), digest_size=8).digest()) >> 1 for text in known
        ]
        return values.replace_strict(known, numbers, return_dtype=pl.Int64).to_numpy()
    if not values.dtype.is_integer() or (values < 0).any():
        raise DataError(
            f"context column {column!r} is {values.dtype}; wanted strings or integers from 0"
        )
    return values.cast(pl.Int64).to_numpy()


def drawn(seen: Assessment, keys: RowKeys) -> Draw:
    """The action each row's own uniform number falls on, actions ascending."""
    uniforms = keys.uniforms("action")[:, 0]
    action = choose(seen.probabilities, uniforms)
    propensity = pick(seen.probabilities, action)
    return Draw(
        action=action[:, None].astype(np.float64),
        nominal=seen.nominal[:, None].astype(np.float64),
        propensity=propensity,
        arm=np.full(len(action), seen.arm),
        arm_propensity=propensity,
        uniform=uniforms,
        probabilities=seen.probabilities,
        scores=seen.scores,
    )
