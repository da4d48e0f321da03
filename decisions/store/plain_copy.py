"""The peer that the sealed write path is measured against: COPY into a bare table."""

import polars as pl

from decisions.store import copy_format
from decisions.store.columns import flatten
from decisions.store.database import Database, execute, raw
from decisions.store.queries import query


def make_plain_table(db: Database) -> None:
    """A table with the columns of `decision` and nothing else."""
    with db.transaction("owner") as connection:
        execute(connection, "plain/create")


def plain_copy(db: Database, domain: str, decisions: pl.DataFrame) -> None:
    """Copies a DECISIONS frame into the bare table and commits."""
    frame = decisions.select(pl.lit(domain).alias("domain"), pl.all())
    stream = copy_format.encode(flatten(frame), len(frame)).filled(0)
    with db.transaction("owner") as connection:
        driver = raw(connection)
        with driver.cursor() as cursor, cursor.copy(query("plain/copy").encode()) as copy:
            copy.write(stream)
