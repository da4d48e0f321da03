"""The order of events in a period, by hand, and the same bits from every way to compute it."""

from dataclasses import replace
from itertools import product
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decisions.domains.lotsizing.instance import Instance, generate, packaged
from decisions.domains.lotsizing.plant import Plant, PlantState, PostState, check_action
from decisions.errors import DataError
from decisions.policy import FloatArray
from decisions.seeds import RowKeys, philox, stream

BACKENDS: tuple[Literal["numba", "numpy"], ...] = ("numba", "numpy")


def small() -> Instance:
    """Two machines, three items; machine 1 cannot make item 3."""
    return Instance(
        name="small",
        horizon=5,
        production=np.array([[10, 4, 0], [7, 6, 5]]),
        setup_cost=np.array([[20.0, 15.0, 11.0], [18.0, 25.0, 30.0]]),
        setup_loss=np.array([[3, 1, 2], [2, 1, 1]]),
        capacity=np.array([12, 20, 8]),
        holding_cost=np.array([0.5, 0.25, 0.125]),
        lost_sales_cost=np.array([2.0, 4.0, 8.0]),
        demand=np.array([[0.25, 0.5, 0.0, 0.25], [0.5, 0.5, 0, 0], [0, 0, 1, 0]]),
    )


def state_of(inventory: list[int], set_up: list[int]) -> PlantState:
    return PlantState(
        np.array([inventory], dtype=np.int32),
        np.array([set_up], dtype=np.int16),
        np.array([0], dtype=np.int32),
    )


def actions(plant: Plant, n: int, seed: int = 0) -> npt.NDArray[np.int16]:
    """Possible items, uniformly, (n, M)."""
    rng = stream(seed, "actions")
    chosen = [rng.choice(np.flatnonzero(row), n) for row in plant.mask]
    return np.array(chosen, dtype=np.int16).T.copy()


def lived(plant: Plant, episodes: RowKeys, action: npt.NDArray[np.int16]) -> list[Any]:
    """Every array of two periods."""
    state = plant.reset(episodes)
    arrays: list[Any] = [*state]
    for _ in range(2):
        post, cost = plant.apply(state, action)
        words = plant.demand_uniforms(episodes, post.period)
        expected = plant.expected_costs(post)
        state, lost, holding = plant.advance(post, words)
        arrays += [*post, cost, words, plant.demand(words), *state, lost, holding, *expected]
    return arrays


