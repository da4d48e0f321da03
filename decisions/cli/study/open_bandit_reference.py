"""The part of the payments reference study that reads the real Open Bandit logs."""

from typing import Any

from decisions.cli.report import Workbench
from decisions.domains.open_bandit.loader import CAMPAIGNS
from decisions.domains.open_bandit.reference import (
    PUBLISHED_ESS,
    PUBLISHED_RATIO,
    priors,
    replicate,
    thompson_shares,
    uniform_support,
)


def _replication(campaign: str) -> dict[str, Any]:
    found = replicate(campaign, thompson_shares(*priors(campaign)))
    return {
        "ratio": found.ratio,
        "ips": found.ips.value,
        "interval": [found.ips.lower, found.ips.upper],
        "snips": found.snips,
        "mean_weight": found.mean_weight,
        "ess": found.effective_n,
    }


def _support(campaign: str) -> dict[str, Any]:
    found, why = uniform_support(campaign, "bts")
    return {"ess": found.effective_n, "mean_weight": found.mean_weight, "refusal": why}


def checks(bench: Workbench) -> None:
    """A3: the published ratio, the table of effective sample sizes, and women/bts refused."""
    for campaign in bench.track(list(CAMPAIGNS), "Open Bandit: replication"):
        found = bench.part(
            f"open-bandit-{campaign}",
            lambda campaign=campaign: _replication(campaign),
        )
        published = campaign == "all"
        bench.check(
            f"A3 Thompson over random, {campaign}: ratio of clicks",
            found["ratio"],
            f"{PUBLISHED_RATIO} to 1e-5" if published else "reported",
            ok=abs(found["ratio"] - PUBLISHED_RATIO) <= 1e-5 if published else None,
        )
        bench.check(
            f"A3 Thompson on random logs, {campaign}: IPS (SNIPS {found['snips']:.6f},"
            f" mean w {found['mean_weight']:.4f}, ESS {found['ess']:.0f})",
            found["ips"],
            "reported",
            ok=None,
            interval=(found["interval"][0], found["interval"][1]),
        )
    for campaign, published in PUBLISHED_ESS.items():
        found = bench.part(
            f"open-bandit-support-{campaign}", lambda campaign=campaign: _support(campaign)
        )
        tolerance = max(0.001 * published, 0.005 if published < 10 else 0.05)  # digits printed
        bench.check(
            f"A3 uniform on {campaign}/bts: effective sample size",
            found["ess"],
            f"{published} to 0.1 % or the digits printed",
            ok=abs(found["ess"] - published) <= tolerance,
        )
    refused = bench.part("open-bandit-support-women", lambda: _support("women"))["refusal"]
    bench.check(
        "A3 women/bts", refused or "accepted", "refused as unsupported", ok=refused is not None
    )
