"""What every page has in common: above all, what it says when it cannot show anything."""

import logging
from collections.abc import Callable

import menu
import streamlit as st
from contents import CONTENTS

from decisions.errors import DecisionsError

log = logging.getLogger("decisions.dashboards")


def shown(name: str, page: Callable[[], None]) -> None:
    """Draws the page `name` below its title: the last line of each file of `pages`.

    What goes wrong is a sentence with the way out, never a traceback; those go to the log.
    """
    menu.require()
    st.caption(CONTENTS[name].question)
    guarded(page)


def guarded(part: Callable[[], None]) -> None:
    """Draws a page or a part of one, or says what went wrong and what to do."""
    try:
        part()
    except DecisionsError as error:
        failed(str(error))
    except Exception:
        log.exception("a page failed")
        st.error(
            "This page failed by a mistake of ours; the dashboard's log holds the details. The"
            " other pages may still work."
        )


def failed(why: str) -> None:
    """Says that figures cannot be read, and what to do."""
    st.error(f"The figures cannot be read. {why.rstrip('.')}.")
    st.markdown(
        "Start the local stack with `decisions up`, or the database that the message names, wait a"
        " moment, and try again."
    )
    st.button("Try again", icon=":material/refresh:")


def empty(what: str) -> None:
    """Says that there is nothing to show yet: `what` is missing, and what to run."""
    st.info(what)
