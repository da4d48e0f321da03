"""MLflow mirrors the store: once a generation, whatever is published how often."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from decisions.errors import StoreError
from decisions.evaluation import Estimate, Evaluation
from decisions.gate import Reason, Verdict
from decisions.store import artifacts
from decisions.store.tracking import Record, Tracker

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
            config={}, content=artifacts.pack({"policy.json": b"{}"}),
        )  # fmt: skip
    return Record(
        number=number,
        policy="squarecb",
        parent=0,
        cutoff=AT + timedelta(days=number),
        seed=1,
        code_version="1",
        config={"window_hours": 24.0},
        content=artifacts.pack({"policy.json": str(number).encode()}),
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
    assert run.data.tags["artefact_sha256"] == artifacts.digest(record(1).content)
    names = {item.path for item in client.list_artifacts(first[1])}
    assert names >= {"value_by_generation.png", "verdict.json", "model"}
    inside = {item.path for item in client.list_artifacts(first[1], "model")}
    assert inside == {"model/MLmodel", "model/SHA256", "model/files"}


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


def test_an_mlflow_that_does_not_answer_is_a_named_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    tracker = Tracker("http://127.0.0.1:9", "payments")

    with pytest.raises(StoreError, match="run the publish task again"):
        publish(tracker, [0], champion=0, challenger=None)
