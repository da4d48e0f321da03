"""What the gate held a generation against, in words and in the units of its domain."""

import json
import math
from dataclasses import dataclass
from typing import Any, Literal

import polars as pl
from queries import read
from units import Unit, unit_of

GAIN = "difference_lower_bound"
Kind = Literal["share", "reward", "errors", "number"]


@dataclass(frozen=True)
class Check:
    """What a page calls a check, what kind of number it is, and what it tells."""

    title: str
    kind: Kind
    tells: str


CHECKS = {
    GAIN: Check(
        "gain over the champion, lower bound",
        "reward",
        "With the stated confidence the candidate gains at least this much; below zero it may"
        " lose. Where several candidates compete, each is held to a stricter level.",
    ),
    "log_e_value": Check(
        "capital won by betting on the candidate, logarithm",
        "number",
        "Bets against 'no better than the margin allows', over all its looks. Were that true, the"
        " capital would hardly ever get so far, however often one looks (docs/gate.md).",
    ),
    "looks_in_period": Check(
        "cut-offs judged in the period",
        "number",
        "The gate's error over a period is shared among so many; beyond them, nobody is promoted.",
    ),
    "ess": Check(
        "effective sample size",
        "number",
        "So many decisions of the candidate itself would tell as much as the weighted log.",
    ),
    "ess_share": Check(
        "share of the log that still informs",
        "share",
        "The candidate's effective sample size over the logged decisions.",
    ),
    "champion_ess_share": Check(
        "share of the log that informs about the champion",
        "share",
        "The champion's effective sample size over the logged decisions.",
    ),
    "support_violation": Check(
        "share of decisions that the log never tried",
        "share",
        "Where it is above zero, nothing in the log says what would have happened.",
    ),
    "mean_weight_z": Check(
        "distance of the mean weight from what it should be",
        "errors",
        "Where actions are drawn as the log says, importance weights average one: this far off,"
        " in standard errors, they are.",
    ),
    "mean_weight_limit": Check(
        "distance of the mean weight that is allowed",
        "errors",
        "Beyond it the evaluation is refused; with the groups' limit, that happens by chance to at"
        " most one sound log in 200.",
    ),
    "worst_group_z": Check(
        "distance of the worst group's mean weight from what it should be",
        "errors",
        "The same in groups (merchants, issuers, attempts): where one is far off, look there"
        " whether actions were drawn with the probabilities that were logged.",
    ),
    "group_z_limit": Check(
        "distance of a group's mean weight that is allowed",
        "errors",
        "Beyond it the evaluation is refused; it is larger the more groups there are.",
    ),
    "weight_median": Check("median weight", "number", "Half of the weights are below it."),
    "weight_90_percent": Check("90 % of weights are below", "number", "Of the candidate."),
    "weight_99_percent": Check("99 % of weights are below", "number", "Of the candidate."),
    "max_weight": Check(
        "largest weight", "number", "So many decisions does the heaviest logged one stand for."
    ),
    "rare_mass": Check(
        "share of decisions on actions hardly ever tried",
        "share",
        "Actions that were logged with a propensity below 0.001.",
    ),
    "churn_tv": Check(
        "share of decisions that would change",
        "share",
        "Total variation distance from the champion; no harm by itself.",
    ),
    "churn_from_trained": Check(
        "share of decisions that would change from a trained champion",
        "share",
        "Total variation distance; 0 against the baseline, which the first generation is meant to"
        " leave.",
    ),
    "worst_segment_loss": Check(
        "loss in the worst segment",
        "reward",
        "The largest loss among segments that significantly lose; 0 where none does.",
    ),
    "illegal_actions": Check(
        "actions that cannot be done",
        "number",
        "Choices of the candidate that no machine can carry out; one is too many.",
    ),
    "difference_from_rotation": Check(
        "gain over the tuned rotation (H2), lower bound",
        "reward",
        "Below zero the candidate may be worse than the rotation, whoever is champion.",
    ),
    "demand_drift": Check(
        "distance of demand from its law",
        "errors",
        "Of the item furthest off: far away, simulation speaks of another world than the plant's.",
    ),
    "episodes": Check("episodes simulated", "number", "The same for candidate and champion."),
    "unresolved_share": Check(
        "share of decisions without an outcome",
        "share",
        "Left out of the estimate: outcomes that had not become known by the cut-off.",
    ),
}


