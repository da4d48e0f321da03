"""What a fixed plan leads to: by hand, against closed forms, and against simulation."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from decisions.domains.lotsizing.forecast import Forecast, forecast
from decisions.domains.lotsizing.instance import Instance, generate, packaged
from decisions.domains.lotsizing.plant import Plant, PostState
from decisions.seeds import stream

INSTANCE = generate(5, 3, stream(1, "forecast"))
HORIZON = 6


def case(seed: int, n: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    rng = stream(seed, "forecast", "case")
    inventory = rng.integers(0, 100, (n, 5)).astype(np.int32)
    produced = np.where(
        rng.random((n, HORIZON, 5)) < 0.5, rng.integers(-2, 40, (n, HORIZON, 5)), 0
    )
    return inventory, produced


def of(inventory: npt.NDArray[np.int32], produced: npt.NDArray[np.int64]) -> Forecast:
    setup_cost = np.zeros(produced.shape[:2])
    return forecast(INSTANCE, inventory=inventory, produced=produced, setup_cost=setup_cost)


def test_two_periods_by_hand() -> None:
    # Demand is 0 or 1, one half each, and nothing is made. Of one unit in stock half is left, then
    # a quarter; in the second period one is lost where both periods ask for one: 1/4.
    coin = replace(packaged("easy_2x1"), demand=np.tile([0.5, 0.5], (2, 1)))

    found = forecast(
        coin,
        inventory=np.array([[1, 3]]),
        produced=np.zeros((1, 2, 2), dtype=np.int64),
        setup_cost=np.array([[0.0, 1.0]]),
    )

    np.testing.assert_array_equal(found.low[0], [[0, 2], [0, 1]])
    np.testing.assert_array_equal(found.middle[0], [[0, 2], [0, 2]])
    np.testing.assert_array_equal(found.high[0], [[1, 3], [1, 3]])
    np.testing.assert_allclose(found.lost[0], [[0, 0], [0.25, 0]])
    np.testing.assert_allclose(found.lost_cost[0], [0.0, 0.25 * coin.lost_sales_cost[0]])
    np.testing.assert_allclose(
        found.holding_cost[0],
        [
            0.5 * coin.holding_cost[0] + 2.5 * coin.holding_cost[1],
            0.25 * coin.holding_cost[0] + 2.0 * coin.holding_cost[1],
        ],
    )
    assert found.setup_cost.tolist() == [[0.0, 1.0]]


def test_the_first_period_costs_what_the_plant_expects() -> None:
    inventory, produced = case(1, 50)
    post = PostState(
        (inventory + produced[:, 0]).astype(np.int32),
        np.zeros((50, 3), dtype=np.int16),
        np.zeros(50, dtype=np.int32),
    )

    found = of(inventory, produced)
    lost, holding = Plant(INSTANCE, backend="numpy").expected_costs(post)

    np.testing.assert_allclose(found.lost_cost[:, 0], lost, atol=1e-9)
    np.testing.assert_allclose(found.holding_cost[:, 0], holding, atol=1e-9)


def test_simulated_plants_follow_it() -> None:
    runs = 20_000
    inventory, produced = case(2, 1)
    demand = stream(3, "forecast", "demand").binomial(20, 0.4, (HORIZON, runs, 5))
    stock = np.repeat(inventory, runs, axis=0).astype(np.int64)
    found = of(inventory, produced)

    for period in range(HORIZON):
        left = stock + produced[0, period] - demand[period]
        stock, lost = np.clip(left, 0, INSTANCE.capacity), np.maximum(-left, 0)

        spread = np.maximum(lost.std(axis=0), 0.01)  # where it is so rare that none was drawn
        error = 4 * spread / np.sqrt(runs)
        assert (np.abs(lost.mean(axis=0) - found.lost[0, period]) <= error).all()
        tail = 4 * np.sqrt(0.25 / runs)
        for level, bound in ((0.05, found.low), (0.5, found.middle), (0.95, found.high)):
            assert ((stock <= bound[0, period]).mean(axis=0) >= level - tail).all()
            assert ((stock < bound[0, period]).mean(axis=0) <= level + tail).all()


def test_a_plan_is_forecast_to_the_same_bits_beside_any_others() -> None:
    inventory, produced = case(4, 40)

    together = of(inventory, produced).rows()
    alone = np.concatenate(
        [of(inventory[[row]], produced[[row]]).rows() for row in reversed(range(40))]
    )

    assert together.shape == (40, HORIZON * (4 * 5 + 3))
    np.testing.assert_array_equal(together, alone[::-1])


def test_stock_stays_between_nothing_and_the_ceiling() -> None:
    small: Instance = replace(INSTANCE, capacity=np.array([1, 7, 20, 3, 100]))
    _, produced = case(5, 30)
    inventory = np.minimum(case(5, 30)[0], small.capacity)

    found = forecast(
        small, inventory=inventory, produced=produced, setup_cost=np.zeros((30, HORIZON))
    )

    assert (found.low >= 0).all()
    assert (found.low <= found.middle).all()
    assert (found.middle <= found.high).all()
    assert (found.high <= small.capacity).all()
