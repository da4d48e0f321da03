"""The studies of lot-sizing: what they hold runs to, and small runs from end to end."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.progress import Progress

from decisions.cli.report import Workbench, conduct
from decisions.cli.study.frozen_lake import reached
from decisions.cli.study.frozen_lake import report as report_lake
from decisions.cli.study.lotsizing import BARS, LEARNED, Played, bound_of, computed
from decisions.cli.study.lotsizing import report as report_policies
from decisions.cli.study.lotsizing import run as run_policies
from decisions.cli.study.lotsizing_ablation import (
    INSTANCE,
    METHODS,
    SCHEDULE,
    SETTINGS,
    SWITCHES,
    design,
    main_effects,
    training_of,
)
from decisions.cli.study.lotsizing_ablation import report as report_ablation
from decisions.cli.study.lotsizing_paper import STEPS
from decisions.cli.study.lotsizing_paper import report as report_paper
from decisions.cli.study.lotsizing_paper import run as run_paper
from decisions.cli.study.lotsizing_runs import Training, episode_returns, finished, stored
from decisions.domains.lotsizing.instance import Instance, named, packaged, to_json
from decisions.domains.lotsizing.rotation import rotation_of
from decisions.domains.lotsizing.simulation import evaluation_episodes, simulate
from decisions.errors import DataError
from decisions.evaluation import mean_estimate
from decisions.rl.checkpoints import write
from decisions.rl.frozen_lake import FrozenLake, best_values, lake_of_seed, reach_probability
from decisions.rl.pdppo import PDPPO
from decisions.rl.ppo import PPO
from decisions.seeds import stream

TINY = packaged("tiny_2x1")
BOUND = 1536.8
RIGHT = 2


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Workbench]:
    with Progress(disable=True) as progress:
        yield Workbench("tiny", tmp_path / "parts", progress)


def test_the_design_is_orthogonal_and_free_of_interactions() -> None:
    signs = np.where(design(), 1, -1)

    assert signs.shape == (24, len(SWITCHES))
    assert (signs.sum(axis=0) == 0).all()
    np.testing.assert_array_equal(signs.T @ signs, 24 * np.eye(len(SWITCHES)))
    pairs = signs[:, :, None] * signs[:, None, :]
    assert (
        np.einsum("ri,rjk->ijk", signs, pairs)
        == np.where(np.eye(len(SWITCHES))[None] > 0, signs.sum(axis=0)[:, None, None], 0)
    ).all()


def test_main_effects_are_found_beside_an_interaction() -> None:
    signs = np.where(design(), 1.0, -1.0)
    scores = 5 + 0.5 * signs[:, 0] - 0.25 * signs[:, 3] + 0.1 * signs[:, 1] * signs[:, 2]

    effects, half = main_effects(signs, scores)

    np.testing.assert_allclose(effects[:5], [1, 0, 0, -0.5, 0], atol=1e-12)
    assert 0 < half < 0.5


def test_intervals_of_effects_cover() -> None:
    signs = np.where(design(), 1.0, -1.0)
    rng = stream(3, "ablation", "cover")

    missed = 0
    for _ in range(400):
        effects, half = main_effects(signs, rng.normal(size=24))
        missed += int((np.abs(effects) > half).sum())

    assert missed / (400 * len(SWITCHES)) == pytest.approx(0.05, abs=0.02)


def test_all_switches_off_is_the_published_agent_on_another_schedule() -> None:
    """What no switch says is as published, or stated by the schedule, or the networks' shape."""
    free = set(SCHEDULE) - {"rollout_length", "spread_starts"}
    free |= {"total_steps", "actor_activation", "initial", "actor_gain", "retained_chunks"}
    free |= {name for name in vars(PPO()) if name.endswith("_interval")}
    for kind, method in ((PPO, "PPO"), (PDPPO, "PDPPO")):
        off = training_of(TINY, method, SETTINGS["published"], seed=1, steps=100)
        published = kind.paper()
        for name, value in vars(off.config).items():
            if name not in free:
                assert value == getattr(published, name), name
        assert (off.observation, off.scaled, off.masked) == ("inventory", False, False)


def test_the_schedule_is_that_of_every_cell_and_keeps_episodes_whole() -> None:
    instance = packaged(INSTANCE)
    for on in (*SETTINGS.values(), *design().tolist()):
        for method in METHODS:
            config = training_of(instance, method, on, seed=1, steps=100).config
            assert {name: getattr(config, name) for name in SCHEDULE} == SCHEDULE
            assert config.rollout_length == instance.horizon
            assert not config.spread_starts


