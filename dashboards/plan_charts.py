"""The charts of the planner's page: machines, stock, costs, learning and the gap to the bound.

The first three share their horizontal axis: a column a day, those to come right of a dashed line.
"""

from collections.abc import Mapping, Sequence

import altair as alt
import charts
import polars as pl

YELLOW = "#F0E442"
# An item keeps its colour; there are more items than colours, so its number is written as well.
ITEMS = (
    (charts.GREY, "black"),
    (charts.BLUE, "white"),
    (charts.ORANGE, "black"),
    (charts.GREEN, "black"),
    (charts.SKY, "black"),
    (charts.VERMILION, "black"),
    (charts.PURPLE, "black"),
    (YELLOW, "black"),
)
PARTS = {
    "set-up": charts.BLUE,
    "lost sales": charts.VERMILION,
    "holding": charts.ORANGE,
}
KINDS = {  # colour, dash and mark of a policy that learns
    "pdppo": (charts.BLUE, (1, 0)),
    "ppo": (charts.VERMILION, (6, 3)),
}
OTHERS = ((charts.PURPLE, (2, 2)), (charts.GREEN, (8, 2, 2, 2)), (charts.SKY, (1, 3)))
REFERENCES = {  # colour and dash of a horizontal line
    "H1 static assignment": (charts.ORANGE, (2, 2)),
    "H2 grouped rotation": (charts.GREEN, (8, 3)),
    "H3 improved rotation": (charts.SKY, (4, 4)),
    "H4 rollout": (charts.PURPLE, (10, 2, 2, 2)),
    "lower bound": (charts.GREY, (1, 0)),
}
ROLES = {
    "champion": (charts.BLUE, "diamond"),
    "candidate": (charts.VERMILION, "triangle-up"),
    "estimate": (charts.GREEN, "circle"),
}
_COLUMNS = 4  # of the small charts of items
# "Thu", "29", and below the first day, and each first of a month, "Jan".
_LABEL = (
    "[split(datum.label, ' ')[0], split(datum.label, ' ')[1],"
    " datum.index == 0 || split(datum.label, ' ')[1] == '1' ? split(datum.label, ' ')[2] : '']"
)


def _days(rows: pl.DataFrame, *, title: str | None = "Day (UTC)") -> alt.X:
    return alt.X(
        "day:O",
        title=title,
        sort=rows["day"].unique(maintain_order=True).to_list(),
        axis=alt.Axis(
            labelAngle=0, labelExpr=_LABEL, labelFontSize=10, labelSeparation=-6, ticks=False
        ),
    )


def _now(rows: pl.DataFrame, x: alt.X, ink: str, *, by: Sequence[str] = ()) -> alt.Chart:
    """The dashed line before the newest decided day, once for each of `by`."""
    return (
        alt.Chart(rows)
        .transform_filter("datum.state == 'now'")
        .transform_aggregate(rows="count()", groupby=["day", *by])
        .mark_rule(strokeDash=[5, 4], strokeWidth=1.5, color=ink)
        .encode(x=x.copy().bandPosition(0))
    )


