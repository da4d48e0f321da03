"""Verdicts: the rule of the specification, its error rates, and every bad input."""

import json
import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from decisions.diagnostics.evidence import lag_one_test, levels_without_memory
from decisions.diagnostics.oscillation import (
    Series,
    diagnose,
    diagnose_all,
    diagnose_pooled,
    holm,
)
from decisions.errors import DataError
from decisions.policy import FloatArray
from decisions.seeds import stream

EXACT = np.zeros(16)
SAW = np.tile([0.01, -0.01], 8) + np.linspace(0, 0.002, 16)


def _rng(name: str = "diagnose") -> np.random.Generator:
    return stream(7, "test", name)


def _wobble(length: int = 16) -> FloatArray:
    return 0.005 * stream(1, "wobble").standard_normal(length)


def test_a_saw_oscillates_with_period_two() -> None:
    found = diagnose(SAW, EXACT, _rng(), name="squarecb")

    assert found.verdict == "oscillating"
    assert found.statistics.period == 2.0
    assert found.statistics.r1 < found.statistics.r1_null_low
    assert found.statistics.flip_rate == 1.0
    assert found.statistics.p == 1 / 2001  # as low as 2000 permutations allow
    assert "squarecb" in found.explanation
    assert "alternates" in found.explanation
    assert "stabilised" in found.action


def test_a_small_saw_is_suspect_and_says_by_how_much_it_falls_short() -> None:
    found = diagnose(SAW / 20, EXACT, _rng())

    assert found.verdict == "suspect"
    assert "below 0.20 pp" in found.reasons[1]


def test_material_swing_is_in_the_unit_of_the_reward() -> None:
    fish = diagnose(1e6 * SAW, EXACT, _rng(), material=5e4, unit="t")

    assert fish.verdict == "suspect"
    assert "5e+04 t" in fish.reasons[1]
    assert diagnose(1e6 * SAW, EXACT, _rng(), material=1e4, unit="t").verdict == "oscillating"


def test_the_swing_that_is_called_falls_with_the_number_of_generations() -> None:
    signs = np.tile([1.0, -1.0], 32)

    def sure(count: int) -> float:
        noise = np.full(count, 0.008)
        found = diagnose(0.004 * signs[:count], noise, _rng())  # a swing of one standard error
        return found.statistics.sure_swing

    assert sure(8) == 0.0
    assert sure(16) == pytest.approx(0.008 - 2 * 1.645 * 0.008 / 16**0.5, abs=2e-4)
    assert sure(64) == pytest.approx(0.008 - 2 * 1.645 * 0.008 / 64**0.5, abs=2e-4)


def test_a_swing_that_errors_of_measurement_may_explain_is_not_called_oscillation() -> None:
    found = diagnose(SAW / 4, np.full(16, 0.004), _rng())

    assert found.verdict == "suspect"
    assert "beyond the errors of measurement is below 0.20 pp" in found.reasons[1]


def test_a_sure_swing_is_another_measure_than_the_average_one_and_is_said_to_be() -> None:
    value = np.where(np.arange(16) == 8, 0.05, 0.0) + SAW / 10

    found = diagnose(value, np.full(16, 0.001), _rng())

    assert found.statistics.sure_swing > found.statistics.swing
    assert "on average; " in found.reasons[1]
    assert "of which" not in found.reasons[1]


def test_white_noise_that_could_hide_a_swing_cannot_be_told() -> None:
    found = diagnose(_wobble(), EXACT, _rng())

    assert found.verdict == "cannot tell"
    assert found.statistics.swing > 0.002  # it moves enough, but without order
    assert found.statistics.visible_swing > 0.002
    assert "would be seen four times of five" in found.reasons[2]


def test_white_noise_that_could_hide_no_swing_that_matters_is_stable() -> None:
    found = diagnose(_wobble() / 10, EXACT, _rng())

    assert found.verdict == "stable"
    assert found.statistics.visible_swing < 0.002


def test_the_smallest_visible_swing_is_seen_four_times_of_five() -> None:
    noise = np.full(16, 0.003)
    rng = stream(8, "visible")
    steady = diagnose(noise * rng.standard_normal(16), noise, _rng()).statistics
    signs = np.tile([1.0, -1.0], 8)

    seen = [
        diagnose(
            noise * rng.standard_normal(16) + steady.visible_swing / 2 * signs, noise, rng
        ).statistics.p
        < 0.01
        for _ in range(150)
    ]

    assert np.mean(seen) == pytest.approx(0.8, abs=4 * 0.4 / 150**0.5 + 0.05)


