"""Generation after generation in memory: every arm meets the same payers, every value is exact."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property

import numpy as np
import polars as pl

from decisions.bandits import exploration
from decisions.bandits.oracles import (
    ConstantOracle,
    Ensemble,
    LightGBMConfig,
    LightGBMOracle,
    RegressionOracle,
    fit_bootstrap,
    fit_lightgbm,
)
from decisions.bandits.training_set import (
    PairFeatures,
    TrainingSet,
    importance_weights,
    pair_features,
)
from decisions.diagnostics.churn import total_variation
from decisions.domains.payments.actions import DO_NOTHING, FLAG_MATRIX, eligible
from decisions.domains.payments.calibration import fit_of
from decisions.domains.payments.features import CODES, NUMERIC, Encoder, observe
from decisions.domains.payments.simulator import (
    Environment,
    authorised,
    best_value,
    policy_value,
)
from decisions.domains.payments.world import SYNCHRONOUS, Delay, late_days
from decisions.policy import BoolArray, FloatArray, IntArray, choose, pick
from decisions.seeds import RowKeys, stream

REFERENCE_DAY = 100_000  # far from any generation: the batch on which churn is measured
REFERENCE_ROWS = 2_000


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One way to run generations: a rule of exploration, a memory, and mitigations.

    `rule` with its `parameter`: "uniform", "greedy", "squarecb" and "fastcb" (gamma), "softmax"
    (inverse temperature), "epsilon" (share), "bagging" (number of models).
    `share` of the traffic explores and alone trains; 1 is FULL mode, less is SPLIT, where the
    rest takes the best predicted action. `control` of all traffic does nothing in SPLIT mode.
    `window` generations train; `average` models are averaged; `floor` mixes in uniform; `mix`
    mixes in the previous policy; `importance` is the power of 1/propensity in training weights;
    `continued` grows new trees on the predecessor's margin. `negative_weight` and `thin`
    change the class balance of the training rows: a weight on failures that is not undone, None
    to match generation 0's, and the share of failures that is left out.
    """

    name: str
    rule: str = "squarecb"
    parameter: float = 0.0
    share: float = 1.0
    control: float = 0.0
    window: int = 1
    average: int = 1
    floor: float = 0.0
    mix: float = 0.0
    importance: float = 0.0
    continued: bool = False
    negative_weight: float | None = 1.0
    thin: float = 0.0
    delay: Delay = SYNCHRONOUS
    oracle: LightGBMConfig = field(default_factory=LightGBMConfig)


def square_cb(gamma: float) -> Arm:
    """FULL mode, inverse gap weighting, one generation of memory."""
    return Arm(name=f"squarecb-{gamma:g}", parameter=gamma)


PRESETS = {
    "calm": square_cb(100.0),
    "paper-like": square_cb(1000.0),
    "collapse": Arm(name="greedy", rule="greedy"),
}
"""The regimes of the reference: steady, oscillating, and one that stops exploring."""


UNIFORM = Arm(name="uniform", rule="uniform")


@dataclass(frozen=True, kw_only=True, eq=False)
class Day:
    """The units of one generation, with everything an arm may not see: all (n, ...)."""

    context: pl.DataFrame  # encoded
    eligible: BoolArray  # (n, 24)
    success: FloatArray  # (n, 24), P
    rewards: FloatArray  # (n, 24), under one number a unit
    draws: FloatArray  # (n, 3): action, traffic arm, uniform hold-out's action
    late: FloatArray  # (n, 2): numbers behind the delay
    hour_share: FloatArray  # (n,), when within the day, 0 to 1

    @cached_property
    def uniform(self) -> FloatArray:
        """Uniform exploration's probabilities."""
        return exploration.uniform(self.eligible)

    @property
    def control(self) -> float:
        """The exact value of doing nothing on these units."""
        return float(self.success[:, DO_NOTHING].mean())


