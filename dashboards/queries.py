"""Every read of the dashboard: a statement of `sql/queries`, kept for a few seconds."""

import json

import polars as pl
import streamlit as st

from decisions.errors import DecisionsError
from decisions.settings import required_database_url, settings
from decisions.store.database import Database

FRESH = "15s"  # how old a figure on a page may be


@st.cache_data(ttl=FRESH, show_spinner="Reading the database")
def _read(url: str, sql_file: str) -> pl.DataFrame:
    """The rows of one statement; `url` is part of the key of the cache."""
    return Database(url).read(sql_file)


def read(sql_file: str) -> pl.DataFrame:
    """The rows of `sql/queries/<sql_file>.sql`.

    Raises:
        DecisionsError: there is no database, or it does not answer; the message is for people.
    """
    return _read(required_database_url(settings()), sql_file)


def timeline() -> pl.DataFrame:
    """Every generation of every domain: value, difference from the champion, verdict."""
    return read("generation/timeline")


def promotions() -> pl.DataFrame:
    """Every change of champion."""
    return read("promotion/all")


def reasons() -> pl.DataFrame:
    """One row a rule that did not keep: `domain`, `number`, `why` in words."""
    rows = [
        {"domain": row["domain"], "number": row["number"], "why": why}
        for row in read("verdict/reasons").iter_rows(named=True)
        for why in [row["note"]] * bool(row["note"]) + _broken(json.loads(row["reasons"]))
    ]
    return pl.DataFrame(
        rows, schema={"domain": pl.String(), "number": pl.Int32(), "why": pl.String()}
    )


def _broken(rules: list[dict[str, object]]) -> list[str]:
    """The rules that were not kept, in words; that the difference may be zero goes last."""
    return [
        f"{str(rule['rule']).replace('_', ' ')} is {_number(rule['measured'])}, allowed"
        f" {_number(rule['low'])} to {_number(rule['high'])}"
        for rule in rules
        if not rule["kept"] and rule["rule"] != "difference_lower_bound"
    ]


def _number(value: object) -> str:
    return "not measured" if value is None else f"{float(str(value)):.3g}"


__all__ = ["DecisionsError", "promotions", "reasons", "timeline"]
