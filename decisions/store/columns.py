"""A frame as flat little-endian arrays: what is hashed, and what COPY is encoded from."""

from dataclasses import dataclass
from hashlib import sha256
from typing import Any, cast
from zlib import crc32

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from decisions.errors import StoreError

Array = npt.NDArray[Any]
Ints = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Column:
    """One column of n rows in Arrow's layout, nulls as zeros.

    `valid` (n,) is None when nothing is null. `lengths` (n,) counts the elements of each row in
    `values`: bytes of a text or binary, numbers of a list; None for a scalar column.
    """

    name: str
    dtype: pl.DataType
    valid: npt.NDArray[np.bool_] | None
    lengths: Ints | None
    values: Array


def flatten(frame: pl.DataFrame) -> list[Column]:
    """The columns of `frame`, in its order."""
    return [_column(series.rechunk()) for series in frame.get_columns()]


def _column(series: pl.Series) -> Column:
    valid = series.is_not_null().to_numpy() if series.null_count() else None
    dtype = series.dtype
    if isinstance(dtype, pl.String | pl.Binary):
        lengths, values = _bytes(series if valid is None else series.fill_null(_nothing(dtype)))
        return Column(series.name, dtype, valid, lengths, values)
    if isinstance(dtype, pl.List):
        arrow = _arrow(series)
        offsets: Ints = arrow.offsets.to_numpy()
        values: Array = arrow.values.to_numpy(zero_copy_only=False)[offsets[0] : offsets[-1]]
        return Column(series.name, dtype, valid, np.diff(offsets), values)
    physical = (
        series.to_physical() if valid is None else series.to_physical().fill_null(_zero(dtype))
    )
    return Column(series.name, dtype, valid, None, physical.to_numpy())


def _nothing(dtype: pl.DataType) -> str | bytes:
    return "" if dtype == pl.String else b""


def _zero(dtype: pl.DataType) -> bool | int:
    return False if dtype == pl.Boolean else 0


def _bytes(series: pl.Series) -> tuple[Ints, Array]:
    arrow = _arrow(series.cast(pl.Binary)).cast(pa.large_binary())
    buffers: list[Any] = arrow.buffers()
    offsets = np.frombuffer(buffers[1], dtype=np.int64)[
        arrow.offset : arrow.offset + len(arrow) + 1
    ]
    data = np.frombuffer(buffers[2] or b"", dtype=np.uint8)[offsets[0] : offsets[-1]]
    return np.diff(offsets), data


def _arrow(series: pl.Series) -> Any:
    """The series as a pyarrow array; pyarrow comes without types."""
    return cast(Any, series.to_arrow(compat_level=pl.CompatLevel.oldest()))


_TYPES: dict[pl.DataType, str] = {
    pl.Boolean(): "bool",
    pl.Int16(): "i16",
    pl.Int32(): "i32",
    pl.Int64(): "i64",
    pl.Float64(): "f64",
    pl.String(): "text",
    pl.Binary(): "bytes",
    pl.Datetime("us", "UTC"): "ts_us_utc",
}


def type_name(dtype: pl.DataType) -> str:
    """Our own name of a column's type, such as `i64` or `list<f64>`: it is part of digests.

    Raises:
        StoreError: rows of this type cannot be sealed.
    """
    if isinstance(dtype, pl.List):
        return f"list<{type_name(cast(pl.DataType, dtype.inner))}>"
    if dtype not in _TYPES:
        raise StoreError(
            f"a column of type {dtype} cannot be sealed, wanted {sorted(_TYPES.values())}"
        )
    return _TYPES[dtype]


def content_digest(columns: list[Column], rows: int) -> bytes:
    """SHA-256 over the columns in order: names, types, validity, lengths and values.

    The layout is Arrow's; the framing is ours, so that no library's version shows in a digest.

    Raises:
        StoreError: a column has a type that cannot be sealed.
    """
    digest = sha256(f"decisions frame 1\n{rows}\n".encode())
    for column in columns:
        digest.update(f"{column.name}\n{type_name(column.dtype)}\n".encode())
        for part, code in ((column.valid, "?"), (column.lengths, "<i8"), (column.values, None)):
            if part is None:
                digest.update(b"-")
            else:
                array = np.ascontiguousarray(part, dtype=code or part.dtype.newbyteorder("<"))
                digest.update(f"{array.nbytes}\n".encode())
                digest.update(array.data.cast("B") if len(array) else b"")
    return digest.digest()


def differing(left: Column, right: Column) -> npt.NDArray[np.bool_]:
    """Which rows of two columns of one type differ in any bit or in being null, shape (n,)."""
    found = _validity(left) != _validity(right)
    if left.lengths is None or right.lengths is None:
        return found | (_as_words(left.values) != _as_words(right.values))
    same = left.lengths == right.lengths
    row = np.repeat(np.flatnonzero(same), left.lengths[same])
    here = _as_words(left.values[np.repeat(same, left.lengths)])
    there = _as_words(right.values[np.repeat(same, right.lengths)])
    found |= ~same
    found[row[here != there]] = True
    return found


def _validity(column: Column) -> npt.NDArray[np.bool_]:
    n = len(column.values if column.lengths is None else column.lengths)
    return np.ones(n, dtype=np.bool_) if column.valid is None else column.valid


_ODD = np.uint64(0x9E3779B97F4A7C15)
_MIX = np.uint64(0xD6E8FEB86659FD93)
_SHIFT = np.uint64(32)


def fingerprints(columns: list[Column], rows: int) -> Words:
    """Eight bytes a row, shape (n,): rows that differ have, almost surely, different ones.

    They name the row when the digest says that one differs; they prove nothing by themselves.
    """
    state = np.full(rows, len(columns), dtype=np.uint64)
    with np.errstate(over="ignore"):
        for column in columns:
            words = _row_words(column)
            if column.valid is not None:
                words = np.where(column.valid, words, _MIX)
            state = (state ^ words) * _ODD
            state ^= state >> _SHIFT
            state *= _MIX
    return state


def _row_words(column: Column) -> Words:
    """Eight bytes that depend on the row's whole value in this column, shape (n,)."""
    if column.lengths is None:
        return _as_words(column.values)
    if column.values.dtype == np.uint8:
        return _text_words(column)
    ends = np.concatenate([[0], np.cumsum(column.lengths)])
    within = np.arange(len(column.values)) - np.repeat(ends[:-1], column.lengths)
    mixed = (_as_words(column.values) ^ (within.astype(np.uint64) * _ODD)) * _MIX
    mixed ^= mixed >> _SHIFT
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(mixed * _ODD, dtype=np.uint64)])
    return (sums[ends[1:]] - sums[ends[:-1]]) ^ column.lengths.astype(np.uint64)


def _text_words(column: Column) -> Words:
    assert column.lengths is not None
    ends = np.concatenate([[0], np.cumsum(column.lengths)])
    buffers: list[Any] = [None, pa.py_buffer(ends.astype(np.int64)), pa.py_buffer(column.values)]
    texts = cast(Any, pa.Array.from_buffers(pa.large_binary(), len(ends) - 1, buffers))
    coded = texts.dictionary_encode()  # most text columns say the same few things
    sums = [crc32(value.as_buffer()) for value in coded.dictionary]
    words = np.array(sums, dtype=np.uint64)
    return words[coded.indices.to_numpy()] if sums else np.zeros(0, np.uint64)


def _as_words(values: Array) -> Words:
    if values.dtype == np.float64:
        return values.view(np.uint64)
    return values.astype(np.int64).view(np.uint64)
