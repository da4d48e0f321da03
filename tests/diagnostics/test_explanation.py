"""What a manager reads: a sentence for every verdict, and what to do."""

import numpy as np
import pytest

from decisions.diagnostics.evidence import Statistics
from decisions.diagnostics.explanation import amount, explain

SWING = Statistics(
    generations=16,
    swing=0.008,
    sure_swing=0.006,
    visible_swing=0.0042,
    rms_se=0.001,
    excess_variance=1e-5,
    flip_rate=0.8,
    p=0.0005,
    r1=-0.6,
    r1_null_high=0.2,
    mechanism=(
        ("negatives_share", 0.7, 16),
        ("entropy_normalised", np.nan, 0),
        ("auc", 0.3, 16),
        ("value_before", -0.6, 15),
    ),
)


def _words(verdict: str, found: Statistics = SWING) -> tuple[str, str]:
    return explain(verdict, found, name="squarecb", unit="%", material=0.003)


def test_oscillation_says_what_happens_what_goes_with_it_and_what_to_do() -> None:
    words, action = _words("oscillating")

    assert "squarecb alternates: after a good generation comes a worse one" in words
    assert "0.80 pp" in words
    assert "80% of its changes reverse the one before" in words
    assert "share of failures among its training rows (rises with its value" in words
    assert "narrow logs" in words
    assert "how well its model ranks" not in words  # 0.3 may be chance among 16
    assert "more cycles in the training window" in action


def test_no_cause_is_named_that_the_panel_does_not_show() -> None:
    words, _ = _words("oscillating", Statistics(generations=16, swing=0.008, flip_rate=0.8))

    assert "narrow logs" not in words
    assert "What moves with" not in words


def test_suspect_says_whether_size_or_chance_holds_it_back() -> None:
    small, action = _words(
        "suspect", Statistics(generations=16, swing=0.001, sure_swing=0.0, rms_se=0.001)
    )
    chance, _ = _words("suspect")

    assert "0.30 pp" in small
    assert "larger control slice" in action
    assert "one of twenty" in chance


def test_a_coarse_measurement_does_not_pass_for_steadiness() -> None:
    coarse = Statistics(
        generations=16, swing=0.002, visible_swing=0.047, rms_se=0.03, p=0.4, r1=-0.1
    )

    words, action = _words("cannot tell", coarse)

    assert "cannot be told whether squarecb oscillates" in words
    assert "0.30 pp, which would matter, could pass unseen among 16 generations" in words
    assert "The smallest swing that would be seen, four times of five, is 4.70 pp." in words
    assert "four times the decisions" in action


def test_drift_is_told_from_chance() -> None:
    drifting = Statistics(
        generations=16, swing=0.002, p=0.99, r1=0.8, r1_null_high=0.25, excess_variance=1e-5
    )

    words, action = _words("stable", drifting)

    assert "moves slowly" in words
    assert "control" in action


def test_no_sign_of_oscillation_says_what_would_have_been_seen() -> None:
    calm = Statistics(
        generations=16, swing=0.002, visible_swing=0.0025, p=0.3, r1=-0.2, r1_null_high=0.25
    )

    words, action = _words("stable", calm)

    assert "is seen" in words
    assert "does not alternate" not in words
    assert "is 0.25 pp" in words
    assert action == "Nothing to do."


def test_too_few_generations_to_see_any_swing_say_so() -> None:
    words, _ = _words("cannot tell", Statistics(generations=8, visible_swing=float("inf"), p=0.4))

    assert "no swing, however large" in words
    assert "inf" not in words


@pytest.mark.parametrize("verdict", ["degenerate", "inconclusive"])
@pytest.mark.parametrize("count", [0, 1, 16])
def test_untested_series_get_words_too(verdict: str, count: int) -> None:
    words, action = _words(verdict, Statistics(generations=count))

    assert words
    assert action
    assert "nan" not in words + action


def test_amounts_are_read_in_the_unit_of_the_reward() -> None:
    assert amount(0.0081, "%") == "0.81 pp"
    assert amount(12_345.0, "t") == "1.23e+04 t"
    assert amount(0.5, "") == "0.5"
