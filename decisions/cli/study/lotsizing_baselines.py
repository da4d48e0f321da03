"""What classical plans of the published plants cost, beside the figures known for them.

Every policy meets the same 2,000 episodes (starts and demand), which none was tuned on; a return
is minus the cost of an episode of 100 periods, in the instance's cost units, with the 95 %
interval of its mean. "Always idle" makes nothing. "Uniform random" draws an item or idling for
each machine, items that the machine cannot make included, as the published environment allowed:
such a choice pays the set-up and loses units. H1 is the static assignment; H2 the grouped
rotation, with the groups published for each plant and with the package's own (`decisions
lotsizing tune`). H3 adds to H2 stops, waits and a matching of machines with items: what each is
worth is a paired difference on the same episodes, with H2's groups, then with its own.

Tolerances are the references' own; intervals of ours do not widen them.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from decisions.cli.report import Workbench
from decisions.domains.lotsizing.improved_rotation import (
    ImprovedRotation,
    Turns,
    improved_rotation_of,
)
from decisions.domains.lotsizing.instance import packaged
from decisions.domains.lotsizing.plant import Plant, PlantState
from decisions.domains.lotsizing.rotation import GroupedRotation, rotation_of
from decisions.domains.lotsizing.simulation import Costs, evaluation_episodes, simulate
from decisions.domains.lotsizing.static_assignment import static_assignment
from decisions.evaluation import mean_estimate
from decisions.seeds import RowKeys

EPISODES = 2_000
INSTANCES = ("15x5", "20x10", "25x10", "25x15")
IDLE = {
    "15x5": (-5653.0, 15.0),
    "20x10": (-7538.0, 15.0),
    "25x10": (-12427.0, 20.0),
    "25x15": (-10925.0, 20.0),
}
RANDOM = {"20x10": -22307.0, "25x10": -27890.0, "25x15": -33838.0}  # to 0.3 %
STATIC = {"20x10": (-1738.0, 4.0), "25x15": (-2176.0, 4.0), "25x10": (-5215.0, 6.0)}
ROTATION = {  # groups, low, gap, return, tolerance
    "25x10": (
        ((17,), (4,), (13, 3), (18, 21), (15,), (7,), (11, 1), (9,), (16,), (24, 10)),
        *(6, 35, -2621.0, 5.0),
    ),
    "20x10": (
        ((9,), (8,), (10,), (7,), (15,), (1,), (3,), (12,), (16,), (17,)),
        *(8, 40, -1738.0, 4.0),
    ),
    "25x15": (
        (
            *((2, 20), (15,), (1,), (4,), (6,), (23,), (12,), (10, 13, 21), (24,), (18,)),
            *((3,), (11,), (14, 9), (7, 5), (22,)),
        ),
        *(9, 60, -2165.0, 5.0),
    ),
    "15x5": (((7,), (11,), (10,), (14,), (12, 5)), *(8, 36, -1462.0, 4.0)),
}


def run(bench: Workbench) -> None:
    """Returns of every baseline on four plants, and what each improvement of H3 is worth."""
    for name in bench.track(INSTANCES, "plants"):
        found = bench.part(name, partial(measured, name))
        _check(bench, name, found["returns"])
        bench.section(_table(name, found["returns"]))
        bench.section(_worth(name, found["saved"]))


def measured(name: str) -> dict[str, Any]:
    """Returns by policy (mean, lower, upper, set-up, lost, holding) and savings of H3 over H2."""
    instance = packaged(name)
    plant, episodes = Plant(instance), evaluation_episodes(EPISODES)
    groups, low, gap, *_ = ROTATION[name]
    published = GroupedRotation(groups, low=low, gap=gap)
    rules: dict[str, Callable[[PlantState], npt.NDArray[np.integer[Any]]]] = {
        "always idle": lambda state: np.zeros_like(state.set_up),
        "H1 static assignment": static_assignment(instance).act,
        "H2 with the published groups": published.act,
        "H2 grouped rotation": rotation_of(instance).act,
        "H3 improved rotation": improved_rotation_of(instance).act,
    }
    costs = {rule: simulate(plant, act, episodes) for rule, act in rules.items()}
    costs["uniform random"] = _at_random(plant, episodes)
    return {
        "returns": {rule: _figures(cost) for rule, cost in costs.items()},
        "saved": _saved(plant, published, costs["H2 with the published groups"], episodes),
    }


def _saved(
    plant: Plant, rotation: GroupedRotation, plain: Costs, episodes: RowKeys
) -> dict[str, list[float]]:
    """Paired savings of H3's parts over a rotation, (mean, lower, upper)."""
    turns, every = Turns.of(rotation), ("stops", "waits", "matches")
    parts: dict[str, tuple[str, ...]] = {
        "stops alone": ("stops",),
        "waits alone": ("waits",),
        "matches alone": ("matches",),
        "stops and waits": ("stops", "waits"),
        "all three": every,
    }
    rules = {
        name: ImprovedRotation(
            instance=plant.instance, turns=turns, **{switch: switch in on for switch in every}
        )
        for name, on in parts.items()
    }
    rules["all three, groups of its own"] = improved_rotation_of(plant.instance)
    saved: dict[str, list[float]] = {}
    for name, rule in rules.items():
        terms = plain.total - simulate(plant, rule.act, episodes).total
        estimate = mean_estimate(terms)
        saved[name] = [estimate.value, estimate.lower, estimate.upper]
    return saved


