from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from decisions import flow
from decisions.bandits.policies import Uniform
from decisions.domains.payments import DOMAIN, WORLD
from decisions.domains.payments.parquet import has_table, parquet_reader
from decisions.domains.payments.tables import ATTEMPTS, TIME_COLUMN, Reader, Table, checked
from decisions.domains.payments.training import context_of
from decisions.domains.payments.transactions import logged, with_log, with_transactions
from decisions.errors import DataError
from decisions.frames import DECISIONS
from decisions.policy import choose, pick
from decisions.seeds import RowKeys
from decisions.store import audit
from decisions.store.database import Database

Alter = Callable[[pl.DataFrame], pl.DataFrame]
START = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
N = 50


def attempts() -> pl.DataFrame:
    day = (START - datetime(1970, 1, 1, tzinfo=UTC)).days
    made = WORLD.environment.arrivals(day, np.arange(N, dtype=np.int64), per_day=N)
    return made.drop("parent_id").with_columns(retry_of=pl.lit(None, pl.String()))


def outcomes() -> pl.DataFrame:
    return attempts().select(
        "reference",
        reward=(pl.int_range(pl.len()) % 3 > 0).cast(pl.Float64),
        observed_at=pl.col("observed_at") + timedelta(minutes=2),
    )


def decisions() -> pl.DataFrame:
    frame = attempts()
    context = context_of(frame.with_columns(parent_id=pl.lit(None, pl.Int64())))
    eligible = DOMAIN.eligible(context)
    p = Uniform().probabilities(context, eligible)
    action = choose(p, RowKeys(1, np.arange(N)).uniforms("own")[:, 0])
    return frame.select(
        "reference",
        decided_at=pl.col("observed_at") + timedelta(minutes=1),
        policy=pl.lit("rules-7"),
        arm=pl.lit("explore"),
        eligible=pl.Series(
            [np.flatnonzero(row).tolist() for row in eligible], dtype=pl.List(pl.Int16())
        ),
        probabilities=pl.Series([row[row > 0].tolist() for row in p]),
        action=pl.Series(action),
        propensity=pl.Series(pick(p, action)),
    )


def reader(**altered: pl.DataFrame) -> Reader:
    tables = {"attempts": attempts(), "decisions": decisions(), "outcomes": outcomes()} | altered

    def read(table: Table, start: datetime, end: datetime) -> pl.DataFrame:
        del start, end
        return tables[table]

    return read


def at(row: int, column: str, value: object) -> Alter:
    here = pl.int_range(pl.len()) == row
    return lambda frame: frame.with_columns(
        pl.when(here).then(pl.lit(value)).otherwise(pl.col(column)).alias(column)
    )


def listed(column: str, value: list[int | None] | list[float] | None) -> Alter:
    """Row 2's list in `column` is `value`; the column's own type, but for wide integers."""
    wide = pl.List(pl.Int64() if column == "eligible" else pl.Float64())
    here = pl.int_range(pl.len()) == 2
    return lambda frame: frame.with_columns(
        pl.when(here)
        .then(pl.lit(pl.Series([value], dtype=wide)).first())
        .otherwise(pl.col(column).cast(wide))
        .alias(column)
    )


def with_(*columns: pl.Expr, **named: pl.Expr) -> Alter:
    return lambda frame: frame.with_columns(*columns, **named)


def without(column: str) -> Alter:
    return lambda frame: frame.drop(column)


def with_row_twice(row: int) -> Alter:
    return lambda frame: pl.concat([frame, frame[row : row + 1]])


def probabilities_all(strange: float | None) -> Alter:
    """Every probability of row 2 becomes `strange`."""

    def alter(frame: pl.DataFrame) -> pl.DataFrame:
        many = pl.lit(strange, pl.Float64()).repeat_by(pl.col("eligible").list.len())
        second = pl.int_range(pl.len()) == 2
        return frame.with_columns(
            pl.when(second).then(many).otherwise("probabilities").alias("probabilities")
        )

    return alter


