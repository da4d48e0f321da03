"""The published figures of the Open Bandit sample, computed anew from its logs."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from decisions.bandits.intervals import normal
from decisions.bandits.support import Support, kish, refusal, support
from decisions.domains.open_bandit.loader import CAMPAIGNS, folder, logs
from decisions.evaluation import Estimate
from decisions.policy import FloatArray

POSITIONS = 3
# Of a uniform target on the Thompson sampling logs: effective sample size of 10,000 rows.
PUBLISHED_ESS = {"all": 340.4, "men": 655.7, "women": 2.08}
PUBLISHED_RATIO = 1.198126  # Thompson sampling over random, campaign "all"


@dataclass(frozen=True, kw_only=True)
class Replication:
    """Thompson sampling with the production priors, judged on one campaign's random logs."""

    ips: Estimate  # clicks a recommendation; clustered by hour
    snips: float
    ratio: float  # of `ips` to the click rate of the random logs
    mean_weight: float
    effective_n: float


def priors(campaign: str, *, place: Path | None = None) -> tuple[FloatArray, FloatArray]:
    """Alpha and beta of each item's Beta prior in production, both (K,).

    The file is a flat list of numbers by campaign and parameter; reading it takes no YAML parser.
    """
    text = ((place or folder()) / "policy" / "conf" / "prior_bts.yaml").read_text()
    section = re.split(rf"^{campaign}:$", text, maxsplit=1, flags=re.MULTILINE)[1]
    section = re.split(r"^\w", section, maxsplit=1, flags=re.MULTILINE)[0]
    alpha, beta = re.split(r"^  beta:$", section, maxsplit=1, flags=re.MULTILINE)
    found = [np.array(re.findall(r"- ([\d.]+)", part), dtype=np.float64) for part in (alpha, beta)]
    return found[0], found[1]


def thompson_shares(
    alpha: FloatArray, beta: FloatArray, *, draws: int = 100_000, batch: int = 10_000
) -> FloatArray:
    """How often each item has each of the three highest draws from its Beta, (K, 3)."""
    # RandomState, not a Generator: the published number is that of this very stream of bits.
    random = np.random.RandomState(12345)
    counts = np.zeros((len(alpha), POSITIONS))
    for start in range(0, draws, batch):
        size = (min(batch, draws - start), len(alpha))
        top = np.argsort(-random.beta(alpha, beta, size=size), axis=1)[:, :POSITIONS]
        for position in range(POSITIONS):
            counts[:, position] += np.bincount(top[:, position], minlength=len(alpha))
    return counts / draws


def slice_of(campaign: str, logger: str) -> pl.DataFrame:
    """The rows of one campaign that one logger took."""
    return logs().filter(pl.col("campaign") == campaign, pl.col("logger") == logger)


def replicate(campaign: str, shares: FloatArray) -> Replication:
    """IPS and SNIPS of a policy with `shares` (K, 3) by position, on the random logs."""
    rows = slice_of(campaign, "random")
    weights = (
        shares[rows["item"].to_numpy(), rows["position"].to_numpy() - 1]
        / rows["propensity"].to_numpy()
    )
    terms = weights * rows["click"].to_numpy()
    hours = rows["decided_at"].dt.truncate("1h").dt.epoch("s").to_numpy()
    effective = kish(weights)
    return Replication(
        ips=normal(terms, clusters=hours, effective_n=effective),
        snips=float(terms.sum() / weights.sum()),
        ratio=float(terms.mean() / rows["click"].to_numpy().mean()),
        mean_weight=float(weights.mean()),
        effective_n=effective,
    )


def uniform_support(campaign: str, logger: str) -> tuple[Support, str | None]:
    """Diagnostics of choosing uniformly, on the logs of `logger`, and the refusal or None."""
    rows = slice_of(campaign, logger)
    k = CAMPAIGNS[campaign]
    uniform = np.full((rows.height, k), 1.0 / k)
    propensity = rows["propensity"].to_numpy()
    found = support(
        1.0 / k / propensity,
        uniform,
        propensity=propensity,
        eligible=np.ones(uniform.shape, dtype=np.bool_),
    )
    return found, refusal(found)
