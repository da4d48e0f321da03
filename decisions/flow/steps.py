"""What the steps share: leases, the names of batches, and days."""

from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta

from decisions.domain import Domain
from decisions.store import leases
from decisions.store.database import Database
from decisions.store.leases import Lease

DAY = timedelta(days=1)
BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
LEASE_SECONDS = 6 * 3600.0  # how long another holder waits for a worker that died
LOOKBACK = timedelta(days=7)
GRACE = timedelta(days=2)  # how long after a day's end its rows may still be written at the source


def leased(db: Database, name: str, holder: str) -> AbstractContextManager[Lease]:
    """The lease of a long step: training, evaluation.

    It lasts longer than any training should, since nobody renews it; running out costs nothing
    while no one else takes it. The retry of a killed worker, of the same holder's name, takes
    over at once.
    """
    return leases.leased(db, name, holder=holder, seconds=LEASE_SECONDS)


def latest(db: Database, name: str, holder: str) -> AbstractContextManager[Lease]:
    """The lease of a short step, which whoever comes last takes from whoever has it.

    So a killed worker never keeps another one waiting. Two that are alive do no harm either: the
    earlier one's token is stale, its next write raises LeaseLost, and repeating it finds what the
    later one wrote.
    """
    held = db.read("lease/holder", name=name)["holder"]
    return leased(db, name, held[0] if len(held) else holder)


def batch_name(what: str, time: datetime) -> str:
    """What a step calls the batch that it stores as of a time."""
    return f"{what}/{time:%Y-%m-%dT%H:%M:%S.%fZ}"


def sealed(db: Database, domain: Domain, kind: str) -> set[str]:
    """The names of the batches of a kind that are stored."""
    return set(db.read("seal/batches", domain=domain.name, kind=kind)["batch"].to_list())


def day_of(time: datetime) -> datetime:
    """The start of its day."""
    return time.replace(hour=0, minute=0, second=0, microsecond=0)


def days(first: datetime, until: datetime) -> list[datetime]:
    """Starts of the whole UTC days from that of `first` to `until`."""
    return [day_of(first) + DAY * i for i in range(max(0, (until - day_of(first)) // DAY))]