@charts.composed_once
def machines(cells: pl.DataFrame, *, ink: str) -> charts.Layers:
    """One row a machine, one cell a day: solid as decided, light as planned.

    `cells` are those of `plan/machines` with `day` and, in words, `makes` (what the machine does)
    and `words` (the state).
    """
    x = _days(cells)
    y = alt.Y("machine:O", title="Machine", axis=alt.Axis(ticks=False, domain=False))
    shown = cells.with_columns(
        (pl.col("item") % len(ITEMS)).alias("hue"),
        pl.when(pl.col("state") == "planned")
        .then(pl.lit(ink))
        .otherwise((pl.col("item") % len(ITEMS)).replace_strict(_text_colours()))
        .alias("ink"),
    )
    tooltip = [
        alt.Tooltip("day:O", title="day"),
        alt.Tooltip("period:Q"),
        alt.Tooltip("machine:O"),
        alt.Tooltip("makes:N"),
        alt.Tooltip("quantity:Q", title="net quantity, units", format=".0f"),
        alt.Tooltip("words:N", title="state"),
        alt.Tooltip(
            "expected_cost:Q", title="expected cost of the day, all machines", format=".2f"
        ),
        alt.Tooltip("realised_cost:Q", title="what the day cost", format=".2f"),
    ]
    base = alt.Chart(shown).encode(x=x, y=y)
    made = (
        base.transform_filter("datum.item > 0")
        .mark_rect(cornerRadius=2)
        .encode(
            color=alt.Color(
                "hue:O",
                legend=None,
                scale=alt.Scale(
                    domain=list(range(len(ITEMS))), range=[colour for colour, _ in ITEMS]
                ),
            ),
            opacity=alt.condition("datum.state == 'planned'", alt.value(0.45), alt.value(1.0)),
            tooltip=tooltip,
        )
    )
    idle = (
        base.transform_filter("datum.item == 0")
        .mark_rect(fillOpacity=0, stroke=charts.GREY, strokeDash=[2, 2], strokeWidth=1)
        .encode(tooltip=tooltip)
    )
    number = (
        base.transform_calculate(label="datum.item > 0 ? datum.item : 'idle'")
        .mark_text(fontSize=11)
        .encode(text="label:N", color=alt.Color("ink:N", scale=None), tooltip=tooltip)
    )
    change = (
        base.transform_filter("datum.set_up")
        .mark_tick(orient="vertical", thickness=5, color=ink, height=alt.RelativeBandSize(1.0))
        .encode(x=x.copy().bandPosition(0), tooltip=tooltip)
    )
    return (made + idle + change + number + _now(cells, x, ink)).properties(height=alt.Step(27))


def _text_colours() -> dict[int, str]:
    return {hue: text for hue, (_, text) in enumerate(ITEMS)}


@charts.composed_once
def stock(rows: pl.DataFrame, *, ink: str, tall: bool) -> charts.Layers:
    """Stock at the end of each day, its corridor where it is to come, lost sales below zero.

    `rows` are those of `plan/stock` with `day` and the item's `title`. `tall` for one item, small
    charts for more.
    """
    last = pl.col("starts_at") == pl.col("starts_at").filter(pl.col("state") == "past").max()
    rows = rows.with_columns(
        (-pl.coalesce("lost", "lost_expected")).alias("below"),
        pl.coalesce("stock", "middle").alias("at"),
        *(  # the corridor begins at the last stock that is known
            pl.when(last).then("stock").otherwise(name).alias(f"drawn_{name}")
            for name in ("low", "middle", "high")
        ),
    )
    x = _days(rows, title="Day (UTC)" if tall else None)
    if not tall:
        x = x.axis(labels=False, ticks=False, grid=False)
    title = "Units of product" if tall else "Units"
    y = alt.Y("stock:Q", title=title, axis=alt.Axis(tickCount=4))
    tooltip = [
        alt.Tooltip("day:O", title="day"),
        alt.Tooltip("title:N", title="item"),
        alt.Tooltip("stock:Q", title="stock at the end"),
        alt.Tooltip("middle:Q", title="stock expected (median)"),
        alt.Tooltip("low:Q", title="corridor from (5 %)"),
        alt.Tooltip("high:Q", title="corridor to (95 %)"),
        alt.Tooltip("demand:Q", title="demand"),
        alt.Tooltip("made:Q", title="made, net"),
        alt.Tooltip("lost:Q", title="lost sales"),
        alt.Tooltip("lost_expected:Q", title="lost sales expected", format=".1f"),
    ]
    base = alt.Chart(rows)
    corridor = base.mark_area(color=charts.SKY, opacity=0.4).encode(
        x=x, y=alt.Y("drawn_low:Q", title=title), y2="drawn_high:Q"
    )
    middle = base.mark_line(color=ink, strokeDash=[4, 3], strokeWidth=1.5).encode(
        x=x, y=alt.Y("drawn_middle:Q", title=title)
    )
    known = base.mark_line(color=charts.BLUE, strokeWidth=2.5).encode(x=x, y=y)
    lost = base.mark_bar(color=charts.VERMILION).encode(
        x=x,
        y=alt.Y("below:Q", title=title),
        opacity=alt.condition("datum.state == 'past'", alt.value(1.0), alt.value(0.45)),
    )
    points = base.mark_point(opacity=0, size=120).encode(
        x=x, y=alt.Y("at:Q", title=title), tooltip=tooltip
    )
    zero = base.mark_rule(color=charts.GREY).encode(y=alt.datum(0))
    layers = alt.layer(
        corridor, lost, zero, middle, known, _now(rows, x, ink, by=["title"]), points
    )
    if tall:
        return layers.properties(height=300)
    return layers.properties(width=152, height=96).facet(
        facet=alt.Facet(
            "title:N",
            title=None,
            sort=rows["title"].unique(maintain_order=True).to_list(),
            header=alt.Header(labelFontSize=11, labelPadding=2, labelAnchor="start"),
        ),
        columns=_COLUMNS,
        spacing=12,
    )


