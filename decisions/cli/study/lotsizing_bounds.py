"""How far policies of the plant are from what any policy must cost.

The bound: items rent machines at prices, one price a machine and period (Lagrangian relaxation),
solved exactly item by item. Its prices are packaged; here the bound is proved again from them
(`--search` looks for them anew, and `--package` stores what it finds). It holds for every policy,
in expectation over starts and demand. The packaged prices of 25x15 come from a search that was
cut short: its items have up to 13 machines. "Refined" raises it by prices that follow simulated
episodes (information relaxation with the penalties of the bound): it is an estimate with a 95 %
interval, whose lower end is what gaps are taken to.

A gap is cost of the policy / bound - 1. Costs are means over the evaluation episodes, scenarios
10,000 to 10,999, the same for all policies; which policy is best was decided on scenarios 20,000
to 20,199. H2 is the tuned rotation, "priced" matches machines to items
by the bound's own item values, "decomposition" solves groups of items exactly and improves on
them by one step.

Perfect information: programs for the first periods of evaluation episodes whose demand is known,
from H2's plan as the first incumbent; a program gets so many seconds of one thread. Rolling
program: twelve periods ahead on mean demand, the first carried out, from H2's plan; on few
episodes, since each decision is a program.
"""

import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import t as t_law

from decisions.cli.report import Workbench
from decisions.code_version import PACKAGE
from decisions.domains.lotsizing.instance import Instance, packaged
from decisions.domains.lotsizing.lower_bound import (
    Bound,
    gap,
    lagrangian_at,
    lagrangian_bound,
    packaged_bound,
    packaged_multipliers,
    refined_bound,
)
from decisions.domains.lotsizing.perfect_information import perfect_information, replayed_cost
from decisions.domains.lotsizing.plant import Plant, PlantState
from decisions.domains.lotsizing.rolling_program import RollingProgram
from decisions.domains.lotsizing.rotation import rotation_of
from decisions.domains.lotsizing.simulation import (
    evaluation_episodes,
    realised_demand,
    simulate,
)
from decisions.policy import FloatArray, IntArray
from decisions.seeds import RowKeys

INSTANCES = ("15x5", "20x10", "25x10", "25x15")
REFINED = {"15x5": 12, "20x10": 6}  # episodes
CHUNK = 2  # episodes a part
REFINING_SEED = 1  # of the episodes that refine; evaluation has seed 0
EVALUATION = evaluation_episodes(1000)
CHOOSING = evaluation_episodes(200, first=20_000)
PROGRAMS = ((10, False), (10, True), (20, False), (20, True))  # periods, overflow exact
PROGRAM_SECONDS = 60.0
PROGRAM_EPISODES = 1
ROLLING = (("tiny_2x1", 5), ("15x5", 2))  # instance, episodes
WANTED_GAP = 0.03
_FILE = PACKAGE / "domains" / "lotsizing" / "bounds.json"

Act = Callable[[PlantState], Any]


def run(bench: Workbench, *, search: bool, package: bool) -> None:
    """Bounds, policies, gaps, programs."""
    rows: list[str] = []
    for name in bench.track(INSTANCES, "bounds"):
        rows += _instance(bench, packaged(name), search=search, package=package)
    head = (
        "| instance | policy | mean cost | s.e. | gap to the bound | gap to the refined bound |\n"
        "|---|---|---|---|---|---|\n"
    )
    bench.section("## Policies against the bounds\n\n" + head + "\n".join(rows))
    _perfect_information(bench)
    _rolling(bench)


