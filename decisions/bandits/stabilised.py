"""Stabilised generations: memory, averaging, exploration and damping set by what the logs support.

Two beliefs learn from the same rows. One keeps everything; of the other the blocks that the new
rows show to have moved lose memory (`posterior.updated`). Neither is right in every world: where
an effect comes and goes, its long average predicts best; where it changed for good, the average is
wrong for a long time. So they are averaged, with weights by how well each predicted the rows of
every new generation before it learned from them.

- *Memory*: the posterior of the last generation is the prior of the next. Rows are not needed
  again, so it makes no difference how many of them may be kept.
- *Damping*: new rows move a coefficient as far as their information exceeds what was known.
- *Exploration*: a share of the traffic acts by draws from the posterior (Thompson), the rest by
  its mean. Actions are tried in proportion to their chance of being best, so exploration shrinks
  as evidence grows and comes back by itself when a block loses memory.
- *Support*: a small uniform floor keeps every eligible action's propensity above zero.
- *Trees*, where they are trained, are a third belief: the model that both others share is a sum of
  pairs of context columns and flags, which may be wrong. They are weighed against the average of
  the two by the same fixed share, and act once their weight is ACTING.

What is guaranteed is about beliefs as a whole: the chance that the average gives to the rows of
each generation, taken together, falls short of that of any sequence of beliefs with s switches in
G generations by at most log 2 + s log(2 / SWITCH) + G log(1 / (1 - SWITCH)) nats in all, whatever
the world does (fixed share). Row by row the weights stand still within a generation, and its loss
is at most the weighted mean of the beliefs' losses: one in which the worse belief has the weight
may cost the whole difference. Nothing of the kind holds for regret.

Sources: Herbster and Warmuth (1998), "Tracking the best expert" (fixed share); Thompson (1933);
Jin, Yang, Xiao and Xu (2023), "Thompson sampling with less exploration is fast and optimal"
(drawing for a share of the rounds only).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import polars as pl
from scipy.special import expit, logsumexp

from decisions.bandits.exploration import best_action, greedy, with_floor
from decisions.bandits.generations import Logged, Model, Trainer, pooled
from decisions.bandits.oracles import LightGBMConfig, RegressionOracle, fit_lightgbm
from decisions.bandits.policies import Assessment, drawn
from decisions.bandits.posterior import (
    Basis,
    Places,
    Posterior,
    basis_of,
    logits,
    prior,
    relaxed,
    updated,
)
from decisions.bandits.training_set import PairFeatures, TrainingSet
from decisions.errors import DataError
from decisions.policy import BoolArray, Draw, FloatArray, IntArray
from decisions.seeds import RowKeys

ACTING = 0.1  # the weight from which trees are listened to
CERTAIN = 1e-4  # the least chance that trees may give to an outcome
SWITCH = 0.05  # chance a generation that another belief becomes the better one
DRAWS = 16
SHARE = 0.05
FLOOR = 0.002
_BLOCK = 4_096  # rows whose draws are computed together: what the processor's cache holds


@dataclass(frozen=True, kw_only=True, eq=False)
class Stabilised:
    """What a generation believes, and how it acts on it: a policy.

    `beliefs` are the one that keeps everything and the one that forgets, over one basis;
    `weights` (2,) theirs. `draws` (m, D) are samples of both, shared out by weight. `trees`, where
    they are trained, predict beside the average of the two; `trees_weight` is theirs, in [0, 1].
    """

    beliefs: tuple[Posterior, ...]
    weights: FloatArray
    draws: FloatArray
    share: float
    floor: float
    last_row: int = -1  # the id of the newest row learned from, where rows have ids
    trees: RegressionOracle | None = None
    trees_weight: float = 0.0

    def scores(self, context: pl.DataFrame, eligible: BoolArray) -> FloatArray:
        """Expected rewards: the beliefs' predictions at their means, averaged, (n, k)."""
        by_trees = self._by_trees(context, eligible)
        return self._scores(self._places(context), eligible, by_trees)

    def probabilities(self, context: pl.DataFrame, eligible: BoolArray) -> FloatArray:
        """Rows that sum to one over the eligible actions, (n, k)."""
        return self.assess(context, eligible).probabilities

    def assess(self, context: pl.DataFrame, eligible: BoolArray) -> Assessment:
        """Probabilities, the best action and scores, computed together."""
        places, by_trees = self._places(context), self._by_trees(context, eligible)
        scores = self._scores(places, eligible, by_trees)
        best = best_action(scores, eligible)
        p = greedy(scores, eligible)
        if self.share:
            chance = self._chance_of_best(places, eligible, by_trees)
            p = (1 - self.share) * p + self.share * chance
        if self.floor:
            p = with_floor(p, eligible, floor=self.floor)
        return Assessment(probabilities=p, nominal=best, scores=scores, arm="explore")

    def act(self, context: pl.DataFrame, eligible: BoolArray, keys: RowKeys) -> Draw:
        """One action a row."""
        return drawn(self.assess(context, eligible), keys)

    def _places(self, context: pl.DataFrame) -> Places:
        """All beliefs read the same columns: the levels grow with what all of them saw."""
        return self.beliefs[0].basis.places(context)

    def _by_trees(self, context: pl.DataFrame, eligible: BoolArray) -> FloatArray | None:
        """What the trees predict, (n, k); None while their weight is below ACTING."""
        if self.trees is None or self.trees_weight < ACTING:
            return None
        return self.trees.predict(context, eligible)

    def _scores(
        self, places: Places, eligible: BoolArray, by_trees: FloatArray | None
    ) -> FloatArray:
        total = np.zeros(eligible.shape)
        if all(_agree(belief, self.beliefs[0]) for belief in self.beliefs):
            total += expit(next(logits(self.beliefs[0].basis, [self.beliefs[0].mean], places)).T)
        else:
            for weight, belief in zip(self.weights, self.beliefs, strict=True):
                total += weight * expit(next(logits(belief.basis, [belief.mean], places)).T)
        if by_trees is not None:
            total = (1 - self.trees_weight) * total + self.trees_weight * by_trees
        return np.where(eligible, total, 0.0)

    def _chance_of_best(
        self, places: Places, eligible: BoolArray, by_trees: FloatArray | None
    ) -> FloatArray:
        """How often each action is the best, by draws and by the trees' one opinion, (n, k)."""
        votes = np.zeros(eligible.shape)
        index, value = places
        every: IntArray = np.arange(len(eligible))
        for start in range(0, len(eligible), _BLOCK):
            some = slice(start, start + _BLOCK)
            rows, barred = every[some], np.where(eligible[some].T, 0.0, -np.inf)
            for logit in logits(self.beliefs[0].basis, self.draws, (index[some], value[some])):
                logit += barred
                votes[rows, logit.argmax(axis=0)] += 1
        chance: FloatArray = votes / len(self.draws)
        if by_trees is None:
            return chance
        return (1 - self.trees_weight) * chance + self.trees_weight * greedy(by_trees, eligible)


