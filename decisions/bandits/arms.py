"""Fixed ways to run generations: a rule of exploration, a memory, and mitigations as options."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import polars as pl

from decisions.bandits import exploration
from decisions.bandits.generations import Logged, Model, Record, World, pooled, run
from decisions.bandits.oracles import (
    ConstantOracle,
    Ensemble,
    LightGBMConfig,
    RegressionOracle,
    fit_bootstrap,
    fit_lightgbm,
)
from decisions.bandits.pair_trees import PairTrees
from decisions.bandits.training_set import PairFeatures, TrainingSet, importance_weights
from decisions.policy import BoolArray, FloatArray
from decisions.seeds import stream


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One fixed way to run generations.

    `rule` with its `parameter`: "uniform", "greedy", "squarecb" and "fastcb" (gamma), "softmax"
    (inverse temperature), "epsilon" (share), "bagging" (number of models).
    `share` of the traffic explores and alone trains; 1 is FULL mode, less is SPLIT, where the
    rest takes the best predicted action. `control` of all traffic does nothing in SPLIT mode.
    `window` generations train (None: all that may be kept); `average` models are averaged;
    `floor` mixes in uniform; `mix` mixes in the previous policy; `importance` is the power of
    1/propensity in training weights; `continued` grows new trees on the predecessor's margin.
    `negative_weight` and `thin` change the class balance of the training rows: a weight on
    failures that is not undone, None to match generation 0's, and the share of failures that is
    left out.
    """

    name: str
    rule: str = "squarecb"
    parameter: float = 0.0
    share: float = 1.0
    control: float = 0.0
    window: int | None = 1
    average: int = 1
    floor: float = 0.0
    mix: float = 0.0
    importance: float = 0.0
    continued: bool = False
    negative_weight: float | None = 1.0
    thin: float = 0.0
    oracle: LightGBMConfig = field(default_factory=LightGBMConfig)


def square_cb(gamma: float) -> Arm:
    """FULL mode, inverse gap weighting, one generation of memory."""
    return Arm(name=f"squarecb-{gamma:g}", parameter=gamma)


UNIFORM = Arm(name="uniform", rule="uniform")


def run_arm(
    world: World,
    arm: Arm,
    *,
    generations: int,
    seed: int,
    retention: int | None = None,
    **options: Any,
) -> Iterator[Record]:
    """`run` of a fixed arm, its window cut to what `retention` allows; `options` go to `run`."""
    memories = [memory for memory in (arm.window, retention) if memory is not None]
    return run(
        world,
        ArmTrainer(arm=arm, features=world.features, seed=seed),
        generations=generations,
        seed=seed,
        retention=min(memories, default=None),
        share=arm.share,
        control=arm.control,
        **options,
    )


def records(world: World, arm: Arm, **options: Any) -> list[dict[str, float]]:
    """`run_arm` as plain numbers, for storage."""
    return [asdict(record) for record in run_arm(world, arm, **options)]


