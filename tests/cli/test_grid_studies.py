"""The studies over regimes, from end to end with few rows; what they say of known figures."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.progress import Progress

from decisions.bandits.arms import Arm
from decisions.bandits.oracles import LightGBMConfig
from decisions.cli.report import Workbench
from decisions.cli.study import grid, regimes
from decisions.cli.study.oscillation_causes import TRIALS, USUAL, effect
from decisions.cli.study.oscillation_causes import report as report_causes
from decisions.cli.study.regimes import ADAPTIVE, FIXED, REGIMES, Option, of_arm
from decisions.cli.study.stabilised import ratio, report
from decisions.diagnostics.oscillation import diagnose_pooled
from decisions.policy import FloatArray
from decisions.seeds import stream

SMALL = LightGBMConfig(trees=5, leaves=4)
BY_NAME = {regime.name: regime for regime in REGIMES}


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Workbench]:
    with Progress(disable=True) as progress:
        yield Workbench("tiny", tmp_path / "parts", progress)


def arm(name: str, **changes: object) -> Option:
    return of_arm(replace(Arm(name=name, parameter=100.0, oracle=SMALL), **changes))  # pyright: ignore[reportArgumentType]


def test_there_are_enough_regimes_each_with_a_name_and_a_sentence() -> None:
    assert len(BY_NAME) == len(REGIMES) >= 16
    assert all(regime.about.endswith(".") for regime in REGIMES)
    assert all(regime.first <= regime.generations for regime in REGIMES)
    assert len({option.name for option in (*FIXED, ADAPTIVE)}) == len(FIXED) + 1


@pytest.mark.parametrize("regime", REGIMES, ids=lambda regime: regime.name)
def test_a_regime_is_the_same_bits_whatever_was_asked_before(regime: regimes.Regime) -> None:
    first, second = regime.world(3, 60), regime.world(3, 60)
    late = second.day(6)

    early = [first.day(number) for number in (0, 6)]

    assert early[1].context.equals(late.context)
    assert (early[1].success == late.success).all()
    assert (early[1].eligible == late.eligible).all()
    assert (early[0].outcome == second.day(0).outcome).all()
    assert not (regime.world(4, 60).day(6).outcome == late.outcome).all()


def test_cells_are_stored_and_do_not_depend_on_what_ran_beside_them(bench: Workbench) -> None:
    options = (arm("one"), arm("two", window=2))
    regime = replace(BY_NAME["short retention"], rows=120, generations=2)

    alone = grid.computed(bench, (regime,), options[1:], (1,), workers=1)
    both = grid.computed(bench, (regime,), options, (2, 1), workers=1)

    stored = {path.name for path in bench.folder.glob("*.json")}
    assert stored == {f"short-retention--{o}--{s}.json" for o in ("one", "two") for s in (1, 2)}
    for name, values in alone["short retention", "two"].items():
        np.testing.assert_array_equal(both["short retention", "two"][name][1], values[0])
    np.testing.assert_array_equal(  # a window of two is capped by the retention of one
        both["short retention", "one"]["value"], both["short retention", "two"]["value"]
    )


def test_cells_are_the_same_from_several_processes(bench: Workbench, tmp_path: Path) -> None:
    regime = replace(BY_NAME["digits"], rows=80, generations=1)
    other = Workbench("other", tmp_path / "other", bench.progress)

    here = grid.computed(bench, (regime,), (arm("one"),), (1, 2), workers=1)
    there = grid.computed(other, (regime,), (arm("one"),), (1, 2), workers=2)

    np.testing.assert_array_equal(here["digits", "one"]["value"], there["digits", "one"]["value"])


def test_a_ratio_of_paired_figures_has_an_interval_around_it() -> None:
    below = np.array([1.0, 2.0, 3.0, 4.0])

    value, (low, high) = ratio(below / 2, below)
    _, (wide_low, wide_high) = ratio(np.array([0.2, 1.8, 0.9, 2.1]), below)

    assert value == pytest.approx(0.5) == low == high
    assert wide_low < 0.5 < wide_high


def columns(regret: FloatArray) -> grid.Columns:
    level = np.full_like(regret, 0.95)
    return {"value": level - regret, "value_best": level, "value_control": level - 0.04}


def test_the_bars_are_held_where_the_learner_is_good_and_broken_where_it_is_not(
    bench: Workbench,
) -> None:
    chosen = [BY_NAME[name] for name in ("long retention", "short retention", "abrupt")]
    rng = stream(1, "grid test")

    def cell(regime: regimes.Regime, level: float) -> grid.Columns:
        noise = rng.normal(scale=1e-4, size=(10, regime.generations + 1))
        return columns(level + noise)

    good = {
        (regime.name, option.name): cell(regime, 0.01 if option is ADAPTIVE else 0.04)
        for regime in chosen
        for option in (*FIXED, ADAPTIVE)
    }
    bad = dict(good)
    swinging = 0.05 + 0.01 * (-1.0) ** np.arange(17) + rng.normal(scale=1e-3, size=(10, 17))
    bad["long retention", ADAPTIVE.name] = columns(swinging)

    report(bench, chosen, good)
    held = {check.name: check.ok for check in bench.checks}
    bench.checks.clear()
    report(bench, chosen, bad)
    broken = {check.name for check in bench.checks if check.ok is False}

    long_memory = {name for name in held if name.endswith("FastCB, all kept")}
    assert all(ok is not False for name, ok in held.items() if name not in long_memory)
    assert broken - long_memory == {
        "regimes in which the adaptive learner oscillates, seeds pooled",
        "single runs of the adaptive learner that oscillate",
        "long retention: regret over that of its best fixed option",
        "long retention: regret over that of window 4",
    }
    assert f"| long retention | {100 * swinging[:, 1:].mean():.2f} |" in bench.sections[-1]


def test_the_causes_are_told_from_the_figures_from_end_to_end(bench: Workbench) -> None:
    small = replace(USUAL, rows=150, generations=9)
    names = (
        "failures reweighted to the uniform ratio",
        "uniform logs thinned to the narrow logs' ratio",
        "trained on uniform logs",
        "window 4",
    )
    trials = [
        replace(trial, regime=small)
        for trial in TRIALS
        if trial.what in names or trial.group == "-"
    ]
    options = [trial.option for trial in trials]

    cells = grid.computed(bench, (small,), options, (1, 2), detail=True, workers=1)
    report_causes(bench, trials, cells)

    text = "\n".join(bench.sections)
    assert all(name in text for name in names)
    assert "## In words" in text
    assert any(check.name == "finding: class balance" for check in bench.checks)


def test_what_a_change_did_follows_the_stated_rule() -> None:
    rng = stream(2, "grid test")
    swinging = 0.9 + 0.01 * (-1.0) ** np.arange(16) + rng.normal(scale=1e-3, size=(6, 16))
    calm = 0.9 + rng.normal(scale=1e-3, size=(6, 16))
    plain, same, half, none = (
        diagnose_pooled(each, np.zeros_like(each), rng)
        for each in (swinging, swinging + 0.01, 0.9 + (swinging - 0.9) / 2, calm)
    )
    assert effect(plain, same, 0.001, adds=False) == "leaves it"
    assert effect(plain, half, 0.001, adds=False) == "weakens it"
    assert effect(plain, none, 0.5, adds=False) == "ends it"
    assert effect(none, half, 0.001, adds=False) == "cannot be told"
    assert effect(plain, same, 0.001, adds=True) == "makes a swing"
    assert effect(plain, none, 0.5, adds=True) == "makes none"
