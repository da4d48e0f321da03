"""Candidate against champion on the same scenarios, beside the rules that everyone should beat.

A gate that is looked at every week must not tire of saying no. Each cut-off draws scenarios of its
own (the seed is the cut-off's), which nobody has seen when its policies are fixed: so looks are
independent, a champion enjoys no luck of the scenarios it won on, and the errors of a year add up
at most. The level of the intervals is set so that they add up to 5 % (`LEVEL`). Betting, which
payments uses to re-read the same logs day after day, would need a bound on what an episode can
cost at worst, far above what two policies ever differ by; scenarios are cheap, so new ones are
drawn instead. Differences are means over whole episodes, for which the normal interval is sound.

Policies are judged as they are deployed: plants never end, so in every period the planner sees a
whole horizon ahead. What shutting down before the end of an episode saves is not counted.
"""

import numpy as np
import polars as pl

from decisions.domains.lotsizing.exact import stocks_fit
from decisions.domains.lotsizing.improved_rotation import improved_rotation_of
from decisions.domains.lotsizing.instance import Instance
from decisions.domains.lotsizing.lower_bound import packaged_bound
from decisions.domains.lotsizing.plan import Planner, rolling
from decisions.domains.lotsizing.plant import Plant, PlantState, Setups
from decisions.domains.lotsizing.policies import plant_policy
from decisions.domains.lotsizing.rotation import rotation_of
from decisions.domains.lotsizing.simulation import simulate
from decisions.domains.lotsizing.static_assignment import static_assignment
from decisions.domains.lotsizing.world import lists
from decisions.evaluation import Estimate, Evaluation, mean_estimate, unchanged
from decisions.gate import GateRule
from decisions.policy import FloatArray, Policy
from decisions.seeds import RowKeys

EPISODES = 1000
GAIN_EPISODES = 200  # of the deployed policy against the rotation, each cycle
LOOKS = 52  # cut-offs a year
LEVEL = 1 - 2 * 0.05 / LOOKS  # of two-sided intervals, of which the gate reads one side
DRIFT = 5.0  # standard errors

GATE = GateRule(
    limits={
        "illegal_actions": (0.0, 0.0),
        "difference_from_rotation": (0.0, float("inf")),
        "demand_drift": (0.0, DRIFT),
    }
)
"""Better than the champion, no worse than the tuned rotation, in a world that is as modelled."""


def evaluate(
    candidate: Policy,
    champion: Policy,
    history: pl.LazyFrame,
    rng: np.random.Generator,
    *,
    episodes: int = EPISODES,
) -> Evaluation:
    """The paired difference of two policies over fresh episodes: mean reward of a period.

    `estimates` has idling, the rules H1 to H3 and, where the package holds one for the instance,
    the certified bound.
    A candidate that costs the same as the champion in every episode is unchanged.
    Checks:

    - `illegal_actions` that the candidate wanted of machines, which idled instead;
    - `difference_from_rotation`: the lower bound of the paired difference from H2, at LEVEL: a
      floor below every champion, whose error is not shared among the candidates of a cut-off;
    - `demand_drift`: see there; absent where history tells of no demand;
    - `episodes` of the comparison, each as long as the instance's horizon.

    Raises:
        DataError: the two plan different instances.
    """
    own = plant_policy(candidate)
    instance = own.instance
    other = plant_policy(champion, instance)
    scenarios = RowKeys(int(rng.integers(2**62)), np.arange(episodes, dtype=np.int64))
    plant = Plant(instance)
    legal = _Legal(plant, own.rule.act)
    mine = returns(plant, legal, scenarios)
    theirs = returns(plant, other.rule.act, scenarios)
    if not legal.refused and np.array_equal(mine, theirs):
        return unchanged(
            f"it decides as the champion does: {episodes} episodes cost the same to the bit",
            n=episodes,
        )
    baselines = {name: returns(plant, rule, scenarios) for name, rule in rules(instance).items()}
    rotation = mean_estimate(mine - baselines[ROTATION], level=LEVEL, method=_METHOD)
    drift = demand_drift(instance, history.collect())
    return Evaluation(
        candidate=_mean(mine),
        champion=_mean(theirs),
        difference=mean_estimate(mine - theirs, level=LEVEL, method=_METHOD),
        estimates={name: _mean(terms) for name, terms in baselines.items()} | bound(instance),
        checks={
            "illegal_actions": float(legal.refused),
            "difference_from_rotation": rotation.lower,
            "episodes": float(episodes),
            **({} if drift is None else {"demand_drift": drift}),
        },
    )


