"""Sign-in and roles: which pages open for whom, and what those are told for whom they do not."""

import json
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from streamlit import config
from streamlit.testing.v1 import AppTest

from tests.dashboards.conftest import DASHBOARDS
from tests.dashboards.reading import plain

PAGES = sorted(path.stem for path in (DASHBOARDS / "pages").glob("*.py"))
OPEN = {
    "viewer": {"overview", "generations", "oscillation", "off_policy"},
    "manager": {"overview", "plan", "generations", "oscillation", "off_policy", "decisions"},
    "auditor": set(PAGES),
}


@pytest.fixture
def signing_in(dashboard: AppTest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    """A dashboard that asks people to sign in; nobody has yet."""
    file = tmp_path / "roles.json"
    file.write_text(json.dumps({role: [f"{role}@example.org"] for role in OPEN}))
    monkeypatch.setenv("DECISIONS_ROLES_FILE", str(file))
    config.set_option("server.address", "0.0.0.0")
    dashboard.secrets = {"auth": {"client_id": "decisions"}}
    dashboard.user = {"is_logged_in": False}
    return dashboard


def _person(name: str) -> dict[str, Any]:
    return {"is_logged_in": True, "email": f"{name}@example.org", "email_verified": True}


def _refused(page: AppTest) -> bool:
    return any("Whoever runs this dashboard can change your role" in e.value for e in page.error)


def test_every_page_of_the_menu_is_tested_here() -> None:
    assert len(PAGES) == 7


@pytest.mark.parametrize("name", PAGES)
def test_nobody_sees_a_page_before_signing_in(signing_in: AppTest, name: str) -> None:
    # Not run before: as the first visitor of a new server, by a page's own address.
    signing_in.switch_page(f"pages/{name}.py").run()

    assert not signing_in.exception
    assert [each.label for each in signing_in.button] == ["Sign in"]
    assert [each.value for each in signing_in.markdown] == ["Sign in to see this dashboard."]
    assert not signing_in.error


@pytest.mark.parametrize("role", OPEN)
def test_a_role_opens_its_pages_and_no_other(signing_in: AppTest, role: str) -> None:
    signing_in.user = _person(role)

    for name in PAGES:
        page = signing_in.switch_page(f"pages/{name}.py").run()
        assert not page.exception
        assert _refused(page) == (name not in OPEN[role]), name
        assert plain(page.sidebar.caption[0].value) == f"Signed in as {role}@example.org, {role}"
        assert page.sidebar.button[0].label == "Sign out"


def test_a_refusal_names_the_role_that_is_needed(signing_in: AppTest) -> None:
    signing_in.user = _person("viewer")

    signing_in.switch_page("pages/audit.py").run()

    assert "You are a viewer, and the page “Audit” needs an auditor" in plain(
        signing_in.error[0].value
    )


def test_a_person_without_a_role_is_told_so(signing_in: AppTest) -> None:
    signing_in.user = _person("eve")

    signing_in.run()

    assert "eve@example.org has no role here" in plain(signing_in.error[0].value)
    assert [each.label for each in signing_in.button] == ["Sign out"]


def test_a_role_that_was_taken_away_is_gone_at_the_next_look(
    signing_in: AppTest, tmp_path: Path
) -> None:
    signing_in.user = _person("viewer")
    assert "has no role" not in signing_in.run().error[0].value

    (tmp_path / "roles.json").write_text("{}")
    signing_in.run()

    assert "viewer@example.org has no role here" in plain(signing_in.error[0].value)


def test_links_to_pages_that_do_not_open_are_not_shown(
    signing_in: AppTest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = AppTest.from_string(
        f"""
        import sys
        sys.path.insert(0, {str(DASHBOARDS)!r})
        import sign_in
        sign_in.admitted("overview")
        sign_in.link("audit", "To the audit")
        sign_in.link("overview", "To the overview")
        """
    )

    def shown(page: str, **_: object) -> None:
        st.text(page)

    monkeypatch.setattr("streamlit.page_link", shown)
    page.secrets, page.user = signing_in.secrets, _person("viewer")

    page.run()

    assert not page.exception
    assert [each.value for each in page.text] == ["pages/overview.py"]


@pytest.mark.parametrize("address", [None, "0.0.0.0", "10.1.2.3", "::", "dashboard.example.org"])
def test_without_sign_in_no_address_but_loopback_is_served(
    dashboard: AppTest, address: str | None
) -> None:
    config.set_option("server.address", address)

    for name in ("overview", "audit"):
        dashboard.switch_page(f"pages/{name}.py").run()
        assert not dashboard.exception
        assert "asks nobody to sign in" in dashboard.error[0].value
        assert "--server.address 127.0.0.1" in dashboard.error[0].value
        assert not dashboard.button


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "localhost"])
def test_on_its_own_machine_everything_opens_without_sign_in(
    dashboard: AppTest, address: str
) -> None:
    config.set_option("server.address", address)

    dashboard.switch_page("pages/audit.py").run()

    assert not dashboard.exception
    assert not _refused(dashboard)
    assert not dashboard.sidebar.button


def test_sign_in_that_was_asked_for_and_cannot_be_read_opens_nothing(
    dashboard: AppTest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DECISIONS_SIGN_IN_FILE", str(tmp_path / "missing.toml"))

    dashboard.run()

    assert "no `[auth]` section could be read" in dashboard.error[0].value
