"""Stabilised generations: weights by merit, exploration by ignorance, and a cure that holds."""

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from hashlib import sha256

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from decisions.bandits import serialisation
from decisions.bandits.arms import run_arm, square_cb
from decisions.bandits.classification import load
from decisions.bandits.generations import Logged, Model, World, run
from decisions.bandits.labelled_days import labelled_days
from decisions.bandits.oracles import LightGBMConfig, fit_lightgbm
from decisions.bandits.posterior import Basis, Posterior
from decisions.bandits.stabilised import (
    ACTING,
    FLOOR,
    SWITCH,
    Stabilised,
    features_basis,
    learned,
    reweighted,
    trainer,
)
from decisions.bandits.training_set import TrainingSet
from decisions.domains.payments.experiment import Days
from decisions.domains.payments.simulator import Environment
from decisions.policy import FloatArray, choose
from decisions.seeds import RowKeys, stream

KINDS = (Basis, Posterior, Stabilised)


@given(
    st.lists(st.floats(0.01, 0.99), min_size=5, max_size=5),
    st.lists(st.booleans(), min_size=5, max_size=5),
)
def test_the_average_is_nearly_as_good_as_the_best_belief(
    chances: list[float], results: list[bool]
) -> None:
    """Fixed share's bound without a switch: log 2 + G log(1 / (1 - SWITCH)) nats.

    A generation is one outcome here: the bound is on the chance of its rows taken together.
    """
    beliefs = np.array([chances, [0.5] * 5])
    weights, mixed = np.array([0.5, 0.5]), 0.0
    losses = np.zeros(2)
    for generation, result in enumerate(results):
        chance = beliefs[:, generation]
        loss = -np.log(chance if result else 1 - chance)
        mixed += -np.log(weights @ np.exp(-loss))
        losses += loss
        weights = reweighted(weights, loss)
    assert weights.sum() == pytest.approx(1)
    assert mixed <= losses.min() + np.log(2) + 5 * np.log(1 / (1 - SWITCH)) + 1e-9


def test_no_belief_is_ever_given_up() -> None:
    assert reweighted(np.array([0.5, 0.5]), np.array([0.0, 1e9])).min() == SWITCH / 2


@pytest.fixture(scope="module")
def world() -> World:
    return Days(Environment(seed=31), rows=2_000)


@pytest.fixture(scope="module")
def policy(world: World) -> Stabilised:
    day = world.day(0)
    action = choose(day.uniform, day.draws[:, 0])
    data = TrainingSet(context=day.context, action=action, reward=day.reward(action))
    return learned(features_basis(day.context, world.features), data, None, stream(1, "test"))


def test_probabilities_are_exact_and_support_every_eligible_action(
    world: World, policy: Stabilised
) -> None:
    day = world.day(1)
    p = policy.probabilities(day.context, day.eligible)
    count = day.eligible.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-12)
    assert (p[~day.eligible] == 0).all()
    assert (p[day.eligible] >= np.broadcast_to(FLOOR / count, p.shape)[day.eligible] - 1e-15).all()
    drawn = policy.act(day.context, day.eligible, RowKeys(1, np.arange(len(p))))
    action = drawn.action[:, 0].astype(np.int64)
    assert (drawn.propensity == p[np.arange(len(p)), action]).all()


def test_a_row_is_decided_alike_alone_and_in_a_batch(world: World, policy: Stabilised) -> None:
    day = world.day(1)
    whole = policy.probabilities(day.context, day.eligible)
    alone = policy.probabilities(day.context[17:18], day.eligible[17:18])
    assert (whole[17:18] == alone).all()


def test_what_is_written_is_read_back_bit_for_bit(world: World, policy: Stabilised) -> None:
    """Also once generations have passed, when weights are no longer exactly one half each."""
    for number in (1, 2):
        day = world.day(number)
        seen = policy.assess(day.context, day.eligible)
        data = TrainingSet(
            context=day.context, action=seen.nominal, reward=day.reward(seen.nominal)
        )
        policy = learned(policy.beliefs[0].basis, data, policy, stream(number, "test"))
    again = serialisation.load(serialisation.dump(policy, kinds=KINDS), kinds=KINDS)
    assert again.beliefs[0] is not again.beliefs[1]
    day = world.day(3)
    first, second = (each.assess(day.context, day.eligible) for each in (policy, again))
    np.testing.assert_array_equal(first.probabilities, second.probabilities)
    np.testing.assert_array_equal(first.scores, second.scores)
    more = TrainingSet(context=day.context, action=first.nominal, reward=day.reward(first.nominal))
    carried = [
        learned(each.beliefs[0].basis, more, each, stream(2, "test")) for each in (policy, again)
    ]
    for one, other in zip(carried[0].beliefs, carried[1].beliefs, strict=True):
        np.testing.assert_array_equal(one.mean, other.mean)