def check(name: str) -> Check:
    """What is known of a check; one that is not known keeps its name."""
    return CHECKS.get(name, Check(name.replace("_", " "), "number", ""))


def measured(name: str, value: float | None, unit: Unit) -> str:
    """The value of a check with its unit."""
    if value is None or math.isnan(value):
        return "not measured"
    if math.isinf(value):
        return "unbounded"
    match check(name).kind:
        case "share":
            return f"{100 * value:.3g} %" if value < 1 else f"{100 * value:.0f} %"
        case "reward":
            return unit.difference(value)
        case "errors":
            return f"{value:+.2f} standard errors"
        case "number":
            return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def allowed(name: str, low: float, high: float, unit: Unit) -> str:
    """What the gate allows of a check, in words."""
    if name == GAIN:
        return f"above {measured(name, low, unit)}"
    if low == high:
        return f"must be {measured(name, low, unit)}"
    distance = low == 0 and check(name).kind == "errors" and math.isfinite(high)
    if math.isinf(low) or (low == 0 and high < 1) or distance:
        return f"at most {measured(name, high, unit)}"
    if math.isinf(high) or high >= 1 > low:
        return f"at least {measured(name, low, unit)}"
    return f"{measured(name, low, unit)} to {measured(name, high, unit)}"


def rules(reasons: str, unit: Unit) -> pl.DataFrame:
    """One row a rule of a verdict: `rule`, `title`, `measured` and `allowed` in words, `kept`."""
    return pl.DataFrame(
        [
            {
                "rule": rule["rule"],
                "title": check(rule["rule"]).title,
                "measured": measured(rule["rule"], _number(rule["measured"]), unit),
                "allowed": allowed(rule["rule"], float(rule["low"]), float(rule["high"]), unit),
                "kept": rule["kept"],
                "tells": check(rule["rule"]).tells,
            }
            for rule in json.loads(reasons)
        ],
        schema={
            "rule": pl.String(),
            "title": pl.String(),
            "measured": pl.String(),
            "allowed": pl.String(),
            "kept": pl.Boolean(),
            "tells": pl.String(),
        },
    )


def _number(given: Any) -> float | None:
    return None if given is None else float(given)


def reasons(domain: str, *, first: int) -> pl.DataFrame:
    """One row a verdict from generation `first` on: `number`, `why` in words, the gate's `margin`.

    The margin is what the lower bound of the difference had to exceed, in the domain's reward.
    """
    unit = unit_of(domain)
    rows = [
        {"number": row["number"], **_reason(row["note"], row["reasons"], unit)}
        for row in read("verdict/reasons", domain=domain, first=first).iter_rows(named=True)
    ]
    return pl.DataFrame(
        rows, schema={"number": pl.Int32(), "why": pl.String(), "margin": pl.Float64()}
    )


def _wanted(words: str) -> str:
    return words if words.startswith("must") else f"wanted {words}"


def _reason(note: str | None, given: str, unit: Unit) -> dict[str, Any]:
    told = rules(given, unit)
    broken = told.filter(~pl.col("kept") & (pl.col("rule") != GAIN))
    words = ([note] if note else []) + [
        f"{title} is {seen}, {_wanted(wanted)}"
        for title, seen, wanted in broken.select("title", "measured", "allowed").iter_rows()
    ]
    gain = next((rule for rule in json.loads(given) if rule["rule"] == GAIN), None)
    margin = None if gain is None else float(gain["low"])
    if gain is not None and margin is not None and math.isfinite(float(gain["measured"])):
        kept = "above" if gain["kept"] else "not above"
        lower = float(gain["measured"]) * unit.scale
        words.append(f"lower bound {lower:+.2f} {unit.points}, {kept} {margin * unit.scale:+.2f}")
    return {"why": "; ".join(words), "margin": margin}