def gain(policy: Policy, rng: np.random.Generator, *, episodes: int = GAIN_EPISODES) -> Estimate:
    """What a policy earns a period beyond the tuned rotation, on the same fresh episodes."""
    own = plant_policy(policy)
    plant = Plant(own.instance)
    scenarios = RowKeys(int(rng.integers(2**62)), np.arange(episodes, dtype=np.int64))
    mine, theirs = (
        returns(plant, planner, scenarios)
        for planner in (own.rule.act, rotation_of(own.instance).act)
    )
    return mean_estimate(mine - theirs, method=_METHOD)


ROTATION = "H2 grouped rotation"
_LEAST_ERROR = 1e-9  # units; of items whose demand the model knows exactly
_METHOD = "paired over episodes, common random numbers"


def _mean(terms: FloatArray) -> Estimate:
    return mean_estimate(terms, method="mean over episodes")


class _Legal:
    """A planner whose impossible choices are counted, and idle instead."""

    def __init__(self, plant: Plant, planner: Planner) -> None:
        self.mask, self.planner, self.refused = plant.mask, planner, 0

    def __call__(self, state: PlantState) -> Setups:
        action = self.planner(state)
        items = self.mask.shape[1]
        known = (action >= 0) & (action < items)
        wanted = np.where(known, action, 0)
        possible = known & self.mask[np.arange(action.shape[1]), wanted]
        self.refused += int((~possible).sum())
        return np.where(possible, action, 0).astype(np.int16)


def returns(plant: Plant, planner: Planner, episodes: RowKeys) -> FloatArray:
    """Mean reward of a period of each episode, (n,), a whole horizon ahead in each period."""
    return -simulate(plant, rolling(planner), episodes).total / plant.instance.horizon


def rules(instance: Instance) -> dict[str, Planner]:
    """What a candidate is shown beside, by name; H3 where stocks fit into its tables."""

    def idle(state: PlantState) -> Setups:
        return np.zeros_like(state.set_up)

    shown: dict[str, Planner] = {
        "idle": idle,
        "H1 static assignment": static_assignment(instance).act,
        ROTATION: rotation_of(instance).act,
    }
    if stocks_fit(instance):
        shown["H3 improved rotation"] = improved_rotation_of(instance).act
    return shown


def bound(instance: Instance) -> dict[str, Estimate]:
    """What no policy can exceed on average, by name; empty where the package holds no bound."""
    known = packaged_bound(instance)
    if known is None:
        return {}
    value = -float(known["value"]) / instance.horizon
    exact = Estimate(
        value=value,
        lower=value,
        upper=value,
        level=1.0,
        method="Lagrangian relaxation, certified",
        n=0,
        effective_n=0.0,
    )
    return {"lower bound": exact}


def demand_drift(instance: Instance, history: pl.DataFrame) -> float | None:
    """How far mean demand is from the model's, in standard errors: of all items, or of one.

    The larger of the distance of the demand of all items together and that of the item furthest
    off. `history` has the column `demand` of what the period before each decision brought; rows
    of another instance do not count. None where there is none. Eight plant-days of 20 items, as
    of four days of two plants, show a common shift of a unit a period, or one of five units in a
    single item.
    """
    own = pl.col("instance") == instance.digest
    told = history.filter(own, pl.col("demand").list.len() > 0)
    if told.is_empty():
        return None
    seen = lists(told, "demand", instance.items)
    units = np.arange(instance.demand.shape[1], dtype=np.float64)
    mean = (instance.demand * units).sum(axis=1)
    variance = (instance.demand * (units - mean[:, None]) ** 2).sum(axis=1)
    off = seen.sum(axis=0) - len(seen) * mean
    error = np.sqrt(len(seen) * variance)
    by_item = np.abs(off) / np.maximum(error, _LEAST_ERROR)
    together = abs(off.sum()) / max(float(np.sqrt((error**2).sum())), _LEAST_ERROR)
    return float(max(by_item.max(), together))
