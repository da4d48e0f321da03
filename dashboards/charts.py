"""What a page draws: titles, units, and colours that colour-blind people tell apart."""

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec

import altair as alt
import polars as pl
import streamlit as st

# Okabe and Ito (2008), "Color universal design".
BLUE, SKY, GREEN = "#0072B2", "#56B4E9", "#009E73"
ORANGE, VERMILION, PURPLE, GREY = "#E69F00", "#D55E00", "#CC79A7", "#999999"
VERDICTS = {  # each also has a shape of its own
    "promoted": ("#0072B2", "triangle-up"),
    "held": ("#E69F00", "circle"),
    "rejected": ("#D55E00", "cross"),
    "passed": ("#56B4E9", "triangle-up"),
    "unchanged": ("#009E73", "diamond"),
    "waiting": ("#999999", "square"),
    "being evaluated": ("#999999", "square"),
    "not judged": ("#999999", "square"),
}
_HEIGHT = 300
_LONGEST_TITLE = 45  # letters beside a chart of that height
Layers = alt.LayerChart | alt.FacetChart | alt.Chart
Parameters = ParamSpec("Parameters")


def composed_once(draw: Callable[Parameters, Layers]) -> Callable[Parameters, dict[str, Any]]:
    """The chart's Vega-Lite specification, for `st.vega_lite_chart`; composed once for its data.

    Altair takes about 20 ms to compose and check one. Sessions share what is kept: its key is all
    that is drawn, which whoever asks for it has read already.
    """

    @st.cache_data(max_entries=500, show_spinner=False)
    @wraps(draw)
    def specification(*given: Parameters.args, **named: Parameters.kwargs) -> dict[str, Any]:
        return draw(*given, **named).to_dict()

    return specification


def _verdict(generations: pl.DataFrame) -> dict[str, Any]:
    """Colour and shape, with a legend of the verdicts there are."""
    present = set(generations["verdict"])
    names = [name for name in VERDICTS if name in present]
    shown = alt.Legend(title=None, orient="top", symbolOpacity=1)
    return {
        "color": alt.Color(
            "verdict:N",
            scale=alt.Scale(domain=names, range=[VERDICTS[name][0] for name in names]),
            legend=shown,
        ),
        "shape": alt.Shape(
            "verdict:N",
            scale=alt.Scale(domain=names, range=[VERDICTS[name][1] for name in names]),
            legend=shown,
        ),
    }


def _tooltip(column: str, unit: str) -> list[alt.Tooltip]:
    return [
        alt.Tooltip("number:O", title="generation"),
        alt.Tooltip("policy:N"),
        alt.Tooltip("cutoff:T", title="data until", format="%d %b %Y %H:%M"),
        alt.Tooltip(f"{column}:Q", title=unit, format=".4f"),
        alt.Tooltip(f"{column}_lower:Q", title="from", format=".4f"),
        alt.Tooltip(f"{column}_upper:Q", title="to", format=".4f"),
        alt.Tooltip("verdict:N"),
    ]


def _intervals(generations: pl.DataFrame, column: str, *, axis: alt.Axis, unit: str) -> Layers:
    x = alt.X("number:O", title="Generation", axis=alt.Axis(labelAngle=0))
    bars = (
        alt.Chart(generations)
        .mark_rule(strokeWidth=3, opacity=0.55)
        .encode(
            x=x,
            y=alt.Y(f"{column}_lower:Q", axis=axis, scale=alt.Scale(zero=False)),
            y2=f"{column}_upper:Q",
            color=_verdict(generations)["color"],
        )
    )
    points = (
        alt.Chart(generations)
        .mark_point(filled=True, size=110, opacity=1)
        .encode(
            x=x,
            y=alt.Y(f"{column}:Q", axis=axis, scale=alt.Scale(zero=False)),
            tooltip=_tooltip(column, unit),
            **_verdict(generations),
        )
    )
    return bars + points


def level(at: float) -> alt.Chart:
    """A dashed line at a value: a limit, or the control at zero."""
    return (
        alt.Chart(pl.DataFrame({"at": [at]}))
        .mark_rule(strokeDash=[6, 4], color=GREY)
        .encode(y=alt.Y("at:Q"))
    )


@composed_once
def difference(generations: pl.DataFrame, *, limit: float, points: str) -> Layers:
    """Candidate minus champion with its interval; a dashed line at the gate's `limit`."""
    axis = alt.Axis(title=capital(points), format="+.1f")
    return (
        level(limit) + _intervals(generations, "difference", axis=axis, unit="points")
    ).properties(height=_HEIGHT)


@composed_once
def value(generations: pl.DataFrame, *, reward: str, symbol: str) -> Layers:
    """What each candidate would earn of `reward`, with its interval, in `symbol`."""
    title = f"{capital(reward)}, {symbol}"
    fits = len(title) <= _LONGEST_TITLE
    axis = alt.Axis(title=title if fits else capital(symbol), format=".1f")
    return _intervals(generations, "value", axis=axis, unit=symbol).properties(height=_HEIGHT)


def capital(words: str) -> str:
    """The words with their first letter large."""
    return words[:1].upper() + words[1:]


@composed_once
def champions(reigns: pl.DataFrame) -> Layers:
    """Who was champion from when to when, one bar a reign."""
    return (
        alt.Chart(reigns)
        .mark_bar(height=22, cornerRadius=3)
        .encode(
            x=alt.X("promoted_at:T", title="Date (UTC)"),
            x2="until:T",
            y=alt.Y("name:N", title=None, sort=None, axis=alt.Axis(labelLimit=260)),
            color=alt.Color("name:N", legend=None, scale=alt.Scale(range=_REIGNS)),
            tooltip=[
                alt.Tooltip("name:N", title="champion"),
                alt.Tooltip("promoted_at:T", title="from", format="%d %b %Y %H:%M"),
                alt.Tooltip("ended:N", title="until"),
                alt.Tooltip("reason:N"),
            ],
        )
        .properties(height=alt.Step(30))
    )


_REIGNS = ["#0072B2", "#56B4E9", "#009E73", "#CC79A7"]
