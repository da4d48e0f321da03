"""Generation after generation in memory: any world, any learner, and every value exact."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Protocol

import numpy as np
import polars as pl

from decisions.bandits import exploration
from decisions.bandits.calibration import fit_of
from decisions.bandits.training_set import PairFeatures, TrainingSet
from decisions.errors import DataError
from decisions.policy import (
    BoolArray,
    FloatArray,
    IntArray,
    choose,
    normalised_entropy,
    pick,
    total_variation,
)
from decisions.seeds import RowKeys, stream

REFERENCE_DAY = 100_000  # far from any generation: the batch on which churn is measured

Lateness = Callable[[FloatArray, FloatArray], FloatArray]
"""Rewards (n,) and two numbers a row (n, 2) to generations until each outcome is known, (n,)."""


def at_once(rewards: FloatArray, uniforms: FloatArray) -> FloatArray:
    """No outcome is late: zeros, (n,)."""
    del uniforms
    return np.zeros(len(rewards))


@dataclass(frozen=True, kw_only=True, eq=False)
class Day:
    """The units of one generation, with everything a learner may not see: all (n, ...)."""

    context: pl.DataFrame  # encoded: what oracles read
    eligible: BoolArray  # (n, k)
    success: FloatArray  # (n, k), P(reward = 1)
    outcome: FloatArray  # (n,), the number behind the reward: 1 where it is below P
    draws: FloatArray  # (n, 3): action, traffic arm, uniform hold-out's action
    late: FloatArray  # (n, 2): numbers behind the delay
    hour_share: FloatArray  # (n,), when within the generation, 0 to 1
    control: float  # the exact value of the baseline (doing nothing) on these units

    @cached_property
    def uniform(self) -> FloatArray:
        """Uniform exploration's probabilities."""
        return exploration.uniform(self.eligible)

    def reward(self, action: IntArray) -> FloatArray:
        """The rewards of one action a row, (n,): the same payer answers whichever is asked."""
        return (self.outcome < pick(self.success, action)).astype(np.float64)

    def value(self, probabilities: FloatArray) -> float:
        """The exact value of acting with `probabilities` (n, k): the whole sum, no sampling."""
        return float((probabilities * self.success).sum(axis=1).mean())

    @cached_property
    def best(self) -> float:
        """The value of always taking the eligible action with the highest P."""
        return float(np.where(self.eligible, self.success, -1.0).max(axis=1).mean())


class World(Protocol):
    """Where days come from: the same units for every learner, whatever was asked before."""

    @property
    def features(self) -> PairFeatures:
        """What oracles read of a context and an action."""
        ...

    @property
    def reference(self) -> Day:
        """The fixed batch on which churn is measured."""
        ...

    def day(self, number: int) -> Day:
        """The units of generation `number`, from 0."""
        ...


@dataclass(kw_only=True, eq=False)
class MadeDays:
    """A World from a function of a generation's number and a number of rows, asked once a day."""

    make: Callable[[int, int], Day]
    features: PairFeatures
    rows: int
    reference_rows: int = 2_000
    kept: dict[int, Day] = field(default_factory=dict[int, Day])

    @property
    def reference(self) -> Day:
        """See World."""
        return self._day(REFERENCE_DAY, self.reference_rows)

    def day(self, number: int) -> Day:
        """See World."""
        return self._day(number, self.rows)

    def _day(self, number: int, rows: int) -> Day:
        if number not in self.kept:
            self.kept[number] = self.make(number, rows)
        return self.kept[number]


def row_keys(seed: int, number: int, rows: int) -> RowKeys:
    """Keys of the units of one generation: no other generation has them."""
    return RowKeys(seed, (number << 32) + np.arange(rows, dtype=np.int64))


def chances(keys: RowKeys) -> dict[str, FloatArray]:
    """Day's random numbers, of the units of `keys`: `outcome`, `draws`, `late`, `hour_share`."""
    rows = len(keys.rows)
    return {
        "outcome": keys.uniforms("experiment", "outcome")[:, 0],
        "draws": keys.uniforms("experiment", "draws", columns=3),
        "late": keys.uniforms("experiment", "late", columns=2),
        "hour_share": np.arange(rows) / rows,
    }


@dataclass(frozen=True, kw_only=True, eq=False)
class Logged:
    """What one generation left for training: its exploring rows whose outcome is known by now."""

    generation: int  # the number of the model that acted, plus one; 0 acted uniformly
    context: pl.DataFrame
    eligible: BoolArray  # (n, k)
    action: IntArray  # (n,)
    reward: FloatArray  # (n,), 0 or 1
    propensity: FloatArray  # (n,), of the action
    unresolved_share: float  # of the generation's exploring rows, outcome not known yet


