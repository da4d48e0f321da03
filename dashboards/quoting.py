"""Stored text and text of the address, so that a page shows it letter by letter.

What reaches `st.markdown` and its kin is Markdown: an image in a reference would be fetched by
whoever looks at it. Whatever comes from the store, the address or a file goes through here.
"""

import re
from html import escape

import polars as pl

_PUNCTUATION = re.compile(r"([!-/:-@\[-`{-~])")
# Streamlit looks for addresses, icons and arrows after it has read the Markdown, where backslashes
# are gone: an invisible word joiner keeps their letters apart.
_JOINER = "\u2060"
_READ_LATER = re.compile(r"(?<=[:@])(?=\S)|(?<=www)(?=\.)|(?<=[<>~-])(?=[<>=-])", re.IGNORECASE)


def quoted(text: object) -> str:
    """Markdown that shows the text as it is, on one line."""
    apart = _READ_LATER.sub(_JOINER, " ".join(str(text).split()))
    return _PUNCTUATION.sub(r"\\\1", apart)


def code(text: object) -> str:
    """Markdown that shows the text as it is, in the letters of a machine."""
    line = " ".join(str(text).split())
    longest = max((len(run) for run in re.findall("`+", line)), default=0)
    fence = "`" * (longest + 1)
    space = " " if not line or "`" in (line[0], line[-1]) else ""
    return f"{fence}{space}{line}{space}{fence}"


def quoted_column(name: str) -> pl.Expr:
    """As `quoted`, of a column."""
    return pl.col(name).map_elements(quoted, return_dtype=pl.String)


def html(text: object) -> str:
    """HTML that shows the text as it is."""
    return escape(str(text))
