# ruff: noqa: S608, E501  (statements of a tampering superuser, one a line)
"""Whatever a superuser changes below the head is found and named."""

import json
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path

import polars as pl
import pytest
from rich.console import Console
from typer.testing import CliRunner

from decisions.cli import audit as audit_commands
from decisions.cli.audit import app
from decisions.errors import DataError, StoreError
from decisions.store import artifacts, audit, generations
from decisions.store.database import Database
from decisions.store.decision_log import append
from tests.store.samples import NOW, START, begun, decided, outcomes, units


@pytest.fixture
def log(database: Database) -> Database:
    """Two batches each of units, decisions and outcomes, and a trained generation."""
    begun(database)
    for part in range(2):
        batch = units(6, first=6 * part)
        decisions = decided(batch, seed=part)
        append(database, "payments", "unit", f"part {part}", batch, now=NOW)
        append(database, "payments", "decision", f"part {part}", decisions, now=NOW)
        append(database, "payments", "outcome", f"part {part}", outcomes(decisions), now=NOW)
    generations.plan(
        database,
        "payments",
        cutoff=NOW,
        policies=["a"],
        seed=1,
        config={},
        code_version="test",
        now=NOW,
    )
    generations.record_artifact(
        database, "payments", 1, artifacts.pack({"a": b"x"}), rows=1, details={}, now=NOW
    )
    return database


def tamper(db: Database, *statements: str) -> None:
    """What a superuser can do: switch the triggers off and write."""
    with db.transaction("owner") as connection:
        connection.exec_driver_sql("set local session_replication_role = replica")
        for statement in statements:
            connection.exec_driver_sql(statement)


IDS = decided(units(12))["decision_id"].to_list()
UNITS = units(12)["unit_id"].to_list()


def test_an_untouched_store_is_intact(log: Database) -> None:
    found = audit.verify(log)

    assert found.broken is None
    assert found.rows == 3 * 12 + 2 + 1 + 1
    assert found.head.number == 2 + 6 + 2


@pytest.mark.parametrize(
    ("statement", "seal", "row", "problem"),
    [
        (
            f"update decision set propensity = 0.5 where decision_id = {IDS[3]}",
            4,
            IDS[3],
            "edited",
        ),
        (
            f"update decision set scores[2] = scores[2] + 1e-15 where decision_id = {IDS[3]}",
            4,
            IDS[3],
            "edited",
        ),
        (f"update decision set seal = 7 where decision_id = {IDS[3]}", 4, IDS[2], "deleted"),
        (
            f"update decision set domain = 'other' where decision_id = {IDS[3]}",
            4,
            IDS[3],
            "edited|inserted",
        ),
        (f"delete from decision where decision_id = {IDS[3]}", 4, IDS[2], "deleted"),
        ("delete from decision where seal = 4", 4, None, "all 6 rows were deleted"),
        (f"delete from decision where decision_id = {IDS[11]}", 7, IDS[10], "deleted"),
        (
            "insert into decision select domain, decision_id + 640, unit_id + 10, slot, parent_id,"
            " generation, arm, decided_at, eligible, scores, probabilities, action, nominal,"
            f" propensity, arm_propensity, uniform, seal from decision where decision_id = {IDS[5]}",
            4,
            IDS[5] + 640,
            "inserted",
        ),
        (
            "insert into decision select domain, decision_id + 640, unit_id + 10, slot, parent_id,"
            " generation, arm, decided_at, eligible, scores, probabilities, action, nominal,"
            f" propensity, arm_propensity, uniform, 99 from decision where decision_id = {IDS[5]}",
            99,
            IDS[5] + 640,
            "inserted",
        ),
        (
            "update decision d set uniform = o.uniform from decision o"
            f" where d.decision_id in ({IDS[1]}, {IDS[2]}) and o.decision_id in ({IDS[1]}, {IDS[2]})"
            " and d.decision_id <> o.decision_id",
            4,
            IDS[1],
            "edited",
        ),
        (
            "update decision set seal = 11 - seal where seal in (4, 7)",
            4,
            IDS[6],
            "inserted|edited",
        ),
        (f"update unit set payload = '{{}}' where unit_id = {UNITS[2]}", 3, UNITS[2], "edited"),
        (f"update outcome set reward = 0 where decision_id = {IDS[7]}", 8, IDS[7], "edited"),
        ("delete from outcome", 5, None, "all 6 rows were deleted"),
        ("update promotion set promoted_by = 'me'", 2, "number 0", "edited"),
        ("update generation set seed = 3 where number = 1", 9, "number 1", "edited"),
        ("update seal set batch = 'x' where number = 4", 4, None, "differ from its digest"),
        ("delete from seal where number = 4", 4, None, "seal 4 is missing"),
        (
            "update seal set number = case number when 4 then 7 else 4 end * -1 where number in (4, 7);"
            "update seal set number = -number where number < 0",
            4,
            None,
            "does not follow",
        ),
        ("delete from artifact", 10, "", "missing"),
    ],
)
def test_a_superusers_change_is_named(
    log: Database, statement: str, seal: int, row: object, problem: str
) -> None:
    tamper(log, "alter table seal drop constraint seal_number_check", statement)

    broken = audit.verify(log).broken

    assert broken is not None
    assert broken.seal == seal
    assert any(word in broken.problem for word in problem.split("|")), str(broken)
    assert row is None or str(row) in str(broken.row), str(broken)


