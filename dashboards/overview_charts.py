"""The small chart of the overview: the deployed policy against the control, cycle by cycle."""

import altair as alt
import charts
import polars as pl
from units import Unit


@charts.composed_once
def spark(cycles: pl.DataFrame, unit: Unit) -> charts.Layers:
    """Deployed minus control with its interval, and the control as a dashed line at zero."""
    scaled = cycles.select(
        "cutoff", *(pl.col(name) * unit.scale for name in ("gain", "lower", "upper"))
    )
    x = alt.X("cutoff:T", title=None, axis=alt.Axis(tickCount=3, format="%-d %b", grid=False))
    y = alt.Y(
        "gain:Q", title=unit.points, axis=alt.Axis(tickCount=3, format="+.1f", titleFontSize=10)
    )
    base = alt.Chart(scaled)
    band = base.mark_area(color=charts.BLUE, opacity=0.25).encode(x=x, y="lower:Q", y2="upper:Q")
    line = base.mark_line(
        color=charts.BLUE, point=alt.OverlayMarkDef(color=charts.BLUE, size=18)
    ).encode(
        x=x,
        y=y,
        tooltip=[
            alt.Tooltip("cutoff:T", title="cycle until", format="%d %b %Y"),
            alt.Tooltip("gain:Q", title=f"against the control, {unit.points}", format="+.2f"),
            alt.Tooltip("lower:Q", title="from", format="+.2f"),
            alt.Tooltip("upper:Q", title="to", format="+.2f"),
        ],
    )
    return (charts.level(0.0) + band + line).properties(height=130)
