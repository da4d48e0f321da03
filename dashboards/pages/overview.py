"""Is it safe, is it better, does it oscillate, and what changed?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import glance
import overview_charts
import polars as pl
import queries
import sign_in
import streamlit as st
from glance import Answer
from quoting import code, prose, quoted
from states import empty, guarded, shown
from units import domain_of, plans, unit_of

from decisions.domains import all_domains
from decisions.settings import settings

CYCLES = 60  # of the small charts
TOLD = 6  # changes of a domain that are written out
URGENT = ("bad", "attention")


@dataclass(frozen=True, kw_only=True)
class Glance:
    """One domain: its facts, and the three answers."""

    facts: Mapping[str, Any]
    cycles: pl.DataFrame
    diagnoses: Sequence[Mapping[str, Any]]
    changes: Sequence[Mapping[str, Any]]
    overdue: timedelta | None
    safe: Answer
    better: Answer
    oscillating: Answer

    @property
    def name(self) -> str:
        """The domain's."""
        return self.facts["domain"]

    @property
    def title(self) -> str:
        """The domain's, for people."""
        domain = domain_of(self.name)
        return self.name if domain is None else domain.title

    @property
    def urgency(self) -> int:
        """The more, the sooner somebody should look."""
        states = [each.state for each in (self.safe, self.better, self.oscillating)]
        return 10 * states.count("bad") + states.count("attention")


def at_a_glance(now: datetime) -> list[Glance]:
    """Every domain of the store, the most urgent first."""
    cycles = queries.read("overview/deployed", cycles=CYCLES)
    changes = queries.read("overview/changes")
    diagnoses = queries.read("diagnosis/latest")
    gains = {row["domain"]: row for row in queries.read("overview/gains").iter_rows(named=True)}
    found = [
        _glance(
            facts,
            _of(facts["domain"], cycles),
            gains.get(facts["domain"]),
            _of(facts["domain"], changes),
            _of(facts["domain"], diagnoses),
            now,
        )
        for facts in queries.read("overview/domains").iter_rows(named=True)
    ]
    return sorted(found, key=lambda each: (-each.urgency, each.name))


def _of(domain: str, rows: pl.DataFrame) -> pl.DataFrame:
    return rows.filter(pl.col("domain") == domain)


def _glance(
    facts: Mapping[str, Any],
    cycles: pl.DataFrame,
    estimate: Mapping[str, Any] | None,
    changes: pl.DataFrame,
    diagnoses: pl.DataFrame,
    now: datetime,
) -> Glance:
    name = facts["domain"]
    domain = domain_of(name)
    overdue = None
    if domain is not None and not domain.cutoffs:  # others are logs of the past
        overdue = glance.late(facts, now=now, cadence=domain.cadence)
    gain = glance.better(
        facts,
        estimate,
        unit_of(name),
        reference=_reference(name),
        material=0.0 if domain is None else domain.material,
    )
    return Glance(
        facts=facts,
        cycles=cycles,
        diagnoses=diagnoses.to_dicts(),
        changes=changes.to_dicts(),
        overdue=overdue,
        safe=glance.safe(facts, gain, changes.to_dicts(), overdue=overdue),
        better=gain,
        oscillating=glance.oscillating(diagnoses.to_dicts()),
    )


def _reference(name: str) -> str:
    domain = domain_of(name)
    return "the control" if domain is None else domain.reference


def headline(found: Sequence[Glance], now: datetime) -> None:
    """How many domains need somebody, and which."""
    urgent = [each for each in found if each.urgency]
    if urgent:
        names = "; ".join(f"**{quoted(each.title)}** ({_needs(each)})" for each in urgent)
        st.markdown(
            f"{len(urgent)} of {glance.counted(len(found), 'domain')} need a look: {names}."
        )
    else:
        st.markdown(f"Nothing needs a look in {glance.counted(len(found), 'domain')}.")
    absent = {each.name: each.title for each in all_domains()}.keys() - {e.name for e in found}
    words = f"As of {now:%-d %B %Y, %H:%M} UTC; this page renews itself every minute."
    if absent:
        words += f" Not begun: {', '.join(sorted(absent))}."
    st.caption(words)


def _needs(each: Glance) -> str:
    answers = (each.safe, each.better, each.oscillating)
    return ", ".join(one.word.lower() for one in answers if one.state in URGENT)