def test_one_policy_in_all_cycles_is_stable_and_not_degenerate() -> None:
    same = diagnose(np.zeros(9), np.zeros(9), _rng(), measures={"generation": np.zeros(9)})
    other = diagnose(np.zeros(9), np.zeros(9), _rng(), measures={"generation": np.arange(9.0)})

    assert same.verdict == "stable"
    assert "one policy" in same.reasons[0]
    assert other.verdict == "degenerate"


def test_an_expected_rhythm_that_outcomes_contradict_is_not_believed() -> None:
    parts = np.outer([0.5, 0.3, 0.2], SAW)
    noise = 0.002 * stream(9, "outcomes").standard_normal(16)
    level = np.full(16, 0.003)

    follows = diagnose(SAW, level, _rng(), parts=parts, outcome=0.8 + SAW + noise)
    opposed = diagnose(SAW, level, _rng(), parts=parts, outcome=0.8 - SAW + noise)

    assert follows.verdict == "oscillating"
    assert follows.statistics.outcome_slope == pytest.approx(1.0, abs=0.2)
    assert opposed.verdict == "suspect"
    assert any("go the other way" in reason for reason in opposed.reasons)


@pytest.mark.parametrize(
    "value",
    [
        np.cumsum(_wobble(32)),
        0.01 * np.sin(np.arange(32) * 2 * np.pi / 8),
        np.where(np.arange(32) < 16, 0.0, 0.05) + 0.2 * _wobble(32),
    ],
    ids=["random walk", "period eight", "abrupt change"],
)
def test_slow_movement_is_not_oscillation(value: FloatArray) -> None:
    found = diagnose(value, np.zeros(32), _rng())

    assert found.verdict == "cannot tell"  # slow movement may hide an alternation
    assert found.statistics.r1 > 0
    assert found.statistics.p > 0.5


def test_a_pure_trend_is_stable() -> None:
    found = diagnose(np.linspace(0, 0.1, 16), EXACT, _rng())

    assert found.verdict == "stable"
    assert math.isnan(found.statistics.r1)  # and not the r1 of its rounding errors
    assert "trend" in found.reasons[0]


@pytest.mark.parametrize("rounding", [0.0, 1e-9])
def test_a_constant_value_is_degenerate_whatever_its_rounding_does(rounding: float) -> None:
    found = diagnose(0.03 + rounding * np.tile([1.0, -1.0], 8), EXACT, _rng())

    assert found.verdict == "degenerate"
    assert "does not move" in found.reasons[0]
    assert found.action


@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_too_few_generations_are_inconclusive_and_say_how_many_are_needed(count: int) -> None:
    found = diagnose(SAW[:count], EXACT[:count], _rng())

    assert found.verdict == "inconclusive"
    assert "8 are needed" in found.reasons[0]
    assert "more training cycles" in found.reasons[0]
    assert found.statistics.generations == count


def test_a_generation_without_control_is_left_out_and_named() -> None:
    value = SAW.copy()
    value[3] = np.nan

    found = diagnose(value, EXACT, _rng())

    assert found.statistics.generations == 15
    assert "generation 3 (1 of 16)" in found.reasons[-1]
    assert "control" in found.reasons[-1]
    assert found.verdict == "oscillating"  # twelve pairs of neighbours are left


def test_a_series_without_control_is_inconclusive() -> None:
    found = diagnose(np.full(16, np.nan), EXACT, _rng())

    assert found.verdict == "inconclusive"
    assert "no generation has a value" in found.reasons[0]
    assert "control" in found.reasons[-1]


def test_gaps_everywhere_leave_no_neighbours_to_compare() -> None:
    value = np.tile(SAW, 2)
    value[1::2] = np.nan

    found = diagnose(value, np.zeros(32), _rng())

    assert found.verdict == "inconclusive"
    assert "follow one another" in found.reasons[0]


