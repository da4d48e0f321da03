import pytest

from decisions.errors import StoreError
from decisions.stack.database_url import ailment, without_password
from decisions.store.database import Database


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://me:hunter2@db/x", "postgresql://me:***@db/x"),
        ("postgresql://me:hun@ter2@db/x", "(not an address)"),
        ("postgresql://me:hun@ter2/x@db/x", "(not an address)"),
        ("postgresql://me:hun@ter2?x@db/x", "(not an address)"),
        ("postgresql://db:5432/x?password=hun@ter2", "(not an address)"),
        (
            "postgresql://me@db/x?password=hunter2&sslmode=require",
            "postgresql://me@db/x?password=***&sslmode=require",
        ),
        ("postgresql://me@db/x?sslpassword=hunter2", "postgresql://me@db/x?sslpassword=***"),
        ("postgresql://me@/x?host=/run/db", "postgresql://me@/x?host=/run/db"),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("hunter2", "(not an address)"),
        ("postgresql://me:x@db:hunter2/x", "(not an address)"),
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


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:hun@ter2@127.0.0.1:9/x",
        "postgresql://me:hunter2@ter2@127.0.0.1:9/x",
        "postgresql://me:hun@ter2/x@127.0.0.1:9/x",
        "postgresql://me:hun@ter2?x@127.0.0.1:9/x",
        "postgresql://127.0.0.1:9/x?password=hun@ter2",
        "postgresql://me@127.0.0.1:hunter2/x",
        "hunter2",
        "mysql://me:hunter2@127.0.0.1/x",
    ],
)
def test_an_address_that_cannot_be_read_is_told_without_any_part_of_it(url: str) -> None:
    told = [str(ailment(url))]
    for use in (lambda: Database(url).place, lambda: Database(url).read("unit/observed")):
        with pytest.raises(StoreError, match="wanted postgresql://USER") as raised:
            use()
        told.append(str(raised.value))

    assert all("wanted postgresql://USER" in text and "ter2" not in text for text in told), told


def test_a_quoted_at_sign_of_a_password_is_read_and_not_shown() -> None:
    db = Database("postgresql://me:hun%40ter2@127.0.0.1:9/x")

    with pytest.raises(StoreError, match=r"127\.0\.0\.1:9/x cannot be reached") as raised:
        db.read("unit/observed", domain="x", id_list=[1])

    assert "ter2" not in str(raised.value)
