"""The frames that cross boundaries."""

from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest

from decisions.errors import DataError
from decisions.frames import DECISIONS, decided, decision_problems, month_bounds, unit_id
from decisions.policy import Draw, choose, pick
from decisions.seeds import RowKeys

NOW = datetime(2026, 1, 5, tzinfo=UTC)


def batch() -> pl.DataFrame:
    eligible = np.array([[1, 1, 0], [0, 1, 1], [1, 1, 1]], dtype=bool)
    probabilities = np.array([[0.3, 0.7, 0], [0, 0.5, 0.5], [0.2, 0.2, 0.6]])
    keys = RowKeys(1, np.arange(3))
    uniform = keys.uniforms("action")[:, 0]
    action = choose(probabilities, uniform)
    chosen = pick(probabilities, action)
    draw = Draw(
        action=action[:, None].astype(float),
        nominal=action[:, None].astype(float),
        propensity=chosen,
        arm=np.array(["explore"] * 3),
        arm_propensity=chosen,
        uniform=uniform,
        probabilities=probabilities,
        scores=probabilities,
    )
    units = pl.DataFrame(
        {
            "unit_id": [unit_id(29_000_000, i) for i in range(3)],
            "slot": [0, 0, 0],
            "parent_id": [None, None, None],
        },
        schema={"unit_id": pl.Int64, "slot": pl.Int16, "parent_id": pl.Int64},
    )
    return decided(units, draw, eligible, generation=0, now=NOW)


def test_a_drawn_batch_has_no_problem() -> None:
    decisions = batch()

    assert decisions.schema == DECISIONS
    assert decisions["eligible"].to_list() == [[0, 1], [1, 2], [0, 1, 2]]
    assert decision_problems(decisions, now=NOW).null_count() == 3


@pytest.mark.parametrize(
    ("column", "value", "problem"),
    [
        ("propensity", 0.123, "propensity is not the probability of the action"),
        ("propensity", float("nan"), "propensity is not above 0 and finite"),
        ("action", [2.0], "action is not eligible"),
        ("action", [float("nan")], "action is empty or not finite"),
        ("probabilities", [0.3, 0.6], "probabilities do not sum to one"),
        ("probabilities", [-0.3, 1.3], "probabilities hold a negative or missing number"),
        ("probabilities", [0.3, 0.6, 0.1], "probabilities and eligible differ in length"),
        ("scores", [float("nan"), 0.1], "scores hold a number that is not finite"),
        ("eligible", [1, 0], "eligible is not ascending"),
        ("decided_at", datetime(2027, 1, 1, tzinfo=UTC), "decided_at lies in the future"),
    ],
)
def test_a_corrupt_row_is_named_and_the_others_pass(
    column: str, value: object, problem: str
) -> None:
    decisions = batch()
    bad = pl.Series(column, [value, *decisions[column].to_list()[1:]], dtype=DECISIONS[column])

    problems = decision_problems(decisions.with_columns(bad), now=NOW)

    assert problems.to_list() == [problem, None, None]


@pytest.mark.parametrize(
    ("eligible", "probabilities"), [([0, 1], [0.3, 0.6, 0.1]), ([], [1.0]), (None, [1.0])]
)
def test_a_ragged_row_does_not_hide_the_others(
    eligible: list[int] | None, probabilities: list[float]
) -> None:
    decisions = batch()
    rows = decisions.to_dicts()
    rows[0] |= {"eligible": eligible, "probabilities": probabilities}
    rows[1] |= {"propensity": 0.123}
    rows[2] |= {"decided_at": datetime(2027, 1, 1, tzinfo=UTC)}
    rows.append({**rows[1], "decision_id": -1})
    rows.append({**decisions.row(1, named=True), "decision_id": 7})

    problems = decision_problems(pl.DataFrame(rows, DECISIONS), now=NOW)

    assert problems.to_list() == [
        "probabilities and eligible differ in length",
        "propensity is not the probability of the action",
        "decided_at lies in the future",
        "decision_id is not a number of 0 or more",
        None,
    ]


def test_a_frame_of_another_schema_is_refused_by_column() -> None:
    with pytest.raises(DataError, match=r"missing columns \['uniform'\]"):
        decision_problems(batch().drop("uniform"), now=NOW)


def test_month_bounds_hold_exactly_the_ids_of_the_month() -> None:
    low, high = month_bounds(datetime(2026, 12, 9, tzinfo=UTC))

    assert low == unit_id(int(datetime(2026, 12, 1, tzinfo=UTC).timestamp()) // 60, 0) * 64
    assert high == unit_id(int(datetime(2027, 1, 1, tzinfo=UTC).timestamp()) // 60, 0) * 64
