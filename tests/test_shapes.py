"""Every public function that takes a level, labels, propensities or weights refuses bad ones."""

# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from decisions.bandits import (
    calibration,
    delay,
    estimators,
    intervals,
    mean_weights,
    off_policy,
    sequential,
    slope,
    support,
)
from decisions.diagnostics import churn, drift, realizability
from decisions.errors import DataError
from decisions.evaluation import mean_estimate, unknown
from decisions.policy import total_variation
from decisions.shapes import label_codes

N, K = 40, 3
RNG = np.random.default_rng(3)
P = RNG.dirichlet(np.ones(K), N)
Q = RNG.random((N, K))
ELIGIBLE = np.ones((N, K), dtype=np.bool_)
ACTION = RNG.integers(0, K, N)
PROPENSITY = P[np.arange(N), ACTION]
REWARD = (RNG.random(N) < 0.6).astype(np.float64)
ONES = np.ones(N)
UNEVEN = RNG.random(N)
LOG = off_policy.LoggedDecisions(
    eligible=ELIGIBLE, action=ACTION, propensity=PROPENSITY, reward=REWARD, q=Q, logged=P
)

LEVELS: dict[str, Callable[[float], Any]] = {
    "unknown": lambda level: unknown(n=3, level=level),
    "mean_estimate": lambda level: mean_estimate(REWARD, level=level),
    "normal": lambda level: intervals.normal(REWARD, level=level),
    "cluster_bootstrap": lambda level: intervals.cluster_bootstrap(
        REWARD, rng=np.random.default_rng(0), level=level
    ),
    "empirical_bernstein": lambda level: intervals.empirical_bernstein(
        REWARD, width=1.0, level=level
    ),
    "betting": lambda level: intervals.betting(REWARD, level=level),
    "bernstein_path": lambda level: intervals.bernstein_path(REWARD, alpha=1 - level),
    "bernstein_sequence": lambda level: intervals.bernstein_sequence(ONES, REWARD, level=level),
    "tune": lambda level: slope.tune(
        lambda limit: estimators.clipped_ips(ONES, REWARD, limit=limit), level=level
    ),
    "evaluate_pair": lambda level: off_policy.evaluate_pair(
        LOG, candidate=P, champion=P, level=level
    ),
    "worst_segment_loss": lambda level: off_policy.worst_segment_loss(REWARD, {}, level=level),
}


@pytest.mark.parametrize("name", LEVELS)
@pytest.mark.parametrize("level", [95.0, 1.0, 0.0, -0.5, float("nan"), float("inf")])
def test_a_level_is_a_share_between_0_and_1(name: str, level: float) -> None:
    LEVELS[name](0.9)

    with pytest.raises(DataError, match=r"level is .*, wanted a coverage above 0 and below 1"):
        LEVELS[name](level)


