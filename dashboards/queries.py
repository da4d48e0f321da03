"""Every read of the dashboard: a statement of `sql/queries`, kept for a few seconds."""

import json
import math
from typing import Any

import polars as pl
import streamlit as st

from decisions.errors import DecisionsError
from decisions.settings import required_database_url, settings
from decisions.store.database import Database

GAIN = "difference_lower_bound"
RULES = {  # what a check of an evaluation is called on a page
    "churn_from_trained": "share of decisions that would change",
    "ess_share": "share of the log that still informs",
    "support_violation": "share of decisions that the log never tried",
    "worst_segment_loss": "loss in the worst segment",
}
FRESH = "15s"  # how old a figure on a page may be


@st.cache_data(ttl=FRESH, show_spinner="Reading the database", scope="session")
def _read(url: str, sql_file: str, params: dict[str, Any]) -> pl.DataFrame:
    """The rows of one statement; `url` is part of the key of the cache."""
    return Database(url).read(sql_file, **params)


def read(sql_file: str, **params: Any) -> pl.DataFrame:
    """The rows of `sql/queries/<sql_file>.sql`, with its named parameters given.

    Raises:
        DecisionsError: there is no database, or it does not answer; the message is for people.
    """
    return _read(required_database_url(settings()), sql_file, params)


def timeline() -> pl.DataFrame:
    """Every generation of every domain: value, difference from the champion, verdict."""
    return read("generation/timeline")


def promotions() -> pl.DataFrame:
    """Every change of champion."""
    return read("promotion/all")


def reasons() -> pl.DataFrame:
    """One row a verdict: `domain`, `number`, `why` in words, and the gate's `margin` in points.

    The margin is what the lower bound of the difference had to exceed.
    """
    rows = [
        {"domain": row["domain"], "number": row["number"], **_reason(row["note"], row["reasons"])}
        for row in read("verdict/reasons").iter_rows(named=True)
    ]
    return pl.DataFrame(
        rows,
        schema={
            "domain": pl.String(),
            "number": pl.Int32(),
            "why": pl.String(),
            "margin": pl.Float64(),
        },
    )


def _reason(note: str | None, reasons: str) -> dict[str, Any]:
    rules = {rule["rule"]: rule for rule in json.loads(reasons)}
    gain = rules.pop(GAIN, None)
    margin = None if gain is None else 100 * float(gain["low"])
    words = ([note] if note else []) + [
        _broken(rule) for rule in rules.values() if not rule["kept"]
    ]
    if gain is not None and margin is not None and math.isfinite(float(gain["measured"])):
        kept = "above" if gain["kept"] else "not above"
        lower = 100 * float(gain["measured"])
        words.append(f"lower bound {lower:+.2f} points, {kept} {margin:+.2f}")
    return {"why": "; ".join(words), "margin": margin}


def _broken(rule: dict[str, Any]) -> str:
    """A rule that was not kept, in words."""
    name = rule["rule"]
    low, high = float(rule["low"]), float(rule["high"])
    if low == high:
        allowed = f"must be {low:g}"
    elif math.isinf(low):
        allowed = f"at most {high:g} is allowed"
    elif math.isinf(high) or high >= 1 > low > 0:
        allowed = f"at least {low:g} is needed"
    else:
        allowed = f"{low:g} to {high:g} is allowed"
    measured = rule["measured"]
    seen = "was not measured" if measured is None else f"is {float(measured):.3g}"
    return f"{RULES.get(name, name.replace('_', ' '))} {seen}, {allowed}"


__all__ = ["DecisionsError", "promotions", "reasons", "timeline"]
