"""An organisation's own tables in the same database, read by span of time."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

import polars as pl
import psycopg
from psycopg import sql
from sqlalchemy import Connection

from decisions.errors import DataError
from decisions.store import copy_format
from decisions.store.database import Database, raw


@dataclass(frozen=True)
class OwnTables:
    """The tables of one schema; `times` names the column of each by which it is read.

    They are read as `decisions_reader`, which needs USAGE on the schema and SELECT on them.
    """

    db: Database
    schema: str
    times: Mapping[str, str]

    def __call__(self, table: str, start: datetime, end: datetime) -> pl.DataFrame:
        """All columns of the table's rows whose time lies in [start, end), in any order.

        Rows without a time are always among them: whoever reads refuses them by name.

        Raises:
            DataError: no such table, or the schema is not allowed to be looked into, or an array
                has more than one dimension.
            StoreError: the database cannot be reached, refused, or a column's type is not read.
        """
        if table not in self.times:
            raise DataError(f"table is {table!r}, wanted one of {sorted(self.times)}")
        statement = sql.SQL(
            "select * from {table}"
            " where ({time} >= %(start)s and {time} < %(end)s) or {time} is null"
        ).format(table=sql.Identifier(self.schema, table), time=sql.Identifier(self.times[table]))
        with self.db.reading() as connection:
            self._require(connection, table)
            cursor = psycopg.ClientCursor(raw(connection))
            bound = cursor.mogrify(cast("Any", statement), {"start": start, "end": end})
            try:
                return copy_format.fetch(raw(connection), bound.encode())
            except DataError as error:
                raise DataError(f"{self.schema}.{table}: {error}") from None

    def has(self, table: str) -> bool:
        """Whether the schema holds such a table or view, readable or not."""
        statement = (
            "select exists (select from pg_catalog.pg_class c"
            " join pg_catalog.pg_namespace n on n.oid = c.relnamespace"
            " where n.nspname = %s and c.relname = %s and c.relkind in ('r', 'p', 'v', 'm', 'f'))"
        )
        with self.db.reading() as connection:
            found = raw(connection).execute(statement, [self.schema, table]).fetchone()
        return found == (True,)

    def _require(self, connection: Connection, table: str) -> None:
        """Raises DataError unless the table is there with its time column, which has a zone."""
        found = (
            raw(connection)
            .execute(
                "select data_type from information_schema.columns"
                " where table_schema = %s and table_name = %s and column_name = %s",
                [self.schema, table, self.times[table]],
            )
            .fetchone()
        )
        if found is None:
            raise DataError(
                f"no table {self.schema}.{table} with a column {self.times[table]} that"
                f" decisions_reader may read in {self.db.place}: create it, or grant usage on"
                f" schema {self.schema} and select on its tables to decisions_reader"
            )
        if found[0] != "timestamp with time zone":
            raise DataError(
                f"{self.schema}.{table}: column {self.times[table]} is a {found[0]}, wanted"
                " timestamp with time zone: another could mean any zone"
            )