Rows = np.ndarray
ROWS: dict[str, tuple[Callable[..., Any], tuple[Rows, ...]]] = {
    "ips": (estimators.ips, (ONES, REWARD)),
    "loss_form_ips": (estimators.loss_form_ips, (ONES, REWARD)),
    "clipped_ips": (lambda w, r: estimators.clipped_ips(w, r, limit=2.0), (ONES, REWARD)),
    "snips": (estimators.snips, (ONES, REWARD)),
    "dr": (estimators.dr, (ONES, REWARD, UNEVEN, UNEVEN)),
    "sndr": (estimators.sndr, (ONES, REWARD, UNEVEN, UNEVEN)),
    "switch_dr": (
        lambda w, r, q, v: estimators.switch_dr(w, r, q, v, tau=2.0),
        (ONES, REWARD, UNEVEN, UNEVEN),
    ),
    "dr_os": (
        lambda w, r, q, v: estimators.dr_os(w, r, q, v, lam=2.0),
        (ONES, REWARD, UNEVEN, UNEVEN),
    ),
    "mrdr_weights": (estimators.mrdr_weights, (UNEVEN, PROPENSITY)),
    "replay": (estimators.replay, (REWARD > 0, REWARD)),
    "importance_weights": (
        lambda action, p: estimators.importance_weights(P, action, p),
        (ACTION, PROPENSITY),
    ),
    "balanced_ips": (
        lambda target, r: estimators.balanced_ips(
            target, r, propensities=np.stack([PROPENSITY, UNEVEN], axis=1), sizes=np.array([5, 7])
        ),
        (UNEVEN, REWARD),
    ),
    "normal": (lambda rows, c: intervals.normal(rows, clusters=c), (REWARD, ACTION)),
    "cluster_bootstrap": (
        lambda rows, c: intervals.cluster_bootstrap(
            rows, clusters=c, rng=np.random.default_rng(0)
        ),
        (REWARD, ACTION),
    ),
    "bernstein_sequence": (intervals.bernstein_sequence, (ONES, REWARD)),
    "worst_segment_loss": (
        lambda rows, c: off_policy.worst_segment_loss(rows, {"issuer": c}),
        (REWARD, ACTION),
    ),
    "weights_of": (
        lambda action, p, r: off_policy.weights_of(
            off_policy.LoggedDecisions(eligible=ELIGIBLE, action=action, propensity=p, reward=r),
            P,
        ),
        (ACTION, PROPENSITY, REWARD),
    ),
    "wager": (
        lambda rows, least, c: sequential.wager(rows, lowest=least, margin=0.0, clusters=c),
        (UNEVEN, -ONES, ACTION),
    ),
    "paired_evidence": (
        lambda c: sequential.paired_evidence(LOG, candidate=P, champion=P, margin=0.0, together=c),
        (ACTION,),
    ),
    "variance_floor": (
        lambda w, r, c: intervals.variance_floor(
            intervals.normal(UNEVEN), UNEVEN, w, r, clusters=c
        ),
        (ONES, REWARD, ACTION),
    ),
    "support": (
        lambda w, p, g, c: support.support(
            w, P, propensity=p, eligible=ELIGIBLE, logged=P, groups={"day": g}, clusters=c
        ),
        (ONES, PROPENSITY, ACTION, ACTION),
    ),
    "kaplan_meier": (delay.kaplan_meier, (UNEVEN, REWARD > 0)),
    "delay.unresolved_share": (delay.unresolved_share, (REWARD > 0, ACTION)),
    "weighted_rate": (delay.weighted_rate, (ONES, REWARD)),
    "fit_of": (calibration.fit_of, (UNEVEN, REWARD)),
    "auc": (calibration.auc, (UNEVEN, REWARD)),
    "from_logs": (
        lambda a, r, p: realizability.from_logs(Q, ELIGIBLE, action=a, reward=r, propensity=p),
        (ACTION, REWARD, PROPENSITY),
    ),
}


@pytest.mark.parametrize("name", ROWS)
def test_rows_of_another_shape_are_refused_and_never_broadcast(name: str) -> None:
    function, arrays = ROWS[name]
    function(*arrays)

    for place in range(len(arrays)):
        for strange in (
            arrays[place][:, None],
            arrays[place][:-1],
            arrays[place][:1],
            np.concatenate([arrays[place]] * 2),
        ):
            with pytest.raises(DataError, match="has shape"):
                function(*arrays[:place], strange, *arrays[place + 1 :])


TABLES: dict[str, tuple[Callable[..., Any], tuple[Rows, ...]]] = {
    "importance_weights": (
        lambda p: estimators.importance_weights(p, ACTION, PROPENSITY),
        (P,),
    ),
    "weights_of": (lambda p: off_policy.weights_of(LOG, p), (P,)),
    "paired_evidence": (
        lambda q: sequential.paired_evidence(
            LOG, candidate=P, champion=P, margin=0.0, predicted=q
        ),
        (Q,),
    ),
    "support": (
        lambda p, e, logged: support.support(
            ONES, p, propensity=PROPENSITY, eligible=e, logged=logged
        ),
        (P, ELIGIBLE, P),
    ),
    "possible_weights": (mean_weights.possible_weights, (P, P, ELIGIBLE)),
    "total_variation": (total_variation, (P, P)),
    "greedy_churn": (churn.greedy_churn, (P, P)),
    "exploration": (lambda p, e: drift.exploration(p, e, PROPENSITY), (P, ELIGIBLE)),
    "exact": (realizability.exact, (Q, P, ELIGIBLE)),
}