@charts.composed_once
def costs(parts: pl.DataFrame, totals: pl.DataFrame, *, ink: str) -> charts.Layers:
    """What each day cost, part by part, or is expected to; a mark at what had been expected.

    `parts` has `day`, `state`, `part`, `place` and `cost`; `totals` has `day` and `expected`.
    """
    x = _days(parts)
    bars = (
        alt.Chart(parts)
        .mark_bar()
        .encode(
            x=x,
            y=alt.Y("cost:Q", title="Cost units a day"),
            color=alt.Color(
                "part:N",
                title=None,
                scale=alt.Scale(domain=list(PARTS), range=list(PARTS.values())),
                legend=alt.Legend(orient="top"),
            ),
            order="place:Q",
            opacity=alt.condition("datum.state == 'past'", alt.value(1.0), alt.value(0.5)),
            tooltip=[
                alt.Tooltip("day:O", title="day"),
                alt.Tooltip("part:N"),
                alt.Tooltip("words:N", title="state"),
                alt.Tooltip("cost:Q", title="cost units", format=".2f"),
                alt.Tooltip("expected:Q", title="expected", format=".2f"),
            ],
        )
    )
    expected = (
        alt.Chart(totals)
        .mark_point(shape="diamond", filled=True, size=65, color=ink, opacity=1)
        .encode(
            x=x,
            y="expected:Q",
            tooltip=[
                alt.Tooltip("day:O", title="day"),
                alt.Tooltip("expected:Q", title="expected when decided", format=".2f"),
                alt.Tooltip("realised:Q", title="realised", format=".2f"),
            ],
        )
    )
    return (bars + expected + _now(parts, x, ink)).properties(height=260)


def _style(names: Sequence[str]) -> Mapping[str, tuple[str, tuple[int, ...]]]:
    rest = iter(OTHERS * len(names))
    return {name: KINDS[name] if name in KINDS else next(rest) for name in names}


@charts.composed_once
def learning(curves: pl.DataFrame, references: pl.DataFrame) -> charts.Layers:
    """Cost of a day against the periods seen in training, with bands; lines at the references.

    `curves` has `kind`, `policy`, `steps`, `cost`, `lower`, `upper`; `references` has `name`,
    `cost` and `label`.
    """
    style = _style(curves["kind"].unique(maintain_order=True).to_list())
    kind = alt.Color(
        "kind:N",
        title="Learns",
        scale=alt.Scale(domain=list(style), range=[colour for colour, _ in style.values()]),
        legend=alt.Legend(orient="right", symbolType="stroke", symbolOpacity=1),
    )
    scale = alt.Scale(type="log", nice=False, padding=8, domain=_range(curves, references))
    x = alt.X("steps:Q", title="Periods simulated in training", axis=alt.Axis(format="~s"))
    y = alt.Y(
        "cost:Q",
        title="Cost units a period (log)",
        scale=scale,
        axis=alt.Axis(format="~r", tickCount=6),
    )
    base = alt.Chart(curves)
    band = base.mark_area(opacity=0.2, clip=True).encode(
        x=x, y=alt.Y("lower:Q", scale=scale), y2="upper:Q", color=kind, detail="policy:N"
    )
    line = base.mark_line(strokeWidth=2.5, clip=True).encode(
        x=x,
        y=y,
        color=kind,
        detail="policy:N",
        strokeDash=alt.StrokeDash(
            "kind:N",
            scale=alt.Scale(domain=list(style), range=[list(dash) for _, dash in style.values()]),
            legend=None,
        ),
        tooltip=[
            alt.Tooltip("policy:N"),
            alt.Tooltip("number:Q", title="generation"),
            alt.Tooltip("steps:Q", title="periods", format=","),
            alt.Tooltip("cost:Q", title="cost units a period", format=".2f"),
            alt.Tooltip("lower:Q", title="from", format=".2f"),
            alt.Tooltip("upper:Q", title="to", format=".2f"),
        ],
    )
    if references.is_empty():
        return (band + line).properties(height=320)
    labels = references["label"].to_list()
    looks = [REFERENCES[name] for name in references["name"]]
    rules = (
        alt.Chart(references)
        .mark_rule(strokeWidth=2)
        .encode(
            y=alt.Y("cost:Q", scale=scale),
            color=alt.Color(
                "label:N",
                title="Does not learn",
                scale=alt.Scale(domain=labels, range=[colour for colour, _ in looks]),
                legend=alt.Legend(orient="right", labelLimit=240, symbolType="stroke"),
            ),
            strokeDash=alt.StrokeDash(
                "label:N",
                scale=alt.Scale(domain=labels, range=[list(dash) for _, dash in looks]),
                legend=None,
            ),
            tooltip=[alt.Tooltip("label:N", title="cost units a period")],
        )
    )
    return (
        alt.layer(alt.layer(band, line), rules)
        .resolve_scale(color="independent", strokeDash="independent")
        .properties(height=320)
    )


