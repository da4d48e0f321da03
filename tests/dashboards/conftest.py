"""What every test of a page needs: a server that listens on this machine alone, and no cache."""

from collections.abc import Generator

import pytest
import streamlit as st
from streamlit import config


@pytest.fixture(autouse=True)
def own_machine() -> Generator[None]:
    """The dashboard as `decisions up` starts it."""
    config.set_option("server.address", "127.0.0.1")
    st.cache_data.clear()
    yield
    config.set_option("server.address", None)