@pytest.mark.parametrize("name", TABLES)
def test_tables_of_another_shape_are_refused_and_never_broadcast(name: str) -> None:
    function, arrays = TABLES[name]
    function(*arrays)

    for place in range(len(arrays)):
        for strange in (arrays[place][:-1], arrays[place][:1], arrays[place][:, 0]):
            with pytest.raises(DataError, match="has shape"):
                function(*arrays[:place], strange, *arrays[place + 1 :])


@pytest.mark.parametrize("strange", [float("nan"), float("inf"), 0.0, -0.1, 1.01])
@pytest.mark.parametrize("name", ["importance_weights", "mrdr_weights", "from_logs", "weights_of"])
def test_a_propensity_is_a_probability_above_0(name: str, strange: float) -> None:
    function, arrays = ROWS[name]
    spoilt = [
        np.where(np.arange(N) == 5, strange, values) if values is PROPENSITY else values
        for values in arrays
    ]

    with pytest.raises(DataError, match="row 5"):
        function(*spoilt)


@pytest.mark.parametrize("strange", [float("nan"), float("inf"), -0.1])
@pytest.mark.parametrize("name", ["ips", "snips", "dr", "sndr", "bernstein_sequence"])
def test_a_weight_is_finite_and_not_negative(name: str, strange: float) -> None:
    function, arrays = ROWS[name]

    with pytest.raises(DataError, match="weights of row 5"):
        support.kish(np.where(np.arange(N) == 5, strange, ONES))
    with pytest.raises(DataError, match="weights of row 5"):
        function(np.where(np.arange(N) == 5, strange, ONES), *arrays[1:])


@pytest.mark.parametrize("action", [-1, K])
def test_an_action_that_does_not_exist_is_refused(action: int) -> None:
    actions = np.where(np.arange(N) == 5, action, ACTION)

    with pytest.raises(DataError, match="row 5"):
        estimators.importance_weights(P, actions, PROPENSITY)
    with pytest.raises(DataError, match="row 5"):
        realizability.from_logs(Q, ELIGIBLE, action=actions, reward=REWARD, propensity=PROPENSITY)


@pytest.mark.parametrize(
    "labels",
    [
        np.array(["a", None, "b", None, float("nan")], dtype=object),
        np.array([1.0, np.nan, 2.0, np.nan, np.nan]),
        np.array(["2026-01-01", "NaT", "2026-01-02", "NaT", "NaT"], dtype="datetime64[D]"),
        np.array([1, None, "b", None, None], dtype=object),
    ],
)
def test_rows_without_a_label_are_a_group_of_their_own(labels: np.ndarray) -> None:
    codes = label_codes(labels)

    same = codes[:, None] == codes[None, :]
    wanted = np.zeros((5, 5), dtype=np.bool_)
    for group in ([0], [2], [1, 3, 4]):
        wanted[np.ix_(group, group)] = True
    np.testing.assert_array_equal(same, wanted)


@pytest.mark.parametrize("missing", [None, float("nan")])
def test_a_segment_without_a_name_is_tested_like_any_other(missing: object) -> None:
    rng = np.random.default_rng(1)
    difference = rng.normal(0.0, 0.1, 400)
    difference[:150] -= 0.2
    named = np.array([missing] * 150 + ["a"] * 250, dtype=object)

    assert off_policy.worst_segment_loss(difference, {"issuer": named}) > 0.15


def test_clusters_without_a_name_are_one_cluster() -> None:
    rng = np.random.default_rng(1)
    rows = rng.normal(size=60)
    named = np.array([None] * 30 + [f"card {i}" for i in range(30)], dtype=object)
    numbered = np.array([0] * 30 + list(range(1, 31)))

    ours, theirs = (intervals.normal(rows, clusters=labels) for labels in (named, numbered))

    assert (ours.lower, ours.upper) == pytest.approx((theirs.lower, theirs.upper), rel=1e-12)
