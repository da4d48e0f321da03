"""One embedded PostgreSQL server a worker, one fresh, migrated database for each test."""

import tempfile
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import make_url

from decisions.stack.postgres import create_database, running_postgres
from decisions.store.database import Database, migrate

_NUMBERS = count()

# What waits for services comes first, so that the rest fills the other workers meanwhile; then
# what takes minutes a file, or the last one would run alone.
_SERVICES = ("browser", "dags", "stack", "integration", "cli", "dashboards")
_FIRST = (*_SERVICES, "flow", "test_reviewing.py", "test_flow.py", "store")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Orders tests by how long they take or wait for services, the longest first."""
    items.sort(key=_rank)  # stable


def _rank(item: pytest.Item) -> int:
    folder = item.path.relative_to(Path(__file__).parent).parts[0]
    return _FIRST.index(folder) if folder in _FIRST else len(_FIRST)


@pytest.fixture(scope="session")
def postgres_folder() -> Generator[Path]:
    """A folder for servers' data.

    Not pytest's own: it closes that to other users, and as root the server runs as one.
    """
    with tempfile.TemporaryDirectory(prefix="decisions-tests-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


class Postgres:
    """The run's server; a test that stops it starts it again, over the same data."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running = ExitStack()
        self.start()

    def start(self) -> None:
        self.url = self._running.enter_context(running_postgres(self._folder))

    def stop(self) -> None:
        self._running.close()


@pytest.fixture(scope="session")
def postgres(postgres_folder: Path) -> Generator[Postgres]:
    """The run's server."""
    server = Postgres(postgres_folder / "session")
    yield server
    server.stop()


@pytest.fixture(scope="session")
def postgres_url(postgres: Postgres) -> str:
    """The address of the server's maintenance database."""
    return postgres.url


@pytest.fixture(scope="session")
def template(postgres_url: str) -> str:
    """The name of a migrated database that the tests' own are copied from."""
    migrate(Database(create_database(postgres_url, "template_decisions")))
    return "template_decisions"


@pytest.fixture(scope="session")
def lived_template(postgres_url: str, template: str) -> str:
    """The name of a database with three weeks of several domains; filling it takes ten seconds."""
    from tests.dashboards.ledger import lived  # trees are slow to import: not for every run

    with copied(postgres_url, template, keep=True) as database:
        lived(database)
    return str(make_url(database.url).database)


@pytest.fixture
def database(postgres_url: str, template: str) -> Generator[Database]:
    """A fresh, migrated database, dropped after the test."""
    with copied(postgres_url, template) as database:
        yield database


@pytest.fixture(scope="session")
def ledger(postgres_url: str, lived_template: str) -> Generator[Database]:
    """Three weeks of several domains (`tests/dashboards/ledger.py`), to read alone: shared."""
    with copied(postgres_url, lived_template) as database:
        name = sql.Identifier(str(make_url(database.url).database))
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            read_only = sql.SQL("alter database {} set default_transaction_read_only = on")
            connection.execute(read_only.format(name))
        yield database


@pytest.fixture
def own_ledger(postgres_url: str, lived_template: str) -> Generator[Database]:
    """As `ledger`, for a test that writes to it."""
    with copied(postgres_url, lived_template) as database:
        yield database


@contextmanager
def copied(url: str, template: str, *, keep: bool = False) -> Generator[Database]:
    """A copy of the database `template` on the server of `url`, dropped after the block."""
    name = f"test_{next(_NUMBERS)}"
    identifier = sql.Identifier(name)
    with psycopg.connect(url, autocommit=True) as connection:
        create = sql.SQL("create database {} template {}")
        connection.execute(create.format(identifier, sql.Identifier(template)))
    yield Database(create_database(url, name))
    if not keep:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(sql.SQL("drop database {} with (force)").format(identifier))
