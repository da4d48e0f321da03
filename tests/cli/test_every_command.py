"""Every command that the help lists is run, at its smallest: here, or where this says.

A study's sizes are constants of its modules; the smallest run sets them, and nothing else.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import pytest
import typer
from typer.main import get_command

from decisions.cli import app
from decisions.cli.study.lotsizing import RULES
from decisions.cli.study.lotsizing_ablation import SCHEDULE
from decisions.cli.study.oscillation_causes import TRIALS, USUAL
from decisions.domains.lotsizing.simulation import evaluation_episodes
from decisions.store.database import Database

STUDIES, BENCHES = "decisions.cli.study", "decisions.cli.bench"
ROOT = Path(__file__).parents[2]
SMALL = replace(USUAL, name="small", rows=120, generations=4)

ELSEWHERE = {
    "run": (".ci/run", "make run ARGS="),
    "up": ("tests/stack/test_up.py", '"up"'),
    "status": ("tests/stack/test_up.py", '"status"'),
    "doctor": ("tests/stack/test_up.py", '"doctor"'),
    "backfill": ("tests/stack/test_up.py", '"backfill"'),
    "down": ("tests/stack/test_up.py", '"down"'),
    "bench dashboard": ("tests/browser/test_bench.py", '"bench", "dashboard"'),
    "study crash": ("tests/cli/test_crash.py", '"study", "crash"'),
}
"""Commands that need services which other tests start: the file, and words of it that run them."""


@dataclass(frozen=True)
class Smallest:
    """Arguments, sizes by "module:NAME", and the module that the run needs beside ours."""

    arguments: str = ""
    sizes: Mapping[str, Any] = field(default_factory=dict[str, Any])
    needs: str | None = None
    status: tuple[int, ...] = (0, 1)  # with so little, a bar may be missed


def study(sizes: Mapping[str, Any] | None = None, arguments: str = "") -> Smallest:
    """A study with sizes by "module:NAME", of the studies' modules."""
    named = {f"{STUDIES}.{place}": value for place, value in (sizes or {}).items()}
    return Smallest(f"{arguments} --json", named)


def bench(
    module: str, sizes: Mapping[str, Any] | None = None, *, needs: str | None = None
) -> Smallest:
    """A benchmark with sizes of its own module, by name."""
    named = {f"{BENCHES}.{module}:{name}": value for name, value in (sizes or {}).items()}
    return Smallest("--json", named, needs)


SMALLEST: dict[str, Smallest] = {
    "migrate": Smallest(status=(0,)),
    "promote": Smallest("payments 0 --reason again", status=(0,)),
    "report": Smallest("--json"),
    "audit verify": Smallest(status=(0,)),
    "audit anchor": Smallest("{folder}/anchor.json", status=(0,)),
    "audit export": Smallest("{folder}/export", status=(0,)),
    "audit verify-export": Smallest("{folder}/export", status=(0,)),
    "replay": Smallest("--sample 2 --threads 1 --json", status=(0,)),
    "lotsizing tune": Smallest("tiny_2x1 --chains 1 --out {folder}/plan.json", status=(0,)),
    "study payments-reference": study(
        {
            "payments_reference:CASES": 20,
            "payments_reference:NULL_GENERATIONS": 2,
            "off_policy_reference:REPLICATIONS": 3,
            "off_policy_reference:ROWS": 200,
            "off_policy_reference:POPULATION": 1_000,
            "off_policy_reference:FITTED": 500,
            "off_policy_reference:DELAYED": 2_000,
        }
    ),
    "study payments-generations": study(
        {
            "payments_generations:SEEDS": (10, 11),
            "payments_generations:MORE_SEEDS": (14,),
            "payments_generations:GENERATIONS": 4,
            "payments_generations:ROWS": 200,
        }
    ),
    "study oscillation": study(
        {
            "oscillation:SEEDS": (10, 11),
            "oscillation:POWER_SEEDS": (10, 11, 12, 13),
            "oscillation:GENERATIONS": 9,
            "oscillation:LONGER": 10,
            "oscillation:ROWS": 200,
            "oscillation:NULLS": 4,
            "oscillation:LOOKED_AT": 2,
            "oscillation:GROUP": 2,
            "oscillation:UNIFORM_CHAINS": 2,
            "oscillation:UNIFORM_LENGTH": 18,
            "oscillation:UNIFORM_ROWS": 200,
        }
    ),
    "study oscillation-causes": study(
        {
            "oscillation_causes:SEEDS": (10, 11),
            "oscillation_causes:TRIALS": [replace(trial, regime=SMALL) for trial in TRIALS[:3]],
            "oscillation_causes:USUAL": SMALL,
        }
    ),
    "study stabilised": study(
        {
            "stabilised:REGIMES": (replace(SMALL, name="short retention"),),
            "stabilised:SEEDS": (100, 101),
        },
        "--subset",
    ),
    "study evidence": study(
        {
            "evidence_promotion:FOLLOWED": 3,
            "evidence_promotion:FOLLOWERS": 2,
            "evidence_promotion:check_promotions.years": 1,
            "evidence_promotion:check_promotions.per_day": 200,
            "evidence_promotion:check_promotions.bank_days": 3,
            "evidence_support:ROWS_A_CARD": (2,),
            "evidence_support:check_refusals.evaluations": 2,
            "evidence_support:check_refusals.rows": 600,
            "evidence_support:check_power.evaluations": 2,
            "evidence_support:check_power.rows": 600,
            "evidence_support:check_coverage.logs": 4,
            "evidence_support:check_coverage.sizes": (500,),
            "evidence_support:check_coverage.pool": 700,
        }
    ),
    "study lotsizing": study(
        {
            "lotsizing:CHOOSING": 2,
            "lotsizing:RULES": {name: replace(rule, episodes=2) for name, rule in RULES.items()},
        },
        "--instance 15x5 --no-learn --workers 1",
    ),
    "study lotsizing-exact": study(
        {
            "lotsizing_exact:SEEDS": range(1, 3),
            "lotsizing_exact:EPISODES": 20,
            "lotsizing_exact:STEPS": 1_000,
        }
    ),
    "study lotsizing-baselines": study(
        {"lotsizing_baselines:INSTANCES": ("15x5",), "lotsizing_baselines:EPISODES": 20}
    ),
    "study lotsizing-paper": study({"lotsizing_runs:EPISODES": 4}, "--steps 4000 --workers 1"),
    "study lotsizing-ablation": study(
        {
            "lotsizing_runs:EPISODES": 4,
            "lotsizing_ablation:run.steps": 1_600,
            "lotsizing_ablation:SCHEDULE": SCHEDULE | {"curve_interval": 800},
        },
        "--seeds 2 --ends --workers 1",
    ),
    "study lotsizing-bounds": study(
        {
            "lotsizing_bounds:INSTANCES": ("tiny_2x1",),
            "lotsizing_bounds:EVALUATION": evaluation_episodes(4),
            "lotsizing_bounds:CHOOSING": evaluation_episodes(4, first=20_000),
            "lotsizing_bounds:PROGRAMS": (),
            "lotsizing_bounds:ROLLING": (("tiny_2x1", 2),),
        }
    ),
    "study frozen-lake": study(
        {"frozen_lake:run.steps": 1_000, "frozen_lake:EPISODES": 4}, "--maps 2 --workers 1"
    ),
    "bench ledger": bench("ledger", {"run.rows": 500, "run.rounds": 1}),
    "bench ope": bench("ope", needs="seaborn"),
    "bench bandit": bench("bandit", {"DECISIONS": 1_000}, needs="vowpalwabbit"),
    "bench lotsizing-ppo": bench("lotsizing_ppo", needs="stable_baselines3"),
    "bench lotsizing-env": bench("lotsizing_env", {"ROWS": 8, "ROUNDS": 1, "ROUND_S": 0.01}),
}


