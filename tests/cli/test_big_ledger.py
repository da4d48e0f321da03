"""The ledger that pages are timed over is one like any other, only larger."""

from pathlib import Path

from rich.progress import Progress

from decisions.cli.bench.big_ledger import PLANT, SHARES, fill
from decisions.cli.report import Workbench
from decisions.store import audit
from decisions.store.database import Database


def test_it_is_sealed_tallied_and_filled_once(database: Database, tmp_path: Path) -> None:
    with Progress(disable=True) as progress:
        bench = Workbench("dashboard", tmp_path, progress)

        fill(database, bench, rows=900, days=9, planned_days=2)
        first = audit.verify(database)
        fill(database, bench, rows=900, days=9, planned_days=2)

    assert first.broken is None
    assert audit.verify(database) == first
    tally = database.read("tally/by_generation")
    made_up = tally.filter(tally["domain"] != PLANT)
    assert made_up["decisions"].sum() == 900
    assert set(made_up["domain"]) == set(SHARES)
    assert database.read("plan/domains")["domain"].to_list() == [PLANT]
    verdicts = database.read("diagnosis/latest").select("domain", "series", "verdict").rows()
    assert ("payments", "squarecb", "oscillating") in verdicts
