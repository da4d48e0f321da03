"""Airflow's REST API, as far as the main job needs it: run a DAG for a date and wait for it."""

import json
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from decisions.errors import StackError
from decisions.stack.services import USER, login_file

_UNAUTHORISED, _NOT_FOUND, _CONFLICT = 401, 404, 409
POLL_S = 0.25
PATIENCE_S = 3600.0  # how long a run may take at all
TIMEOUT_S = 120.0  # of one question: Airflow is slow on a crowded machine
QUIET_S = 15.0  # how long a run may take before its progress is told again


@dataclass(frozen=True)
class Airflow:
    """A client that is signed in; `login` gives a new token when the one it has has expired."""

    client: httpx.Client
    login: Callable[[], str]

    def _ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            answer = self.client.request(method, path, **options)
            if answer.status_code == _UNAUTHORISED:
                self.client.headers["Authorization"] = f"Bearer {self.login()}"
                answer = self.client.request(method, path, **options)
        except httpx.HTTPError as error:
            raise StackError(
                f"Airflow does not answer at {self.client.base_url}: {error!r}; see"
                " `decisions status` and logs/airflow-api.log"
            ) from error
        return answer

    def _get(self, path: str, **parameters: str | int) -> dict[str, Any]:
        return _content(self._ask("GET", path, params=parameters))

    def import_errors(self) -> dict[str, str]:
        """The traceback of each DAG file that Airflow could not read, by file name."""
        errors = self._get("importErrors")["import_errors"]
        return {error["filename"]: error["stack_trace"] for error in errors}

    def await_dags(self, names: set[str], *, patience_s: float = 90.0) -> None:
        """Returns once Airflow knows all of the DAGs.

        Raises:
            StackError: one has an import error, or did not appear in time.
        """
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            known = {dag["dag_id"] for dag in self._get("dags", limit=100)["dags"]}
            if names <= known:
                return
            for file, trace in self.import_errors().items():
                raise StackError(f"the DAG file {file} does not import:\n{trace}")
            time.sleep(0.5)
        raise StackError(
            f"Airflow has not found the DAGs {sorted(names)} after {patience_s:.0f} s; see"
            " logs/airflow-dag-processor.log"
        )

    def state(self, dag: str, run: str) -> str | None:
        """The state of a DAG run, or None when there is no such run."""
        answer = self._ask("GET", f"dags/{dag}/dagRuns/{run}")
        return None if answer.status_code == _NOT_FOUND else _content(answer)["state"]

    def forget(self, dag: str, run: str) -> None:
        """Removes a DAG run, also one that a killed scheduler left as running."""
        path = f"dags/{dag}/dagRuns/{run}"
        self._ask("PATCH", path, json={"state": "failed"})
        answer = self._ask("DELETE", path)
        if answer.is_error and answer.status_code != _NOT_FOUND:
            raise StackError(f"Airflow keeps run {run} of {dag}: {answer.text[:300]}")

    def trigger(self, dag: str, run: str, date: datetime) -> None:
        """Queues a run that stands for `date`."""
        body = {"dag_run_id": run, "logical_date": date.isoformat(), "run_after": date.isoformat()}
        answer = self._ask("POST", f"dags/{dag}/dagRuns", json=body)
        if answer.is_error and answer.status_code != _CONFLICT:
            raise StackError(
                f"Airflow refused to run {dag} for {date:%Y-%m-%d}: {answer.text[:300]}"
            )

    def tasks(self, dag: str, run: str) -> list[dict[str, Any]]:
        """The task instances of a run."""
        return self._get(f"dags/{dag}/dagRuns/{run}/taskInstances", limit=100)["task_instances"]

    def log_tail(self, task: dict[str, Any], lines: int = 25) -> str:
        """The end of the log of a task's last try."""
        path = (
            f"dags/{task['dag_id']}/dagRuns/{task['dag_run_id']}/taskInstances/{task['task_id']}"
            f"/logs/{max(task['try_number'], 1)}"
        )
        content = self._get(path, map_index=task["map_index"], full_content="true")["content"]
        kept = [line for line in _log_lines(content) if line.strip()]
        return "\n".join(kept[-lines:])

    def complete(
        self,
        dag: str,
        date: datetime,
        report: Callable[[str], None],
        *,
        resumed: bool,
        patience_s: float = PATIENCE_S,
    ) -> bool:
        """Runs `dag` for `date` until it succeeds; False when it had succeeded before.

        `resumed`: no worker of an earlier stack is alive, so that an unfinished run is stale, and
        is begun anew; its finished steps find their results.

        Raises:
            StackError: the run failed, and the message holds the failed task's log; or it has
                not ended after `patience_s`.
        """
        run = f"decisions__{date:%Y-%m-%dT%H%M}"
        state = self.state(dag, run)
        if state == "success":
            return False
        if state == "failed" or (state is not None and resumed):
            self.forget(dag, run)
            state = None
        if state is None:
            self.trigger(dag, run, date)
        self._await(dag, run, date, report, patience_s)
        return True

    def _await(
        self,
        dag: str,
        run: str,
        date: datetime,
        report: Callable[[str], None],
        patience_s: float,
    ) -> None:
        began = told = time.monotonic()
        while (state := self.state(dag, run)) != "success":
            if state == "failed" or state is None:
                raise StackError(self._failure(dag, run, date))
            if time.monotonic() - began > patience_s:
                raise StackError(
                    f"{dag} for {date:%Y-%m-%d} has not ended after {patience_s:.0f} s:"
                    f" {_progress(self.tasks(dag, run))}. See logs/airflow-scheduler.log; with a"
                    " larger --patience the same command waits longer"
                )
            if time.monotonic() - told > QUIET_S:
                told = time.monotonic()
                report(_progress(self.tasks(dag, run)))
            time.sleep(POLL_S)

    def _failure(self, dag: str, run: str, date: datetime) -> str:
        failed = [task for task in self.tasks(dag, run) if task["state"] == "failed"]
        if not failed:
            return f"{dag} failed for {date:%Y-%m-%d}; no task of it did"
        task = failed[0]
        return (
            f"{dag} failed for {date:%Y-%m-%d} in task {task['task_id']}, try"
            f" {task['try_number']}. Its log ends with:\n{self.log_tail(task)}\n"
            "What was done before is kept: once the cause is removed, the same command resumes."
        )