@dataclass
class Days:
    """Days of one environment, made when first asked for and shared by all arms."""

    environment: Environment
    rows: int = 10_000
    kept: dict[int, Day] = field(default_factory=dict[int, Day])

    def day(self, number: int, rows: int | None = None) -> Day:
        """The units of generation `number`."""
        if number not in self.kept:
            self.kept[number] = self._make(number, rows or self.rows)
        return self.kept[number]

    @cached_property
    def encoder(self) -> Encoder:
        """Codes of every merchant and issuer there is; rates are not used here."""
        e = self.environment
        levels = (
            tuple(f"m{i}" for i in range(e.merchants + e.entries)),
            tuple(f"i{i}" for i in range(e.issuers)),
        )
        rates = tuple((0.0,) * len(names) for names in levels)
        return Encoder(levels=levels, rates=rates, prior=0.0)

    @cached_property
    def features(self) -> PairFeatures:
        """What the oracles of the experiment read."""
        return pair_features(
            self.day(0).context, flags=FLAG_MATRIX, categorical=CODES, numeric=NUMERIC
        )

    def _make(self, number: int, rows: int) -> Day:
        ranks = np.arange(rows, dtype=np.int64)
        units = self.environment.arrivals(number, ranks, per_day=rows)
        keys = RowKeys(self.environment.seed, number * (1 << 32) + ranks)
        context = units.lazy().pipe(observe).collect()
        success = self.environment.success(units)
        return Day(
            context=self.encoder.encode(context),
            eligible=eligible(context),
            success=success,
            rewards=authorised(success, keys.uniforms("experiment", "outcome")[:, 0]),
            draws=keys.uniforms("experiment", "draws", columns=3),
            late=keys.uniforms("experiment", "late", columns=2),
            hour_share=ranks / rows,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Logged:
    """What one generation left for training: rows of the exploring traffic, resolved ones only."""

    context: pl.DataFrame
    action: IntArray
    reward: FloatArray
    propensity: FloatArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Deployed:
    """A rule over one or more oracles: what acts on one generation."""

    arm: Arm
    oracles: tuple[RegressionOracle, ...]

    def scores(self, day: Day) -> FloatArray:
        """Predicted success, the mean over the averaged models, (n, 24)."""
        return Ensemble(members=self.oracles).predict(day.context, day.eligible)

    def explore(self, day: Day, scores: FloatArray) -> FloatArray:
        """The exploring traffic's probabilities before `mix`, (n, 24)."""
        arm, mask = self.arm, day.eligible
        parameter = arm.parameter
        if arm.rule == "uniform":
            p = day.uniform
        elif arm.rule == "squarecb":
            p = exploration.inverse_gap_weighting(scores, mask, gamma=parameter)
        elif arm.rule == "fastcb":
            p = exploration.fast_cb(scores, mask, gamma=parameter)
        elif arm.rule == "softmax":
            p = exploration.softmax(scores, mask, inverse_temperature=parameter)
        elif arm.rule == "epsilon":
            p = exploration.epsilon_greedy(scores, mask, epsilon=parameter)
        elif arm.rule == "bagging":
            members = [
                m for o in self.oracles for m in (o.members if isinstance(o, Ensemble) else (o,))
            ]
            each = np.stack([m.predict(day.context, mask) for m in members])
            p = exploration.bagging_shares(each, mask)
        else:
            p = exploration.greedy(scores, mask)
        return exploration.with_floor(p, mask, floor=arm.floor) if arm.floor else p


@dataclass(frozen=True, kw_only=True)
class Record:
    """One generation's model and the data it was trained on; rates and values are shares.

    The model of generation g is trained on data up to g and measured on the units of g + 1.
    """

    generation: int
    explore_reward: float  # mean reward of the exploring rows logged in generation g
    negatives_share: float  # of the training rows
    unresolved_share: float  # of generation g's exploring rows, outcome not known in time
    value: float  # exact, of the exploring policy on the next units
    value_greedy: float  # exact, of the best predicted action
    value_blend: float  # exact, of the whole traffic in SPLIT mode
    value_control: float  # exact, of doing nothing
    value_best: float  # exact, of the best eligible action
    auc_own: float  # of the model on the rows its own policy logs next
    log_loss_own: float
    brier_own: float
    ece_own: float
    auc_uniform: float  # on a uniform hold-out
    log_loss_uniform: float
    brier_uniform: float
    ece_uniform: float
    entropy: float  # mean of H(p) / log K over rows with K > 1
    effective_actions: float  # mean of exp(H(p))
    propensity_minimum: float  # of the logged actions
    propensity_1_percent: float
    propensity_median: float
    error_greedy: float  # mean |f - P| at the greedy action
    error_unchosen: float  # mean |f - P| over the other eligible actions
    bias_greedy: float  # mean f - P at the greedy action
    bias_unchosen: float  # over the others: optimism about what was not tried
    churn: float  # total variation against the previous policy on the reference batch
    churn_greedy: float  # share of rows whose best predicted action changed


def run_arm(days: Days, arm: Arm, *, generations: int, seed: int) -> Iterator[Record]:
    """Records of generations 0 to `generations`; generation 0 logs uniformly, whatever the arm.

    Arms share units, eligibility and the number behind every outcome and draw, so differences
    between them are paired.
    """
    logs: list[Logged] = []
    models: list[RegressionOracle] = []
    reference = days.day(REFERENCE_DAY, REFERENCE_ROWS)
    day = days.day(0)
    probabilities, arms = day.uniform, np.ones(len(day.uniform), dtype=np.bool_)
    before: FloatArray | None = None
    best_before: IntArray | None = None
    previous: Deployed | None = None
    first_share = 0.0
    for g in range(generations + 1):
        logged, explore_reward, unresolved = _log(day, probabilities, arms, arm)
        logs = [*logs, logged][-arm.window :]
        first_share = first_share if g else float(1 - logged.reward.mean())
        data = _training_set(logs, arm, stream(seed, "experiment", "thin", str(g)), first_share)
        rng = stream(seed, "experiment", "train", str(g))
        models = [*models, _fit(data, days.features, arm, models, rng)][-arm.average :]
        deployed = Deployed(arm=arm, oracles=tuple(models))
        day = days.day(g + 1)
        scores = deployed.scores(day)
        probabilities = deployed.explore(day, scores)
        at_reference = deployed.explore(reference, deployed.scores(reference))
        if arm.mix and previous is not None:
            probabilities = exploration.damped(
                probabilities, previous.explore(day, previous.scores(day)), share=arm.mix
            )
            at_reference = exploration.damped(
                at_reference,
                previous.explore(reference, previous.scores(reference)),
                share=arm.mix,
            )
        best = exploration.best_action(deployed.scores(reference), reference.eligible)
        arms = day.draws[:, 1] < arm.share
        yield Record(
            generation=g,
            explore_reward=explore_reward,
            negatives_share=float(1 - data.reward.mean()),
            unresolved_share=unresolved,
            churn=np.nan if before is None else total_variation(before, at_reference),
            churn_greedy=np.nan if best_before is None else float((best != best_before).mean()),
            **_measured(day, scores, probabilities, arm),
        )
        before, best_before, previous = at_reference, best, deployed


def records(days: Days, arm: Arm, *, generations: int, seed: int) -> list[dict[str, float]]:
    """`run_arm` as plain numbers, for storage."""
    return [asdict(record) for record in run_arm(days, arm, generations=generations, seed=seed)]


def _log(
    day: Day, probabilities: FloatArray, exploring: BoolArray, arm: Arm
) -> tuple[Logged, float, float]:
    """The rows to learn from, the exploring rows' mean reward, and their unresolved share."""
    action = choose(probabilities, day.draws[:, 0])
    reward = pick(day.rewards, action)
    known = late_days(arm.delay, reward, day.late) <= 1.0 - day.hour_share
    rows = np.flatnonzero(exploring & known)
    logged = Logged(
        context=day.context[rows],
        action=action[rows],
        reward=reward[rows],
        propensity=pick(probabilities, action)[rows],
    )
    unresolved = float(1 - known[exploring].mean())
    return logged, float(reward[exploring].mean()), unresolved


def _training_set(
    logs: Sequence[Logged], arm: Arm, rng: np.random.Generator, first_share: float
) -> TrainingSet:
    """The window's rows, thinned and weighted as the arm says; `first_share` is of failures."""
    context = pl.concat([logged.context for logged in logs])
    action, reward, propensity = (
        np.concatenate([getattr(logged, name) for logged in logs])
        for name in ("action", "reward", "propensity")
    )
    weight = None
    if arm.importance:
        weight = importance_weights(propensity, power=arm.importance)
    if arm.negative_weight != 1.0:
        failed = 1 - reward.mean()
        matched = first_share * (1 - failed) / ((1 - first_share) * max(failed, 1e-9))
        factor = arm.negative_weight or matched
        weight = np.where(reward > 0, 1.0, factor) * (1.0 if weight is None else weight)
    data = TrainingSet(context=context, action=action, reward=reward, weight=weight)
    if not arm.thin:
        return data
    kept = (reward > 0) | (rng.random(len(reward)) >= arm.thin)
    return data.take(np.flatnonzero(kept))


def _fit(
    data: TrainingSet,
    features: PairFeatures,
    arm: Arm,
    models: Sequence[RegressionOracle],
    rng: np.random.Generator,
) -> RegressionOracle:
    last = models[-1] if models and arm.continued else None

    def fit(rows: TrainingSet, rng: np.random.Generator) -> LightGBMOracle | ConstantOracle:
        predecessor = last if isinstance(last, LightGBMOracle) else None
        return fit_lightgbm(
            rows, rng, features=features, config=arm.oracle, predecessor=predecessor
        )

    if arm.rule == "bagging":
        return fit_bootstrap(fit, data, rng, models=int(arm.parameter))
    return fit(data, rng)


def _measured(
    day: Day, scores: FloatArray, probabilities: FloatArray, arm: Arm
) -> dict[str, float]:
    """Everything a model and its policy are measured by on the units of the next generation."""
    mask, truth = day.eligible, day.success
    best = exploration.best_action(scores, mask)
    greedy = float(pick(truth, best).mean())
    explored = policy_value(probabilities, truth)
    actions = choose(probabilities, day.draws[:, 0])
    propensity = pick(probabilities, actions)
    trial = choose(day.uniform, day.draws[:, 2])
    own = fit_of(pick(scores, actions), pick(day.rewards, actions))
    held = fit_of(pick(scores, trial), pick(day.rewards, trial))
    choice = np.zeros_like(mask)
    choice[np.arange(len(best)), best] = True
    others, error = mask & ~choice, scores - truth
    logs = np.log(np.where(probabilities > 0, probabilities, 1.0))
    entropy = -(probabilities * logs).sum(axis=1)
    count = mask.sum(axis=1)
    several = count > 1
    low, one_percent, median = np.quantile(propensity, (0.0, 0.01, 0.5)).tolist()
    rest = 1 - arm.share - arm.control
    return {
        "value": explored,
        "value_greedy": greedy,
        "value_blend": arm.share * explored + rest * greedy + arm.control * day.control,
        "value_control": day.control,
        "value_best": best_value(mask, truth),
        **{f"{name}_own": value for name, value in asdict(own).items()},
        **{f"{name}_uniform": value for name, value in asdict(held).items()},
        "entropy": float((entropy[several] / np.log(count[several])).mean()),
        "effective_actions": float(np.exp(entropy).mean()),
        "propensity_minimum": low,
        "propensity_1_percent": one_percent,
        "propensity_median": median,
        "error_greedy": float(np.abs(error[choice]).mean()),
        "error_unchosen": float(np.abs(error[others]).mean()),
        "bias_greedy": float(error[choice].mean()),
        "bias_unchosen": float(error[others].mean()),
    }
