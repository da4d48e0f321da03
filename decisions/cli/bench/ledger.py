"""How fast decisions are sealed and stored, against a plain COPY of the same rows."""

import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from decisions.cli.bench.plain_copy import make_plain_table, plain_copy
from decisions.cli.report import Workbench
from decisions.frames import DECISIONS, SLOTS, UNITS, unit_id
from decisions.seeds import stream
from decisions.stack.postgres import create_database, running_postgres
from decisions.store import generations
from decisions.store.database import Database, migrate
from decisions.store.decision_log import append

SEED = 7
ROWS = 100_000
ROUNDS = 7
START = datetime(2026, 1, 5, tzinfo=UTC)
NOW = datetime(2026, 3, 1, tzinfo=UTC)
DOMAIN = "payments"


def units(rows: int, minute: int) -> pl.DataFrame:
    """`rows` units observed in one minute (of START)."""
    observed = START + timedelta(minutes=minute)
    first = unit_id(int(observed.timestamp()) // 60, 0)
    ids = pl.int_range(first, first + rows, eager=True)
    return pl.DataFrame(
        {
            "unit_id": ids,
            "reference": ids.cast(pl.String()),
            "observed_at": pl.repeat(observed, rows, eager=True),
            "payload": pl.repeat('{"amount_minor": 1299}', rows, eager=True),
        }
    ).cast(UNITS)


def decided(units: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    """A valid decision a unit, over 1 to 16 eligible actions of 16 (8 in the mean)."""
    n = len(units)
    k = rng.binomial(15, 7 / 15, n) + 1
    ends = np.cumsum(k)
    weights = rng.random(int(ends[-1])) + 0.01
    row = np.repeat(np.arange(n), k)
    place = np.arange(int(ends[-1])) - np.repeat(ends - k, k)
    scores = rng.random(int(ends[-1]))
    probabilities = weights / np.bincount(row, weights)[row]
    chosen = np.minimum((rng.random(n) * k).astype(np.int64), k - 1)
    flat = pl.DataFrame({"row": row, "eligible": place, "s": scores, "p": probabilities})
    lists = flat.group_by("row", maintain_order=True).agg("eligible", "s", "p")
    propensity = probabilities[ends - k + chosen]
    arms = np.array(["explore", "exploit", "control"])
    action = pl.Series(chosen.astype(np.float64)).reshape((n, 1)).arr.to_list()
    return pl.DataFrame(
        {
            "decision_id": units["unit_id"] * SLOTS,
            "unit_id": units["unit_id"],
            "slot": pl.repeat(0, n, eager=True),
            "parent_id": pl.repeat(None, n, eager=True),
            "generation": pl.repeat(0, n, eager=True),
            "arm": arms[rng.integers(0, 3, n)],
            "decided_at": units["observed_at"] + timedelta(seconds=1),
            "eligible": lists["eligible"],
            "scores": lists["s"],
            "probabilities": lists["p"],
            "action": action,
            "nominal": action,
            "propensity": propensity,
            "arm_propensity": propensity,
            "uniform": rng.random(n),
        }
    ).cast(DECISIONS)


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def measure(db: Database, bench: Workbench, *, rows: int, rounds: int) -> dict[str, list[float]]:
    """Seconds a batch of each writer, in turn, each round on fresh rows of the same make."""
    rng = stream(SEED, DOMAIN, "ledger")
    spent: dict[str, list[float]] = {"sealed": [], "plain": [], "repeated": []}
    for number in bench.track(range(rounds + 1), "batches"):
        batch = units(rows, number)
        append(db, DOMAIN, "unit", f"{number}", batch, now=NOW)
        frame = decided(batch, rng)

        def sealed(frame: pl.DataFrame = frame, number: int = number) -> None:
            done = append(db, DOMAIN, "decision", f"{number}", frame, now=NOW)
            assert done.written + done.present == rows

        def plain(frame: pl.DataFrame = frame) -> None:
            plain_copy(db, DOMAIN, frame)

        order = [("sealed", sealed), ("plain", plain)]
        for name, work in order if number % 2 else order[::-1]:
            spent[name].append(_seconds(work))
        spent["repeated"].append(_seconds(sealed))
    return {name: seconds[1:] for name, seconds in spent.items()}  # the first round warms up


def run(bench: Workbench, *, rows: int = ROWS, rounds: int = ROUNDS) -> None:
    """Sealed, idempotent decisions a second, and their ratio to a plain COPY.

    Both sides start from the same Polars frame and end with a durable commit on the same server;
    both encode it with the same binary COPY writer. The plain one then fills a bare table of the
    same columns: no key, no index, no constraint, no partition, no check of the rows, no seal.
    """
    with tempfile.TemporaryDirectory(prefix="decisions-ledger-") as folder:
        Path(folder).chmod(0o755)
        with running_postgres(Path(folder) / "data") as url:
            db = Database(create_database(url, "ledger"))
            migrate(db)
            generations.begin(
                db,
                DOMAIN,
                policy="baseline",
                cutoff=START,
                seed=SEED,
                config={},
                code_version="ledger",
                now=START,
            )
            make_plain_table(db)
            spent = measure(db, bench, rows=rows, rounds=rounds)
    ratios = np.array(spent["plain"]) / np.array(spent["sealed"])
    rate = {name: rows / np.array(seconds) for name, seconds in spent.items()}
    bench.check(
        "sealed_to_plain_ratio",
        float(np.median(ratios)),
        ">= 0.5",
        ok=bool(np.median(ratios) >= 0.5),
        interval=(float(ratios.min()), float(ratios.max())),
    )
    for name, goal in (("sealed", "goal 150000"), ("plain", "-"), ("repeated", "-")):
        seen = rate[name]
        bench.check(
            f"{name}_decisions_per_s",
            float(np.median(seen)),
            goal,
            ok=None,
            interval=(float(seen.min()), float(seen.max())),
        )
    bench.check("rows_a_batch", float(rows), ">= 100000", ok=None)
