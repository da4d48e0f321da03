"""The kept posterior: what it learns, carries over and forgets."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from scipy.special import expit

from decisions.bandits import posterior as module
from decisions.bandits.posterior import (
    Posterior,
    basis_of,
    logits,
    prior,
    relaxed,
    updated,
    widened,
)
from decisions.bandits.training_set import TrainingSet
from decisions.errors import DataError
from decisions.policy import FloatArray
from decisions.seeds import stream

FLAGS = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
SHOPS = tuple(f"s{i}" for i in range(12))


def rows(n: int, seed: int, *, effect: FloatArray | None = None) -> TrainingSet:
    """`n` uniformly tried actions; a shop answers to the first flag by its own `effect`."""
    rng = stream(seed, "test", "posterior")
    shop = rng.integers(len(SHOPS), size=n)
    size = rng.normal(size=n)
    action = rng.integers(4, size=n)
    own = truth(0) if effect is None else effect
    logit = 0.3 - 0.4 * size + own[shop] * FLAGS[action, 0]
    return TrainingSet(
        context=pl.DataFrame({"shop": np.array(SHOPS)[shop], "size": size}),
        action=action,
        reward=(rng.random(n) < expit(logit)).astype(np.float64),
    )


def truth(seed: int) -> FloatArray:
    return stream(seed, "test", "truth").normal(size=len(SHOPS))


def begun(data: TrainingSet) -> Posterior:
    return prior(basis_of(data.context, flags=FLAGS, categorical=("shop",), numeric=("size",)))


def mean_logits(state: Posterior, context: pl.DataFrame) -> FloatArray:
    return next(logits(state.basis, [state.mean], state.basis.places(context))).T


def test_the_sparse_design_is_the_dense_one() -> None:
    """Logits, gradient and information against the products written out."""
    data = rows(200, 1)
    state = begun(data)
    design = module._rows(state.basis, data)  # pyright: ignore[reportPrivateUsage]
    index, value = state.basis.places(data.context)
    context = np.zeros((200, len(state.basis.sources) + 1))
    np.add.at(context, (np.arange(200)[:, None], index), value)
    effects, pairs = state.basis.effects[data.action], state.basis.pairs[data.action]
    dense = (context[:, :-1, None] * effects[:, None, :]).reshape(200, -1)
    dense = np.column_stack([dense, pairs])
    mean = stream(2, "test").normal(size=dense.shape[1])
    weight = stream(3, "test").random(200)
    np.testing.assert_allclose(design.logit(mean), dense @ mean, atol=1e-10)
    np.testing.assert_allclose(design.gradient(weight), dense.T @ weight, atol=1e-10)
    wanted = dense.T @ (weight[:, None] * dense)
    np.testing.assert_allclose(design.information(weight), wanted, atol=1e-10)
    every = next(logits(state.basis, [mean], (index, value))).T
    np.testing.assert_allclose(every[np.arange(200), data.action], dense @ mean, atol=1e-10)


def test_two_halves_teach_what_the_whole_teaches() -> None:
    """Laplace's approximation in two steps or one: within a tenth of a posterior deviation."""
    data = rows(8_000, 4)
    half = np.arange(4_000)
    start = updated(begun(data), data.take(half))
    fixed = replace(prior(start.basis), variance=start.variance)
    fixed = replace(fixed, precision=np.diag(1 / start.variance), rows=1)
    once = updated(fixed, data)
    twice = updated(updated(fixed, data.take(half)), data.take(half + 4_000))
    deviation = np.sqrt(np.diag(np.linalg.inv(once.precision)))
    assert np.abs((once.mean - twice.mean) / deviation).max() < 0.1


def test_a_row_does_not_depend_on_its_batch() -> None:
    data = rows(500, 5)
    state = updated(begun(data), data)
    whole = mean_logits(state, data.context)
    parts = np.concatenate([mean_logits(state, data.context[i : i + 7]) for i in range(0, 500, 7)])
    assert (whole == parts).all()


def test_retention_one_keeps_everything_and_zero_returns_to_the_prior() -> None:
    data = rows(2_000, 6)
    state = updated(begun(data), data)
    blocks = len(state.retention)
    kept = relaxed(state, np.ones(blocks))
    np.testing.assert_allclose(kept.precision, state.precision, rtol=1e-6, atol=1e-6)
    gone = relaxed(state, np.zeros(blocks))
    assert (gone.mean == 0).all()
    np.testing.assert_allclose(gone.precision, np.diag(1 / state.variance), atol=1e-8)


