"""Details that a page unfolds: they cost nothing before somebody opens them."""

from collections.abc import Callable

import streamlit as st
from states import guarded


@st.fragment
def unfold(title: str, draw: Callable[[], object], *, key: str, opened: bool = False) -> None:
    """Draws a folded part of a page; `draw` runs when it is open.

    Opening it runs nothing else of the page. `opened` says how it begins, for an address that
    names something in it.
    """
    fold = st.expander(title, expanded=opened, key=f"unfolded {key}", on_change="rerun")
    if fold.open:
        with fold:
            guarded(draw, name=key)
