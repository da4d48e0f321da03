"""Stored text and text of the address, so that a page shows it letter by letter.

What reaches `st.markdown` and its kin is Markdown: an image in a reference would be fetched by
whoever looks at it. Whatever comes from the store, the address or a file goes through here.
"""

import re
from html import escape

_PUNCTUATION = re.compile(r"([!-/:-@\[-`{-~])")
# Streamlit looks for addresses, icons and arrows after it has read the Markdown, where backslashes
# are gone: an invisible word joiner keeps their letters apart.
_JOINER = "\u2060"
_READ_LATER = re.compile(r"(?<=[:@])(?=\S)|(?<=www)(?=\.)|(?<=[<>~-])(?=[<>=-])", re.IGNORECASE)


def quoted(text: object) -> str:
    """Markdown that shows the text as it is, on one line."""
    return _escaped(" ".join(str(text).split()))


def _escaped(line: str) -> str:
    return _PUNCTUATION.sub(r"\\\1", _READ_LATER.sub(_JOINER, line))


def prose(text: object) -> str:
    """As `quoted`, of a sentence of ours that was stored: what is between backticks is code."""
    parts = " ".join(str(text).split()).split("`")
    if len(parts) % 2 == 0:
        return quoted(text)
    return "".join(code(part) if odd % 2 else _escaped(part) for odd, part in enumerate(parts))


def code(text: object) -> str:
    """Markdown that shows the text as it is, in the letters of a machine."""
    line = " ".join(str(text).split())
    longest = max((len(run) for run in re.findall("`+", line)), default=0)
    fence = "`" * (longest + 1)
    space = " " if not line or "`" in (line[0], line[-1]) else ""
    return f"{fence}{space}{line}{space}{fence}"


def html(text: object) -> str:
    """HTML that shows the text as it is."""
    return escape(str(text))
