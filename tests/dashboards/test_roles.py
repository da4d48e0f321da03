"""Who gets which role, and what a role may do."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from decisions.errors import StackError

ROLES = {
    "viewer": ["@example.org"],
    "manager": ["bob@example.org", "groups=risk"],
    "auditor": ["sub=42"],
}


@pytest.fixture
def roles(modules: Callable[[str], ModuleType]) -> ModuleType:
    return modules("roles")


def test_a_role_may_do_what_those_before_it_may(roles: ModuleType) -> None:
    assert roles.allowed("viewer") < roles.allowed("manager") < roles.allowed("auditor")
    assert "decisions" not in roles.allowed("viewer")
    assert "audit" not in roles.allowed("manager")
    assert "replay" not in roles.allowed("manager")
    assert {"audit", "replay"} < roles.allowed("auditor")


def test_every_page_is_somebodys(roles: ModuleType, modules: Callable[[str], ModuleType]) -> None:
    assert set(modules("contents").CONTENTS) == roles.allowed("auditor") - {"replay"}


@pytest.mark.parametrize(
    ("claims", "role"),
    [
        ({"email": "ann@example.org", "email_verified": True}, "viewer"),
        ({"email": "Bob@Example.org", "email_verified": True}, "manager"),
        ({"email": "bob@example.org", "email_verified": False}, None),
        ({"email": "bob@example.org"}, None),
        ({"email": "ann@example.org.evil.net", "email_verified": True}, None),
        ({"email": "ann@sub.example.org", "email_verified": True}, None),
        ({"email": "", "email_verified": True}, None),
        ({"groups": ["risk", "fraud"]}, "manager"),
        ({"groups": "risk"}, "manager"),
        ({"groups": "risky"}, None),
        ({"groups": ["risky"]}, None),
        ({"sub": "42", "groups": ["risk"]}, "auditor"),
        ({}, None),
    ],
)
def test_the_highest_role_that_a_person_has_counts(
    roles: ModuleType, claims: Mapping[str, Any], role: str | None
) -> None:
    assert roles.role_of(claims, ROLES) == role


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("not json", "cannot be read"),
        ("[]", "must hold viewer, manager, auditor"),
        ('{"boss": ["ann@example.org"]}', "must hold viewer, manager, auditor"),
        ('{"viewer": "ann@example.org"}', "must be a list of texts"),
        ('{"viewer": [""]}', "an empty text"),
    ],
)
def test_a_file_that_says_something_else_is_refused(
    roles: ModuleType, tmp_path: Path, content: str, says: str
) -> None:
    file = tmp_path / "roles.json"
    file.write_text(content)

    with pytest.raises(StackError, match=says):
        roles.read_roles(file)


def test_without_a_file_nobody_has_a_role(roles: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(StackError, match="DECISIONS_ROLES_FILE"):
        roles.read_roles(None)
    with pytest.raises(StackError, match="cannot be read"):
        roles.read_roles(tmp_path / "missing.json")


def test_a_file_of_roles_is_read(roles: ModuleType, tmp_path: Path) -> None:
    file = tmp_path / "roles.json"
    file.write_text(json.dumps(ROLES))

    assert roles.read_roles(file) == ROLES
