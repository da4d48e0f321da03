"""Who may do what: three roles, and how a signed-in person gets one."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from decisions.errors import StackError

# From the least to the most. What a role may do, those after it may too: open a page by its
# name, or decide again what was decided ("replay").
ROLES = {
    "viewer": {"overview", "generations", "oscillation", "off_policy"},
    "manager": {"decisions", "plan"},
    "auditor": {"audit", "replay"},
}


def allowed(role: str) -> frozenset[str]:
    """All that a role may do."""
    order = list(ROLES)
    return frozenset().union(*(ROLES[name] for name in order[: order.index(role) + 1]))


def least_role(what: str) -> str:
    """The lowest role that may do it."""
    return next(role for role, doings in ROLES.items() if what in doings)


def read_roles(file: Path | None) -> dict[str, list[str]]:
    """Who has each role, from a JSON object: role to a list of persons.

    A person is `ann@example.org`; everyone of `@example.org`; or `claim=value`, of which the
    identity token's claim is the value or a list that holds it, such as `groups=risk`.

    Raises:
        StackError: the file cannot be read, or says something else.
    """
    if file is None:
        raise StackError("nobody has a role yet: name a file in DECISIONS_ROLES_FILE")
    try:
        given = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StackError(f"the file of roles {file} cannot be read: {error}") from error
    if not isinstance(given, dict) or not set(given) <= set(ROLES):
        raise StackError(f"the file of roles {file} must hold {', '.join(ROLES)}, and no other")
    for role, persons in given.items():
        if not isinstance(persons, list) or not all(isinstance(each, str) for each in persons):
            raise StackError(f"{role} in the file of roles {file} must be a list of texts")
        if "" in persons:
            raise StackError(f"{role} in the file of roles {file} holds an empty text")
    return given


def role_of(claims: Mapping[str, Any], roles: Mapping[str, list[str]]) -> str | None:
    """The highest role of the person with these claims, None without one."""
    held = [
        role for role in ROLES if any(_is_person(claims, person) for person in roles.get(role, []))
    ]
    return held[-1] if held else None


def _is_person(claims: Mapping[str, Any], person: str) -> bool:
    claim, equals, value = person.partition("=")
    if equals:
        held = claims.get(claim)
        return value in held if isinstance(held, list) else held is not None and held == value
    # An address that its provider has not verified is what anybody may have typed.
    if claims.get("email_verified") not in (True, "true"):
        return False
    address = str(claims.get("email", "")).casefold()
    wanted = person.casefold()
    return (
        address.endswith(wanted) if wanted.startswith("@") else bool(wanted) and address == wanted
    )