def learned(
    basis: Basis,
    data: TrainingSet,
    predecessor: Stabilised | None,
    rng: np.random.Generator,
    *,
    share: float = SHARE,
    floor: float = FLOOR,
    draws: int = DRAWS,
    retention: float | None = None,
    trees: RegressionOracle | None = None,
) -> Stabilised:
    """The next generation, from its predecessor and rows that it has not seen.

    `basis` is read where there is no predecessor. `trees` were trained on all rows that may be
    kept, `data` among them; their weight follows how well the predecessor's trees predicted
    `data`, which those had not seen. A `retention` in [0, 1] makes it a fixed option
    to compare with: one belief, every block of which keeps that much, whatever the rows say.

    Raises:
        DataError: `retention` is out of range; see also `posterior.updated`.
    """
    if retention is not None and not 0 <= retention <= 1:
        raise DataError(f"retention is {retention}; wanted a share in [0, 1]")
    if predecessor is None:
        first = updated(prior(basis), data)
        beliefs = (first,) if retention is not None else (first, first)
        weights = np.full(len(beliefs), 1 / len(beliefs))
        trees_weight = SWITCH
    else:
        beliefs = predecessor.beliefs
        loss = np.array([_log_loss(belief, data) for belief in beliefs])
        weights = reweighted(predecessor.weights, loss)
        average = -float(logsumexp(-loss, b=predecessor.weights))
        trees_weight = _trees_weight(predecessor, average, data)
        beliefs = (
            _moved(beliefs, data) if retention is None else (_kept(beliefs[0], data, retention),)
        )
    counts = _shared_out(weights, draws)
    samples = [belief.samples(count, rng) for belief, count in zip(beliefs, counts, strict=True)]
    return Stabilised(
        beliefs=beliefs,
        weights=weights,
        draws=np.concatenate(samples),
        share=share,
        floor=floor,
        trees=trees,
        trees_weight=0.0 if trees is None else trees_weight,
    )


