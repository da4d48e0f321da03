"""What a decision looks like: what each action promised, its chance, where the draw fell."""

import altair as alt
import polars as pl
from charts import Layers, composed_once

DRAWN, OTHER, NOMINAL = "#D55E00", "#56B4E9", "#009E73"  # Okabe and Ito (2008)
_STEP = 26


def _role() -> alt.Color:
    return alt.Color(
        "role:N",
        title=None,
        scale=alt.Scale(
            domain=["drawn", "without exploring", "other"], range=[DRAWN, NOMINAL, OTHER]
        ),
        legend=alt.Legend(orient="top"),
    )


def _tooltip(symbol: str) -> list[alt.Tooltip]:
    return [
        alt.Tooltip("action:N"),
        alt.Tooltip("meaning:N"),
        alt.Tooltip("score:Q", title=f"score, {symbol}", format=".3f"),
        alt.Tooltip("share:Q", title="propensity, %", format=".3f"),
    ]


@composed_once
def propensities(options: pl.DataFrame, *, symbol: str) -> Layers:
    """The chance of each eligible action in per cent, the drawn one marked.

    `options` has `action`, `meaning`, `score` (may be null), `share` in per cent and `role`, in
    the order of the actions' numbers.
    """
    y = alt.Y("action:N", sort=None, title=None, axis=alt.Axis(labelLimit=300))
    bars = (
        alt.Chart(options)
        .mark_bar()
        .encode(
            x=alt.X("share:Q", title="Propensity, %", scale=alt.Scale(domainMin=0)),
            y=y,
            color=_role(),
            tooltip=_tooltip(symbol),
        )
    )
    mark = (
        alt.Chart(options.filter(pl.col("role") == "drawn"))
        .mark_text(align="left", dx=5, text="◀ drawn", color="#444444")
        .encode(x="share:Q", y=y)
    )
    return (bars + mark).properties(height=alt.Step(_STEP))


@composed_once
def scores(options: pl.DataFrame, *, reward: str, symbol: str) -> Layers:
    """What the policy predicted each eligible action to earn."""
    return (
        alt.Chart(options)
        .mark_point(filled=True, size=110, opacity=1)
        .encode(
            x=alt.X(
                "score:Q",
                title=f"Predicted {reward}, {symbol}",
                scale=alt.Scale(zero=False, padding=12),
            ),
            y=alt.Y("action:N", sort=None, title=None, axis=alt.Axis(labelLimit=300)),
            color=_role(),
            shape=alt.Shape(
                "role:N",
                scale=alt.Scale(
                    domain=["drawn", "without exploring", "other"],
                    range=["diamond", "triangle-up", "circle"],
                ),
                legend=None,
            ),
            tooltip=_tooltip(symbol),
        )
        .properties(height=alt.Step(_STEP))
    )


@composed_once
def draw(strip: pl.DataFrame, *, uniform: float) -> Layers:
    """The interval of [0, 1) that each action holds, and where the number drawn fell.

    `strip` has `action`, `low`, `high` and `role`.
    """
    intervals = (
        alt.Chart(strip)
        .mark_bar(height=34, stroke="white")
        .encode(
            x=alt.X("low:Q", title="Number drawn, 0 to 1", scale=alt.Scale(domain=[0, 1])),
            x2="high:Q",
            color=alt.Color(
                "role:N",
                legend=None,
                scale=alt.Scale(domain=["drawn", "other"], range=[DRAWN, OTHER]),
            ),
            tooltip=[
                alt.Tooltip("action:N"),
                alt.Tooltip("low:Q", title="from", format=".6f"),
                alt.Tooltip("high:Q", title="to", format=".6f"),
            ],
        )
    )
    at = pl.DataFrame({"uniform": [uniform], "words": [f"{uniform:.6f}"]})
    name = (
        alt.Chart(strip.filter(pl.col("role") == "drawn"))
        .transform_calculate(middle="(datum.low + datum.high) / 2")
        .mark_text(dy=30, color="#222222")
        .encode(x="middle:Q", text="action:N")
    )
    line = alt.Chart(at).mark_rule(strokeWidth=2, color="black").encode(x="uniform:Q")
    label = (
        alt.Chart(at)
        .mark_text(dx=6, dy=-26, align="left", color="#222222")
        .encode(x="uniform:Q", text="words:N")
    )
    return (intervals + name + line + label).properties(height=130)
