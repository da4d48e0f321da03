"""The menu of pages, and the way back to it for a page that was started without it."""

import sign_in
import streamlit as st
from contents import CONTENTS, Entry

FIRST = next(iter(CONTENTS))
_FRAMED = "the page was started by the menu"


def opened(who: sign_in.Visitor | None) -> st.Page:
    """Opens the menu; the page that the address names.

    Pages that `who` may not open are in it, to say so, but not listed. The first page also
    answers at the dashboard's own address.
    """
    sections: dict[str, list[st.Page]] = {entry.section: [] for entry in CONTENTS.values()}
    for entry in CONTENTS.values():
        may = who is not None and who.may(entry.name)
        section = sections[entry.section]
        if entry.name == FIRST:
            section.append(_page(entry, "", listed=may))
        section.append(_page(entry, entry.name, listed=may and entry.name != FIRST))
    return st.navigation(sections, position="hidden" if who is None else "sidebar")


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


def run(page: st.Page) -> None:
    """Runs the page for those who may open it, and tells others why they may not."""
    entry = CONTENTS[page.url_path or FIRST]
    st.title(entry.title)
    if sign_in.admitted(entry.name):
        st.session_state[_FRAMED] = True
        page.run()


def require() -> None:
    """Starts again with `app.py` where Streamlit ran the file of a page by itself.

    It does so for a folder called `pages` until a script has opened a menu: the first visitor of
    a new server may come without passing `app.py`, and so without being asked who they are.
    """
    if not st.session_state.pop(_FRAMED, None):
        opened(None)
        st.rerun()
