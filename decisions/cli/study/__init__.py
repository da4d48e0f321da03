"""Studies: long measurements that show progress, resume after a kill, and end with a verdict."""

import re
from functools import partial
from typing import Annotated

import typer

from decisions.cli.report import conduct

app = typer.Typer(no_args_is_help=True, help=__doc__)

AsJson = Annotated[bool, typer.Option("--json", help="End with one line: a JSON object.")]
Publish = Annotated[bool, typer.Option("--publish", help="Write the figures to docs/results.")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Forget the parts finished earlier.")]


@app.command()
def payments_reference(
    as_json: AsJson = False, fresh: Fresh = False, publish: Publish = False
) -> None:
    """Golden vectors, Open Bandit, digits, estimators, true null, delay, log invariants."""
    from decisions.cli.study.payments_reference import run

    conduct("studies", "payments-reference", run, as_json=as_json, fresh=fresh, publish=publish)


@app.command()
def payments_generations(
    as_json: AsJson = False, fresh: Fresh = False, publish: Publish = False
) -> None:
    """Generation after generation: rewards, next-generation damage, class-balance ablation."""
    from decisions.cli.study.payments_generations import run

    conduct("studies", "payments-generations", run, as_json=as_json, fresh=fresh, publish=publish)


@app.command()
def oscillation(as_json: AsJson = False, fresh: Fresh = False, publish: Publish = False) -> None:
    """False alarms and power of the verdict; the reference's arms; the true null."""
    from decisions.cli.study.oscillation import run

    conduct("studies", "oscillation", run, as_json=as_json, fresh=fresh, publish=publish)


@app.command()
def oscillation_causes(
    as_json: AsJson = False, fresh: Fresh = False, publish: Publish = False
) -> None:
    """What makes generations swing: class balance, memory, support, or something else."""
    from decisions.cli.study.oscillation_causes import run

    conduct("studies", "oscillation-causes", run, as_json=as_json, fresh=fresh, publish=publish)


@app.command()
def stabilised(
    subset: Annotated[bool, typer.Option("--subset", help="A few regimes, minutes.")] = False,
    as_json: AsJson = False,
    fresh: Fresh = False,
    publish: Publish = False,
) -> None:
    """The adaptive learner against every fixed option in every regime."""
    from decisions.cli.study.stabilised import run

    conduct(
        "studies",
        "stabilised-subset" if subset else "stabilised",
        partial(run, subset=subset),
        as_json=as_json,
        fresh=fresh,
        publish=publish and not subset,
    )


@app.command()
def evidence(as_json: AsJson = False, fresh: Fresh = False, publish: Publish = False) -> None:
    """What verdicts rest on: refusals, power, looks to promotion, yearly error, coverage."""
    from decisions.cli.study.evidence import run

    conduct("studies", "evidence", run, as_json=as_json, fresh=fresh, publish=publish)


@app.command()
def crash(
    kills: Annotated[int, typer.Option(min=1, help="How many times to kill.")] = 50,
    as_json: AsJson = False,
    fresh: Fresh = False,
    publish: Publish = False,
) -> None:
    """Kill the write path and a running DAG at random points; nothing lost, doubled or half."""
    from decisions.cli.study.crash import run

    conduct(
        "studies",
        "crash",
        partial(run, kills=kills),
        as_json=as_json,
        fresh=fresh,
        publish=publish,
    )


@app.command()
def lotsizing(
    instance: Annotated[
        str, typer.Option(help="15x5, 20x10, 25x10, 25x15, or the path of your plant's JSON file.")
    ] = "20x10",
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes; else a core each.")
    ] = None,
    learn: Annotated[bool, typer.Option(help="Train networks as well: minutes.")] = True,
    as_json: AsJson = False,
    fresh: Fresh = False,
    publish: Publish = False,
) -> None:
    """Every policy on the same held-out episodes of a plant, with intervals, and the bound."""
    from decisions.cli.study.lotsizing import run
    from decisions.domains.lotsizing.instance import named

    name = named(instance).name
    conduct(
        "studies",
        f"lotsizing-{re.sub(r'[^a-z0-9]+', '-', name.lower())}",
        partial(run, instance=instance, learn=learn, workers=workers),
        as_json=as_json,
        fresh=fresh,
        publish=publish,
        asked=f"lotsizing --instance {instance}" + ("" if learn else " --no-learn"),
    )


