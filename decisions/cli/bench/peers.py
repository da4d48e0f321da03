"""Libraries that ours is measured against: installed for benchmarks alone, and without types."""

from importlib import import_module
from typing import Any

from decisions.errors import DecisionsError


def library(module: str) -> Any:
    """The module of another library.

    Raises:
        DecisionsError: it is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise DecisionsError(
            f"cannot import {module} ({error}): pip install -e '.[bench]' -c constraints.txt, and"
            " then pip install --no-deps obp==0.4.1"
        ) from error
