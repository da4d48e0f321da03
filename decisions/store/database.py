"""Connections, transactions and statements."""

import re
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, cast

import polars as pl
import psycopg
from sqlalchemy import URL, Connection, CursorResult, Engine, create_engine, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.pool import NullPool

from decisions.errors import StoreError
from decisions.store import copy_format, migrations
from decisions.store.queries import query

if TYPE_CHECKING:
    from psycopg.abc import Query

_FORM = "postgresql://USER:PASSWORD@HOST:PORT/NAME, an @ in it written as %40, a ? as %3F"
Role = Literal["decisions_writer", "decisions_reader", "owner"]


@dataclass(frozen=True)
class Database:
    """A PostgreSQL database by its address, `postgresql://user@host:port/name`.

    Connections are opened for one transaction each and closed after it: nothing is shared between
    the processes a scheduler forks, and a server that went away is met afresh.
    """

    url: str = field(repr=False)

    @property
    def place(self) -> str:
        """Host, port and name, without the password."""
        url = address(self.url)
        host = url.host or url.query.get("host", "localhost")
        return f"{host}:{url.port or 5432}/{url.database}"

    @contextmanager
    def transaction(self, role: Role = "decisions_writer") -> Generator[Connection]:
        """A connection that commits at the end of the block and rolls back on an exception.

        It acts as `role`, which may add rows and read them, and nothing else; keep it short.

        Raises:
            StoreError: the server cannot be reached, or refused a statement.
        """
        with self.named_errors(), _engine(self.url).begin() as connection:
            if role != "owner":
                connection.exec_driver_sql(f"set local role {role}")
            yield connection

    @contextmanager
    def reading(self) -> Generator[Connection]:
        """A read-only transaction in which every statement sees the same data.

        Raises:
            StoreError: as for `transaction`.
        """
        with self.transaction("decisions_reader") as connection:
            connection.exec_driver_sql(
                "set transaction isolation level repeatable read, read only"
            )
            yield connection

    def read(self, sql_file: str, **params: Any) -> pl.DataFrame:
        """The rows of `sql/queries/<sql_file>.sql`, with its named parameters given.

        Raises:
            StoreError: as for `transaction`; or a column has a type that has no Polars form here.
        """
        with self.reading() as connection:
            return read(connection, sql_file, **params)

    def scan(self, sql_file: str, **params: Any) -> pl.DataFrame:
        """As `read`, for a query that joins large parts of tables.

        Rows that have just been written have no statistics for about a minute; the planner then
        takes a domain of 60 000 decisions for one of one, and loops (measured: 19 s, not 1 s). So
        joins are by hash or merge here, whatever it believes.

        Raises:
            StoreError: as for `read`.
        """
        with self.reading() as connection:
            connection.exec_driver_sql("set local enable_nestloop = off")
            return read(connection, sql_file, **params)

    @contextmanager
    def named_errors(self) -> Generator[None]:
        """Turns the driver's errors inside the block into StoreErrors."""
        try:
            yield
        except (DBAPIError, psycopg.Error) as error:
            cause = cast("BaseException", getattr(error, "orig", None) or error)
            raise StoreError(self._explain(cause)) from error

    def _explain(self, cause: BaseException) -> str:
        said = re.sub(r"\s+", " ", str(cause)).strip()
        state = getattr(cause, "sqlstate", None)
        if isinstance(cause, psycopg.OperationalError) and (
            state is None or state[:2] in ("08", "57", "53")
        ):
            return (
                f"PostgreSQL at {self.place} cannot be reached: {said}. Start it (`decisions up`),"
                " or set DECISIONS_DATABASE_URL to a server that runs; nothing was written, and"
                " the same call may be repeated"
            )
        if state == "42P01" or (state == "22023" and "role" in said):  # no such table or role
            return f"{self.place} has no schema yet: run `decisions migrate` first ({said})"
        return f"PostgreSQL at {self.place} refused: {said}"


def address(url: str) -> URL:
    """The parts of a database's address.

    Raises:
        StoreError: it is none of PostgreSQL's, or its password holds an @ or a ?, which would be
            taken for the end of the password; the message holds no part of it.
    """
    if ends_unclear(url):
        raise StoreError(
            f"the database's address holds more than one @, or a ? before it: wanted {_FORM}"
        )
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise StoreError(f"the database's address cannot be read: wanted {_FORM}") from None
    if parsed.get_backend_name() not in ("postgresql", "postgres"):
        raise StoreError(f"the database's address is not PostgreSQL's: wanted {_FORM}")
    return parsed


def ends_unclear(url: str) -> bool:
    """Whether it cannot be told where the password of an address ends: it holds an @ or a ?."""
    before, *others = url.split("@")
    return len(others) > 1 or (len(others) == 1 and "?" in before)


@cache
def _engine(url: str) -> Engine:
    driver = address(url).set(drivername="postgresql+psycopg")
    return create_engine(driver, poolclass=NullPool)


def raw(connection: Connection) -> "psycopg.Connection[Any]":
    """The driver's own connection, for COPY."""
    return cast("psycopg.Connection[Any]", connection.connection.driver_connection)


def execute(connection: Connection, sql_file: str, **params: Any) -> CursorResult[Any]:
    """Runs `sql/queries/<sql_file>.sql` inside a transaction."""
    return connection.execute(text(query(sql_file)), params)


def read(connection: Connection, sql_file: str, **params: Any) -> pl.DataFrame:
    """The rows of `sql/queries/<sql_file>.sql` inside a transaction, doubles bit for bit."""
    return copy_format.fetch(raw(connection), bound(connection, sql_file, params))


def bound(connection: Connection, sql_file: str, params: Mapping[str, Any]) -> "Query":
    """The statement with its parameters quoted into it, as COPY wants it."""
    compiled = text(query(sql_file)).compile(dialect=connection.dialect)
    cursor = psycopg.ClientCursor(raw(connection))
    return cast("Query", cursor.mogrify(cast("Any", str(compiled)), params).encode())


def migrate(db: Database, *, revision: str = "head") -> None:
    """Brings the schema up to date; nothing happens when it is.

    Raises:
        StoreError: the server cannot be reached, or a migration that has run was edited.
    """
    with db.named_errors(), _engine(db.url).connect() as connection:
        migrations.upgrade(connection, revision=revision)
