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


def better(facts: Mapping[str, Any], cycles: Sequence[Mapping[str, Any]], unit: Unit) -> Answer:
    """Whether what is deployed earns more than the control.

    `facts` is a row of `overview/domains`, `cycles` are those of `overview/deployed` of the
    domain, the oldest first.
    """
    known = [row for row in cycles if row["gain"] is not None]
    if not known:
        return Answer("unknown", "Not known", _UNMEASURED.get(facts["champion"], _NO_CONTROL))
    newest = known[-1]
    sentence = f"{unit.difference(newest['gain'])} against the control" + _interval(newest, unit)
    missing = len(cycles) - 1 - cycles.index(newest)
    if missing:
        sentence += (
            f", {newest['cutoff']:%-d %B}; not measured in the"
            f" {'cycle' if missing == 1 else f'{missing} cycles'} since"
        )
    if newest["lower"] is None:
        return Answer("unknown", "Not known", f"{sentence}.")
    if newest["lower"] > 0:
        return Answer("good", "Better", f"{sentence}.")
    if newest["upper"] < 0:
        return Answer("bad", "Worse", f"{sentence}.")
    return Answer("unknown", "No difference", f"{sentence}: zero is inside.")


_NO_CONTROL = "No cycle has been measured against a control slice."
_UNMEASURED = {None: "Nothing decides yet.", 0: "The baseline still decides."}


def _interval(row: Mapping[str, Any], unit: Unit) -> str:
    if row["lower"] is None:
        return " (without an interval)"
    return f" [{row['lower'] * unit.scale:+.2f} to {row['upper'] * unit.scale:+.2f}]"


def late(facts: Mapping[str, Any], *, now: datetime, cadence: timedelta) -> timedelta | None:
    """How old the newest cycle is, when the next one should have come; None when it need not.

    `cadence` is the domain's own: cut-offs that were run by hand, or made up for, do not set it.
    Nothing is late while it is worked on, as when earlier days are made up for.
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
        return Answer("bad", "Harmful", "What is deployed earns less than the control.")
    troubles = list(_troubles(facts, changes, overdue))
    if troubles:
        return Answer("attention", "Look", " ".join(troubles))
    if gain.word == "Not known":
        return Answer("unknown", "No alarm", "Nothing was set aside; there is no control to ask.")
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
