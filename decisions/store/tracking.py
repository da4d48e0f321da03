"""MLflow's mirror of the store: an experiment a domain, a run a generation, champion aliases.

SQL is the truth; this copies it for people who look for runs there. Everything is found by tag
before it is made, so publishing twice changes nothing.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from platform import python_version
from tempfile import TemporaryDirectory
from typing import cast

import polars as pl
from matplotlib.figure import Figure
from mlflow import MlflowClient
from mlflow.entities import LifecycleStage, Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
from mlflow.types.schema import Array

from decisions.actions import ActionBox, ActionSet
from decisions.errors import StoreError
from decisions.evaluation import Estimate, Evaluation
from decisions.gate import Verdict
from decisions.store import artifacts

_DONE = "FINISHED"


@dataclass(frozen=True, kw_only=True)
class Record:
    """All that MLflow is told about one generation.

    `champion` is the generation it was compared with; `evaluation` and `verdict` are None before
    there are any (generation 0 has none).
    """

    number: int
    policy: str
    parent: int | None
    cutoff: datetime
    seed: int
    code_version: str
    config: Mapping[str, object]
    content: Callable[[], bytes]  # reads the packed artefact; asked for a new run only
    champion: int | None = None
    evaluation: Evaluation | None = None
    verdict: Verdict | None = None
    diagnostics: Mapping[str, float] = field(default_factory=dict[str, float])
    cycle: Mapping[str, float] = field(default_factory=dict[str, float])  # of its own series
    deployed: Mapping[str, float] = field(default_factory=dict[str, float])  # of its cut-off
    oscillation: Mapping[str, str] = field(default_factory=dict[str, str])  # verdict by series
    curve: Sequence[tuple[int, float, float, float]] = ()  # of training: steps, mean, its interval


def _type(dtype: pl.DataType) -> DataType | Array:
    """MLflow's type of a column; whole numbers of every width are "long"."""
    if isinstance(dtype, pl.List):
        return Array(_type(cast("pl.DataType", dtype.inner)))
    if dtype.is_float():
        return DataType.double
    if dtype.is_temporal():
        return DataType.datetime
    if dtype == pl.Boolean():
        return DataType.boolean
    return DataType.long if dtype.is_integer() else DataType.string


def signature(context: pl.Schema, actions: ActionSet | ActionBox) -> ModelSignature:
    """Context columns in; the action, and the propensity it was drawn with, out.

    An action is an index, or a vector of a box. The parameters are those of `served`.
    """
    action = Array(DataType.double) if isinstance(actions, ActionBox) else DataType.long
    return ModelSignature(
        inputs=Schema([ColSpec(_type(dtype), name) for name, dtype in context.items()]),
        outputs=Schema([ColSpec(action, "action"), ColSpec(DataType.double, "propensity")]),
        params=ParamSchema([ParamSpec(name, DataType.long, 0) for name in ("seed", "first")]),
    )


def value_by_generation(records: Sequence[Record], *, reward: str) -> Figure:
    """Candidate and champion value of each evaluated generation, with their intervals."""
    figure = Figure(figsize=(7, 4), dpi=80)
    axes = figure.subplots()
    shown = [record for record in records if record.evaluation is not None]
    for which, shift, colour in (("champion", -0.12, "0.55"), ("candidate", 0.12, "tab:blue")):
        estimates = [getattr(record.evaluation, which) for record in shown]
        finite = [
            (record.number + shift, estimate)
            for record, estimate in zip(shown, estimates, strict=True)
            if math.isfinite(estimate.lower) and math.isfinite(estimate.upper)
        ]
        if finite:
            axes.errorbar(
                [x for x, _ in finite],
                [estimate.value for _, estimate in finite],
                yerr=[
                    [max(estimate.value - estimate.lower, 0.0) for _, estimate in finite],
                    [max(estimate.upper - estimate.value, 0.0) for _, estimate in finite],
                ],
                fmt="o",
                color=colour,
                capsize=3,
                label=which,
            )
    for record in shown:
        if record.verdict is not None and record.verdict.promoted:
            axes.axvline(record.number, color="tab:green", alpha=0.3, linewidth=6, zorder=0)
    axes.set_xlabel("generation (green: promoted)")
    axes.set_ylabel(reward)
    if axes.get_legend_handles_labels()[0]:
        axes.legend()
    return figure