def _instance(bench: Workbench, instance: Instance, *, search: bool, package: bool) -> list[str]:
    """Checks of one instance's bounds, and its rows of the table of policies."""
    name = instance.name
    found = bench.part(f"bound-{name}-{search}", lambda: _bound(instance, search=search))
    bench.check(f"{name}_bound", found["value"], "reported", ok=None)
    bench.check(f"{name}_bound_seconds", found["seconds"], "reported", ok=None)
    bound = Bound(value=found["value"], multipliers=np.array(found["multipliers"]))
    known = packaged_bound(instance)
    if known is not None and not search:
        off = abs(known["value"] - bound.value)
        bench.check(f"{name}_packaged_bound_is_off_by", off, "<= 1e-6", ok=off <= 1e-6)
    gains = [
        gain
        for first in range(0, REFINED.get(name, 0), CHUNK)
        for gain in bench.part(
            f"gains-{name}-{bound.digest[:8]}-{first}", lambda f=first: _gains(instance, bound, f)
        )
    ]
    refined = None
    if gains:
        low, high = _interval(np.array(gains))
        refined = bound.value + max(low, 0.0)  # no gain is negative
        bench.check(
            f"{name}_refined_bound",
            bound.value + float(np.mean(gains)),
            f"reported, {len(gains)} episodes",
            ok=None,
            interval=(refined, bound.value + high),
        )
    if package:
        _package(instance, bound, gains)
    costs, choosing = (
        {
            policy: bench.part(f"{what}-{name}-{policy}", partial(_cost, instance, policy, keys))
            for policy in ("H2", "priced", "decomposition")
        }
        for what, keys in (("cost", EVALUATION), ("choosing", CHOOSING))
    )
    for policy, (mean, error) in costs.items():
        bench.check(
            f"{name}_{policy}_costs_more_than_the_bound",
            mean,
            f">= {bound.value:.1f}",
            ok=mean + 4 * error >= bound.value,
            interval=(mean - 1.96 * error, mean + 1.96 * error),
        )
    best = min(choosing, key=lambda policy: choosing[policy][0])
    found_gap = gap(costs[best][0], bound.value if refined is None else refined)
    wanted = name in ("15x5", "20x10")
    bench.check(
        f"{name}_gap_of_{best}",
        found_gap,
        f"<= {WANTED_GAP}" if wanted else "reported",
        ok=found_gap <= WANTED_GAP if wanted else None,
    )
    return [
        f"| {name} | {policy} | {mean:.1f} | {error:.1f} | {gap(mean, bound.value):.1%} | "
        + ("" if refined is None else f"{gap(mean, refined):.1%}")
        + " |"
        for policy, (mean, error) in costs.items()
    ]


def _bound(instance: Instance, *, search: bool) -> dict[str, Any]:
    began = time.perf_counter()
    known = packaged_multipliers(instance)
    found = (
        lagrangian_bound(instance) if search or known is None else lagrangian_at(instance, known)
    )
    return {
        "value": found.value,
        "multipliers": found.multipliers.tolist(),
        "seconds": time.perf_counter() - began,
    }


def _gains(instance: Instance, bound: Bound, first: int) -> list[float]:
    episodes = RowKeys(REFINING_SEED, np.arange(first, first + CHUNK, dtype=np.int64))
    return refined_bound(instance, bound, episodes).gains.tolist()


def _policy(instance: Instance, name: str) -> Act:
    """A policy; tables and imports are paid for only where it is asked for."""
    if name == "H2":
        return rotation_of(instance).act
    if name == "priced":
        from decisions.domains.lotsizing.priced_policy import priced_policy

        return priced_policy(instance).act
    from decisions.domains.lotsizing.decomposition import decomposition

    return decomposition(instance).act


def _cost(instance: Instance, name: str, episodes: RowKeys) -> tuple[float, float]:
    """Mean cost over the episodes and its standard error."""
    total = simulate(Plant(instance), _policy(instance, name), episodes).total
    return float(total.mean()), float(total.std(ddof=1) / np.sqrt(len(total)))


def _package(instance: Instance, bound: Bound, gains: list[float]) -> None:
    """Writes an instance's bound into the package's data, rows of prices a line."""
    stored: dict[str, Any] = json.loads(_FILE.read_text())
    stored[instance.digest] = {
        "name": instance.name,
        "value": bound.value,
        "multipliers_digest": bound.digest,
        "command": "decisions study lotsizing-bounds --search --package",
        "refined": bound.value + float(np.mean(gains)) if gains else None,
        "standard_error": (float(np.std(gains, ddof=1) / np.sqrt(len(gains))) if gains else None),
        "scenarios": len(gains),
        "multipliers": bound.multipliers.tolist(),
    }
    write_bounds(_FILE, stored)


def write_bounds(path: Path, stored: dict[str, dict[str, Any]]) -> None:
    """Bounds by the digest of their instance, as JSON with a row of prices a line."""
    entries: list[str] = []
    for digest, entry in stored.items():
        fields = [f"    {json.dumps(k)}: {json.dumps(v)}" for k, v in entry.items()][:-1]
        prices = ",\n".join(f"      {json.dumps(row)}" for row in entry["multipliers"])
        fields.append(f'    "multipliers": [\n{prices}\n    ]')
        entries.append(f"  {json.dumps(digest)}: {{\n" + ",\n".join(fields) + "\n  }")
    path.write_text("{\n" + ",\n".join(entries) + "\n}\n")