def test_owner_and_writer_may_only_add(log: Database) -> None:
    part = "decision_2026_01"
    for role in ("owner", "decisions_writer"):
        for statement in (
            "update decision set arm = 'x'",
            f"update {part} set arm = 'x'",
            f"delete from {part}",
            "delete from outcome",
            f"truncate {part}",
            "truncate outcome",
        ):
            with (
                pytest.raises(StoreError, match=r"is refused|permission denied"),
                log.transaction(role) as connection,  # pyright: ignore[reportArgumentType]
            ):
                connection.exec_driver_sql(statement)
    with (
        pytest.raises(StoreError, match="permission denied"),
        log.transaction("decisions_reader") as connection,
    ):
        connection.exec_driver_sql("insert into lease values ('a', 1, 'b', now())")


def test_an_export_is_checked_without_the_database(log: Database, tmp_path: Path) -> None:
    folder = tmp_path / "export"
    audit.export(log, folder)

    assert audit.verify_export(folder) == audit.verify(log)
    with pytest.raises(DataError, match="not empty"):
        audit.export(log, folder)
    path = next((folder / "decision").glob("*.parquet"))
    frame = pl.read_parquet(path)
    frame.with_columns(
        reward=pl.lit(0),
        propensity=pl.when(pl.col("decision_id") == IDS[8]).then(0.5).otherwise("propensity"),
    ).drop("reward").write_parquet(path)
    broken = audit.verify_export(folder).broken
    assert broken is not None
    assert (broken.seal, broken.problem) == (7, "the row was edited")
    assert str(IDS[8]) in str(broken.row)
    frame.write_parquet(path)
    next((folder / "artifact").iterdir()).write_bytes(b"other")
    assert "policy is missing" in str(audit.verify_export(folder).broken)
    path.write_bytes(b"not parquet")
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        audit.verify_export(folder)


def test_an_anchor_tells_a_chain_that_was_cut_or_made_anew(log: Database, tmp_path: Path) -> None:
    file = tmp_path / "anchor.json"
    audit.write_anchor(log, file, now=NOW)
    assert audit.check_anchor(log, file)
    assert audit.verify(log, anchor=file).broken is None

    tamper(log, "delete from training", "delete from seal where number = 10")

    assert audit.verify(log).broken is None  # what no chain can show without an anchor
    assert not audit.check_anchor(log, file)
    assert "the anchor names 10" in str(audit.verify(log, anchor=file).broken)
    with pytest.raises(DataError, match="changed below its anchor"):
        audit.write_anchor(log, file, now=NOW)
    generations.promote(log, "payments", 1, by="me", reason="", now=START + timedelta(1))
    assert "made anew" in str(audit.verify(log, anchor=file).broken)


