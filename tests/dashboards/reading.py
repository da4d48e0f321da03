"""How a test reads a page: its Markdown as a person sees it, and its folded parts."""

import re

from streamlit.testing.v1 import AppTest


def plain(markdown: str) -> str:
    """Markdown without the backslashes and joiners that keep stored text as it is."""
    return re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", markdown).replace("\u2060", "")


def unfold(page: AppTest, *keys: str) -> AppTest:
    """The page with these parts of it open, run anew."""
    for key in keys:
        page.session_state[f"unfolded {key}"] = True
    return page.run()
