"""A run that was interrupted goes on to the same end, and a file that does not fit is named."""

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from decisions.errors import ArtifactAltered, DataError
from decisions.rl import checkpoints
from decisions.rl.pdppo import PDPPO
from decisions.rl.ppo import PPO, CurvePoint, Trained, train
from tests.rl.toys import Identity

METHOD = PDPPO(
    environments=8,
    rollout_length=5,
    minibatch_size=20,
    hidden=(8,),
    total_steps=480,
    curve_interval=40,
    checkpoint_interval=80,
    retained_chunks=2,
    spread_starts=False,
)
ENVIRONMENT = Identity(horizon=7, terminal=True)  # episodes cut the rollouts everywhere


def _same(first: Trained, second: Trained) -> bool:
    weights = [
        [*run.actor.network.parameters(), *run.critics[-1].parameters()] for run in (first, second)
    ]
    equal = (torch.equal(a, b) for a, b in zip(*weights, strict=True))
    return first.curve == second.curve and all(equal)


class Interrupted(Exception):
    """Raised in place of the power going off."""


def _interrupted(path: Path, method: PPO = METHOD, *, after: int = 200, seed: int = 3) -> None:
    def stop(point: CurvePoint) -> None:
        if point.step >= after:
            raise Interrupted

    with pytest.raises(Interrupted):
        train(ENVIRONMENT, method, seed=seed, checkpoint=path, report=stop)


@pytest.mark.parametrize("method", [METHOD, PPO.paper()], ids=["pdppo", "paper"])
def test_a_run_that_stopped_midway_ends_with_the_same_bits(method: PPO, tmp_path: Path) -> None:
    method = replace(
        method,
        environments=8,
        rollout_length=5,
        hidden=(8,),
        epochs=3,
        total_steps=480,
        curve_interval=40,
        checkpoint_interval=80,
    )
    whole = train(ENVIRONMENT, method, seed=3)

    _interrupted(tmp_path / "run", method)
    resumed = train(ENVIRONMENT, method, seed=3, checkpoint=tmp_path / "run")

    assert _same(whole, resumed)
    assert [point.step for point in resumed.curve] == list(range(40, 481, 40))


def test_a_killed_process_loses_nothing_but_time(tmp_path: Path) -> None:
    path = tmp_path / "run"
    script = (
        "import sys; from pathlib import Path; from tests.rl.test_checkpoints import *;"
        "train(ENVIRONMENT, replace(METHOD, total_steps=4_000_000, learning_rate_decay=False),"
        " seed=3, checkpoint=Path(sys.argv[1]))"
    )
    process = subprocess.Popen([sys.executable, "-c", script, str(path)])
    while not path.exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    seen = checkpoints.unpacked(path.read_bytes(), "run")[0]["step"]
    method = replace(METHOD, total_steps=4_000_000, learning_rate_decay=False)

    def until(steps: int, checkpoint: Path | None) -> list[CurvePoint]:
        points: list[CurvePoint] = []

        def stop(point: CurvePoint) -> None:
            points.append(point)
            if point.step >= steps:
                raise Interrupted

        with pytest.raises(Interrupted):
            train(ENVIRONMENT, method, seed=3, checkpoint=checkpoint, report=stop)
        return points

    resumed = until(int(seen) + 200, path)
    assert resumed == until(int(seen) + 200, None)[-len(resumed) :]


def test_a_finished_run_is_read_and_not_repeated(tmp_path: Path) -> None:
    first = train(ENVIRONMENT, METHOD, seed=3, checkpoint=tmp_path / "run")

    def never(point: CurvePoint) -> None:
        raise AssertionError(point)

    again = train(ENVIRONMENT, METHOD, seed=3, checkpoint=tmp_path / "run", report=never)

    assert _same(first, again)


def test_a_checkpoint_of_another_run_is_refused_by_the_field_that_differs(tmp_path: Path) -> None:
    path = tmp_path / "run"
    _interrupted(path)
    before = path.read_bytes()

    with pytest.raises(DataError, match=r"config\.gamma is 0\.98; wanted 0\.9"):
        train(ENVIRONMENT, replace(METHOD, gamma=0.9), seed=3, checkpoint=path)
    with pytest.raises(DataError, match="seed is 3; wanted 4"):
        train(ENVIRONMENT, METHOD, seed=4, checkpoint=path)
    with pytest.raises(DataError, match=r"identity\.instance is None; wanted 'abc'"):
        train(ENVIRONMENT, METHOD, seed=3, checkpoint=path, identity={"instance": "abc"})
    with pytest.raises(DataError, match=r"environment\.horizon is 7; wanted 8"):
        train(replace(ENVIRONMENT, horizon=8), METHOD, seed=3, checkpoint=path)

    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize("where", [3, 60, -1])
def test_an_altered_checkpoint_is_refused(where: int, tmp_path: Path) -> None:
    path = tmp_path / "run"
    _interrupted(path)
    data = bytearray(path.read_bytes())
    data[where] ^= 0x10
    path.write_bytes(data)

    with pytest.raises(ArtifactAltered, match="run"):
        train(ENVIRONMENT, METHOD, seed=3, checkpoint=path)


def test_a_shortened_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run"
    _interrupted(path)
    path.write_bytes(path.read_bytes()[:-100])

    with pytest.raises(ArtifactAltered, match="run"):
        train(ENVIRONMENT, METHOD, seed=3, checkpoint=path)
