"""Tables of payments in Parquet files: each file checked and converted before any is used."""

from datetime import datetime
from pathlib import Path

import polars as pl

from decisions.domains.payments.tables import TIME_COLUMN, Reader, Table, conversions
from decisions.errors import DataError


def parquet_reader(folder: Path) -> Reader:
    """Reads `attempts.parquet`, or all Parquet files below `attempts/`; likewise other tables."""

    def read(table: Table, start: datetime, end: datetime) -> pl.DataFrame:
        time = pl.col(TIME_COLUMN[table])
        # A row without a time belongs to every span, so that the rules about rows can name it.
        within = time.is_between(start, end, closed="left") | time.is_null()
        scans = [_scan(path, table).filter(within) for path in _files(folder, table)]
        return pl.concat(pl.collect_all(scans))

    return read


def has_table(folder: Path, table: Table) -> bool:
    """Whether `folder` has a file, or a folder, of the table's name."""
    return bool(_places(folder, table))


def _places(folder: Path, table: Table) -> list[Path]:
    """The file or folder `TABLE.parquet`, and the folder `TABLE`, as far as they exist."""
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder: name the one that holds the tables")
    file = f"{table}.parquet"
    return [
        path
        for path in sorted(folder.iterdir())
        if path.name.lower() == file or (path.name == table and path.is_dir())
    ]


def _files(folder: Path, table: Table) -> list[Path]:
    """The table's files, by path. Names that begin with "." or "_" are a writer's own notes."""
    places = _places(folder, table)
    if not places:
        raise DataError(f"{folder} has neither {table}.parquet nor a folder {table}/ of Parquet")
    if len(places) > 1:
        names = " and ".join(path.name for path in places)
        raise DataError(f"{folder} has {names}: keep one, or rows could be read twice")
    [place] = places
    if place.is_file():
        return [place]
    files = [
        path
        for path in sorted(place.rglob("*"))
        if path.suffix.lower() == ".parquet"
        and path.is_file()
        and not any(part.startswith((".", "_")) for part in path.relative_to(place).parts)
    ]
    if not files:
        raise DataError(f"{place} holds no Parquet file, wanted at least one, even an empty one")
    return files


def _scan(path: Path, table: Table) -> pl.LazyFrame:
    """The rows of one file in the form of the table; its schema is read and checked at once."""
    try:
        scanned = pl.scan_parquet(path, hive_partitioning=False, glob=False)
        schema = scanned.collect_schema()
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{table}: {path} cannot be read as Parquet: {reason}") from error
    return scanned.select(conversions(schema, table, f"{table}: {path}"))
