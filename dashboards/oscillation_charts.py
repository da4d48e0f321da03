"""The charts of the oscillation page. Every line also has a dash and a shape of its own."""

from collections.abc import Mapping, Sequence

import altair as alt
import charts
import polars as pl
from units import Unit

_TALL, _SMALL = 280, 170
COLORS = (charts.BLUE, charts.VERMILION, charts.GREEN)
SHAPES = ("circle", "square", "triangle-up")
DASHES = ((1, 0), (6, 3), (2, 2))
_CUTOFF = alt.X(
    "cutoff:T", title="Cut-off of the cycle (UTC)", axis=alt.Axis(format="%-d %b", grid=False)
)
_DATE = alt.X("cutoff:T", title=None, axis=alt.Axis(format="%-d %b", tickCount=4, grid=False))
_CYCLE = [
    alt.Tooltip("cutoff:T", title="cut-off", format="%d %b %Y"),
    alt.Tooltip("cycle:Q", title="cycle"),
]


@charts.composed_once
def gain(cycles: pl.DataFrame, unit: Unit, *, controlled: bool) -> charts.Layers:
    """The value of each cycle with its interval; minus the control, which is the dashed line."""
    title = charts.capital(unit.points if controlled else unit.symbol)
    shown = _scaled(cycles, ("value", "lower", "upper"), unit.scale)
    zero = alt.Scale(zero=False)
    axis = alt.Axis(title=title, format="+.1f" if controlled else ".1f")
    base = alt.Chart(shown)
    bars = base.mark_rule(color=charts.BLUE, strokeWidth=3, opacity=0.45).encode(
        x=_CUTOFF, y=alt.Y("lower:Q", axis=axis, scale=zero), y2="upper:Q"
    )
    line = base.mark_line(
        color=charts.BLUE, point=alt.OverlayMarkDef(color=charts.BLUE, size=60)
    ).encode(
        x=_CUTOFF,
        y=alt.Y("value:Q", axis=axis, scale=zero),
        tooltip=[
            *_CYCLE,
            alt.Tooltip("value:Q", title=title, format=".3f"),
            alt.Tooltip("lower:Q", title="from", format=".3f"),
            alt.Tooltip("upper:Q", title="to", format=".3f"),
        ],
    )
    layers = [charts.level(0.0), bars, line] if controlled else [bars, line]
    if not cycles["expected"].is_null().all():
        layers.append(_expected(cycles, unit, title))
    return alt.layer(*layers).properties(height=_TALL)


def _expected(cycles: pl.DataFrame, unit: Unit, title: str) -> alt.Chart:
    return (
        alt.Chart(_scaled(cycles, ("expected",), unit.scale))
        .mark_line(color=charts.ORANGE, strokeDash=[6, 3], point=_SQUARE)
        .encode(
            x=_CUTOFF,
            y=alt.Y("expected:Q", title=title),
            tooltip=[*_CYCLE, alt.Tooltip("expected:Q", title="expected", format=".3f")],
        )
    )


_SQUARE = alt.OverlayMarkDef(color=charts.ORANGE, shape="square", size=40)


@charts.composed_once
def levels(cycles: pl.DataFrame, unit: Unit) -> charts.Layers:
    """The policy's own level beside that of the reference, with the reference's interval."""
    base = "control" if cycles["nothing"].is_null().all() else "nothing"
    names = {"level": "policy", base: "control" if base == "control" else "doing nothing"}
    lower, upper = f"{base}_lower", f"{base}_upper"
    band = (
        alt.Chart(_scaled(cycles, (lower, upper), unit.scale))
        .mark_area(color=COLORS[1], opacity=0.15)
        .encode(
            x=_CUTOFF,
            y=alt.Y(f"{lower}:Q", scale=alt.Scale(zero=False)),
            y2=f"{upper}:Q",
        )
    )
    return (
        band + _lines(cycles, names, title=charts.capital(unit.symbol), scale=unit.scale)
    ).properties(height=_TALL)


@charts.composed_once
def measured(
    cycles: pl.DataFrame,
    names: Mapping[str, str],
    *,
    unit: str,
    scale: float = 1.0,
    logarithmic: bool = False,
) -> charts.Layers:
    """A few quantities over the cycles; `names` are columns and what they are called."""
    legend = 22 * len(names) if len(names) > 1 else 0
    return _lines(
        cycles, names, title=unit, scale=scale, x=_DATE, logarithmic=logarithmic
    ).properties(height=_SMALL + legend)


def _lines(
    cycles: pl.DataFrame,
    names: Mapping[str, str],
    *,
    title: str,
    scale: float,
    x: alt.X = _CUTOFF,
    logarithmic: bool = False,
) -> alt.Chart:
    called = list(names.values())
    long = (
        _scaled(cycles, tuple(names), scale)
        .unpivot(on=list(names), index=["cutoff", "cycle"], variable_name="name")
        .with_columns(pl.col("name").replace(dict(names)))
    )
    legend = (
        alt.Legend(title=None, orient="top", direction="vertical", labelLimit=220)
        if len(called) > 1
        else None
    )
    kind = alt.Scale(type="log") if logarithmic else alt.Scale(zero=False)
    return (
        alt.Chart(long)
        .mark_line(point=alt.OverlayMarkDef(size=36, filled=True))
        .encode(
            x=x,
            y=alt.Y(
                "value:Q", title=title, scale=kind, axis=alt.Axis(tickCount=4, format=",.3~r")
            ),
            color=alt.Color(
                "name:N",
                scale=alt.Scale(domain=called, range=list(COLORS[: len(called)])),
                legend=legend,
            ),
            strokeDash=alt.StrokeDash(
                "name:N",
                scale=alt.Scale(domain=called, range=[list(each) for each in DASHES]),
                legend=legend,
            ),
            shape=alt.Shape(
                "name:N",
                scale=alt.Scale(domain=called, range=list(SHAPES[: len(called)])),
                legend=legend,
            ),
            tooltip=[
                *_CYCLE,
                alt.Tooltip("name:N", title="measure"),
                alt.Tooltip("value:Q", title=title, format=".4g"),
            ],
        )
    )