class Model(Protocol):
    """What a learner deploys for one generation."""

    def scores(self, context: pl.DataFrame, eligible: BoolArray) -> FloatArray:
        """Predicted rewards of the eligible actions, (n, k)."""
        ...

    def probabilities(self, context: pl.DataFrame, eligible: BoolArray) -> FloatArray:
        """Rows that sum to one over the eligible actions, (n, k)."""
        ...


def pooled(logs: Sequence[Logged]) -> TrainingSet:
    """The rows of several generations' logs, oldest first, unweighted."""
    return TrainingSet(
        context=pl.concat([logged.context for logged in logs]),
        action=np.concatenate([logged.action for logged in logs]),
        reward=np.concatenate([logged.reward for logged in logs]),
    )


class Trainer(Protocol):
    """A learner: from the logs that may be kept, and its own earlier models, to the next one."""

    def __call__(
        self, logs: Sequence[Logged], predecessors: Sequence[Model], rng: np.random.Generator
    ) -> Model:
        """The model of the newest log's generation.

        Args:
            logs: oldest first, as many generations as retention allows; generation 0 is uniform.
            predecessors: its own models, newest first, all of them; empty at generation 0.
            rng: of this generation, the same whatever the learner.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Record:
    """One generation's model and the data it was trained on; rates and values are shares.

    The model of generation g is trained on data up to g and measured on the units of g + 1.
    What stands below `detail` costs a second look at every prediction; it is NaN where that was
    not asked for.
    """

    generation: int
    explore_reward: float  # mean reward of the exploring rows logged in generation g
    negatives_share: float  # of the rows given to the learner
    unresolved_share: float  # of generation g's exploring rows, outcome not known in time
    value: float  # exact, of the exploring policy on the next units
    value_control: float  # exact, of the baseline (doing nothing)
    value_best: float  # exact, of the best eligible action
    churn: float  # total variation against the previous policy on the reference batch
    value_greedy: float = np.nan  # detail: exact, of the best predicted action
    value_blend: float = np.nan  # exact, of the whole traffic in SPLIT mode
    auc_own: float = np.nan  # of the model on the rows its own policy logs next
    log_loss_own: float = np.nan
    brier_own: float = np.nan
    ece_own: float = np.nan
    auc_uniform: float = np.nan  # on a uniform hold-out
    log_loss_uniform: float = np.nan
    brier_uniform: float = np.nan
    ece_uniform: float = np.nan
    entropy: float = np.nan  # mean of H(p) / log K over rows with K > 1
    effective_actions: float = np.nan  # mean of exp(H(p))
    propensity_minimum: float = np.nan  # of the logged actions
    propensity_1_percent: float = np.nan
    propensity_median: float = np.nan
    error_greedy: float = np.nan  # mean |f - P| at the greedy action
    error_unchosen: float = np.nan  # mean |f - P| over the other eligible actions
    bias_greedy: float = np.nan  # mean f - P at the greedy action
    bias_unchosen: float = np.nan  # over the others: optimism about what was not tried
    churn_greedy: float = np.nan  # share of rows whose best predicted action changed


def run(
    world: World,
    trainer: Trainer,
    *,
    generations: int,
    seed: int,
    retention: int | None = None,
    late: Lateness = at_once,
    share: float = 1.0,
    control: float = 0.0,
    detail: bool = True,
) -> Iterator[Record]:
    """Records of generations 0 to `generations`; generation 0 logs uniformly, whoever learns.

    Learners share units, eligibility and the number behind every outcome and draw, so differences
    between them are paired.

    Args:
        world: where units come from.
        trainer: the learner.
        generations: how many come after the uniform one.
        seed: of the learner's random streams; the world has its own.
        retention: of how many generations rows may be kept; None keeps all. Models may be kept.
        late: how long outcomes take. A row is given to the learner once its outcome is known.
        share: of the traffic that explores and alone is learned from; 1 is FULL mode, less is
            SPLIT, where the rest takes the best predicted action.
        control: share of the traffic that gets the baseline in SPLIT mode.
        detail: whether to measure everything of Record.

    Raises:
        DataError: `retention` is below one.
    """
    if retention is not None and retention < 1:
        raise DataError(f"rows of {retention} generations may be kept; wanted 1 or more, or None")
    kept: list[_Decided] = []
    models: tuple[Model, ...] = ()
    before: _Reference | None = None
    day = world.day(0)
    probabilities, exploring = day.uniform, np.ones(len(day.uniform), dtype=np.bool_)
    for g in range(generations + 1):
        kept = [*kept, _decided(g, day, probabilities, exploring, late)][-(retention or g + 1) :]
        logs = [decided.known(after=g + 1) for decided in kept]
        model = trainer(logs, models, stream(seed, "experiment", "train", str(g)))
        models = (model, *models)
        day = world.day(g + 1)
        scores = model.scores(day.context, day.eligible) if detail else None
        probabilities = model.probabilities(day.context, day.eligible)
        exploring = day.draws[:, 1] < share
        now = _at_reference(world.reference, model, detail=detail)
        rewards = np.concatenate([logged.reward for logged in logs])
        yield Record(
            generation=g,
            explore_reward=kept[-1].mean_reward,
            negatives_share=float(1 - rewards.mean()) if len(rewards) else np.nan,
            unresolved_share=logs[-1].unresolved_share,
            value=day.value(probabilities),
            value_control=day.control,
            value_best=day.best,
            **({} if scores is None else _detail(day, scores, probabilities, share, control)),
            **_churn(before, now),
        )
        before = now


@dataclass(frozen=True, kw_only=True, eq=False)
class _Decided:
    """One generation's exploring rows, those whose outcome is still open included."""

    generation: int
    context: pl.DataFrame
    eligible: BoolArray
    action: IntArray
    reward: FloatArray
    propensity: FloatArray
    known_at: FloatArray  # (n,), generations after the first day's start

    @property
    def mean_reward(self) -> float:
        return float(self.reward.mean()) if len(self.reward) else np.nan

    def known(self, *, after: int) -> Logged:
        """The rows whose outcome is known after `after` generations."""
        rows = np.flatnonzero(self.known_at <= after)
        every = len(rows) == len(self.known_at)
        return Logged(
            generation=self.generation,
            context=self.context if every else self.context[rows],
            eligible=self.eligible if every else self.eligible[rows],
            action=self.action[rows],
            reward=self.reward[rows],
            propensity=self.propensity[rows],
            unresolved_share=1 - len(rows) / max(len(self.known_at), 1),
        )


