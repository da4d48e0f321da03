"""Checks of arrays at the edge of the library: wrong shapes broadcast in silence, or fail late."""

from math import isfinite
from typing import Any

import numpy as np
import numpy.typing as npt

from decisions.errors import DataError

Labels = npt.NDArray[np.generic]
_Array = npt.NDArray[Any]


def check_level(level: float) -> None:
    """Raises DataError unless `level` is a coverage strictly between 0 and 1, such as 0.95."""
    if not (isfinite(level) and 0 < level < 1):
        raise DataError(f"level is {level:g}, wanted a coverage above 0 and below 1, such as 0.95")


def check_shape(shape: tuple[int, ...], **arrays: _Array | None) -> None:
    """Raises DataError naming the first of `arrays` of another `shape`; None is passed over."""
    for name, values in arrays.items():
        if values is not None and np.shape(values) != shape:
            raise DataError(f"{name} has shape {np.shape(values)}, wanted {shape}")


def check_rows(**arrays: _Array | None) -> int:
    """The number of rows n of `arrays`, all of shape (n,); None is passed over.

    Raises:
        DataError: naming an array of another dimension or length.
    """
    n = next((len(np.atleast_1d(values)) for values in arrays.values() if values is not None), 0)
    check_shape((n,), **arrays)
    return n


def check_table(**arrays: _Array | None) -> tuple[int, int]:
    """The shape (n, k) that all of `arrays` have; None is passed over.

    Raises:
        DataError: naming an array of another dimension or shape.
    """
    given = {name: values for name, values in arrays.items() if values is not None}
    first, values = next(iter(given.items()))
    if np.ndim(values) != 2:
        raise DataError(
            f"{first} has shape {np.shape(values)}, wanted a row a decision and a column an action"
        )
    n, k = np.shape(values)
    check_shape((n, k), **given)
    return n, k


def check_finite(**arrays: _Array) -> None:
    """Raises DataError naming the first row, (n,), that holds a NaN or an infinite number."""
    for name, values in arrays.items():
        refuse_rows(name, values, wrong=~np.isfinite(values), wanted="a finite number")


def check_weights(**arrays: _Array) -> None:
    """Raises DataError naming the first row, (n,), whose weight is not finite and 0 or more."""
    for name, values in arrays.items():
        wrong = ~(np.isfinite(values) & (values >= 0))
        refuse_rows(name, values, wrong=wrong, wanted="a finite number of 0 or more")


def check_propensities(**arrays: _Array) -> None:
    """Raises DataError naming the first row, (n,), whose propensity is not in (0, 1]."""
    for name, values in arrays.items():
        wrong = ~((values > 0) & (values <= 1))
        wanted = "a probability above 0: an outcome without its propensity is no evidence"
        refuse_rows(name, values, wrong=wrong, wanted=wanted)


def refuse_rows(name: str, values: _Array, *, wrong: npt.NDArray[np.bool_], wanted: str) -> None:
    """Raises DataError naming the first row of `values` (n,) that is `wrong` (n,), if one is."""
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise DataError(
            f"{name} of row {row} is {values[row]:g}, wanted {wanted}"
            f" ({int(wrong.sum())} such rows)"
        )


def label_codes(labels: Labels) -> npt.NDArray[np.int64]:
    """Small integers from 0 for labels (n,), equal ones for equal labels.

    A missing label (None, NaN, NaT) is a label like any other: those rows form one group.
    """
    if labels.dtype != np.object_:
        return np.unique(labels, return_inverse=True)[1].reshape(-1).astype(np.int64)
    places: dict[Any, int] = {}
    missing = object()
    codes = [
        places.setdefault(missing if value is None or value != value else value, len(places))
        for value in labels.tolist()
    ]
    return np.array(codes, dtype=np.int64)
