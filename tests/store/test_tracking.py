"""MLflow mirrors the store: once a generation, whatever is published how often."""

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Generator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from decisions import flow
from decisions.actions import ActionSet
from decisions.errors import StoreError
from decisions.evaluation import Estimate, Evaluation
from decisions.gate import Reason, Verdict
from decisions.stack.ports import choose
from decisions.store import artifacts
from decisions.store.database import Database
from decisions.store.tracking import Record, Tracker
from tests.integration.coins import COINS

CONTEXT = pl.Schema({"amount": pl.Float64(), "issuer": pl.String(), "attempt": pl.Int64()})
AT = datetime(2026, 1, 2, tzinfo=UTC)
# MLflow 3.17 asks SQLAlchemy 2.1 for a loader that 2.1 deprecates; both are in its own store.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy")


def estimate(value: float) -> Estimate:
    return Estimate(
        value=value, lower=value - 0.1, upper=value + 0.1, level=0.95, method="normal", n=9,
        effective_n=8.0,
    )  # fmt: skip


def record(number: int, *, outcome: str = "promote") -> Record:
    if number == 0:
        return Record(
            number=0, policy="baseline", parent=None, cutoff=AT, seed=1, code_version="1",
            config={}, content=lambda: artifacts.pack({"policy.json": b"{}"}),
        )  # fmt: skip
    return Record(
        number=number,
        policy="squarecb",
        parent=0,
        cutoff=AT + timedelta(days=number),
        seed=1,
        code_version="1",
        config={"window_hours": 24.0},
        content=lambda: artifacts.pack({"policy.json": str(number).encode()}),
        champion=0,
        evaluation=Evaluation(
            candidate=estimate(0.9),
            champion=estimate(0.8),
            difference=estimate(0.1),
            checks={"effective_share": 0.5},
        ),
        verdict=Verdict(
            outcome="promote" if outcome == "promote" else "hold",
            reasons=(Reason(rule="margin", measured=0.0, low=0.0, high=float("inf"), kept=True),),
        ),
        diagnostics={"churn_greedy": 0.25},
        curve=((0, -20.0, -21.0, -19.0), (25_600, -17.5, -18.0, -17.0)),
    )


@pytest.fixture
def tracker(tmp_path: Path) -> Tracker:
    return Tracker(
        f"sqlite:///{tmp_path}/mlflow.db", "payments", (tmp_path / "artifacts").as_uri()
    )


def publish(
    tracker: Tracker, numbers: list[int], *, champion: int, challenger: int | None
) -> list[str]:
    return tracker.publish(
        [record(number) for number in numbers],
        context=CONTEXT,
        actions=ActionSet(names=("send", "ask")),
        reward="authorised share",
        champion=champion,
        challenger=challenger,
    )


def test_a_generation_has_one_complete_run_however_often_it_is_published(
    tracker: Tracker, tmp_path: Path
) -> None:
    first = publish(tracker, [0, 1], champion=1, challenger=None)
    again = publish(tracker, [0, 1, 2], champion=1, challenger=2)

    client = tracker.client()
    experiment = client.get_experiment_by_name("payments")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    run = client.get_run(first[1])
    assert again[:2] == first
    assert len(runs) == 3
    assert {each.info.status for each in runs} == {"FINISHED"}
    assert run.data.metrics["difference_lower"] == 0.0
    assert run.data.metrics["candidate"] == 0.9
    assert run.data.metrics["diagnostic_churn_greedy"] == 0.25
    curve = client.get_metric_history(first[1], "learning_curve_lower")
    assert [(each.step, each.value) for each in curve] == [(0, -21.0), (25_600, -18.0)]
    assert run.data.tags["artefact_sha256"] == artifacts.digest(record(1).content())
    names = {item.path for item in client.list_artifacts(first[1])}
    assert names >= {"value_by_generation.png", "verdict.json", "model"}
    inside = {item.path for item in client.list_artifacts(first[1], "model")}
    assert inside == {"model/MLmodel", "model/artefact.tar"}


def test_aliases_follow_the_store(tracker: Tracker) -> None:
    publish(tracker, [0, 1], champion=0, challenger=1)
    publish(tracker, [0, 1], champion=1, challenger=None)

    client = tracker.client()
    champion = client.get_model_version_by_alias("payments", "champion")
    assert champion.tags["generation"] == "1"
    assert "challenger" not in client.get_registered_model("payments").aliases


def test_a_run_left_half_done_is_completed(
    tracker: Tracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Tracker, "_register", killed)
        with pytest.raises(KeyboardInterrupt):
            publish(tracker, [0], champion=0, challenger=None)
    ids = publish(tracker, [0], champion=0, challenger=None)

    assert tracker.client().get_run(ids[0]).info.status == "FINISHED"


def test_a_version_that_was_deleted_comes_back_with_its_alias(tracker: Tracker) -> None:
    ids = publish(tracker, [0, 1], champion=1, challenger=0)
    client = tracker.client()
    lost = client.get_model_version_by_alias("payments", "champion")
    client.delete_model_version("payments", lost.version)

    publish(tracker, [0, 1], champion=1, challenger=0)

    back = client.get_model_version_by_alias("payments", "champion")
    assert (back.run_id, back.tags["generation"]) == (ids[1], "1")
    client.delete_registered_model("payments")
    publish(tracker, [0, 1], champion=0, challenger=1)
    assert client.get_model_version_by_alias("payments", "champion").run_id == ids[0]
    assert len(client.search_model_versions("name = 'payments'")) == 2