def _decided(
    generation: int, day: Day, probabilities: FloatArray, exploring: BoolArray, late: Lateness
) -> _Decided:
    action = choose(probabilities, day.draws[:, 0])
    reward = day.reward(action)
    rows = np.flatnonzero(exploring)
    every = len(rows) == len(exploring)
    return _Decided(
        generation=generation,
        context=day.context if every else day.context[rows],
        eligible=day.eligible[rows],
        action=action[rows],
        reward=reward[rows],
        propensity=pick(probabilities, action)[rows],
        known_at=(generation + day.hour_share + late(reward, day.late))[rows],
    )


_Reference = tuple[FloatArray, IntArray | None]  # probabilities, best predicted actions


def _at_reference(day: Day, model: Model, *, detail: bool) -> _Reference:
    scores = model.scores(day.context, day.eligible) if detail else None
    best = None if scores is None else exploration.best_action(scores, day.eligible)
    return model.probabilities(day.context, day.eligible), best


def _churn(before: _Reference | None, now: _Reference) -> dict[str, float]:
    if before is None:
        return {"churn": np.nan}
    churn = {"churn": total_variation(before[0], now[0])}
    if before[1] is not None and now[1] is not None:
        churn["churn_greedy"] = float((before[1] != now[1]).mean())
    return churn


def _detail(
    day: Day, scores: FloatArray, probabilities: FloatArray, share: float, control: float
) -> dict[str, float]:
    """Everything else a model is measured by on the units of the next generation."""
    mask, truth = day.eligible, day.success
    best = exploration.best_action(scores, mask)
    greedy = float(pick(truth, best).mean())
    actions = choose(probabilities, day.draws[:, 0])
    propensity = pick(probabilities, actions)
    trial = choose(day.uniform, day.draws[:, 2])
    own = fit_of(pick(scores, actions), day.reward(actions))
    held = fit_of(pick(scores, trial), day.reward(trial))
    choice = np.zeros_like(mask)
    choice[np.arange(len(best)), best] = True
    others, error = mask & ~choice, scores - truth
    entropy = -(probabilities * np.log(np.where(probabilities > 0, probabilities, 1.0))).sum(1)
    low, one_percent, median = np.quantile(propensity, (0.0, 0.01, 0.5)).tolist()
    rest = 1 - share - control
    return {
        "value_greedy": greedy,
        "value_blend": share * day.value(probabilities) + rest * greedy + control * day.control,
        **{f"{name}_own": value for name, value in asdict(own).items()},
        **{f"{name}_uniform": value for name, value in asdict(held).items()},
        "entropy": normalised_entropy(probabilities, mask),
        "effective_actions": float(np.exp(entropy).mean()),
        "propensity_minimum": low,
        "propensity_1_percent": one_percent,
        "propensity_median": median,
        "error_greedy": float(np.abs(error[choice]).mean()),
        "error_unchosen": float(np.abs(error[others]).mean()),
        "bias_greedy": float(error[choice].mean()),
        "bias_unchosen": float(error[others].mean()),
    }
