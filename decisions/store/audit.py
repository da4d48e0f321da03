"""Whether what is stored is what was sealed: in the database, or in an export without one."""

import base64
import json
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
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
_LEAST, _GREATEST = -(2**63), 2**63 - 1  # a row may claim any seal


@dataclass(frozen=True, kw_only=True)
class Scope:
    """Which part of the chain: all of it, unless something is given.

    Links are those of the seals after number `after`, up to `last`. Rows, and policies, are those
    of the seals among them that are of `domain` and were sealed in [since, until).
    """

    after: int = 0
    last: int | None = None
    domain: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def holds(self, seal: Seal) -> bool:
        """Whether the rows of a seal, one of those after `after` up to `last`, belong to it."""
        return (
            self.domain in (None, seal.domain)
            and (self.since is None or seal.sealed_at >= self.since)
            and (self.until is None or seal.sealed_at < self.until)
        )

    @property
    def whole(self) -> bool:
        """Whether it begins at the beginning and leaves out no rows."""
        return self.after == 0 and (self.domain, self.since, self.until) == (None, None, None)

    def __str__(self) -> str:
        last = "the newest" if self.last is None else str(self.last)
        words = [f"seals {self.after + 1} to {last}"]
        words += [] if self.domain is None else [f"rows of {self.domain} alone"]
        words += [] if self.since is None else [f"sealed from {self.since.isoformat()}"]
        words += [] if self.until is None else [f"sealed before {self.until.isoformat()}"]
        return ", ".join(words)


ALL = Scope()


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
    """What was checked: the last link, the number of rows, the first broken place."""

    head: Head
    rows: int
    broken: Broken | None
    scope: Scope = field(default=ALL, compare=False)


Batches = Callable[[Kind], Generator[pl.DataFrame]]
Progress = Callable[[Seal], None]


def _quiet(seal: Seal) -> None:
    """Shows nothing."""


def verify(
    db: Database,
    *,
    anchor: Path | None = None,
    scope: Scope = ALL,
    progress: Progress = _quiet,
) -> Audit:
    """Recomputes every seal from the stored rows, in memory bounded by the largest batch.

    Tallies carry no seal: each is compared with the sealed decisions that it counts. They and the
    policies' bytes are checked with the whole chain only.

    With `anchor`, the chain must also contain the head that the file names: without one, nobody
    can tell whether its newest seals were cut off, or the whole chain was made anew.

    Raises:
        StoreError: the database cannot be reached.
        DataError: the anchor file cannot be read, or names a seal outside of `scope`.
    """
    with db.reading() as connection:
        found = _audit(
            _chain(connection, scope),
            lambda kind: _sealed_rows(connection, kind, scope),
            _anchored(anchor, scope),
            progress,
            scope=scope,
            start=_link(connection, scope.after),
        )
        if found.broken is not None or scope != ALL:
            return found
        found = replace(found, broken=_wrong_tally(connection))
        if found.broken is not None:
            return found
        return _with_artifacts(found, _stored_artifacts(connection))


def newest(db: Database, count: int) -> Scope:
    """The newest `count` seals, or all of them where there are fewer."""
    with db.reading() as connection:
        return Scope(after=max(0, chain_head(connection).number - count))


