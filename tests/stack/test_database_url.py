import pytest

from decisions.stack.database_url import ailment, without_password
from decisions.store.database import Database


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://me:hunter2@db/x", "postgresql://me:***@db/x"),
        ("postgresql://me:hun@ter2@db/x", "postgresql://me:***@db/x"),
        (
            "postgresql://me@db/x?password=hunter2&sslmode=require",
            "postgresql://me@db/x?password=***&sslmode=require",
        ),
        ("postgresql://me@db/x?sslpassword=hunter2", "postgresql://me@db/x?sslpassword=***"),
        ("postgresql://me@/x?host=/run/db", "postgresql://me@/x?host=/run/db"),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("hunter2", "(not an address)"),
    ],
)
def test_an_address_is_shown_without_its_password(url: str, shown: str) -> None:
    assert without_password(url) == shown


def test_a_database_that_answers_is_well(database: Database) -> None:
    assert ailment(database.url) is None


def test_no_answer_is_told_without_the_password() -> None:
    told = str(ailment("postgresql://me:hunter2@127.0.0.1:9/x"))

    assert told.startswith("no answer at postgresql://me:***@127.0.0.1:9/x: ")
    assert "hunter2" not in told