def test_paired_runs_differ_by_the_method_alone() -> None:
    for on in SETTINGS.values():
        runs = [training_of(TINY, method, on, seed=4, steps=100) for method in METHODS]
        shared = [{name: vars(run.config)[name] for name in vars(PPO())} for run in runs]
        assert shared[0] == shared[1] == shared[2]
        assert {type(run.config) for run in runs} == {PPO, PDPPO}
        assert len({replace(run, config=PPO()) for run in runs}) == 1


def test_a_rule_earns_minus_what_it_costs() -> None:
    training = Training(instance=TINY, config=PPO(), seed=1)
    episodes = evaluation_episodes(50)
    rule = rotation_of(TINY)

    found = episode_returns(training.environment, rule.act, episodes)

    np.testing.assert_allclose(
        found, -simulate(training.environment.plant, rule.act, episodes).total
    )


def small(kind: type[PPO], **changes: Any) -> PPO:
    return replace(kind.paper(), total_steps=320, rollout_length=20, epochs=2, **changes)


def test_a_stored_run_is_not_made_again_and_tells_all(bench: Workbench) -> None:
    training = Training(
        instance=TINY, config=small(PDPPO, curve_interval=80), seed=2, observation="inventory"
    )
    made: list[int] = []

    def job() -> Any:
        made.append(1)
        return finished(training, bench.folder / "checkpoint.safetensors")

    first = stored(bench, {"one": job}, "runs", workers=1)
    again = stored(bench, {"one": job}, "runs", workers=1)

    assert made == [1]
    assert first == again
    assert [row[:2] for row in again["one"]["curve"]] == [[80, 4], [160, 4], [240, 4], [320, 4]]
    assert again["one"]["greedy"] < 0
    assert again["one"]["sampled"] < 0


def test_a_checkpoint_of_another_view_of_the_plant_is_refused(tmp_path: Path) -> None:
    training = Training(instance=TINY, config=small(PPO, checkpoint_interval=80), seed=2)
    checkpoint = tmp_path / "run.safetensors"
    training.run(checkpoint)

    for other in (replace(training, scaled=False), replace(training, masked=False)):
        with pytest.raises(DataError, match="identity"):
            other.run(checkpoint)


def test_a_fresh_study_forgets_parts_and_checkpoints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DECISIONS_HOME", str(tmp_path))
    seen: list[list[str]] = []

    def work(bench: Workbench) -> None:
        seen.append([path.name for path in bench.folder.glob("*")])
        bench.part("one", lambda: 1)
        (bench.folder / "one.safetensors").write_bytes(b"")

    for fresh in (False, False, True):
        conduct("studies", "tiny", work, as_json=False, fresh=fresh)

    assert [len(names) for names in seen] == [0, 2, 0]


