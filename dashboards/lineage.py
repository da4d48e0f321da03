"""Where a generation or a decision came from outside the database: Airflow's run, MLflow's run."""

import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

import httpx
import streamlit as st
from quoting import code

from decisions.settings import settings

_PATIENCE_S = 1.5
_BATCH = re.compile(r"(\w+)/(\d{4}-\d{2}-\d{2}T\d{2}:\d{2})")


def trained_by(domain: str, cutoff: datetime, details: Mapping[str, Any]) -> str:
    """The Airflow run that trained a generation, as Markdown; by its date where that is all."""
    known = details.get("airflow")
    if isinstance(known, dict) and known.get("run"):
        return _airflow(str(known.get("dag")), str(known["run"]))
    return _airflow_of_date(f"{domain}_generation", f"{cutoff:%Y-%m-%d %H:%M} UTC")


def decided_by(domain: str, batch: str) -> str:
    """The Airflow run that stored a batch of decisions, as Markdown, by the batch's name."""
    found = _BATCH.match(batch)
    step, date = found.groups() if found else ("decide", "unknown")
    dag = f"{domain}_generation" if step == "ingest" else f"{domain}_decide"
    return _airflow_of_date(dag, f"{date.replace('T', ' ')} UTC")


def _airflow(dag: str, run: str) -> str:
    base = settings().airflow_url
    words = f"{code(run)} of {code(dag)}"
    if base is None:
        return words
    return f"[{words}]({base}/dags/{quote(dag)}/runs/{quote(run)})"


def _airflow_of_date(dag: str, date: str) -> str:
    base = settings().airflow_url
    words = f"the run of {code(dag)} for {date}"
    return words if base is None else f"{words} ([all its runs]({base}/dags/{quote(dag)}/runs))"


def tracked(domain: str, number: int) -> str:
    """The MLflow run of a generation, as Markdown; how to find it where MLflow does not answer."""
    base = settings().mlflow_url
    words = f"run “generation {number}” of the experiment {code(domain)}"
    if base is None:
        return f"{words} (no MLflow is configured here: DECISIONS_MLFLOW_URL)"
    found = _mlflow_run(base, domain, number)
    if found is None:
        return f"{words} (not found at {base}: it is published after the verdict)"
    experiment, run = found
    return f"[{code(run)}]({base}/#/experiments/{quote(experiment)}/runs/{quote(run)}), {words}"


@st.cache_data(ttl="60s", show_spinner=False, scope="session")
def _mlflow_run(base: str, domain: str, number: int) -> tuple[str, str] | None:
    """The ids of the experiment and run that mirror a generation; None without an answer."""
    api = f"{base}/api/2.0/mlflow"
    try:
        with httpx.Client(timeout=_PATIENCE_S) as client:
            asked = client.get(
                f"{api}/experiments/get-by-name", params={"experiment_name": domain}
            )
            experiment = str(asked.raise_for_status().json()["experiment"]["experiment_id"])
            wanted = {
                "experiment_ids": [experiment],
                "filter": f"tags.generation = '{number}'",
                "max_results": 1,
            }
            answer = client.post(f"{api}/runs/search", json=wanted).raise_for_status().json()
        return experiment, str(answer["runs"][0]["info"]["run_id"])
    except (httpx.HTTPError, KeyError, IndexError, json.JSONDecodeError):
        return None
