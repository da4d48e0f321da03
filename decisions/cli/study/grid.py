"""Cells of regime, option and seed, each stored once, computed by as many processes as cores."""

import os
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from rich.progress import Progress

from decisions.bandits.generations import World, run
from decisions.cli.report import Workbench
from decisions.cli.study.regimes import Option, Regime
from decisions.policy import FloatArray

_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS")

Columns = dict[str, FloatArray]
"""A measure of Record by name, (seeds, generations + 1)."""
Grid = dict[tuple[str, str], Columns]
"""Of each regime and option, by their names."""


def cores() -> int:
    """How many processes may run at once here."""
    return len(os.sched_getaffinity(0))


def spread(
    bench: Workbench,
    calls: Sequence[Callable[[], object]],
    label: str,
    *,
    workers: int | None = None,
) -> None:
    """Makes all calls, which must pickle, begun in their order, each with one thread.

    `workers` of 1 makes them here; None is a process a core.
    """
    processes = min(workers or cores(), len(calls))
    if processes <= 1:
        for call in bench.track(calls, label):
            call()
        return
    os.environ.update(dict.fromkeys(_ONE_THREAD, "1"))  # read by the processes to come
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        futures = [pool.submit(call) for call in calls]
        try:
            done = bench.progress.track(as_completed(futures), len(futures), description=label)
            for future in done:
                future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def computed(
    bench: Workbench,
    regimes: Sequence[Regime],
    options: Sequence[Option],
    seeds: Sequence[int],
    *,
    detail: bool = False,
    workers: int | None = None,
) -> Grid:
    """All cells, those of an earlier run of the same code read back.

    One task is a regime and a seed: its options share the world's days. Tasks that take long come
    first. Each process computes with one thread. `workers` of 1 computes here; None is a process
    a core.
    """
    tasks = [
        (regime, seed)
        for regime in sorted(regimes, key=_size, reverse=True)
        for seed in seeds
        if not all(_path(bench.folder, regime, option, seed).exists() for option in options)
    ]
    spread(
        bench,
        [
            partial(
                _compute, bench.name, bench.folder, regime, tuple(options), seed, detail=detail
            )
            for regime, seed in tasks
        ],
        "regimes and seeds",
        workers=workers,
    )
    return {
        (regime.name, option.name): _columns(bench, regime, option, seeds)
        for regime in regimes
        for option in options
    }


def _size(regime: Regime) -> int:
    """About how long a regime takes."""
    return regime.generations * regime.rows


def _path(folder: Path, regime: Regime, option: Option, seed: int) -> Path:
    return folder / f"{_key(regime, option, seed)}.json"


def _key(regime: Regime, option: Option, seed: int) -> str:
    words = (regime.name, option.name, str(seed))
    return "--".join(re.sub(r"[^a-z0-9.]+", "-", word.lower()) for word in words)


def _compute(
    name: str,
    folder: Path,
    regime: Regime,
    options: tuple[Option, ...],
    seed: int,
    *,
    detail: bool,
) -> None:
    """Stores what is missing of one task."""
    bench = Workbench(name, folder, Progress(disable=True))
    world = regime.world(seed, regime.rows)
    for option in options:
        bench.part(
            _key(regime, option, seed),
            lambda option=option: _cell(world, regime, option, seed, detail=detail),
        )


def _cell(
    world: World, regime: Regime, option: Option, seed: int, *, detail: bool
) -> dict[str, list[float]]:
    """The measures of one run by generation."""
    memories = [memory for memory in (option.window, regime.retention) if memory is not None]
    records = [
        asdict(record)
        for record in run(
            world,
            option.learner(world, seed),
            generations=regime.generations,
            seed=seed,
            retention=min(memories, default=None),
            late=regime.late,
            detail=detail,
        )
    ]
    measured = [name for name in records[-1] if not np.isnan(records[-1][name])]
    return {name: [record[name] for record in records] for name in measured}


def _columns(bench: Workbench, regime: Regime, option: Option, seeds: Sequence[int]) -> Columns:
    def missing() -> None:
        raise AssertionError("computed above")

    parts = [bench.part(_key(regime, option, seed), missing) for seed in seeds]
    return {name: np.array([part[name] for part in parts], dtype=np.float64) for name in parts[0]}
