"""Decisions a second and average reward against Vowpal Wabbit, on one payment stream."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from statistics import mean, median, stdev
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl

from decisions.bandits.exploration import inverse_gap_weighting
from decisions.bandits.gamma import power
from decisions.bandits.linear import Scaling, no_rows
from decisions.bandits.oracles import RegressionOracle, fit_lightgbm
from decisions.bandits.policies import BanditPolicy, OraclePolicy, SquareCB, Uniform
from decisions.bandits.training_set import PairFeatures, TrainingSet, pair_features
from decisions.cli.bench.peers import library
from decisions.cli.report import Workbench
from decisions.domains.payments.actions import FLAG_MATRIX, FLAGS, eligible
from decisions.domains.payments.features import observe
from decisions.domains.payments.simulator import Environment, policy_value
from decisions.evaluation import mean_estimate
from decisions.policy import BoolArray, FloatArray, IntArray, choose, pick
from decisions.seeds import RowKeys

SEED = 20_260_101
DECISIONS = 200_000
FIRST, BATCH = 500, 10_000
REPEATS = 5
LEARNER = "--cb_explore_adf --squarecb -q ca --quiet"
DAY = 20_454


@dataclass(frozen=True, kw_only=True, eq=False)
class Stream:
    """n payments: what both sides see, and what only the environment knows."""

    context: pl.DataFrame
    eligible: BoolArray  # (n, 24)
    success: FloatArray  # (n, 24), P(authorised)
    reward: FloatArray  # (n, 24), of every action, under one number a payment
    keys: RowKeys


def run(bench: Workbench) -> None:
    """Compares in one run: probabilities, then rewards, then decisions a second in turn.

    Raises:
        DecisionsError: vowpalwabbit is not installed.
    """
    workspace = library("vowpalwabbit").Workspace
    check_parity(bench, workspace)
    stream = _stream(DECISIONS)
    theirs, lines = _act_online(stream, workspace, bench)
    ours, lightgbm = _our_actions(stream, _Ridge), _our_actions(stream, _Boosted)
    _check_reward(bench, stream, ours=ours, theirs=theirs, lightgbm=lightgbm)
    with TemporaryDirectory() as folder:
        text, table = Path(folder) / "stream.txt", Path(folder) / "stream.parquet"
        text.write_text("\n\n".join(lines) + "\n\n")
        stream.context.write_parquet(table)
        _check_speed(bench, stream, workspace, text=text, table=table)
    _check_batch(bench, stream)


def _stream(n: int) -> Stream:
    environment = Environment(seed=SEED)
    units = environment.arrivals(DAY, np.arange(n, dtype=np.int64), per_day=n)
    success = environment.success(units)
    keys = RowKeys(SEED, np.arange(n, dtype=np.int64))
    return Stream(
        context=observe(units.lazy()).collect(),
        eligible=eligible(units),
        success=success,
        reward=(keys.uniforms("reward") < success).astype(np.float64),
        keys=keys,
    )


def _generations(n: int) -> list[tuple[int, int]]:
    """Rows of each generation: the first has FIRST rows, then each ends at twice the last."""
    ends = [0, FIRST]
    while ends[-1] < n:
        ends.append(min(2 * ends[-1], n))
    return list(pairwise(ends))


def _encode(context: pl.DataFrame) -> pl.DataFrame:
    """What both sides learn from, as numbers; merchants and issuers as codes."""
    codes = [
        pl.col(name).cast(pl.Enum([f"{name[0]}{i}" for i in range(size)])).to_physical()
        for name, size in (("merchant", 40), ("issuer", 60))
    ]
    return context.select(
        *(code.cast(pl.Int64) for code in codes),
        pl.col("log_amount") - 3.6,
        "risk",
        pl.col("recurring").cast(pl.Float64),
        (pl.col("days_to_expiry") / 1500).alias("days_to_expiry"),
        (pl.col("days_to_expiry") < 90).cast(pl.Float64).alias("expiring"),
        pl.col("hour") / 24,
    )


def _features(context: pl.DataFrame) -> PairFeatures:
    return pair_features(
        _encode(context.head(1)), flags=FLAG_MATRIX, categorical=("merchant", "issuer")
    )


class _Ridge:
    """Re-trained exactly on every row so far, from statistics."""

    def __init__(self, features: PairFeatures) -> None:
        numbers = len(features.numeric)
        codes = (np.arange(40.0), np.arange(60.0))
        scaling = Scaling(codes=codes, centre=np.zeros(numbers), scale=np.ones(numbers))
        self.statistics = no_rows(features, scaling)

    def learn(self, data: TrainingSet) -> RegressionOracle:
        self.statistics = self.statistics.add(data)
        return self.statistics.solve()


class _Boosted:
    """LightGBM with the defaults, re-trained on every row so far."""

    def __init__(self, features: PairFeatures) -> None:
        self.features = features
        self.parts: list[TrainingSet] = []

    def learn(self, data: TrainingSet) -> RegressionOracle:
        self.parts.append(data)
        everything = TrainingSet(
            context=pl.concat([part.context for part in self.parts]),
            action=np.concatenate([part.action for part in self.parts]),
            reward=np.concatenate([part.reward for part in self.parts]),
        )
        return fit_lightgbm(everything, np.random.default_rng(SEED), features=self.features)


def _decide(policy: BanditPolicy, context: pl.DataFrame, keys: RowKeys) -> tuple[Any, IntArray]:
    """Context to features, eligibility, scores, probabilities and draws: features and actions."""
    encoded = _encode(context)
    draw = policy.act(encoded, eligible(context), keys)
    return encoded, draw.action[:, 0].astype(np.int64)


def _our_actions(
    stream: Stream, learner: type[_Ridge] | type[_Boosted], context: pl.DataFrame | None = None
) -> tuple[IntArray, float]:
    """Actions over the whole stream, (n,), and the seconds that training took of it."""
    frame = stream.context if context is None else context
    model = learner(_features(frame))
    policy: BanditPolicy = Uniform()
    actions, trained_s = np.zeros(frame.height, dtype=np.int64), 0.0
    for start, end in _generations(frame.height):
        parts: list[pl.DataFrame] = []
        for row in range(start, end, BATCH):
            stop = min(row + BATCH, end)
            keys = stream.keys.take(np.arange(row, stop))
            encoded, actions[row:stop] = _decide(policy, frame[row:stop], keys)
            parts.append(encoded)
        began = time.perf_counter()
        chosen = actions[start:end]
        reward = pick(stream.reward[start:end], chosen)
        data = TrainingSet(context=pl.concat(parts), action=chosen, reward=reward)
        policy = OraclePolicy(oracle=model.learn(data), rule=SquareCB(power(end)))
        trained_s += time.perf_counter() - began
    return actions, trained_s


def _shared_lines(context: pl.DataFrame) -> list[str]:
    """The same features as `_encode`, in Vowpal Wabbit's text."""
    numbers = _encode(context).drop("merchant", "issuer")
    return (
        pl.concat([context.select("merchant", "issuer"), numbers], how="horizontal")
        .select(
            pl.concat_str(
                pl.lit("shared |c "),
                "merchant",
                pl.lit(" "),
                "issuer",
                *(
                    pl.format(f" {name}:{{}}", pl.col(name).round(6))
                    if name not in ("recurring", "expiring")
                    else pl.when(pl.col(name) > 0).then(pl.lit(f" {name}")).otherwise(pl.lit(""))
                    for name in numbers.columns
                ),
            )
        )
        .to_series()
        .to_list()
    )


