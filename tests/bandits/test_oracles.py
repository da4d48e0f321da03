"""What every oracle promises, and what each is for."""

import subprocess
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier

from decisions.bandits.exploration import best_action
from decisions.bandits.histogram import fit_histogram
from decisions.bandits.linear import fit_logistic, fit_ridge, no_rows, scaling_of
from decisions.bandits.oracles import (
    ConstantOracle,
    Ensemble,
    Fit,
    LightGBMConfig,
    LightGBMOracle,
    cross_fitted_predictions,
    fit_bootstrap,
    fit_lightgbm,
    time_blocks,
)
from decisions.bandits.training_set import (
    TrainingSet,
    chosen_pairs,
    importance_weights,
    pair_features,
    undo_class_weights,
)
from decisions.errors import DataError
from decisions.policy import FloatArray, pick
from tests.bandits.logs import FLAGS, Logs, uniform_logs

SQUARED = LightGBMConfig(loss="squared")
FITS: dict[str, Callable[..., object]] = {
    "LightGBM": fit_lightgbm,
    "LightGBM squared": partial(fit_lightgbm, config=SQUARED),
    "histogram": fit_histogram,
    "histogram squared": partial(fit_histogram, config=SQUARED),
    "logistic": fit_logistic,
    "ridge": fit_ridge,
}


@pytest.fixture(scope="module")
def logs() -> Logs:
    return uniform_logs()


def fit_of(name: str, logs: Logs) -> Fit:
    return partial(FITS[name], features=logs.features)  # type: ignore[return-value]


@pytest.mark.parametrize("name", FITS)
def test_the_greedy_action_of_every_oracle_beats_doing_nothing(name: str, logs: Logs) -> None:
    oracle = fit_of(name, logs)(logs.data, np.random.default_rng(1))

    scores = oracle.predict(logs.data.context, logs.eligible)

    assert ((scores >= 0) & (scores <= 1)).all()
    assert (scores[~logs.eligible] == 0).all()
    value = pick(logs.success, best_action(scores, logs.eligible)).mean()
    assert value > logs.success[:, 0].mean() + 0.03


@pytest.mark.parametrize("name", FITS)
def test_pieces_of_a_batch_get_the_bits_of_the_whole(name: str, logs: Logs) -> None:
    oracle = fit_of(name, logs)(logs.data, np.random.default_rng(1))
    context, eligible = logs.data.context, logs.eligible

    parts = [oracle.predict(context[a:b], eligible[a:b]) for a, b in ((0, 1), (1, 8), (8, 4000))]

    np.testing.assert_array_equal(np.concatenate(parts), oracle.predict(context, eligible))


@pytest.mark.parametrize("name", FITS)
def test_the_same_seed_gives_the_same_bits(name: str, logs: Logs) -> None:
    first, second = (fit_of(name, logs)(logs.data, np.random.default_rng(5)) for _ in range(2))

    np.testing.assert_array_equal(
        first.predict(logs.data.context, logs.eligible),
        second.predict(logs.data.context, logs.eligible),
    )


def test_the_number_of_threads_changes_no_bit() -> None:
    code = (
        "import numpy as np, hashlib; from functools import partial\n"
        "from tests.bandits.logs import uniform_logs\n"
        "from tests.bandits.test_oracles import FITS\n"
        "logs = uniform_logs(1500); digest = hashlib.sha256()\n"
        "for fit in FITS.values():\n"
        "    oracle = fit(logs.data, np.random.default_rng(5), features=logs.features)\n"
        "    digest.update(oracle.predict(logs.data.context, logs.eligible).tobytes())\n"
        "print(digest.hexdigest())"
    )

    seen = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={"OMP_NUM_THREADS": n, "OPENBLAS_NUM_THREADS": n, "PYTHONPATH": "."},
        ).stdout
        for n in ("1", "3")
    }

    assert len(seen) == 1


