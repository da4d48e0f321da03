"""Open Bandit as a world of generations: real visitors, and clicks from a model taken as truth.

The sample has some 46 clicks a campaign, too few to value a policy, let alone a generation of one.
So a regularised logistic model of click by visitor and item is fitted to the uniformly logged
rows, and from then on it *is* the truth: clicks are drawn from it. Contexts are the logged ones.
What a learner earns here says how it fares with rare rewards, many actions and real contexts; it
says nothing about the shop's visitors.
"""

from functools import cache

import numpy as np
import polars as pl

from decisions.bandits.generations import Day, MadeDays, chances, row_keys
from decisions.bandits.linear import fit_logistic
from decisions.bandits.training_set import PairFeatures, TrainingSet, pair_features
from decisions.domains.open_bandit.loader import CAMPAIGNS, FEATURES, item_features, logs
from decisions.policy import FloatArray
from decisions.seeds import stream

INVERSE_PENALTY = 0.01  # the production recipe's; 0.1 triples the spread of the fitted rates


def semi_synthetic_days(campaign: str, *, seed: int, rows: int = 5_000) -> MadeDays:
    """A World of `rows` recommendations a generation; the baseline recommends uniformly.

    Learners read the visitor and the item's features. The truth reads the same, but for the
    affinity, whose few large values it would carry to click rates of one.

    Raises:
        DataError: the wheel with the logs is missing or altered.
    """
    contexts, truth, features = _fitted(campaign)

    def make(number: int, rows: int) -> Day:
        keys = row_keys(seed, number, rows)
        visit = (keys.uniforms("open bandit", "visit")[:, 0] * len(truth)).astype(np.int64)
        success = truth[visit]
        return Day(
            context=contexts[visit],
            eligible=np.ones(success.shape, dtype=np.bool_),
            success=success,
            control=float(success.mean()),
            **chances(keys),
        )

    return MadeDays(make=make, features=features, rows=rows, reference_rows=500)


@cache
def _fitted(campaign: str) -> tuple[pl.DataFrame, FloatArray, PairFeatures]:
    """Contexts of the uniformly logged rows, the click rate of every item there, and features."""
    rows = logs().filter(pl.col("campaign") == campaign, pl.col("logger") == "random")
    contexts = rows.select("position", *FEATURES, "affinity")
    owner = np.repeat(list(CAMPAIGNS), list(CAMPAIGNS.values()))
    items = item_features()[owner == campaign]
    items = items[:, np.ptp(items, axis=0) > 0]
    items = (items - items.mean(axis=0)) / items.std(axis=0)
    codes = ("position", *FEATURES)
    data = TrainingSet(
        context=contexts,
        action=rows["item"].cast(pl.Int64).to_numpy(),
        reward=rows["click"].to_numpy(),
    )
    oracle = fit_logistic(
        data,
        stream(0, "open bandit", "truth"),
        features=pair_features(contexts, flags=items, categorical=codes, numeric=()),
        inverse_penalty=INVERSE_PENALTY,
    )
    truth = oracle.predict(contexts, np.ones((len(contexts), len(items)), dtype=np.bool_))
    features = pair_features(contexts, flags=items, categorical=codes, numeric=("affinity",))
    return contexts, truth, features
