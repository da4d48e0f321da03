"""What a plant costs under every policy there is here, on demand that none of them was made on.

All policies meet the same 1,000 episodes, scenarios 10,000 to 10,999: first stock, first set-ups
and the demand of 100 periods; the table says where fewer were played. A return is minus the cost
of an episode, undiscounted. Means and *paired* differences to the grouped rotation H2 have
normal 95 % intervals; the gap is cost / bound - 1, of the certified lower bound on any policy's
expected cost. Which policy is called best was decided on other episodes, scenarios 20,000 to
20,199.

- *H1*: each machine makes one item for ever, or none (an assignment problem).
- *H2*: each machine takes turns between the items of its group; groups by simulated annealing.
- *H3*: H2 that stops when stock lasts to the end, waits while stock is high, and uses the
  set-ups that it finds.
- *H4*: one-step rollout: what each machine does now is chosen by simulating H2 from there on.
- *priced*: each period the best matching of machines to items, given each item's exact cost to
  go when machines are rented at the prices of the lower bound.
- *decomposition*: one-step look-ahead on exact costs to go of groups of a machine and its items,
  which are grouped anew each period.

A plant may be too large for some of them, or for the bound: the page says so and goes on.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt

from decisions.cli.report import Workbench
from decisions.cli.study.lotsizing_runs import Training, drawn, stored
from decisions.domains.lotsizing.decomposition import decomposition
from decisions.domains.lotsizing.improved_rotation import improved_rotation_of
from decisions.domains.lotsizing.instance import Instance, named
from decisions.domains.lotsizing.lower_bound import gap, lagrangian_bound, packaged_bound
from decisions.domains.lotsizing.plant import Plant, PlantState
from decisions.domains.lotsizing.priced_policy import priced_policy
from decisions.domains.lotsizing.rollout import Rollout
from decisions.domains.lotsizing.rotation import rotation_of
from decisions.domains.lotsizing.simulation import (
    evaluation_episodes,
    scenario_digest,
    simulate,
)
from decisions.domains.lotsizing.static_assignment import static_assignment
from decisions.errors import DataError
from decisions.evaluation import Estimate, mean_estimate
from decisions.policy import FloatArray
from decisions.rl.pdppo import PDPPO
from decisions.rl.policies import acting
from decisions.rl.ppo import PPO
from decisions.seeds import RowKeys

Decide = Callable[[PlantState], npt.NDArray[np.generic]]

STEPS = 400_000
CHOOSING = 200  # episodes on which the best policy is chosen
BARS = {
    "20x10": (-1825.0, -1650.0),
    "25x10": (-2750.0, -2500.0),
    "25x15": (-2275.0, -2080.0),
    "15x5": (-1535.0, -1400.0),
}
METHODS: Mapping[str, Callable[..., PPO]] = {
    "PPO": PPO,
    "PDPPO": partial(PDPPO, advantage="max"),
    "PDPPO split": partial(PDPPO, advantage="split", eta=0.5, expected_rewards=True),
}


LEARNED = """
## Learned policies

They are those that training ended with: nothing was chosen by its return on the way. Each is one
seed of one run with the defaults of `decisions.rl`, the same settings for every instance, from
scratch or from a network that first imitated H2; *greedy* takes the likeliest item of each
machine, *drawn* draws it as in training. *PDPPO split* joins its two critics by Bellman's
equation, counts the noise of demand by half, and learns from exact expected costs.
"""


def _idle(instance: Instance) -> Decide:
    return lambda state: np.zeros((len(state.period), instance.machines), dtype=np.int16)


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A policy that is computed, and how many of the evaluation episodes it plays."""

    make: Callable[[Instance], Decide]
    looks_ahead: bool = False  # chooses by what is expected to follow, period by period
    episodes: int = 1000


RULES = {
    "idle": Rule(make=_idle),
    "H1": Rule(make=lambda instance: static_assignment(instance).act),
    "H2": Rule(make=lambda instance: rotation_of(instance).act),
    "H3": Rule(make=lambda instance: improved_rotation_of(instance).act),
    "H4": Rule(make=lambda instance: Rollout.of(instance).act, looks_ahead=True, episodes=200),
    "priced": Rule(make=lambda instance: priced_policy(instance).act, looks_ahead=True),
    "decomposition": Rule(make=lambda instance: decomposition(instance).act, looks_ahead=True),
}


