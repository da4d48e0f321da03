"""The dashboard: pages over the store. Run it with `decisions up`."""

import sys
from pathlib import Path

import streamlit as st

# `streamlit run` puts this folder on the path, and pages import their neighbours from it; the
# tests' runner does not.
if str(Path(__file__).parent) not in sys.path:
    sys.path.insert(0, str(Path(__file__).parent))

import sign_in
from contents import CONTENTS, Entry


def menu(who: sign_in.Visitor | None) -> dict[str, list[st.Page]]:
    """The pages by section; those that `who` may not open are there, to say so, but not listed."""
    sections: dict[str, list[st.Page]] = {entry.section: [] for entry in CONTENTS.values()}
    for entry in CONTENTS.values():
        may = who is not None and who.may(entry.name)
        sections[entry.section].append(_page(entry, entry.name, listed=may))
    first = next(iter(CONTENTS.values()))
    sections[first.section].insert(0, _page(first, "", listed=False))
    return sections


def _page(entry: Entry, address: str, *, listed: bool) -> st.Page:
    return st.Page(
        f"pages/{entry.name}.py",
        title=entry.title,
        icon=entry.icon,
        help=entry.question,
        url_path=address,
        default=not address,
        visibility="visible" if listed else "hidden",
    )


st.set_page_config(page_title="Decisions", page_icon=":material/timeline:", layout="wide")
try:
    who = sign_in.visitor()
except sign_in.Refused:
    who = None  # every page says why
chosen = st.navigation(menu(who), position="hidden" if who is None else "sidebar")
if who is not None:
    sign_in.sidebar(who)
chosen.run()