def course(*means: float, steps: int = STEPS) -> dict[str, Any]:
    curve = [[steps * (i + 1) // len(means), 40, mean] for i, mean in enumerate(means)]
    return {"curve": curve, "greedy": -9000.0, "sampled": -8000.0, "processor_seconds": 1.0}


def test_the_published_statistic_is_held_to_its_band_in_runs_of_full_length(
    bench: Workbench,
) -> None:
    runs = {
        "PDPPO": {1: course(-9000, -4500, -4800), 2: course(-9000, -5200, -5100)},
        "PPO": {1: course(-9000, -6500, -7000), 2: course(-9000, -6500, steps=8000)},
    }

    report_paper(bench, "20x10", runs)

    said = {check.name: check for check in bench.checks if "highest" in check.name}
    assert [check.ok for check in said.values()] == [True, True, False, None]
    assert bench.checks[-1].value == 3
    assert bench.checks[-1].ok is False
    assert said["20x10, PDPPO, seed 2: highest window in 1,000,000 steps"].value == -5100
    assert "| PPO, seed 2 | 8,000 | -6500 | -9000 |" in bench.sections[-1]


def test_a_longer_run_is_not_held_to_the_band_of_the_published_one(bench: Workbench) -> None:
    runs = {method: {1: course(-9000, -4500, steps=2 * STEPS)} for method in ("PDPPO", "PPO")}

    report_paper(bench, "20x10", runs)

    assert {check.ok for check in bench.checks if "highest" in check.name} == {None}


def test_a_run_that_is_not_finished_tells_where_it_stands(bench: Workbench) -> None:
    path = bench.folder / "20x10-8000-ppo-1.safetensors"
    curve = torch.tensor([[4000, 40, -9000.0, torch.nan], [8000, 40, torch.nan, torch.nan]])
    write(path, {"curve": curve}, {})

    run_paper(bench, steps=8000, so_far=True)

    check, ended = bench.checks
    assert check.name == "20x10, PPO, seed 1: highest window in 8,000 steps"
    assert (check.value, check.ok) == (-9000, None)
    assert ended.ok is False


def test_the_ablation_says_what_survives(bench: Workbench) -> None:
    rng = stream(9, "ablation test")

    def runs(count: int, level: float) -> list[dict[str, Any]]:
        noise = rng.normal(scale=20, size=count)
        return [
            course(-9000, -8000) | {"sampled": level + x, "greedy": level + 2 * x} for x in noise
        ]

    level = {"published": {"PPO": -7000, "PDPPO": -5000, "split": -4900}}
    level["corrected"] = {"PPO": -1900, "PDPPO": -1900, "split": -1900}
    ends = {(setting, m): runs(10, level[setting][m]) for setting in SETTINGS for m in METHODS}
    between = {
        method: [
            one | {"sampled": one["sampled"] + 1000.0 * bool(on[2])}
            for one, on in zip(runs(24, -4000), design(), strict=True)
        ]
        for method in ("PPO", "PDPPO")
    }

    report_ablation(bench, ends, between, {"idle": -7500.0, "H2": -1700.0}, steps=8000)

    said = {check.name: check for check in bench.checks}
    published = said["published: PDPPO less PPO, drawn, normalised score"]
    corrected = said["corrected: PDPPO less PPO, drawn, normalised score"]
    assert published.value == pytest.approx(2000 / 5800, abs=0.01)
    assert published.threshold.startswith("PDPPO is better")
    assert corrected.threshold.startswith("no difference shown")
    lost = said["PDPPO's advantage when published less that when corrected"]
    assert lost.interval is not None
    assert lost.interval[0] > 0
    table = next(section for section in bench.sections if "What each switch does" in section)
    row = next(line for line in table.splitlines() if line.startswith("| set-ups seen"))
    assert "+0.17" in row


def played(name: str, level: float, choosing: float, **kind: bool) -> Played:
    noise = stream(5, "played").normal(scale=30, size=1000)  # the same demand for all
    own = stream(5, "played", name).normal(scale=3, size=1000)
    return Played(
        name=name,
        learned=kind.get("learned", False),
        looks_ahead=kind.get("looks_ahead", False),
        returns=level + noise + own,
        choosing=choosing,
        parts=(100.0, 900.0, -level - 1000),
        made=1.0,
        microseconds=2.0,
    )


def test_the_best_is_chosen_elsewhere_and_held_to_the_bars(bench: Workbench) -> None:
    policies = [
        played("idle", -7538, -7500),
        played("H2", -1738, -1730),
        played("ahead", -1600, -1610, looks_ahead=True),
        played("lucky, greedy", -1590, -1640, learned=True),
    ]

    report_policies(bench, "20x10", policies, BOUND)

    said = {check.name: check for check in bench.checks}
    basic, goal = BARS["20x10"]
    goal_check = said["20x10: mean return of the best learned or look-ahead policy, goal"]
    assert goal_check.value == pytest.approx(policies[2].returns.mean())
    assert f">= {goal:.0f} (ahead, 1000 episodes)" == goal_check.threshold
    assert goal_check.ok is True
    assert basic < goal
    assert said["20x10: best learned or look-ahead policy less H2, paired"].ok is True
    learned = said["20x10: best learned policy less H2, paired"]
    assert learned.ok is None
    assert learned.interval is not None
    assert learned.value == pytest.approx(148, abs=1)
    assert learned.interval[1] - learned.interval[0] < 1  # pairing takes the noise out
    table = next(section for section in bench.sections if "Every policy" in section)
    rows = [line for line in table.splitlines() if line.startswith("| ")]
    assert [row.split(" | ")[0][2:] for row in rows[1:]] == [
        "lucky, greedy",
        "ahead",
        "H2",
        "idle",
    ]


def test_a_policy_that_beats_the_bound_is_an_alarm(bench: Workbench) -> None:
    policies = [
        played("idle", -7538, -7500),
        played("H2", -1738, -1730),
        played("wrong", -1400, -1400, looks_ahead=True),
        played("bad, greedy", -9000, -9000, learned=True),
    ]

    report_policies(bench, "20x10", policies, BOUND)

    alarm = next(check for check in bench.checks if "beats the bound" in check.name)
    assert alarm.ok is False
    assert alarm.value == mean_estimate(policies[2].returns).lower
    assert alarm.threshold == "<= -1536.8 (wrong)"


def test_learned_policies_are_described_where_there_are_some(bench: Workbench) -> None:
    policies = [played("idle", -7538, -7500), played("H2", -1738, -1730)]
    policies.append(played("ahead", -1600, -1610, looks_ahead=True))

    report_policies(bench, "20x10", policies, BOUND)
    assert LEARNED.strip() not in bench.sections
    near = next(check for check in bench.checks if "gap to the lower bound" in check.name)
    assert near.value == pytest.approx(1600 / 1536.8 - 1, abs=0.003)

    report_policies(bench, "20x10", [*policies, played("net", -1700, -1700, learned=True)], BOUND)
    assert bench.sections[-1] == LEARNED.strip()


@pytest.fixture
def large() -> Instance:
    """An item that 17 machines can make has more subsets of them than the bound can list."""
    by_machine = {
        name: np.tile(getattr(TINY, name), (17, 1))
        for name in ("production", "setup_cost", "setup_loss")
    }
    return replace(TINY, name="large", horizon=5, **by_machine)


def test_a_plant_too_large_for_a_bound_says_so(bench: Workbench, large: Instance) -> None:
    policies = [played("idle", -7538, -7500), played("H2", -1738, -1730)]
    policies.append(played("ahead", -1600, -1610, looks_ahead=True))

    report_policies(bench, "large", policies, None)

    for one in (bound_of(large), computed(large, "priced")):
        assert one["refused"].startswith("item 1 of 'large' can be made by 17 machines")
    said = {check.name: check.value for check in bench.checks}
    assert said["large: lower bound"] == "no bound"
    assert not [name for name in said if "gap" in name]
    assert all("no bound" in row for row in bench.sections[-1].splitlines() if "1.0 |" in row)


@pytest.mark.slow
def test_a_study_goes_on_without_a_bound(
    bench: Workbench, large: Instance, tmp_path: Path
) -> None:
    (tmp_path / "large.json").write_text(to_json(large))

    run_policies(bench, instance=str(tmp_path / "large.json"), learn=False, workers=1)

    table = next(section for section in bench.sections if "Every policy" in section)
    assert "| decomposition |" in table
    assert "priced" not in table
    without = next(section for section in bench.sections if "does not have" in section)
    assert "- *priced*: item 1 of 'large' can be made by 17 machines" in without
    assert "- *bound*: item 1" in without


def test_a_plant_may_come_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text(to_json(TINY))

    assert named(str(tmp_path / "mine.json")).digest == TINY.digest
    assert named("15x5").name == "15x5"


def test_the_best_walk_earns_what_backward_induction_says() -> None:
    lake = lake_of_seed(2)
    values, moves = best_values(lake)
    episodes = evaluation_episodes()

    found = episode_returns(lake, lambda s: moves[s.period, s.cell][:, None], episodes)

    standard_error = found.std() / np.sqrt(len(found))
    assert found.mean() == pytest.approx(values[0, 0], abs=4 * standard_error)


def test_the_surest_walk_reaches_the_goal_as_often_as_can_be() -> None:
    lake = FrozenLake(("SFFFG",), np.full((5, 4), 0.25), 4)
    episodes = evaluation_episodes()

    share = reached(lake, lambda s: np.full((len(s.cell), 1), RIGHT), episodes)

    possible = reach_probability(lake)
    assert 0.5 < possible < 0.95
    assert share == pytest.approx(possible, abs=4 * np.sqrt(possible * (1 - possible) / 1000))


def test_a_share_of_the_optimum_is_held_to_nine_tenths(bench: Workbench) -> None:
    one = {"optimum": 20.0, "random": 1.0, "reachable": 0.8, "sampled": 10.0, "reached": 0.1}

    report_lake(
        bench,
        {
            "PPO": [one | {"greedy": 19.0}, one | {"greedy": 18.0}],
            "PDPPO": [one | {"greedy": 10.0}, one | {"greedy": 20.0}],
        },
    )

    said = {check.name: check for check in bench.checks}
    assert said["PPO, greedy: share of the optimum, mean of 2 maps"].ok is True
    assert said["PDPPO, greedy: share of the optimum, mean of 2 maps"].value == 0.75
    assert said["PDPPO, greedy: share of the optimum, mean of 2 maps"].ok is False
