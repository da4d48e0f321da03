"""Whether what is stored is what was sealed: in the database, or in an export without one."""

import base64
import json
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from psycopg import sql
from sqlalchemy import Connection

from decisions.errors import DataError
from decisions.store import copy_format
from decisions.store.artifacts import digest
from decisions.store.columns import content_digest, fingerprints, flatten
from decisions.store.database import Database, execute, raw, read
from decisions.store.records import KINDS, Kind
from decisions.store.seals import GENESIS, Head, Seal, chain_head

_SEALS_A_READ = 500
_ROWS_A_FILE = 200_000


@dataclass(frozen=True, kw_only=True)
class Broken:
    """The first place where what is stored differs from what was sealed."""

    seal: int
    kind: str
    batch: str
    row: str | None  # the key of the row, or the one before it; None when the seal itself differs
    problem: str

    def __str__(self) -> str:
        row = "" if self.row is None else f", row {self.row}"
        return f"seal {self.seal} ({self.kind} {self.batch!r}){row}: {self.problem}"


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What was checked: the head of the chain, the number of rows, the first broken place."""

    head: Head
    rows: int
    broken: Broken | None


Batches = Callable[[Kind], Iterator[pl.DataFrame]]
Progress = Callable[[Seal], None]


def _quiet(seal: Seal) -> None:
    """Shows nothing."""


def verify(db: Database, *, anchor: Path | None = None, progress: Progress = _quiet) -> Audit:
    """Recomputes every seal from the stored rows, in memory bounded by the largest batch.

    Tallies carry no seal: each is compared with the sealed decisions that it counts.

    With `anchor`, the chain must also contain the head that the file names: without one, nobody
    can tell whether its newest seals were cut off, or the whole chain was made anew.

    Raises:
        StoreError: the database cannot be reached.
        DataError: the anchor file cannot be read.
    """
    with db.reading() as connection:
        found = _audit(
            _chain(connection),
            lambda kind: _sealed_rows(connection, kind),
            _anchored(anchor),
            progress,
        )
        if found.broken is None:
            found = replace(found, broken=_wrong_tally(connection))
        if found.broken is not None:
            return found
        return _with_artifacts(found, _stored_artifacts(connection))


def verify_export(
    folder: Path, *, anchor: Path | None = None, progress: Progress = _quiet
) -> Audit:
    """`verify` over the files of an export; no database is needed.

    Raises:
        DataError: a file of the export, or the anchor, is missing or cannot be read.
    """
    seals = folder / "seals.jsonl"
    if not seals.exists():
        raise DataError(
            f"{folder} is no export: {seals.name} is missing (`decisions audit export`)"
        )
    found = _audit(
        _read_seals(seals),
        lambda kind: _exported_rows(folder, kind),
        _anchored(anchor),
        progress,
    )
    if found.broken is not None:
        return found
    return _with_artifacts(found, _exported_artifacts(folder))


def write_anchor(db: Database, file: Path, *, now: datetime) -> Head:
    """Writes the head of the chain to `file`; keep it where the database's owner cannot reach.

    Raises:
        DataError: the chain no longer contains the head that the file already names; or the file
            cannot be written.
    """
    with db.reading() as connection:
        head = chain_head(connection)
        if file.exists():
            before = _anchored(file)
            assert before is not None
            row = execute(connection, "seal/digest", number=before.number).one_or_none()
            if row is None or bytes(row.digest) != before.digest:
                raise DataError(
                    f"{file} names seal {before.number} with another digest than the chain has:"
                    " the chain was changed below its anchor; keep the file as evidence"
                )
    value = {"seal": head.number, "digest": head.digest.hex(), "anchored_at": now.isoformat()}
    scratch = file.with_suffix(f"{file.suffix}.tmp")
    try:
        scratch.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
        scratch.replace(file)
    except OSError as error:
        raise DataError(f"{file} cannot be written: {error}") from error
    return head


def check_anchor(db: Database, file: Path) -> bool:
    """Whether the chain contains the head that `file` names (its rows are `verify`'s to check)."""
    wanted = _anchored(file)
    assert wanted is not None
    with db.reading() as connection:
        row = execute(connection, "seal/digest", number=wanted.number).one_or_none()
    return row is not None and bytes(row.digest) == wanted.digest


def export(db: Database, folder: Path, *, progress: Progress = _quiet) -> Head:
    """Writes all that is sealed into an empty `folder`, for `verify_export`; the chain's head.

    `seals.jsonl` holds the chain; a folder a kind holds its rows as Parquet, whole seals a file;
    `artifact` holds the policies, each named by its digest.

    Raises:
        DataError: the folder is not empty.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise DataError(f"{folder} is not empty: export into a new folder")
    with db.reading() as connection:
        head = chain_head(connection)
        for kind in KINDS.values():
            _export_rows(connection, kind, folder / kind.name)
        (folder / "artifact").mkdir()
        for name, content in _stored_artifacts(connection):
            (folder / "artifact" / name).write_bytes(content)
        with (folder / "seals.jsonl").open("w", encoding="utf-8") as out:
            for seal, stored in _chain(connection):
                out.write(json.dumps(_seal_json(seal, stored)) + "\n")
                progress(seal)
    return head


def _audit(
    chain: Iterable[tuple[Seal, bytes]], rows: Batches, anchor: Head | None, progress: Progress
) -> Audit:
    """Checks the links, then the rows of every kind, and names the first broken seal."""
    head = Head(0, GENESIS)
    sealed: dict[str, list[Seal]] = {name: [] for name in KINDS}
    broken: list[Broken] = []
    for seal, stored in chain:
        problem = _link_problem(seal, stored, head, anchor)
        if problem is not None:
            place = min(seal.number, head.number + 1)
            named = seal if place == seal.number else None
            broken.append(
                Broken(
                    seal=place,
                    kind="seal" if named is None else seal.kind,
                    batch="" if named is None else seal.batch,
                    row=None,
                    problem=problem,
                )
            )
            break
        sealed[seal.kind].append(seal)
        head = Head(seal.number, seal.digest)
    if anchor is not None and not broken and head.number < anchor.number:
        broken.append(
            Broken(
                seal=head.number + 1,
                kind="seal",
                batch="",
                row=None,
                problem=f"the chain ends at {head.number}; the anchor names {anchor.number}",
            )
        )
    last = broken[0].seal if broken else None
    count = 0
    for kind in KINDS.values():
        checker = _Rows(kind, iter(sealed[kind.name]), rows(kind), progress)
        found = checker.first_broken(beyond=last)
        count += checker.rows
        if found is not None:
            broken.append(found)
    first = min(broken, key=lambda each: each.seal) if broken else None
    return Audit(head=head, rows=count, broken=first)


def _link_problem(seal: Seal, stored: bytes, head: Head, anchor: Head | None) -> str | None:
    if seal.number != head.number + 1:
        return f"seal {head.number + 1} is missing: the next one is {seal.number}"
    if seal.previous != head.digest:
        return "it does not follow the seal before it"
    if seal.digest != stored:
        return "its fields differ from its digest"
    if seal.kind not in KINDS:
        return f"its kind {seal.kind!r} is unknown"
    if anchor is not None and seal.number == anchor.number and stored != anchor.digest:
        return "its digest differs from the anchor's: the chain was made anew"
    return None


def _at(seal: Seal, problem: str, row: str | None = None) -> Broken:
    return Broken(seal=seal.number, kind=seal.kind, batch=seal.batch, row=row, problem=problem)


class _Rows:
    """Walks the seals of one kind and its rows, both in the order of seal numbers."""

    def __init__(
        self, kind: Kind, seals: Iterator[Seal], batches: Iterator[pl.DataFrame], show: Progress
    ) -> None:
        self.kind, self.seals, self.batches, self.show = kind, seals, batches, show
        self.rows = 0

    def first_broken(self, *, beyond: int | None) -> Broken | None:
        """The first seal whose rows differ, or row without a seal, below the seal `beyond`."""
        batch = next(self.batches, None)
        for seal in self.seals:
            if batch is not None and batch["seal"][0] < seal.number:
                return self._unsealed(batch)
            there = batch is not None and batch["seal"][0] == seal.number
            rows = batch.drop("seal") if batch is not None and there else None
            found = self._differs(seal, rows)
            if found is not None:
                return found
            self.rows += seal.row_count
            self.show(seal)
            batch = next(self.batches, None) if there else batch
        if batch is not None and (beyond is None or batch["seal"][0] < beyond):
            return self._unsealed(batch)
        return None

    def _unsealed(self, batch: pl.DataFrame) -> Broken:
        return Broken(
            seal=int(batch["seal"][0]),
            kind=self.kind.name,
            batch="",
            row=self._name(batch, 0),
            problem="the row was inserted: no such seal covers rows of this kind",
        )

    def _differs(self, seal: Seal, rows: pl.DataFrame | None) -> Broken | None:
        if rows is None:
            return _at(seal, f"all {seal.row_count} rows were deleted")
        ordered = rows.sort("domain", *self.kind.key)
        columns = flatten(ordered)
        if len(rows) == seal.row_count and content_digest(columns, len(rows)) == seal.content:
            return None
        wanted = np.frombuffer(seal.fingerprints, dtype="<u8")
        seen = fingerprints(columns, len(rows))
        return self._place(seal, ordered, wanted, seen)

    def _place(self, seal: Seal, rows: pl.DataFrame, wanted: Any, seen: Any) -> Broken:
        """Names the first row that was inserted, deleted or edited.

        A sealed fingerprint that is nowhere is a row deleted or edited; a fingerprint seen that
        was not sealed is one inserted or edited.
        """
        both = min(len(wanted), len(seen))
        differ = np.flatnonzero(wanted[:both] != seen[:both])
        at = int(differ[0]) if len(differ) else both
        if at == len(wanted) == len(seen):
            return _at(seal, "the rows differ from the digest, no single row stands out")
        gone = at < len(wanted) and not np.isin(wanted[at], seen)
        new = at < len(seen) and not np.isin(seen[at], wanted)
        if new:
            what = "was edited" if gone else "was inserted"
            return _at(seal, f"the row {what}", self._name(rows, at))
        if gone:
            after = f"after {self._name(rows, at - 1)}" if at else "before all others"
            return _at(seal, f"row {at + 1} of {len(wanted)} of the batch was deleted", after)
        return _at(seal, "the rows were reordered", self._name(rows, min(at, len(rows) - 1)))

    def _name(self, rows: pl.DataFrame, row: int) -> str:
        key = ", ".join(f"{part} {rows[part][row]}" for part in self.kind.key)
        return f"{rows['domain'][row]} {key}"


def _chain(connection: Connection) -> Generator[tuple[Seal, bytes]]:
    """The seals in order, each with the digest stored for it."""
    after = 0
    while True:
        found = execute(connection, "seal/all", after=after, count=_SEALS_A_READ).mappings().all()
        for row in found:
            values = {str(name): _plain(value) for name, value in row.items()}
            stored = bytes(values.pop("digest"))
            yield Seal(**values), stored
        if len(found) < _SEALS_A_READ:
            return
        after = found[-1]["number"]


def _plain(value: Any) -> Any:
    return value.tobytes() if isinstance(value, memoryview) else value


def _sealed_rows(connection: Connection, kind: Kind) -> Generator[pl.DataFrame]:
    """The rows of each seal, with its number, in the order of the numbers."""
    statement = sql.SQL("select {columns} from {table} order by seal, {key}").format(
        columns=sql.SQL(", ").join(map(sql.Identifier, [*kind.columns, "seal"])),
        table=sql.Identifier(kind.name),
        key=sql.SQL(", ").join(map(sql.Identifier, kind.key)),
    )
    driver = raw(connection)
    yield from _by_seal(copy_format.stream(driver, statement.as_bytes(driver)))


def _by_seal(blocks: Iterable[pl.DataFrame]) -> Generator[pl.DataFrame]:
    """Blocks of rows in the order of seals, cut anew so that each holds one seal's rows."""
    rest: list[pl.DataFrame] = []
    for block in blocks:
        for part in block.partition_by("seal", maintain_order=True):
            if rest and rest[0]["seal"][0] != part["seal"][0]:
                yield pl.concat(rest)
                rest = []
            rest.append(part)
    if rest:
        yield pl.concat(rest)


def _export_rows(connection: Connection, kind: Kind, folder: Path) -> None:
    folder.mkdir()
    held: list[pl.DataFrame] = []

    def flush() -> None:
        if held:
            whole = pl.concat(held)
            whole.write_parquet(folder / f"{whole['seal'][0]:012d}.parquet")
            held.clear()

    for batch in _sealed_rows(connection, kind):
        held.append(batch)
        if sum(map(len, held)) >= _ROWS_A_FILE:
            flush()
    flush()


def _exported_rows(folder: Path, kind: Kind) -> Generator[pl.DataFrame]:
    wanted = [*kind.columns, "seal"]

    def blocks() -> Generator[pl.DataFrame]:
        for path in sorted((folder / kind.name).glob("*.parquet")):
            try:
                frame = pl.read_parquet(path)
            except (pl.exceptions.PolarsError, OSError) as error:
                raise DataError(f"{path} cannot be read as Parquet: {error}") from error
            schema = pl.Schema({"domain": pl.String(), **kind.schema, "seal": pl.Int64()})
            if list(frame.columns) != wanted or frame.schema != schema:
                raise DataError(f"{path} has columns {dict(frame.schema)}, wanted {dict(schema)}")
            yield frame

    yield from _by_seal(blocks())


def _seal_json(seal: Seal, stored: bytes) -> dict[str, Any]:
    return {
        **vars(seal),
        "sealed_at": seal.sealed_at.isoformat(),
        "content": seal.content.hex(),
        "previous": seal.previous.hex(),
        "digest": stored.hex(),
        "fingerprints": base64.b64encode(seal.fingerprints).decode(),
    }


def _read_seals(file: Path) -> Generator[tuple[Seal, bytes]]:
    with file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                values = json.loads(line)
                stored = bytes.fromhex(values.pop("digest"))
                values["sealed_at"] = datetime.fromisoformat(values["sealed_at"])
                values["content"] = bytes.fromhex(values["content"])
                values["previous"] = bytes.fromhex(values["previous"])
                values["fingerprints"] = base64.b64decode(values["fingerprints"])
                yield Seal(**values), stored
            except (ValueError, KeyError, TypeError) as error:
                raise DataError(f"{file}, line {number} is no seal: {error}") from error


def _wrong_tally(connection: Connection) -> Broken | None:
    """The first tally that says something else than the decisions of its seal."""
    row = execute(connection, "tally/wrong").one_or_none()
    if row is None:
        return None
    return Broken(
        seal=row.seal,
        kind="tally",
        batch="",
        row=f"generation {row.generation}, arm {row.arm}",
        problem=f"it says {row.stored} decisions where {row.counted} are stored, or other times",
    )


def _stored_artifacts(connection: Connection) -> Generator[tuple[str, bytes]]:
    names = read(connection, "artifact/digests")["digest"]
    for name in names:
        row = execute(connection, "artifact/content", digest=name).one()
        yield name, b"" if row.content is None else bytes(row.content)


def _exported_artifacts(folder: Path) -> Generator[tuple[str, bytes]]:
    names = [
        name
        for path in sorted((folder / "training").glob("*.parquet"))
        for name in pl.read_parquet(path)["digest"]
    ]
    for name in sorted(set(names)):
        path = folder / "artifact" / name
        yield name, path.read_bytes() if path.exists() else b""


def _with_artifacts(found: Audit, artifacts: Iterable[tuple[str, bytes]]) -> Audit:
    """`found`, or the first policy whose bytes do not have their digest."""
    for name, content in artifacts:
        if digest(content) != name:
            broken = Broken(
                seal=found.head.number,
                kind="artifact",
                batch="",
                row=name,
                problem="the policy is missing or its bytes differ from its digest",
            )
            return Audit(head=found.head, rows=found.rows, broken=broken)
    return found


def _anchored(file: Path | None) -> Head | None:
    """The head that an anchor file names.

    Raises:
        DataError: the file cannot be read as an anchor.
    """
    if file is None:
        return None
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
        return Head(int(value["seal"]), bytes.fromhex(value["digest"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{file} is no anchor (`decisions audit anchor` writes one): {error}"
        ) from error
