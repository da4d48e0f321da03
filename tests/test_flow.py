"""The spine runs a whole domain's life, and a second run of any step changes nothing."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from decisions import flow
from decisions.domain import Domain, Log
from decisions.errors import (
    ArtifactAltered,
    ConflictingRecord,
    DataError,
    LeaseLost,
    NoEligibleAction,
    StoreError,
)
from decisions.flow import comparing, deciding
from decisions.flow.learning import cached_policy
from decisions.policy import BoolArray
from decisions.replay import explain, replay
from decisions.store import audit, decision_log, generations, leases
from decisions.store.database import Database
from tests.integration.coins import COINS, CoinWorld, Table, with_world
from tests.store.test_audit import tamper

START = datetime(2026, 3, 1, tzinfo=UTC)
END_OF_TIME = datetime(9000, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
TABLES = [
    "seal",
    "unit",
    "decision",
    "outcome",
    "generation",
    "training",
    "evaluation",
    "verdict",
    "promotion",
    "diagnostic",
    "quarantine",
]


def counts(db: Database) -> dict[str, int]:
    with db.reading() as connection:
        return {
            table: connection.exec_driver_sql(f"select count(*) from {table}").scalar_one()  # noqa: S608
            for table in TABLES
        }


def live(db: Database, days: int, *, domain: Domain = COINS) -> None:
    flow.begin(db, domain, now=START, seed=11)
    for day in range(1, days + 1):
        now = START + day * DAY
        flow.catch_up(db, domain, until=now, holder="test")
        flow.settle(db, domain, as_of=now, holder="test")
        flow.prepare(db, domain, cutoff=now, seed=11, holder="test")
        for number in flow.plan_generations(db, domain, cutoff=now, seed=11):
            flow.train_generation(db, domain, number, holder="test")
            flow.evaluate_generation(db, domain, number, holder="test")
        flow.judge_cutoff(db, domain, cutoff=now, holder="test")
        flow.diagnose(db, domain, cutoff=now)


def test_a_whole_life_promotes_the_better_candidate_and_runs_twice_unchanged(
    database: Database,
) -> None:
    live(database, 4)
    first = counts(database)

    live(database, 4)

    assert counts(database) == first
    assert first["generation"] > 2
    assert first["quarantine"] == 0
    champion = generations.champion(database, COINS.name)
    assert generations.generation(database, COINS.name, champion).policy == "means"
    assert isinstance(policy := flow.load_policy(database, COINS, champion), Table)
    assert np.array(policy.shares).argmax(axis=1).tolist() == [2, 0]
    assert audit.verify(database).broken is None


def test_no_generation_is_planned_before_there_is_matured_history(database: Database) -> None:
    flow.begin(database, COINS, now=START, seed=11)

    assert flow.plan_generations(database, COINS, cutoff=START + DAY, seed=11) == []


def test_days_that_the_scheduler_lost_are_made_up_for(database: Database) -> None:
    flow.begin(database, COINS, now=START, seed=11)

    taken = flow.catch_up(database, COINS, until=START + 3 * DAY, holder="test")

    assert taken >= 3 * 300
    assert flow.due_days(database, COINS, until=START + 3 * DAY) == []


def test_the_baseline_is_champion_of_days_before_the_domain_began(database: Database) -> None:
    flow.begin(database, COINS, now=START + 2 * DAY, seed=11)

    taken = [
        flow.catch_up(database, COINS, until=START + day * DAY, holder="test")
        for day in range(1, 6)
    ]

    assert taken == [300, 300, 305, 305, 305]  # from the third day on with retries
    assert generations.champion_at(database, COINS.name, START) == 0


def test_a_policy_is_read_once_by_a_process_and_again_by_an_audit(database: Database) -> None:
    live(database, 2)
    numbers = [item.number for item in generations.generations(database, COINS.name)]

    kept = cached_policy(database, COINS, numbers[-1])
    tamper(
        database,
        "alter table artifact drop constraint artifact_check",
        "update artifact set content = 'altered'",
    )

    assert cached_policy(database, COINS, numbers[-1]) is kept
    with pytest.raises(ArtifactAltered, match="recorded was"):
        flow.load_policy(database, COINS, numbers[-1])
    with pytest.raises(StoreError, match="no policy yet"):
        cached_policy(database, COINS, numbers[-1] + 1)


def test_a_backfill_of_earlier_days_may_promote_as_if_it_had_run_in_time(
    database: Database,
) -> None:
    flow.begin(database, COINS, now=START + 9 * DAY, seed=11)
    live(database, 4)

    champion = generations.champion(database, COINS.name)
    assert generations.generation(database, COINS.name, champion).policy == "means"
    assert generations.champion_at(database, COINS.name, START + DAY) == 0
    assert flow.load_policy(database, COINS, champion) is not None


def test_a_cut_off_made_up_for_later_never_replaces_a_later_champion(database: Database) -> None:
    live(database, 2)
    for day in (3, 4):
        now = START + day * DAY
        flow.catch_up(database, COINS, until=now, holder="test")
        flow.settle(database, COINS, as_of=now, holder="test")
    before = generations.champion(database, COINS.name)

    def generation_of(day: int) -> dict[int, str]:
        cutoff = START + day * DAY
        for number in flow.plan_generations(database, COINS, cutoff=cutoff, seed=11):
            flow.train_generation(database, COINS, number, holder="test")
            flow.evaluate_generation(database, COINS, number, holder="test")
        verdicts = flow.judge_cutoff(database, COINS, cutoff=cutoff, holder="test")
        return {number: verdict.note for number, verdict in verdicts.items() if verdict.note}

    generation_of(4)
    later = generations.champion(database, COINS.name)
    notes = generation_of(3)
    again = generation_of(3)

    assert before == 0
    assert generations.generation(database, COINS.name, later).policy == "means"
    assert generations.champion(database, COINS.name) == later
    (made_up,) = [number for number, note in notes.items() if note.startswith("passed, but")]
    assert f"generation {later} has been champion since 2026-03-05" in notes[made_up]
    assert again == notes
    assert generations.generation(database, COINS.name, made_up).parent == 0
    assert generations.champion_at(database, COINS.name, START + 3 * DAY) == 0


@pytest.mark.parametrize("successive", [False, True])
def test_each_decision_leads_to_the_units_of_one_day_alone(
    database: Database, *, successive: bool
) -> None:
    shown: dict[datetime, list[datetime]] = {}

    class Watched(CoinWorld):
        def arrivals(self, start: datetime, end: datetime, settled: pl.DataFrame) -> pl.DataFrame:
            shown[start] = settled["decided_at"].unique().to_list()
            return super().arrivals(start, end, settled)

    domain = replace(COINS, world=Watched(per_day=5), successive=successive)
    flow.begin(database, domain, now=START, seed=11)
    flow.catch_up(database, domain, until=START + 3 * DAY, holder="test")

    first, second = START + DAY, START + 2 * DAY  # decisions are taken at the end of a day
    same_day = {START: [], first: [first], second: [second]}
    a_day_later = {START: [], first: [], second: [first]}
    assert shown == (same_day if successive else a_day_later)


def test_a_retry_names_the_decision_it_follows_up(database: Database) -> None:
    live(database, 3)

    seen = flow.history(database, COINS, since=START, until=START + 4 * DAY, as_of=START + 4 * DAY)
    retries = seen.filter(pl.col("parent_id").is_not_null())

    assert retries.height > 0
    assert retries["parent_id"].is_in(seen["decision_id"].implode()).all()


def test_decisions_do_not_depend_on_batches(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deciding, "BATCH", 7)
    flow.begin(database, COINS, now=START, seed=11)
    flow.catch_up(database, COINS, until=START + DAY, holder="test")

    ids = decision_log.sample_ids(database, COINS.name, 200, 1)
    replayed = replay(database, COINS, ids)

    assert replayed.stored.height == 200
    assert replayed.equal, replayed.differing


def test_explaining_a_decision_says_what_was_drawn_and_that_it_is_equal(
    database: Database,
) -> None:
    flow.begin(database, COINS, now=START, seed=11)
    flow.catch_up(database, COINS, until=START + DAY, holder="test")
    (decision,) = decision_log.sample_ids(database, COINS.name, 1, 1)

    words, equal = explain(database, COINS, decision)

    assert equal
    assert "<- drawn" in words
    assert "equal to the bit" in words


def test_decisions_taken_elsewhere_are_never_called_equal(database: Database) -> None:
    flow.begin(database, COINS, now=START, seed=11)
    flow.catch_up(database, COINS, until=START + DAY, holder="test")
    flow.arrive(database, COINS, start=START + DAY, end=START + 2 * DAY, holder="test")
    units = decision_log.pending(database, COINS.name, START + 2 * DAY).head(3)
    none = pl.lit([], dtype=pl.List(pl.Float64()))
    theirs = flow.decisions_for(
        COINS, COINS.baseline, units, seed=1, generation=0, now=START + 2 * DAY
    ).with_columns(nominal=none, scores=none, uniform=pl.lit(float("nan")))
    decision_log.append(database, COINS.name, "decision", "theirs", theirs, now=START + 2 * DAY)
    other = int(theirs["decision_id"][0])

    replayed = replay(database, COINS, theirs["decision_id"].to_list())
    words, equal = explain(database, COINS, other)
    mixed = replay(
        database, COINS, [other, *decision_log.sample_ids(database, COINS.name, 303, 1)]
    )

    assert not replayed.equal
    assert (replayed.stored.height, replayed.elsewhere.height) == (0, 3)
    assert equal is None
    assert "taken elsewhere; only its seal can be verified" in words
    assert (mixed.stored.height, mixed.elsewhere.height) == (300, 3)
    assert mixed.equal


def test_a_missing_draw_is_stored_only_where_nothing_nominal_is_claimed(
    database: Database,
) -> None:
    flow.begin(database, COINS, now=START, seed=11)
    flow.arrive(database, COINS, start=START, end=START + DAY, holder="test")
    units = decision_log.pending(database, COINS.name, START + DAY).head(1)
    undrawn = flow.decisions_for(
        COINS, COINS.baseline, units, seed=1, generation=0, now=START + DAY
    ).with_columns(uniform=pl.lit(float("nan")))

    done = decision_log.append(
        database, COINS.name, "decision", "undrawn", undrawn, now=START + DAY
    )

    assert done.written == 0
    assert done.quarantined["problem"].to_list() == ["uniform is not in [0, 1)"]


def test_replaying_what_is_not_stored_is_a_named_error(database: Database) -> None:
    flow.begin(database, COINS, now=START, seed=11)

    with pytest.raises(DataError, match="not stored"):
        replay(database, COINS, [12345])


def test_a_worker_that_lost_its_lease_writes_nothing(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow.begin(database, COINS, now=START, seed=11)
    flow.arrive(database, COINS, start=START, end=START + DAY, holder="slow")
    act = Table.act

    def overtaken(self: Table, *arguments: object) -> object:
        with database.transaction() as connection:
            connection.exec_driver_sql("update lease set expires_at = '-infinity'")
        leases.acquire(database, "coins/decide", holder="quick", seconds=60)
        return act(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Table, "act", overtaken)
    with pytest.raises(LeaseLost):
        flow.decide(database, COINS, now=START + DAY, holder="slow")

    assert counts(database)["decision"] == 0


def test_a_lease_left_by_a_killed_task_keeps_no_short_step_waiting(database: Database) -> None:
    flow.begin(database, COINS, now=START, seed=11)
    for step in ("arrive", "decide", "settle", "judge"):
        leases.acquire(database, f"coins/{step}", holder="killed task", seconds=600)

    taken = flow.catch_up(database, COINS, until=START + DAY, holder="another task")
    settled = flow.settle(database, COINS, as_of=START + 2 * DAY, holder="another task")
    flow.judge_cutoff(database, COINS, cutoff=START + DAY, holder="another task")

    assert (taken, settled) == (300, 300)


def test_a_training_is_left_to_its_holder_and_taken_over_by_its_retry(
    database: Database,
) -> None:
    number = ready(database)[0]
    leases.acquire(database, f"coins/train/{number}", holder="task", seconds=600)

    with pytest.raises(LeaseLost):
        flow.train_generation(database, COINS, number, holder="another task")
    flow.train_generation(database, COINS, number, holder="task")


def ready(db: Database, *, train: bool = False) -> list[int]:
    """The candidates of the third day's cut-off, planned, or also trained and evaluated."""
    live(db, 2)
    cutoff = START + 3 * DAY
    flow.catch_up(db, COINS, until=cutoff, holder="test")
    flow.settle(db, COINS, as_of=cutoff, holder="test")
    numbers = flow.plan_generations(db, COINS, cutoff=cutoff, seed=11)
    for number in numbers if train else ():
        flow.train_generation(db, COINS, number, holder="test")
        flow.evaluate_generation(db, COINS, number, holder="test")
    return numbers


