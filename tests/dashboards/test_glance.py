"""What stored facts are taken to mean: worked by hand."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any

import pytest

TODAY = datetime(2026, 3, 2, 2, tzinfo=UTC)
DAY = timedelta(days=1)
FACTS: dict[str, Any] = {
    "champion": 7,
    "cutoff": TODAY,
    "candidates": 2,
    "judged": 2,
    "in_work": False,
}


@pytest.fixture
def glance(modules: Callable[[str], ModuleType]) -> ModuleType:
    return modules("glance")


@pytest.fixture
def unit(modules: Callable[[str], ModuleType]) -> Any:
    return modules("units").unit_of("payments")


def _gain(
    gain: float, half: float = 0.01, *, way: str = "all traffic", control: float | None = None
) -> dict[str, Any]:
    beside = {
        "over_control": control,
        "over_control_lower": None if control is None else control - 0.03,
        "over_control_upper": None if control is None else control + 0.03,
    }
    return {
        "generation": 7,
        "way": way,
        "cutoff": TODAY,
        "cycles": 3,
        "gain": gain,
        "lower": gain - half,
        "upper": gain + half,
        **beside,
    }


@pytest.mark.parametrize(
    ("estimate", "state", "word", "says"),
    [
        (
            _gain(0.058, 0.005),
            "good",
            "Better",
            "+5.80 percentage points against doing nothing [+5.30 to +6.30], 3 cycles until 2 M",
        ),
        (_gain(-0.02), "bad", "Worse", "-2.00 percentage points"),
        (_gain(0.005, way="control"), "unknown", "Not known", "against the control"),
        (
            _gain(0.0005, 0.001),
            "unknown",
            "No difference",
            "no difference larger than 0.15 percentage points",
        ),
        (_gain(0.025, 0.06), "unknown", "Not known", "may be there or not"),
        (
            _gain(0.02, way="evaluation"),
            "good",
            "Better",
            "against the baseline [+1.00 to +3.00], by the evaluation that promoted it",
        ),
        (None, "unknown", "Not known", "No cycle has been measured against anything"),
    ],
)
def test_better_no_difference_and_not_known_are_three_answers(
    glance: ModuleType, unit: Any, estimate: Any, state: str, word: str, says: str
) -> None:
    answer = glance.better(FACTS, estimate, unit, reference="doing nothing", material=0.002)

    assert (answer.state, answer.word) == (state, word)
    assert says in answer.sentence


def test_the_control_slice_is_a_check_beside_the_estimate(glance: ModuleType, unit: Any) -> None:
    agrees = glance.better(FACTS, _gain(0.058, 0.005, control=0.04), unit)
    disagrees = glance.better(FACTS, _gain(0.058, 0.005, control=-0.04), unit)

    assert "The control slice alone says +4.00 [+1.00 to +7.00]." in agrees.sentence
    assert "the two disagree" in disagrees.sentence


def test_a_champion_that_is_not_measured_yet_is_named(glance: ModuleType, unit: Any) -> None:
    answer = glance.better(FACTS | {"champion": 9}, _gain(0.02), unit)

    assert "of generation 7; champion 9 is not measured yet" in answer.sentence


def test_a_baseline_is_not_said_to_be_better(glance: ModuleType, unit: Any) -> None:
    answer = glance.better(FACTS | {"champion": 0}, None, unit)

    assert answer.sentence == "The baseline still decides."


@pytest.mark.parametrize(
    ("age", "cadence", "late"),
    [
        (timedelta(hours=30), DAY, False),
        (timedelta(hours=37), DAY, True),
        (timedelta(hours=37), 7 * DAY, False),
        (11 * DAY, 7 * DAY, True),
    ],
)
def test_a_cycle_is_late_after_one_and_a_half_of_the_domain_s_cadence(
    glance: ModuleType, age: timedelta, cadence: timedelta, *, late: bool
) -> None:
    assert (glance.late(FACTS, now=TODAY + age, cadence=cadence) is not None) == late
    assert glance.late(FACTS | {"in_work": True}, now=TODAY + age, cadence=cadence) is None


def test_candidates_that_are_being_trained_are_no_trouble(glance: ModuleType, unit: Any) -> None:
    fine = glance.better(FACTS, _gain(0.02), unit)
    busy = FACTS | {"judged": 1, "in_work": True}

    assert glance.safe(busy, fine, [], overdue=None).state == "good"
    assert glance.in_progress(busy) == "1 new candidate is being trained and judged"
    assert glance.in_progress(busy | {"judged": 2}) is None
    assert glance.in_progress(busy | {"in_work": False}) is None


def test_harm_comes_before_what_is_merely_late(glance: ModuleType, unit: Any) -> None:
    harmful = glance.better(FACTS, _gain(-0.02), unit)

    answer = glance.safe(FACTS, harmful, [], overdue=2 * DAY)

    assert (answer.state, answer.word) == ("bad", "Harmful")


def test_every_trouble_is_named(glance: ModuleType, unit: Any) -> None:
    fine = glance.better(FACTS, _gain(0.02), unit)
    aside = [{"kind": "quarantine", "times": 3}, {"kind": "promotion", "times": 1}]

    answer = glance.safe(FACTS | {"judged": 1}, fine, aside, overdue=3 * DAY)

    assert answer.state == "attention"
    assert answer.sentence == (
        "The newest cycle is 3 days old: the next one is late. 1 of 2 new candidates are not"
        " judged. 3 rows broke a rule and were set aside."
    )
    assert glance.safe(FACTS, fine, [], overdue=None).state == "good"


def test_the_most_serious_verdict_speaks_for_the_domain(glance: ModuleType) -> None:
    series = [
        {"series": name, "verdict": verdict, "cycles": 9}
        for name, verdict in (("a", "stable"), ("b", "suspect"), ("deployed", "suspect"))
    ]

    answer = glance.oscillating(series)

    assert (answer.state, answer.word) == ("attention", "Suspect")
    assert [row["series"] for row in glance.in_order(series)] == ["deployed", "b", "a"]


@pytest.mark.parametrize(
    ("span", "words"),
    [
        (timedelta(minutes=59), "less than an hour"),
        (timedelta(hours=1), "1 hour"),
        (timedelta(hours=47), "47 hours"),
        (timedelta(hours=49), "2 days"),
    ],
)
def test_ages_are_told_to_the_largest_unit(
    glance: ModuleType, span: timedelta, words: str
) -> None:
    assert glance.age(span) == words