@pytest.mark.parametrize("name", FITS)
@pytest.mark.parametrize("authorised", [0.0, 1.0])
def test_a_window_of_one_class_gives_a_constant_and_the_reason(
    name: str, authorised: float, logs: Logs
) -> None:
    reward = np.full(len(logs.data.reward), authorised)
    data = TrainingSet(context=logs.data.context, action=logs.data.action, reward=reward)

    oracle = fit_of(name, logs)(data, np.random.default_rng(0))

    assert isinstance(oracle, ConstantOracle)
    assert f"all 4000 rewards of the window are {authorised:g}" in oracle.reason
    assert oracle.value == (4000 * authorised + 0.5) / 4001
    scores = oracle.predict(logs.data.context, logs.eligible)
    assert (scores[logs.eligible] == oracle.value).all()


def test_an_empty_window_gives_a_constant_and_the_reason(logs: Logs) -> None:
    oracle = fit_lightgbm(
        logs.data.take(np.zeros(0, dtype=np.int64)),
        np.random.default_rng(0),
        features=logs.features,
    )

    assert oracle == ConstantOracle(value=0.5, reason="the window has no reward")


def test_our_evaluation_of_histogram_trees_is_scikit_learns(logs: Logs) -> None:
    oracle = fit_histogram(logs.data, np.random.default_rng(3), features=logs.features)
    parameters: dict[str, Any] = {
        "max_iter": 50,
        "learning_rate": 0.12,
        "max_leaf_nodes": 15,
        "max_features": 0.9,
        "categorical_features": [0],
        "early_stopping": False,
        "random_state": int(np.random.default_rng(3).integers(1 << 31)),
    }
    model = HistGradientBoostingClassifier(**parameters).fit(
        chosen_pairs(logs.data, logs.features), logs.data.reward
    )

    chosen = np.zeros(logs.eligible.shape, dtype=bool)
    chosen[np.arange(len(chosen)), logs.data.action] = True
    ours = oracle.predict(logs.data.context, chosen)[chosen]

    theirs = model.predict_proba(chosen_pairs(logs.data, logs.features))[:, 1]
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_ridge_statistics_may_be_added_in_pieces(logs: Logs) -> None:
    empty = no_rows(logs.features, scaling_of(logs.data.context, logs.features))
    whole = empty.add(logs.data)
    halves = empty.add(logs.data.take(np.arange(1500))).add(logs.data.take(np.arange(1500, 4000)))

    assert halves.rows == whole.rows == 4000
    np.testing.assert_allclose(
        halves.solve().predict(logs.data.context, logs.eligible),
        whole.solve().predict(logs.data.context, logs.eligible),
        atol=1e-9,
    )


def test_ridge_solves_the_normal_equations(logs: Logs) -> None:
    scaling = scaling_of(logs.data.context, logs.features)
    statistics = no_rows(logs.features, scaling).add(logs.data)
    basis = scaling.basis(logs.data.context, logs.features).toarray()
    code = np.column_stack([np.ones(4000), FLAGS[logs.data.action]])
    design = (basis[:, :, None] * code[:, None, :]).reshape(4000, -1)

    np.testing.assert_allclose(statistics.gram, design.T @ design, atol=1e-8)
    np.testing.assert_allclose(statistics.moment, design.T @ logs.data.reward, atol=1e-8)


def test_class_weights_are_undone_in_odds(logs: Logs) -> None:
    """Doubling the negatives halves the fitted odds; the prediction must not move."""
    fitted = np.array([0.5, 0.9])  # odds 1 and 9, true odds twice that with w_neg / w_pos = 2

    np.testing.assert_allclose(
        undo_class_weights(fitted, positive=1, negative=2), [2 / 3, 18 / 19], rtol=1e-12
    )
    plain = fit_logistic(logs.data, np.random.default_rng(0), features=logs.features)
    weighted = fit_logistic(
        logs.data, np.random.default_rng(0), features=logs.features, negative=3.0
    )
    gap = (
        weighted.predict(logs.data.context, logs.eligible)
        - plain.predict(logs.data.context, logs.eligible)
    )[logs.eligible]
    assert abs(gap.mean()) < 0.01


