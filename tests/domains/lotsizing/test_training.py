"""Networks learn, and are deployed to the bit without their trainer."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from decisions.domains.lotsizing import DOMAIN, plants_of
from decisions.domains.lotsizing.decomposition import LARGEST_STOCK, SETTINGS, Decomposition
from decisions.domains.lotsizing.instance import packaged
from decisions.domains.lotsizing.network import NetworkRule, environment_of, network_rule
from decisions.domains.lotsizing.plant import PlantState
from decisions.domains.lotsizing.policies import PlantPolicy, dump, load, plant_policy
from decisions.domains.lotsizing.training import METHODS, Decomposed, Learned, Method
from decisions.errors import ArtifactAltered
from decisions.seeds import RowKeys, stream

TINY = packaged("tiny_2x1")
RECIPE = Learned(
    instance=TINY,
    method="ppo",
    steps=6_000,
    lessons=2_000,
    warm_up=1_000,
    interval=6_000,
    curve_episodes=20,
)


def trained(recipe: Learned, seed: int = 1) -> PlantPolicy:
    return plant_policy(recipe(pl.LazyFrame(), [], stream(seed, "lotsizing", "training")))


def states(count: int) -> PlantState:
    return environment_of(TINY).reset(RowKeys(3, np.arange(count)))


POLICY = trained(RECIPE)


@pytest.mark.parametrize("method", METHODS)
def test_a_training_tells_its_curve_with_intervals_and_repeats(method: Method) -> None:
    recipe = replace(RECIPE, method=method)

    first, again = trained(recipe), trained(recipe)

    curve = first.training["curve"]
    assert dump(first) == dump(again)
    assert first.training["method"] == method
    assert curve[0][0] == 0
    assert curve[-1][0] == first.training["steps"] >= recipe.steps
    assert all(lower <= mean <= upper for _, mean, lower, upper in curve)


def test_another_seed_gives_another_network() -> None:
    assert dump(trained(RECIPE, seed=2)) != dump(POLICY)


def test_the_deployed_network_decides_as_the_trained_one() -> None:
    from decisions.rl.policies import acting
    from decisions.rl.policies import load as load_actor

    assert isinstance(POLICY.rule, NetworkRule)
    actor = load_actor({"actor.safetensors": POLICY.rule.content}, {"instance": TINY.digest})

    chosen = POLICY.rule.act(states(500))

    np.testing.assert_array_equal(chosen, acting(environment_of(TINY), actor)(states(500)))
    assert len(np.unique(chosen)) > 1


def test_a_row_is_decided_alike_alone_and_in_any_batch() -> None:
    whole = POLICY.rule.act(states(100))

    inventory, set_up, period = states(100)
    alone = [
        POLICY.rule.act(PlantState(inventory[[row]], set_up[[row]], period[[row]]))
        for row in (0, 7)
    ]

    np.testing.assert_array_equal(np.concatenate(alone), whole[[0, 7]])


def test_a_network_of_another_plant_or_damaged_is_refused() -> None:
    assert isinstance(POLICY.rule, NetworkRule)
    content = POLICY.rule.content

    with pytest.raises(ArtifactAltered, match="instance of the network"):
        network_rule(content, packaged("easy_2x1"))
    for broken in (b"", content[:100], content[:-4]):
        with pytest.raises(ArtifactAltered, match="cannot be read"):
            network_rule(broken, TINY)


def test_an_altered_network_file_is_not_loaded() -> None:
    files = dump(POLICY)
    changed = bytearray(files["network.safetensors"])
    changed[-1] ^= 1

    with pytest.raises(ArtifactAltered, match=r"network\.safetensors"):
        load(files | {"network.safetensors": bytes(changed)})


def test_a_network_is_taught_by_the_newest_champion_of_its_plant() -> None:
    solved = Decomposed(instance=TINY)(pl.LazyFrame(), [], stream(1, "x"))
    earlier = [plants_of(packaged("easy_2x1")).baseline, solved, plants_of(TINY).baseline]

    taught = plant_policy(RECIPE(pl.LazyFrame(), earlier, stream(1, "x")))

    assert taught.training["teacher"] == "decomposition"
    assert POLICY.training["teacher"] == "rotation"


def test_a_decomposition_is_solved_once_for_a_plant() -> None:
    solve = Decomposed(instance=TINY)
    first = solve(pl.LazyFrame(), [plants_of(TINY).baseline], stream(1, "x"))

    again = solve(pl.LazyFrame(), [first], stream(2, "x"))
    back = load(dump(first))

    assert again is first
    assert dump(back) == dump(first)
    np.testing.assert_array_equal(
        plant_policy(back).rule.act(states(50)), plant_policy(first).rule.act(states(50))
    )


def test_a_decomposition_of_other_settings_or_of_none_known_is_solved_anew() -> None:
    solve = Decomposed(instance=TINY)
    first = plant_policy(solve(pl.LazyFrame(), [], stream(1, "x")))
    assert isinstance(first.rule, Decomposition)

    for settings in ({**SETTINGS, "slack": 0.5}, {}):
        other = replace(first, rule=replace(first.rule, settings=settings))
        stored = load(dump(other))
        again = plant_policy(solve(pl.LazyFrame(), [stored], stream(2, "x")))

        assert again is not stored
        assert isinstance(again.rule, Decomposition)
        assert again.rule.settings == SETTINGS
    stored = load(dump(first))
    assert solve(pl.LazyFrame(), [stored], stream(2, "x")) is stored


def test_a_plant_too_large_to_decompose_has_the_other_candidates() -> None:
    largest = LARGEST_STOCK - TINY.demand.shape[1]
    fits, exceeds = (
        set(plants_of(replace(TINY, capacity=np.array([9, capacity]))).candidates)
        for capacity in (largest, largest + 1)
    )

    assert fits - exceeds == {"decomposition"}
    assert exceeds == {"ppo-1", "ppo-2", "pdppo-1", "pdppo-2"}


def test_networks_have_a_recipe_of_their_plant_and_settings() -> None:
    recipes = plants_of(TINY).recipes

    assert set(recipes) == {"ppo-1", "ppo-2", "pdppo-1", "pdppo-2"}
    assert recipes == plants_of(packaged("tiny_2x1")).recipes
    assert recipes["ppo-1"] != recipes["pdppo-1"]
    assert recipes["ppo-1"] != DOMAIN.recipes["ppo-1"]
    assert replace(RECIPE, steps=7_000).recipe != RECIPE.recipe


def test_a_champion_of_the_same_plant_and_settings_is_solved_to_the_same_bytes() -> None:
    solve = Decomposed(instance=TINY)
    champion = load(dump(solve(pl.LazyFrame(), [], stream(1, "x"))))

    again = solve(pl.LazyFrame(), [champion], stream(2, "x"))

    assert dump(again) == dump(champion)


def test_candidates_differ_in_method_and_seed_alone() -> None:
    recipes = {
        name: recipe for name, recipe in DOMAIN.candidates.items() if isinstance(recipe, Learned)
    }

    assert {name: recipe.method for name, recipe in recipes.items()} == {
        "ppo-1": "ppo",
        "ppo-2": "ppo",
        "pdppo-1": "pdppo",
        "pdppo-2": "pdppo",
    }
    assert len({replace(recipe, method="ppo") for recipe in recipes.values()}) == 1
    assert recipes["ppo-1"] == recipes["ppo-2"]
    assert plants_of(TINY).candidates["ppo-1"] != recipes["ppo-1"]
