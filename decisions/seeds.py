"""Random streams named by what they are for, and random numbers named by the row they serve."""

from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt

_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_WEYL = (0x9E3779B9, 0xBB67AE85)
_LOW = np.uint64(0xFFFFFFFF)
_32 = np.uint64(32)


def _words(seed: int, purpose: tuple[str, ...]) -> bytes:
    text = "\x1f".join((str(seed), *purpose))
    return blake2b(text.encode(), digest_size=8).digest()


def stream(seed: int, *purpose: str) -> np.random.Generator:
    """A generator that depends on `seed` and on the words of `purpose`, and on nothing else.

    Adding a stream never shifts another one, which drawing child seeds in order would.
    """
    words = [int.from_bytes(blake2b(word.encode(), digest_size=8).digest()) for word in purpose]
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=words))


def philox(counter: npt.NDArray[np.uint64], key: tuple[int, int]) -> npt.NDArray[np.uint64]:
    """Philox4x32-10 of each row of `counter`, both (n, 4) of 32-bit words held in 64 bits.

    Source: Salmon, Moraes, Dror and Shaw (2011), "Parallel random numbers: as easy as 1, 2, 3".
    """
    c0, c1, c2, c3 = (counter[:, i].copy() for i in range(4))
    k0, k1 = key
    for _ in range(10):
        p0, p1 = _MULTIPLIERS[0] * c0, _MULTIPLIERS[1] * c2
        c0, c1 = (p1 >> _32) ^ c1 ^ np.uint64(k0), p1 & _LOW
        c2, c3 = (p0 >> _32) ^ c3 ^ np.uint64(k1), p0 & _LOW
        k0, k1 = (k0 + _WEYL[0]) & 0xFFFFFFFF, (k1 + _WEYL[1]) & 0xFFFFFFFF
    return np.stack([c0, c1, c2, c3], axis=1)


def random_words(
    key: tuple[int, int],
    rows: npt.NDArray[np.int64],
    period: npt.NDArray[np.integer[Any]],
    *,
    columns: int,
) -> npt.NDArray[np.uint64]:
    """32 random bits for each of (n, columns), of a row's identifier and a period (n,).

    Word j is part j % 4 of `philox` of the counter (row low, row high, period, block j // 4).
    """
    blocks = (columns + 3) // 4
    counter = np.empty((len(rows), blocks, 4), dtype=np.uint64)
    counter[:, :, 0] = (rows & 0xFFFFFFFF)[:, None]
    counter[:, :, 1] = (rows >> 32)[:, None]
    counter[:, :, 2] = period[:, None]
    counter[:, :, 3] = np.arange(blocks)
    return philox(counter.reshape(-1, 4), key).reshape(len(rows), 4 * blocks)[:, :columns]


@dataclass(frozen=True)
class RowKeys:
    """Random numbers that belong to rows: the same bits whatever the batch, order or threads.

    `rows` holds a non-negative 64-bit identifier a row, shape (n,).
    """

    seed: int
    rows: npt.NDArray[np.int64]

    def philox_key(self, *purpose: str) -> tuple[int, int]:
        """The two 32-bit words that key `philox` for one purpose."""
        digest = _words(self.seed, purpose)
        return int.from_bytes(digest[:4]), int.from_bytes(digest[4:])

    def uniforms(self, *purpose: str, columns: int = 1) -> npt.NDArray[np.float64]:
        """Uniform numbers on [0, 1) with 53 random bits, shape (n, columns), for one purpose."""
        key = self.philox_key(*purpose)
        rows = np.repeat(self.rows.astype(np.uint64), columns)
        counter = np.zeros((len(rows), 4), dtype=np.uint64)
        counter[:, 0], counter[:, 1] = rows & _LOW, rows >> _32
        counter[:, 2] = np.tile(np.arange(columns, dtype=np.uint64), len(self.rows))
        bits = philox(counter, key)
        high, low = bits[:, 0] >> np.uint64(5), bits[:, 1] >> np.uint64(6)
        mantissa = high * np.uint64(1 << 26) + low
        return (mantissa.astype(np.float64) * 2.0**-53).reshape(-1, columns)

    def take(self, index: npt.NDArray[np.int64]) -> "RowKeys":
        """The keys of some of the rows."""
        return RowKeys(self.seed, self.rows[index])