@pytest.mark.parametrize(
    ("table", "alter", "words"),
    [
        ("attempts", without("risk"), ["missing columns ['risk']"]),
        ("attempts", with_(more=pl.lit(1)), ["unexpected columns ['more']"]),
        ("attempts", with_(risk=pl.lit("high")), ["risk is String"]),
        ("attempts", at(4, "risk", float("nan")), ["row 4", "column risk", "NaN"]),
        ("attempts", at(4, "risk", float("inf")), ["row 4", "column risk", "finite"]),
        ("attempts", at(7, "amount_minor", 0), ["row 7", "column amount_minor", "above 0"]),
        ("attempts", at(7, "currency", "USD"), ["row 7", "column currency", "USD"]),
        ("attempts", at(3, "hour", 24), ["row 3", "column hour", "0 to 23"]),
        ("attempts", at(3, "card", None), ["row 3", "column card", "wanted a value"]),
        ("attempts", at(9, "attempt_no", 0), ["row 9", "column attempt_no"]),
        ("attempts", with_row_twice(5), ["row 5", "reference", "only once"]),
        (
            "attempts",
            with_(pl.col("observed_at").dt.replace_time_zone(None)),
            ["observed_at", "naive"],
        ),
        ("outcomes", at(2, "reward", 0.5), ["row 2", "column reward", "0 or 1"]),
        ("decisions", at(2, "action", 24), ["row 2", "column action", "24"]),
        ("decisions", at(2, "arm", "other"), ["row 2", "column arm"]),
        ("decisions", listed("eligible", [0, None]), ["row 2", "column eligible", "[0,null]"]),
        ("decisions", listed("eligible", [0, 70_000]), ["row 2", "column eligible", "70000"]),
        ("decisions", listed("eligible", [1, 0]), ["row 2", "column eligible", "ascending"]),
        ("decisions", listed("eligible", [0, 0]), ["row 2", "column eligible", "ascending"]),
        ("decisions", listed("eligible", []), ["row 2", "column eligible"]),
        ("decisions", listed("eligible", None), ["row 2", "column eligible", "a value"]),
        ("decisions", with_(eligible=pl.col("probabilities")), ["eligible is List(Float64)"]),
        ("decisions", with_(eligible=pl.col("action")), ["eligible is Int64"]),
        (
            "decisions",
            listed("probabilities", [1.0] * 25),
            ["row 2", "column probabilities", "one for each of eligible"],
        ),
        ("decisions", listed("probabilities", None), ["row 2", "probabilities", "a value"]),
        *(
            (
                "decisions",
                probabilities_all(strange),
                ["row 2", "column probabilities", "finite numbers of 0 or more"],
            )
            for strange in (float("nan"), float("inf"), -0.1, None)
        ),
    ],
)  # fmt: skip
def test_a_table_that_breaks_a_rule_is_refused_by_row_and_column(
    table: Table, alter: Alter, words: list[str]
) -> None:
    sound = {"attempts": attempts, "outcomes": outcomes, "decisions": decisions}[table]()
    assert checked(sound, table).height == N

    with pytest.raises(DataError) as refusal:
        checked(alter(sound), table)

    assert all(word in str(refusal.value) for word in [table, *words]), str(refusal.value)


@pytest.mark.parametrize(
    ("alter", "words"),
    [
        (at(6, "propensity", 0.9999), "row 6 .*propensity is not the probability of the action"),
        (at(6, "propensity", 0.0), "propensity is not above 0"),
        (
            with_(pl.col("probabilities") * 1.01),
            "probabilities do not sum to one",
        ),
        (
            with_(
                action=pl.when(pl.col("eligible").list.contains(1))
                .then("action")
                .otherwise(pl.lit(1, pl.Int64()))
            ),
            "action is not eligible",
        ),
        (at(6, "reference", "nobody"), "not among the attempts"),
    ],
)
def test_a_log_that_breaks_a_rule_is_refused(alter: Alter, words: str) -> None:
    read = reader(decisions=alter(decisions()))

    with pytest.raises(DataError, match=words):
        logged(read, START, START + DAY)


