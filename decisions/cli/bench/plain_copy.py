"""The peer that the sealed write path is measured against: COPY into a bare table."""

import polars as pl

from decisions.store import copy_format
from decisions.store.columns import flatten
from decisions.store.database import Database, raw


def make_plain_table(db: Database) -> None:
    """A table with the columns of `decision` and no key, index, check or trigger."""
    with db.transaction("owner") as connection:
        connection.exec_driver_sql("create table plain_decision (like decision)")


def plain_copy(db: Database, domain: str, decisions: pl.DataFrame) -> None:
    """Copies a DECISIONS frame into the bare table and commits."""
    frame = decisions.select(pl.lit(domain).alias("domain"), pl.all())
    stream = copy_format.encode(flatten(frame), len(frame)).filled(0)
    statement = "copy plain_decision from stdin (format binary)"
    with (
        db.transaction("owner") as connection,
        raw(connection).cursor() as cursor,
        cursor.copy(statement) as copy,
    ):
        copy.write(stream)
