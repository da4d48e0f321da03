"""How a test reads a page: its Markdown as a person sees it, and its folded parts."""

import re
from html import unescape

from streamlit.testing.v1 import AppTest


def plain(markdown: str) -> str:
    """Markdown without the backslashes and joiners that keep stored text as it is."""
    return re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", markdown).replace("\u2060", "")


def cells(page: AppTest) -> list[dict[str, str]]:
    """The rows of every table of text on a page, a value by the name of its column."""
    rows: list[dict[str, str]] = []
    for table in (str(each.proto.body) for each in page.get("html")):
        names = [unescape(name) for name in re.findall("<th [^>]*>(.*?)</th>", table)]
        for row in re.findall("<tr>(.*?)</tr>", table)[1:]:
            values = re.findall("<td [^>]*>(.*?)</td>", row)
            rows.append(
                dict(
                    zip(
                        names,
                        (unescape(each.replace("<wbr>", "")) for each in values),
                        strict=True,
                    )
                )
            )
    return rows


def unfold(page: AppTest, *keys: str) -> AppTest:
    """The page with these parts of it open, run anew."""
    for key in keys:
        page.session_state[f"unfolded {key}"] = True
    return page.run()
