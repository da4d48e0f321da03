"""A decision taken again on a button, and compared with what is stored, column by column."""

import math
from typing import Any

import opened
import polars as pl
import sign_in
import streamlit as st
from pressing import pressed
from roles import least_role

from decisions import replay
from decisions.configured import configured_domain
from decisions.settings import required_database_url, settings
from decisions.store.database import Database

Row = dict[str, Any]
COLUMNS = {
    "eligible": "eligible actions",
    "scores": "scores",
    "probabilities": "propensities of all actions",
    "action": "action",
    "nominal": "action without exploring",
    "propensity": "propensity of the action",
    "arm": "arm",
    "arm_propensity": "propensity within the arm",
    "uniform": "number drawn",
}


def show(domain: str, row: Row) -> None:
    """The button, the command that does the same, and what came of the last press."""
    st.subheader("Would it be decided again?")
    st.caption(
        "Loads the generation's artefact, whose bytes must have the recorded digest, decides the"
        " same unit with the same seed, and compares every bit."
    )
    st.code(f"decisions replay {row['decision_id']} --domain {domain}", language="shell")
    who = sign_in.visitor()
    if who is None or not who.may("replay"):
        st.info(f"Replaying is for the role “{least_role('replay')}”; the command says the same.")
        return
    key = f"replayed {domain} {row['decision_id']}"
    if pressed("Replay now", key=f"button of {key}", icon=":material/replay:", primary=True):
        with st.spinner("Deciding again"):
            st.session_state[key] = _replayed(domain, int(row["decision_id"]))
    if key in st.session_state:
        _result(domain, row, *st.session_state[key])


def _replayed(domain: str, decision: int) -> tuple[replay.Replayed, list[float] | None]:
    """The decision taken again, and the chances within its arm where it was taken here."""
    db, known = Database(required_database_url(settings())), configured_domain(domain)
    found = replay.replay(db, known, [decision])
    within = None if found.stored.is_empty() else replay.within_arm(db, known, decision)
    return found, within


def _result(domain: str, row: Row, found: replay.Replayed, within: list[float] | None) -> None:
    if found.stored.is_empty():
        st.warning(
            "Others took this decision, so there is no policy to take it again with. Its seal can"
            " be verified: see the audit page."
        )
        return
    if found.equal:
        st.success("Identical: every compared column has the same bits.", icon=":material/check:")
    else:
        wrong = ", ".join(COLUMNS[name] for name, count in found.differing.items() if count)
        st.error(
            f"It differs in: {wrong}. Keep this page, and run `decisions audit verify`: either the"
            " stored row or what computes it has changed since.",
            icon=":material/error:",
        )
    stored, again = found.stored.row(0, named=True), found.again.row(0, named=True)
    st.dataframe(
        pl.DataFrame(
            [
                {
                    "Column": COLUMNS[name],
                    "Bits": "differ" if found.differing[name] else "identical",
                    "Stored": _written(stored[name]),
                    "Decided again": _written(again[name]),
                }
                for name in replay.COMPARED
            ]
        ),
        hide_index=True,
        height="content",
    )
    if within is not None and row["arm_propensity"] != row["propensity"]:
        opened.strip(domain, row, within, f"The number {row['uniform']:.6f} fell here.")


def _written(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(_written(each) for each in value)
    if isinstance(value, float):
        return "not kept" if math.isnan(value) else f"{value:.17g}"
    return str(value)
