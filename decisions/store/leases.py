"""Leases with fencing tokens: who works on what, and who no longer does."""

from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from sqlalchemy import Connection

from decisions.errors import LeaseLost, StoreError
from decisions.store.database import Database, execute


@dataclass(frozen=True)
class Lease:
    """The right to write the results of `name`; each taking has a higher token than the last."""

    name: str
    token: int


def acquire(db: Database, name: str, *, holder: str, seconds: float) -> Lease:
    """The lease on `name` for `seconds` by the database's clock.

    A holder of the same name takes over at once (a worker that was started again); others wait
    until it has expired.

    Raises:
        LeaseLost: another holder has it.
    """
    with db.transaction() as connection:
        taken = execute(
            connection, "lease/acquire", name=name, holder=holder, seconds=seconds
        ).one_or_none()
        if taken is not None:
            return Lease(name, taken.token)
        other = execute(connection, "lease/holder", name=name).one()
    raise LeaseLost(
        f"{name} is worked on by {other.holder} until {other.expires_at:%Y-%m-%d %H:%M:%S %Z}:"
        " wait until then, or repeat under that holder's name"
    )


def release(db: Database, lease: Lease) -> None:
    """Gives the lease back; nothing happens when another has taken it over."""
    with db.transaction() as connection:
        execute(connection, "lease/release", name=lease.name, token=lease.token)


@contextmanager
def leased(db: Database, name: str, *, holder: str, seconds: float) -> Generator[Lease]:
    """`acquire`, and `release` at the end of the block.

    An exception that ends the block is passed on also where the release fails (a database that
    went away): the lease expires by itself.
    """
    lease = acquire(db, name, holder=holder, seconds=seconds)
    try:
        yield lease
    except BaseException:
        with suppress(StoreError):
            release(db, lease)
        raise
    release(db, lease)


def check(connection: Connection, lease: Lease | None) -> None:
    """Holds `lease` to the end of the transaction: nobody takes it over before the commit.

    Nothing is checked when `lease` is None.

    Raises:
        LeaseLost: another worker has taken it over.
    """
    if lease is None:
        return
    now = execute(connection, "lease/check", name=lease.name).one_or_none()
    if now is None or now.token != lease.token:
        taken = "nobody" if now is None else f"{now.holder} with token {now.token}"
        raise LeaseLost(
            f"{lease.name}: this worker's token is {lease.token}, the lease belongs to {taken};"
            " nothing of this step was written"
        )