def listed() -> Iterator[str]:
    """The commands below `decisions`, groups opened."""
    for _, name, module, attribute, _ in app.COMMANDS:
        target = getattr(import_module(f"decisions.cli.{module}"), attribute)
        inner: dict[str, Any] = (
            cast(Any, get_command(target)).commands if isinstance(target, typer.Typer) else {}
        )
        yield from (f"{name} {each}" for each in inner) if inner else (name,)


def test_every_command_is_run_somewhere() -> None:
    assert set(listed()) == {*SMALLEST, *ELSEWHERE}
    for file, words in ELSEWHERE.values():
        assert words in (ROOT / file).read_text()


@pytest.fixture
def resized(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sets sizes: constants of modules, or "function.parameter" for one with a usual value."""

    def resize(sizes: Mapping[str, Any]) -> None:
        for place, value in sizes.items():
            module, name = place.split(":")
            function, _, parameter = name.partition(".")
            if parameter:
                usual = getattr(import_module(module), function).__kwdefaults__
                assert parameter in usual
                monkeypatch.setitem(usual, parameter, value)
            else:
                monkeypatch.setattr(import_module(module), name, value)

    return resize


@pytest.mark.parametrize("name", SMALLEST)
def test_a_command_runs_at_its_smallest(
    name: str,
    resized: Any,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = SMALLEST[name]
    resized(run.sizes)
    monkeypatch.setenv("DECISIONS_HOME", str(tmp_path / "home"))
    if name.partition(" ")[0] in ("migrate", "promote", "report", "audit", "replay"):
        database: Database = request.getfixturevalue("own_ledger")
        monkeypatch.setenv("DECISIONS_DATABASE_URL", database.url)
    if name == "audit verify-export":
        _invoke("audit export", SMALLEST["audit export"], tmp_path, monkeypatch)

    status = _invoke(name, run, tmp_path, monkeypatch)

    answer = capsys.readouterr()
    if run.needs is not None and find_spec(run.needs) is None:
        assert (status, "pip install" in answer.err) == (2, True), answer.err
        pytest.skip(f"{name} needs {run.needs}, of the extra `bench`: it was only seen to say so")
    assert status in run.status, answer.err
    assert "Traceback" not in answer.err
    if "--json" in run.arguments:
        assert json.loads(answer.out.splitlines()[-1])["ok"] == (status == 0)


def _invoke(name: str, run: Smallest, folder: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    words = f"{name} {run.arguments.format(folder=folder)}".split()
    monkeypatch.setattr(sys, "argv", ["decisions", *words])
    with pytest.raises(SystemExit) as ended:
        app.main()
    return ended.value.code or 0
