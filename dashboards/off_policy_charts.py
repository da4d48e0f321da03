"""Estimators side by side, and how heavy the weights are that they stand on."""

from typing import Any

import altair as alt
import polars as pl
from charts import Layers, composed_once

# Okabe and Ito (2008); a shape of its own tells each apart without colour.
WHOSE = {
    "candidate": ("#0072B2", "triangle-up"),
    "champion": ("#E69F00", "circle"),
    "baseline": ("#009E73", "square"),
    "the log itself": ("#666666", "diamond"),
    "the gate's": ("#0072B2", "triangle-up"),
    "further": ("#E69F00", "circle"),
}
_STEP, _STEP_OF_TWO = 34, 46  # pixels a row of one estimate, of two


@composed_once
def intervals(estimates: pl.DataFrame, *, title: str, zero: float | None = None) -> Layers:
    """One row a `name`, one mark and interval each of `whose`; a dashed line at `zero`.

    `estimates` has `name`, `whose`, `value`, `lower`, `upper` in the unit that `title` names, and
    `effective_n`.
    """
    present = set(estimates["whose"])
    names = [name for name in WHOSE if name in present]
    legend = alt.Legend(title=None, orient="top", symbolOpacity=1)
    colour = alt.Color(
        "whose:N",
        legend=legend,
        scale=alt.Scale(domain=names, range=[WHOSE[name][0] for name in names]),
    )
    shape = alt.Shape(
        "whose:N",
        legend=legend,
        scale=alt.Scale(domain=names, range=[WHOSE[name][1] for name in names]),
    )
    y = alt.Y("name:N", sort=None, title=None, axis=alt.Axis(labelLimit=220))
    most = estimates.group_by("name").len()["len"].max()
    offset: dict[str, Any] = {} if most == 1 else {"yOffset": alt.YOffset("whose:N", sort=names)}
    x = alt.X("value:Q", title=title, scale=alt.Scale(zero=False, padding=10))
    tooltip = [
        alt.Tooltip("name:N", title="estimator"),
        alt.Tooltip("whose:N", title="of"),
        alt.Tooltip("value:Q", format=".3f"),
        alt.Tooltip("lower:Q", title="from", format=".3f"),
        alt.Tooltip("upper:Q", title="to", format=".3f"),
        alt.Tooltip("effective_n:Q", title="effective sample size", format=",.0f"),
    ]
    base = alt.Chart(estimates)
    bars = base.mark_rule(strokeWidth=3, opacity=0.55).encode(
        y=y, x=alt.X("lower:Q", title=title), x2="upper:Q", color=colour, **offset
    )
    points = base.mark_point(filled=True, size=90, opacity=1).encode(
        y=y, x=x, color=colour, shape=shape, tooltip=tooltip, **offset
    )
    drawn = bars + points
    if zero is not None:
        line = alt.Chart(pl.DataFrame({"at": [zero]})).mark_rule(
            strokeDash=[6, 4], color="#444444"
        )
        drawn = line.encode(x="at:Q") + drawn
    step = _STEP if most == 1 else _STEP_OF_TWO
    return drawn.properties(height=alt.Step(step, **{"for": "position"}))


@composed_once
def weights(heavy: pl.DataFrame) -> Layers:
    """The weights below which so many of the log's rows lie, on a logarithmic scale.

    `heavy` has `share` in words, `weight`, in ascending order.
    """
    x = alt.X(
        "weight:Q",
        title="Importance weight (1: as often as it was logged)",
        scale=alt.Scale(type="log"),
    )
    y = alt.Y("share:N", sort=None, title=None, axis=alt.Axis(labelLimit=200))
    one = alt.Chart(pl.DataFrame({"at": [1.0]})).mark_rule(strokeDash=[6, 4], color="#444444")
    points = (
        alt.Chart(heavy)
        .mark_point(filled=True, size=110, opacity=1, color="#0072B2")
        .encode(x=x, y=y, tooltip=["share:N", alt.Tooltip("weight:Q", format=".3g")])
    )
    return (one.encode(x="at:Q") + points).properties(height=alt.Step(28))