def _act_online(
    stream: Stream, workspace: Any, bench: Workbench
) -> tuple[tuple[IntArray, float], list[str]]:
    """Vowpal Wabbit deciding and learning one payment at a time: actions, seconds, its log."""
    flags = [" ".join(f for f, on in zip(FLAGS, row, strict=True) if on) for row in FLAG_MATRIX]
    arms = [f"|a do {flag}".rstrip() for flag in flags]
    learner = workspace(LEARNER)
    uniform = stream.keys.uniforms("action")[:, 0]
    shared, lines = _shared_lines(stream.context), list[str]()
    actions = np.zeros(len(shared), dtype=np.int64)
    began = time.perf_counter()
    for i in bench.track(range(len(shared)), "Vowpal Wabbit decides and learns"):
        choices = np.flatnonzero(stream.eligible[i])
        example = [shared[i], *(arms[a] for a in choices)]
        pmf = np.asarray(learner.predict("\n".join(example)), dtype=np.float64)
        at = min(int((uniform[i] >= np.cumsum(pmf) / pmf.sum()).sum()), len(pmf) - 1)
        actions[i] = choices[at]
        cost = 1.0 - stream.reward[i, actions[i]]
        example[1 + at] = f"0:{cost:g}:{pmf[at]:.6f} {example[1 + at]}"
        lines.append("\n".join(example))
        learner.learn(lines[-1])
    seconds = time.perf_counter() - began
    learner.finish()
    return (actions, seconds), lines


