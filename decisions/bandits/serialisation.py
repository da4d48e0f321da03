"""Policies as files in native formats and back: JSON, LightGBM's text, and plain arrays.

No pickle and no format that can name code. scikit-learn's models are kept as our own arrays
(`linear`, `histogram`) rather than by skops: they then give the same bits under any version of
scikit-learn, and there is nothing to trust but numbers, all of which are checked.
"""

import io
import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from hashlib import sha256
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from decisions.bandits.histogram import HistogramOracle
from decisions.bandits.linear import LinearOracle, Scaling
from decisions.bandits.oracles import ConstantOracle, Ensemble, LightGBMOracle
from decisions.bandits.policies import (
    Bagging,
    BanditPolicy,
    Damped,
    EpsilonGreedy,
    FastCB,
    FixedAction,
    Floor,
    Greedy,
    OraclePolicy,
    RegCBElimination,
    RegCBOptimistic,
    Softmax,
    Split,
    SquareCB,
    SquareCBElimination,
    Uniform,
)
from decisions.bandits.training_set import PairFeatures
from decisions.bandits.trees import verify_trees
from decisions.errors import ArtifactAltered, DataError

MAIN = "policy.json"
KINDS: tuple[type[Any], ...] = (
    Bagging,
    ConstantOracle,
    Damped,
    Ensemble,
    EpsilonGreedy,
    FastCB,
    FixedAction,
    Floor,
    Greedy,
    HistogramOracle,
    LightGBMOracle,
    LinearOracle,
    OraclePolicy,
    PairFeatures,
    RegCBElimination,
    RegCBOptimistic,
    Scaling,
    Softmax,
    Split,
    SquareCB,
    SquareCBElimination,
    Uniform,
)
_ARRAY_KINDS = "fiub"
_LONG_TEXT = 200


def dump(policy: BanditPolicy, *, kinds: tuple[type[Any], ...] = ()) -> dict[str, bytes]:
    """The policy's files by name; equal policies give equal bytes, and equal parts one file.

    `kinds` are frozen dataclasses of the caller's own that the policy is made of.

    Raises:
        DataError: the policy holds something that has no file format here.
    """
    files: dict[str, bytes] = {}
    body = _encode(policy, files, {kind.__name__: kind for kind in (*KINDS, *kinds)})
    content = {
        "format": 1,
        "policy": body,
        "files": {name: _digest(files[name]) for name in sorted(files)},
    }
    files[MAIN] = json.dumps({**content, "digest": _digest(_canonical(content))}).encode()
    return files


def load(
    files: Mapping[str, bytes], *, kinds: tuple[type[Any], ...] = (), trusted: bool = False
) -> Any:
    """The policy that `dump` made `files` of: it gives the same bits.

    Every digest is checked before any parser sees the bytes. Unless `trusted`, LightGBM texts are
    first examined and parsed in a child process (`verify_trees`).

    Raises:
        ArtifactAltered: a file is missing, unknown, altered or truncated; it is named.
    """
    content = _content(files)
    known = {kind.__name__: kind for kind in (*KINDS, *kinds)}
    try:
        policy = _decode(content["policy"], files, known)
    except (KeyError, TypeError, ValueError, IndexError, DataError) as error:
        raise ArtifactAltered(f"{MAIN} does not describe a policy: {error}") from error
    if not trusted:
        _verify(policy)
    return policy


def _content(files: Mapping[str, bytes]) -> dict[str, Any]:
    """The main file's content, once it and all others have the digests it states."""
    if MAIN not in files:
        raise ArtifactAltered(f"a policy needs a file {MAIN}; there are {sorted(files)}")
    try:
        content = json.loads(files[MAIN])
        stated, seen = content.pop("digest"), _digest(_canonical(content))
        digests = {str(name): str(digest) for name, digest in content["files"].items()}
        version = content["format"]
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise ArtifactAltered(f"{MAIN} cannot be read ({error}): altered or truncated") from error
    if stated != seen:
        raise ArtifactAltered(f"{MAIN} has digest {seen}, and states {stated}")
    if version != 1:
        raise ArtifactAltered(f"{MAIN} has format {version!r}; this version reads 1")
    given = {name: _digest(data) for name, data in files.items() if name != MAIN}
    for name in sorted(given.keys() | digests.keys()):
        if given.get(name) != digests.get(name):
            raise ArtifactAltered(
                f"file {name!r} has digest {given.get(name, 'none: it is missing')}; {MAIN} states"
                f" {digests.get(name, 'no such file')}: altered, truncated or mixed up"
            )
    return content


def _encode(value: Any, files: dict[str, bytes], known: dict[str, type[Any]]) -> Any:
    if is_dataclass(value) and known.get(type(value).__name__) is type(value):
        parts = {f.name: _encode(getattr(value, f.name), files, known) for f in fields(value)}
        return {"kind": type(value).__name__, **parts}
    if isinstance(value, np.ndarray):
        return {"array": _array_file(cast("npt.NDArray[Any]", value), files)}
    if isinstance(value, str) and len(value) > _LONG_TEXT:
        data = value.encode()
        name = f"{_digest(data)[:16]}.txt"
        files[name] = data
        return {"text": name}
    if isinstance(value, tuple):
        return [_encode(item, files, known) for item in cast("tuple[Any, ...]", value)]
    if isinstance(value, float) and not np.isfinite(value):
        raise DataError(f"a policy holds {value}, which JSON has no word for")
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise DataError(f"a policy holds a {type(value).__name__}, which has no file format here")


def _array_file(value: npt.NDArray[Any], files: dict[str, bytes]) -> str:
    if value.dtype.kind not in _ARRAY_KINDS:
        raise DataError(f"a policy holds an array of {value.dtype}; wanted numbers or booleans")
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(value), allow_pickle=False)
    name = f"{_digest(buffer.getvalue())[:16]}.npy"
    files[name] = buffer.getvalue()
    return name


def _decode(value: Any, files: Mapping[str, bytes], known: dict[str, type[Any]]) -> Any:
    if isinstance(value, list):
        return tuple(_decode(item, files, known) for item in cast("list[Any]", value))
    if not isinstance(value, dict):
        return value
    node = cast("dict[str, Any]", value)
    if "array" in node:
        return np.load(io.BytesIO(files[node["array"]]), allow_pickle=False)
    if "text" in node:
        return files[node["text"]].decode()
    parts = {name: _decode(part, files, known) for name, part in node.items() if name != "kind"}
    return known[node["kind"]](**parts)


def _verify(value: Any) -> None:
    """Verifies every LightGBM text inside a decoded value."""
    if isinstance(value, LightGBMOracle):
        columns = len(value.features.columns) + value.features.flags.shape[1]
        verify_trees(value.model, columns=columns)
    elif isinstance(value, tuple):
        for item in cast("tuple[Any, ...]", value):
            _verify(item)
    elif is_dataclass(value):
        for part in fields(value):
            _verify(getattr(value, part.name))


def _canonical(content: dict[str, Any]) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()


def _digest(data: bytes) -> str:
    return sha256(data).hexdigest()
