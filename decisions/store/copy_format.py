"""PostgreSQL's binary COPY format, written and read as whole columns.

Numbers travel as their own bits, so a double that comes back is the one that went. Fields lie at
odd addresses; an array that views the buffer with a stride of one byte reaches any of them.

Source: PostgreSQL documentation, COPY, "Binary Format"; `array_send` for arrays.
"""

from collections.abc import Generator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt
import polars as pl
import psycopg
import pyarrow as pa
from psycopg.pq import ExecStatus

from decisions.errors import DataError, StoreError
from decisions.store.columns import Array, Column, Ints

if TYPE_CHECKING:
    from psycopg.abc import Query

_HEADER = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
_TRAILER = b"\xff\xff"
_EPOCH_US = 946_684_800_000_000  # PostgreSQL counts from 2000
_ARRAY_HEAD, _ARRAY_EMPTY = 20, 12  # bytes before the elements of an array
UTC_TIME = pl.Datetime("us", "UTC")
_SCALARS: dict[int, pl.DataType] = {
    16: pl.Boolean(),
    17: pl.Binary(),
    19: pl.String(),
    20: pl.Int64(),
    21: pl.Int16(),
    23: pl.Int32(),
    25: pl.String(),
    114: pl.String(),
    700: pl.Float32(),
    701: pl.Float64(),
    1043: pl.String(),
    1184: UTC_TIME,
}
_ARRAYS: dict[int, tuple[int, pl.DataType]] = {
    1005: (21, pl.Int16()),
    1007: (23, pl.Int32()),
    1016: (20, pl.Int64()),
    1021: (700, pl.Float32()),
    1022: (701, pl.Float64()),
}
_CODES: dict[pl.DataType, str] = {
    pl.Int16(): "i2",
    pl.Int32(): "i4",
    pl.Int64(): "i8",
    pl.Float32(): "f4",
    pl.Float64(): "f8",
}
_ELEMENT_OID: dict[pl.DataType, int] = {dtype: oid for oid, dtype in _ARRAYS.values()}


@dataclass(frozen=True)
class Encoded:
    """Rows as COPY takes them. The last column is a bigint still to be filled in."""

    buffer: npt.NDArray[np.uint8]
    last: Ints  # (n,) where each row's last value lies

    def filled(self, value: int) -> memoryview:
        """The whole stream with `value` in the last column of every row."""
        _scatter(self.buffer, self.last, np.full(len(self.last), value, dtype=np.int64))
        return self.buffer.data


def encode(columns: list[Column], rows: int) -> Encoded:
    """The rows of `columns` followed by a bigint column."""
    widths = [_width(column, rows) for column in columns]
    sizes = 2 + 4 * (len(columns) + 1) + 8 + np.sum(widths, axis=0, dtype=np.int64)
    begins = len(_HEADER) + np.cumsum(sizes) - sizes
    end = len(_HEADER) + int(sizes.sum())
    buffer = np.zeros(end + len(_TRAILER), dtype=np.uint8)
    buffer[: len(_HEADER)] = np.frombuffer(_HEADER, np.uint8)
    buffer[end:] = np.frombuffer(_TRAILER, np.uint8)
    _scatter(buffer, begins, np.full(rows, len(columns) + 1, dtype=np.int16))
    at = begins + 2
    for column, width in zip(columns, widths, strict=True):
        length = width if column.valid is None else np.where(column.valid, width, -1)
        _scatter(buffer, at, length.astype(np.int32))
        _write(buffer, at + 4, column)
        at = at + 4 + width
    _scatter(buffer, at, np.full(rows, 8, dtype=np.int32))
    return Encoded(buffer, at + 4)


def _view(buffer: npt.NDArray[np.uint8], size: int) -> Array:
    """The big-endian unsigned integers of `size` bytes that begin at every byte of `buffer`."""
    n = max(len(buffer) - size + 1, 0)
    return np.ndarray((n,), dtype=f"<u{size}", buffer=buffer, strides=(1,))


def _scatter(buffer: npt.NDArray[np.uint8], at: Ints, values: Array) -> None:
    """Writes each of `values`, big-endian, at its byte of `buffer`."""
    size = values.dtype.itemsize
    if len(values):
        _view(buffer, size)[at] = values.view(f"u{size}").byteswap()


def _gather(buffer: npt.NDArray[np.uint8], at: Ints, code: str) -> Array:
    """The big-endian values of type `code` at these bytes of `buffer`."""
    dtype = np.dtype(code)
    if not len(at):
        return np.zeros(0, dtype)
    return _view(buffer, dtype.itemsize)[at].byteswap().view(dtype)


