"""`decisions replay`: one decision in words, or a sample taken again in another process."""

import json
import os
import subprocess
import sys
from typing import Annotated, Any

import typer

from decisions.cli.report import STDERR, Workbench, conduct
from decisions.settings import required_database_url, settings

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS")
_CHUNK = 20_000


def replay(
    decision: Annotated[int | None, typer.Argument(help="The id of one decision.")] = None,
    domain: Annotated[str, typer.Option(help="The domain it belongs to.")] = "payments",
    sample: Annotated[int, typer.Option(min=0, help="Replay so many decisions instead.")] = 0,
    threads: Annotated[int, typer.Option(min=1, help="Threads of the other process.")] = 3,
    as_json: Annotated[
        bool, typer.Option("--json", help="End with one line: a JSON object.")
    ] = False,
) -> None:
    """Take stored decisions again and compare every bit.

    With an ID, explains one decision; with --sample N, takes N decisions again in another process
    with another number of threads.
    """
    if (decision is None) == (sample == 0):
        raise typer.BadParameter("give the id of a decision, or --sample N")
    if decision is not None:
        from decisions import replay as replaying
        from decisions.domains import domain_named
        from decisions.store.database import Database

        db = Database(required_database_url(settings()))
        words, equal = replaying.explain(db, domain_named(domain), decision)
        typer.echo(words)
        if equal is False:
            raise typer.Exit(1)
        return
    conduct(
        "replays",
        f"replay-{domain}",
        lambda bench: _sample(bench, domain, sample, threads),
        as_json=as_json,
        fresh=True,
    )


def _sample(bench: Workbench, domain: str, count: int, threads: int) -> None:
    """Checks that `count` decisions, taken again in a child process, equal the stored ones."""
    seed = settings().seed
    environment = os.environ | dict.fromkeys(_THREADS, str(threads))
    child = subprocess.run(
        [sys.executable, "-m", "decisions.cli.replay", domain, str(count), str(seed)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if child.returncode:
        STDERR.print(child.stderr)
        raise typer.Exit(1)
    found: dict[str, Any] = json.loads(child.stdout.splitlines()[-1])
    replayed, elsewhere = found["decisions"], found["taken_elsewhere"]
    bench.check(
        "decisions_replayed",
        replayed,
        f">= 1, wanted {count}, unless all were taken elsewhere",
        ok=None if elsewhere and not replayed else replayed >= 1,
    )
    bench.check("decisions_taken_elsewhere", elsewhere, "not replayable, reported", ok=None)
    bench.check("generations", found["generations"], "reported", ok=None)
    bench.check("other_process_threads", threads, "reported", ok=None)
    for name, differing in found["differing"].items() if replayed else ():
        bench.check(f"differing_{name}", differing, "== 0", ok=differing == 0)


def child(domain_name: str, count: int, seed: int) -> dict[str, Any]:
    """What the other process finds: decisions, generations, and differing rows by column.

    `decisions` counts those taken again, without the ones taken elsewhere.
    """
    from decisions import replay as replaying
    from decisions.domains import domain_named
    from decisions.store import decision_log
    from decisions.store.database import Database

    db = Database(required_database_url(settings()))
    domain = domain_named(domain_name)
    ids = decision_log.sample_ids(db, domain_name, count, seed)
    differing: dict[str, int] = dict.fromkeys(replaying.COMPARED, 0)
    met: set[int] = set()
    replayed = 0
    for start in range(0, len(ids), _CHUNK):
        result = replaying.replay(db, domain, ids[start : start + _CHUNK])
        met |= set(result.stored["generation"].to_list())
        replayed += result.stored.height
        for name, rows in result.differing.items():
            differing[name] += rows
    return {
        "decisions": replayed,
        "taken_elsewhere": len(ids) - replayed,
        "generations": len(met),
        "differing": differing,
    }


if __name__ == "__main__":
    name, wanted, seeded = sys.argv[1:]
    sys.stdout.write(json.dumps(child(name, int(wanted), int(seeded))) + "\n")