@dataclass(kw_only=True, eq=False)
class ArmModel:
    """A rule over one or more oracles: what acts on one generation.

    `oracles` are newest first; `first_share` is that of failures in generation 0; `previous` is
    what acted before. The last scores are remembered: a policy and its measures ask for the same.
    """

    arm: Arm
    oracles: tuple[RegressionOracle, ...]
    first_share: float
    previous: "ArmModel | None" = None
    _seen: tuple[pl.DataFrame, BoolArray, FloatArray] | None = field(default=None, init=False)

    def scores(self, context: pl.DataFrame, eligible: BoolArray) -> FloatArray:
        """See Model: the mean over the averaged oracles."""
        seen = self._seen
        if seen is None or seen[0] is not context or seen[1] is not eligible:
            scores = Ensemble(members=self.oracles[::-1]).predict(context, eligible)
            self._seen = seen = (context, eligible, scores)
        return seen[2]

    def probabilities(self, context: pl.DataFrame, eligible: BoolArray) -> FloatArray:
        """See Model: the rule's, with `mix` of the previous rule's."""
        p = self.explore(context, eligible)
        if not self.arm.mix or self.previous is None:
            return p
        before = self.previous.explore(context, eligible)
        return exploration.damped(p, before, share=self.arm.mix)

    def explore(self, context: pl.DataFrame, mask: BoolArray) -> FloatArray:
        """The rule's probabilities before `mix`, (n, k)."""
        arm, parameter = self.arm, self.arm.parameter
        if arm.rule == "uniform":
            return exploration.uniform(mask)
        if arm.rule == "bagging":
            p = exploration.bagging_shares(self._members(context, mask), mask)
        else:
            scores = self.scores(context, mask)
            if arm.rule == "squarecb":
                p = exploration.inverse_gap_weighting(scores, mask, gamma=parameter)
            elif arm.rule == "fastcb":
                p = exploration.fast_cb(scores, mask, gamma=parameter)
            elif arm.rule == "softmax":
                p = exploration.softmax(scores, mask, inverse_temperature=parameter)
            elif arm.rule == "epsilon":
                p = exploration.epsilon_greedy(scores, mask, epsilon=parameter)
            else:
                p = exploration.greedy(scores, mask)
        return exploration.with_floor(p, mask, floor=arm.floor) if arm.floor else p

    def _members(self, context: pl.DataFrame, mask: BoolArray) -> FloatArray:
        members = [
            member
            for oracle in self.oracles
            for member in (oracle.members if isinstance(oracle, Ensemble) else (oracle,))
        ]
        return np.stack([member.predict(context, mask) for member in members])


@dataclass(frozen=True, kw_only=True)
class ArmTrainer:
    """A fixed arm as a Trainer; `logs` are its window."""

    arm: Arm
    features: PairFeatures
    seed: int

    def __call__(
        self, logs: Sequence[Logged], predecessors: Sequence[Model], rng: np.random.Generator
    ) -> ArmModel:
        """See Trainer."""
        own = [model for model in predecessors[: self.arm.average] if isinstance(model, ArmModel)]
        last = own[0] if own else None
        share = float(1 - logs[-1].reward.mean()) if last is None else last.first_share
        oracle = self._fit(self._training_set(logs, share), last, rng)
        return ArmModel(
            arm=self.arm,
            oracles=(oracle, *(model.oracles[0] for model in own[: self.arm.average - 1])),
            first_share=share,
            previous=last,
        )

    def _training_set(self, logs: Sequence[Logged], first_share: float) -> TrainingSet:
        """The window's rows, thinned and weighted as the arm says."""
        arm, data = self.arm, pooled(logs)
        weight = data.weight
        if arm.importance:
            propensity = np.concatenate([logged.propensity for logged in logs])
            weight = importance_weights(propensity, power=arm.importance)
        if arm.negative_weight != 1.0:
            failed = 1 - data.reward.mean()
            matched = first_share * (1 - failed) / ((1 - first_share) * max(failed, 1e-9))
            factor = arm.negative_weight or matched
            weight = np.where(data.reward > 0, 1.0, factor) * (1.0 if weight is None else weight)
        data = TrainingSet(
            context=data.context, action=data.action, reward=data.reward, weight=weight
        )
        if not arm.thin:
            return data
        rng = stream(self.seed, "experiment", "thin", str(logs[-1].generation))
        kept = (data.reward > 0) | (rng.random(len(data.reward)) >= arm.thin)
        return data.take(np.flatnonzero(kept))

    def _fit(
        self, data: TrainingSet, last: ArmModel | None, rng: np.random.Generator
    ) -> RegressionOracle:
        arm = self.arm
        before = last.oracles[0] if last is not None and arm.continued else None

        def fit(rows: TrainingSet, rng: np.random.Generator) -> PairTrees | ConstantOracle:
            fitted = fit_lightgbm(
                rows,
                rng,
                features=self.features,
                config=arm.oracle,
                predecessor=before.oracle if isinstance(before, PairTrees) else None,
            )
            return fitted if isinstance(fitted, ConstantOracle) else PairTrees(oracle=fitted)

        if arm.rule == "bagging":
            return fit_bootstrap(fit, data, rng, models=int(arm.parameter))
        return fit(data, rng)