def test_the_commands_say_what_they_found(
    log: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DECISIONS_DATABASE_URL", log.url)
    run = CliRunner()
    folder, file = str(tmp_path / "export"), tmp_path / "anchor.json"

    intact = run.invoke(app, ["verify"])
    assert (intact.exit_code, "10 seals over 40 rows" in intact.output) == (0, True)
    assert run.invoke(app, ["anchor", str(file)]).exit_code == 0
    assert json.loads(file.read_text())["seal"] == 10
    assert run.invoke(app, ["export", folder]).exit_code == 0
    assert run.invoke(app, ["verify-export", folder, "--anchor", str(file)]).exit_code == 0
    assert run.invoke(app, ["export", folder]).exit_code == 2
    tamper(log, f"delete from decision where decision_id = {IDS[3]}")
    broken = run.invoke(app, ["verify"])
    assert (broken.exit_code, "BROKEN at seal 4" in broken.output) == (1, True)
    monkeypatch.setenv("DECISIONS_DATABASE_URL", "postgresql://u:secret@127.0.0.1:1/x")
    down = run.invoke(app, ["verify"])
    assert (down.exit_code, "127.0.0.1:1/x cannot be" in down.output) == (2, True)
    assert "secret" not in down.output


def test_stored_text_is_shown_as_it_is(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = StringIO()
    monkeypatch.setattr(
        audit_commands, "STDERR", Console(file=shown, force_terminal=True, width=400)
    )
    monkeypatch.setenv("DECISIONS_DATABASE_URL", database.url)
    append(database, "payments", "unit", "[/x]", units(3), now=NOW)
    run = CliRunner()

    assert run.invoke(app, ["verify"]).exit_code == 0
    assert run.invoke(app, ["anchor", str(tmp_path / "[/x]")]).exit_code == 2
    (tmp_path / "[").mkdir()
    assert run.invoke(app, ["anchor", str(tmp_path / "[/x]")]).output.endswith("/[/x]\n")
    tamper(database, f"delete from unit where unit_id = {UNITS[1]}")
    broken = run.invoke(app, ["verify"])
    missing = run.invoke(app, ["verify", "--anchor", str(tmp_path / "[/y]")])

    assert (broken.exit_code, missing.exit_code) == (1, 2)
    assert "BROKEN" in shown.getvalue()
    assert "(unit '[/x]')" in shown.getvalue()
    assert "[/x] cannot be written" in shown.getvalue()
    assert "[/y] is no anchor" in shown.getvalue()


def test_a_tally_that_miscounts_is_found(log: Database) -> None:
    assert audit.verify(log).broken is None

    tamper(log, "update tally set decisions = 5 where seal = (select max(seal) from tally)")

    broken = audit.verify(log).broken
    assert broken is not None
    assert (broken.kind, broken.row) == ("tally", "generation 0, arm explore")
    assert "says 5 decisions where 6 are stored" in broken.problem


def test_the_newest_seals_are_checked_alone(log: Database) -> None:
    head = audit.verify(log).head.number
    tamper(
        log,
        "update unit set reference = reference || 'x' where seal = (select min(seal) from unit)",
    )

    assert audit.verify(log).broken is not None
    found = audit.verify(log, scope=audit.newest(log, 2))
    assert found.broken is None
    assert (found.head.number, found.scope.after) == (head, head - 2)
    assert audit.newest(log, head + 5) == audit.ALL
    broken = audit.verify(log, scope=audit.newest(log, head)).broken
    assert broken is not None
    assert broken.kind == "unit"


def test_a_row_that_claims_a_newest_seal_of_another_kind_is_found(log: Database) -> None:
    tamper(
        log,
        "update unit set seal = (select max(number) from seal) where seal = (select min(seal) from unit)",
    )

    assert audit.verify(log, scope=audit.newest(log, 1)).broken is not None


def test_a_domain_and_a_span_are_exported_and_checked_alone(log: Database, tmp_path: Path) -> None:
    whole = audit.verify(log)
    begun(log, "elsewhere")

    scope = audit.section(log, domain="elsewhere")
    head = audit.export(log, tmp_path / "part", scope=scope)
    found = audit.verify_export(tmp_path / "part")

    assert found.broken is None
    assert (found.rows, found.scope.after) == (2, whole.head.number)
    assert head == found.head == audit.verify(log).head
    anchor = tmp_path / "anchor.json"
    audit.write_anchor(log, anchor, now=NOW)
    assert audit.verify_export(tmp_path / "part", anchor=anchor).broken is None
    rows = next((tmp_path / "part" / "promotion").glob("*.parquet"))
    pl.read_parquet(rows).with_columns(promoted_by=pl.lit("someone")).write_parquet(rows)
    broken = audit.verify_export(tmp_path / "part").broken
    assert broken is not None
    assert "edited" in broken.problem


def test_a_span_in_which_nothing_was_sealed_is_said(log: Database) -> None:
    with pytest.raises(DataError, match="nothing of payments was sealed"):
        audit.section(log, domain="payments", until=datetime(1999, 1, 1, tzinfo=UTC))


def test_an_anchor_outside_of_the_checked_part_is_said(log: Database, tmp_path: Path) -> None:
    anchor = tmp_path / "anchor.json"
    audit.write_anchor(log, anchor, now=NOW)
    begun(log, "elsewhere")

    with pytest.raises(DataError, match="check the whole chain"):
        audit.verify(log, anchor=anchor, scope=audit.newest(log, 1))
