"""Which code made something: the package's version and a digest of its source."""

from functools import lru_cache
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

PACKAGE = Path(__file__).parent
BESIDE = ("sql", "dags")  # in a checkout: what else decides what a run does
SUFFIXES = (".py", ".sql")


def source_digest(package: Path = PACKAGE) -> str:
    """SHA-256 of the names and bytes of the package's source, and of sql/ and dags/ beside it.

    An installed package has no such folders beside it: its digest is another one.
    """
    folders = [package, *(package.parent / name for name in BESIDE)]
    digest = sha256()
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.suffix in SUFFIXES:
                content = path.read_bytes()
                name = path.relative_to(package.parent).as_posix()
                digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


@lru_cache
def code_version() -> str:
    """The package's version and the first 12 digits of `source_digest`."""
    return f"{version('decisions')}+{source_digest()[:12]}"
