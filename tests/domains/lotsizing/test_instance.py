import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from decisions.domains.lotsizing.instance import (
    PACKAGED,
    binomial,
    generate,
    instance_of,
    packaged,
    read_instance,
    to_json,
)
from decisions.errors import DataError
from decisions.seeds import stream

Edit = Callable[[dict[str, Any]], None]

CHECKSUMS = {
    # production, set-up cost, set-up loss, lost-sales cost, items whose lost sales cost 1.1
    "20x10": (2695, 4234, 288, 10.0, [1, 3, 9, 10, 12, 15, 16, 17]),
    "25x10": (2795, 5570, 350, 16.5, [1, 3, 4, 7, 9, 10, 11, 13, 15, 16, 17, 18, 21, 24]),
    "25x15": (4529, 7996, 519, 14.5, [1, 3, 4, 5, 11, 12, 14, 15, 18, 22, 23, 24]),
    "15x5": (856, 1630, 112, 7.5, [5, 7, 10, 11, 12, 14]),
}


def plant() -> dict[str, Any]:
    """A valid description: two machines, three items."""
    return {
        "name": "mine",
        "horizon": 12,
        "production": [[4, 0, 3], [0, 5, 2]],
        "setup_cost": [[1.5, 0, 2], [0, 3, 1]],
        "setup_loss": 1,
        "capacity": 10,
        "holding_cost": 0.1,
        "lost_sales_cost": [1, 2, 3],
        "demand": {"law": "binomial", "n": 4, "p": 0.4},
    }


@pytest.mark.parametrize("name", CHECKSUMS)
def test_published_instances_have_their_published_sums(name: str) -> None:
    instance = packaged(name)

    seen = (
        instance.production.sum(),
        instance.setup_cost.sum(),
        instance.setup_loss.sum(),
        round(float(instance.lost_sales_cost.sum()), 9),
        (np.flatnonzero(instance.lost_sales_cost == 1.1) + 1).tolist(),
    )

    assert seen == CHECKSUMS[name]
    assert f"{instance.items}x{instance.machines}" == name
    assert (instance.horizon, set(instance.capacity), set(instance.holding_cost)) == (
        100,
        {100},
        {0.01},
    )
    np.testing.assert_allclose(instance.mean_demand, 8.0)


def test_the_small_instances_are_those_with_a_known_optimum() -> None:
    easy, tiny = packaged("easy_2x1"), packaged("tiny_2x1")

    assert (easy.horizon, easy.production.tolist(), easy.capacity[0]) == (3, [[2, 2]], 3)
    np.testing.assert_array_equal(easy.demand, np.full((2, 2), 0.5))
    assert (tiny.horizon, tiny.production.tolist()) == (20, [[4, 3]])
    np.testing.assert_allclose(tiny.mean_demand, 1.6)


@pytest.mark.parametrize("name", PACKAGED)
def test_a_written_instance_reads_back_to_the_same_digest(name: str) -> None:
    instance = packaged(name)

    assert instance_of(to_json(instance)).digest == instance.digest


def test_any_number_that_a_plan_depends_on_changes_the_digest() -> None:
    digests = {packaged(name).digest for name in PACKAGED}
    original = instance_of(json.dumps(plant())).digest
    for field, value in (("horizon", 13), ("holding_cost", 0.2), ("name", "other")):
        digests.add(instance_of(json.dumps({**plant(), field: value})).digest)

    assert len(digests) == len(PACKAGED) + 3
    assert original not in digests


def test_there_is_no_instance_of_another_name() -> None:
    with pytest.raises(DataError, match=r"no instance '30x30' is packaged; there are 15x5, 20x10"):
        packaged("30x30")


def test_a_number_stands_for_all_items_and_a_law_may_be_given_by_item() -> None:
    record = plant()
    record["demand"] = [
        {"law": "uniform", "low": 1, "high": 2},
        {"law": "pmf", "values": [3, 0], "probabilities": [0.25, 0.75]},
        {"law": "binomial", "n": 1, "p": 0.5},
    ]

    instance = instance_of(json.dumps(record))

    np.testing.assert_array_equal(instance.setup_loss, np.ones((2, 3)))
    np.testing.assert_array_equal(instance.capacity, [10, 10, 10])
    np.testing.assert_array_equal(
        instance.demand, [[0, 0.5, 0.5, 0], [0.75, 0, 0, 0.25], [0.5, 0.5, 0, 0]]
    )
    np.testing.assert_array_equal(instance.mean_demand, [1.5, 0.75, 0.5])


