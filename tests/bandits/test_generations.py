"""The generation loop, with small worlds whose right answer is known."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl
import pytest

from decisions.bandits import exploration
from decisions.bandits.arms import Arm, records, run_arm, square_cb
from decisions.bandits.classification import Labelled
from decisions.bandits.generations import (
    Day,
    Logged,
    MadeDays,
    Model,
    Record,
    chances,
    pooled,
    row_keys,
    run,
)
from decisions.bandits.labelled_days import labelled_days
from decisions.bandits.oracles import LightGBMConfig
from decisions.bandits.training_set import pair_features
from decisions.errors import DataError
from decisions.policy import BoolArray, FloatArray

SMALL = LightGBMConfig(trees=5, leaves=4)
RATES = np.array([0.2, 0.5, 0.8])


def coins(rows: int = 300, seed: int = 1) -> MadeDays:
    """Three coins with known rates; the third is missing for every second unit."""

    def make(number: int, rows: int) -> Day:
        eligible = np.ones((rows, 3), dtype=np.bool_)
        eligible[::2, 2] = False
        return Day(
            context=pl.DataFrame({"number": np.full(rows, float(number)), "row": np.arange(rows)}),
            eligible=eligible,
            success=np.tile(RATES, (rows, 1)),
            control=float(RATES[0]),
            **chances(row_keys(seed, number, rows)),
        )

    features = pair_features(make(0, 1).context, flags=np.eye(3))
    return MadeDays(make=make, features=features, rows=rows, reference_rows=50)


@dataclass(frozen=True)
class Counted:
    """A model that knows the mean reward of each action, and acts on the best."""

    rates: FloatArray

    def scores(self, context: pl.DataFrame, eligible: BoolArray) -> FloatArray:
        return np.where(eligible, self.rates, 0.0)

    def probabilities(self, context: pl.DataFrame, eligible: BoolArray) -> FloatArray:
        greedy = exploration.greedy(self.scores(context, eligible), eligible)
        return exploration.with_floor(greedy, eligible, floor=0.3)


@dataclass
class Counter:
    """A learner that counts, and remembers what it was given."""

    seen: list[tuple[list[int], int]] = field(default_factory=list[tuple[list[int], int]])
    logs: list[Logged] = field(default_factory=list[Logged])

    def __call__(
        self, logs: Sequence[Logged], predecessors: Sequence[Model], rng: np.random.Generator
    ) -> Counted:
        self.seen.append(([logged.generation for logged in logs], len(predecessors)))
        self.logs = list(logs)
        data = pooled(logs)
        wins = np.bincount(data.action, data.reward, minlength=3)
        return Counted(wins / np.maximum(np.bincount(data.action, minlength=3), 1))


@pytest.mark.parametrize(("retention", "oldest"), [(1, 3), (2, 2), (None, 0)])
def test_a_learner_gets_the_rows_that_may_be_kept_and_all_its_models(
    retention: int | None, oldest: int
) -> None:
    learner = Counter()

    list(run(coins(), learner, generations=3, seed=1, retention=retention))

    assert learner.seen[-1] == (list(range(oldest, 4)), 3)
    assert learner.seen[0] == ([0], 0)


def test_rows_of_no_generation_cannot_be_asked_for() -> None:
    with pytest.raises(DataError, match="0 generations"):
        next(run(coins(), Counter(), generations=1, seed=1, retention=0))


def test_the_value_of_a_learner_is_exact_and_its_log_is_what_it_did() -> None:
    learner = Counter()

    last = list(run(coins(rows=3000), learner, generations=2, seed=1))[-1]

    explored = 0.7 * (0.8 + 0.5) / 2 + 0.3 * (RATES.mean() + RATES[:2].mean()) / 2
    assert last.value == pytest.approx(explored, abs=1e-12)
    assert last.value_best == pytest.approx(0.65) == last.value_greedy
    assert last.value_control == pytest.approx(0.2)
    logged = learner.logs[-1]
    assert set(np.unique(logged.propensity).round(9)) == {0.1, 0.15, 0.8, 0.85}
    assert logged.eligible[np.arange(3000), logged.action].all()
    rates = [logged.reward[logged.action == a].mean() for a in range(3)]
    np.testing.assert_allclose(rates, RATES, atol=4 * 0.5 / np.sqrt(150))


def test_generation_zero_is_uniform_whoever_learns() -> None:
    first = Counter()

    list(run(coins(rows=3000), first, generations=0, seed=5))

    assert set(first.logs[0].propensity.round(9)) == {round(1 / 3, 9), 0.5}


def test_late_outcomes_reach_the_learner_once_they_are_known() -> None:
    def two_generations(rewards: FloatArray, uniforms: FloatArray) -> FloatArray:
        return np.where(uniforms[:, 0] < 0.5, 1.0, 0.0)

    learner = Counter()
    list(run(coins(), learner, generations=1, seed=1, late=two_generations))

    older, newer = learner.logs
    assert older.unresolved_share == 0
    assert len(older.reward) == 300
    assert 0.35 < newer.unresolved_share < 0.65
    assert len(newer.reward) == round(300 * (1 - newer.unresolved_share))


def test_leaving_out_detail_changes_no_other_figure() -> None:
    full = records(coins(), square_cb(30.0), generations=3, seed=1)
    brief = records(coins(), square_cb(30.0), generations=3, seed=1, detail=False)

    kept = ("value", "value_best", "value_control", "negatives_share", "churn")
    assert repr([[r[name] for name in kept] for r in full]) == repr(
        [[r[name] for name in kept] for r in brief]
    )
    assert all(np.isnan(record["auc_own"]) for record in brief)


@pytest.mark.parametrize("retention", [1, 2, None])
def test_a_window_is_cut_to_the_retention(retention: int | None) -> None:
    def shares(window: int | None, retention: int | None) -> list[float]:
        arm = Arm(name="a", parameter=30.0, window=window, oracle=SMALL)
        runs = run_arm(coins(), arm, generations=3, seed=1, retention=retention, detail=False)
        return [record.value for record in runs]

    assert shares(None, retention) == shares(retention, None)


@pytest.mark.parametrize(
    "arm",
    [
        Arm(name="a", parameter=30.0, average=2, oracle=SMALL),
        Arm(name="a", rule="fastcb", parameter=30.0, continued=True, oracle=SMALL),
        Arm(name="a", rule="bagging", parameter=3.0, floor=0.1, mix=0.5, oracle=SMALL),
    ],
    ids=lambda arm: arm.rule,
)
def test_an_arm_gives_the_same_bits_in_every_order(arm: Arm) -> None:
    world = coins()
    world.day(3)

    def values(world: MadeDays) -> list[Record]:
        return list(run_arm(world, arm, generations=2, seed=4))

    list(run_arm(world, square_cb(10.0), generations=1, seed=9))
    assert repr(values(world)) == repr(values(coins()))


def test_labels_are_eligible_evenly_and_their_rows_do_not_depend_on_the_batch() -> None:
    data = Labelled(np.arange(40.0).reshape(20, 2), np.arange(20) % 5, 5)
    world = labelled_days(data, seed=3, rows=4000, labels=3)

    day, piece = world.day(2), labelled_days(data, seed=3, rows=50, labels=3).day(2)

    assert (day.eligible.sum(axis=1) == 3).all()
    assert (day.success.sum(axis=1) == 1).all()
    assert abs(day.best - 0.6) < 4 * np.sqrt(0.24 / 4000)
    assert abs(day.control - 0.2) < 4 * np.sqrt(0.24 / 4000) / 3
    assert day.context[:50].equals(piece.context)
    assert (day.eligible[:50] == piece.eligible).all()
    assert (day.outcome[:50] == piece.outcome).all()