def _check_reward(
    bench: Workbench,
    stream: Stream,
    *,
    ours: tuple[IntArray, float],
    theirs: tuple[IntArray, float],
    lightgbm: tuple[IntArray, float],
) -> None:
    mine, peer = pick(stream.reward, ours[0]), pick(stream.reward, theirs[0])
    estimate, difference = mean_estimate(peer), mean_estimate(mine - peer)
    bench.check(
        f"Vowpal Wabbit: authorised share of {DECISIONS} payments, learning after each",
        estimate.value,
        "reported; 95 % interval",
        ok=None,
        interval=(estimate.lower, estimate.upper),
    )
    bench.check(
        "ours: authorised share, ridge oracle + SquareCB, same gamma schedule, same random"
        f" numbers, re-trained {len(_generations(DECISIONS))} times (at {FIRST} rows, then at"
        " every doubling)",
        float(mine.mean()),
        f">= {estimate.lower:.5f}, the lower end of Vowpal Wabbit's interval",
        ok=bool(mine.mean() >= estimate.lower),
        interval=(mean_estimate(mine).lower, mean_estimate(mine).upper),
    )
    bench.check(
        "ours minus Vowpal Wabbit, paired by payment",
        difference.value,
        "reported; 95 % interval",
        ok=None,
        interval=(difference.lower, difference.upper),
    )
    for name, actions in (("ours", ours), ("LightGBM", lightgbm), ("Vowpal Wabbit", theirs)):
        bench.check(
            f"{name}: exact expected share of the actions taken",
            float(pick(stream.success, actions[0]).mean()),
            f"reported; best {np.where(stream.eligible, stream.success, 0).max(1).mean():.4f},"
            f" nothing {policy_value(np.eye(24)[np.zeros(1, dtype=int)], stream.success):.4f}",
            ok=None,
        )
    bench.check(
        "Vowpal Wabbit through its Python API: decisions a second, predict + draw + learn",
        DECISIONS / theirs[1],
        "reported",
        ok=None,
    )