def _at_random(plant: Plant, episodes: RowKeys) -> Costs:
    """Costs of items drawn uniformly, whether machines can make them or not."""
    instance, n = plant.instance, len(episodes.rows)
    setup, lost, holding = np.zeros(n), np.zeros(n), np.zeros(n)
    state = plant.reset(episodes)
    for period in range(instance.horizon):
        drawn = episodes.uniforms("random policy", str(period), columns=instance.machines)
        action = (drawn * (instance.items + 1)).astype(np.int16)
        post, switching = plant.apply(state, action)
        state, missed, held = plant.advance(post, plant.demand_uniforms(episodes, state.period))
        setup, lost, holding = setup + switching, lost + missed, holding + held
    return Costs(setup=setup, lost=lost, holding=holding)


def _figures(costs: Costs) -> list[float]:
    """The mean return with its interval, then mean set-up, lost-sales and holding cost."""
    estimate = mean_estimate(-costs.total)
    parts = [float(part.mean()) for part in (costs.setup, costs.lost, costs.holding)]
    return [estimate.value, estimate.lower, estimate.upper, *parts]


def _check(bench: Workbench, name: str, returns: Mapping[str, list[float]]) -> None:
    """Holds what is known against what was measured."""
    known = {"always idle": IDLE[name]}
    if name in RANDOM:
        known["uniform random"] = (RANDOM[name], 0.003 * abs(RANDOM[name]))
    if name in STATIC:
        known["H1 static assignment"] = STATIC[name]
    *_, value, tolerance = ROTATION[name]
    known["H2 with the published groups"] = (value, tolerance)
    for rule, (value, tolerance) in known.items():
        mean, lower, upper, *_ = returns[rule]
        bench.check(
            f"{name}, {rule}: return",
            mean,
            f"{value:g} +- {tolerance:.3g}",
            ok=abs(mean - value) <= tolerance,
            interval=(lower, upper),
        )
    reference = returns["H2 with the published groups"][0]
    for rule in ("H2 grouped rotation", "H3 improved rotation"):
        mean, lower, upper, *_ = returns[rule]
        bench.check(
            f"{name}, {rule}: return",
            mean,
            f">= {reference:.2f}, of the published groups",
            ok=mean >= reference,
            interval=(lower, upper),
        )


def _table(name: str, returns: Mapping[str, list[float]]) -> str:
    rows = sorted(returns.items(), key=lambda row: row[1][0])
    lines = [
        f"## {name}: returns of {EPISODES} episodes",
        "",
        "| policy | return | 95 % | set-up | lost sales | holding |",
        "|---|---|---|---|---|---|",
        *(
            f"| {rule} | {mean:.1f} | [{lower:.1f}, {upper:.1f}] | {setup:.0f} | {lost:.0f}"
            f" | {holding:.0f} |"
            for rule, (mean, lower, upper, setup, lost, holding) in rows
        ),
    ]
    return "\n".join(lines)


def _worth(name: str, saved: Mapping[str, list[float]]) -> str:
    lines = [
        f"{name}: cost that the parts of H3 save an episode, over H2 with the published groups",
        "",
        "| part | saved | 95 % |",
        "|---|---|---|",
        *(
            f"| {part} | {mean:.1f} | [{lower:.1f}, {upper:.1f}] |"
            for part, (mean, lower, upper) in saved.items()
        ),
    ]
    return "\n".join(lines)
