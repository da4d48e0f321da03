"""Open Bandit: which fashion item to recommend, learned and judged on a shop's real logs.

Six logs of 10,000 decisions, 24-30 November 2019: three campaigns, each served by a uniformly
random policy and by Bernoulli Thompson sampling ("bts"). Source: Saito, Aihara, Matsutani and
Narita (2021), "Open Bandit Dataset and Pipeline".

A generation changes the policy of one campaign. It is trained on one logger's earlier days and
judged on the same logger's last three days, so every pair of campaign and logger is a question of
its own, and the answer may be that its logs cannot support one. Generation 0 stands for the shop:
its policy is the uniform one, and the arm of a logged decision says which of the shop's two
policies took it.
"""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from decisions.domain import Domain, Log
from decisions.domains.open_bandit.loader import CAMPAIGNS, FEATURES, LOGGERS, logs
from decisions.domains.open_bandit.policies import (
    ACTIONS,
    UNITS,
    dump,
    eligible,
    first_action,
    load,
    observe,
)
from decisions.domains.open_bandit.training import BASELINE, Recipe, evaluate
from decisions.frames import DECISIONS
from decisions.gate import GateRule

_LEVELS = (3, 5, 9, 9)  # of user features in the logs; only `sample` reads it


def sample(n: int, rng: np.random.Generator) -> pl.DataFrame:
    """`n` plausible slots on the page; reads no log."""
    return pl.DataFrame(
        {
            "campaign": rng.choice(list(CAMPAIGNS), size=n),
            "position": rng.integers(1, 4, size=n),
            **{
                name: rng.integers(levels, size=n)
                for name, levels in zip(FEATURES, _LEVELS, strict=True)
            },
            "affinity": rng.poisson(0.05, size=n),
        }
    ).cast(dict(UNITS))  # pyright: ignore[reportArgumentType]


def logged(start: datetime, end: datetime) -> Log:
    """The shop's decisions in [start, end), each outcome known at once.

    Thompson sampling's logs keep the propensity of the item shown and no other probability, and
    neither log keeps the number it was drawn with: lists are empty, and `uniform` is NaN, where
    that is so. Nor is it known what either would have done without exploring: `nominal` is empty.

    Raises:
        DataError: the wheel with the logs is missing or altered.
    """
    rows = logs().filter(pl.col("decided_at").is_between(start, end, closed="left"))
    first, k = first_action(pl.col("campaign")), pl.col("campaign").replace_strict(CAMPAIGNS)
    known = pl.col("logger") == "random"
    none = pl.lit([], dtype=pl.List(pl.Float64()))
    items = pl.int_ranges(first, first + k)
    decisions = rows.select(
        "reference",
        pl.lit(0).alias("slot"),
        pl.lit(None).alias("parent_id"),
        pl.lit(0).alias("generation"),
        pl.col("logger").alias("arm"),
        "decided_at",
        pl.when(known).then(items).otherwise(none).alias("eligible"),
        none.alias("scores"),
        pl.when(known)
        .then(pl.col("propensity").repeat_by(k))
        .otherwise(none)
        .alias("probabilities"),
        pl.concat_list((first + pl.col("item")).cast(pl.Float64)).alias("action"),
        none.alias("nominal"),
        "propensity",
        pl.col("propensity").alias("arm_propensity"),
        pl.lit(float("nan")).alias("uniform"),
    )
    kept = {name: kind for name, kind in DECISIONS.items() if name in decisions.columns}
    return Log(
        arrivals=rows.select("reference", pl.col("decided_at").alias("observed_at"), *UNITS),
        decisions=decisions.cast(kept),  # pyright: ignore[reportArgumentType]
        outcomes=rows.select(
            "reference",
            pl.col("click").alias("reward"),
            pl.col("decided_at").alias("observed_at"),
        ),
    )


DOMAIN = Domain(
    name="open_bandit",
    title="Open Bandit: fashion recommendations from real logs",
    reward="clicks a recommendation",
    reward_unit="%",
    units=UNITS,
    sample=sample,
    actions=ACTIONS,
    baseline=BASELINE,
    observe=observe,
    eligible=eligible,
    candidates={
        f"{campaign}_{logger}": Recipe(campaign=campaign, logger=logger)
        for campaign in CAMPAIGNS
        for logger in LOGGERS
    },
    evaluate=evaluate,
    gate=GateRule(limits={"support_violation": (0.0, 0.0)}),
    dump=dump,
    load=load,
    maturity=timedelta(0),
    holdout=timedelta(days=3),
    window=timedelta(days=4),
    logged=logged,
    cutoffs=(datetime(2019, 11, 30, tzinfo=UTC), datetime(2019, 12, 1, tzinfo=UTC)),
)
