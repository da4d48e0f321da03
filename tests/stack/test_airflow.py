from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime

import httpx
import pytest

from decisions.errors import StackError
from decisions.stack.airflow import Airflow

DATE = datetime(2026, 3, 2, tzinfo=UTC)


@contextmanager
def answering(handler: Callable[[httpx.Request], httpx.Response]) -> Generator[Airflow]:
    transport = httpx.MockTransport(handler)
    with httpx.Client(base_url="http://airflow/api/v2/", transport=transport) as client:
        yield Airflow(client, lambda: "fresh")


def test_an_expired_token_is_replaced_once() -> None:
    asked: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append(request.headers.get("Authorization", ""))
        fresh = asked[-1] == "Bearer fresh"
        return httpx.Response(200 if fresh else 401, json={"state": "running"})

    with answering(handler) as airflow:
        assert airflow.state("dag", "run") == "running"
        assert airflow.state("dag", "run") == "running"

    assert asked == ["", "Bearer fresh", "Bearer fresh"]


def test_a_login_that_does_not_help_is_an_error() -> None:
    with (
        answering(lambda _: httpx.Response(401, text="no")) as airflow,
        pytest.raises(StackError, match=r"401 .*no"),
    ):
        airflow.state("dag", "run")


def test_only_not_found_means_that_there_is_no_run() -> None:
    with answering(lambda _: httpx.Response(404)) as airflow:
        assert airflow.state("dag", "run") is None
    with (
        answering(lambda _: httpx.Response(503, text="database is locked")) as airflow,
        pytest.raises(StackError, match=r"503 .*/dags/dag/dagRuns/run: database is locked"),
    ):
        airflow.state("dag", "run")


def test_a_run_that_does_not_end_is_waited_for_so_long_and_no_longer() -> None:
    tasks = {"task_instances": [{"task_id": "train", "state": "running"}]}

    def handler(request: httpx.Request) -> httpx.Response:
        listed = request.url.path.endswith("taskInstances")
        return httpx.Response(200, json=tasks if listed else {"state": "running"})

    with (
        answering(handler) as airflow,
        pytest.raises(StackError, match=r"(?s)not ended after 0 s: train running.*--patience"),
    ):
        airflow.complete("dag", DATE, lambda _: None, resumed=False, patience_s=0.1)
