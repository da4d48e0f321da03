"""The bytes of a trained policy: packed the same way each time, named by their SHA-256."""

import io
import tarfile
from hashlib import sha256

from decisions.errors import ArtifactAltered


def pack(files: dict[str, bytes]) -> bytes:
    """One archive of `files`: the same bytes whenever and wherever it is made."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name in sorted(files):
            entry = tarfile.TarInfo(name)
            entry.size = len(files[name])
            entry.mode = 0o644
            archive.addfile(entry, io.BytesIO(files[name]))
    return out.getvalue()


def unpack(content: bytes) -> dict[str, bytes]:
    """The files of an archive made by `pack`; nothing is written to disk.

    Raises:
        ArtifactAltered: the bytes are no such archive. Check their digest first.
    """
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as archive:
            return {
                entry.name: opened.read()
                for entry in archive.getmembers()
                if (opened := archive.extractfile(entry)) is not None
            }
    except (tarfile.TarError, OSError, UnicodeDecodeError) as error:
        raise ArtifactAltered(f"{len(content)} bytes are not a packed policy: {error}") from error


def digest(content: bytes) -> str:
    """SHA-256, hexadecimal."""
    return sha256(content).hexdigest()


def verified(content: bytes, wanted: str) -> bytes:
    """`content`, once its digest is the recorded one; call it before any parser sees the bytes.

    Raises:
        ArtifactAltered: it is not.
    """
    seen = digest(content)
    if seen != wanted:
        raise ArtifactAltered(
            f"{len(content)} bytes have digest {seen}, recorded was {wanted}: the policy is not"
            " loaded. Restore it from a copy, or promote another generation"
        )
    return content