def _check_speed(
    bench: Workbench, stream: Stream, workspace: Any, *, text: Path, table: Path
) -> None:
    """Whole passes in turn, the peer first; a ratio a pair, so that slow spells hit both."""

    def read_by_peer() -> None:
        workspace(f"{LEARNER} -d {text}").finish()

    trained: list[float] = []

    def decide_and_train() -> None:
        trained.append(_our_actions(stream, _Ridge, pl.read_parquet(table))[1])

    pairs = [
        (_timed(read_by_peer), _timed(decide_and_train))
        for _ in bench.track(range(REPEATS), "Decisions a second, in turn")
    ]
    ratios = [peer.wall_s / ours.wall_s for peer, ours in pairs]
    alone = [ours.wall_s - train_s for (_, ours), train_s in zip(pairs, trained, strict=True)]
    figures = {
        "Vowpal Wabbit: decisions a second of its own reader on a native text file (-d, -q ca):"
        " read, parse, predict, learn; nothing drawn, nothing written": [
            peer.wall_s for peer, _ in pairs
        ],
        "ours: decisions a second from a Parquet file: read, encode, eligibility, scores,"
        " probabilities, draws, and every re-training": [ours.wall_s for _, ours in pairs],
        "ours without the re-training": alone,
    }
    for name, seconds in figures.items():
        bench.check(name, DECISIONS / median(seconds), "reported; median", ok=None)
    spread = stdev(ratios) / len(ratios) ** 0.5
    bench.check(
        f"ratio of decisions a second, ours with re-training to its reader, {REPEATS} in turn",
        mean(ratios),
        f">= 1 (goal 3); interval: least and greatest; standard error {spread:.2f}",
        ok=mean(ratios) >= 1.0,
        interval=(min(ratios), max(ratios)),
    )
    by_processor = [peer.processor_s / ours.processor_s for peer, ours in pairs]
    bench.check(
        "the same ratio by processor time of all threads, which other work disturbs less",
        mean(by_processor),
        "reported; interval: least and greatest",
        ok=None,
        interval=(min(by_processor), max(by_processor)),
    )


def _check_batch(bench: Workbench, stream: Stream) -> None:
    """Section 1.3's bar, with the oracle that generations use: LightGBM on 10,000 payments."""
    rows = np.arange(10_000)
    part = replace(stream, context=stream.context[rows], eligible=stream.eligible[rows])
    action = choose(Uniform().probabilities(part.context, part.eligible), np.full(len(rows), 0.5))
    data = TrainingSet(
        context=_encode(part.context), action=action, reward=pick(stream.reward[rows], action)
    )
    oracle = _Boosted(_features(part.context)).learn(data)
    policy = OraclePolicy(oracle=oracle, rule=SquareCB(100.0))
    keys = stream.keys.take(rows)
    seconds = median(
        _timed(lambda: _decide(policy, part.context, keys)).wall_s for _ in range(REPEATS)
    )
    bench.check(
        f"10,000 decisions over {part.eligible.sum(axis=1).mean():.1f} eligible actions each,"
        " LightGBM + SquareCB: seconds to score and draw",
        seconds,
        "< 1",
        ok=seconds < 1.0,
    )


def check_parity(bench: Workbench, workspace: Any, *, prefix: str = "") -> None:
    """Vowpal Wabbit's own probabilities against the formula on its own predicted costs."""
    arms, costs = ("|a x", "|a y", "|a z"), (0.05, 0.10, 0.20)
    explorer = workspace("--cb_explore_adf --squarecb --quiet")
    regressor = workspace("--cb_adf --cb_type mtr --quiet")
    for i in range(601):
        lines = list(arms)
        lines[i % 3] = f"0:{costs[i % 3]}:1 {lines[i % 3]}"
        for learner in (explorer, regressor):
            learner.learn("\n".join(["shared |c k", *lines]))
    probabilities, predicted = (
        np.asarray(learner.predict("\n".join(["shared |c k", *arms])), dtype=np.float64)
        for learner in (explorer, regressor)
    )
    mask = np.ones((1, 3), dtype=np.bool_)
    ours = inverse_gap_weighting(1.0 - predicted[None, :], mask, gamma=power(601))[0]
    worst = float(np.abs(ours - probabilities).max())
    bench.check(
        f"{prefix}SquareCB probabilities on equal scores, 601 examples: greatest difference",
        worst,
        "<= 1e-6",
        ok=worst <= 1e-6,
    )


@dataclass(frozen=True, kw_only=True)
class Timed:
    """How long something took, by the clock and in processor time of all threads."""

    wall_s: float
    processor_s: float


def _timed(work: Callable[[], object]) -> Timed:
    began, processor = time.perf_counter(), time.process_time()
    work()
    return Timed(wall_s=time.perf_counter() - began, processor_s=time.process_time() - processor)
