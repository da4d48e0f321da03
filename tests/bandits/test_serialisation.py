"""A policy written and read again is the same to the bit; a damaged one is refused by name."""

import json
import subprocess
import sys
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from decisions.bandits import policies, serialisation
from decisions.bandits.histogram import HistogramOracle, fit_histogram
from decisions.bandits.linear import fit_logistic, fit_ridge
from decisions.bandits.oracles import (
    ConstantOracle,
    Ensemble,
    LightGBMConfig,
    LightGBMOracle,
    fit_lightgbm,
)
from decisions.bandits.trees import verify_trees
from decisions.errors import ArtifactAltered, DataError
from decisions.seeds import RowKeys
from tests.bandits.logs import Logs, uniform_logs

FITS = (
    partial(fit_lightgbm, config=LightGBMConfig(trees=20, negative=2.0)),
    partial(fit_histogram, config=LightGBMConfig(trees=20)),
    fit_logistic,
    fit_ridge,
)


@pytest.fixture(scope="module")
def logs() -> Logs:
    return uniform_logs(2000)


@pytest.fixture(scope="module")
def policy(logs: Logs) -> policies.Damped:
    members = tuple(
        fit(logs.data, np.random.default_rng(0), features=logs.features) for fit in FITS
    )
    ensemble = Ensemble(members=(*members, ConstantOracle(value=0.3, reason="all alike")))
    explore = policies.OraclePolicy(oracle=ensemble, rule=policies.SquareCBElimination(100.0))
    split = policies.Split(
        explore=policies.Floor(policy=explore, floor=0.05),
        explore_share=0.3,
        control=policies.FixedAction(action=0),
        control_share=0.1,
        cluster="card",
    )
    before = policies.OraclePolicy(oracle=members[0], rule=policies.FastCB(1 / 3))
    return policies.Damped(policy=split, previous=before, share=0.25)


def _bits(policy: policies.Damped, logs: Logs) -> bytes:
    keys = RowKeys(5, np.arange(2000, dtype=np.int64))
    draw = policy.act(logs.data.context, logs.eligible, keys)
    assert draw.probabilities is not None
    return draw.probabilities.tobytes() + draw.action.tobytes() + draw.uniform.tobytes()


def test_a_loaded_policy_acts_the_same_to_the_bit(policy: policies.Damped, logs: Logs) -> None:
    files = serialisation.dump(policy)

    loaded = serialisation.load(files)

    assert _bits(loaded, logs) == _bits(policy, logs)
    assert serialisation.dump(loaded) == files


def test_another_process_with_other_threads_gets_the_same_bits(
    policy: policies.Damped, logs: Logs, tmp_path: Path
) -> None:
    for name, data in serialisation.dump(policy).items():
        (tmp_path / name).write_bytes(data)
    code = (
        "import sys, hashlib; from pathlib import Path\n"
        "from tests.bandits.logs import uniform_logs\n"
        "from tests.bandits.test_serialisation import _bits\n"
        "from decisions.bandits import serialisation\n"
        "files = {p.name: p.read_bytes() for p in Path(sys.argv[1]).iterdir()}\n"
        "bits = _bits(serialisation.load(files), uniform_logs(2000))\n"
        "print(hashlib.sha256(bits).hexdigest())"
    )
    threads = {"OMP_NUM_THREADS": "3", "POLARS_MAX_THREADS": "3", "PYTHONPATH": "."}

    child = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        env=threads,
    )

    assert child.stdout.strip() == sha256(_bits(policy, logs)).hexdigest()


def test_equal_parts_share_one_file(policy: policies.Damped) -> None:
    files = serialisation.dump(policy)

    assert sum(name.endswith(".txt") for name in files) == 1
    assert not any(b"pickle" in data or data.startswith(b"\x80\x04") for data in files.values())


