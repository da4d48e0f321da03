"""The Open Bandit sample: six files of 10,000 real recommendations, and what is known of items."""

from functools import cache
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import polars as pl

from decisions.errors import DataError
from decisions.policy import FloatArray

CAMPAIGNS = {"all": 80, "men": 34, "women": 46}  # number of items
LOGGERS = ("random", "bts")  # uniform at random, and Bernoulli Thompson sampling
FEATURES = tuple(f"user_feature_{i}" for i in range(4))
INSTALL = "pip install --no-deps obp==0.4.1"
# First 16 digits of each file's SHA-256, by logger and campaign.
DIGESTS = {
    ("random", "all"): "7168295b6e0a9eab",
    ("bts", "all"): "0ad874e4dbf6902f",
    ("random", "men"): "ede6d08c6877f99c",
    ("bts", "men"): "db6d1f7ed2d591ba",
    ("random", "women"): "e65f3bd3beb17664",
    ("bts", "women"): "e5d1b49a39b60858",
}


def folder() -> Path:
    """Where the `obp` package lies; found without importing it, since its imports need torch.

    Raises:
        DataError: it is not installed.
    """
    spec = find_spec("obp")
    if spec is None or spec.origin is None:
        raise DataError(
            "the Open Bandit logs are missing: they come inside the wheel `obp` 0.4.1, which is"
            f" never imported; run `{INSTALL}`"
        )
    return Path(spec.origin).parent


def verified(path: Path, digest: str) -> bytes:
    """The bytes of a file whose SHA-256 begins with `digest`.

    Raises:
        DataError: the file is missing or has another digest.
    """
    if not path.exists():
        raise DataError(f"{path.name} is missing beside `obp`: run `{INSTALL} --force-reinstall`")
    content = path.read_bytes()
    seen = sha256(content).hexdigest()[: len(digest)]
    if seen != digest:
        raise DataError(
            f"{path.name} has SHA-256 {seen}..., wanted {digest}...: another version of `obp`, or"
            f" an altered file; run `{INSTALL} --force-reinstall`"
        )
    return content


def read(content: bytes, *, logger: str, campaign: str) -> pl.DataFrame:
    """One file's rows, in its order (by time).

    `reference`, `logger`, `campaign`, `decided_at`, `item` (0 to K - 1), `position` (1 to 3),
    `click`, `propensity`, the hashed `user_feature_0..3`, and `affinity`: how often the user chose
    any of the campaign's items before, summed over them (0 for 95 % of the rows).
    """
    frame = pl.read_csv(content)
    affinities = [name for name in frame.columns if name.startswith("user-item_affinity_")]
    row = pl.int_range(pl.len()).cast(pl.String)
    return frame.select(
        pl.format("{}/{}/{}", pl.lit(logger), pl.lit(campaign), row).alias("reference"),
        pl.lit(logger).alias("logger"),
        pl.lit(campaign).alias("campaign"),
        pl.col("timestamp").str.to_datetime(time_zone="UTC", time_unit="us").alias("decided_at"),
        pl.col("item_id").cast(pl.Int16).alias("item"),
        pl.col("position").cast(pl.Int16),
        pl.col("click").cast(pl.Float64),
        pl.col("propensity_score").alias("propensity"),
        *FEATURES,
        pl.sum_horizontal(affinities).cast(pl.Float64).alias("affinity"),
    )


@cache
def logs() -> pl.DataFrame:
    """All 60,000 rows as `read` gives them; a feature is its level's rank among all six files.

    Raises:
        DataError: the wheel is missing, or a file is not the published one.
    """
    place = folder() / "dataset" / "obd"
    rows = pl.concat(
        read(
            verified(place / logger / campaign / f"{campaign}.csv", digest),
            logger=logger,
            campaign=campaign,
        )
        for (logger, campaign), digest in DIGESTS.items()
    )
    return rows.with_columns(
        (pl.col(name).rank("dense") - 1).cast(pl.Int16).alias(name) for name in FEATURES
    )


@cache
def item_features() -> FloatArray:
    """What is known of the 160 items of the three campaigns, (160, f).

    The numeric feature, then an indicator of each level of the three hashed ones, and of the
    campaign.
    """
    place = folder() / "dataset" / "obd" / "random"
    items = pl.concat(
        pl.read_csv(place / campaign / "item_context.csv")
        .sort("item_id")
        .select(
            pl.lit(campaign).alias("campaign"),
            *(f"item_feature_{i}" for i in range(4)),
        )
        for campaign in CAMPAIGNS
    )
    levels = items.select("campaign", *(f"item_feature_{i}" for i in range(1, 4))).to_dummies()
    return np.column_stack([items["item_feature_0"].to_numpy(), levels.to_numpy()]).astype(
        np.float64
    )
