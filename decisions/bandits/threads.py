"""One thread for numerical libraries whose sums depend on how many there are."""

from contextlib import AbstractContextManager
from functools import cache

from threadpoolctl import ThreadpoolController


@cache
def _controller() -> ThreadpoolController:
    """The libraries loaded at the first call; looking for them takes some 10 ms."""
    return ThreadpoolController()


def one_thread() -> AbstractContextManager[object]:
    """While open, BLAS and OpenMP use one thread. Import what computes before the first call."""
    return _controller().limit(limits=1)
