"""Whether a LightGBM model's text is sound, found out without risking this process."""

import importlib
import re
import subprocess
import sys
from functools import cache
from typing import Any

from decisions.errors import ArtifactAltered

_PARSE_S = 60
_CHILD = """
import ctypes, sys
library = ctypes.CDLL(sys.argv[1])
columns = int(sys.argv[2])
handle, trees = ctypes.c_void_p(), ctypes.c_int()
text = ctypes.c_char_p(sys.stdin.buffer.read())
if library.LGBM_BoosterLoadModelFromString(text, ctypes.byref(trees), ctypes.byref(handle)):
    sys.exit(3)
for value in (0.0, float("nan"), 1e300):
    row = (ctypes.c_double * columns)(*[value] * columns)
    size, out = ctypes.c_int64(), (ctypes.c_double * 1)()
    if library.LGBM_BoosterPredictForMat(
        handle, row, 1, 1, columns, 1, 0, 0, -1, b"num_threads=1", ctypes.byref(size), out
    ):
        sys.exit(4)
"""


@cache
def verify_trees(text: str, *, columns: int) -> None:
    """Accepts a one-output model over `columns` features whose trees are trees.

    Reads its structure here, then lets a child process parse it and predict: LightGBM's parser
    believes what it reads, and a damaged file can crash it or make it read foreign memory.

    Raises:
        ArtifactAltered: anything is wrong with the text.
    """
    try:
        _check_structure(text, columns)
    except (KeyError, ValueError, IndexError) as error:
        raise ArtifactAltered(
            f"a LightGBM model's text is damaged ({error}); restore the artefact, or train anew"
        ) from error
    library: Any = importlib.import_module("lightgbm.basic")
    command = [sys.executable, "-I", "-S", "-c", _CHILD, library._LIB._name, str(columns)]
    try:
        child = subprocess.run(
            command, input=text.encode(), capture_output=True, timeout=_PARSE_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise ArtifactAltered(f"LightGBM did not parse a model within {_PARSE_S} s") from error
    if child.returncode != 0:
        raise ArtifactAltered(
            f"LightGBM could not parse a model: its child process ended with {child.returncode};"
            " restore the artefact, or train anew"
        )


def _check_structure(text: str, columns: int) -> None:
    head, _, rest = text.partition("\n\n")
    if not head.startswith("tree\n") or "\nend of trees\n" not in rest:
        raise ValueError("it does not begin with 'tree' and reach 'end of trees'")
    header = _fields(head)
    wanted = {"num_class": 1, "num_tree_per_iteration": 1, "max_feature_idx": columns - 1}
    for name, value in wanted.items():
        if int(header[name]) != value:
            raise ValueError(f"{name} is {header[name]}, wanted {value}")
    body = rest[: rest.index("end of trees\n")]
    sizes = [int(size) for size in header["tree_sizes"].split()]
    if sum(sizes) != len(body.encode()):
        raise ValueError(f"tree_sizes sum to {sum(sizes)}, the trees take {len(body)} bytes")
    trees = re.split(r"^Tree=", body, flags=re.MULTILINE)[1:]
    if len(trees) != len(sizes):
        raise ValueError(f"it has {len(trees)} trees and {len(sizes)} sizes")
    for tree in trees:
        _check_tree(_fields("Tree=" + tree), columns)


def _check_tree(tree: dict[str, str], columns: int) -> None:
    leaves = int(tree["num_leaves"])
    if len(_numbers(tree, "leaf_value", float)) != leaves or int(tree["is_linear"]) != 0:
        raise ValueError(f"tree {tree['Tree']} does not have {leaves} constant leaves")
    if leaves == 1:
        return
    names = ("split_feature", "left_child", "right_child", "decision_type")
    feature, left, right, kind = (_numbers(tree, name, int) for name in names)
    threshold = _numbers(tree, "threshold", float)
    if {len(part) for part in (feature, left, right, kind, threshold)} != {leaves - 1}:
        raise ValueError(f"tree {tree['Tree']} does not have {leaves - 1} splits")
    if not all(0 <= column < columns for column in feature):
        raise ValueError(f"tree {tree['Tree']} splits on an unknown feature")
    inner_after_parent = all(
        child < 0 or child > node for side in (left, right) for node, child in enumerate(side)
    )
    every_node_once = [*range(-leaves, 0), *range(1, leaves - 1)]
    if not inner_after_parent or sorted(left + right) != every_node_once:
        raise ValueError(f"the nodes of tree {tree['Tree']} do not form a tree")
    splits = int(tree["num_cat"])
    sets = [at for is_set, at in zip(kind, threshold, strict=True) if is_set & 1]
    if not all(0 <= at < splits and at == int(at) for at in sets):
        raise ValueError(f"tree {tree['Tree']} has a split on unknown categories")
    if splits:
        bounds = _numbers(tree, "cat_boundaries", int)
        words = _numbers(tree, "cat_threshold", int)
        ascending = bounds == sorted(bounds) and bounds[:1] == [0]
        if not ascending or len(bounds) != splits + 1 or bounds[-1] != len(words):
            raise ValueError(f"the categories of tree {tree['Tree']} are out of bounds")


def _fields(block: str) -> dict[str, str]:
    pairs = (line.partition("=") for line in block.splitlines() if "=" in line)
    return {name: value for name, _, value in pairs}


def _numbers(tree: dict[str, str], name: str, kind: type[int] | type[float]) -> list[Any]:
    return [kind(word) for word in tree[name].split()]