def test_a_deleted_experiment_is_told_with_the_way_out(tracker: Tracker) -> None:
    publish(tracker, [0], champion=0, challenger=None)
    client = tracker.client()
    experiment = client.get_experiment_by_name("payments")
    assert experiment is not None
    number = experiment.experiment_id
    client.delete_experiment(number)

    with pytest.raises(StoreError, match=f"mlflow experiments restore -x {number}"):
        publish(tracker, [0], champion=0, challenger=None)

    client.restore_experiment(number)
    publish(tracker, [0], champion=0, challenger=None)


@pytest.mark.parametrize("generation", ["two", "1", "-1", ""])
def test_runs_of_others_are_left_alone(tracker: Tracker, generation: str) -> None:
    publish(tracker, [0], champion=0, challenger=None)
    client = tracker.client()
    experiment = client.get_experiment_by_name("payments")
    assert experiment is not None
    tags = {"generation": generation}
    foreign = client.create_run(experiment.experiment_id, tags=tags).info.run_id

    ids = publish(tracker, [0, 1], champion=1, challenger=None)

    assert foreign not in ids
    assert client.get_run(foreign).info.status == "RUNNING"
    assert client.get_model_version_by_alias("payments", "champion").run_id == ids[1]


def test_an_mlflow_that_does_not_answer_is_a_named_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    tracker = Tracker("http://127.0.0.1:9", "payments")

    with pytest.raises(StoreError, match="run the publish task again"):
        publish(tracker, [0], champion=0, challenger=None)


def _await(url: str, server: "subprocess.Popen[bytes]", *, patience_s: float = 90.0) -> None:
    deadline = time.monotonic() + patience_s
    while True:
        try:
            urllib.request.urlopen(f"{url}/health", timeout=5).close()
        except (urllib.error.URLError, TimeoutError) as error:
            if server.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"mlflow server: exit status {server.poll()}") from error
            time.sleep(0.2)
        else:
            return


@pytest.fixture(scope="session")
def mlflow_url(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    """A real MLflow server with a SQLite store on a free port of loopback."""
    folder = tmp_path_factory.mktemp("mlflow")
    port = choose({"mlflow": 0})["mlflow"]
    url = f"http://127.0.0.1:{port}"
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--workers", "1"),
        *("--host", "127.0.0.1", "--port", str(port)),
        *("--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}"),
        *("--artifacts-destination", str(folder / "artifacts")),
    ]
    quiet = {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "PYTHONWARNINGS": "ignore",
    }
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            command,
            env=os.environ | quiet,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _await(url, server)
        yield url
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)
        server.wait(20)


def test_a_server_is_told_in_seconds_and_only_once(mlflow_url: str) -> None:
    tracker = Tracker(mlflow_url, "payments")
    publish(tracker, [0], champion=0, challenger=None)

    began = time.monotonic()
    first = publish(tracker, [0, 1, 2], champion=1, challenger=2)
    took_s = time.monotonic() - began
    again = publish(tracker, [0, 1, 2], champion=1, challenger=2)

    client = tracker.client()
    assert took_s < 15  # two candidates: about two seconds on an idle core
    assert again == first
    champion = client.get_model_version_by_alias("payments", "champion")
    assert (champion.run_id, champion.tags["generation"]) == (first[1], "1")
    assert client.get_model_version_by_alias("payments", "challenger").run_id == first[2]
    assert {client.get_run(run).info.status for run in first} == {"FINISHED"}
    stored = Path(client.download_artifacts(first[2], "model/artefact.tar")).read_bytes()
    assert stored == record(2).content()


def test_the_spine_tells_of_the_baseline_but_not_of_a_generation_without_a_verdict(
    database: Database, mlflow_url: str
) -> None:
    begun = datetime(2026, 3, 1, tzinfo=UTC)
    flow.begin(database, COINS, now=begun, seed=11)
    now = begun
    for day in range(1, 4):
        now = begun + timedelta(days=day)
        flow.catch_up(database, COINS, until=now, holder="test")
        flow.settle(database, COINS, as_of=now, holder="test")
    (number, *_) = flow.plan_generations(database, COINS, cutoff=now, seed=11)
    flow.train_generation(database, COINS, number, holder="test")

    flow.track(database, COINS, mlflow_url)

    tracker = Tracker(mlflow_url, COINS.name)
    experiment = tracker.client().get_experiment_by_name(COINS.name)
    assert experiment is not None
    runs = tracker.client().search_runs([experiment.experiment_id])
    assert [run.data.tags["generation"] for run in runs] == ["0"]


def test_a_run_carries_what_its_cycle_showed_and_the_verdicts(
    database: Database, mlflow_url: str
) -> None:
    domain = replace(COINS, name="coins_in_cycles")
    begun = datetime(2026, 3, 1, tzinfo=UTC)
    flow.begin(database, domain, now=begun, seed=11)
    now = begun
    for day in range(1, 4):
        now = begun + timedelta(days=day)
        flow.catch_up(database, domain, until=now, holder="test")
        flow.settle(database, domain, as_of=now, holder="test")
    for number in flow.plan_generations(database, domain, cutoff=now, seed=11):
        flow.train_generation(database, domain, number, holder="test")
        flow.evaluate_generation(database, domain, number, holder="test")
    flow.judge_cutoff(database, domain, cutoff=now, holder="test")
    flow.diagnose(database, domain, cutoff=now)

    flow.track(database, domain, mlflow_url)

    tracker = Tracker(mlflow_url, domain.name)
    experiment = tracker.client().get_experiment_by_name(domain.name)
    assert experiment is not None
    runs = tracker.client().search_runs([experiment.experiment_id])
    (run,) = [each for each in runs if each.data.tags["generation"] == "1"]
    assert run.data.tags["oscillation_own"] == "inconclusive"
    assert run.data.tags["oscillation_deployed"] == "inconclusive"
    assert {"cycle_value", "cycle_value_se", "deployed_value"} <= set(run.data.metrics)