def test_a_judge_whose_lease_ran_out_and_was_taken_promotes_nobody(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready(database, train=True)
    before = counts(database)
    judge_together = comparing.judge_together

    def overtaken(*arguments: object, **named: object) -> object:
        with database.transaction() as connection:
            connection.exec_driver_sql("update lease set expires_at = '-infinity'")
        leases.acquire(database, "coins/judge", holder="quick", seconds=60)
        return judge_together(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(comparing, "judge_together", overtaken)
    with pytest.raises(LeaseLost):
        flow.judge_cutoff(database, COINS, cutoff=START + 3 * DAY, holder="slow")
    after = counts(database)
    monkeypatch.undo()
    verdicts = flow.judge_cutoff(database, COINS, cutoff=START + 3 * DAY, holder="slow")

    assert after == before
    assert [number for number, verdict in verdicts.items() if verdict.promoted] == [
        generations.champion(database, COINS.name)
    ]


def test_a_judge_that_is_killed_leaves_no_verdict_without_its_promotion(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready(database, train=True)
    record = generations.record_rows

    def killed(connection: object, kind: object, *arguments: object, **named: object) -> None:
        if kind is generations.PROMOTION:
            raise KeyboardInterrupt
        record(connection, kind, *arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(generations, "record_rows", killed)
    with pytest.raises(KeyboardInterrupt):
        flow.judge_cutoff(database, COINS, cutoff=START + 3 * DAY, holder="test")

    assert generations.verdicts(database, COINS.name, START + 3 * DAY) == []


def test_a_promotion_by_hand_between_judging_and_promoting_is_not_overwritten(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = ready(database, train=True)
    conclude = generations.conclude

    def overtaken(*arguments: object, **named: object) -> object:
        generations.promote(
            database, COINS.name, numbers[1], by="a person", reason="test", now=START + 2.5 * DAY
        )
        return conclude(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(generations, "conclude", overtaken)
    verdicts = flow.judge_cutoff(database, COINS, cutoff=START + 3 * DAY, holder="test")

    assert not any(verdict.promoted for verdict in verdicts.values())
    assert any("is champion" in verdict.note for verdict in verdicts.values())
    assert generations.champion(database, COINS.name) == numbers[1]


def test_diagnostics_stand_when_outcomes_of_before_the_cut_off_come_later(
    database: Database,
) -> None:
    ready(database, train=True)
    cutoff = START + 3 * DAY
    flow.diagnose(database, COINS, cutoff=cutoff)
    first = database.read("diagnostic/all", domain=COINS.name)
    flow.arrive(
        database, COINS, start=START + 5 * DAY, end=START + 6 * DAY, holder="test"
    )  # another day, stored as if it had been four days earlier
    late = decision_log.pending(database, COINS.name, START + 6 * DAY)
    late = late.with_columns(observed_at=pl.col("observed_at") - 4 * DAY)
    minutes = pl.col("observed_at").dt.epoch("s") // 60
    late = late.with_columns(
        unit_id=minutes * 2**24 + 1_000, reference=pl.col("reference") + "-late"
    )
    for kind, frame in (
        ("unit", late),
        ("decision", _decided(late, at=cutoff - 0.5 * DAY)),
    ):
        decision_log.append(database, COINS.name, kind, "late", frame, now=cutoff)  # type: ignore[arg-type]

    flow.diagnose(database, COINS, cutoff=cutoff)

    assert first.height > 0
    assert database.read("diagnostic/all", domain=COINS.name).equals(first)


def _decided(units: pl.DataFrame, *, at: datetime) -> pl.DataFrame:
    return flow.decisions_for(COINS, COINS.baseline, units, seed=1, generation=0, now=at)


def test_one_candidate_missing_leaves_the_cut_off_unjudged(database: Database) -> None:
    live(database, 2)
    cutoff = START + 3 * DAY
    flow.catch_up(database, COINS, until=cutoff, holder="test")
    flow.settle(database, COINS, as_of=cutoff, holder="test")
    numbers = flow.plan_generations(database, COINS, cutoff=cutoff, seed=11)
    flow.train_generation(database, COINS, numbers[0], holder="test")
    flow.evaluate_generation(database, COINS, numbers[0], holder="test")
    before = generations.champion(database, COINS.name)

    with pytest.raises(DataError, match=f"generation {numbers[1]}"):
        flow.judge_cutoff(database, COINS, cutoff=cutoff, holder="test")

    assert generations.champion(database, COINS.name) == before


def test_a_rolled_back_generation_is_not_promoted_again_by_a_repeated_judge(
    database: Database,
) -> None:
    live(database, 3)
    cutoffs = [START + day * DAY for day in (2, 3)]
    generations.promote(
        database, COINS.name, 0, by="a person", reason="rollback", now=START + 3.5 * DAY
    )

    for cutoff in cutoffs:
        flow.judge_cutoff(database, COINS, cutoff=cutoff, holder="test")

    assert generations.champion(database, COINS.name) == 0


class _Broken(CoinWorld):
    """Outcomes before their decisions, of unknown decisions, and without a value."""

    def outcomes(self, decisions: pl.DataFrame, as_of: datetime) -> pl.DataFrame:
        found = super().outcomes(decisions, as_of)
        row = pl.int_range(pl.len())
        return found.with_columns(
            observed_at=pl.when(row == 0)
            .then(pl.col("observed_at") - timedelta(days=9))
            .otherwise("observed_at"),
            decision_id=pl.when(row == 1).then(-5).otherwise("decision_id"),
            reward=pl.when(row == 2).then(float("nan")).otherwise("reward"),
        )


def test_impossible_outcomes_go_to_quarantine_and_the_others_are_kept(database: Database) -> None:
    domain = with_world(_Broken(per_day=50))
    flow.begin(database, domain, now=START, seed=11)
    flow.catch_up(database, domain, until=START + DAY, holder="test")

    settled = flow.settle(database, domain, as_of=START + 1.5 * DAY, holder="test")

    assert settled == 47
    assert counts(database)["quarantine"] == 3


def test_a_score_that_is_not_a_number_is_set_aside_and_its_unit_waits(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    act = Table.act

    def poisoned(self: Table, *arguments: object) -> object:
        draw = act(self, *arguments)  # type: ignore[arg-type]
        assert draw.scores is not None
        draw.scores[0, 0] = np.nan
        return draw

    flow.begin(database, COINS, now=START, seed=11)
    flow.arrive(database, COINS, start=START, end=START + DAY, holder="test")
    monkeypatch.setattr(Table, "act", poisoned)
    flow.decide(database, COINS, now=START + DAY, holder="test")
    waiting = decision_log.pending(database, COINS.name, START + DAY)

    assert counts(database)["quarantine"] == 1
    assert waiting.height == 1


def test_a_decision_given_twice_with_other_content_is_refused(database: Database) -> None:
    flow.begin(database, COINS, now=START, seed=11)
    flow.catch_up(database, COINS, until=START + DAY, holder="test")
    stored = decision_log.decisions(
        database, COINS.name, decision_log.sample_ids(database, COINS.name, 1, 1)
    ).drop("reference", "observed_at", "payload")

    again = decision_log.append(database, COINS.name, "decision", "again", stored, now=START + DAY)
    with pytest.raises(ConflictingRecord):
        decision_log.append(
            database,
            COINS.name,
            "decision",
            "changed",
            stored.with_columns(arm=pl.lit("other")),
            now=START + DAY,
        )

    assert (again.written, again.present) == (0, 1)


def logged_coins(late: dict[datetime, datetime] | None = None) -> Domain:
    """Coins that others toss: the baseline's decisions, an outcome a minute later."""

    def logged(start: datetime, end: datetime) -> Log:
        world = CoinWorld(per_day=40)
        nothing = pl.DataFrame(schema={"reward": pl.Float64(), "parent_id": pl.Int64()})
        arrivals = world.arrivals(
            start,
            end,
            nothing.with_columns(
                **{name: pl.lit(None) for name in ("reference", "colour", "weight", "decision_id")}
            ),
        )
        units = arrivals.select(
            pl.int_range(pl.len()).cast(pl.Int64).alias("unit_id"),
            "reference",
            "observed_at",
            payload=pl.struct(list(COINS.units)).struct.json_encode(),
        )
        made = flow.decisions_for(COINS, COINS.baseline, units, seed=1, generation=0, now=end)
        made = made.with_columns(
            decided_at=units["observed_at"] + timedelta(seconds=1), reference=units["reference"]
        )
        columns = units.with_columns(arrivals["colour"])
        known = world.outcomes(
            made.join(columns.select("unit_id", "colour"), on="unit_id"), END_OF_TIME
        )
        return Log(
            arrivals=arrivals,
            decisions=made.drop("unit_id", "decision_id"),
            outcomes=known.with_columns(reference=units["reference"]).drop("decision_id"),
        )

    return replace(COINS, world=None, logged=logged)


@pytest.mark.parametrize("killed_after", [0, 1, 2])
def test_an_ingest_killed_after_any_write_is_completed_by_the_next(
    database: Database, monkeypatch: pytest.MonkeyPatch, killed_after: int
) -> None:
    domain, append = logged_coins(), decision_log.append
    done: list[str] = []

    def killed(*arguments: object, **named: object) -> object:
        if len(done) == killed_after:
            raise KeyboardInterrupt
        done.append("write")
        return append(*arguments, **named)  # type: ignore[arg-type]

    cutoff = START + 9 * DAY
    monkeypatch.setattr(decision_log, "append", killed)
    with pytest.raises(KeyboardInterrupt):
        flow.prepare(database, domain, cutoff=cutoff, seed=1, holder="task")
    monkeypatch.undo()
    flow.prepare(database, domain, cutoff=cutoff, seed=1, holder="task")
    whole = counts(database)
    asked: list[datetime] = []

    def logged(start: datetime, end: datetime) -> Log:
        asked.append(start)
        assert domain.logged is not None
        return domain.logged(start, end)

    again = replace(domain, logged=logged)
    flow.prepare(database, again, cutoff=cutoff, seed=1, holder="task")

    assert whole["unit"] == whole["decision"] == whole["outcome"] == 4 * 40
    assert counts(database) == whole
    assert asked == [cutoff - 3 * DAY, cutoff - 2 * DAY, cutoff - DAY]  # those of the grace


def test_outcomes_of_others_that_become_known_later_are_ingested_later(
    database: Database,
) -> None:
    def slow(start: datetime, end: datetime) -> Log:
        assert domain.logged is not None
        log = domain.logged(start, end)
        return replace(log, outcomes=log.outcomes.with_columns(pl.col("observed_at") + DAY))

    domain = logged_coins()
    late = replace(domain, logged=slow)
    flow.prepare(database, late, cutoff=START + 9 * DAY, seed=1, holder="task")
    first = counts(database)
    flow.prepare(database, late, cutoff=START + 10 * DAY, seed=1, holder="task")
    second = counts(database)

    assert first["quarantine"] == second["quarantine"] == 0
    assert first["outcome"] == first["decision"] - 40
    assert second["outcome"] == second["decision"] - 40
    assert second["decision"] == first["decision"] + 40


@dataclass(frozen=True)
class _Belated(CoinWorld):
    """Coins whose last unit of a day is written only after midnight, and whose weights change."""

    written: bool = False

    def arrivals(self, start: datetime, end: datetime, settled: pl.DataFrame) -> pl.DataFrame:
        found = super().arrivals(start, end, settled)
        if self.written:
            return found.with_columns(weight=pl.col("weight") * 2)
        return found.filter(~pl.col("reference").str.ends_with(f"-{self.per_day - 1}"))


def test_units_that_their_source_wrote_after_midnight_arrive_with_the_next_run(
    database: Database,
) -> None:
    early, later = (with_world(_Belated(per_day=20, written=each)) for each in (False, True))
    flow.begin(database, early, now=START, seed=11)

    first = flow.catch_up(database, early, until=START + DAY, holder="test")
    second = flow.catch_up(database, later, until=START + 2 * DAY, holder="test")
    third = flow.catch_up(database, later, until=START + 2 * DAY, holder="test")

    seen = flow.history(database, COINS, since=START, until=START + 3 * DAY, as_of=START + 3 * DAY)
    belated = seen.filter(pl.col("reference").str.ends_with("-19")).sort("observed_at")
    assert (first, second, third) == (19, 21, 0)
    assert belated["observed_at"].dt.day().to_list() == [1, 2]
    assert belated["decided_at"].to_list() == [START + 2 * DAY] * 2


def test_successive_units_do_not_arrive_once_the_next_day_has_begun(database: Database) -> None:
    early, later = (
        replace(with_world(_Belated(per_day=20, written=each)), successive=True)
        for each in (False, True)
    )
    flow.begin(database, early, now=START, seed=11)

    first = flow.catch_up(database, early, until=START + DAY, holder="test")
    second = flow.catch_up(database, later, until=START + 2 * DAY, holder="test")

    seen = flow.history(database, COINS, since=START, until=START + 3 * DAY, as_of=START + 3 * DAY)
    belated = seen.filter(pl.col("reference").str.ends_with("-19"))
    assert (first, second) == (19, 20)
    assert belated["observed_at"].dt.day().to_list() == [2]


def test_a_unit_without_an_eligible_action_does_not_hold_up_the_others(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[int] = []

    def picky(context: pl.DataFrame) -> BoolArray:
        tried.append(context.height)
        if (context["weight"] < 1e-11).any():
            raise NoEligibleAction("weight is too small for any action")
        return COINS.eligible(context)

    domain = replace(COINS, eligible=picky)
    flow.begin(database, domain, now=START, seed=11)
    flow.arrive(database, domain, start=START, end=START + DAY, holder="test")
    light = (
        flow.unit_columns(decision_log.pending(database, domain.name, START + DAY), domain)
        .filter(pl.col("weight") < 1e-11)
        .height
    )
    taken = flow.decide(database, domain, now=START + DAY, holder="test")
    set_aside = counts(database)["quarantine"]
    tried.clear()
    again = flow.decide(database, domain, now=START + 2 * DAY, holder="test")

    assert light > 0
    assert (taken, again) == (300 - light, 0)
    assert set_aside == counts(database)["quarantine"] == light
    assert tried == []
    flow.begin(database, COINS, now=START, seed=11)
    number = generations.plan(
        database, COINS.name, cutoff=START + DAY, policies=["means"], seed=3, config={},
        code_version="test", now=START + DAY,
    )[0]  # fmt: skip
    generations.record_artifact(
        database, COINS.name, number, generations.artifact(database, COINS.name, 0), rows=0,
        details={}, now=START + DAY,
    )  # fmt: skip
    generations.promote(
        database, COINS.name, number, by="a person", reason="mended", now=START + DAY
    )
    assert flow.decide(database, COINS, now=START + 2 * DAY, holder="test") == light
    assert audit.verify(database).broken is None


def test_a_policy_that_decides_nothing_is_an_error_and_sets_no_unit_aside(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Table, *arguments: object) -> object:
        raise ValueError("no tree")

    flow.begin(database, COINS, now=START, seed=11)
    flow.arrive(database, COINS, start=START, end=START + DAY, holder="test")
    monkeypatch.setattr(Table, "act", broken)

    with pytest.raises(ValueError, match="no tree"):
        flow.decide(database, COINS, now=START + DAY, holder="test")

    assert counts(database)["quarantine"] == 0


def test_a_decision_refused_once_is_not_tried_again_by_the_same_generation(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    act, tried = Table.act, list[int]()

    def poisoned(self: Table, context: pl.DataFrame, *arguments: object) -> object:
        tried.append(context.height)
        draw = act(self, context, *arguments)  # type: ignore[arg-type]
        assert draw.scores is not None
        draw.scores[0, 0] = np.nan
        return draw

    flow.begin(database, COINS, now=START, seed=11)
    flow.arrive(database, COINS, start=START, end=START + DAY, holder="test")
    monkeypatch.setattr(Table, "act", poisoned)
    flow.decide(database, COINS, now=START + DAY, holder="test")
    flow.decide(database, COINS, now=START + 2 * DAY, holder="test")

    assert tried == [300]
    assert counts(database)["quarantine"] == 1
