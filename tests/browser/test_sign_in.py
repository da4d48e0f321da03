"""Who may open what, with Streamlit's own OpenID sign-in against a real provider."""

import json
from collections.abc import Generator

import pytest
from playwright.sync_api import Browser, Page, expect

from decisions.stack.dashboard import serving_dashboard
from decisions.stack.ports import choose
from decisions.store.database import Database
from tests.browser import openid_provider
from tests.browser.dashboard import drawn, picture, sound, visit

pytestmark = pytest.mark.slow

ROLES = {"viewer": ["@example.org"], "manager": ["bob@example.org"], "auditor": ["groups=audit"]}
PEOPLE = {
    "ann@example.org": {"email_verified": True},
    "bob@example.org": {"email_verified": True},
    "cy@example.org": {"email_verified": True, "groups": ["staff", "audit"]},
    "eve@elsewhere.org": {"email_verified": True},
    "mallory@elsewhere.org": {"email": "bob@example.org", "email_verified": False},
}
SEEN_BY_ALL = {"Overview", "Generations", "Oscillation", "Off-policy"}
OPEN_TO = {
    "ann@example.org": SEEN_BY_ALL,
    "bob@example.org": SEEN_BY_ALL | {"Plan", "Decisions"},
    "cy@example.org": SEEN_BY_ALL | {"Plan", "Decisions", "Audit"},
}
ADDRESSES = {title: title.lower().replace("-", "_") for title in OPEN_TO["cy@example.org"]}


@pytest.fixture(scope="module")
def guarded(
    browser: Browser, lived_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Generator[str]:
    """The address of a dashboard whose visitors sign in."""
    folder = tmp_path_factory.mktemp("guarded")
    port = choose({"dashboard": 0})["dashboard"]
    with openid_provider.running(PEOPLE) as provider:
        secrets = {
            "redirect_uri": f"http://127.0.0.1:{port}/oauth2callback",
            "cookie_secret": "of this test and no other",
            "client_id": openid_provider.CLIENT_ID,
            "client_secret": openid_provider.CLIENT_SECRET,
            "server_metadata_url": f"{provider.issuer}/.well-known/openid-configuration",
        }
        lines = [f"{name} = {json.dumps(value)}" for name, value in secrets.items()]
        (folder / "secrets.toml").write_text("\n".join(["[auth]", *lines]) + "\n")
        (folder / "roles.json").write_text(json.dumps(ROLES))
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("DECISIONS_SIGN_IN_FILE", str(folder / "secrets.toml"))
            environment.setenv("DECISIONS_ROLES_FILE", str(folder / "roles.json"))
            with serving_dashboard(lived_url, folder, port=port) as address:
                yield address


def sign_in(page: Page, address: str, person: str) -> None:
    visit(page, address)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("button", name=person).click()
    expect(page.get_by_role("button", name="Sign in")).to_have_count(0)
    drawn(page)


def listed(page: Page) -> set[str]:
    """The pages that the menu offers."""
    return set(page.locator("[data-testid=stSidebarNavLink]").all_inner_texts())


def test_who_has_not_signed_in_sees_no_figure_on_any_page(page: Page, guarded: str) -> None:
    for name in ADDRESSES.values():
        visit(page, f"{guarded}/{name}?domain=payments")

        expect(page.get_by_text("Sign in to see this dashboard")).to_be_visible()
        expect(page.locator("[data-testid=stMetric], [data-testid=stDataFrame]")).to_have_count(0)
        assert listed(page) == set()
        sound(page)
    picture(page, "sign-in")


@pytest.mark.parametrize("person", OPEN_TO)
def test_a_role_opens_its_pages_and_no_other(page: Page, guarded: str, person: str) -> None:
    sign_in(page, guarded, person)

    assert {name.split("\n")[-1].strip() for name in listed(page)} == OPEN_TO[person]
    whole = person.replace("@", "@\u2060")  # not joined, Markdown would make a link of it
    expect(page.get_by_text(f"Signed in as {whole}")).to_be_visible()
    for title, name in ADDRESSES.items():
        visit(page, f"{guarded}/{name}?domain=payments")
        refused = page.get_by_text(f"the page “{title}” needs")
        if title in OPEN_TO[person]:
            expect(refused).to_have_count(0)
        else:
            expect(refused).to_be_visible()
            expect(
                page.locator("[data-testid=stMetric], [data-testid=stDataFrame]")
            ).to_have_count(0)
            picture(page, f"refused-{name}-{person.split('@')[0]}")
        sound(page)


@pytest.mark.parametrize("person", ["eve@elsewhere.org", "mallory@elsewhere.org"])
def test_a_stranger_and_an_address_that_nobody_verified_have_no_role(
    page: Page, guarded: str, person: str
) -> None:
    sign_in(page, guarded, person)

    expect(page.get_by_text("has no role here")).to_be_visible()
    expect(page.locator("[data-testid=stMetric], [data-testid=stDataFrame]")).to_have_count(0)
    sound(page)


def test_signing_out_closes_the_pages(page: Page, guarded: str) -> None:
    sign_in(page, guarded, "ann@example.org")

    page.get_by_role("button", name="Sign out").click()

    expect(page.get_by_role("button", name="Sign in")).to_be_visible()
    visit(page, f"{guarded}/generations")
    expect(page.get_by_text("Sign in to see this dashboard")).to_be_visible()


def test_only_an_auditor_may_decide_again(page: Page, guarded: str, lived_url: str) -> None:
    [decision, *_] = Database(lived_url).read(
        "decision/sample", domain="payments", seed=1, count=1
    )["decision_id"]
    address = f"{guarded}/decisions?domain=payments&decision={decision}"

    sign_in(page, guarded, "bob@example.org")
    visit(page, address)
    expect(page.get_by_role("heading", name=f"Decision {decision}")).to_be_visible()
    expect(page.get_by_role("button", name="Replay now")).to_have_count(0)

    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()
    sign_in(page, guarded, "cy@example.org")
    visit(page, address)
    expect(page.get_by_role("button", name="Replay now")).to_be_visible()
    sound(page)