def section(
    db: Database,
    *,
    domain: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Scope:
    """The shortest part of the chain with the seals of a domain that were made in [since, until).

    Raises:
        DataError: there is no such seal.
    """
    ends = db.read("seal/section", domain=domain, since=since, until=until)
    first, last = ends.row(0)
    if first is None:
        raise DataError(
            f"nothing of {domain or 'any domain'} was sealed from {since or 'the beginning'} to"
            f" {until or 'now'}: choose another span"
        )
    return Scope(after=first - 1, last=last, domain=domain, since=since, until=until)


def verify_export(
    folder: Path, *, anchor: Path | None = None, progress: Progress = _quiet
) -> Audit:
    """`verify` over the files of an export, as far as that goes; no database is needed.

    Raises:
        DataError: a file of the export, or the anchor, is missing or cannot be read.
    """
    seals = folder / "seals.jsonl"
    if not seals.exists():
        raise DataError(
            f"{folder} is no export: {seals.name} is missing (`decisions audit export`)"
        )
    scope, start = _exported_scope(folder)
    found = _audit(
        _read_seals(seals),
        lambda kind: _exported_rows(folder, kind),
        _anchored(anchor, scope),
        progress,
        scope=scope,
        start=start,
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


def export(db: Database, folder: Path, *, scope: Scope = ALL, progress: Progress = _quiet) -> Head:
    """Writes what is sealed into an empty `folder`, for `verify_export`; the last link written.

    `seals.jsonl` holds the chain; a folder a kind holds its rows as Parquet, whole seals a file;
    `artifact` holds the policies, each named by its digest; `scope.json` says which part it is,
    and what the link before it was.

    Raises:
        DataError: the folder is not empty, or cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise DataError(f"{folder} is not empty: export into a new folder")
        return _export(db, folder, scope, progress)
    except OSError as error:
        raise DataError(f"{folder} cannot be written: {error}; export elsewhere") from error


def _export(db: Database, folder: Path, scope: Scope, progress: Progress) -> Head:
    with db.reading() as connection:
        head = start = _link(connection, scope.after)
        held: set[int] = set()
        with (folder / "seals.jsonl").open("w", encoding="utf-8") as out:
            for seal, stored in _chain(connection, scope):
                out.write(json.dumps(_seal_json(seal, stored)) + "\n")
                held |= {seal.number} if scope.holds(seal) else set()
                head = Head(seal.number, stored)
                progress(seal)
        for kind in KINDS.values():
            batches = _sealed_rows(connection, kind, scope)
            _export_rows(batches, folder / kind.name, held)
        (folder / "artifact").mkdir()
        for name in _artifact_names(folder):
            content = execute(connection, "artifact/content", digest=name).one().content
            (folder / "artifact" / name).write_bytes(b"" if content is None else bytes(content))
    _write_scope(folder, replace(scope, last=head.number), start)
    return head


def _write_scope(folder: Path, scope: Scope, start: Head) -> None:
    value = {
        **vars(scope),
        "since": None if scope.since is None else scope.since.isoformat(),
        "until": None if scope.until is None else scope.until.isoformat(),
        "previous": start.digest.hex(),
    }
    (folder / "scope.json").write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def _exported_scope(folder: Path) -> tuple[Scope, Head]:
    """Which part an export says it holds, and the link before it; all of it where it is silent."""
    file = folder / "scope.json"
    if not file.exists():
        return ALL, Head(0, GENESIS)
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
        previous = bytes.fromhex(value.pop("previous"))
        times = {
            name: None if value[name] is None else datetime.fromisoformat(value[name])
            for name in ("since", "until")
        }
        scope = Scope(**(value | times))
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{file} does not say what was exported: {error}") from error
    return scope, Head(scope.after, previous if scope.after else GENESIS)


def _link(connection: Connection, number: int) -> Head:
    """The stored link of that number, from which a part of the chain goes on."""
    if number == 0:
        return Head(0, GENESIS)
    row = execute(connection, "seal/digest", number=number).one_or_none()
    if row is None:
        raise DataError(f"there is no seal {number} to begin after")
    return Head(number, bytes(row.digest))


def _audit(
    chain: Iterable[tuple[Seal, bytes]],
    rows: Batches,
    anchor: Head | None,
    progress: Progress,
    *,
    scope: Scope,
    start: Head,
) -> Audit:
    """Checks the links from `start` on, then every kind's rows; names the first broken seal."""
    head = start
    sealed: dict[str, list[Seal]] = {name: [] for name in KINDS}
    passed: set[int] = set()
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
        if scope.holds(seal):
            sealed[seal.kind].append(seal)
        else:
            passed.add(seal.number)
        head = Head(seal.number, seal.digest)
    wanted = max(scope.last or 0, 0 if anchor is None else anchor.number)
    if not broken and head.number < wanted:
        named = "the anchor" if anchor is not None and anchor.number == wanted else "the scope"
        broken.append(
            Broken(
                seal=head.number + 1,
                kind="seal",
                batch="",
                row=None,
                problem=f"the chain ends at {head.number}; {named} names {wanted}",
            )
        )
    last = broken[0].seal if broken else None
    count = 0
    for kind in KINDS.values():
        with closing(rows(kind)) as stored:
            batches = (each for each in stored if each["seal"][0] not in passed)
            checker = _Rows(kind, iter(sealed[kind.name]), batches, progress)
            found = checker.first_broken(beyond=last)
        count += checker.rows
        if found is not None:
            broken.append(found)
    first = min(broken, key=lambda each: each.seal) if broken else None
    return Audit(head=head, rows=count, broken=first, scope=scope)


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


def _chain(connection: Connection, scope: Scope) -> Generator[tuple[Seal, bytes]]:
    """The seals in order, each with the digest stored for it."""
    after = scope.after
    while True:
        found = execute(connection, "seal/all", after=after, count=_SEALS_A_READ).mappings().all()
        for row in found:
            if scope.last is not None and row["number"] > scope.last:
                return
            values = {str(name): _plain(value) for name, value in row.items()}
            stored = bytes(values.pop("digest"))
            yield Seal(**values), stored
        if len(found) < _SEALS_A_READ:
            return
        after = found[-1]["number"]


def _plain(value: Any) -> Any:
    return value.tobytes() if isinstance(value, memoryview) else value


def _sealed_rows(connection: Connection, kind: Kind, scope: Scope) -> Generator[pl.DataFrame]:
    """The rows of each seal, with its number, in the order of the numbers."""
    statement = sql.SQL(
        "select {columns} from {table} where seal between {first} and {last} order by seal, {key}"
    ).format(
        columns=sql.SQL(", ").join(map(sql.Identifier, [*kind.columns, "seal"])),
        table=sql.Identifier(kind.name),
        first=sql.Literal(scope.after + 1 if scope.after else _LEAST),
        last=sql.Literal(_GREATEST if scope.last is None else scope.last),
        key=sql.SQL(", ").join(map(sql.Identifier, kind.key)),
    )
    driver = raw(connection)
    with closing(copy_format.stream(driver, statement.as_bytes(driver))) as blocks:
        yield from _by_seal(blocks)


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


def _export_rows(batches: Iterable[pl.DataFrame], folder: Path, numbers: set[int]) -> None:
    """Writes the rows of the seals of these numbers."""
    folder.mkdir()
    held: list[pl.DataFrame] = []

    def flush() -> None:
        if held:
            whole = pl.concat(held)
            whole.write_parquet(folder / f"{whole['seal'][0]:012d}.parquet")
            held.clear()

    for batch in batches:
        if batch["seal"][0] not in numbers:
            continue
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
    for name in _artifact_names(folder):
        path = folder / "artifact" / name
        yield name, path.read_bytes() if path.exists() else b""


def _artifact_names(folder: Path) -> list[str]:
    """The digests of the policies that the exported rows name."""
    names = [
        name
        for path in (folder / "training").glob("*.parquet")
        for name in pl.read_parquet(path)["digest"]
    ]
    return sorted(set(names))


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
            return replace(found, broken=broken)
    return found


def _anchored(file: Path | None, scope: Scope = ALL) -> Head | None:
    """The head that an anchor file names.

    Raises:
        DataError: the file cannot be read as an anchor, or names a link outside of `scope`.
    """
    if file is None:
        return None
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
        head = Head(int(value["seal"]), bytes.fromhex(value["digest"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{file} is no anchor (`decisions audit anchor` writes one): {error}"
        ) from error
    beyond = not scope.whole and scope.last is not None and head.number > scope.last
    if head.number <= scope.after or beyond:
        raise DataError(
            f"{file} names seal {head.number}, outside of {scope}: check the whole chain with it"
        )
    return head
