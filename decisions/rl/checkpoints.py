"""Named tensors and the facts they depend on, in one safetensors file that shows alterations."""

import json
import os
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from decisions.errors import ArtifactAltered, DataError

Json = str | int | float | bool | None | Sequence["Json"] | Mapping[str, "Json"]


def packed(tensors: Mapping[str, Tensor], facts: Mapping[str, Json]) -> bytes:
    """A safetensors file whose metadata holds `facts` and the digest of everything."""
    told = json.dumps(facts, sort_keys=True)
    whole = {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}
    return save(whole, {"facts": json.dumps([_digest(whole, told), told])})


def unpacked(data: bytes, name: str) -> tuple[dict[str, Tensor], dict[str, Json]]:
    """The tensors and the facts of such a file, called `name` in errors.

    Raises:
        ArtifactAltered: the bytes are not those that `packed` made.
    """
    try:
        tensors = load(data)
        length = int.from_bytes(data[:8], "little")
        header = cast("dict[str, dict[str, str]]", json.loads(data[8 : 8 + length]))
        digest, told = cast("tuple[str, str]", json.loads(header["__metadata__"]["facts"]))
    except (SafetensorError, ValueError, KeyError) as error:
        raise ArtifactAltered(f"{name} is not a whole file of this library: {error}") from error
    if _digest(tensors, told) != digest:
        raise ArtifactAltered(f"{name} has not the digest {digest} of when it was written")
    return tensors, cast("dict[str, Json]", json.loads(told))


def write(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Json]) -> None:
    """Writes such a file at once: after a crash the old one or the new one is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    with scratch.open("wb") as file:
        file.write(packed(tensors, facts))
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)


def read(path: Path, facts: Mapping[str, Json]) -> dict[str, Tensor]:
    """The tensors of the file at `path`.

    Raises:
        ArtifactAltered: the file is not as it was written.
        DataError: it was written under other `facts`; the message names the first that differs.
    """
    tensors, seen = unpacked(path.read_bytes(), str(path))
    check_facts(str(path), seen, facts)
    return tensors


def check_facts(name: str, seen: Mapping[str, Json], wanted: Mapping[str, Json]) -> None:
    """Raises DataError, naming the field, unless `seen` has every fact that is wanted."""
    flat_seen = _flat(cast(Json, json.loads(json.dumps(seen))))
    for field, value in _flat(cast(Json, json.loads(json.dumps(wanted)))).items():
        found = flat_seen.get(field)
        if found != value:
            raise DataError(
                f"{name}: {field} is {found!r}; wanted {value!r}. Use another file, or train anew"
            )


def _flat(value: Json, prefix: str = "") -> dict[str, Json]:
    if not isinstance(value, Mapping):
        return {prefix: value}
    return {
        path: leaf
        for key, inner in value.items()
        for path, leaf in _flat(inner, f"{prefix}.{key}" if prefix else key).items()
    }


def _digest(tensors: Mapping[str, Tensor], told: str) -> str:
    digest = sha256(told.encode())
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        digest.update(f"\x1f{name} {tensor.dtype} {tuple(tensor.shape)}\x1f".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
