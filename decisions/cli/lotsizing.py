"""Plans for plants of your own."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from decisions.cli.report import check_writable
from decisions.domains.lotsizing.annealing import CHAINS, tuned_rotation, tuned_turns
from decisions.domains.lotsizing.exact import stocks_fit
from decisions.domains.lotsizing.instance import named

app = typer.Typer(no_args_is_help=True, help=__doc__)
STDERR = Console(stderr=True)


@app.callback()
def lotsizing() -> None:
    """Plans for plants of your own."""


@app.command()
def tune(
    plants: Annotated[list[str], typer.Argument(help="Packaged plants, or JSON files of plants.")],
    seed: Annotated[int, typer.Option(min=0, help="Of the search and its episodes.")] = 0,
    chains: Annotated[int, typer.Option(min=1, help="Annealings of the rotation.")] = CHAINS,
    out: Annotated[Path | None, typer.Option(help="Where to write; else standard output.")] = None,
) -> None:
    """Find groups of items for machines: the plans that learned policies have to beat.

    The package's own `rotations.json` holds what this found with seed 0 and 3 chains for 15x5,
    20x10, 25x10 and 25x15, with the code of commit 881a638. Some minutes a plant. A plant whose
    capacity exceeds 2000 units has no improved rotation: `turns` is null.
    """
    instances = [named(plant) for plant in plants]
    if out is not None:
        check_writable(out)
    records: dict[str, object] = {}
    for instance in instances:
        STDERR.print(f"{instance.name}: grouped rotation, {chains} annealings", markup=False)
        rotation = tuned_rotation(instance, seed=seed, chains=chains)
        turns = None
        if stocks_fit(instance):
            STDERR.print(f"{instance.name}: improved rotation", markup=False)
            turns = asdict(tuned_turns(instance, rotation, seed=seed))
        records[instance.digest] = {
            "name": instance.name,
            "seed": seed,
            "chains": chains,
            "rotation": asdict(rotation),
            "turns": turns,
        }
    lines = [f"{json.dumps(digest)}: {json.dumps(record)}" for digest, record in records.items()]
    text = "{\n" + ",\n".join(lines) + "\n}\n"
    if out is None:
        sys.stdout.write(text)
    else:
        out.write_text(text)