def test_exploration_shrinks_as_evidence_grows(world: World) -> None:
    """The draws agree more and more on which action is best."""
    learner = trainer(world.features, share=1.0, floor=0.0)
    models: list[Model] = []

    def kept(
        logs: Sequence[Logged], predecessors: Sequence[Model], rng: np.random.Generator
    ) -> Model:
        models.append(learner(logs, predecessors, rng))
        return models[-1]

    list(run(world, kept, generations=3, seed=1, detail=False))
    day = world.day(50)
    first, last = (
        model.probabilities(day.context, day.eligible).max(axis=1).mean()
        for model in (models[0], models[-1])
    )
    assert first < last


def _regret(world: World, seed: int, *, ours: bool) -> FloatArray:
    ways = {
        True: partial(run, world, trainer(world.features)),
        False: partial(run_arm, world, square_cb(1000.0)),
    }
    records = ways[ours](generations=4, seed=seed, retention=1, detail=False)
    return np.array([record.value_best - record.value for record in records])


def test_with_one_generations_rows_it_loses_less_than_half_of_the_untreated_policy() -> None:
    """Once some generations were learned from; `decisions study stabilised` holds the bar."""
    world = Days(Environment(seed=32), rows=4_000)
    ours, untreated = (_regret(world, 1, ours=each)[-3:].mean() for each in (True, False))
    assert ours < 0.5 * untreated


def test_the_same_seed_gives_the_same_bits() -> None:
    first, second = (_regret(Days(Environment(seed=33), rows=800), 5, ours=True) for _ in range(2))
    assert (first == second).all()


TREES = LightGBMConfig(trees=100, leaves=15, learning_rate=0.2)


def _generations(world: World, trees: LightGBMConfig | None, count: int) -> list[Stabilised]:
    """What is deployed, generation by generation."""
    learner, policies = trainer(world.features, trees=trees), list[Stabilised]()

    def kept(
        logs: Sequence[Logged], predecessors: Sequence[Model], rng: np.random.Generator
    ) -> Model:
        policy = learner(logs, predecessors, rng)
        assert isinstance(policy, Stabilised)
        policies.append(policy)
        return policy

    list(run(world, kept, generations=count, seed=1, detail=False))
    return policies


def test_trees_that_predict_worse_change_no_bit_of_what_is_done(world: World) -> None:
    day = world.day(50)

    without, beside = (_generations(world, trees, 2)[-1] for trees in (None, TREES))

    assert beside.trees is not None
    assert beside.trees_weight < ACTING
    np.testing.assert_array_equal(
        beside.probabilities(day.context, day.eligible),
        without.probabilities(day.context, day.eligible),
    )


def test_trees_act_where_success_is_no_sum_of_pairs() -> None:
    """Digits: which label is right depends on many pixels at once."""
    digits = labelled_days(load("digits"), seed=1, rows=1_200, labels=6)
    day = digits.day(50)

    last = _generations(digits, TREES, 4)[-1]

    assert last.trees is not None
    assert last.trees_weight > 0.9
    scores = last.scores(day.context, day.eligible)
    by_trees = last.trees.predict(day.context, day.eligible)
    alone = replace(last, trees=None).scores(day.context, day.eligible)
    np.testing.assert_allclose(
        scores, last.trees_weight * by_trees + (1 - last.trees_weight) * alone, atol=1e-12
    )
    p = last.probabilities(day.context, day.eligible)
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-12)
    assert (p[day.eligible] > 0).all()


def test_trees_are_written_and_read_back_bit_for_bit(world: World, policy: Stabilised) -> None:
    day = world.day(1)
    data = TrainingSet(
        context=day.context,
        action=day.uniform.argmax(axis=1),
        reward=day.reward(day.uniform.argmax(axis=1)),
    )
    fitted = fit_lightgbm(
        data,
        stream(1, "trees"),
        features=world.features,
        config=TREES,
    )
    heard = replace(policy, trees=fitted, trees_weight=0.5)

    again = serialisation.load(serialisation.dump(heard, kinds=KINDS), kinds=KINDS)

    np.testing.assert_array_equal(
        heard.assess(day.context, day.eligible).probabilities,
        again.assess(day.context, day.eligible).probabilities,
    )


def test_an_artefact_of_before_there_were_trees_still_loads(policy: Stabilised) -> None:
    files = serialisation.dump(policy, kinds=KINDS)
    content = json.loads(files[serialisation.MAIN])
    del content["policy"]["trees"], content["policy"]["trees_weight"], content["digest"]
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    content["digest"] = sha256(text.encode()).hexdigest()
    older = files | {serialisation.MAIN: json.dumps(content).encode()}

    again = serialisation.load(older, kinds=KINDS)

    assert again.trees is None
    np.testing.assert_array_equal(again.draws, policy.draws)