def card(each: Glance) -> None:
    """One domain in a frame."""
    with st.container(border=True):
        st.markdown(f"#### {quoted(each.title)}")
        if each.cycles["gain"].is_null().all():
            answers(each)
            recommendation(each)
        else:
            left, right = st.columns([3, 2])
            with left:
                answers(each)
                recommendation(each)
            with right:
                trend(each)
        changed(each)
        _links(each)


def answers(each: Glance) -> None:
    """Safe, better, oscillating: a word with a shape of its own, and a sentence."""
    for column, question, answer in zip(
        st.columns(3),
        ("Is it safe?", "Is it better?", "Does it oscillate?"),
        (each.safe, each.better, each.oscillating),
        strict=True,
    ):
        color, icon = glance.BADGES[answer.state]
        column.markdown(
            f":small[:gray[{question}]]\n\n:{color}-badge[{icon} {answer.word}]\n\n"
            + answer.sentence
        )


def recommendation(each: Glance) -> None:
    """What to do about it, if anything."""
    actions: list[str] = []
    stopped = glance.unjudged(each.facts) and not each.facts["in_work"]
    if each.overdue is not None or stopped:
        airflow = settings().airflow_url
        where = f"[Airflow]({airflow})" if airflow else "Airflow"
        actions.append(
            f"Open {code(f'{each.name}_generation')} in {where}: its notes say what a red task"
            " means."
        )
    if each.oscillating.state in URGENT:
        actions.append(prose(glance.in_order(each.diagnoses)[0]["action"]))
    if actions:
        st.markdown(f"**Recommended:** {' '.join(actions)}")


def trend(each: Glance) -> None:
    """The newest cycles of what is deployed."""
    unit = unit_of(each.name)
    st.caption(
        f"Deployed minus {_reference(each.name)} in each cycle, {unit.points}, with its 95 %"
        " interval; the dashed line is no difference."
    )
    st.image(overview_charts.spark(each.cycles, unit), width="stretch")


def changed(each: Glance) -> None:
    """Champion, decisions taken, and what happened with the newest cycle."""
    facts = each.facts
    if facts["champion"] is not None:
        st.caption(" · ".join(_standing(facts)))
    events = glance.happened(each.changes)
    if events:
        st.markdown("**Changed with the newest cycle**")
        st.text("\n".join(f"• {event}" for event in events[:TOLD]))
        if len(events) > TOLD:
            st.caption(f"And {glance.counted(len(events) - TOLD, 'other')}.")


def _standing(facts: Mapping[str, Any]) -> list[str]:
    since = (
        "from the beginning"
        if facts["promoted_by"] == "begin"
        else f"since {facts['promoted_at']:%-d %b %Y}"
    )
    told = [f"Champion {facts['champion']} ({quoted(facts['champion_policy'])}) {since}"]
    if facts["decisions"] is not None:
        told.append(
            f"{facts['decisions']:,} decisions until {facts['last_decided_at']:%-d %b %Y, %H:%M},"
            f" {facts['decisions_of_last_day']:,} in the last day of it"
        )
    if facts["outcomes_until"] is not None:
        told.append(f"outcomes until {facts['outcomes_until']:%-d %b %Y, %H:%M}")
    if facts["cutoff"] is not None:
        told.append(f"newest cycle {facts['cutoff']:%-d %b %Y, %H:%M}")
    if (progress := glance.in_progress(facts)) is not None:
        told.append(progress)
    return told


def _links(each: Glance) -> None:
    with st.container(horizontal=True):
        if each.diagnoses:
            worst = glance.in_order(each.diagnoses)[0]["series"]
            sign_in.link(
                "oscillation", f"Oscillation of {each.name}", domain=each.name, series=worst
            )
        if each.facts["champion"] is not None:
            sign_in.link("generations", f"Generations of {each.name}", domain=each.name)
        if plans(each.name) and each.facts["decisions"]:
            sign_in.link("plan", f"Plan of {each.name}", domain=each.name)


def domains() -> None:
    now = datetime.now(UTC)
    found = at_a_glance(now)
    if not found:
        empty(
            "Nothing has been decided yet. Run `make run` (or `decisions run`): the first"
            " generations appear a minute or two after it starts, and this page shows them."
        )
        return
    headline(found, now)
    for each in found:
        card(each)


@st.fragment(run_every="1m")
def page() -> None:
    guarded(domains)


shown("overview", page)