def run(
    bench: Workbench,
    *,
    instance: str = "20x10",
    learn: bool = True,
    steps: int = STEPS,
    workers: int | None = None,
) -> None:
    """All policies, each stored once measured; with `learn` False those that need no training."""
    plant = named(instance)
    mark = plant.digest[:8]
    jobs: dict[str, Callable[[], Any]] = {name: partial(computed, plant, name) for name in RULES}
    jobs["bound"] = partial(bound_of, plant)
    for method in METHODS if learn else ():
        for lessons in (0, steps // 4):
            name = f"{method}, {'after H2' if lessons else 'from scratch'}"
            jobs[name] = partial(_learned, plant, method, lessons=lessons, steps=steps)
    keys = {name: f"{mark}-{name.lower().replace(',', '').replace(' ', '-')}" for name in jobs}
    done = stored(
        bench,
        {keys[name]: job for name, job in jobs.items()},
        f"policies of {plant.name}",
        workers=workers,
    )
    found = {name: done[keys[name]] for name in jobs}
    bound = found.pop("bound")
    played = {name: one for name, one in found.items() if "refused" not in one}
    report(bench, plant.name, _played(played), bound.get("value"))
    refused = {
        name: one["refused"]
        for name, one in [*found.items(), ("bound", bound)]
        if "refused" in one
    }
    if refused:
        bench.section(_without(refused))
    bench.section(
        f"Instance {plant.digest[:16]}, scenarios"
        f" {scenario_digest(Plant(plant), evaluation_episodes())[:16]} (SHA-256, shortened)."
    )


def _episodes(count: int) -> tuple[RowKeys, RowKeys]:
    """Those to report, and those to choose by."""
    return evaluation_episodes(count), evaluation_episodes(min(count, CHOOSING), first=20_000)


def computed(instance: Instance, name: str) -> dict[str, Any]:
    """A rule's costs, and seconds to make it; `refused` says why it has none."""
    try:
        return _measured(instance, RULES[name])
    except DataError as error:
        return {"refused": str(error)}


def _measured(instance: Instance, rule: Rule) -> dict[str, Any]:
    plant = Plant(instance)
    began = perf_counter()
    decide = rule.make(instance)
    made = perf_counter() - began
    reported, choosing = _episodes(rule.episodes)
    return {
        "made": made,
        "looks_ahead": rule.looks_ahead,
        "": _costs(plant, decide, decide, reported, choosing),
    }


def _learned(instance: Instance, method: str, *, lessons: int, steps: int) -> dict[str, Any]:
    """The costs of a trained network, greedy and drawn, and seconds to train it."""
    training = Training(
        instance=instance,
        config=METHODS[method](total_steps=steps, bootstrap_truncation=False),
        seed=1,
        lessons=lessons,
    )
    began = perf_counter()
    actor = training.run().actor
    made = perf_counter() - began
    environment = training.environment
    plant = environment.plant
    reported, choosing = _episodes(1000)
    greedy = acting(environment, actor)
    return {
        "made": made,
        "looks_ahead": False,
        "greedy": _costs(plant, greedy, greedy, reported, choosing),
        "drawn": _costs(
            plant,
            drawn(environment, actor, reported),
            drawn(environment, actor, choosing),
            reported,
            choosing,
        ),
    }


def _costs(
    plant: Plant, decide: Decide, again: Decide, reported: RowKeys, choosing: RowKeys
) -> dict[str, Any]:
    """What the episodes to report cost, and on average those to choose by."""
    began = perf_counter()
    costs = simulate(plant, _whole(decide), reported)
    seconds = perf_counter() - began
    return {
        "total": costs.total.tolist(),
        "setup": float(costs.setup.mean()),
        "lost": float(costs.lost.mean()),
        "holding": float(costs.holding.mean()),
        "microseconds": 1e6 * seconds / (len(costs.total) * plant.instance.horizon),
        "choosing": float(simulate(plant, _whole(again), choosing).total.mean()),
    }


def _whole(decide: Decide) -> Callable[[PlantState], npt.NDArray[np.int16]]:
    return lambda state: decide(state).astype(np.int16)


def bound_of(instance: Instance) -> dict[str, Any]:
    """The certified lower bound of the package, or one computed now, or why there is none."""
    known = packaged_bound(instance)
    if known is None:
        try:
            return {"value": lagrangian_bound(instance).value}
        except DataError as error:
            return {"refused": str(error)}
    return {"value": known["value"], "command": known["command"]}


@dataclass(frozen=True, kw_only=True)
class Played:
    """What a policy did on the evaluation episodes."""

    name: str
    learned: bool
    looks_ahead: bool
    returns: FloatArray  # (episodes,)
    choosing: float  # mean return where the best is chosen
    parts: tuple[float, float, float]  # mean set-up, lost-sales and holding cost
    made: float  # seconds
    microseconds: float  # a decision, many at once


def _played(found: Mapping[str, Mapping[str, Any]]) -> list[Played]:
    """One entry a policy; the two ways of acting of a network are two."""
    return [
        Played(
            name=f"{name}, {how}" if how else name,
            learned=bool(how),
            looks_ahead=one["looks_ahead"],
            returns=-np.array(one[how]["total"], dtype=np.float64),
            choosing=-one[how]["choosing"],
            parts=(one[how]["setup"], one[how]["lost"], one[how]["holding"]),
            made=one["made"],
            microseconds=one[how]["microseconds"],
        )
        for name, one in found.items()
        for how in ("", "greedy", "drawn")
        if how in one
    ]


def report(bench: Workbench, name: str, played: list[Played], bound: float | None) -> None:
    """Holds the best policy to the bars and to the bound, if there is one, and shows all."""
    reference = next(one for one in played if one.name == "H2").returns
    basic, goal = BARS.get(name, (1.05 * float(reference.mean()), float(reference.mean())))
    for what, candidates in (
        ("learned or look-ahead", [one for one in played if one.learned or one.looks_ahead]),
        ("learned", [one for one in played if one.learned]),
    ):
        if not candidates:
            continue
        best = max(candidates, key=lambda one: one.choosing)
        mean = mean_estimate(best.returns)
        held = what == "learned or look-ahead"
        for which, bar in (("basic", basic), ("goal", goal)):
            bench.check(
                f"{name}: mean return of the best {what} policy, {which}",
                mean.value,
                f">= {bar:.0f} ({best.name}, {len(best.returns)} episodes)"
                + ("" if held else ", reported"),
                ok=mean.value >= bar if held else None,
                interval=(mean.lower, mean.upper),
            )
        paired = _paired(best.returns, reference)
        bench.check(
            f"{name}: best {what} policy less H2, paired",
            paired.value,
            f"> 0: better than H2 ({best.name})" + ("" if held else ", reported"),
            ok=paired.lower > 0 if held else None,
            interval=(paired.lower, paired.upper),
        )
        if bound is not None:
            bench.check(
                f"{name}: best {what} policy, gap to the lower bound",
                gap(-mean.value, bound),
                f"reported; no policy costs less than {bound:.1f} on average"
                f" ({best.name}: {-mean.value:.1f})",
                ok=None,
                interval=(gap(-mean.upper, bound), gap(-mean.lower, bound)),
            )
    if bound is None:
        bench.check(f"{name}: lower bound", "no bound", "reported", ok=None)
    else:
        _hold_to_bound(bench, name, played, bound)
    bench.section(_table(played, reference, bound))
    if any(one.learned for one in played):
        bench.section(LEARNED)


def _hold_to_bound(bench: Workbench, name: str, played: list[Played], bound: float) -> None:
    ends = {one.name: mean_estimate(one.returns).lower for one in played}
    highest = max(ends, key=lambda policy: ends[policy])
    bench.check(
        f"{name}: no policy beats the bound: the highest lower end of a mean return",
        ends[highest],
        f"<= {-bound:.1f} ({highest})",
        ok=ends[highest] <= -bound,
    )


def _without(refused: Mapping[str, str]) -> str:
    lines = [f"- *{name}*: {why}." for name, why in refused.items()]
    return "\n".join(["## What this plant does not have", "", *lines])


def _paired(returns: FloatArray, reference: FloatArray) -> Estimate:
    """The mean difference on the episodes that both played."""
    return mean_estimate(returns - reference[: len(returns)])


def _table(played: list[Played], reference: FloatArray, bound: float | None) -> str:
    lines = [
        "## Every policy",
        "",
        "The best first. Costs are means of an episode; *score* is 0 for idling and 1 for H2;"
        " seconds are to make or train the policy, microseconds those of a decision when a"
        " thousand plants decide at once.",
        "",
        "| policy | episodes | return | less H2, paired | set-up | lost | holding | score |"
        " gap to bound | seconds | microseconds |",
        "|---" * 11 + "|",
    ]
    idle = next(one for one in played if one.name == "idle").returns.mean()
    for one in sorted(played, key=lambda one: -one.returns.mean()):
        mean, paired = mean_estimate(one.returns), _paired(one.returns, reference)
        score = (mean.value - idle) / (reference.mean() - idle)
        cells = [
            one.name,
            str(len(one.returns)),
            f"{mean.value:.1f} ± {mean.value - mean.lower:.1f}",
            f"{paired.value:+.1f} ± {paired.value - paired.lower:.1f}",
            *(f"{part:.0f}" for part in one.parts),
            f"{score:.3f}",
            "no bound" if bound is None else f"{gap(-mean.value, bound):.1%}",
            f"{one.made:.0f}",
            f"{one.microseconds:.0f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
