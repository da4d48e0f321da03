"""A rolling plant goes on where the decision of the day's start led."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from decisions.domains.lotsizing.instance import packaged
from decisions.domains.lotsizing.plant import PlantState
from decisions.domains.lotsizing.world import UNITS, RollingPlants, lived, state_of
from decisions.errors import DataError
from decisions.frames import UTC_TIME

WORLD = RollingPlants(instance=packaged("20x10"), plants=3)
START = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
NONE = pl.DataFrame(
    schema={
        "observed_at": UTC_TIME,
        "decision_id": pl.Int64(),
        "decided_at": UTC_TIME,
        "action": pl.List(pl.Float64()),
    }
    | dict(UNITS)
)


def decided(units: pl.DataFrame, action: list[int]) -> pl.DataFrame:
    """History in which every plant was told the same."""
    machines = WORLD.instance.machines
    return units.with_columns(
        decision_id=pl.int_range(units.height).cast(pl.Int64),
        decided_at=pl.col("observed_at") + timedelta(minutes=1),
        action=pl.Series([[float(item) for item in action] + [0.0] * machines] * units.height),
    ).select(NONE.columns)


STATIC = [9, 8, 10, 7, 15, 1, 3, 12, 16, 17]
FIRST = WORLD.arrivals(START, START + DAY, NONE)


def test_a_plant_without_a_past_starts_afresh_and_the_same_whenever_asked() -> None:
    assert FIRST.equals(WORLD.arrivals(START, START + DAY, NONE))
    assert FIRST["plant"].to_list() == ["20x10/1", "20x10/2", "20x10/3"]
    assert FIRST["period"].to_list() == [0, 0, 0]
    assert FIRST["demand"].list.len().to_list() == [0, 0, 0]
    assert FIRST["observed_at"].is_between(START, START + DAY, closed="left").all()
    assert len({tuple(stock) for stock in FIRST["inventory"].to_list()}) == 3


def test_the_next_closing_stock_is_what_production_and_demand_left() -> None:
    history = decided(FIRST, STATIC)

    following = WORLD.arrivals(START + DAY, START + 2 * DAY, history)

    before, after = (np.array(each["inventory"].to_list()) for each in (FIRST, following))
    made, asked, lost = (
        np.array(following[name].to_list()) for name in ("produced", "demand", "lost")
    )
    assert following["period"].to_list() == [1, 1, 1]
    np.testing.assert_array_equal(after, np.minimum(before + made - asked + lost, 100))
    assert following["set_up"].to_list() == [STATIC] * 3


def test_rewards_are_minus_the_costs_that_the_next_unit_tells_and_known_a_day_later() -> None:
    history = decided(FIRST, STATIC)
    following = WORLD.arrivals(START + DAY, START + 2 * DAY, history)

    early = WORLD.outcomes(history, START + 2 * DAY - timedelta(seconds=1))
    known = WORLD.outcomes(history, START + 2 * DAY)

    told = following.select(pl.sum_horizontal("setup_cost", "lost_cost", "holding_cost"))
    assert early.is_empty()
    np.testing.assert_array_equal(known["reward"], -told.to_series())
    assert known["observed_at"].to_list() == [START + 2 * DAY] * 3


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"decided_at": pl.col("decided_at") + DAY}, id="decided too late"),
        pytest.param({"instance": pl.lit("another")}, id="of another plant"),
        pytest.param({"instance": pl.lit(None, pl.String())}, id="of no plant"),
    ],
)
def test_a_decision_that_was_not_carried_out_has_no_outcome(changed: dict[str, pl.Expr]) -> None:
    first = pl.col("plant") == "20x10/1"
    history = decided(FIRST, STATIC).with_columns(
        pl.when(first).then(value).otherwise(name).alias(name) for name, value in changed.items()
    )

    known = WORLD.outcomes(history, START + 9 * DAY)

    assert known["decision_id"].to_list() == [1, 2]


def test_a_decision_of_an_instance_of_another_size_has_no_outcome() -> None:
    smaller = RollingPlants(instance=packaged("15x5"))
    theirs = smaller.arrivals(START, START + DAY, NONE)

    assert WORLD.outcomes(decided(theirs, STATIC[:5]), START + 9 * DAY).is_empty()


def test_one_plant_does_not_depend_on_the_others() -> None:
    history = decided(FIRST, STATIC)

    alone = WORLD.arrivals(START + DAY, START + 2 * DAY, history.filter(plant="20x10/2"))
    together = WORLD.arrivals(START + DAY, START + 2 * DAY, history.reverse())

    assert alone.filter(plant="20x10/2").equals(together.filter(plant="20x10/2"))
    assert alone["period"].to_list() == [0, 1, 0]


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"observed_at": pl.col("observed_at") - DAY}, id="decided a day too early"),
        pytest.param({"instance": pl.lit("another")}, id="of another plant"),
    ],
)
def test_a_plant_whose_last_decision_does_not_lead_here_starts_afresh(
    changed: dict[str, pl.Expr],
) -> None:
    history = decided(FIRST, STATIC).with_columns(**changed)

    following = WORLD.arrivals(START + DAY, START + 2 * DAY, history)

    assert following["period"].to_list() == [0, 0, 0]


def test_two_days_at_once_are_refused() -> None:
    with pytest.raises(DataError, match="2 days of plants"):
        WORLD.arrivals(START, START + 2 * DAY, NONE)


def test_a_span_without_a_closing_has_no_units() -> None:
    none = WORLD.arrivals(START, START + timedelta(hours=5), NONE)

    assert none.is_empty()
    assert none.schema == {"reference": pl.String(), "observed_at": UTC_TIME} | dict(UNITS)


def test_no_decision_has_no_outcome() -> None:
    assert WORLD.outcomes(NONE, START).is_empty()


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("inventory", [-1] + [0] * 19, r"inventory\[0\]\[0\] is -1"),
        ("inventory", [0] * 19 + [101], r"inventory\[0\]\[19\] is 101"),
        ("inventory", [0] * 19, "inventory of row 0 has 19 entries; wanted 20"),
        ("inventory", None, "inventory of row 0 has 0 entries; wanted 20"),
        ("inventory", [0] * 19 + [None], "inventory of row 0 has None as entry 19"),
        ("set_up", [0, None] + [0] * 8, "set_up of row 0 has None as entry 1"),
        ("set_up", [21] + [0] * 9, r"set_up\[0\]\[0\] is 21"),
        ("horizon_left", 0, r"horizon_left\[0\] is 0"),
        ("horizon_left", None, "horizon_left of row 0 is missing"),
    ],
)
def test_a_state_no_plant_can_be_in_names_its_column(
    column: str, value: object, message: str
) -> None:
    bad = FIRST.head(1).with_columns(pl.Series(column, [value], dtype=UNITS[column]))

    with pytest.raises(DataError, match=message):
        state_of(bad, WORLD.instance)


def test_an_action_that_is_not_a_number_names_its_row() -> None:
    first = pl.int_range(pl.len()) == 0
    broken = pl.Series([[float("nan")] * 20] * 3)
    history = decided(FIRST, STATIC).with_columns(
        action=pl.when(first).then("action").otherwise(broken)
    )

    with pytest.raises(DataError, match="action of row 1 has nan as entry 0"):
        WORLD.outcomes(history, START + 9 * DAY)


def test_what_a_period_brings_adds_up_by_hand() -> None:
    instance = packaged("tiny_2x1")  # makes 4 or 3; a switch costs 2 or 1, and a unit
    plant = RollingPlants(instance=instance).plant
    state = PlantState(
        np.array([[1, 5]], np.int32), np.array([[2]], np.int16), np.array([0], np.int32)
    )

    brought = lived(plant, state, np.array([[1]]), np.array([[6, 1]], np.int32))

    assert brought.produced.tolist() == [[3, 0]]
    assert brought.lost.tolist() == [[2, 0]]
    assert brought.state.inventory.tolist() == [[0, 4]]
    assert brought.cost == pytest.approx([2 + 2 * 3.0 + 4 * 0.1])
