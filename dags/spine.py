"""Airflow wiring that every domain shares: decide, settle, and a new generation.

A task body is one call of the spine; it imports it inside, so that a file parses in milliseconds.
XCom carries generation numbers only. What is due is read from the store: a run that was lost,
merged or doubled changes nothing. `DECISIONS_SCHEDULE=off` leaves every DAG to be triggered, by
`decisions run` or by hand, for a day given as the run's logical date or `run_after`.
`DECISIONS_RETRIES` (2) is for tests, which should not wait for delays.
"""

# Airflow injects `dag_run` and `ti` by name, and `>>` is its way to draw an edge.
# pyright: reportCallIssue=false, reportUnusedExpression=false

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG, Asset, dag, task

if TYPE_CHECKING:
    from airflow.sdk.types import DagRunProtocol as DagRun
    from airflow.sdk.types import RuntimeTaskInstanceProtocol as TaskInstance

    from decisions.domain import Domain
else:
    DagRun = TaskInstance = Any

USUAL: dict[str, Any] = {
    "start_date": datetime(2019, 11, 1, tzinfo=UTC),
    "catchup": False,
    "max_active_runs": 1,
}
RETRY: dict[str, Any] = {
    "retries": int(os.environ.get("DECISIONS_RETRIES") or 2),
    "retry_delay": timedelta(seconds=20),
    "retry_exponential_backoff": True,
    "max_retry_delay": timedelta(minutes=5),
}


def cutoff_of(dag_run: DagRun) -> datetime:
    """The time a run stands for: nothing observed later is used, whenever it really runs."""
    return dag_run.logical_date or dag_run.run_after


def holder_of(ti: TaskInstance) -> str:
    """A name that a task keeps over tries and runs, so that it takes over from a killed one.

    One run is active at a time. Should two be, the older one's token is stale: it writes nothing.
    """
    return f"{ti.dag_id}/{ti.task_id}/{ti.map_index}"


def _schedule(cron: str | None) -> str | None:
    return None if os.environ.get("DECISIONS_SCHEDULE") == "off" else cron


def decide_dag(
    name: str, domain: Callable[[], "Domain"], *, schedule: str | None, doc: str
) -> DAG:
    """Receives the units of every day that is due and decides them."""
    decided = Asset(f"{name}_decisions")

    @task(outlets=[decided], **RETRY)
    def decide(dag_run: DagRun, ti: TaskInstance) -> None:
        from edge import database, seed

        from decisions import flow

        until, holder = cutoff_of(dag_run), holder_of(ti)
        flow.decide_due(database(), domain(), until=until, seed=seed(), holder=holder)

    @dag(f"{name}_decide", schedule=_schedule(schedule), tags=[name], doc_md=doc, **USUAL)
    def wiring() -> None:
        decide()

    return wiring()


def settle_dag(
    name: str, domain: Callable[[], "Domain"], *, schedule: str | None, doc: str
) -> DAG:
    """Stores the outcomes that became known."""

    @task(outlets=[Asset(f"{name}_outcomes")], **RETRY)
    def settle(dag_run: DagRun, ti: TaskInstance) -> None:
        from edge import database

        from decisions import flow

        flow.settle_due(database(), domain(), as_of=cutoff_of(dag_run), holder=holder_of(ti))

    @dag(f"{name}_settle", schedule=_schedule(schedule), tags=[name], doc_md=doc, **USUAL)
    def wiring() -> None:
        settle()

    return wiring()


def generation_dag(
    name: str, domain: Callable[[], "Domain"], *, schedule: str | None, doc: str
) -> DAG:
    """Trains the candidates of a cut-off side by side, judges them together, diagnoses the cycle.

    A cut-off without a candidate is diagnosed as well: what is deployed goes on.
    MLflow and those who want alerts are told of it, neither waiting for the other.
    """

    @task(**RETRY)
    def plan(dag_run: DagRun, ti: TaskInstance) -> list[int]:
        from edge import database, seed

        from decisions import flow

        cutoff, holder = cutoff_of(dag_run), holder_of(ti)
        return flow.plan_cutoff(database(), domain(), cutoff=cutoff, seed=seed(), holder=holder)

    @task(**RETRY)
    def train(number: int, ti: TaskInstance) -> int:
        from edge import database

        from decisions import flow

        run = {
            "dag": ti.dag_id,
            "run": ti.run_id,
            "task": ti.task_id,
            "map_index": -1 if ti.map_index is None else ti.map_index,
        }
        return flow.train_generation(database(), domain(), number, holder=holder_of(ti), run=run)

    @task(**RETRY)
    def evaluate(number: int, ti: TaskInstance) -> int:
        from edge import database

        from decisions import flow

        return flow.evaluate_generation(database(), domain(), number, holder=holder_of(ti))

    @task(outlets=[Asset(f"{name}_champion")], trigger_rule="none_failed", **RETRY)
    def judge(dag_run: DagRun, ti: TaskInstance) -> None:
        from edge import database

        from decisions import flow

        flow.judge_cutoff(database(), domain(), cutoff=cutoff_of(dag_run), holder=holder_of(ti))

    @task(**RETRY)
    def diagnose(dag_run: DagRun) -> None:
        from edge import database

        from decisions import flow

        flow.diagnose(database(), domain(), cutoff=cutoff_of(dag_run))

    @task(**RETRY)
    def publish() -> None:
        from edge import database, mlflow_url

        from decisions import flow

        flow.track(database(), domain(), mlflow_url())

    @task(**RETRY)
    def alert(dag_run: DagRun) -> None:
        import alerts
        from edge import database

        alerts.tell(database(), domain(), now=cutoff_of(dag_run))

    @dag(f"{name}_generation", schedule=_schedule(schedule), tags=[name], doc_md=doc, **USUAL)
    def wiring() -> None:
        trained = train.expand(number=plan())
        evaluate.expand(number=trained) >> judge() >> diagnose() >> [publish(), alert()]

    return wiring()
