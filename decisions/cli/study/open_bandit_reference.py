"""The part of the payments reference study that reads the real Open Bandit logs."""

from typing import Any

import numpy as np

from decisions.bandits.estimators import ips, snips
from decisions.cli.report import Workbench
from decisions.domains.open_bandit.loader import CAMPAIGNS
from decisions.domains.open_bandit.reference import (
    PUBLISHED_ESS,
    PUBLISHED_RATIO,
    priors,
    replicate,
    slice_of,
    thompson_shares,
    uniform_support,
)

# As printed in the design, to the digits printed there.
THOMPSON = {  # the production policy judged on the random logs
    "all": {"ips": "0.00455288", "snips": "0.004776", "mean_weight": "0.9533", "ess": "1640"},
    "men": {
        "ips": "0.00453356",
        "ratio": "0.98556",
        "snips": "0.004604",
        "mean_weight": "0.9847",
        "ess": "2467",
    },
    "women": {
        "ips": "0.00681347",
        "ratio": "1.48119",
        "snips": "0.006811",
        "mean_weight": "1.0004",
        "ess": "1954",
    },
}
UNIFORM = {  # choosing uniformly, judged on the production policy's logs
    "all": {"mean_weight": "1.0111", "max_weight": "277.8", "ips": "0.00236", "snips": "0.00233"},
    "men": {"mean_weight": "0.9433", "max_weight": "178.3", "ips": "0.00301", "snips": "0.00319"},
    "women": {"mean_weight": "3.13", "max_weight": "21739", "ips": "0.00744", "snips": "0.00237"},
}


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


def _support(campaign: str, logger: str) -> dict[str, Any]:
    found, why = uniform_support(campaign, logger)
    rows = slice_of(campaign, logger)
    weights = 1 / CAMPAIGNS[campaign] / rows["propensity"].to_numpy()
    clicks = rows["click"].to_numpy().astype(np.float64)
    return {
        "ess": found.effective_n,
        "mean_weight": found.mean_weight,
        "max_weight": found.max_weight,
        "ips": ips(weights, clicks).value,
        "snips": snips(weights, clicks).value,
        "refusal": why,
    }


def _printed(bench: Workbench, name: str, value: float, printed: str) -> None:
    """Holds `value` to half a unit of the last digit of `printed`."""
    half = 0.5 * 10.0 ** -len(printed.partition(".")[2])
    bench.check(
        name,
        value,
        f"{printed} to the digits printed",
        ok=abs(value - float(printed)) <= half * (1 + 1e-9),
    )


_LABELS = {
    "ips": "IPS",
    "snips": "SNIPS",
    "ratio": "ratio of clicks",
    "mean_weight": "mean w",
    "max_weight": "max w",
    "ess": "effective sample size",
}


def checks(bench: Workbench) -> None:
    """A3: the published ratio and figures, effective sample sizes, and women/bts refused.

    Of women/bts the effective sample size is 2.0778, printed as 2.08: the design's 0.1 % would be
    missed by that rounding alone (0.105 %), so the digits printed are what it is held to.
    """
    for campaign in bench.track(list(CAMPAIGNS), "Open Bandit: replication"):
        found = bench.part(
            f"open-bandit-{campaign}",
            lambda campaign=campaign: _replication(campaign),
        )
        if campaign == "all":
            bench.check(
                "A3 Thompson over random, all: ratio of clicks",
                found["ratio"],
                f"{PUBLISHED_RATIO} to 1e-5",
                ok=abs(found["ratio"] - PUBLISHED_RATIO) <= 1e-5,
            )
        bench.check(
            f"A3 Thompson on random logs, {campaign}: interval of IPS",
            found["ips"],
            "reported; holds the click rate of the random logs: not distinguishable"
            if found["interval"][0] < found["ips"] / found["ratio"] < found["interval"][1]
            else "reported",
            ok=None,
            interval=(found["interval"][0], found["interval"][1]),
        )
        for name, printed in THOMPSON[campaign].items():
            label = f"A3 Thompson on random logs, {campaign}: {_LABELS[name]}"
            _printed(bench, label, found[name], printed)
    for campaign, published in PUBLISHED_ESS.items():
        found = bench.part(
            f"open-bandit-support-{campaign}",
            lambda campaign=campaign: _support(campaign, "bts"),
        )
        tolerance = max(0.001 * published, 0.005)
        off = abs(found["ess"] / published - 1)
        bench.check(
            f"A3 uniform on {campaign}/bts: effective sample size",
            found["ess"],
            f"{published} to 0.1 %"
            if off <= 0.001
            else f"{published} to the digits printed; {100 * off:.3f} % off by that rounding",
            ok=abs(found["ess"] - published) <= tolerance,
        )
        for name, printed in UNIFORM[campaign].items():
            _printed(bench, f"A3 uniform on {campaign}/bts: {_LABELS[name]}", found[name], printed)
        found = bench.part(
            f"open-bandit-support-{campaign}-random",
            lambda campaign=campaign: _support(campaign, "random"),
        )
        name = f"A3 uniform on {campaign}/random: effective sample size"
        _printed(bench, name, found["ess"], "10000")
    refused = bench.part("open-bandit-support-women", lambda: _support("women", "bts"))["refusal"]
    bench.check(
        "A3 women/bts", refused or "accepted", "refused as unsupported", ok=refused is not None
    )
