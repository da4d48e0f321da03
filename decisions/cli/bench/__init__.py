"""Benchmarks: ours and the peer in turn, in one run, as a ratio with its spread."""

from typing import Annotated

import typer

from decisions.cli.report import conduct

app = typer.Typer(no_args_is_help=True, help=__doc__)

AsJson = Annotated[bool, typer.Option("--json", help="End with one line: a JSON object.")]
Publish = Annotated[bool, typer.Option("--publish", help="Write the figures to docs/results.")]


@app.command()
def ledger(as_json: AsJson = False, publish: Publish = False) -> None:
    """Sealed, idempotent decisions a second against a plain COPY of the same rows."""
    from decisions.cli.bench.ledger import run

    conduct("benchmarks", "ledger", run, as_json=as_json, fresh=True, publish=publish)


@app.command()
def ope(as_json: AsJson = False, publish: Publish = False) -> None:
    """Off-policy estimates and intervals against Open Bandit Pipeline."""
    from decisions.cli.bench.ope import run

    conduct("benchmarks", "ope", run, as_json=as_json, fresh=True, publish=publish)


@app.command()
def bandit(as_json: AsJson = False, publish: Publish = False) -> None:
    """Decisions a second and average reward against Vowpal Wabbit on one payment stream."""
    from decisions.cli.bench.bandit import run

    conduct("benchmarks", "bandit", run, as_json=as_json, fresh=True, publish=publish)


@app.command()
def dashboard(
    as_json: AsJson = False,
    publish: Publish = False,
    rows: Annotated[int, typer.Option(min=1, help="Decisions in the ledger.")] = 10_000_000,
) -> None:
    """Seconds until each page is drawn in a browser, over ten million decisions."""
    from functools import partial

    from decisions.cli.bench.dashboard import run

    work = partial(run, rows=rows)
    conduct("benchmarks", "dashboard", work, as_json=as_json, fresh=True, publish=publish)


@app.command("lotsizing-env")
def lotsizing_env(as_json: AsJson = False, publish: Publish = False) -> None:
    """Periods of a plant a second, in a batch and one at a time."""
    from decisions.cli.bench.lotsizing_env import run

    conduct("benchmarks", "lotsizing-env", run, as_json=as_json, fresh=True, publish=publish)


@app.command("lotsizing-ppo")
def lotsizing_ppo(as_json: AsJson = False, publish: Publish = False) -> None:
    """Training steps a second against Stable-Baselines3's PPO."""
    from decisions.cli.bench.lotsizing_ppo import run

    conduct("benchmarks", "lotsizing-ppo", run, as_json=as_json, fresh=True, publish=publish)
