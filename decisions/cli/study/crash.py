"""Kills workers at random moments, lets others resume, compares with a life never disturbed."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from decisions import flow
from decisions.cli.report import Workbench
from decisions.domain import Domain
from decisions.errors import StackError
from decisions.flow import cutoffs, deciding, living
from decisions.gate import GateRule
from decisions.seeds import stream
from decisions.settings import settings
from decisions.stack.postgres import create_database, running_postgres
from decisions.store import audit, generations
from decisions.store.database import Database, migrate

START = datetime(2026, 1, 5, tzinfo=UTC)
SEED = 31
DAYS_AT_FIRST, PER_DAY, BATCH = 4, 400, 100
GROUP = 20  # kills that share one database
LONGEST_LIFE_S = 3.0  # of a worker after its imports, in the write path
LONGEST_DAG_S = 12.0
LONGEST_IN_STEP_S = 0.1  # after a worker has entered the step in which it is to be killed
LEAST_GENERATIONS = 2  # a database, for kills to have met them
ENOUGH = 40  # kills, of which each step should have met one
READY = "ready\n"
STEPS = ("arrive", "decide", "settle", "train", "evaluate", "judge")
_STEP_FUNCTIONS = {
    "arrive": "arrive",
    "arrive_late": "arrive",
    "decide": "decide",
    "settle": "settle",
    "train_generation": "train",
    "evaluate_generation": "evaluate",
    "judge_cutoff": "judge",
}
_STEP_FILE = "DECISIONS_CRASH_STEPS"  # where a worker writes down which step it is in
WORKER = "decisions.cli.study.crash"
_DAGS = Path(__file__).parents[3] / "dags"
_DAG_FILE = '''"""Airflow DAGs of the crash study."""

from spine import decide_dag, generation_dag, settle_dag

from decisions.cli.study.crash import small_payments

decide = decide_dag("payments", small_payments, schedule=None, doc="")
settle = settle_dag("payments", small_payments, schedule=None, doc="")
generation = generation_dag("payments", small_payments, schedule=None, doc="")
'''
_DAG_WORKER = """
import sys
from datetime import datetime
from crash_dags import decide, generation, settle
from decisions.cli.study.crash import cutoffs_left
days = cutoffs_left(int(sys.argv[1]))
sys.stdout.write("ready\\n")
sys.stdout.flush()
for day in days:
    for dag in (decide, settle, generation):
        run = dag.test(run_after=datetime.fromisoformat(day), logical_date=None)
        if str(run.state) != "success":
            sys.exit(3)
