"""Random streams and row keys."""

import numpy as np

from decisions.seeds import RowKeys, philox, stream


def test_philox_gives_the_published_vectors() -> None:
    """Known answers of Random123, the reference implementation: philox4x32, 10 rounds."""
    counter = np.array(
        [[0] * 4, [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344]], dtype=np.uint64
    )

    zero = philox(counter[:1], (0, 0))[0].tolist()
    pi = philox(counter[1:], (0xA4093822, 0x299F31D0))[0].tolist()

    assert zero == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    assert pi == [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1]


def test_a_rows_numbers_do_not_depend_on_the_batch() -> None:
    rows = np.array([7, 2**40, 3], dtype=np.int64)

    together = RowKeys(5, rows).uniforms("draw", columns=2)
    alone = np.vstack([RowKeys(5, rows[i : i + 1]).uniforms("draw", columns=2) for i in (2, 0)])

    np.testing.assert_array_equal(together[[2, 0]], alone)


def test_row_uniforms_are_uniform() -> None:
    u = RowKeys(1, np.arange(100_000)).uniforms("draw", columns=2)

    assert abs(u.mean() - 0.5) < 4 / np.sqrt(12 * u.size)
    assert abs(np.corrcoef(u[:, 0], u[:, 1])[0, 1]) < 4 / np.sqrt(len(u))


def test_streams_of_other_purposes_differ_and_repeat() -> None:
    a, b, again = (stream(1, word).random(4) for word in ("train", "act", "train"))

    np.testing.assert_array_equal(a, again)
    assert (a != b).all()
