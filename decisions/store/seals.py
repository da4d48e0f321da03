"""Seals: a chain of digests over everything written, and how it is checked."""

import struct
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256

from sqlalchemy import Connection

from decisions.store.database import execute


def _instant(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="microseconds")


GENESIS = sha256(b"decisions chain 1").digest()
_CHAIN_LOCK = 7_245_002  # of pg_advisory_xact_lock


@dataclass(frozen=True, kw_only=True)
class Seal:
    """A link of the chain: one batch of rows of one kind."""

    number: int
    domain: str
    kind: str
    batch: str
    part: int
    row_count: int
    sealed_at: datetime
    content: bytes  # SHA-256 of the rows
    fingerprints: bytes  # eight bytes a row
    previous: bytes

    @property
    def digest(self) -> bytes:
        """SHA-256 over the previous digest and every field of this seal."""
        texts = (self.domain, self.kind, self.batch, _instant(self.sealed_at))
        digest = sha256(self.previous)
        digest.update(struct.pack("<qqq", self.number, self.part, self.row_count))
        for text in texts:
            encoded = text.encode()
            digest.update(struct.pack("<q", len(encoded)) + encoded)
        digest.update(self.content)
        digest.update(sha256(self.fingerprints).digest())
        return digest.digest()


@dataclass(frozen=True)
class Head:
    """The newest link: its number (0 for an empty chain) and digest."""

    number: int
    digest: bytes

    def next(
        self,
        *,
        domain: str,
        kind: str,
        batch: str,
        part: int,
        row_count: int,
        content: bytes,
        fingerprints: bytes,
        sealed_at: datetime,
    ) -> Seal:
        """The seal that follows this head."""
        return Seal(
            number=self.number + 1,
            domain=domain,
            kind=kind,
            batch=batch,
            part=part,
            row_count=row_count,
            sealed_at=sealed_at,
            content=content,
            fingerprints=fingerprints,
            previous=self.digest,
        )


def chain_head(connection: Connection, *, lock: bool = False) -> Head:
    """The newest link; with `lock`, no one else adds another before this transaction ends."""
    if lock:
        execute(connection, "seal/lock", key=_CHAIN_LOCK)
    found = execute(connection, "seal/head").one_or_none()
    return Head(0, GENESIS) if found is None else Head(found.number, bytes(found.digest))


def seals_of_batch(connection: Connection, domain: str, kind: str, batch: str) -> dict[bytes, int]:
    """The seals over a batch, number by content digest: its parts, in order."""
    found = execute(connection, "seal/of_batch", domain=domain, kind=kind, batch=batch)
    return {bytes(row.content): int(row.number) for row in found}


def add_seal(connection: Connection, seal: Seal) -> None:
    """Appends a link to the chain."""
    execute(connection, "seal/add", digest=seal.digest, **vars(seal))
