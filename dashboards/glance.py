"""What the stored facts of a domain answer at a glance: is it safe, better, oscillating?"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from quoting import quoted
from units import Unit

State = Literal["good", "attention", "bad", "unknown"]
LATE = 1.5  # cadences of a domain, after which the next cycle is late
SERIOUS = (  # the worst first
    "oscillating",
    "suspect",
    "degenerate",
    "cannot tell",
    "inconclusive",
    "stable",
)
BADGES: Mapping[State, tuple[str, str]] = {  # colour and icon: neither alone says it
    "good": ("blue", ":material/check_circle:"),
    "attention": ("orange", ":material/warning:"),
    "bad": ("red", ":material/error:"),
    "unknown": ("gray", ":material/help:"),
}
VERDICTS: Mapping[str, State] = {
    "oscillating": "bad",
    "suspect": "attention",
    "degenerate": "attention",
    "cannot tell": "unknown",
    "inconclusive": "unknown",
    "stable": "good",
}


@dataclass(frozen=True)
class Answer:
    """A state, the word for it, and a sentence in Markdown."""

    state: State
    word: str
    sentence: str


def better(
    facts: Mapping[str, Any],
    estimate: Mapping[str, Any] | None,
    unit: Unit,
    *,
    reference: str = "the control",
    material: float = 0.0,
) -> Answer:
    """Whether what is deployed earns more than its reference: better, no difference, not known.

    `facts` is a row of `overview/domains`, `estimate` that of `overview/gains`. An interval around
    zero that reaches as far as `material` leaves a difference possible that matters: not known.
    """
    if estimate is None:
        return Answer("unknown", "Not known", _UNMEASURED.get(facts["champion"], _NO_CONTROL))
    against = _REFERENCES.get(estimate["way"], reference)
    sentence = (
        f"{unit.difference(estimate['gain'])} against {against}{_interval(estimate, unit)}"
        f"{_of_what(facts, estimate)}"
    )
    farthest = max(-estimate["lower"], estimate["upper"])
    check = _checked(estimate, unit)
    if estimate["lower"] > 0:
        return Answer("good", "Better", f"{sentence}.{check}")
    if estimate["upper"] < 0:
        return Answer("bad", "Worse", f"{sentence}.{check}")
    if farthest <= material:
        none = f"no difference larger than {farthest * unit.scale:.2f} {unit.points}"
        return Answer("unknown", "No difference", f"{sentence}: {none}.{check}")
    wide = f"a difference that matters, {material * unit.scale:.2f}, may be there or not"
    return Answer("unknown", "Not known", f"{sentence}: {wide}.{check}")


_REFERENCES = {"control": "the control", "evaluation": "the baseline"}  # by way; else the domain's
_NO_CONTROL = "No cycle has been measured against anything: no control slice, no rewards modelled."
_UNMEASURED = {None: "Nothing decides yet.", 0: "The baseline still decides."}


def _of_what(facts: Mapping[str, Any], estimate: Mapping[str, Any]) -> str:
    """Which decisions an estimate rests on, and what has not been measured yet."""
    if estimate["way"] == "evaluation":
        return ", by the evaluation that promoted it"
    span = f", {counted(estimate['cycles'], 'cycle')} until {estimate['cutoff']:%-d %B}"
    if facts["champion"] is not None and facts["champion"] != estimate["generation"]:
        span += (
            f", of generation {estimate['generation']}; champion {facts['champion']} is not"
            " measured yet"
        )
    return span


def _checked(estimate: Mapping[str, Any], unit: Unit) -> str:
    """What the control slice says beside an estimate that does not rest on it."""
    if estimate["way"] == "control" or estimate["over_control"] is None:
        return ""
    lower, upper = estimate["over_control_lower"], estimate["over_control_upper"]
    apart = lower > estimate["upper"] or upper < estimate["lower"]
    return (
        f" The control slice alone says {estimate['over_control'] * unit.scale:+.2f}"
        f" [{lower * unit.scale:+.2f} to {upper * unit.scale:+.2f}]"
        + (": the two disagree, look into the logs." if apart else ".")
    )


def _interval(row: Mapping[str, Any], unit: Unit) -> str:
    return f" [{row['lower'] * unit.scale:+.2f} to {row['upper'] * unit.scale:+.2f}]"


def late(facts: Mapping[str, Any], *, now: datetime, cadence: timedelta) -> timedelta | None:
    """How old the newest cycle is, when the next one should have come; None when it need not.

    `cadence` is the domain's own: cut-offs that were run by hand, or late, do not set it.
    Nothing is late while it is worked on, as when earlier days are processed.
    """
    if facts["cutoff"] is None or facts["in_work"]:
        return None
    age = now - facts["cutoff"]
    return age if age > LATE * cadence else None


def safe(
    facts: Mapping[str, Any],
    gain: Answer,
    changes: Sequence[Mapping[str, Any]],
    *,
    overdue: timedelta | None,
) -> Answer:
    """Whether anything needs a person: harm, evidence set aside, a cycle that failed or is late.

    `facts` is a row of `overview/domains`, `changes` those of `overview/changes` of the domain.
    """
    if facts["champion"] is None:
        return Answer("unknown", "Not begun", "No generation yet: `decisions run` begins it.")
    if gain.state == "bad":
        return Answer("bad", "Harmful", "What is deployed earns less than its reference.")
    troubles = list(_troubles(facts, changes, overdue))
    if troubles:
        return Answer("attention", "Look", " ".join(troubles))
    if gain.word == "Not known":
        return Answer(
            "unknown", "No alarm", "Nothing was set aside; whether it gains is not known."
        )
    return Answer("good", "Safe", "No harm seen, on time, nothing set aside.")


def _troubles(
    facts: Mapping[str, Any], changes: Sequence[Mapping[str, Any]], overdue: timedelta | None
) -> Sequence[str]:
    found: list[str] = []
    if overdue is not None:
        found.append(f"The newest cycle is {age(overdue)} old: the next one is late.")
    waiting = unjudged(facts)
    if waiting and not facts["in_work"]:
        found.append(f"{waiting} of {facts['candidates']} new candidates are not judged.")
    aside = sum(row["times"] for row in changes if row["kind"] == "quarantine")
    if aside:
        found.append(f"{counted(aside, 'row')} broke a rule and {_was(aside)} set aside.")
    return found


def unjudged(facts: Mapping[str, Any]) -> int:
    """How many candidates of the newest cut-off have no verdict; a row of `overview/domains`."""
    return (facts["candidates"] or 0) - (facts["judged"] or 0)


def in_progress(facts: Mapping[str, Any]) -> str | None:
    """That new candidates are being trained and judged right now; None where none is."""
    waiting = unjudged(facts)
    if not waiting or not facts["in_work"]:
        return None
    verb = "is" if waiting == 1 else "are"
    return f"{counted(waiting, 'new candidate')} {verb} being trained and judged"


def _was(count: int) -> str:
    return "was" if count == 1 else "were"


def oscillating(diagnoses: Sequence[Mapping[str, Any]]) -> Answer:
    """What the newest diagnoses of a domain's series say; rows of `diagnosis/latest`."""
    if not diagnoses:
        return Answer("unknown", "Not diagnosed", "No cycle has been diagnosed yet.")
    worst = in_order(diagnoses)[0]["verdict"]
    of = ", ".join(quoted(row["series"]) for row in diagnoses if row["verdict"] == worst)
    cycles = max(row["cycles"] for row in diagnoses)
    return Answer(
        VERDICTS[worst], worst.capitalize(), f"{of}; {counted(cycles, 'cycle')} looked at."
    )