def test_trees_grown_on_a_predecessor_keep_what_it_knew(logs: Logs) -> None:
    first = fit_lightgbm(logs.data, np.random.default_rng(0), features=logs.features)
    assert isinstance(first, LightGBMOracle)
    little = logs.data.take(np.arange(200))

    grown = fit_lightgbm(
        little, np.random.default_rng(1), features=logs.features, predecessor=first
    )
    alone = fit_lightgbm(little, np.random.default_rng(1), features=logs.features)

    def error(oracle: object) -> float:
        scores = oracle.predict(logs.data.context, logs.eligible)  # type: ignore[attr-defined]
        return float(((scores - logs.success)[logs.eligible] ** 2).mean())

    assert error(grown) < error(alone)


def test_a_window_of_one_class_forgets_no_predecessor(logs: Logs) -> None:
    first = fit_lightgbm(logs.data, np.random.default_rng(0), features=logs.features)
    assert isinstance(first, LightGBMOracle)
    successes = logs.data.take(np.flatnonzero(logs.data.reward == 1))

    for window in (successes, logs.data.take(np.arange(0))):
        kept = fit_lightgbm(
            window, np.random.default_rng(1), features=logs.features, predecessor=first
        )
        assert kept is first


def test_an_ensemble_predicts_its_members_mean(logs: Logs) -> None:
    pair = Ensemble(
        members=(ConstantOracle(value=0.2, reason=""), ConstantOracle(value=0.6, reason=""))
    )

    scores = pair.predict(logs.data.context, logs.eligible)

    np.testing.assert_allclose(scores[logs.eligible], 0.4)
    assert pair.predict_each(logs.data.context, logs.eligible).shape == (2, 4000, 8)


def test_bootstrap_models_differ_and_repeat(logs: Logs) -> None:
    fit = fit_of("ridge", logs)

    first, second = (
        fit_bootstrap(fit, logs.data, np.random.default_rng(4), models=3).predict_each(
            logs.data.context, logs.eligible
        )
        for _ in range(2)
    )

    np.testing.assert_array_equal(first, second)
    assert (first.std(axis=0)[logs.eligible] > 0).mean() > 0.9


def test_time_blocks_are_consecutive_and_never_part_equal_times() -> None:
    time = np.repeat(np.arange(30), 7)[np.random.default_rng(0).permutation(210)]

    blocks = time_blocks(time, 3)

    for block in range(3):
        held = time[blocks == block]
        assert len(held) == 70
        assert set(held.tolist()) == set(range(held.min(), held.max() + 1))


def test_cross_fitting_takes_rows_without_a_cluster_for_one(logs: Logs) -> None:
    n = len(logs.data.reward)
    named = np.array([None if i % 3 == 0 else f"card {i}" for i in range(n)], dtype=object)
    sizes: list[int] = []

    def fit(data: TrainingSet, rng: np.random.Generator) -> ConstantOracle:
        del rng
        sizes.append(len(data.reward))
        return ConstantOracle(value=0.5, reason="test")

    def fitted(cluster: np.ndarray) -> np.ndarray:
        return cross_fitted_predictions(
            fit,
            logs.data,
            logs.eligible,
            np.random.default_rng(0),
            time=np.arange(n),
            cluster=cluster,
        )

    fitted(named)

    blocks = time_blocks(np.arange(n), 3)
    labelled = np.arange(n) % 3 > 0
    assert sizes == [int((labelled & (blocks != fold)).sum()) for fold in range(3)]
    with pytest.raises(DataError, match="cluster has shape"):
        fitted(named[1:])