def _within(lengths: Ints) -> Ints:
    """0, 1, ... for each row: the place of every element within its own row."""
    ends = np.cumsum(lengths)
    return np.arange(int(ends[-1]) if len(ends) else 0) - np.repeat(ends - lengths, lengths)


def _width(column: Column, rows: int) -> Ints:
    """Bytes of data of each row's field, shape (n,)."""
    if column.lengths is None:
        size = 8 if isinstance(column.dtype, pl.Datetime) else column.values.dtype.itemsize
        width = np.full(rows, size, dtype=np.int64)
    elif isinstance(column.dtype, pl.List):
        each = 4 + column.values.dtype.itemsize
        width = np.where(column.lengths > 0, _ARRAY_HEAD + each * column.lengths, _ARRAY_EMPTY)
    else:
        width = column.lengths
    return width if column.valid is None else np.where(column.valid, width, 0)


def _write(buffer: npt.NDArray[np.uint8], at: Ints, column: Column) -> None:
    """Writes the data of one field of each row at its byte."""
    values = column.values
    if column.lengths is None:
        if isinstance(column.dtype, pl.Datetime):
            values = values.astype(np.int64) - _EPOCH_US
        some = slice(None) if column.valid is None else column.valid
        _scatter(buffer, at[some], values[some])
    elif not isinstance(column.dtype, pl.List):
        buffer[np.repeat(at, column.lengths) + _within(column.lengths)] = values
    else:
        if column.valid is not None:
            raise StoreError(f"{column.name} holds an empty list cell: lists are never null here")
        oid = _ELEMENT_OID[column.dtype.inner]  # pyright: ignore[reportArgumentType]
        size = values.dtype.itemsize
        _scatter(buffer, at + 8, np.full(len(at), oid, dtype=np.int32))
        some = column.lengths > 0
        head = at[some]
        ones = np.ones(len(head), dtype=np.int32)
        _scatter(buffer, head, ones)  # dimensions
        _scatter(buffer, head + 12, column.lengths[some].astype(np.int32))
        _scatter(buffer, head + 16, ones)  # the index of the first element
        place = np.repeat(at + _ARRAY_HEAD, column.lengths) + (4 + size) * _within(column.lengths)
        _scatter(buffer, place, np.full(len(place), size, dtype=np.int32))
        _scatter(buffer, place + 4, values)


def describe(connection: "psycopg.Connection[Any]", statement: bytes) -> dict[str, int]:
    """The columns of a query and the type oid of each, found without running it."""
    for result in (
        connection.pgconn.prepare(b"", statement),
        connection.pgconn.describe_prepared(b""),
    ):
        if result.status != ExecStatus.COMMAND_OK:
            raise psycopg.errors.error_from_result(result)
    names = [(result.fname(i) or b"").decode() for i in range(result.nfields)]
    return {name: result.ftype(i) for i, name in enumerate(names)}


def fetch(connection: "psycopg.Connection[Any]", statement: "Query") -> pl.DataFrame:
    """All rows of a query."""
    # The memory of larger blocks goes back to the system after each, and costs to be zeroed again.
    blocks = list(_blocks(connection, statement, rows=10_000))
    return pl.concat(blocks) if len(blocks) > 1 else blocks[0]


def stream(
    connection: "psycopg.Connection[Any]", statement: "Query", *, rows: int = 100_000
) -> Generator[pl.DataFrame]:
    """The rows of a query in frames of up to `rows` rows; at least one frame, maybe empty.

    One that is closed before its end cancels the query, and leaves the transaction as it was.
    """
    with connection.transaction():  # a savepoint: to cancel a query aborts its transaction
        yield from _blocks(connection, statement, rows=rows)


def _blocks(
    connection: "psycopg.Connection[Any]", statement: "Query", *, rows: int
) -> Generator[pl.DataFrame]:
    assert isinstance(statement, bytes)
    types = describe(connection, statement)
    unknown = [name for name, oid in types.items() if oid not in _SCALARS | _ARRAYS]
    if unknown:
        raise StoreError(f"columns {unknown} have types without a Polars form: cast them")
    copy = b"copy (" + statement + b") to stdout (format binary)"
    with connection.cursor() as cursor, cursor.copy(copy) as out:
        messages = iter(out)
        first = True
        while block := list(islice(messages, rows)):
            frame = decode(block, types, first=first)
            if first or len(frame):
                yield frame
            first = False