def test_probabilities_of_single_precision_are_renormalised_and_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    single = decisions().with_columns(
        pl.col("probabilities").cast(pl.List(pl.Float32)), pl.col("propensity").cast(pl.Float32)
    )
    exact = pl.int_range(pl.len()) % 2 == 0  # half of the rows beside a propensity in full
    mixed = single.with_columns(
        propensity=pl.when(exact)
        .then(decisions()["propensity"])
        .otherwise(pl.col("propensity").cast(pl.Float64))
    )
    sums = mixed["probabilities"].cast(pl.List(pl.Float64)).list.sum()
    rounded = int(((sums - 1).abs() > 1e-9).sum())
    assert rounded > 0

    with caplog.at_level("INFO"):
        log = logged(reader(decisions=mixed), START, START + DAY)

    assert ((log.decisions["probabilities"].list.sum() - 1).abs() <= 1e-9).all()
    own = decisions().sort("decided_at")
    np.testing.assert_allclose(log.decisions["propensity"], own["propensity"], atol=1e-6)
    [record] = [r for r in caplog.records if "put right" in r.message]
    assert record.__dict__["renormalised"] == rounded
    assert log.decisions["action"].list.first().cast(pl.Int64).equals(own["action"])


def test_a_sound_log_is_not_renormalised(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        log = logged(reader(), START, START + DAY)

    own = decisions().sort("decided_at")
    assert log.decisions["propensity"].equals(own["propensity"])
    assert log.decisions["probabilities"].to_list() == own["probabilities"].to_list()
    assert not caplog.records


@pytest.mark.parametrize("off", [2e-6, -2e-6])
def test_what_is_off_by_more_than_rounding_is_refused(off: float) -> None:
    sums = decisions().with_columns(
        pl.col("probabilities") * (1 + off), propensity=pl.col("propensity") * (1 + off)
    )
    own = decisions().with_columns(propensity=pl.col("propensity") + off)

    with pytest.raises(DataError, match="do not sum to one"):
        logged(reader(decisions=sums), START, START + DAY)
    with pytest.raises(DataError, match="not the probability of the action"):
        logged(reader(decisions=own), START, START + DAY)


def test_a_decision_before_its_attempt_is_refused_by_row() -> None:
    early = decisions().with_columns(
        pl.when(pl.int_range(pl.len()) == 6)
        .then(pl.col("decided_at") - timedelta(hours=1))
        .otherwise("decided_at")
    )

    with pytest.raises(DataError, match=r"row 6 .*column decided_at: .*its attempt at"):
        logged(reader(decisions=early), START, START + DAY)


def test_an_outcome_before_its_decision_is_refused() -> None:
    early = outcomes().with_columns(pl.col("observed_at") - timedelta(hours=1))

    with pytest.raises(DataError, match="no earlier than its decision"):
        logged(reader(outcomes=early), START, START + DAY)


def test_a_sound_log_keeps_its_actions_and_redraws_them() -> None:
    log = logged(reader(), START, START + DAY)

    sound = decisions().sort("decided_at")
    assert log.decisions["action"].list.first().cast(pl.Int64).equals(sound["action"])
    assert set(log.decisions.columns) == {*DECISIONS, "reference"} - {"decision_id", "unit_id"}
    p = np.zeros((N, 24))
    for row, (eligible, probabilities) in enumerate(
        log.decisions.select("eligible", "probabilities").iter_rows()
    ):
        p[row, eligible] = probabilities
    again = choose(p, log.decisions["uniform"].to_numpy())
    np.testing.assert_array_equal(again, sound["action"].to_numpy())


def test_parquet_files_are_a_world(tmp_path: Path) -> None:
    (tmp_path / "attempts").mkdir()
    frame = attempts().with_columns(
        pl.col("hour").cast(pl.Int8), pl.col("observed_at").dt.cast_time_unit("ms")
    )
    frame.head(20).write_parquet(tmp_path / "attempts" / "a.parquet")
    frame.tail(N - 20).write_parquet(tmp_path / "attempts" / "b.parquet")
    outcomes().write_parquet(tmp_path / "outcomes.parquet")
    world = with_transactions(DOMAIN, parquet_reader(tmp_path)).world
    assert world is not None

    arrived = world.arrivals(START, START + DAY, pl.DataFrame())
    noon = START + DAY / 2
    morning = world.arrivals(START, noon, pl.DataFrame())
    taken = arrived.with_columns(
        decision_id=pl.int_range(pl.len(), dtype=pl.Int64), decided_at=pl.col("observed_at")
    )
    known = world.outcomes(taken, noon)

    units = [name for name in DOMAIN.units if name != "parent_id"]
    assert arrived.columns == ["reference", "observed_at", *units, "parent_reference"]
    assert arrived.height == N
    assert 0 < morning.height < N
    assert (morning["observed_at"] < noon).all()
    assert known.columns == ["reference", "reward", "observed_at"]
    assert 0 < known.height < N
    assert (known["observed_at"] <= noon).all()


def spans(**altered: pl.DataFrame) -> Reader:
    """As `reader`, but only the rows of the span asked for."""
    tables = {"attempts": attempts(), "decisions": decisions(), "outcomes": outcomes()} | altered

    def read(table: Table, start: datetime, end: datetime) -> pl.DataFrame:
        between = pl.col(TIME_COLUMN[table]).is_between(start, end, closed="left")
        return tables[table].filter(between)

    return read


@pytest.mark.parametrize("executed", ["at once", "after midnight"])
def test_outcomes_settle_only_decisions_that_came_before_them(
    database: Database, executed: str
) -> None:
    known = outcomes()
    if executed == "after midnight":
        known = known.with_columns(pl.col("observed_at") + DAY)
    domain = with_transactions(DOMAIN, spans(outcomes=known))
    flow.begin(database, domain, now=START, seed=5)  # the order of the DAGs: decide, settle

    taken = flow.catch_up(database, domain, until=START + DAY, holder="test")
    settled = flow.settle(database, domain, as_of=START + 3 * DAY, holder="test")

    with database.reading() as connection:
        aside = connection.exec_driver_sql("select reason from quarantine").all()
    reasons = [row.reason for row in aside]
    assert taken == N
    if executed == "after midnight":
        assert (settled, reasons) == (N, [])
    else:
        assert (settled, reasons) == (0, ["outcome lies before its decision"] * N)


def test_own_decisions_are_ingested_with_outcomes_that_come_a_day_later(
    database: Database,
) -> None:
    last = pl.int_range(pl.len()) == pl.len() - 1
    late = pl.int_range(pl.len()) % 2 == 0
    tables = spans(
        decisions=decisions().with_columns(  # the last attempt is decided on the next day
            pl.when(last).then(pl.col("decided_at") + DAY).otherwise("decided_at")
        ),
        outcomes=outcomes().with_columns(
            pl.when(late | last).then(pl.col("observed_at") + DAY).otherwise("observed_at")
        ),
    )
    small = replace(with_log(DOMAIN, tables), maturity=timedelta(0), holdout=DAY, window=DAY)
    cutoff = START + 2 * DAY

    flow.prepare(database, small, cutoff=cutoff, seed=1, holder="test")
    flow.prepare(database, small, cutoff=cutoff, seed=1, holder="again")

    seen = flow.history(database, small, since=START, until=cutoff, as_of=cutoff)
    wanted = {row["reference"]: row["reward"] for row in outcomes().iter_rows(named=True)}
    assert dict(seen.select("reference", "reward").iter_rows()) == wanted
    own = decisions().sort("reference")
    assert seen.sort("reference")["propensity"].equals(own["propensity"])
    with database.reading() as connection:
        assert not connection.exec_driver_sql("select reason from quarantine").all()


def test_one_reference_with_a_zero_byte_holds_up_no_other_attempt(database: Database) -> None:
    spoilt = at(3, "reference", "a\0b")
    domain = with_transactions(DOMAIN, spans(attempts=spoilt(attempts())))
    flow.begin(database, domain, now=START, seed=5)

    taken = [
        flow.catch_up(database, domain, until=START + day * DAY, holder="test") for day in (1, 2)
    ]

    with database.reading() as connection:
        aside = connection.exec_driver_sql(
            "select reason, content from quarantine where kind = 'unit'"
        ).all()
    assert taken == [N - 1, 0]
    assert [row.reason for row in aside] == ["text holds a zero byte"]
    assert "a␀b" in aside[0].content


def test_a_folder_says_which_tables_it_has(tmp_path: Path) -> None:
    assert not has_table(tmp_path, "decisions")
    (tmp_path / "decisions").mkdir()
    assert has_table(tmp_path, "decisions")


def retried(*days: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Attempts of START's day, and the third of them repeated on each of some later days."""
    first = attempts()
    third = first[2:3]
    again = [
        third.with_columns(
            reference=pl.lit(f"again {day}"),
            observed_at=pl.col("observed_at") + day * DAY,
            retry_of="reference",
            attempt_no=pl.lit(2, pl.Int64()),
        )
        for day in days
    ]
    return first, pl.concat(again)


@pytest.mark.parametrize("day", [1, 2, 3, 20])
def test_a_retry_is_linked_to_its_decline_however_many_days_later(
    database: Database, day: int
) -> None:
    first, again = retried(day)
    domain = with_transactions(DOMAIN, spans(attempts=pl.concat([first, again])))
    flow.begin(database, domain, now=START, seed=5)

    for until in (START + DAY, START + (day + 1) * DAY):
        flow.catch_up(database, domain, until=until, holder="test")
    start = START + day * DAY
    flow.arrive(database, domain, start=start, end=start + DAY, holder="again")

    until = START + (day + 2) * DAY
    seen = flow.history(database, domain, since=START, until=until, as_of=until)
    parent = seen.filter(pl.col("reference") == first["reference"][2])["decision_id"][0]
    child = seen.filter(pl.col("reference") == f"again {day}")
    assert child["parent_id"].to_list() == [parent]
    assert seen["parent_id"].null_count() == N


def test_retries_of_a_log_are_linked_within_a_day_and_across_days(database: Database) -> None:
    first, again = retried(0, 2)
    again = again.with_columns(pl.col("observed_at") + timedelta(minutes=5))
    third = decisions()[2:3]
    repeated = [
        third.with_columns(
            reference=pl.lit(f"again {day}"),
            decided_at=pl.col("decided_at") + day * DAY + timedelta(minutes=6),
        )
        for day in (0, 2)
    ]
    tables = spans(
        attempts=pl.concat([first, again]), decisions=pl.concat([decisions(), *repeated])
    )
    small = replace(with_log(DOMAIN, tables), maturity=timedelta(0), holdout=DAY, window=3 * DAY)

    flow.prepare(database, small, cutoff=START + 4 * DAY, seed=1, holder="test")

    until = START + 4 * DAY
    seen = flow.history(database, small, since=START, until=until, as_of=until)
    parent = seen.filter(pl.col("reference") == first["reference"][2])["decision_id"][0]
    children = seen.filter(pl.col("reference").str.starts_with("again"))
    assert children["parent_id"].to_list() == [parent, parent]
    assert quarantined(database) == []


def quarantined(database: Database) -> list[tuple[str, str]]:
    with database.reading() as connection:
        rows = connection.exec_driver_sql(
            "select kind, reason from quarantine order by kind, reason"
        ).all()
    return [tuple(row) for row in rows]


NO_UNIT = ("outcome", "no unit has the reference of this outcome")


def test_outcomes_whose_reference_matches_nothing_are_set_aside_once_and_shown(
    database: Database,
) -> None:
    known = outcomes().with_columns(
        pl.col("observed_at") + DAY,  # after the decision at midnight
        reference=pl.when(pl.int_range(pl.len()) < 2)
        .then(pl.col("reference") + " ")
        .otherwise("reference"),
    )
    domain = with_transactions(DOMAIN, spans(outcomes=known))
    flow.begin(database, domain, now=START - flow.LOOKBACK, seed=5)
    flow.catch_up(database, domain, until=START + DAY, holder="test")

    early = flow.settle(database, domain, as_of=START + 2 * DAY, holder="test")
    before = quarantined(database)
    later = [
        flow.settle(database, domain, as_of=START + day * DAY, holder="test") for day in (5, 6)
    ]

    assert (early, later) == (N - 2, [0, 0])
    assert before == []  # their attempts might still be written
    assert quarantined(database) == [NO_UNIT] * 2
    with database.reading() as connection:
        text = connection.exec_driver_sql("select content from quarantine").scalars().all()
    assert all(f'"reference":"{name} "' in "".join(text) for name in attempts()["reference"][:2])


def test_outcomes_of_attempts_from_before_the_domain_began_are_passed_over(
    database: Database,
) -> None:
    spread = pl.concat(
        outcomes().with_columns(
            pl.format("before {} {}", "reference", pl.lit(day)).alias("reference"),
            pl.col("observed_at") + day * DAY,
        )
        for day in range(-8, 10)
    )
    domain = with_transactions(DOMAIN, spans(outcomes=spread))
    flow.begin(database, domain, now=START, seed=5)

    for day in range(1, 10):
        flow.catch_up(database, domain, until=START + day * DAY, holder="test")
        flow.settle(database, domain, as_of=START + day * DAY, holder="test")
    early = quarantined(database)
    flow.settle(database, domain, as_of=START + 11 * DAY, holder="test")

    assert early == []
    assert quarantined(database) == [NO_UNIT] * 2 * N  # the eighth day and the ninth


def test_outcomes_of_a_log_that_match_nothing_are_set_aside(database: Database) -> None:
    strange = outcomes().with_columns(
        reference=pl.when(pl.int_range(pl.len()) == 4)
        .then(pl.col("reference") + "\0")
        .when(pl.int_range(pl.len()) == 5)
        .then(pl.col("reference") + " ")
        .otherwise("reference")
    )
    tables = spans(outcomes=strange)
    small = replace(with_log(DOMAIN, tables), maturity=timedelta(0), holdout=DAY, window=DAY)

    for holder in ("test", "again"):
        flow.prepare(database, small, cutoff=START + 2 * DAY, seed=1, holder=holder)

    until = START + 2 * DAY
    seen = flow.history(database, small, since=START, until=until, as_of=until)
    assert seen["reward"].null_count() == 2
    assert quarantined(database) == [NO_UNIT] * 2


@pytest.mark.parametrize("log", [False, True])
def test_a_chargeback_corrects_an_authorisation_and_both_stay(
    database: Database, *, log: bool
) -> None:
    after = outcomes().with_columns(pl.col("observed_at") + DAY)
    back = after.filter(pl.col("reward") == 1).head(3)
    charged = back.with_columns(reward=pl.lit(0.0), observed_at=pl.col("observed_at") + 30 * DAY)
    tables = spans(outcomes=pl.concat([after, charged]))
    domain = with_log(DOMAIN, tables) if log else with_transactions(DOMAIN, tables)
    flow.begin(database, domain, now=START, seed=5)
    until = START + 40 * DAY

    if log:
        for day in range(40):
            span = {"start": START + day * DAY, "end": START + (day + 1) * DAY}
            flow.ingest_log(database, domain, **span, holder="test")
    else:
        flow.catch_up(database, domain, until=START + DAY, holder="test")
        for day in (2, 3, 31, 32, 33):
            flow.settle(database, domain, as_of=START + day * DAY, holder="test")

    def failures(as_of: datetime) -> int:
        seen = flow.history(database, domain, since=START, until=until, as_of=as_of)
        assert seen["reward"].null_count() == 0
        return int((seen["reward"] == 0).sum())

    declined = int((outcomes()["reward"] == 0).sum())
    assert failures(START + 20 * DAY) == declined
    assert failures(until) == declined + 3
    assert quarantined(database) == []
    assert audit.verify(database).broken is None


def test_two_outcomes_of_one_attempt_at_one_time_are_refused() -> None:
    twice = pl.concat([outcomes(), outcomes()[7:8]])

    with pytest.raises(DataError, match=r"row 7 .*column observed_at.*a correction has its own"):
        checked(twice, "outcomes")


def test_a_folder_without_tables_says_what_it_wants(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"attempts\.parquet"):
        parquet_reader(tmp_path)("attempts", START, START + DAY)


def test_the_documentation_names_every_column() -> None:
    text = (Path(__file__).parents[3] / "docs" / "transactions.md").read_text()

    assert all(f"`{name}`" in text for name in ATTEMPTS)