@app.command()
def lotsizing_exact(
    as_json: AsJson = False, fresh: Fresh = False, publish: Publish = False
) -> None:
    """Exact optima of small plants, and how near to them PPO and PDPPO come in a minute."""
    from decisions.cli.study.lotsizing_exact import run

    conduct("studies", "lotsizing-exact", run, as_json=as_json, fresh=fresh, publish=publish)


@app.command()
def lotsizing_baselines(
    as_json: AsJson = False, fresh: Fresh = False, publish: Publish = False
) -> None:
    """Idling, chance, H1, H2 and H3 on the published plants, against the figures known."""
    from decisions.cli.study.lotsizing_baselines import run

    conduct("studies", "lotsizing-baselines", run, as_json=as_json, fresh=fresh, publish=publish)


@app.command()
def lotsizing_paper(
    instance: Annotated[str, typer.Option(help="20x10, 25x10 or 25x15.")] = "20x10",
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each method.")] = 1,
    steps: Annotated[int, typer.Option(min=4_000, help="Steps of a run.")] = 1_000_000,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes; else a core each.")
    ] = None,
    so_far: Annotated[
        bool, typer.Option("--so-far", help="Train nothing: report where the runs stand.")
    ] = False,
    as_json: AsJson = False,
    fresh: Fresh = False,
    publish: Publish = False,
) -> None:
    """PDPPO and PPO of lot-sizing as published, their defects included: hours."""
    from decisions.cli.study.lotsizing_paper import run

    conduct(
        "studies",
        "lotsizing-paper",
        partial(run, instance=instance, seeds=seeds, steps=steps, so_far=so_far, workers=workers),
        as_json=as_json,
        fresh=fresh,
        publish=publish,
        asked=f"lotsizing-paper --instance {instance} --seeds {seeds} --steps {steps}"
        + (" --so-far" if so_far else ""),
    )


@app.command()
def lotsizing_ablation(
    seeds: Annotated[int, typer.Option(min=2, help="Runs of each method at both ends.")] = 10,
    ends: Annotated[bool, typer.Option("--ends", help="Leave out what lies between.")] = False,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes; else a core each.")
    ] = None,
    as_json: AsJson = False,
    fresh: Fresh = False,
    publish: Publish = False,
) -> None:
    """How much of PDPPO's published advantage over PPO survives when both are corrected?"""
    from decisions.cli.study.lotsizing_ablation import run

    conduct(
        "studies",
        "lotsizing-ablation",
        partial(run, seeds=seeds, between_ends=not ends, workers=workers),
        as_json=as_json,
        fresh=fresh,
        publish=publish,
        asked=f"lotsizing-ablation --seeds {seeds}" + (" --ends" if ends else ""),
    )


@app.command()
def lotsizing_bounds(
    search: Annotated[bool, typer.Option("--search", help="Look for the prices anew.")] = False,
    package: Annotated[bool, typer.Option("--package", help="Store the bounds found.")] = False,
    as_json: AsJson = False,
    fresh: Fresh = False,
    publish: Publish = False,
) -> None:
    """What any policy of the plant must cost, and how far the best ones are from it."""
    from decisions.cli.study.lotsizing_bounds import run

    conduct(
        "studies",
        "lotsizing-bounds",
        partial(run, search=search, package=package),
        as_json=as_json,
        fresh=fresh,
        publish=publish,
    )


@app.command()
def frozen_lake(
    maps: Annotated[int, typer.Option(min=2, help="Maps of seeds 1 to this.")] = 5,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes; else a core each.")
    ] = None,
    as_json: AsJson = False,
    fresh: Fresh = False,
    publish: Publish = False,
) -> None:
    """The corrected agents on the modified Frozen Lake, against its exact optimum."""
    from decisions.cli.study.frozen_lake import run

    conduct(
        "studies",
        "frozen-lake",
        partial(run, maps=maps, workers=workers),
        as_json=as_json,
        fresh=fresh,
        publish=publish,
        asked=f"frozen-lake --maps {maps}",
    )