"""
TABLES = (
    "unit",
    "decision",
    "outcome",
    "generation",
    "training",
    "evaluation",
    "verdict",
    "promotion",
    "diagnostic",
    "quarantine",
    "artifact",
)


def small_payments() -> Domain:
    """Payments with few attempts, small trees, a maturity of hours and a gate that lets all pass.

    A day takes a few seconds, and from the third day on each day trains,
    evaluates, judges and promotes.
    """
    from decisions.bandits.oracles import LightGBMConfig
    from decisions.bandits.policies import SquareCB
    from decisions.domains.payments import DOMAIN, WORLD
    from decisions.domains.payments.training import Recipe

    few = LightGBMConfig(trees=10, leaves=7)
    quick = Recipe(rule=SquareCB(300.0), explore_share=0.5, oracle=few)
    return replace(
        DOMAIN,
        world=replace(WORLD, per_day=PER_DAY),
        candidates={"squarecb": quick},
        gate=GateRule(margin=-1.0),
        maturity=timedelta(hours=2),
        holdout=timedelta(days=1),
        window=timedelta(days=3),
    )


def live(db: Database, days: int) -> None:
    """All steps of `days` days, from the first that is not finished on."""
    domain = small_payments()
    deciding.BATCH = BATCH
    flow.begin(db, domain, now=START, seed=SEED)
    for now in unfinished(db, days):
        flow.process_cutoff(db, domain, cutoff=now, seed=SEED, holder="worker")


def unfinished(db: Database, days: int) -> list[datetime]:
    """The ends of the days after the last whose generation has its diagnostics, the last step."""
    measured = db.read("diagnostic/all", domain="payments")["number"]
    finished = [
        (each.cutoff - START).days
        for each in generations.generations(db, "payments")
        if each.number in measured
    ]
    return [START + timedelta(days=day) for day in range(max(finished, default=0) + 1, days + 1)]


def note_steps() -> None:
    """Makes this process write down each step that it enters or leaves, for whoever kills it."""
    path = os.environ.get(_STEP_FILE)
    if path is None:
        return

    def noting(step: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*arguments: Any, **named: Any) -> Any:
            Path(path).write_text(step)
            try:
                return function(*arguments, **named)
            finally:
                Path(path).write_text("between")

        return noted

    for name, step in _STEP_FUNCTIONS.items():
        noted = noting(step, getattr(flow, name))
        for module in (flow, cutoffs, living):  # the others call steps by their names, too
            if hasattr(module, name):
                setattr(module, name, noted)


def cutoffs_left(days: int) -> list[str]:
    """What a DAG worker still has to do, as it runs in a process prepared for this study."""
    note_steps()
    deciding.BATCH = BATCH
    db = Database(os.environ["DECISIONS_DATABASE_URL"])
    return [each.isoformat() for each in unfinished(db, days)]


@dataclass(frozen=True, kw_only=True)
class Found:
    """How a disturbed life differs from the undisturbed one, in rows; and the first bad seal."""

    lost: int
    duplicated: int
    half_written: int
    altered: int
    seals: str


def compare(disturbed: Database, undisturbed: Database) -> Found:
    """Rows by content: `lost` only undisturbed, `altered` same count, other content.

    `half_written` counts seals whose rows are not all there.
    """
    lost = duplicated = altered = half = 0
    for table in TABLES:
        here, there = (_rows(db, table) for db in (disturbed, undisturbed))
        missing = there.join(here, on="row", how="anti").height
        extra = here.join(there, on="row", how="anti").height
        altered += min(missing, extra)
        lost += max(0, missing - extra)
        duplicated += max(0, extra - missing) + here.height - here["row"].n_unique()
        half += _incomplete(disturbed, table)
    broken = audit.verify(disturbed).broken
    return Found(
        lost=lost,
        duplicated=duplicated,
        half_written=half,
        altered=altered,
        seals="verify" if broken is None else str(broken),
    )


def _rows(db: Database, table: str) -> pl.DataFrame:
    """One text a row, without what differs for good: a resumed batch's seal, Airflow's run."""
    with db.reading() as connection:
        rows = connection.exec_driver_sql(
            f"select ((to_jsonb(t) - 'seal') #- '{{details,airflow}}')::text from {table} as t"  # noqa: S608
        ).fetchall()
    return pl.DataFrame({"row": [row[0] for row in rows]}, schema={"row": pl.String()})


def _incomplete(db: Database, table: str) -> int:
    if table == "artifact":
        return 0  # bytes by their digest; the sealed row of `training` names them
    counted = (
        f"select count(*) from seal as s where s.kind = '{table}' and s.row_count <>"  # noqa: S608
        f" (select count(*) from {table} as t where t.seal = s.number)"
    )
    with db.reading() as connection:
        return int(connection.exec_driver_sql(counted).scalar_one())


@contextmanager
def _server(scratch: Path) -> Generator[str]:
    """A configured server, or an embedded one of the study's own."""
    given = settings().database_url
    if given is not None:
        yield given
    else:
        with running_postgres(scratch / "postgres") as url:
            yield url


