"""What every domain keeps; a new folder of `decisions/domains` is tested unasked."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from decisions.actions import ActionBox, ActionSet
from decisions.domain import Domain, Trainer
from decisions.domains import all_domains, domain_named
from decisions.domains.lotsizing import plants_of
from decisions.domains.lotsizing.instance import packaged
from decisions.errors import DataError
from decisions.frames import DECISIONS, UTC_TIME, decided, decision_problems
from decisions.policy import BoolArray, Draw, Policy
from decisions.seeds import RowKeys, stream

ROWS = 400
NOW = datetime(2026, 1, 10, tzinfo=UTC)
DOMAINS = all_domains()


@pytest.fixture(params=DOMAINS, ids=[domain.name for domain in DOMAINS])
def domain(request: pytest.FixtureRequest) -> Domain:
    return request.param


def units_of(domain: Domain, n: int = ROWS) -> pl.DataFrame:
    return domain.sample(n, stream(7, domain.name, "contract"))


def observed(domain: Domain, units: pl.DataFrame) -> tuple[pl.DataFrame, BoolArray]:
    context = domain.observe(units.lazy()).collect()
    return context, domain.eligible(context)


def keys(n: int) -> RowKeys:
    return RowKeys(11, np.arange(n, dtype=np.int64) * 64)


def acted(domain: Domain, policy: Policy, units: pl.DataFrame) -> Draw:
    return policy.act(*observed(domain, units), keys(units.height))


def same(left: Draw, right: Draw) -> None:
    for name in ("action", "nominal", "propensity", "arm", "arm_propensity", "uniform"):
        np.testing.assert_array_equal(getattr(left, name), getattr(right, name), name)
    for name in ("probabilities", "scores"):
        a, b = getattr(left, name), getattr(right, name)
        assert (a is None) == (b is None)
        if a is not None:
            np.testing.assert_array_equal(a, b, name)


def small_history(domain: Domain, n: int = 3000) -> pl.DataFrame:
    """Decisions of the baseline over two days, with random rewards, a few of them unknown."""
    units = units_of(domain, n)
    draw = acted(domain, domain.baseline, units)
    _, eligible = observed(domain, units)
    ids = pl.DataFrame(
        {
            "unit_id": np.arange(n, dtype=np.int64),
            "slot": np.zeros(n, dtype=np.int16),
            "parent_id": pl.Series([None] * n, dtype=pl.Int64),
        }
    )
    log = decided(ids, draw, eligible, generation=0, now=NOW)
    rng = stream(7, domain.name, "rewards")
    reward = pl.Series(rng.integers(0, 2, n).astype(np.float64))
    known = pl.Series(rng.random(n) < 0.97)
    at = [NOW - timedelta(days=2) + timedelta(days=2) * (i / n) for i in range(n)]
    frame = pl.concat(
        [log, units.select(name for name in units.columns if name not in DECISIONS)],
        how="horizontal",
    )
    return frame.with_columns(
        pl.Series("decided_at", at, dtype=UTC_TIME),
        pl.Series("observed_at", at, dtype=UTC_TIME),
        pl.int_range(n).cast(pl.String).alias("reference"),
        pl.when(known).then(reward).alias("reward"),
        pl.when(known).then(pl.lit(NOW, dtype=UTC_TIME)).alias("reward_at"),
        *([] if domain.logged is None else [pl.lit("random").alias("arm")]),
    )


def test_there_are_domains_each_of_its_own_name() -> None:
    names = [domain.name for domain in DOMAINS]

    assert names == sorted(set(names))
    assert all(domain_named(name).name == name for name in names)
    with pytest.raises(DataError, match="no domain"):
        domain_named("nothing")


def test_units_match_their_schema_and_repeat(domain: Domain) -> None:
    units = units_of(domain)

    assert units.schema == domain.units
    assert units.height == ROWS
    assert units.equals(units_of(domain))
    assert units_of(domain, 0).schema == domain.units


def test_units_survive_the_store_s_json(domain: Domain) -> None:
    units = units_of(domain)

    text = units.select(pl.struct(units.columns).struct.json_encode().alias("payload"))
    back = text.select(pl.col("payload").str.json_decode(pl.Struct(dict(domain.units))))

    assert back.unnest("payload").equals(units)


def test_observing_keeps_rows_and_changes_nothing(domain: Domain) -> None:
    units = units_of(domain)
    before = units.clone()

    context, eligible = observed(domain, units)
    reversed_context, _ = observed(domain, units.reverse())

    assert units.equals(before)
    assert context.height == ROWS
    assert reversed_context.reverse().equals(context)
    assert eligible.any(axis=1).all()
    wide = len(domain.actions.names) if isinstance(domain.actions, ActionSet) else 1
    assert eligible.shape == (ROWS, wide)


def test_baseline_draws_are_possible_and_their_propensities_exact(domain: Domain) -> None:
    units = units_of(domain)
    context, eligible = observed(domain, units)

    draw = domain.baseline.act(context, eligible, keys(ROWS))

    assert (draw.propensity > 0).all()
    assert (draw.arm_propensity > 0).all()
    if isinstance(domain.actions, ActionBox):
        assert (draw.action >= np.array(domain.actions.low)).all()
        assert (draw.action <= np.array(domain.actions.high)).all()
        return
    action = draw.action[:, 0].astype(np.int64)
    assert draw.probabilities is not None
    assert eligible[np.arange(ROWS), action].all()
    assert (draw.probabilities[~eligible] == 0).all()
    np.testing.assert_allclose(draw.probabilities.sum(axis=1), 1.0, atol=1e-9)
    np.testing.assert_array_equal(draw.probabilities[np.arange(ROWS), action], draw.propensity)


def test_baseline_decisions_are_fit_to_be_stored(domain: Domain) -> None:
    log = small_history(domain, ROWS)

    problems = decision_problems(log.select(list(DECISIONS)), now=NOW)

    assert problems.drop_nulls().to_list() == []


def trained(domain: Domain, name: str) -> Policy:
    """A candidate; one that learns for long says how it is trained in seconds (`shortened`)."""
    trainer = domain.candidates[name]
    shortened: Callable[[], Trainer] = getattr(trainer, "shortened", lambda: trainer)
    return shortened()(
        small_history(domain).lazy(),
        [domain.baseline],
        stream(3, domain.name, "train", name),
    )


def recipes(domain: Domain) -> list[str]:
    """The candidates, of those that differ in their seed alone one."""
    trainers = list(domain.candidates.values())
    return [name for i, name in enumerate(domain.candidates) if trainers[i] not in trainers[:i]]


QUICK = {"lotsizing": plants_of(packaged("tiny_2x1"))}
"""The same recipes for a plant of two items, where those of production take minutes."""

CANDIDATES = [
    pytest.param(domain, name, id=f"{domain.name}-{name}")
    for domain in (QUICK.get(each.name, each) for each in DOMAINS)
    for name in recipes(domain)
    if not (domain.logged is not None and name.endswith("_bts"))  # they need that logger's log
]


@pytest.mark.parametrize("subject", DOMAINS, ids=[domain.name for domain in DOMAINS])
def test_the_baseline_acts_alike_in_any_batch_and_once_loaded(subject: Domain) -> None:
    check_batches_and_files(subject, subject.baseline)


@pytest.mark.parametrize(("subject", "name"), CANDIDATES)
def test_candidates_act_alike_in_any_batch_and_once_loaded(subject: Domain, name: str) -> None:
    policy = trained(subject, name)

    check_batches_and_files(subject, policy)
    evaluation = subject.evaluate(
        policy, subject.baseline, small_history(subject).lazy(), stream(3, subject.name, "eval")
    )

    assert (
        evaluation.refusal is not None
        or evaluation.difference.lower <= evaluation.difference.upper
    )


def check_batches_and_files(domain: Domain, policy: Policy) -> None:
    units = units_of(domain)
    context, eligible = observed(domain, units)
    whole = policy.act(context, eligible, keys(ROWS))

    same(whole, policy.act(context, eligible, keys(ROWS)))
    files = domain.dump(policy)
    assert all(isinstance(content, bytes) for content in files.values())
    assert domain.dump(domain.load(files)) == files
    same(whole, domain.load(files).act(context, eligible, keys(ROWS)))

    index = np.array([5, 0, 399, 37])
    some = policy.act(context[index.tolist()], eligible[index], keys(ROWS).take(index))
    np.testing.assert_array_equal(some.action, whole.action[index])
    np.testing.assert_array_equal(some.propensity, whole.propensity[index])


def test_exactly_one_source_of_decisions(domain: Domain) -> None:
    assert (domain.world is None) != (domain.logged is None)
    assert domain.holdout > timedelta(0)
    assert domain.window > timedelta(0)
    assert domain.maturity >= timedelta(0)
