"""A plant's policy: what it decides, what it plans, and its files."""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from decisions import flow
from decisions.actions import ActionBox
from decisions.domain import Domain
from decisions.domains.lotsizing import DOMAIN, plants_of
from decisions.domains.lotsizing.instance import packaged
from decisions.domains.lotsizing.plan import HORIZON
from decisions.domains.lotsizing.policies import PlantPolicy, dump, load, plant_policy
from decisions.domains.lotsizing.rotation import GroupedRotation, rotation_of
from decisions.domains.lotsizing.world import state_of
from decisions.errors import ArtifactAltered, DataError
from decisions.policy import Draw, Policy
from decisions.replay import replay
from decisions.seeds import RowKeys, stream
from decisions.store import decision_log, generations
from decisions.store.database import Database

BASELINE = plant_policy(DOMAIN.baseline)
INSTANCE = BASELINE.instance
M, I = INSTANCE.machines, INSTANCE.items  # noqa: E741
START = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def acted(policy: Policy, units: pl.DataFrame) -> Draw:
    context = DOMAIN.observe(units.lazy()).collect()
    keys = RowKeys(1, np.arange(units.height, dtype=np.int64))
    return policy.act(context, DOMAIN.eligible(context), keys)


UNITS = DOMAIN.sample(9, stream(5, "lotsizing", "test"))


def test_the_plan_begins_with_the_decision_and_the_score_is_its_expected_cost() -> None:
    draw = acted(BASELINE, UNITS)

    items = draw.nominal[:, : HORIZON * 2 * M].reshape(9, HORIZON, 2, M)[:, :, 0]
    forecast = draw.nominal[:, HORIZON * 2 * M :].reshape(9, HORIZON, 4 * I + 3)
    np.testing.assert_array_equal(draw.nominal[:, : 2 * M], draw.action)
    np.testing.assert_array_equal(
        items[:, 0], BASELINE.rule.act(state_of(UNITS, INSTANCE)).astype(float)
    )
    assert draw.scores is not None
    np.testing.assert_allclose(draw.scores[:, 0], -forecast[:, 0, -3:].sum(axis=1), atol=1e-9)
    assert (draw.propensity == 1).all()


def test_quantities_are_net_of_what_a_switch_loses() -> None:
    state = state_of(UNITS, INSTANCE)

    draw = acted(BASELINE, UNITS)

    items, quantities = draw.action[:, :M].astype(int), draw.action[:, M:]
    machine = np.arange(M)
    made = INSTANCE.production[machine, items - 1]
    lost = INSTANCE.setup_loss[machine, items - 1] * (items != state.set_up)
    np.testing.assert_array_equal(quantities, np.where(items > 0, made - lost, 0))
    assert (items > 0).any()


def test_no_decision_leaves_the_box() -> None:
    box = DOMAIN.actions
    assert isinstance(box, ActionBox)

    assert len(box.low) == len(box.high) == len(box.units) == 2 * M
    assert box.high[M:] == tuple(INSTANCE.production.max(axis=1).astype(float))
    assert (np.array(box.low[M:]) <= 0).all()


def test_a_unit_of_another_plant_is_refused() -> None:
    with pytest.raises(DataError, match=r"instance of plant 20x10/1 .* this policy plans 15x5"):
        acted(plants_of(packaged("15x5")).baseline, UNITS)


def test_a_unit_without_an_instance_is_refused() -> None:
    second = pl.int_range(pl.len()) == 1
    unnamed = UNITS.with_columns(instance=pl.when(~second).then("instance"))

    with pytest.raises(DataError, match="instance of row 1 is missing"):
        acted(BASELINE, unnamed)


def test_an_action_outside_the_mask_is_refused() -> None:
    machine, item = (int(i) for i in np.argwhere(INSTANCE.production == 0)[0])

    class Wrong:
        def act(self, state: object) -> np.ndarray:
            action = np.zeros((9, M), dtype=np.int16)
            action[3, machine] = item + 1
            return action

    with pytest.raises(DataError, match=rf"action\[3\]\[{machine}\] is {item + 1}"):
        acted(PlantPolicy(instance=INSTANCE, rule=Wrong()), UNITS)


def test_a_loaded_policy_tells_of_its_training_as_before() -> None:
    policy = replace(BASELINE, training={"curve": [[0, -20.0, -21.0, -19.0]], "steps": 5})

    back = load(dump(policy))

    assert DOMAIN.account is not None
    assert DOMAIN.account(back) == {
        "plant": "20x10",
        "instance": INSTANCE.digest,
        "curve": [[0, -20.0, -21.0, -19.0]],
        "steps": 5,
    }