def _scaled(cycles: pl.DataFrame, names: Sequence[str], scale: float) -> pl.DataFrame:
    return cycles.select("cutoff", "cycle", *(pl.col(name) * scale for name in names))


@charts.composed_once
def spectrum(shares: pl.DataFrame) -> charts.Layers:
    """Share of the variance by period; columns `period` (cycles) and `share` (%)."""
    even = charts.level(100.0 / shares.height)
    base = alt.Chart(shares)
    x = alt.X(
        "period:Q",
        title="Period, cycles",
        scale=alt.Scale(type="log", base=2, nice=False, padding=12),
        axis=alt.Axis(values=[2, 3, 4, 6, 8, 12, 16, 32, 64, 128, 256], format="d", grid=False),
    )
    y = alt.Y("share:Q", title="Share of the variance, %", scale=alt.Scale(zero=True))
    stem = base.mark_rule(color=charts.BLUE, strokeWidth=5).encode(x=x, y=y, y2=alt.datum(0))
    head = base.mark_point(color=charts.BLUE, filled=True, size=70, opacity=1).encode(
        x=x,
        y=y,
        tooltip=[
            alt.Tooltip("period:Q", title="period, cycles", format=".2f"),
            alt.Tooltip("share:Q", title="share of the variance, %", format=".1f"),
        ],
    )
    return (even + stem + head).properties(height=_TALL)


SIDES = {
    "below the band": (charts.VERMILION, "triangle-down"),
    "inside": (charts.BLUE, "circle"),
    "above the band": (charts.ORANGE, "triangle-up"),
}


@charts.composed_once
def autocorrelation(lags: pl.DataFrame) -> charts.Layers:
    """Correlation of a cycle with earlier ones, on the band that a shuffled series keeps to.

    Columns `lag`, `r`, `low`, `high` (null where there is no band) and `side`, a key of SIDES.
    """
    base = alt.Chart(lags)
    x = alt.X("lag:O", title="Lag, cycles", axis=alt.Axis(labelAngle=0))
    y = alt.Y("r:Q", title="Correlation", scale=alt.Scale(domain=[-1, 1]))
    present = [side for side in SIDES if side in set(lags["side"])]
    legend = alt.Legend(title=None, orient="top")
    band = base.mark_bar(color=charts.GREY, opacity=0.3, width=alt.RelativeBandSize(0.9)).encode(
        x=x, y=alt.Y("low:Q", title="Correlation"), y2="high:Q"
    )
    points = base.mark_point(filled=True, size=110, opacity=1).encode(
        x=x,
        y=y,
        color=alt.Color(
            "side:N",
            scale=alt.Scale(domain=present, range=[SIDES[side][0] for side in present]),
            legend=legend,
        ),
        shape=alt.Shape(
            "side:N",
            scale=alt.Scale(domain=present, range=[SIDES[side][1] for side in present]),
            legend=legend,
        ),
        tooltip=[
            alt.Tooltip("lag:O", title="lag, cycles"),
            alt.Tooltip("r:Q", title="correlation", format="+.2f"),
            alt.Tooltip("low:Q", title="band from", format="+.2f"),
            alt.Tooltip("high:Q", title="band to", format="+.2f"),
        ],
    )
    stems = base.mark_rule(opacity=0.6).encode(x=x, y=y, y2=alt.datum(0))
    return (band + charts.level(0.0) + stems + points).properties(height=_TALL)


@charts.composed_once
def mechanism(panel: pl.DataFrame) -> charts.Layers:
    """Correlations with the value; columns `measure`, `r` and `n`, the strongest first."""
    base = alt.Chart(panel)
    y = alt.Y(
        "measure:N",
        title=None,
        sort=None,
        axis=alt.Axis(labelLimit=260, domain=False, ticks=False),
    )
    x = alt.X("r:Q", title="Correlation with the value", scale=alt.Scale(domain=[-1, 1]))
    stems = base.mark_rule(strokeWidth=4, color=charts.BLUE).encode(y=y, x=x, x2=alt.datum(0))
    points = base.mark_point(filled=True, size=90, color=charts.BLUE, opacity=1).encode(
        y=y,
        x=x,
        tooltip=[
            alt.Tooltip("measure:N", title="measure"),
            alt.Tooltip("r:Q", title="correlation", format="+.2f"),
            alt.Tooltip("n:Q", title="cycles"),
        ],
    )
    zero = (
        alt.Chart(pl.DataFrame({"at": [0.0]}))
        .mark_rule(strokeDash=[6, 4], color=charts.GREY)
        .encode(x="at:Q")
    )
    return (zero + stems + points).properties(height=alt.Step(28))
