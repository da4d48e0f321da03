"""What every test of a page needs: a server that listens on this machine alone, and no cache."""

from collections.abc import Callable, Generator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
import streamlit as st
from streamlit import config
from streamlit.testing.v1 import AppTest

DASHBOARDS = Path(__file__).parents[2] / "dashboards"


@pytest.fixture(autouse=True)
def own_machine() -> Generator[None]:
    """The dashboard as `decisions up` starts it."""
    config.set_option("server.address", "127.0.0.1")
    st.cache_data.clear()
    yield
    config.set_option("server.address", None)


@pytest.fixture
def dashboard(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AppTest:
    """The dashboard without a database, before its first run."""
    monkeypatch.setenv("DECISIONS_HOME", str(tmp_path))
    for name in ("DATABASE_URL", "SIGN_IN_FILE", "ROLES_FILE"):
        monkeypatch.delenv(f"DECISIONS_{name}", raising=False)
    return AppTest.from_file(str(DASHBOARDS / "app.py"), default_timeout=60)


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Imports a module of `dashboards` by its name."""
    monkeypatch.syspath_prepend(DASHBOARDS)
    return import_module