def _killed(
    command: list[str],
    environment: dict[str, str],
    *,
    after_s: float,
    within: tuple[Path, str] | None = None,
) -> bool:
    """Starts a worker, kills it so long after it is ready; False when it had ended before.

    With `within`, a file and a step, the time begins when the worker enters that step.
    """
    worker = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    assert worker.stdout is not None
    line = ""
    while line != READY:
        line = worker.stdout.readline()
        if not line:
            _, errors = worker.communicate()
            raise StackError(f"a worker ended before it was ready: {errors[-2000:]}")
    while within is not None and worker.poll() is None and within[0].read_text() != within[1]:
        time.sleep(0.001)
    try:
        worker.wait(timeout=after_s)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(worker.pid, signal.SIGKILL)
        worker.communicate()
        return True
    _, errors = worker.communicate()
    if worker.returncode:
        raise StackError(f"a worker failed on its own: {errors[-3000:]}")
    return False


def _disturb(
    bench: Workbench,
    servers: "_Servers",
    *,
    name: str,
    group: int,
    kills: int,
    longest_s: float,
    command: Callable[[int], list[str]],
    environment: dict[str, str],
    scratch: Path,
) -> dict[str, Any]:
    """Kills `kills` workers over one database, ends the work, compares; days grow as needed."""
    disturbed = servers.fresh(f"crash_{name}_{group}")
    note = scratch / "step"
    environment = environment | {
        "DECISIONS_DATABASE_URL": disturbed.url,
        _STEP_FILE: str(note),
    }
    landed = Counter[str]()
    rng: np.random.Generator = stream(SEED, "crash", name, str(group))
    days = DAYS_AT_FIRST
    for kill in bench.track(range(kills), f"kills: {name} {group + 1}"):
        note.write_text("between")
        within = (note, STEPS[kill // 2 % len(STEPS)]) if kill % 2 else None
        longest = longest_s if within is None else LONGEST_IN_STEP_S
        while not _killed(
            command(days), environment, after_s=float(rng.uniform(0.0, longest)), within=within
        ):
            days += 2
            note.write_text("between")
        landed[note.read_text() or "between"] += 1
    subprocess.run(command(days), env=environment, check=True, capture_output=True)
    found = compare(disturbed, servers.undisturbed(days))
    rows = {table: _rows(disturbed, table).height for table in TABLES}
    by_gate = [
        row
        for row in disturbed.read("promotion/all").iter_rows(named=True)
        if row["promoted_by"] == "gate"
    ]
    return {
        "kills": kills,
        "days": days,
        "rows": rows,
        "landed": dict(landed),
        "promoted_by_gate": len(by_gate),
        **vars(found),
    }


@dataclass
class _Servers:
    """Databases on one server, each made once; a life of so many days is lived once."""

    url: str
    lived: dict[int, Database] = field(default_factory=dict[int, Database])

    def fresh(self, name: str) -> Database:
        """A new migrated database."""
        stamp = f"{os.getpid()}_{time.time_ns() % 1_000_000_000}"
        made = Database(create_database(self.url, f"{name}_{stamp}"))
        migrate(made)
        return made

    def undisturbed(self, days: int) -> Database:
        """A life of `days` days that nobody killed."""
        if days not in self.lived:
            calm = self.fresh(f"calm_{days}")
            live(calm, days)
            self.lived[days] = calm
        return self.lived[days]


def _environment() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}


def _write_path(days: int) -> list[str]:
    return [sys.executable, "-m", WORKER, str(days)]


def _dag(days: int) -> list[str]:
    return [sys.executable, "-c", _DAG_WORKER, str(days)]


def _airflow(scratch: Path) -> dict[str, str]:
    """The environment of a DAG worker, with a migrated Airflow of its own."""
    files = scratch / "dags"
    environment = _environment() | {
        "AIRFLOW_HOME": str(scratch / "airflow"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(files),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
        "DECISIONS_RETRIES": "0",
        "DECISIONS_SEED": str(SEED),
        "DECISIONS_HOME": str(scratch / "home"),
        "PYTHONPATH": os.pathsep.join(map(str, (files, _DAGS, _DAGS.parent))),
    }
    if not files.exists():
        files.mkdir()
        (files / "crash_dags.py").write_text(_DAG_FILE)
        migrated = [sys.executable, "-m", "airflow", "db", "migrate"]
        subprocess.run(migrated, env=environment, check=True, capture_output=True)
    return environment


def _together(groups: list[dict[str, Any]]) -> dict[str, Any]:
    """Sums over the groups; the first broken seal of any."""
    summed = ("kills", "lost", "duplicated", "half_written", "altered")
    broken = [each["seals"] for each in groups if each["seals"] != "verify"]
    landed = Counter[str]()
    for each in groups:
        landed.update(each["landed"])
    return {name: sum(each[name] for each in groups) for name in summed} | {
        "decisions": sum(each["rows"]["decision"] for each in groups),
        "generations": min(each["rows"]["generation"] for each in groups) - 1,
        "verdicts": min(each["rows"]["verdict"] for each in groups),
        "promotions_by_gate": min(each["promoted_by_gate"] for each in groups),
        "landed": landed,
        "seals": broken[0] if broken else "verify",
    }


def run(bench: Workbench, *, kills: int) -> None:
    """Three in four kills hit a worker of the write path, the others a running DAG.

    Every second kill waits until the worker enters a step, each in turn: most of a life passes
    outside the short ones, which kills at any moment seldom meet.

    A group of up to GROUP kills shares one database and is one part: a study that was stopped
    goes on with the next group.
    """
    parts: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory(prefix="crash") as folder:
        scratch = Path(folder)
        with _server(scratch) as url:
            servers = _Servers(url)
            for where, count, longest_s, command in (
                ("write_path", kills - max(1, kills // 4), LONGEST_LIFE_S, _write_path),
                ("dag", max(1, kills // 4), LONGEST_DAG_S, _dag),
            ):
                found: list[dict[str, Any]] = []
                for group, start in enumerate(range(0, count, GROUP)):
                    size = min(GROUP, count - start)

                    def disturb(
                        where: str = where,
                        group: int = group,
                        size: int = size,
                        longest_s: float = longest_s,
                        command: Callable[[int], list[str]] = command,
                    ) -> dict[str, Any]:
                        return _disturb(
                            bench,
                            servers,
                            name=where,
                            group=group,
                            kills=size,
                            longest_s=longest_s,
                            command=command,
                            environment=_airflow(scratch) if where == "dag" else _environment(),
                            scratch=scratch,
                        )

                    found.append(bench.part(f"{where}-{group}-{size}", disturb))
                if found:
                    parts[where] = _together(found)
    for place, whole in parts.items():
        bench.check(f"{place}_kills", whole["kills"], "reported", ok=None)
        bench.check(
            f"{place}_decisions",
            whole["decisions"],
            "> 0",
            ok=whole["decisions"] > 0,
        )
        for name, least in (
            ("generations", LEAST_GENERATIONS),
            ("verdicts", 1),
            ("promotions_by_gate", 1),
        ):
            smallest = whole[name]
            bench.check(
                f"{place}_{name}", smallest, f">= {least} a database", ok=smallest >= least
            )
        for name in ("lost", "duplicated", "half_written", "altered"):
            bench.check(f"{place}_{name}", whole[name], "== 0", ok=whole[name] == 0)
        bench.check(f"{place}_seals", whole["seals"], "verify", ok=whole["seals"] == "verify")
    landed = sum((whole["landed"] for whole in parts.values()), Counter[str]())
    for step in (*STEPS, "between"):
        needed = step in STEPS and kills >= ENOUGH
        bench.check(
            f"kills_in_{step}",
            landed[step],
            ">= 1" if needed else "reported",
            ok=landed[step] >= 1 if needed else None,
        )


if __name__ == "__main__":
    note_steps()
    small_payments()  # its imports take longer than a short worker's life
    sys.stdout.write(READY)
    sys.stdout.flush()
    live(Database(os.environ["DECISIONS_DATABASE_URL"]), int(sys.argv[1]))
