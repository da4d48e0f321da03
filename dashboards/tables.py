"""Tables of a few rows whose every word is to be read.

A grid cuts long cells off, and Streamlit's own table reads each cell as Markdown, which takes a
browser more than a millisecond a cell.
"""

import re
from collections.abc import Collection, Iterable

import polars as pl
import streamlit as st
from quoting import html

_LINE = "border-bottom:1px solid rgba(128,128,128,.35)"
_CELL = f"text-align:left;vertical-align:top;padding:.3rem .9rem .3rem 0;{_LINE}"
_LONG_WORD = re.compile(r"\S{24}(?=\S)")  # such as a digest: it may be broken there


def text(rows: pl.DataFrame, *, whole: Collection[str] = ()) -> None:
    """Draws the rows under their columns' names; cells of columns in `whole` are one line."""
    names = rows.columns
    head = "".join(f'<th style="{_CELL};font-weight:600">{html(name)}</th>' for name in names)
    body = "".join(f"<tr>{_cells(names, row, whole)}</tr>" for row in rows.iter_rows())
    st.html(
        '<div style="overflow-x:auto"><table style="width:100%;border-collapse:collapse;'
        f'font-size:.875rem"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def _cells(names: Iterable[str], row: Iterable[object], whole: Collection[str]) -> str:
    return "".join(
        f'<td style="{_CELL}{";white-space:nowrap" if name in whole else ""}">'
        f"{'' if cell is None else _broken(str(cell))}</td>"
        for name, cell in zip(names, row, strict=True)
    )


def _broken(cell: str) -> str:
    """HTML of a cell, in which long words may be broken."""
    parts = _LONG_WORD.sub(lambda word: word[0] + "\n", " ".join(cell.split())).split("\n")
    return "<wbr>".join(map(html, parts))