def at(field: str, value: Any) -> Edit:
    """Sets a field, or a place in it: "production.0.2"."""

    def edit(record: dict[str, Any]) -> None:
        *path, last = [int(part) if part.isdigit() else part for part in field.split(".")]
        place: Any = record
        for step in path:
            place = place[step]
        place[last] = value

    return edit


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (at("production.1.2", -3), r"production\[1\]\[2\] is -3; wanted an integer >= 0"),
        (at("production.1.2", 2.5), r"production\[1\]\[2\] is 2.5; wanted an integer"),
        (at("production.1.2", "2"), r"production\[1\]\[2\] is '2'; wanted a number"),
        (at("production.1.2", True), r"production\[1\]\[2\] is True; wanted a number"),
        (at("production.1", [0, 5]), r"production\[1\] has shape \(2,\); wanted .* \(3,\)"),
        (at("production", []), "production is not a table"),
        (at("production.0.0", 0), r"production\[\*\]\[0\] is 0 .* no machine can make item 1"),
        (at("production.0", [0, 0, 0]), r"production\[\*\]\[0\] is 0"),
        (at("setup_cost.0.1", float("nan")), r"setup_cost\[0\]\[1\] is nan; wanted a number >= 0"),
        (at("setup_cost", [[1, 2]]), r"setup_cost has shape \(1, 2\); wanted \(2, 3\)"),
        (at("setup_loss", -1), r"setup_loss\[0\]\[0\] is -1"),
        (at("capacity", 0), r"capacity\[0\] is 0; wanted an integer >= 1"),
        (at("capacity", 1e300), r"capacity\[0\] is 1e\+300; wanted an integer"),
        (at("capacity", 10**400), "capacity is too large"),
        (at("holding_cost", float("inf")), r"holding_cost\[0\] is inf"),
        (at("lost_sales_cost", [1, 2]), r"lost_sales_cost has shape \(2,\); wanted \(3,\)"),
        (at("lost_sales_cost.2", None), r"lost_sales_cost\[2\] is None; wanted a number"),
        (at("horizon", 0), "horizon is 0; wanted 1 to 1000 periods"),
        (at("horizon", 10**9), "horizon is 1000000000; wanted 1 to 1000 periods"),
        (at("horizon", 1.5), "horizon is 1.5; wanted an integer"),
        (at("name", ""), "name is empty"),
        (at("name", 3), "name is 3; wanted a text"),
        (at("colour", 3), "'colour' is no field of a plant; the fields are name, horizon"),
        (at("demand", 8), "demand is 8; wanted an object with law one of"),
        (at("demand.law", "normal"), "wanted an object with law one of"),
        (at("demand.q", 1), r"demand has fields \['law', 'n', 'p', 'q'\]; a binomial law has"),
        (at("demand.p", 1.4), r"demand\.p is 1\.4; wanted a probability"),
        (at("demand.n", -4), r"demand\.n is -4"),
        (at("demand", [{"law": "binomial", "n": 4, "p": 0.4}]), "demand has 1 laws; wanted 3"),
        (at("demand", {"law": "uniform", "low": 3, "high": 2}), r"demand\.high is 2; wanted at"),
        (
            at("demand", {"law": "pmf", "values": [0, 1], "probabilities": [0.5, 0.4]}),
            r"demand\.probabilities sum to 0\.9; wanted 1",
        ),
        (
            at("demand", {"law": "pmf", "values": [0, 1], "probabilities": [1.5, -0.5]}),
            r"demand\.probabilities\[0\] is 1\.5; wanted 0 to 1",
        ),
        (
            at("demand", {"law": "pmf", "values": [0, 0], "probabilities": [0.5, 0.5]}),
            r"demand\.values are \[0, 0\]; wanted each once",
        ),
        (
            at("demand", {"law": "pmf", "values": [0], "probabilities": [0.5, 0.5]}),
            "demand has 1 values and probabilities of shape",
        ),
        (
            at("demand", {"law": "pmf", "values": [-1, 1], "probabilities": [0.5, 0.5]}),
            r"demand\.values\[0\] is -1; wanted 0 to",
        ),
    ],
)
def test_a_plant_that_cannot_be_is_refused_by_the_name_of_its_field(
    edit: Edit, message: str
) -> None:
    record = plant()
    edit(record)

    with pytest.raises(DataError, match=message):
        instance_of(json.dumps(record))


@pytest.mark.parametrize("field", plant())
def test_a_missing_field_is_named(field: str) -> None:
    record = plant()
    del record[field]

    with pytest.raises(DataError, match=f"{field} is missing"):
        instance_of(json.dumps(record))


def test_more_machines_than_can_be_planned_are_refused() -> None:
    by_machine = dict.fromkeys(("production", "setup_cost", "setup_loss"), [[1, 1, 1]] * 1001)

    with pytest.raises(DataError, match=r"\(1001, 3\); wanted at most 1000 machines"):
        instance_of(json.dumps(plant() | by_machine))


