"""What every page has in common: above all, what it says when it cannot show anything."""

import logging
from collections.abc import Callable

import menu
import streamlit as st
from contents import CONTENTS
from quoting import prose

from decisions.errors import DecisionsError

log = logging.getLogger("decisions.dashboards")


def shown(name: str, page: Callable[[], None]) -> None:
    """Draws the page `name` below its title: the last line of each file of `pages`.

    What goes wrong is a sentence with the way out, never a traceback; those go to the log.
    """
    menu.require()
    st.caption(CONTENTS[name].question)
    guarded(page)


def guarded(part: Callable[[], object], *, name: str = "page") -> None:
    """Draws a page or a named part of one, or says what went wrong and what to do."""
    try:
        part()
    except DecisionsError as error:
        failed(str(error), name)
    except Exception:
        log.exception("a page failed")
        st.error(
            "This page failed by a mistake of ours; the dashboard's log holds the details. The"
            " other pages may still work."
        )


def failed(why: str, name: str) -> None:
    """Says that the figures of a part cannot be read, and what to do."""
    st.error(f"The figures cannot be read. {prose(why.rstrip('.'))}.")
    st.markdown(
        "Start the local stack with `decisions up`, or the database that the message names, wait a"
        " moment, and try again."
    )
    st.button("Try again", icon=":material/refresh:", key=f"try {name} again")


def empty(what: str) -> None:
    """Says that there is nothing to show yet: `what` is missing, and what to run."""
    st.info(what)