@pytest.mark.parametrize("kind", ["text", "array", "main"])
@pytest.mark.parametrize("damage", ["flip", "truncate", "remove"])
def test_any_damage_to_any_file_is_named(kind: str, damage: str, policy: policies.Damped) -> None:
    files = serialisation.dump(policy)
    ending = {"text": ".txt", "array": ".npy", "main": ".json"}[kind]
    name = next(name for name in files if name.endswith(ending))
    data = bytearray(files[name])
    data[len(data) // 2] ^= 1
    damaged = {"flip": bytes(data), "truncate": files[name][: len(data) // 2]}
    broken = {**files, name: damaged.get(damage, b"")}
    if damage == "remove":
        del broken[name]

    with pytest.raises(ArtifactAltered, match=name.replace(".", r"\.")):
        serialisation.load(broken)


def test_a_file_too_many_is_refused(policy: policies.Damped) -> None:
    with pytest.raises(ArtifactAltered, match=r"'extra\.npy'"):
        serialisation.load({**serialisation.dump(policy), "extra.npy": b""})


def _forged(files: dict[str, bytes], content: dict[str, object]) -> dict[str, bytes]:
    """Files whose digests are right though the content is another's."""
    body = {name: content[name] for name in ("format", "policy", "files")}
    text = json.dumps(body, sort_keys=True, separators=(",", ":")).encode()
    main = json.dumps({**body, "digest": sha256(text).hexdigest()}).encode()
    return {**files, serialisation.MAIN: main}


def test_an_unknown_kind_is_refused_though_the_digest_is_right() -> None:
    files = serialisation.dump(policies.FixedAction(action=0))
    content = json.loads(files[serialisation.MAIN])
    content["policy"]["kind"] = "Popen"

    with pytest.raises(ArtifactAltered, match="Popen"):
        serialisation.load(_forged(files, content))


def test_histogram_nodes_that_form_no_tree_are_refused(logs: Logs) -> None:
    oracle = fit_histogram(logs.data, np.random.default_rng(0), features=logs.features)
    assert isinstance(oracle, HistogramOracle)
    left = oracle.left.copy()
    left[np.flatnonzero(left)[-1]] = np.flatnonzero(left)[-1]  # a node that is its own child

    with pytest.raises(DataError, match="form trees"):
        replace(oracle, left=left)


def _model(logs: Logs) -> str:
    oracle = fit_lightgbm(logs.data, np.random.default_rng(0), features=logs.features)
    assert isinstance(oracle, LightGBMOracle)
    return oracle.model


def test_a_sound_model_passes_and_keeps_passing(logs: Logs) -> None:
    verify_trees(_model(logs), columns=6)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("left_child=1", "left_child=0"),
        ("left_child=1", "left_child=9000000"),
        ("split_feature=", "split_feature=77 "),
        ("end of trees", "end of threes"),
        ("num_leaves=15", "num_leaves=15000000"),
        ("tree_sizes=", "tree_sizes=9"),
        ("max_feature_idx=5", "max_feature_idx=50"),
        ("leaf_value=", "leaf_worth="),
        ("cat_boundaries=0", "cat_boundaries=0 99999"),
        ("objective=binary", "objective=nothing"),
    ],
)
def test_a_forged_lightgbm_text_is_refused_and_crashes_nobody(
    old: str, new: str, logs: Logs
) -> None:
    text = _model(logs)
    assert old in text

    with pytest.raises(ArtifactAltered, match="LightGBM"):
        verify_trees(text.replace(old, new, 1), columns=6)


def test_load_verifies_texts_whose_digests_were_forged_too(logs: Logs) -> None:
    oracle = fit_lightgbm(logs.data, np.random.default_rng(0), features=logs.features)
    assert isinstance(oracle, LightGBMOracle)
    broken = replace(oracle, model=oracle.model.replace("left_child=1", "left_child=0", 1))

    with pytest.raises(ArtifactAltered, match="do not form a tree"):
        serialisation.load(
            serialisation.dump(policies.OraclePolicy(oracle=broken, rule=policies.Greedy()))
        )


@dataclass(frozen=True)
class Renamed:
    policy: policies.Uniform
    name: str


def test_a_domain_may_add_kinds_of_its_own() -> None:
    files = serialisation.dump(
        Renamed(policies.Uniform(), "x"),  # type: ignore[arg-type]
        kinds=(Renamed,),
    )

    assert serialisation.load(files, kinds=(Renamed,)) == Renamed(policies.Uniform(), "x")
    with pytest.raises(ArtifactAltered, match="Renamed"):
        serialisation.load(files)


def test_what_has_no_file_format_is_refused() -> None:
    with pytest.raises(DataError, match="nan"):
        serialisation.dump(
            policies.OraclePolicy(
                oracle=ConstantOracle(value=float("nan"), reason=""), rule=policies.Greedy()
            )
        )
