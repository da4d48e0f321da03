"""Off-policy estimates and intervals against Open Bandit Pipeline 0.4.1, both run here and now."""

import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np

from decisions.bandits import estimators as ours
from decisions.bandits.intervals import cluster_bootstrap
from decisions.cli.bench.peers import library
from decisions.cli.report import Workbench
from decisions.policy import BoolArray, FloatArray, IntArray, choose, pick
from decisions.seeds import stream

SEED = 41
REPLICATES = 1_000  # resamples of a percentile bootstrap; the peer's own default is 10 000
ROWS, TIMED_RESAMPLES, REPEATS = 1_000_000, 20, 5
SIMULATIONS, SIMULATED_ROWS = 1_000, 2_000
COVERAGE_RESAMPLES = 500  # of the peer, a log: half the number timed, for time's sake


def run(bench: Workbench) -> None:
    """Same estimates to 1e-12, then speed at a million rows, then coverage of a known value."""
    _points(bench, library("obp.ope"))
    utilities = library("obp.utils")
    loop: Callable[..., dict[str, float]] = utilities.estimate_confidence_interval_by_bootstrap
    _speed(bench, loop)
    _coverage(bench, loop)


class _Log:
    """A synthetic log over k actions whose logging policy, target and rewards are all known."""

    def __init__(self, n: int, k: int, rng: np.random.Generator, *, certain: bool = False) -> None:
        self.logging: FloatArray = rng.dirichlet(np.full(k, 2.0), size=n) * 0.8 + 0.2 / k
        self.logging /= self.logging.sum(axis=1, keepdims=True)
        self.target: FloatArray = rng.dirichlet(np.full(k, 0.5), size=n)
        if certain:
            self.target = np.eye(k)[rng.integers(0, k, n)]
        self.mean: FloatArray = rng.uniform(0.1, 0.9, size=(n, k))
        self.action: IntArray = choose(self.logging, rng.random(n))
        self.reward: FloatArray = (rng.random(n) < pick(self.mean, self.action)).astype(np.float64)
        self.propensity: FloatArray = pick(self.logging, self.action)
        self.q: FloatArray = np.clip(self.mean + rng.normal(0, 0.1, size=(n, k)), 0, 1)
        self.weights = ours.importance_weights(self.target, self.action, self.propensity)
        self.q_chosen: FloatArray = pick(self.q, self.action)
        self.q_policy: FloatArray = (self.target * self.q).sum(axis=1)

    def matches(self) -> BoolArray:
        """Rows whose logged action is the one that a certain target takes."""
        return pick(self.target, self.action) == 1

    def theirs(self, estimator: Any) -> float:
        """The peer's estimate."""
        return float(
            estimator.estimate_policy_value(
                reward=self.reward,
                action=self.action,
                pscore=self.propensity,
                position=np.zeros(len(self.action), dtype=int),
                action_dist=self.target[:, :, None],
                estimated_rewards_by_reg_model=self.q[:, :, None],
            )
        )


def _points(bench: Workbench, peer: Any) -> None:
    log = _Log(20_000, 10, stream(SEED, "ope", "points"))
    certain = _Log(20_000, 10, stream(SEED, "ope", "certain"), certain=True)
    w, r, qc, qp = log.weights, log.reward, log.q_chosen, log.q_policy
    pairs: dict[str, tuple[float, float]] = {
        "IPS": (ours.ips(w, r).value, log.theirs(peer.InverseProbabilityWeighting())),
        "SNIPS": (
            ours.snips(w, r).value,
            log.theirs(peer.SelfNormalizedInverseProbabilityWeighting()),
        ),
        "DM": (ours.dm(qp).value, log.theirs(peer.DirectMethod())),
        "DR": (ours.dr(w, r, qc, qp).value, log.theirs(peer.DoublyRobust())),
        "SNDR": (ours.sndr(w, r, qc, qp).value, log.theirs(peer.SelfNormalizedDoublyRobust())),
        "replay": (
            ours.replay(certain.matches(), certain.reward).value,
            certain.theirs(peer.ReplayMethod()),
        ),
    }
    for x in (0.0, 1.0, 10.0, 100.0):
        pairs[f"Switch-DR({x:g})"] = (
            ours.switch_dr(w, r, qc, qp, tau=x).value,
            log.theirs(peer.SwitchDoublyRobust(tau=x)),
        )
        pairs[f"DRos({x:g})"] = (
            ours.dr_os(w, r, qc, qp, lam=x).value,
            log.theirs(peer.DoublyRobustWithShrinkage(lambda_=x)),
        )
    pairs["MRDR"] = _mrdr(log, peer)
    for name, (mine, theirs) in pairs.items():
        difference = abs(mine - theirs)
        bench.check(
            f"{name}: distance from the peer's estimate",
            difference,
            "<= 1e-12",
            ok=difference <= 1e-12,
        )


