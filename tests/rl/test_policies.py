"""Actors as they act, and as files."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from decisions.errors import ArtifactAltered, DataError
from decisions.rl.environment import Box, Features, MultiDiscrete
from decisions.rl.networks import CategoricalActor, GaussianActor, perceptron
from decisions.rl.policies import FILE, Actor, acting, load, save
from decisions.seeds import RowKeys, stream
from tests.rl.toys import Identity

BIAS = torch.full((5,), 2.0)


def _choosing(*, keeping: bool = True) -> Actor:
    body = perceptron((7, 6, 5), "relu", torch.Generator().manual_seed(1))
    columns = (2, 7) if keeping else None
    sizes = MultiDiscrete((3, 2))
    return Actor(CategoricalActor(sizes, body, keep_columns=columns, keep_bias=BIAS))


def _moving() -> Actor:
    body = perceptron((7, 6, 2), "tanh", torch.Generator().manual_seed(1))
    return Actor(GaussianActor(Box((-1.0, 0.0), (1.0, 5.0)), body))


def _seen(rows: int) -> Features:
    return stream(1, "observations").normal(size=(rows, 7)).astype(np.float32)


@pytest.mark.parametrize("actor", [_choosing(), _choosing(keeping=False), _moving()])
def test_what_was_saved_acts_alike(actor: Actor) -> None:
    files = save(actor, {"instance": "abc"})
    loaded = load(files, {"instance": "abc"})

    np.testing.assert_array_equal(loaded.greedy(_seen(50), None), actor.greedy(_seen(50), None))
    uniforms = stream(2, "uniforms").random((50, 2))
    first, second = (each.sampled(_seen(50), None, uniforms) for each in (actor, loaded))
    np.testing.assert_array_equal(first, second)
    assert save(loaded, {"instance": "abc"}) == files


@given(first=st.integers(0, 299), count=st.integers(1, 300))
def test_an_action_does_not_depend_on_the_batch(first: int, count: int) -> None:
    actor, seen = _moving(), _seen(300)
    uniforms = stream(3, "uniforms").random((300, 2))
    rows = slice(first, first + count)

    alone = actor.sampled(seen[rows], None, uniforms[rows])

    np.testing.assert_array_equal(alone, actor.sampled(seen, None, uniforms)[rows])


def test_nobody_to_act_for_is_no_error() -> None:
    assert _choosing().greedy(_seen(0), np.empty((0, 5), np.bool_)).shape == (0, 2)


def test_masked_choices_are_never_taken_and_draws_follow_the_law() -> None:
    actor, n = _choosing(), 40_000
    seen = np.repeat(_seen(1), n, axis=0)
    mask = np.tile([True, False, True, True, True], (n, 1))

    drawn = actor.sampled(seen, mask, stream(4, "uniforms").random((n, 2)))

    network = actor.network
    assert isinstance(network, CategoricalActor)
    with torch.no_grad():
        one, allowed = torch.from_numpy(seen[:1]), torch.from_numpy(mask[:1])
        logs = network.log_probabilities(network.body(one), one, allowed)
    p = logs[0].exp().numpy()
    for head in range(2):
        share = np.bincount(drawn[:, head].astype(int), minlength=3) / n
        np.testing.assert_allclose(share, p[head], atol=4 * np.sqrt(0.25 / n))
    assert not (drawn[:, 0] == 1).any()
    assert p[1, 2] == 0  # the shorter head has no third choice
    ones = np.full((n, 2), np.nextafter(1.0, 0.0))
    assert set(actor.sampled(seen, mask, ones)[:, 0].tolist()) == {2}


def test_the_keep_bias_makes_what_is_set_up_the_first_choice() -> None:
    body = perceptron((5, 4, 5), "tanh", torch.Generator().manual_seed(2), last_gain=0.0)
    actor = Actor(
        CategoricalActor(MultiDiscrete((3, 2)), body, keep_columns=(0, 5), keep_bias=BIAS)
    )
    observation = np.array([[0, 0, 1, 0, 1], [0, 1, 0, 1, 0]], dtype=np.float32)

    np.testing.assert_array_equal(actor.greedy(observation, None), [[2, 1], [1, 0]])


def test_actions_stay_within_the_box() -> None:
    drawn = _moving().sampled(5 * _seen(200), None, stream(5, "uniforms").random((200, 2)))

    assert (np.abs(drawn.astype(float) - [0.0, 2.5]) <= [1.0, 2.5]).all()


def test_a_density_is_that_of_the_normal_law() -> None:
    network = _moving().network
    assert isinstance(network, GaussianActor)
    observation = torch.from_numpy(_seen(4))

    action, logs = network.act(observation, None, torch.full((4, 2), 0.8))

    law = torch.distributions.Normal(network.body(observation), network.log_deviation.exp())
    torch.testing.assert_close(law.log_prob(action), logs)
    torch.testing.assert_close(law.cdf(action), torch.full((4, 2), 0.8))
    torch.testing.assert_close(law.entropy(), network.evaluate(observation, None, action)[1])


@pytest.mark.parametrize("actor", [_choosing(), _moving()])
def test_inward_undoes_outward(actor: Actor) -> None:
    action = actor.greedy(_seen(6), None)

    again = actor.network.outward(actor.network.inward(action))

    np.testing.assert_allclose(again.astype(float), action.astype(float), atol=1e-6)


def test_files_that_do_not_fit_are_refused() -> None:
    files = save(_choosing(), {"instance": "abc"})
    damaged = bytearray(files[FILE])
    damaged[-1] ^= 1

    with pytest.raises(DataError, match=r"identity\.instance is 'abc'; wanted 'xyz'"):
        load(files, {"instance": "xyz"})
    with pytest.raises(DataError, match=FILE):
        load({})
    with pytest.raises(ArtifactAltered, match=FILE):
        load({FILE: bytes(damaged)})


def test_a_policy_of_states_is_greedy() -> None:
    environment = Identity()
    generator = torch.Generator().manual_seed(3)
    actor = Actor(CategoricalActor(environment.actions, perceptron((3, 4, 5), "tanh", generator)))
    state = environment.reset(RowKeys(1, np.arange(20)))

    wanted = actor.greedy(environment.observe(state), None)

    np.testing.assert_array_equal(acting(environment, actor)(state), wanted)
