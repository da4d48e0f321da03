"""The statements in `sql/queries`, one a file, by their path."""

from functools import cache

from decisions.errors import StoreError
from decisions.store.migrations import SQL


@cache
def query(name: str) -> str:
    """The statement of `sql/queries/<name>.sql`, such as "decision/history".

    Raises:
        StoreError: there is no such file.
    """
    path = SQL / "queries" / f"{name}.sql"
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError as error:
        raise StoreError(f"no statement {name!r}: {path} does not exist") from error
    # Comments go: the driver reads `:word` and `%` in them as parameters.
    return "\n".join(line for line in lines if not line.startswith("--")).rstrip().rstrip(";")