def _mrdr(log: _Log, peer: Any) -> tuple[float, float]:
    """DR with q of a weighted logistic regression: each side fits with its own weights."""
    linear: Any = import_module("sklearn.linear_model")
    n, k = log.target.shape
    context = np.column_stack([log.mean[:, 0], log.mean[:, 1]])

    def model() -> Any:
        return linear.LogisticRegression(C=1.0, max_iter=1_000, random_state=SEED)

    regression = peer.RegressionModel(n_actions=k, base_model=model(), fitting_method="mrdr")
    q_theirs = regression.fit_predict(
        context=context,
        action=log.action,
        reward=log.reward,
        pscore=log.propensity,
        action_dist=log.target[:, :, None],
        random_state=SEED,
    )[:, :, 0]
    theirs = float(
        peer.DoublyRobust().estimate_policy_value(
            reward=log.reward,
            action=log.action,
            pscore=log.propensity,
            position=np.zeros(n, dtype=int),
            action_dist=log.target[:, :, None],
            estimated_rewards_by_reg_model=q_theirs[:, :, None],
        )
    )
    dummies = np.eye(k)
    fitted = model()
    fitted.fit(
        np.hstack([context, dummies[log.action]]),
        log.reward,
        sample_weight=ours.mrdr_weights(pick(log.target, log.action), log.propensity),
    )
    q = np.column_stack(
        [
            fitted.predict_proba(np.hstack([context, np.tile(dummies[a], (n, 1))]))[:, 1]
            for a in range(k)
        ]
    )
    mine = ours.dr(log.weights, log.reward, pick(q, log.action), (log.target * q).sum(axis=1))
    return mine.value, theirs


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _speed(bench: Workbench, loop: Callable[..., dict[str, float]]) -> None:
    """One interval of a million IPS terms; the peer's loop is timed on fewer resamples."""
    rng = stream(SEED, "ope", "speed")
    terms: FloatArray = rng.gamma(0.5, 2.0, ROWS) * (rng.random(ROWS) < 0.9)
    clusters = rng.integers(0, ROWS // 3, ROWS)
    mine: list[float] = []
    theirs: list[float] = []
    clustered: list[float] = []
    for repeat in bench.track(range(REPEATS), "intervals of a million rows"):
        mine.append(_seconds(lambda: cluster_bootstrap(terms, rng=rng)))
        clustered.append(_seconds(lambda: cluster_bootstrap(terms, rng=rng, clusters=clusters)))
        part = _seconds(
            lambda seed=repeat: loop(
                terms, n_bootstrap_samples=TIMED_RESAMPLES, random_state=SEED + seed
            )
        )
        theirs.append(part * REPLICATES / TIMED_RESAMPLES)
    ratios = np.array(theirs) / np.array(mine)
    bench.check(
        "seconds of our interval, 1 000 000 rows",
        float(np.median(mine)),
        "percentiles of the bootstrap of infinitely many resamples, approximated by expansion",
        ok=None,
    )
    bench.check(
        "seconds of ours over 333 333 clusters of those rows",
        float(np.median(clustered)),
        "reported: the peer cannot",
        ok=None,
    )
    bench.check(
        f"seconds of the peer's loop, {REPLICATES} resamples",
        float(np.median(theirs)),
        f"{TIMED_RESAMPLES} resamples timed, scaled in proportion",
        ok=None,
    )
    bench.check(
        f"times faster than the peer's loop of {REPLICATES} resamples",
        float(np.median(ratios)),
        ">= 1000",
        ok=bool(np.median(ratios) >= 1000),
        interval=(float(ratios.min()), float(ratios.max())),
    )


def _coverage(bench: Workbench, loop: Callable[..., dict[str, float]]) -> None:
    """Both intervals of IPS on the same logs, whose value is known; the path timed above."""
    population = _Log(100_000, 10, stream(SEED, "ope", "population"))
    truth = float((population.target * population.mean).sum(axis=1).mean())
    held: list[tuple[bool, bool]] = []
    widths: list[tuple[float, float]] = []
    for number in bench.track(range(SIMULATIONS), "coverage"):
        rng = stream(SEED, "ope", f"simulation {number}")
        rows = rng.integers(0, len(population.action), SIMULATED_ROWS)
        action = choose(population.logging[rows], rng.random(SIMULATED_ROWS))
        reward = rng.random(SIMULATED_ROWS) < pick(population.mean[rows], action)
        weights = pick(population.target[rows], action) / pick(population.logging[rows], action)
        terms = ours.ips(weights, reward.astype(np.float64)).rows
        mine = cluster_bootstrap(terms, rng=rng)
        peer = loop(terms, n_bootstrap_samples=COVERAGE_RESAMPLES, random_state=number)
        low, high = (next(v for k, v in peer.items() if end in k) for end in ("lower", "upper"))
        held.append((mine.lower <= truth <= mine.upper, low <= truth <= high))
        widths.append((mine.upper - mine.lower, high - low))
    covered = np.array(held, dtype=np.float64)
    share, paired = covered.mean(axis=0), covered[:, 0] - covered[:, 1]
    error = float(paired.std(ddof=1) / SIMULATIONS**0.5)
    single = float(np.sqrt(share * (1 - share) / SIMULATIONS).max())
    ways = ("by expansion", f"{COVERAGE_RESAMPLES} resamples")
    for name, value, how in zip(("ours", "the peer's"), share, ways, strict=True):
        bench.check(
            f"coverage of {name} 95 % interval, {SIMULATIONS} logs of {SIMULATED_ROWS} rows,"
            f" {how}",
            float(value),
            f"0.95, Monte Carlo standard error {single:.4f}",
            ok=None,
            interval=(float(value - 2 * single), float(value + 2 * single)),
        )
    gain = float(paired.mean())
    bench.check(
        f"coverage, ours minus the peer's, same {SIMULATIONS} logs of {SIMULATED_ROWS} rows,"
        f" {COVERAGE_RESAMPLES} resamples of the peer",
        gain,
        f">= 0 within 2 paired standard errors ({2 * error:.4f})",
        ok=gain >= -2 * error,
        interval=(gain - 2 * error, gain + 2 * error),
    )
    ratio = float(np.mean([a / b for a, b in widths]))
    bench.check("width, ours over the peer's, mean", ratio, "reported", ok=None)
