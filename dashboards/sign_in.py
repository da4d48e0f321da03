"""Who looks at the dashboard, and what they may open.

With an `[auth]` section in Streamlit's secrets, people sign in at an OpenID provider and have
the role that the file of roles gives them. Without one the dashboard serves this machine alone.
"""

from dataclasses import dataclass
from ipaddress import ip_address

import streamlit as st
from contents import CONTENTS
from quoting import prose, quoted
from roles import ROLES, allowed, least_role, read_roles, role_of
from streamlit.errors import StreamlitSecretNotFoundError

from decisions.errors import DecisionsError, StackError
from decisions.settings import settings

_LOOKS = "who looks"  # of the session: a Visitor
GUIDE = "`docs/dashboards.md` says how sign-in is configured."


@dataclass(frozen=True)
class Visitor:
    """Who looks, and with which role; `name` is None on a machine's own dashboard."""

    name: str | None
    role: str

    def may(self, what: str) -> bool:
        """Whether the role allows to open a page, by its name, or to "replay"."""
        return what in allowed(self.role)


class Refused(DecisionsError):
    """Nobody in particular may look: the message, Markdown, says why, and what to do."""


def visitor() -> Visitor | None:
    """Who looks now; None when they have not signed in yet.

    Raises:
        Refused: sign-in is missing where it is needed, or the person has no role.
    """
    if not _is_configured():
        _require_own_machine()
        return Visitor(None, list(ROLES)[-1])
    claims = st.user.to_dict()
    if not claims.get("is_logged_in"):
        return None
    name = str(claims.get("email") or claims.get("name") or claims.get("sub"))
    try:
        role = role_of(claims, read_roles(settings().roles_file))
    except StackError as error:
        raise Refused(f"{prose(error)}. {GUIDE}") from error
    if role is None:
        raise Refused(
            f"{quoted(name)} has no role here. Whoever runs this dashboard can give you one, by"
            f" your address where your provider has verified it, or by a claim. {GUIDE}"
        )
    return Visitor(name, role)


def _is_configured() -> bool:
    try:
        if st.secrets.get("auth"):
            return True
    except StreamlitSecretNotFoundError:
        pass
    if settings().sign_in_file is not None:
        raise Refused(
            "DECISIONS_SIGN_IN_FILE is set, but no `[auth]` section could be read, so nobody can"
            f" sign in. {GUIDE}"
        )
    return False


def _require_own_machine() -> None:
    address = st.get_option("server.address")
    if address == "localhost":
        return
    try:
        if ip_address(address or "").is_loopback:
            return
    except ValueError:
        pass
    raise Refused(
        f"This dashboard listens on {address or 'every address of this machine'} and asks nobody"
        " to sign in. Start it with `--server.address 127.0.0.1`, as `decisions up` does, or"
        f" configure sign-in. {GUIDE}"
    )


def admitted(name: str) -> bool:
    """Whether the page `name` opens for who looks now; where it does not, this says so."""
    try:
        who = visitor()
    except Refused as refusal:
        st.error(str(refusal), icon=":material/lock:")
        if st.user.to_dict().get("is_logged_in"):
            st.button("Sign out", icon=":material/logout:", on_click=st.logout)
        return False
    if who is None:
        st.markdown("Sign in to see this dashboard.")
        st.button("Sign in", icon=":material/login:", type="primary", on_click=st.login)
        return False
    if not who.may(name):
        st.error(
            f"You are {_with_article(who.role)}, and the page “{CONTENTS[name].title}” needs"
            f" {_with_article(least_role(name))}. Whoever runs this dashboard can change your"
            f" role. {GUIDE}",
            icon=":material/lock:",
        )
        return False
    st.session_state[_LOOKS] = who
    return True


def _with_article(role: str) -> str:
    return f"an {role}" if role[0] in "aeiou" else f"a {role}"


def sidebar(who: Visitor) -> None:
    """Who is signed in, and the way out."""
    if who.name is None:
        return
    with st.sidebar:
        st.caption(f"Signed in as {quoted(who.name)}, {who.role}")
        st.button("Sign out", icon=":material/logout:", on_click=st.logout)


def link(name: str, label: str, **params: str) -> None:
    """A link to a page with its choices in the address; nothing for who may not open it.

    Who looks was asked when the page was opened: asking costs milliseconds a link.
    """
    if st.session_state[_LOOKS].may(name):
        st.page_link(
            f"pages/{name}.py", label=quoted(label), icon=CONTENTS[name].icon, query_params=params
        )