def test_forgetting_never_makes_a_block_less_certain_than_its_prior() -> None:
    data = rows(2_000, 7)
    state = updated(begun(data), data)
    for kept in (0.9, 0.5, 0.1):
        moved = relaxed(state, np.full(len(state.retention), kept))
        variance = np.diag(np.linalg.inv(moved.precision))
        assert (variance <= np.maximum(state.variance, 1 / np.diag(state.precision)) + 1e-9).all()


def test_what_moved_is_found_and_forgotten_and_what_stayed_is_kept() -> None:
    """The shops' answer to the first flag is drawn anew; nothing else changes."""
    state = updated(begun(rows(1, 8)), rows(1, 8))
    state = updated(begun(rows(6_000, 8)), rows(6_000, 8))
    still = updated(state, rows(6_000, 9), drifting=True)
    assert (still.retention == 1).all()
    other = truth(99)
    moved = updated(still, rows(6_000, 10, effect=other), drifting=True)
    blocks = moved.basis.blocks
    width = FLAGS.shape[1] + 1
    shops = np.flatnonzero(moved.basis.sources == 1)
    answered = blocks[shops[0] * width + 1]
    assert moved.retention[answered] < 0.5
    assert moved.retention[blocks[0]] == 1
    stubborn = updated(still, rows(6_000, 10, effect=other))
    slopes = [each.mean[shops * width + 1] for each in (moved, stubborn)]
    names = moved.basis.levels[0]
    wanted = np.array([other[SHOPS.index(name)] for name in names])
    errors = [
        float(np.abs(slope - slope.mean() - wanted + wanted.mean()).mean()) for slope in slopes
    ]
    assert errors[0] < 0.6 * errors[1]


def test_new_levels_come_in_with_the_prior_of_their_block() -> None:
    data = rows(3_000, 11)
    state = updated(begun(data), data)
    newcomer = pl.DataFrame({"shop": ["new", "s0"], "size": [0.0, 1.0]})
    wide = widened(state, newcomer)
    assert "new" in wide.basis.levels[0]
    assert (mean_logits(wide, data.context) == mean_logits(state, data.context)).all()
    at = (1 + wide.basis.levels[0].index("new")) * (FLAGS.shape[1] + 1)
    assert wide.precision[at, at] == pytest.approx(1 / wide.variance[at])
    assert widened(wide, newcomer) is wide


def test_samples_have_the_posteriors_mean_and_covariance() -> None:
    data = rows(3_000, 12)
    state = updated(begun(data), data)
    draws = state.samples(20_000, stream(1, "test"))
    deviation = np.sqrt(np.diag(np.linalg.inv(state.precision)))
    assert np.abs((draws.mean(axis=0) - state.mean) / deviation).max() < 4.5 / 20_000**0.5
    assert np.abs(draws.std(axis=0) / deviation - 1).max() < 4.5 / (2 * 20_000) ** 0.5


def test_the_cost_is_bounded_whatever_the_context() -> None:
    many = pl.DataFrame({"shop": [f"s{i}" for i in range(5_000)], "size": np.arange(5_000.0)})
    basis = basis_of(many, flags=FLAGS, categorical=("shop",), numeric=("size",))
    assert len(basis.blocks) <= module.COEFFICIENTS + basis.pairs.shape[1]
    later = many.with_columns(pl.col("shop") + "x")
    assert len(basis.with_levels_of(later).blocks) <= module.COEFFICIENTS + 1


def test_a_number_that_is_missing_is_an_average_one() -> None:
    data = rows(1_000, 13)
    state = updated(begun(data), data)
    missing = pl.DataFrame({"shop": ["s0"], "size": [None]}, schema_overrides={"size": pl.Float64})
    assert np.isfinite(mean_logits(state, missing)).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"action": np.array([0, 9])}, "action 9 in row 1"),
        ({"reward": np.array([0.0, np.nan])}, "reward of row 1 is nan"),
        ({"reward": np.array([0.0, 2.0])}, "reward 2.0 in row 1"),
        ({"reward": np.array([0.0])}, "reward has shape"),
        ({"context": pl.DataFrame({"shop": ["a", "b"]})}, "no column 'size'"),
        (
            {"context": pl.DataFrame({"shop": ["a", "b"], "size": [1.0, np.inf]})},
            "'size' is infinite in row 1",
        ),
        ({"context": pl.DataFrame({"shop": ["a", "b"], "size": ["x", "y"]})}, "wanted a number"),
    ],
)
def test_bad_rows_are_named(change: dict[str, object], message: str) -> None:
    good = rows(2, 14)
    with pytest.raises(DataError, match=message):
        updated(begun(good), replace(good, **change))