@pytest.mark.parametrize("backend", BACKENDS)
class TestOnePeriodByHand:
    def test_idling_forgets_the_set_up_and_costs_nothing(
        self, backend: Literal["numba", "numpy"]
    ) -> None:
        plant = Plant(small(), backend)

        post, cost = plant.apply(state_of([5, 6, 7], [1, 2]), np.array([[0, 0]]))

        assert post.set_up.tolist() == [[0, 0]]
        assert post.inventory.tolist() == [[5, 6, 7]]
        assert cost.tolist() == [0.0]

    def test_a_switch_pays_and_loses_units_once(self, backend: Literal["numba", "numpy"]) -> None:
        plant = Plant(small(), backend)

        post, cost = plant.apply(state_of([5, 6, 7], [2, 0]), np.array([[1, 3]]))
        again, nothing = plant.apply(PlantState(*post), np.array([[1, 3]]))

        assert post.inventory.tolist() == [[5 + 10 - 3, 6, 7 + 5 - 1]]
        assert (post.set_up.tolist(), cost.tolist()) == ([[1, 3]], [20.0 + 30.0])
        assert again.inventory.tolist() == [[12 + 10, 6, 11 + 5]]
        assert nothing.tolist() == [0.0]

    def test_two_machines_on_one_item_add_up(self, backend: Literal["numba", "numpy"]) -> None:
        plant = Plant(small(), backend)

        post, cost = plant.apply(state_of([5, 6, 7], [1, 2]), np.array([[1, 1]]))

        assert post.inventory.tolist() == [[5 + 10 + (7 - 2), 6, 7]]
        assert cost.tolist() == [18.0]

    def test_an_item_the_machine_cannot_make_only_loses_units(
        self, backend: Literal["numba", "numpy"]
    ) -> None:
        plant = Plant(small(), backend)

        post, cost = plant.apply(state_of([5, 6, 1], [1, 2]), np.array([[3, 2]]))
        state, lost, _ = plant.advance_with(post, np.array([[0, 0, 0]]))

        assert post.inventory.tolist() == [[5, 12, 1 - 2]]
        assert cost.tolist() == [11.0]
        assert (state.inventory[0, 2], lost.tolist()) == (0, [8.0])

    def test_stock_is_cut_to_capacity_after_demand_and_then_held(
        self, backend: Literal["numba", "numpy"]
    ) -> None:
        plant = Plant(small(), backend)
        post = PostState(*state_of([15, 3, 9], [1, 2]))

        state, lost, holding = plant.advance_with(post, np.array([[2, 5, 0]]))

        assert state.inventory.tolist() == [[12, 0, 8]]  # 13 and 9 overflow, 2 of item 2 are lost
        assert lost.tolist() == [2 * 4.0]
        assert holding.tolist() == [12 * 0.5 + 8 * 0.125]
        assert (state.set_up.tolist(), state.period.tolist()) == ([[1, 2]], [1])

    def test_a_row_of_words_becomes_demand_by_the_law(
        self, backend: Literal["numba", "numpy"]
    ) -> None:
        plant = Plant(small(), backend)
        quarter = 2**30
        words = np.array(
            [[0, 0, 0], [quarter - 1, 2 * quarter - 1, 2**31], [quarter, 2 * quarter, 2**32 - 1],
             [3 * quarter - 1, 2**32 - 1, 7], [3 * quarter, 5, 5]],
            dtype=np.uint32,
        )  # fmt: skip

        demand = plant.demand(words)

        assert demand.tolist() == [[0, 0, 2], [0, 0, 2], [1, 1, 2], [1, 1, 2], [3, 0, 2]]


@pytest.mark.parametrize("name", ["20x10", "15x5", "tiny_2x1"])
def test_backends_and_threads_give_the_same_bits(name: str) -> None:
    instance, episodes = packaged(name), RowKeys(3, np.arange(300, dtype=np.int64) * 2**29)
    reference = Plant(instance, "numpy")
    action = actions(reference, len(episodes.rows))
    expected = lived(reference, episodes, action)

    for plant in (Plant(instance), Plant(instance, threads=2), Plant(instance, threads=7)):
        for seen, wanted in zip(lived(plant, episodes, action), expected, strict=True):
            assert seen.dtype == wanted.dtype
            np.testing.assert_array_equal(seen, wanted)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_row_alone_is_the_row_of_the_batch(backend: Literal["numba", "numpy"]) -> None:
    plant = Plant(packaged("20x10"), backend)
    episodes = RowKeys(3, np.arange(4096, dtype=np.int64))
    action = actions(plant, 4096)
    batch = lived(plant, episodes, action)

    for row in (0, 63, 64, 4095):
        index = np.array([row])
        alone = lived(plant, episodes.take(index), action[index])
        for one, all_rows in zip(alone, batch, strict=True):
            np.testing.assert_array_equal(one, all_rows[index])


def test_demand_words_are_philox_words_of_episode_period_and_block() -> None:
    plant, episode, period = Plant(packaged("15x5")), 5 * 2**32 + 7, 42
    keys = RowKeys(11, np.array([episode]))

    words = plant.demand_uniforms(keys, np.array([period]))

    counter = np.array([[7, 5, period, block] for block in range(4)], dtype=np.uint64)
    wanted = philox(counter, keys.philox_key("lotsizing", "demand")).ravel()[:15]
    np.testing.assert_array_equal(words[0], wanted)


def test_demand_follows_its_law_and_is_independent_between_periods_and_items() -> None:
    plant, n = Plant(packaged("tiny_2x1")), 100_000
    keys = RowKeys(5, np.arange(n))
    now, then = (
        plant.demand(plant.demand_uniforms(keys, np.full(n, period))) for period in (0, 1)
    )

    for item in range(2):
        shares = np.bincount(now[:, item], minlength=5) / n
        law = plant.instance.demand[item]
        np.testing.assert_allclose(shares, law, atol=4 * np.sqrt(0.25 / n))  # 4 standard errors
    for a, b in ((now[:, 0], now[:, 1]), (now[:, 0], then[:, 0])):
        assert abs(np.corrcoef(a, b)[0, 1]) < 4 / np.sqrt(n)