def decode(messages: "list[Any]", types: dict[str, int], *, first: bool) -> pl.DataFrame:
    """The rows in COPY messages, of which the very `first` begins with the file header."""
    if first:
        head = bytes(messages[0])
        messages = [*([head[len(_HEADER) :]] if len(head) > len(_HEADER) else []), *messages[1:]]
    if messages and bytes(messages[-1]) == _TRAILER:
        messages = messages[:-1]
    sizes = np.fromiter(map(len, messages), dtype=np.int64, count=len(messages))
    buffer = np.frombuffer(b"".join(messages), dtype=np.uint8)
    at = np.cumsum(sizes) - sizes + 2
    series: list[pl.Series] = []
    for name, oid in types.items():
        length = _gather(buffer, at, "i4").astype(np.int64)
        values = _array if oid in _ARRAYS else _scalar
        try:
            series.append(values(buffer, at + 4, length, oid=oid).alias(name))
        except DataError as error:
            raise DataError(f"column {name} {error}") from None
        at = at + 4 + np.maximum(length, 0)
    return pl.DataFrame(series)


def _scalar(buffer: npt.NDArray[np.uint8], at: Ints, length: Ints, *, oid: int) -> pl.Series:
    dtype = _SCALARS[oid]
    null = length < 0
    if isinstance(dtype, pl.String | pl.Binary):
        length = np.maximum(length, 0)
        place = np.repeat(at, length) + _within(length)
        ends = np.concatenate([[0], np.cumsum(length)]).astype(np.int64)
        buffers: list[Any] = [None, pa.py_buffer(ends), pa.py_buffer(buffer[place])]
        kind = cast(Any, pa.large_string() if dtype == pl.String else pa.large_binary())
        texts = cast(Any, pa.Array.from_buffers(kind, len(length), buffers))
        found = pl.Series(texts, dtype=dtype)
    else:
        place = np.where(null, 0, at)
        if dtype == pl.Boolean:
            found = pl.Series(_gather(buffer, place, "u1") != 0)
        elif dtype == UTC_TIME:
            micros = _gather(buffer, place, "i8") + _EPOCH_US
            found = pl.Series(micros).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
        else:
            found = pl.Series(_gather(buffer, place, _CODES[dtype]))
    if null.any():
        some = pl.Series(~null)
        found = pl.select(pl.when(some).then(found)).to_series()
    return found.cast(dtype)


def _array(buffer: npt.NDArray[np.uint8], at: Ints, length: Ints, *, oid: int) -> pl.Series:
    """Arrays as lists; null elements stay null, and so do null arrays.

    Raises:
        DataError: an array has more than one dimension.
    """
    _, inner = _ARRAYS[oid]
    some = length > _ARRAY_EMPTY
    if (_gather(buffer, at[some], "i4") > 1).any():
        raise DataError("holds an array of several dimensions, wanted one: a list of numbers")
    count = np.zeros(len(at), dtype=np.int64)
    count[some] = _gather(buffer, at[some] + 12, "i4")
    code = _CODES[inner]
    size = np.dtype(code).itemsize
    if (_gather(buffer, at[some] + 4, "i4") != 0).any():  # some array holds a null
        place = _places_among_nulls(buffer, at, count, size)
    else:
        place = np.repeat(at + _ARRAY_HEAD, count) + (4 + size) * _within(count)
    null = _gather(buffer, place, "i4") < 0
    ends = np.concatenate([[0], np.cumsum(count)]).astype(np.int64)
    numbers = _gather(buffer, np.where(null, 0, place + 4), code)
    values = cast(Any, pa.array(numbers, mask=null))
    rows = cast(Any, pa.array(length < 0)) if (length < 0).any() else None
    lists = cast(Any, pa.LargeListArray.from_arrays(ends, values, mask=rows))
    return pl.Series(lists, dtype=pl.List(inner))


def _places_among_nulls(buffer: npt.NDArray[np.uint8], at: Ints, count: Ints, size: int) -> Ints:
    """Where the length of each element lies: a null one has nothing behind its length."""
    place = np.zeros(int(count.sum()), dtype=np.int64)
    starts = np.cumsum(count) - count
    cursor = at + _ARRAY_HEAD
    for k in range(int(count.max())):
        rows = np.flatnonzero(count > k)
        place[starts[rows] + k] = cursor[rows]
        null = _gather(buffer, cursor[rows], "i4") < 0
        cursor[rows] += 4 + np.where(null, 0, size)
    return place