def _range(curves: pl.DataFrame, references: pl.DataFrame) -> list[float]:
    """From the lowest figure up to a few times the references, so that their distances are seen.

    Where curves begin is off the scale, but all that they come down to is on it.
    """
    ends = curves.group_by("policy").agg(pl.col("cost").min())["cost"].to_list()
    known = references["cost"].to_list()
    lowest = min([*curves["lower"].to_list(), *known])
    return [0.97 * lowest, max([2.0 * each for each in known] + [1.5 * each for each in ends])]


@charts.composed_once
def standing(rows: pl.DataFrame, *, bound: float | None, ink: str) -> charts.Layers:
    """Cost of each policy with its interval, the cheapest first, and the bound as a dashed line.

    `rows` has `title`, `role`, `cost`, `lower`, `upper` and `gap` in words.
    """
    present = [role for role in ROLES if role in set(rows["role"])]
    called = {"champion": "champion", "candidate": "candidate", "estimate": "heuristic or bound"}
    shown = rows.with_columns(pl.col("role").replace(called).alias("called"))
    names = [called[role] for role in present]
    legend = alt.Legend(title=None, orient="top", symbolOpacity=1)
    colour = alt.Color(
        "called:N",
        legend=legend,
        scale=alt.Scale(domain=names, range=[ROLES[role][0] for role in present]),
    )
    shape = alt.Shape(
        "called:N",
        legend=legend,
        scale=alt.Scale(domain=names, range=[ROLES[role][1] for role in present]),
    )
    y = alt.Y("title:N", sort=None, title=None, axis=alt.Axis(labelLimit=260))
    scale = alt.Scale(zero=False, padding=14)
    base = alt.Chart(shown)
    bars = base.mark_rule(strokeWidth=3, opacity=0.55).encode(
        y=y,
        x=alt.X("lower:Q", title="Cost units a period", scale=scale),
        x2="upper:Q",
        color=colour,
    )
    points = base.mark_point(filled=True, size=110, opacity=1).encode(
        y=y,
        x=alt.X("cost:Q", scale=scale),
        color=colour,
        shape=shape,
        tooltip=[
            alt.Tooltip("title:N", title="policy"),
            alt.Tooltip("cost:Q", title="cost units a period", format=".2f"),
            alt.Tooltip("lower:Q", title="from", format=".2f"),
            alt.Tooltip("upper:Q", title="to", format=".2f"),
            alt.Tooltip("gap:N", title="above the bound"),
        ],
    )
    words = base.mark_text(align="left", dx=10, dy=-8, fontSize=11, color=ink).encode(
        y=y, x=alt.X("cost:Q", scale=scale), text="gap:N"
    )
    layers = bars + points + words
    if bound is not None:
        line = (
            alt.Chart(pl.DataFrame({"at": [bound]}))
            .mark_rule(strokeDash=[6, 4], color=charts.GREY)
            .encode(x=alt.X("at:Q", scale=scale))
        )
        layers = line + layers
    return layers.properties(height=alt.Step(34))