def _replaced(values: FloatArray, at: int, wrong: float) -> FloatArray:
    changed = values.copy()
    changed[at] = wrong
    return changed


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda: diagnose(SAW, EXACT[:5], _rng()), "one standard error a generation"),
        (lambda: diagnose(_replaced(SAW, 4, np.inf), EXACT, _rng()), "value of generation 4"),
        (
            lambda: diagnose(SAW, _replaced(EXACT, 9, -0.1), _rng()),
            "standard_error of generation 9 is -0.1",
        ),
        (
            lambda: diagnose(SAW, EXACT, _rng(), index=_swapped()),
            "generation 6 comes after generation 7",
        ),
        (
            lambda: diagnose(SAW, EXACT, _rng(), index=np.repeat(np.arange(8), 2)),
            "generation 0 comes after generation 0",
        ),
        (lambda: diagnose(SAW, EXACT, _rng(), index=np.arange(3)), "index has 3 generations"),
        (
            lambda: diagnose(SAW, EXACT, _rng(), measures={"auc": np.ones(4)}),
            "measure auc has shape",
        ),
        (
            lambda: diagnose(SAW, EXACT, _rng(), parts=np.ones((3, 5))),
            "parts have shape",
        ),
        (
            lambda: diagnose(SAW, EXACT, _rng(), parts=np.full((2, 16), np.inf)),
            "part 0 of generation 0 is infinite",
        ),
        (
            lambda: diagnose_pooled(np.array([SAW, _replaced(SAW, 2, np.inf)]),
                                    np.zeros((2, 16)), _rng()),
            "value of generation 2, replicate 1",
        ),
    ],
)  # fmt: skip
def test_bad_input_is_named(broken: Callable[[], object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        broken()


def _swapped() -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    index = np.arange(16)
    index[[6, 7]] = index[[7, 6]]
    return index


def test_a_nan_in_a_measure_costs_that_generation_alone() -> None:
    negatives = 0.1 + SAW
    negatives[5] = np.nan

    found = diagnose(SAW, EXACT, _rng(), measures={"negatives_share": negatives})

    [row] = [each for each in found.statistics.mechanism if each[0] == "negatives_share"]
    assert row[1] == pytest.approx(1.0)
    assert row[2] == 15
    assert found.statistics.class_correlation == pytest.approx(1.0)
    assert "narrow logs" in found.explanation


def test_statistics_become_json_without_nan() -> None:
    found = diagnose(np.linspace(0, 0.1, 16), EXACT, _rng())

    record = json.loads(json.dumps(found.statistics.record(), allow_nan=False))

    assert record["r1"] is None
    assert record["generations"] == 16
    assert record["spectrum"] == []


def test_the_same_generator_gives_the_same_diagnosis() -> None:
    first, again = (diagnose(_wobble(), EXACT, _rng()).statistics.p for _ in range(2))

    assert first == again


def test_holm_by_hand() -> None:
    # 0.01 * 3, then max(0.03, 0.02 * 2), then max(0.04, 0.04); the NaN is not counted
    assert holm([0.02, 0.01, float("nan"), 0.04])[:2] == [0.04, 0.03]
    assert holm([0.02, 0.01, 0.04]) == [0.04, 0.03, 0.04]
    assert math.isnan(holm([0.02, float("nan")])[1])
    assert holm([]) == []


@given(p=st.lists(st.floats(0, 1), max_size=8))
def test_holm_only_raises_and_keeps_the_order(p: list[float]) -> None:
    corrected = holm(p)

    assert all(0 <= each <= new <= 1 for each, new in zip(p, corrected, strict=True))
    by_p = [new for _, new in sorted(zip(p, corrected, strict=True))]
    assert by_p == sorted(by_p)


def test_series_diagnosed_together_are_corrected_for_their_number() -> None:
    steady = {
        f"steady-{i}": Series(value=each, standard_error=EXACT)
        for i, each in enumerate(0.005 * stream(3, "steady").standard_normal((9, 16)))
    }
    young = Series(value=SAW[:4], standard_error=EXACT[:4])

    found = diagnose_all(
        {**steady, "saw": Series(value=SAW, standard_error=EXACT), "young": young}, _rng()
    )

    s = found["saw"].statistics
    assert s.p_holm == pytest.approx(10 * s.p)  # the young one is not tested, nor counted
    assert found["saw"].verdict == "oscillating"
    assert found["young"].verdict == "inconclusive"
    assert all(found[name].verdict != "oscillating" for name in steady)


def test_the_headline_is_not_corrected_for_the_series_beside_it() -> None:
    beside = {
        f"steady-{i}": Series(value=each, standard_error=EXACT)
        for i, each in enumerate(0.005 * stream(3, "steady").standard_normal((3, 16)))
    }
    saw = Series(value=SAW, standard_error=EXACT)

    found = diagnose_all({**beside, "saw": saw}, _rng(), headline="saw")

    assert found["saw"].statistics.p_holm == found["saw"].statistics.p
    lowest = min(found[name].statistics.p for name in beside)
    assert min(found[name].statistics.p_holm for name in beside) == pytest.approx(3 * lowest)


def test_pooling_sees_what_one_replicate_cannot_show() -> None:
    rng = stream(11, "weak")
    noise = 0.005 * rng.standard_normal((8, 16))
    values = noise.copy()
    for g in range(1, 16):
        values[:, g] = -0.7 * values[:, g - 1] + noise[:, g]

    pooled = diagnose_pooled(values, np.zeros_like(values), _rng())

    assert pooled.verdict == "oscillating"
    single = [diagnose(row, EXACT, _rng()).verdict for row in values]
    assert single.count("oscillating") < 8


def test_parts_out_of_step_are_seen_though_their_sum_hides_them() -> None:
    rng = stream(12, "parts")
    signs = np.tile([1.0, -1.0], 8)
    parts = 0.002 * rng.choice([-1.0, 1.0], size=(30, 1)) * signs
    parts = parts - parts.mean(axis=0) + 0.001 * rng.standard_normal((30, 16))

    whole = diagnose(parts.sum(axis=0), EXACT, _rng())
    split = diagnose(parts.sum(axis=0), EXACT, _rng(), parts=parts)

    assert whole.statistics.p > split.statistics.p
    assert split.verdict == "oscillating"
    assert split.statistics.parts == 30
    assert "30 parts" in split.reasons[0]


def test_what_describes_one_part_describes_the_series() -> None:
    value = _wobble()

    split = diagnose(value, EXACT, _rng(), parts=value[None]).statistics
    whole = diagnose(value, EXACT, _rng()).statistics

    assert split.r1 == pytest.approx(whole.r1)
    assert split.nyquist_share == pytest.approx(whole.nyquist_share)


def test_no_single_generation_decides_whether_parts_alternate() -> None:
    rng = stream(13, "outlier")
    signs = np.tile([1.0, -1.0], 8)
    parts = np.outer(rng.normal(0, 0.002, 20), signs) + 0.001 * rng.standard_normal((20, 16))
    wild = parts.copy()
    wild[:, 8] = 0.1 * rng.standard_normal(20)

    assert diagnose(parts.sum(axis=0), EXACT, _rng(), parts=parts).statistics.p < 0.001
    assert diagnose(wild.sum(axis=0), EXACT, _rng(), parts=wild).statistics.p < 0.01


def test_steady_parts_are_called_oscillating_in_one_of_a_hundred_at_most() -> None:
    rng = stream(14, "steady parts")
    alarms = 0
    for _ in range(N):
        shared = 0.002 * rng.standard_normal(16)  # moves all parts of a generation alike
        parts = 0.05 * shared + 0.0005 * rng.standard_t(3, (20, 16))
        found = diagnose(parts.sum(axis=0), EXACT, rng, parts=parts, permutations=499)
        alarms += found.verdict == "oscillating"

    assert binomtest(alarms, N, 0.01, alternative="greater").pvalue > 1e-4


def test_parts_that_do_not_move_leave_the_rhythm_to_be_sought_in_the_whole() -> None:
    value, noise = 0.01 * np.tile([1.0, -1.0], 8), np.full(16, 0.03)
    still = np.zeros((3, 16))

    noisy = diagnose(value, noise, _rng(), parts=still, shares=np.full(3, 1 / 3))
    exact = diagnose(value, EXACT, _rng(), parts=still)

    assert noisy.verdict == "suspect"  # in step, but of a size that errors reach
    assert noisy.statistics == diagnose(value, noise, _rng()).statistics
    assert noisy.statistics.visible_swing > 0.002
    assert exact.verdict == "oscillating"


def test_parts_whose_sum_does_not_move_are_still_tested() -> None:
    rng = stream(15, "cancel")
    signs = np.tile([1.0, -1.0], 8)
    apart = 0.02 * signs + 0.001 * rng.standard_normal(16)

    found = diagnose(_wobble(), EXACT, _rng(), parts=np.stack([apart, -apart]))

    assert found.verdict == "suspect"
    assert found.statistics.p < 0.01


def test_noisy_values_on_a_line_do_not_tell() -> None:
    found = diagnose(np.linspace(0, 0.02, 12), np.full(12, 0.03), _rng())

    assert found.verdict == "cannot tell"
    assert "nearer a line than their standard errors" in found.reasons[0]


def test_a_visible_swing_is_that_of_outcomes_where_a_swing_is() -> None:
    rng = stream(16, "cautious")
    parts = 0.0002 * rng.standard_normal((5, 16))
    expected = parts.sum(axis=0)
    outcome = 0.8 + 6 * expected + 1e-5 * rng.standard_normal(16)
    level = np.full(16, 0.003)

    model = diagnose(expected, level, _rng(), parts=parts)
    outcomes = diagnose(expected, level, _rng(), parts=parts, outcome=outcome)
    opposed = diagnose(expected, level, _rng(), parts=parts, outcome=1.6 - outcome)

    visible = model.statistics.visible_swing
    assert model.verdict == "stable"
    assert outcomes.statistics.sure_swing == pytest.approx(6 * outcomes.statistics.swing, rel=0.05)
    assert outcomes.statistics.visible_swing == pytest.approx(6 * visible, rel=0.05)
    assert outcomes.verdict == "cannot tell"
    assert opposed.statistics.visible_swing == visible  # no swing is seen the better for it


@settings(max_examples=25)
@given(
    value=st.lists(st.floats(-0.05, 0.05), min_size=2, max_size=20),
    noise=st.floats(0, 0.01),
)
def test_any_finite_series_gets_a_verdict_with_reason_words_and_action(
    value: list[float], noise: float
) -> None:
    found = diagnose(np.array(value), np.full(len(value), noise), _rng(), permutations=200)

    assert found.reasons
    assert found.explanation
    assert found.action
    assert (found.verdict == "inconclusive") == (len(value) < 8)
    json.dumps(found.statistics.record(), allow_nan=False)


def test_exact_levels_are_permuted_and_measured_ones_keep_their_noise_in_place() -> None:
    value = np.arange(8.0)[None]
    noise = np.array([[0.1] * 7 + [10.0]])

    permuted = levels_without_memory(value, np.zeros((1, 8)), _rng(), draws=50)
    drawn = levels_without_memory(0 * value, noise, _rng(), draws=5_000)

    assert (np.sort(permuted, axis=-1) == value).all()
    np.testing.assert_allclose(drawn.std(axis=0), noise, rtol=0.1)


def test_pooled_test_permutes_within_replicates() -> None:
    values = np.array([SAW, 100 + SAW])  # the levels of replicates must not mix

    r1, p = lag_one_test(values, _rng())

    assert r1 == pytest.approx(lag_one_test(values[:1], _rng())[0])
    assert p == 1 / 2001


def _false_alarms(values: FloatArray, noise: FloatArray) -> int:
    rng = _rng("false alarms")
    return sum(
        diagnose(value, each, rng, permutations=499).verdict == "oscillating"
        for value, each in zip(values, noise, strict=True)
    )


N = 300


def _null(name: str) -> tuple[FloatArray, FloatArray]:
    rng = stream(5, "null", name)
    exact = np.zeros((N, 16))
    white = 0.005 * rng.standard_normal((N, 16))
    if name == "white noise":
        return white, exact
    if name == "heavy tails":
        return 0.005 * rng.standard_t(3, (N, 16)), exact
    if name == "random walk":
        return white.cumsum(axis=1), exact
    if name == "drift":
        phase = rng.uniform(0, 2 * np.pi, (N, 1))
        return 0.01 * np.sin(np.arange(16) * 2 * np.pi / 8 + phase) + white, exact
    if name == "two noisy neighbours":  # permuting alone would take them for order
        spread = np.full((N, 16), 0.0005)
        spread[:, 7:9] = 0.006
        return spread * rng.standard_normal((N, 16)), spread
    spread = rng.uniform(0.001, 0.004, (N, 16))
    return 0.01 * rng.standard_normal((N, 16)) + spread * rng.standard_normal((N, 16)), spread


@pytest.mark.parametrize(
    "name",
    ["white noise", "heavy tails", "random walk", "drift", "two noisy neighbours", "noisy levels"],
)
def test_steady_series_are_called_oscillating_in_one_of_a_hundred_at_most(name: str) -> None:
    values, noise = _null(name)

    alarms = _false_alarms(values, noise)

    # not significantly above 1 %, at a level of one in ten thousand
    assert binomtest(alarms, N, 0.01, alternative="greater").pvalue > 1e-4
