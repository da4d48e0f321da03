"""What is appended is what is read."""

from datetime import timedelta

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from decisions.errors import ConflictingRecord
from decisions.frames import DECISIONS
from decisions.store.database import Database
from decisions.store.decision_log import append, assign_units, history, pending, unsettled
from tests.store.samples import NOW, START, begun, decided, outcomes, units


def logged(db: Database, n: int = 5) -> pl.DataFrame:
    begun(db)
    append(db, "payments", "unit", "day 1", units(n), now=NOW)
    decisions = decided(units(n))
    append(db, "payments", "decision", "day 1", decisions, now=NOW)
    return decisions


def test_a_batch_is_read_back_to_the_bit(database: Database) -> None:
    decisions = logged(database)

    read = history(database, "payments", since=START, until=NOW, as_of=NOW)

    assert read.select(list(DECISIONS)).equals(decisions)
    assert read["reward"].null_count() == len(decisions)
    assert read["payload"].to_list() == units(5)["payload"].to_list()


def test_repeating_a_batch_changes_nothing(database: Database) -> None:
    decisions = logged(database)

    again = append(database, "payments", "decision", "day 1", decisions, now=NOW)
    renamed = append(database, "payments", "decision", "other", decisions.reverse(), now=NOW)

    assert (again.written, again.present) == (0, 5)
    assert (renamed.written, renamed.present) == (0, 5)
    assert again.seal == renamed.seal is not None


def test_another_content_under_a_stored_id_is_refused_by_row_and_field(database: Database) -> None:
    decisions = logged(database)
    altered = decisions.with_columns(
        scores=pl.when(pl.int_range(pl.len()) == 3).then([0.1, 0.2, 0.3]).otherwise("scores")
    )

    with pytest.raises(ConflictingRecord, match=f"{decisions['decision_id'][3]}.*with scores"):
        append(database, "payments", "decision", "other", altered, now=NOW)


def test_payloads_of_equal_fingerprints_are_told_apart(database: Database) -> None:
    first, second = (
        units(1).with_columns(payload=pl.lit(payload))
        for payload in ('{"amount_minor":334446,"z":60481}', '{"amount_minor":584097,"z":235550}')
    )
    append(database, "payments", "unit", "a", first, now=NOW)

    with pytest.raises(ConflictingRecord, match=r"payload = .*334446.*this batch has .*584097"):
        append(database, "payments", "unit", "b", second, now=NOW)


def test_outcomes_settle_decisions_as_of_a_time(database: Database) -> None:
    decisions = logged(database)
    known = outcomes(decisions)
    append(database, "payments", "outcome", "day 1", known.head(3), now=NOW)
    seen = known["observed_at"][0]

    before = history(
        database, "payments", since=START, until=NOW, as_of=seen - timedelta(microseconds=1)
    )
    after = history(database, "payments", since=START, until=NOW, as_of=seen)
    open_ones = unsettled(database, "payments", as_of=NOW, maturity=timedelta(days=2))

    assert before["reward"].null_count() == 5
    assert after["reward"].to_list() == [1.0, 1.0, 1.0, None, None]
    assert open_ones["decision_id"].to_list() == decisions["decision_id"].to_list()[3:]


@pytest.mark.parametrize("every", [2, 3, 4])
def test_a_sample_of_history_is_spread_over_minutes_and_within_them(
    database: Database, every: int
) -> None:
    logged(database)
    within = units(40, start=START + timedelta(hours=1))
    across = [units(1, start=START + timedelta(hours=2, minutes=k)) for k in range(24)]
    for batch, rows in (("within", within), ("across", pl.concat(across))):
        append(database, "payments", "unit", batch, rows, now=NOW)
        append(database, "payments", "decision", batch, decided(rows), now=NOW)

    whole = history(database, "payments", since=START, until=NOW, as_of=NOW)
    some = history(database, "payments", since=START, until=NOW, as_of=NOW, every=every)

    assert_frame_equal(some, whole.join(some.select("decision_id"), on="decision_id", how="semi"))
    for rows in (within, pl.concat(across)):
        kept = some.join(rows.select("unit_id"), on="unit_id", how="semi").height
        assert abs(kept - rows.height / every) < 1


def test_units_wait_until_they_are_decided(database: Database) -> None:
    begun(database)
    arrivals = units(4).drop("unit_id")

    assigned = assign_units(database, "payments", arrivals)
    append(database, "payments", "unit", "a", assigned, now=NOW)
    append(database, "payments", "decision", "a", decided(assigned.head(2)), now=NOW)
    more = pl.concat([arrivals, units(2, first=10).drop("unit_id")])
    again = assign_units(database, "payments", more)

    assert (
        pending(database, "payments", NOW)["unit_id"].to_list()
        == assigned["unit_id"][2:].to_list()
    )
    assert again.head(4).equals(assigned)
    assert again["unit_id"].to_list()[4:] == [
        assigned["unit_id"][3] + 1,
        assigned["unit_id"][3] + 2,
    ]


def test_a_unit_decided_in_any_slot_waits_no_more(database: Database) -> None:
    begun(database)
    append(database, "payments", "unit", "a", units(3), now=NOW)
    second = decided(units(3)).with_columns(
        pl.col("decision_id") + 1, slot=pl.lit(1, dtype=pl.Int16())
    )
    append(database, "payments", "decision", "a", second[:2], now=NOW)

    assert pending(database, "payments", NOW)["unit_id"].to_list() == [units(3)["unit_id"][2]]
