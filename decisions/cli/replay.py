"""`decisions replay`: one decision in words, or a sample taken again in another process."""

import json
import os
import subprocess
import sys
from typing import Annotated, Any

import typer

from decisions.cli.report import Workbench, conduct
from decisions.errors import DecisionsError
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
    with another number of threads. Exit status 2 where none of them can be taken again.
    """
    if (decision is None) == (sample == 0):
        raise typer.BadParameter("give the id of a decision, or --sample N")
    from decisions.configured import configured_domain

    known = configured_domain(domain)
    if decision is not None:
        from decisions import replay as replaying
        from decisions.store.database import Database

        db = Database(required_database_url(settings()))
        words, equal = replaying.explain(db, known, decision)
        typer.echo(words)
        if equal is False:
            raise typer.Exit(1)
        return
    found: dict[str, Any] = {}
    try:
        conduct(
            "replays",
            f"replay-{domain}",
            lambda bench: found.update(_sample(bench, domain, sample, threads)),
            as_json=as_json,
            fresh=True,
        )
    except typer.Exit:
        if found.get("decisions") == 0:
            why = (
                "all were taken elsewhere"
                if found["taken_elsewhere"]
                else "no decision is stored (`decisions run` takes some)"
            )
            sys.stderr.write(f"{domain}: nothing can be replayed: {why}\n")
            raise typer.Exit(2) from None
        raise


def _sample(bench: Workbench, domain: str, count: int, threads: int) -> dict[str, Any]:
    """Checks that `count` decisions, taken again in a child process, equal the stored ones.

    What the child found. All are wanted that are there and were not taken elsewhere, at least one.
    """
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
        sys.stderr.write(child.stderr)
        raise typer.Exit(2)
    found: dict[str, Any] = json.loads(child.stdout.splitlines()[-1])
    replayed, elsewhere = found["decisions"], found["taken_elsewhere"]
    wanted = max(1, min(count, found["replayable"]))
    bench.check("decisions_asked_for", count, "reported", ok=None)
    bench.check("decisions_present", found["present"], "reported", ok=None)
    bench.check("decisions_taken_elsewhere", elsewhere, "not replayable, reported", ok=None)
    bench.check("decisions_replayed", replayed, f">= {wanted}", ok=replayed >= wanted)
    bench.check("generations", found["generations"], "reported", ok=None)
    bench.check("other_process_threads", threads, "reported", ok=None)
    for name, differing in found["differing"].items() if replayed else ():
        bench.check(f"differing_{name}", differing, "== 0", ok=differing == 0)
    return found


def child(domain_name: str, count: int, seed: int) -> dict[str, Any]:
    """What the other process finds: decisions, generations, and differing rows by column.

    `present` counts the decisions stored, `taken_elsewhere` those of them that others took and
    `replayable` the rest; `decisions` counts those of the sample that were taken again.
    """
    from decisions import replay as replaying
    from decisions.configured import configured_domain
    from decisions.store.database import Database

    db = Database(required_database_url(settings()))
    domain = configured_domain(domain_name)
    present, elsewhere, ids = replaying.sample(db, domain, count, seed)
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
        "present": present,
        "replayable": present - elsewhere,
        "taken_elsewhere": elsewhere,
        "generations": len(met),
        "differing": differing,
    }


if __name__ == "__main__":
    name, wanted, seeded = sys.argv[1:]
    try:
        sys.stdout.write(json.dumps(child(name, int(wanted), int(seeded))) + "\n")
    except DecisionsError as error:
        raise SystemExit(f"{type(error).__name__}: {error}") from None
