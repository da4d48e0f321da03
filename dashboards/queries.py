"""Every read of the dashboard: a statement of `sql/queries`, kept for a few seconds."""

from typing import Any

import polars as pl
import streamlit as st

from decisions.settings import required_database_url, settings
from decisions.store.database import Database

FRESH = "15s"  # how old a figure on a page may be


@st.cache_data(ttl=FRESH, show_spinner=False, scope="session")
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