def test_cross_fitting_predicts_with_models_that_have_not_seen_the_row(logs: Logs) -> None:
    """Each fold's model is a constant: the mean reward of what it was given."""
    seen: list[TrainingSet] = []

    def mean_of(data: TrainingSet, rng: np.random.Generator) -> ConstantOracle:
        del rng
        seen.append(data)
        return ConstantOracle(value=float(data.reward.mean()), reason="")

    time, card = np.arange(4000), logs.data.context["card"].to_numpy()
    scores = cross_fitted_predictions(
        mean_of,
        logs.data,
        logs.eligible,
        np.random.default_rng(0),
        time=time,
        folds=4,
        cluster=card,
    )

    for fold, data in enumerate(seen):
        held = slice(1000 * fold, 1000 * fold + 1000)
        assert not set(data.context["card"].to_list()) & set(card[held].tolist())
        assert (scores[held][logs.eligible[held]] == data.reward.mean()).all()


def test_importance_weights_have_mean_one_and_a_floor() -> None:
    weight = importance_weights(np.array([0.5, 0.25, 0.001]), floor=0.125)

    np.testing.assert_allclose(weight / weight[0], [1, 2, 4])
    assert weight.mean() == pytest.approx(1)


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (None, "no column 'amount'"),
        (pl.col("issuer").cast(pl.Float64), "'issuer' is Float64"),
        (pl.lit(float("inf")).alias("amount"), "'amount' is infinite in row 0"),
    ],
)
def test_a_drifted_context_is_named(column: pl.Expr | None, message: str, logs: Logs) -> None:
    oracle = fit_ridge(logs.data, np.random.default_rng(0), features=logs.features)
    context = logs.data.context
    drifted = context.drop("amount") if column is None else context.with_columns(column)

    with pytest.raises(DataError, match=message):
        oracle.predict(drifted, logs.eligible)


def test_a_missing_number_is_a_trees_business_and_a_linear_models_error(logs: Logs) -> None:
    context = logs.data.context.with_columns(amount=pl.lit(None, pl.Float64))
    trees = fit_lightgbm(logs.data, np.random.default_rng(0), features=logs.features)
    ridge = fit_ridge(logs.data, np.random.default_rng(0), features=logs.features)

    assert np.isfinite(trees.predict(context, logs.eligible)).all()
    with pytest.raises(DataError, match="'amount' is missing in row 0"):
        ridge.predict(context, logs.eligible)


def test_categories_never_seen_get_a_prediction(logs: Logs) -> None:
    context = logs.data.context.with_columns(issuer=pl.lit(500, pl.Int64))

    for name in FITS:
        oracle = fit_of(name, logs)(logs.data, np.random.default_rng(0))
        scores: FloatArray = oracle.predict(context, logs.eligible)
        assert np.isfinite(scores).all()


@pytest.mark.parametrize(("reward", "action"), [(0.5, 1), (float("nan"), 1), (1.0, 8)])
def test_rewards_and_actions_out_of_range_are_refused(
    reward: float, action: int, logs: Logs
) -> None:
    data = TrainingSet(
        context=logs.data.context[:2],
        action=np.array([0, action]),
        reward=np.array([0.0, reward]),
    )

    with pytest.raises(DataError, match="row 1"):
        fit_lightgbm(data, np.random.default_rng(0), features=logs.features)


def test_a_categorical_column_must_hold_integers(logs: Logs) -> None:
    with pytest.raises(DataError, match="'amount' is Float64, wanted integer codes"):
        pair_features(logs.data.context, flags=FLAGS, categorical=("amount",))


@pytest.mark.parametrize("rows", [2, 12, 25])
def test_too_few_rows_for_a_tree_give_a_constant_that_says_so(rows: int) -> None:
    logs = uniform_logs(3_000)
    first, other = (np.flatnonzero(logs.data.reward == kind)[0] for kind in (0.0, 1.0))
    some = np.unique(np.r_[first, other, np.arange(rows)])[:rows]
    some[:2] = np.sort([first, other])
    data = logs.data.take(some)

    oracle = fit_lightgbm(data, np.random.default_rng(0), features=logs.features)

    assert isinstance(oracle, ConstantOracle)
    assert oracle.reason.startswith(f"{rows} rows are too few")
    assert 0 < oracle.value < 1
