"""The schema's history: SQL files, run forward only, each in a transaction, known by digest."""

from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from alembic import command, op
from alembic.config import Config
from sqlalchemy import Connection, text

from decisions.errors import StoreError

if TYPE_CHECKING:
    from psycopg import Connection as Raw

SQL = Path(__file__).parents[2] / "sql"
_LOCK = 7_245_001  # of pg_advisory_lock: one migration at a time
_DIGESTS = """
create table if not exists migration (
    file       text primary key,
    digest     text not null,
    applied_at timestamptz not null default now()
)
"""


def upgrade(connection: Connection, *, folder: Path = SQL, revision: str = "head") -> None:
    """Brings the schema behind `connection` up to `revision`; repeatable.

    Raises:
        StoreError: a file that ran once has been edited since, or is gone.
    """
    connection.execute(text("select pg_advisory_lock(:key)"), {"key": _LOCK})
    try:
        connection.execute(text(_DIGESTS))
        _check_digests(connection, folder / "migrations")
        connection.commit()  # Alembic begins and ends the transactions of the revisions
        config = Config()
        config.set_main_option("script_location", str(folder / "alembic").replace("%", "%%"))
        config.set_main_option("path_separator", "os")
        config.attributes["connection"] = connection
        config.attributes["folder"] = folder / "migrations"
        command.upgrade(config, revision)
    finally:
        connection.rollback()
        connection.execute(text("select pg_advisory_unlock(:key)"), {"key": _LOCK})
        connection.commit()


def apply(file: str) -> None:
    """Runs one SQL file inside Alembic's transaction and notes its digest: what a revision calls.

    The driver's own cursor takes a file of several statements, and leaves its `%` and `:` alone.
    """
    config = op.get_context().config
    if config is None:
        raise StoreError("migrations run through decisions.store.database.migrate only")
    script = (Path(config.attributes["folder"]) / file).read_bytes()
    connection = op.get_bind()
    raw: Raw = connection.connection.driver_connection  # pyright: ignore[reportAssignmentType]
    raw.execute(script)
    connection.execute(
        text("insert into migration (file, digest) values (:file, :digest)"),
        {"file": file, "digest": sha256(script).hexdigest()},
    )


def _check_digests(connection: Connection, folder: Path) -> None:
    applied = connection.execute(text("select file, digest from migration order by file"))
    for file, digest in applied:
        path = folder / file
        now = sha256(path.read_bytes()).hexdigest() if path.exists() else "missing"
        if now != digest:
            raise StoreError(
                f"migration {file} has digest {now}; the database ran it as {digest}. A migration"
                " that has run is never edited: restore the file and add a new one"
            )