def test_a_machine_that_can_make_nothing_is_refused() -> None:
    record = {**plant(), "production": [[4, 5, 3], [0, 0, 0]]}

    with pytest.raises(DataError, match=r"production\[1\] is 0 for every item: machine 2"):
        instance_of(json.dumps(record))


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "this is not JSON"), ("[1]", "a plant is a JSON object; this is a list")],
)
def test_a_text_that_is_no_plant_is_refused(text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        instance_of(text)


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ('"capacity": 10', "'capacity' is given 2 times; wanted each field once"),
        ('"demand": {"law": "uniform", "low": 0, "low": 1, "high": 2}', "'low' is given 2 times"),
    ],
)
def test_a_field_that_is_given_twice_is_refused(field: str, message: str) -> None:
    record = plant()
    record.pop("demand" if "demand" in field else "name")
    text = json.dumps(record)[:-1] + f", {field}" + "}"

    with pytest.raises(DataError, match=message):
        instance_of(text)


def test_a_file_is_named_with_what_is_wrong_in_it(tmp_path: Path) -> None:
    path = tmp_path / "plant.json"
    path.write_text(json.dumps(plant()))
    assert read_instance(path).name == "mine"

    path.write_text(json.dumps({**plant(), "horizon": -1}))
    with pytest.raises(DataError, match=r"plant\.json: horizon is -1"):
        read_instance(path)
    with pytest.raises(DataError, match=r"nowhere\.json cannot be read"):
        read_instance(tmp_path / "nowhere.json")


@given(
    record=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
        max_leaves=5,
    ),
    field=st.sampled_from(list(plant())),
)
@settings(max_examples=60, deadline=None)
def test_whatever_a_field_holds_the_answer_is_a_plant_or_a_data_error(
    record: Any, field: str
) -> None:
    with suppress(DataError):
        assert instance_of(json.dumps({**plant(), field: record})).items == 3


def test_binomial_probabilities_are_those_of_coin_tosses() -> None:
    np.testing.assert_array_equal(binomial(2, 0.5), [0.25, 0.5, 0.25])
    np.testing.assert_allclose(binomial(20, 0.4)[[0, 8]], [0.6**20, 0.179705788], rtol=1e-8)
    np.testing.assert_array_equal(binomial(3, 0.0), [1, 0, 0, 0])


@pytest.mark.parametrize("p", [1e-300, 1e-9, 0.30000000000000004, 1 - 2**-53, 1.0, 0.0])
def test_a_binomial_law_of_any_chance_is_there_at_once(p: float) -> None:
    law = binomial(300, p)

    assert law.sum() == pytest.approx(1.0, abs=1e-12)
    assert law @ np.arange(301) == pytest.approx(300 * p)
    assert law[:3] == pytest.approx(stats.binom.pmf(range(3), 300, p), rel=1e-9)


def test_generated_plants_follow_the_published_frequencies() -> None:
    rng = stream(3, "generator")
    plants = [generate(20, 10, rng) for _ in range(200)]

    def share(name: str, value: float) -> float:
        return float(np.mean([getattr(plant, name) == value for plant in plants]))

    def error(chance: float, n: int) -> float:
        """4 standard errors of a share; a right generator fails one check in 16 000."""
        return 4 * np.sqrt(chance * (1 - chance) / n)

    cells, items = 200 * 200, 200 * 20
    for name, value, chance, n in [
        ("production", 0, 0.4, cells),  # an item is left without a machine once in 9500 columns
        ("production", 1, 0.6 / 40, cells),
        ("production", 40, 0.6 / 40, cells),
        ("setup_cost", 15, 0.2, cells),
        ("setup_cost", 16, 0.8 / 15, cells),
        ("setup_cost", 30, 0.8 / 15, cells),
        ("setup_loss", 1, 0.7, cells),
        ("setup_loss", 2, 0.15, cells),
        ("setup_loss", 3, 0.15, cells),
        ("lost_sales_cost", 0.1, 0.5, items),
        ("lost_sales_cost", 1.1, 0.5, items),
    ]:
        assert abs(share(name, value) - chance) < error(chance, n), (name, value)


def test_a_generated_plant_repeats_under_its_seed_and_can_make_everything() -> None:
    for seed in range(50):
        small = generate(3, 2, stream(seed, "generator"), name="small")
        assert (small.production > 0).any(axis=0).all()
        assert (small.production > 0).any(axis=1).all()
        assert small.digest == generate(3, 2, stream(seed, "generator"), name="small").digest


def test_an_array_that_is_not_of_integers_is_refused() -> None:
    plant = packaged("easy_2x1")

    with pytest.raises(DataError, match=r"capacity\[0\] is 2.5; wanted an integer"):
        replace(plant, capacity=np.array([2.5, 3.0]))
    with pytest.raises(DataError, match="production holds float64; wanted an array of integers"):
        replace(plant, production=plant.production.astype(float))