def _perfect_information(bench: Workbench) -> None:
    """Programs of known demand: incumbent, bound and gap after their time."""
    rows: list[str] = []
    for periods, exact in bench.track(PROGRAMS, "perfect information"):
        for episode in range(PROGRAM_EPISODES):
            row = bench.part(
                f"program-{periods}-{exact}-{episode}",
                lambda p=periods, x=exact, e=episode: _program(p, e, exact=x),
            )
            rows.append(
                f"| {periods} | {'exact' if exact else 'relaxed'} | {episode} |"
                f" {row['rotation']:.1f} | {row['cost']:.1f} | {row['bound']:.1f} |"
                f" {row['gap']:.1%} | {row['seconds']:.0f} |"
            )
            name = f"20x10_{periods}_periods_{'exact' if exact else 'relaxed'}_{episode}"
            ok = row["bound"] <= row["cost"] + 1e-6 and row["cost"] <= row["rotation"] + 1e-6
            bench.check(f"{name}_program_gap", row["gap"], "bound <= cost <= H2's", ok=ok)
    bench.section(
        "## Perfect information, 20x10, HiGHS\n\n"
        "| periods | overflow | episode | H2's cost | program's cost | its bound | gap | s |\n"
        "|---|---|---|---|---|---|---|---|\n" + "\n".join(rows)
    )


def _program(periods: int, episode: int, *, exact: bool) -> dict[str, float]:
    instance = packaged("20x10")
    plant, keys = Plant(instance), evaluation_episodes(episode + 1).take(np.array([episode]))
    start, demand = plant.reset(keys), realised_demand(plant, keys, periods)[0]
    actions = _followed(plant, rotation_of(instance).act, start, demand)
    began = time.perf_counter()
    found = perfect_information(
        instance, start, demand, seconds=PROGRAM_SECONDS, incumbent=actions, exact=exact
    )
    return {
        "rotation": replayed_cost(instance, start, demand, actions),
        "cost": found.cost,
        "bound": found.bound,
        "gap": found.gap,
        "seconds": time.perf_counter() - began,
    }


def _followed(plant: Plant, act: Act, start: PlantState, demand: Any) -> IntArray:
    """The actions (H, M) of a policy under a demand (H, I)."""
    state, actions = start, list[IntArray]()
    for units in demand:
        actions.append(act(state)[0].astype(np.int64))
        post, _ = plant.apply(state, actions[-1][None])
        state, _, _ = plant.advance_with(post, units[None])
    return np.array(actions)


def _rolling(bench: Workbench) -> None:
    """The rolling program against H2 on the same few episodes."""
    for name, episodes in bench.track(ROLLING, "rolling program"):
        costs = bench.part(
            f"rolling-{name}-{episodes}", lambda n=name, e=episodes: _rolled(packaged(n), e)
        )
        saved = np.array(costs["rotation"], np.float64) - np.array(costs["rolling"], np.float64)
        for policy, each in costs.items():
            if policy != "seconds":
                label = f"{name}_{policy}_cost"
                bench.check(label, sum(each) / len(each), f"{episodes} episodes", ok=None)
        bench.check(
            f"{name}_rolling_saves_against_H2",
            float(saved.mean()),
            "reported",
            ok=None,
            interval=_interval(saved),
        )
        bench.check(f"{name}_rolling_seconds", costs["seconds"], "reported", ok=None)


def _interval(values: FloatArray) -> tuple[float, float]:
    """The 95 % interval of the mean of a few independent values, by Student's law."""
    error = float(values.std(ddof=1) / np.sqrt(len(values)))
    reach = float(t_law.ppf(0.975, len(values) - 1)) * error
    return float(values.mean()) - reach, float(values.mean()) + reach


def _rolled(instance: Instance, episodes: int) -> dict[str, Any]:
    plant, keys = Plant(instance), evaluation_episodes(episodes)
    rotation = rotation_of(instance).act
    began = time.perf_counter()
    rolling = simulate(plant, RollingProgram(instance=instance, base=rotation).act, keys).total
    seconds = time.perf_counter() - began
    costs = {
        "rolling": rolling.tolist(),
        "rotation": simulate(plant, rotation, keys).total.tolist(),
    }
    if instance.items == 2:
        from decisions.domains.lotsizing.exact import optimum

        costs["optimal"] = simulate(plant, optimum(instance).act, keys).total.tolist()
    return costs | {"seconds": seconds}