def test_files_that_were_altered_are_not_loaded() -> None:
    files = dump(BASELINE)
    header = json.loads(files["policy.json"])
    rotation = json.loads(files["rotation.json"])
    changed = {
        "policy.json was altered": {
            "policy.json": json.dumps(
                header | {"policy": header["policy"] | {"kind": "network"}}
            ).encode()
        },
        "rotation.json .* altered": {
            "rotation.json": json.dumps(rotation | {"low": rotation["low"] + 1}).encode()
        },
        "plant.json .* altered": {
            "plant.json": dump(plants_of(packaged("15x5")).baseline)["plant.json"]
        },
        "no description": {"policy.json": b"{"},
    }

    for message, replaced in changed.items():
        with pytest.raises(ArtifactAltered, match=message):
            load(files | replaced)
    for name in files:
        with pytest.raises(ArtifactAltered):
            load({other: content for other, content in files.items() if other != name})


def test_importing_the_domain_loads_no_trainer_and_no_solver() -> None:
    code = (
        "import sys; import decisions.domains.lotsizing;"
        "print([m for m in ('torch', 'numba', 'gymnasium', 'highspy') if m in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def slower(rule: GroupedRotation) -> GroupedRotation:
    """The baseline with its first machine stopped."""
    return replace(rule, groups=((), *rule.groups[1:]))


def short_lived() -> Domain:
    """The domain with a candidate that needs no training and is worse."""
    worse = PlantPolicy(
        instance=INSTANCE, rule=slower(rotation_of(INSTANCE)), training={"steps": 0}
    )

    def train(history: pl.LazyFrame, predecessors: Sequence[Policy], rng: object) -> Policy:
        del history, predecessors, rng
        return worse

    return replace(DOMAIN, candidates={"slower": train})


def test_after_a_change_of_plant_a_promotion_for_the_failed_midnight_mends_the_run(
    database: Database,
) -> None:
    solved = "decomposition"
    old, new = (
        replace(each, candidates={solved: each.candidates[solved]}, holdout=DAY)
        for each in map(plants_of, map(packaged, ("tiny_2x1", "easy_2x1")))
    )
    failing, afterwards = START + 3 * DAY, START + 4 * DAY
    flow.begin(database, old, now=START, seed=3)
    flow.catch_up(database, old, until=START + 2 * DAY, holder="test")
    flow.settle(database, old, as_of=START + 2 * DAY, holder="test")
    with pytest.raises(DataError, match="promote one that was trained for that plant"):
        flow.catch_up(database, new, until=failing, holder="test")
    [number] = flow.plan_generations(database, new, cutoff=afterwards, seed=3)
    flow.train_generation(database, new, number, holder="test")

    generations.promote(
        database, "lotsizing", number, by="x", reason="x", now=afterwards, since=failing
    )
    taken = [
        flow.catch_up(database, new, until=until, holder="test") for until in (failing, afterwards)
    ]
    flow.settle(database, new, as_of=afterwards + DAY, holder="test")

    lived = flow.history(
        database, new, since=START, until=afterwards + DAY, as_of=afterwards + DAY
    ).sort("decided_at", "plant")
    assert taken == [2, 2]
    assert lived["generation"].to_list() == [0] * 4 + [number] * 4
    assert lived["period"].to_list() == [0, 0, 1, 1] * 2
    assert lived.filter(pl.col("generation") == number)["reward"].null_count() == 0


def test_a_fortnight_on_the_spine_leads_from_plan_to_verdict_and_replays(
    database: Database,
) -> None:
    domain = short_lived()
    flow.begin(database, domain, now=START, seed=3)

    for day in (1, 7, 14):
        taken = flow.catch_up(database, domain, until=START + day * DAY, holder="test")
        again = flow.catch_up(database, domain, until=START + day * DAY, holder="test")
        flow.settle(database, domain, as_of=START + day * DAY, holder="test")
        assert again == 0
        assert taken == 2 * {1: 1, 7: 6, 14: 7}[day]
    cutoff = START + 14 * DAY
    [number] = flow.plan_generations(database, domain, cutoff=cutoff, seed=3)
    flow.train_generation(database, domain, number, holder="test")
    flow.evaluate_generation(database, domain, number, holder="test")
    verdicts = flow.judge_cutoff(database, domain, cutoff=cutoff, holder="test")
    flow.diagnose(database, domain, cutoff=cutoff)

    lived = flow.history(database, domain, since=START, until=cutoff + DAY, as_of=cutoff)
    for _, plant in lived.group_by("plant"):
        assert plant.sort("decision_id")["period"].to_list() == list(range(14))
    assert lived["reward"].null_count() == 2  # of the last midnight
    costs = pl.sum_horizontal("setup_cost", "lost_cost", "holding_cost")
    carried = lived.sort("plant", "period").select(
        "period", "reward", brought=costs.shift(-1).over("plant")
    )
    known = carried.filter(pl.col("period") < 12)
    np.testing.assert_array_equal(known["reward"], -known["brought"])
    assert verdicts[number].outcome == "reject"
    assert generations.champion(database, "lotsizing") == 0
    details = json.loads(
        database.read("training/of_generation", domain="lotsizing", number=number)["details"][0]
    )
    assert details["plant"] == "20x10"
    assert details["steps"] == 0
    replayed = replay(database, domain, decision_log.sample_ids(database, "lotsizing", 50, 1))
    assert replayed.stored.height == 28
    assert replayed.equal, replayed.differing