def _metrics(record: Record) -> dict[str, float]:
    found = {f"diagnostic_{name}": value for name, value in record.diagnostics.items()}
    found |= {f"cycle_{name}": value for name, value in record.cycle.items()}
    found |= {f"deployed_{name}": value for name, value in record.deployed.items()}
    if record.evaluation is not None:
        named: dict[str, Estimate] = {
            "candidate": record.evaluation.candidate,
            "champion": record.evaluation.champion,
            "difference": record.evaluation.difference,
        } | {f"estimate_{name}": e for name, e in record.evaluation.estimates.items()}
        for name, estimate in named.items():
            found |= {
                f"{name}": estimate.value,
                f"{name}_lower": estimate.lower,
                f"{name}_upper": estimate.upper,
                f"{name}_effective_n": estimate.effective_n,
            }
        found |= {f"check_{name}": value for name, value in record.evaluation.checks.items()}
    return {name: float(value) for name, value in found.items() if math.isfinite(value)}


def _learning_curve(record: Record) -> list[Metric]:
    """The mean reward at each step of training that was evaluated, with its interval."""
    at = _milliseconds(record)
    return [
        Metric(f"learning_curve{end}", value, at, step)
        for step, mean, lower, upper in record.curve
        for end, value in (("", mean), ("_lower", lower), ("_upper", upper))
    ]


def _verdict_text(verdict: Verdict) -> str:
    """The verdict as JSON; numbers are texts, for some are infinite."""
    reasons = [
        {
            "rule": reason.rule,
            "measured": None if reason.measured is None else str(reason.measured),
            "low": str(reason.low),
            "high": str(reason.high),
            "kept": reason.kept,
        }
        for reason in verdict.reasons
    ]
    told = {"outcome": verdict.outcome, "note": verdict.note, "reasons": reasons}
    return json.dumps(told, indent=2)


def _milliseconds(record: Record) -> int:
    return int(record.cutoff.timestamp() * 1000)