def in_order(diagnoses: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The most serious verdict first; what is deployed before candidates."""
    return sorted(
        diagnoses,
        key=lambda row: (
            SERIOUS.index(row["verdict"]),
            row["series"] != "deployed",
            row["series"],
        ),
    )


def happened(changes: Sequence[Mapping[str, Any]]) -> list[str]:
    """Each change as a sentence, promotions first; rows of `overview/changes`."""
    order = ("promotion", "diagnosis", "quarantine", "refusal", "verdict")
    return [
        _SENTENCES[row["kind"]](row)
        for row in sorted(changes, key=lambda r: order.index(r["kind"]))
    ]


def _promotion(row: Mapping[str, Any]) -> str:
    return f"{row['who']} made {row['number']} ({row['subject']}) champion: {row['what']}"


def _diagnosis(row: Mapping[str, Any]) -> str:
    return f"{row['subject']} is now {row['what']}; it was {row['was']}"


def _quarantine(row: Mapping[str, Any]) -> str:
    rows = counted(row["times"], f"{row['subject']} row")
    return f"{rows} set aside: {row['what']}"


def _refusal(row: Mapping[str, Any]) -> str:
    return f"{row['number']} ({row['subject']}) could not be judged: {row['what']}"


def _verdict(row: Mapping[str, Any]) -> str:
    judged = {
        "promote": "passed the gate",
        "hold": "was held",
        "reject": "was rejected",
        "unchanged": "decides as the champion does",
    }
    return f"{row['number']} ({row['subject']}) {judged[row['what']]}"


_SENTENCES = {
    "promotion": _promotion,
    "diagnosis": _diagnosis,
    "quarantine": _quarantine,
    "refusal": _refusal,
    "verdict": _verdict,
}


def age(span: timedelta) -> str:
    """A span of time in words, to the largest unit: "3 hours"."""
    hours = int(span.total_seconds() // 3600)
    if hours < 1:
        return "less than an hour"
    return counted(hours, "hour") if hours < 48 else counted(hours // 24, "day")


def counted(count: int, what: str) -> str:
    """A number of things: "1 row", "3,000 rows"."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def texts(stored: str) -> list[str]:
    """A stored list of reasons."""
    return [str(each) for each in json.loads(stored)]
