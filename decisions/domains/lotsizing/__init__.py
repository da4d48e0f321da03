"""Lot sizing: what each machine of a plant makes in the coming period, under uncertain demand.

What production runs is read here: two plants of the published instance 20x10, a period a day.
"""

from datetime import timedelta

import numpy as np
import polars as pl

from decisions.domain import Domain
from decisions.domains.lotsizing.decomposition import can_decompose
from decisions.domains.lotsizing.evaluation import GATE, evaluate, gain
from decisions.domains.lotsizing.instance import Instance, packaged
from decisions.domains.lotsizing.plan import action_box
from decisions.domains.lotsizing.policies import (
    PlantPolicy,
    TunedRotation,
    dump,
    eligible,
    load,
    observe,
)
from decisions.domains.lotsizing.training import METHODS, Decomposed, Learned, account
from decisions.domains.lotsizing.world import UNITS, RollingPlants


def plants_of(instance: Instance, *, plants: int = 2) -> Domain:
    """The domain of `plants` plants of one instance: the packaged ones, or your own.

    The decomposition is a candidate where the stocks of the plant are few enough for its tables.
    """
    world = RollingPlants(instance=instance, plants=plants)
    solved = {"decomposition": Decomposed(instance=instance)} if can_decompose(instance) else {}
    learned = {
        f"{method}-{number}": Learned(instance=instance, method=method)
        for method in METHODS
        for number in (1, 2)
    }
    baseline = PlantPolicy(instance=instance, rule=TunedRotation(instance))

    def sample(n: int, rng: np.random.Generator) -> pl.DataFrame:
        """`n` plants a period after a random start, under the baseline."""
        return world.sample(n, rng, baseline.rule.act)

    return Domain(
        name="lotsizing",
        title="Lot sizing: what each machine makes next",
        reward="minus the cost of a plant's period",
        reward_unit="cost units a period",
        units=UNITS,
        sample=sample,
        actions=action_box(instance),
        baseline=baseline,
        observe=observe,
        eligible=eligible,
        candidates=learned | solved,
        evaluate=evaluate,
        gate=GATE,
        dump=dump,
        load=load,
        maturity=timedelta(days=1),
        holdout=timedelta(days=4),  # whose demand says whether the model still holds
        window=timedelta(days=28),
        world=world,
        cluster="plant",
        cadence=timedelta(days=7),
        successive=True,
        account=account,
        recipes={name: learner.recipe for name, learner in learned.items()},
        reference="the tuned rotation",
        gain=gain,
        material=0.15,  # cost units a period: one in a hundred
    )


DOMAIN = plants_of(packaged("20x10"))