@dataclass(frozen=True)
class Tracker:
    """One domain's experiment and registered model on one MLflow server, or in one store."""

    uri: str  # http://127.0.0.1:5000, or sqlite:///...
    domain: str
    artifact_location: str | None = None  # None: the server's own

    def client(self) -> MlflowClient:
        """A client of its own: MLflow's global state is left alone."""
        return MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)

    def _experiment(self, client: MlflowClient) -> str:
        found = client.get_experiment_by_name(self.domain)
        if found is not None and found.lifecycle_stage == LifecycleStage.DELETED:
            number = found.experiment_id
            raise StoreError(
                f"the experiment {self.domain} (number {number}) was deleted in MLflow at"
                f" {self.uri}: bring it back with `mlflow experiments restore -x {number}`, or"
                f" remove it for good with `mlflow gc --experiment-ids {number}`, both with"
                " MLFLOW_TRACKING_URI set to that address, and run the publish task again"
            )
        if found is not None:
            return found.experiment_id
        return client.create_experiment(self.domain, artifact_location=self.artifact_location)

    def _runs(self, client: MlflowClient, experiment: str) -> dict[int, Run]:
        """Our run of each generation; others of the experiment are left alone."""
        found: dict[int, Run] = {}
        token: str | None = None
        while token != "":  # the server's sign of the last page is no token
            page = client.search_runs([experiment], max_results=1000, page_token=token)
            found |= {int(run.data.tags["generation"]): run for run in page if self._ours(run)}
            token = cast("str | None", page.token) or ""
        return found

    def _ours(self, run: Run) -> bool:
        tags = run.data.tags
        marked = tags.get("domain") == self.domain or "artefact_sha256" in tags
        return marked and tags.get("generation", "").isdecimal()

    def _versions(self, client: MlflowClient) -> dict[str, str]:
        """The version of the registered model that each run made, by run id."""
        found: dict[str, str] = {}
        token: str | None = None
        while token != "":
            page = client.search_model_versions(
                f"name = '{self.domain}'", max_results=1000, page_token=token
            )
            found |= {str(each.run_id): str(each.version) for each in page}
            token = cast("str | None", page.token) or ""
        return found

    def publish(
        self,
        records: Sequence[Record],
        *,
        context: pl.Schema,
        actions: ActionSet | ActionBox,
        reward: str,
        champion: int,
        challenger: int | None,
    ) -> list[str]:
        """One finished run a record, the model registered, aliases as in SQL; the run ids.

        `records` are in order of number. A run that is finished already is left as it is, one
        that a killed worker left half-done is completed; whatever has no registered version, such
        as one that was deleted, is registered.

        Raises:
            StoreError: MLflow cannot be reached or refuses, or the experiment was deleted there.
        """
        client = self.client()
        form = signature(context, actions)
        try:
            experiment = self._experiment(client)
            aliases = self._aliases(client)
            runs = self._runs(client, experiment)
            versions = self._versions(client)
            for index, record in enumerate(records):
                run = runs.get(record.number)
                if run is None or run.info.status != _DONE:
                    run = run or self._create(client, experiment, record)
                    figure = value_by_generation(records[: index + 1], reward=reward)
                    self._fill(client, run, record, form=form, figure=figure)
                    client.set_terminated(run.info.run_id, _DONE, end_time=_milliseconds(record))
                    runs[record.number] = run
                if run.info.run_id not in versions:
                    versions[run.info.run_id] = self._register(client, run, record)
            ids = {number: run.info.run_id for number, run in runs.items()}
            for alias, number in {"champion": champion, "challenger": challenger}.items():
                version = None if number is None else versions.get(ids.get(number, ""))
                self._point(client, alias, version, present=aliases.get(alias))
        except MlflowException as error:
            raise StoreError(
                f"MLflow at {self.uri} refused: {error.message}; the store is complete without"
                " it, run the publish task again once MLflow answers"
            ) from error
        return [ids[record.number] for record in records]

    def _create(self, client: MlflowClient, experiment: str, record: Record) -> Run:
        return client.create_run(
            experiment,
            start_time=_milliseconds(record),
            tags={"generation": str(record.number), "domain": self.domain},
            run_name=f"generation {record.number}: {record.policy}",
        )

    def _fill(
        self,
        client: MlflowClient,
        run: Run,
        record: Record,
        *,
        form: ModelSignature,
        figure: Figure,
    ) -> None:
        """Everything of a run but its state: one batch of values, one folder of files."""
        at = _milliseconds(record)
        content = record.content()
        digest = artifacts.digest(content)
        parameters = {
            "policy": record.policy,
            "parent": record.parent,
            "champion": record.champion,
            "seed": record.seed,
            "code_version": record.code_version,
            **record.config,
        }
        described = {
            "artefact_sha256": digest,
            "cutoff": record.cutoff.isoformat(),
            "verdict": record.verdict.outcome if record.verdict else "none",
            "note": record.verdict.note if record.verdict else "",
            **{f"oscillation_{name}": said for name, said in record.oscillation.items()},
        }
        client.log_batch(
            run.info.run_id,
            metrics=[
                *(
                    Metric(key, value, at, record.number)
                    for key, value in _metrics(record).items()
                ),
                *_learning_curve(record),
            ],
            params=[Param(key, str(value)[:6000]) for key, value in parameters.items()],
            tags=[RunTag(key, value) for key, value in described.items()],
        )
        model = Model(
            artifact_path="model",
            run_id=run.info.run_id,
            utc_time_created=record.cutoff.isoformat(),
            signature=form,
            model_uuid=digest[:32],
        )
        model.add_flavor(
            "python_function",
            loader_module="decisions.served",
            data="artefact.tar",
            python_version=python_version(),
            config={"domain": self.domain, "artefact_sha256": digest},
        )
        with TemporaryDirectory() as scratch:
            folder = Path(scratch)
            (folder / "model").mkdir()
            (folder / "model" / "artefact.tar").write_bytes(content)
            model.save(str(folder / "model" / "MLmodel"))
            if record.verdict is not None:
                (folder / "verdict.json").write_text(_verdict_text(record.verdict))
            figure.savefig(folder / "value_by_generation.png")
            client.log_artifacts(run.info.run_id, str(folder))

    def _register(self, client: MlflowClient, run: Run, record: Record) -> str:
        version = client.create_model_version(
            self.domain,
            source=f"{run.info.artifact_uri}/model",
            run_id=run.info.run_id,
            tags={"generation": str(record.number)},
            await_creation_for=0,  # an open-source registry makes it at once
        )
        return str(version.version)

    def _aliases(self, client: MlflowClient) -> dict[str, str]:
        """Aliases of the registered model, which is made when there is none."""
        found = client.search_registered_models(f"name = '{self.domain}'")
        registered = found[0] if found else client.create_registered_model(self.domain)
        aliases = cast("dict[str, object]", registered.aliases)
        return {alias: str(version) for alias, version in aliases.items()}

    def _point(
        self, client: MlflowClient, alias: str, version: str | None, *, present: str | None
    ) -> None:
        if version is None and present is not None:
            client.delete_registered_model_alias(self.domain, alias)
        elif version is not None and present != version:
            client.set_registered_model_alias(self.domain, alias, version)
