"""A registered model acts as the ledger's policy does, in every domain."""

from datetime import UTC, datetime
from pathlib import Path

import mlflow
import numpy as np
import polars as pl
import pytest

from decisions.actions import ActionBox
from decisions.domain import Domain
from decisions.domains import all_domains
from decisions.errors import ArtifactAltered
from decisions.seeds import RowKeys, stream
from decisions.store import artifacts
from decisions.store.tracking import Record, Tracker

AT = datetime(2026, 1, 2, tzinfo=UTC)
# MLflow 3.17 asks SQLAlchemy 2.1 for a loader that 2.1 deprecates, and warns of its own types.
pytestmark = [
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy"),
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType"),
]


def published(domain: Domain, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Tracker:
    """An MLflow store that holds the domain's baseline as champion."""
    tracker = Tracker(f"sqlite:///{folder}/mlflow.db", domain.name, (folder / "files").as_uri())
    record = Record(
        number=0,
        policy="baseline",
        parent=None,
        cutoff=AT,
        seed=1,
        code_version="1",
        config={},
        content=lambda: artifacts.pack(domain.dump(domain.baseline)),
    )
    tracker.publish(
        [record],
        context=domain.observe(pl.LazyFrame(schema=domain.units)).collect_schema(),
        actions=domain.actions,
        reward=domain.reward,
        champion=0,
        challenger=None,
    )
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracker.uri)
    return tracker


@pytest.mark.parametrize("domain", all_domains(), ids=lambda domain: domain.name)
def test_mlflow_loads_the_champion_and_it_acts_as_the_policy_does(
    domain: Domain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published(domain, tmp_path, monkeypatch)
    context = domain.observe(domain.sample(20, stream(3, domain.name)).lazy()).collect()

    model = mlflow.pyfunc.load_model(f"models:/{domain.name}@champion")
    found = model.predict(context.to_pandas(), params={"seed": 5, "first": 640})

    keys = RowKeys(5, np.arange(640, 660))
    draw = domain.baseline.act(context, domain.eligible(context), keys)
    action = draw.action if isinstance(domain.actions, ActionBox) else draw.action[:, 0]
    np.testing.assert_array_equal(np.array(found["action"].to_list()), action)
    np.testing.assert_array_equal(found["propensity"], draw.propensity)
    assert len(model.predict(context.to_pandas())) == 20


def test_a_model_whose_bytes_were_changed_is_not_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (domain,) = (each for each in all_domains() if each.name == "payments")
    published(domain, tmp_path, monkeypatch)
    (stored,) = (tmp_path / "files").rglob("artefact.tar")
    stored.write_bytes(stored.read_bytes() + b" ")

    with pytest.raises(ArtifactAltered, match="recorded was"):
        mlflow.pyfunc.load_model("models:/payments@champion")