def test_episodes_start_below_capacity_and_set_up_for_something_that_can_be_made() -> None:
    instance = small()
    plant, n = Plant(instance), 60_000

    start = plant.reset(RowKeys(2, np.arange(n)))

    assert (start.period == 0).all()
    for item, capacity in enumerate(instance.capacity):
        shares = np.bincount(start.inventory[:, item]) / n
        assert len(shares) == capacity
        np.testing.assert_allclose(shares, 1 / capacity, atol=4 * np.sqrt(0.25 / n))
    first, second = (np.bincount(start.set_up[:, m], minlength=4) / n for m in range(2))
    np.testing.assert_allclose(first, [0, 0.5, 0.5, 0], atol=4 * np.sqrt(0.25 / n))
    np.testing.assert_allclose(second, [0, 1 / 3, 1 / 3, 1 / 3], atol=4 * np.sqrt(0.25 / n))


def brute_force(instance: Instance, stock: list[int]) -> tuple[float, float]:
    """Mean costs by adding up every combination of demands, through the kernel."""
    values = [np.flatnonzero(law) for law in instance.demand]
    demand = np.array(list(product(*values)))
    chance = np.prod([instance.demand[i, demand[:, i]] for i in range(instance.items)], axis=0)
    n = len(demand)
    post = PostState(
        np.tile(np.array(stock, dtype=np.int32), (n, 1)),
        np.zeros((n, instance.machines), dtype=np.int16),
        np.zeros(n, dtype=np.int32),
    )
    _, lost, holding = Plant(instance, "numpy").advance_with(post, demand)
    return float(chance @ lost), float(chance @ holding)


@pytest.mark.parametrize("stock", [[0, 0, 0], [-6, 1, 2], [11, 25, 9], [13, 21, 10], [14, 40, -1]])
def test_expected_costs_are_the_sum_over_all_demands(stock: list[int]) -> None:
    instance = small()
    lost, holding = Plant(instance).expected_costs(PostState(*state_of(stock, [0, 0])))

    wanted = brute_force(instance, stock)

    np.testing.assert_allclose((lost[0], holding[0]), wanted, rtol=1e-12, atol=1e-12)