def _trees_weight(before: Stabilised, average: float, data: TrainingSet) -> float:
    """The trees' share after both predicted `data`; `average` is the loss of the two beliefs.

    SWITCH where the generation before had no trees.
    """
    if before.trees is None:
        return SWITCH
    shares = np.array([1 - before.trees_weight, before.trees_weight])
    loss = np.array([average, _trees_loss(before, before.trees, data)])
    return float(reweighted(shares, loss)[1])


def _trees_loss(before: Stabilised, trees: RegressionOracle, data: TrainingSet) -> float:
    """As `_log_loss`; no prediction counts as surer than CERTAIN allows."""
    rows = len(data.action)
    chosen = np.zeros((rows, len(before.beliefs[0].basis.flags)), dtype=np.bool_)
    chosen[np.arange(rows), data.action] = True
    p = np.clip(trees.predict(data.context, chosen)[chosen], CERTAIN, 1 - CERTAIN)
    return float(-(data.reward * np.log(p) + (1 - data.reward) * np.log1p(-p)).sum())


def _moved(beliefs: tuple[Posterior, ...], data: TrainingSet) -> tuple[Posterior, ...]:
    """Both beliefs after `data`: one and the same as long as nothing was ever seen to move."""
    long, short = beliefs
    forgetful = updated(short, data, drifting=True)
    if _agree(long, short) and (forgetful.retention == 1).all():
        return forgetful, forgetful
    return updated(long, data), forgetful


def _agree(first: Posterior, second: Posterior) -> bool:
    """Whether two beliefs are the same, also where they were read from files as two objects."""
    return first is second or (
        np.array_equal(first.mean, second.mean)
        and np.array_equal(first.precision, second.precision)
    )


def _kept(belief: Posterior, data: TrainingSet, retention: float) -> Posterior:
    blocks = int(belief.basis.blocks.max()) + 1
    return updated(relaxed(belief, np.full(blocks, retention)), data)


def reweighted(weights: FloatArray, loss: FloatArray, *, switch: float = SWITCH) -> FloatArray:
    """Weights of beliefs (m,) after they lost `loss` (m,) nats; fixed share. Sums to one."""
    with np.errstate(divide="ignore"):
        log = np.log(weights) - loss
    posterior = np.exp(log - logsumexp(log))
    return (1 - switch) * posterior + switch / len(weights)


def _log_loss(belief: Posterior, data: TrainingSet) -> float:
    """Of the predictions at the mean, in nats, summed over the rows."""
    every = next(logits(belief.basis, [belief.mean], belief.basis.places(data.context)))
    logit = every[data.action, np.arange(len(data.action))]
    return float((np.logaddexp(0, logit) - data.reward * logit).sum())


def _shared_out(weights: FloatArray, count: int) -> tuple[int, ...]:
    """`count` things by weight; what is left over goes to the largest remainders."""
    exact = weights * count
    whole = np.floor(exact).astype(int)
    order = np.argsort(-(exact - whole), kind="stable")
    whole[order[: count - whole.sum()]] += 1
    return tuple(whole.tolist())


def trainer(
    features: PairFeatures,
    *,
    share: float = SHARE,
    floor: float = FLOOR,
    retention: float | None = None,
    trees: LightGBMConfig | None = None,
) -> Trainer:
    """A learner for `generations.run`, of the newest rows and its last model.

    `trees`, where given, are trained on all rows that may be kept.
    """

    def generation(
        logs: Sequence[Logged], predecessors: Sequence[Model], rng: np.random.Generator
    ) -> Stabilised:
        newest = logs[-1]
        data = TrainingSet(context=newest.context, action=newest.action, reward=newest.reward)
        before = cast("Stabilised", predecessors[0]) if predecessors else None
        basis = before.beliefs[0].basis if before else features_basis(newest.context, features)
        kept = rng.spawn(1)[0]  # draws are the same with trees and without
        oracle = trees and fit_lightgbm(pooled(logs), kept, features=features, config=trees)
        return learned(
            basis, data, before, rng, share=share, floor=floor, retention=retention, trees=oracle
        )

    return generation


def features_basis(context: pl.DataFrame, features: PairFeatures) -> Basis:
    """The basis of a context with an oracle's features."""
    return basis_of(
        context,
        flags=features.flags,
        categorical=features.categorical,
        numeric=features.numeric,
    )