def _content(answer: httpx.Response) -> dict[str, Any]:
    if answer.is_error:
        raise StackError(
            f"Airflow answers {answer.status_code} to {answer.request.url.path}:"
            f" {answer.text[:300]}"
        )
    return answer.json()


def _log_lines(content: str | list[Any]) -> Iterator[str]:
    """The lines of a task log, which the API gives as text or as structured events."""
    if isinstance(content, str):
        yield from content.splitlines()
        return
    for event in content:
        if isinstance(event, str):
            yield event
            continue
        yield str(event.get("event", ""))
        details: list[dict[str, Any]] = event.get("error_detail") or []
        for error in details:
            yield f"{error.get('exc_type')}: {error.get('exc_value')}"


def _progress(tasks: list[dict[str, Any]]) -> str:
    states = [f"{task['task_id']} {task['state'] or 'waits'}" for task in tasks]
    counts = {text: states.count(text) for text in dict.fromkeys(states)}
    return ", ".join(text if n == 1 else f"{n} x {text}" for text, n in counts.items()) or "queued"


def password(home: Path) -> str:
    """The generated password of the local Airflow's one user.

    Raises:
        StackError: no stack has run in `home`.
    """
    try:
        return json.loads(login_file(home).read_text())[USER]
    except (OSError, KeyError, ValueError) as error:
        raise StackError(f"no Airflow login in {home}: start the stack first") from error


@contextmanager
def sign_in(url: str, home: Path) -> Generator[Airflow]:
    """A client for the local Airflow at `url`, closed at the end of the block.

    Raises:
        StackError: it does not answer, or refuses the login.
    """

    def login() -> str:
        body = {"username": USER, "password": password(home)}
        try:
            answer = httpx.post(f"{url}/auth/token", json=body, timeout=TIMEOUT_S)
            answer.raise_for_status()
        except httpx.HTTPError as error:
            raise StackError(f"cannot sign in to Airflow at {url}: {error!r}") from error
        return answer.json()["access_token"]

    headers = {"Authorization": f"Bearer {login()}"}
    with httpx.Client(base_url=f"{url}/api/v2/", headers=headers, timeout=TIMEOUT_S) as client:
        yield Airflow(client, login)