def test_expected_costs_are_the_mean_of_simulated_ones() -> None:
    plant, n = Plant(packaged("20x10")), 40_000
    stock, set_up, period = plant.reset(RowKeys(1, np.array([6])))
    post = PostState(stock // 8, set_up, period)  # low enough that sales may be lost
    rows = PostState(np.tile(post.inventory, (n, 1)), np.tile(set_up, (n, 1)), np.tile(period, n))

    uniforms = plant.demand_uniforms(RowKeys(1, np.arange(n)), rows.period)
    _, lost, holding = plant.advance(rows, uniforms)

    for expected, seen in zip(plant.expected_costs(post), (lost, holding), strict=True):
        assert abs(seen.mean() - expected[0]) < 4 * seen.std() / np.sqrt(n)


@given(seed=st.integers(0, 2**32 - 1), items=st.integers(1, 6), machines=st.integers(1, 4))
@settings(max_examples=40, deadline=None)
def test_units_are_conserved_and_costs_are_of_their_units(
    seed: int, items: int, machines: int
) -> None:
    instance = generate(items, machines, stream(seed, "plant"))
    plant, episodes = Plant(instance), RowKeys(seed, np.arange(20))
    state = plant.reset(episodes)
    for period in range(5):
        action = actions(plant, 20, seed=seed + period)
        post, setup = plant.apply(state, action)
        demand = plant.demand(plant.demand_uniforms(episodes, post.period))
        following, lost, holding = plant.advance_with(post, demand)

        short = np.maximum(demand - post.inventory, 0)
        overflow = np.maximum(post.inventory - demand - instance.capacity, 0)
        balance = post.inventory - demand + short - overflow
        np.testing.assert_array_equal(following.inventory, balance)
        assert (following.inventory >= 0).all()
        assert (following.inventory <= instance.capacity).all()
        np.testing.assert_allclose(lost, short @ instance.lost_sales_cost)
        np.testing.assert_allclose(holding, following.inventory @ instance.holding_cost)
        switched = (action > 0) & (action != state.set_up)
        column = np.arange(machines), np.maximum(action, 1) - 1
        np.testing.assert_allclose(
            setup, np.where(switched, instance.setup_cost[column], 0).sum(1)
        )
        made = np.where(action > 0, instance.production[column], 0)
        made = made - np.where(switched, instance.setup_loss[column], 0)
        produced = (post.inventory - state.inventory).sum(axis=1)
        np.testing.assert_array_equal(produced, made.sum(axis=1))
        state = following


def test_a_state_is_not_changed_by_what_is_done_with_it() -> None:
    plant, episodes = Plant(small()), RowKeys(0, np.arange(3))
    state = plant.reset(episodes)
    before = [part.copy() for part in state]

    post, _ = plant.apply(state, actions(plant, 3))
    kept = [part.copy() for part in post]
    plant.advance(post, plant.demand_uniforms(episodes, post.period))

    for seen, wanted in zip((*state, *post), (*before, *kept), strict=True):
        np.testing.assert_array_equal(seen, wanted)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("action", "message"),
    [
        (
            [[1, 1], [1, 2], [3, 1]],
            r"action\[2\]\[0\] is 3, outside the mask of machine 1; .*0, 1, 2",
        ),
        (
            [[1, 1], [1, 4], [3, 1]],
            r"action\[1\]\[1\] is 4, outside .* machine 2; .*\[0, 1, 2, 3\]",
        ),
        ([[1, 1], [-1, 2], [0, 0]], r"action\[1\]\[0\] is -1"),
        ([[1, 65537], [1, 2], [0, 0]], r"action\[0\]\[1\] is 65537"),
        ([[1.0, 1.0], [1.0, 2.0], [0.0, 0.0]], r"\(3, 2\) of float64; wanted integers \(3, 2\)"),
        ([[1], [1], [0]], r"shape \(3, 1\) .* wanted integers \(3, 2\)"),
    ],
)
def test_an_action_outside_the_mask_is_refused_with_its_place(
    backend: Literal["numba", "numpy"], action: Any, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        check_action(Plant(small(), backend), np.array(action))


def test_an_item_that_does_not_exist_never_reaches_the_kernel() -> None:
    with pytest.raises(DataError, match=r"action\[0\]\[1\] is 9"):
        Plant(small()).apply(state_of([0, 0, 0], [0, 0]), np.array([[1, 9]]))


def test_demand_of_another_shape_is_refused() -> None:
    with pytest.raises(DataError, match=r"demand has shape \(1, 2\); wanted \(1, 3\)"):
        Plant(small()).advance_with(PostState(*state_of([0, 0, 0], [0, 0])), np.array([[1, 2]]))


def test_capacities_beyond_the_largest_expected_stock_have_exact_costs_too() -> None:
    wide = replace(small(), capacity=np.array([1000, 3, 8]))
    lost, holding = Plant(wide).expected_costs(PostState(*state_of([1004, 2, 8], [0, 0])))

    np.testing.assert_allclose((lost[0], holding[0]), brute_force(wide, [1004, 2, 8]), rtol=1e-12)


def costs_in_order(values: FloatArray) -> float:
    total = 0.0
    for value in values:
        total += float(value)
    return total


@pytest.mark.parametrize("backend", BACKENDS)
def test_costs_are_added_from_the_first_item_to_the_last(
    backend: Literal["numba", "numpy"],
) -> None:
    plant = Plant(packaged("25x15"), backend)
    state = plant.reset(RowKeys(4, np.array([1])))
    post, _ = plant.apply(state, np.zeros((1, 15), dtype=np.int16))

    following, _, holding = plant.advance_with(post, np.zeros((1, 25), dtype=np.int32))

    terms = plant.instance.holding_cost * following.inventory[0]
    assert holding[0] == costs_in_order(terms)
