"""What is measured of a series in each cycle: in words, with units, grouped as it is drawn."""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One small chart: what each column is called in it, its unit, and what it shows."""

    group: str
    title: str
    tells: str
    unit: str
    columns: Mapping[str, str]
    scale: float = 1.0
    logarithmic: bool = False

    def measured(self, cycles: pl.DataFrame) -> dict[str, str]:
        """The columns with at least one value."""
        return {
            name: called
            for name, called in self.columns.items()
            if not cycles[name].is_null().all()
        }


PANELS = (
    Panel(
        group="Drift",
        title="Churn",
        tells="How much each policy differs from the one before it, on one fixed set of contexts."
        " Churn alone does no harm.",
        unit="%",
        scale=100.0,
        columns={
            "churn_total_variation": "probability moved",
            "churn_greedy": "best action changed",
        },
    ),
    Panel(
        group="Drift",
        title="Class drift",
        tells="Failures among the rows that trained the policy. A policy that chooses well sees"
        " few of them; here that is a mark of lost variety, not itself the cause.",
        unit="% of training rows",
        scale=100.0,
        columns={"negatives_share": "failures"},
    ),
    Panel(
        group="Drift",
        title="Score drift",
        tells="Largest distance between the distributions of predicted scores of this policy and"
        " the one before it (Kolmogorov-Smirnov).",
        unit="%",
        scale=100.0,
        columns={"score_ks": "score distance"},
    ),
    Panel(
        group="Drift",
        title="Ranking",
        tells="How often the model scores a success above a failure, on held-out rows; 50 % is"
        " guessing. AUC is the area under the ROC curve.",
        unit="AUC, %",
        scale=100.0,
        columns={"auc": "ranking"},
    ),
    Panel(
        group="Variety",
        title="Variety",
        tells="Entropy of the choice among the eligible actions; 100 % is uniform, 0 % always the"
        " same.",
        unit="% of uniform",
        scale=100.0,
        columns={"entropy_normalised": "entropy"},
    ),
    Panel(
        group="Variety",
        title="Actions in use",
        tells="So many equally likely actions would have the same entropy.",
        unit="actions",
        columns={"effective_actions": "effective actions"},
    ),
    Panel(
        group="Variety",
        title="Propensities",
        tells="The smallest probabilities with which logged actions were chosen. The nearer to"
        " zero, the less the logs say about rare actions.",
        unit="probability",
        logarithmic=True,
        columns={"propensity_1_percent": "1 % quantile", "propensity_minimum": "minimum"},
    ),
    Panel(
        group="Calibration",
        title="Calibration",
        tells="Mean error of predicted scores at the best action, and at the other eligible ones."
        " Their distance is the realizability gap.",
        unit="percentage points",
        scale=100.0,
        columns={
            "calibration_error_unchosen": "untried actions",
            "calibration_error_greedy": "best action",
            "realizability_gap": "gap",
        },
    ),
    Panel(
        group="Calibration",
        title="Optimism about untried actions",
        tells="Mean predicted minus true score of actions the policy does not choose. Above zero"
        " it believes in what it has not tried.",
        unit="percentage points",
        scale=100.0,
        columns={"bias_unchosen": "optimism"},
    ),
    Panel(
        group="Training window",
        title="Cycles",
        tells="How many cycles' logs trained the policy. One alone lets a policy forget what the"
        " one before it knew.",
        unit="cycles",
        columns={"window_cycles": "cycles in the window"},
    ),
    Panel(
        group="Training window",
        title="Rows",
        tells="How many logged decisions trained the policy.",
        unit="rows",
        columns={"window_rows": "rows in the window"},
    ),
    Panel(
        group="Training window",
        title="Origin",
        tells="Training rows that the baseline logged. They keep what is known of actions that"
        " later policies avoid.",
        unit="% of training rows",
        scale=100.0,
        columns={"window_uniform_share": "from the baseline"},
    ),
    Panel(
        group="Calibration",
        title="What the logs carry",
        tells="Effective sample size of the policy over the log, and decisions still without an"
        " outcome.",
        unit="% of decisions",
        scale=100.0,
        columns={"ess_share": "still informs", "unresolved_share": "no outcome yet"},
    ),
)
MOVES_WITH = {  # the mechanism panel
    "negatives_share": "failures in training",
    "entropy_normalised": "variety of choice",
    "effective_actions": "actions in use",
    "auc": "ranking of outcomes",
    "bias_unchosen": "optimism about untried actions",
    "realizability_gap": "realizability gap",
    "churn_total_variation": "churn",
    "window_cycles": "cycles in the window",
    "window_uniform_share": "training rows from the baseline",
    "value_before": "value of the cycle before",
}
