"""What does each machine make, does stock last, and what does it cost?"""

from datetime import UTC, datetime

import choice
import plan_charts
import plan_words
import polars as pl
import queries
import sign_in
import states
import streamlit as st
import tables
from details import unfold
from plan_charts import REFERENCES

PAST = 14  # decided days that are shown before the newest
PLANTS = 500  # newest decisions in which plants are looked for
SOON = 4  # items, the first to run out, whose stock is drawn at once
BOUND = "lower bound"
STATES = {
    "past": "carried out",
    "now": "decided, to be carried out",
    "planned": "planned, if demand is as expected",
}


def page() -> None:
    domains = queries.read("plan/domains")["domain"].to_list()
    if not domains:
        states.empty(
            "No plant has been planned yet. Run `make run` (or `decisions run`): the first plan"
            " appears a few minutes after it starts, and this page shows it."
        )
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        domain = choice.domain(domains)
        plants = queries.read("plan/plants", domain=domain, newest=PLANTS)
        chosen = None if plants.is_empty() else choice.plant(plants["plant"].to_list())
    if chosen is None:
        states.empty(
            "Plants have reported their stock, and none is planned yet: the next run of the decide"
            f" step does that. (`{domain}_decide` in Airflow, or `decisions run`.)"
        )
        return
    plant = plants.row(by_predicate=pl.col("plant") == chosen, named=True)
    asked = {"domain": domain, "plant": chosen}
    ink = "#dddddd" if st.context.theme.type == "dark" else "#333333"
    cells, items = _machines(asked), queries.read("plan/items", **asked)
    costs = _dated(queries.read("plan/costs", **asked, periods=PAST + 1))
    stocks = _dated(queries.read("plan/stock", **asked, periods=PAST + 1))
    headline(cells, items, costs, stocks)
    machines(domain, plant, cells, ink=ink)
    stock(stocks, items, ink=ink)
    unfold("What does it cost?", lambda: spent(costs, ink=ink), key="costs")
    unfold("Does learning pay?", lambda: learned(domain), key="learning")
    unfold("How much could still be gained?", lambda: gap(domain, ink=ink), key="gap")


def _standing(domain: str) -> pl.DataFrame:
    return queries.read("plan/standing", domain=domain, name_list=list(REFERENCES))


def _dated(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.with_columns(
        pl.col("starts_at").dt.strftime("%a %-d %b").alias("day"),
        pl.col("state").replace(STATES).alias("words"),
    )


def _machines(asked: dict[str, str]) -> pl.DataFrame:
    cells = _dated(queries.read("plan/machines", **asked, periods=PAST + 1))
    from_item = pl.when(pl.col("item_before") > 0).then(
        pl.format(", set up from item {}", "item_before")
    )
    return cells.with_columns(
        pl.when(pl.col("item") == 0)
        .then(pl.lit("idle"))
        .when("set_up")
        .then(pl.format("item {}{}", "item", from_item.otherwise(pl.lit(", set up from idle"))))
        .otherwise(pl.format("item {}", "item"))
        .alias("makes")
    )


def headline(
    cells: pl.DataFrame, items: pl.DataFrame, costs: pl.DataFrame, stocks: pl.DataFrame
) -> None:
    """The coming day in words, and four figures."""
    now = costs.filter(pl.col("state") == "now")
    expected = dict(now.select("part", "expected").iter_rows())
    today = datetime.now(UTC).date()
    warned = plan_words.stale(cells.filter(pl.col("state") == "now")["starts_at"][0], today=today)
    if warned is not None:
        st.warning(warned)
    st.markdown(plan_words.headline(cells, items, expected, today=today))
    columns = st.columns(4)
    columns[0].metric(
        "Expected cost of the day",
        f"{sum(expected.values()):.1f}",
        help="Cost units: set-ups, lost sales and holding of the newest decided day, expected over"
        " demand.",
    )
    lost = stocks.filter(pl.col("state") == "now")["lost_expected"].sum()
    columns[1].metric(
        "Expected lost sales of the day",
        f"{lost:.1f} units",
        help="Units of product that are expected to be asked for and not to be there, over all"
        " items.",
    )
    columns[2].metric(
        "Items out of stock now",
        f"{items.filter(pl.col('stock') == 0).height} of {items.height}",
        help="Before the newest decided day, whether the plan makes them or not.",
    )
    known = costs.drop_nulls("realised")
    days = known["day"].n_unique()
    cost, promised = (float(known[name].sum()) for name in ("realised", "expected"))
    columns[3].metric(
        f"Cost of the {days} days before",
        f"{cost:.0f}" if days else "–",
        f"{cost - promised:+.0f} against expected" if days else None,
        delta_color="off",
        help="Cost units, and how far they lie from what was expected when the days were decided.",
    )


def _money(value: float | None) -> str:
    return "not known" if value is None else f"{value:+.2f}"


def _gap(money: float | None, share: float | None) -> str:
    if money is None:
        return ""
    return f"{money:+.2f}" + ("" if share is None else f" ({100 * share:+.1f} %)")


def machines(domain: str, plant: plan_words.Row, cells: pl.DataFrame, *, ink: str) -> None:
    """The Gantt chart."""
    st.subheader("What does each machine make?")
    st.caption(
        "A cell is a machine's day, its number the item that it makes; an empty one with a dotted"
        " frame is idle. A thick bar at its left is a set-up. Left of the dashed line: as carried"
        " out. Right of it: the newest decided day, solid, then the plan, light, which holds if"
        " demand is as expected and is made anew every day. Point at a cell for quantity and cost."
    )
    st.vega_lite_chart(plan_charts.machines(cells, ink=ink))
    decision = cells.filter(pl.col("state") == "now")["decision_id"][0]
    with st.container(horizontal=True):
        sign_in.link("decisions", "The newest decision", domain=domain, decision=str(decision))
        sign_in.link(
            "generations",
            f"Who plans: generation {plant['generation']}",
            domain=domain,
            generation=str(plant["generation"]),
        )
    unfold("The coming days as a table", lambda: _coming(cells), key="machines")


def _coming(cells: pl.DataFrame) -> None:
    st.dataframe(
        cells.filter(pl.col("state") != "past").select(
            pl.col("day").alias("Day"),
            pl.col("machine").alias("Machine"),
            pl.col("makes").alias("Makes"),
            pl.col("quantity").alias("Net quantity, units"),
            pl.col("words").alias("State"),
        ),
        hide_index=True,
    )


def stock(rows: pl.DataFrame, items: pl.DataFrame, *, ink: str) -> None:
    """Stock and lost sales by item with the corridor."""
    st.subheader("Does stock last?")
    titles = {str(item): title for item, title in plan_words.titles(items).items()}
    item = choice.some("item", "Item", list(titles), titles)
    st.caption(
        "Units in stock at the end of each day, and below zero in red the units of demand that"
        " were not met (light: expected). Right of the dashed line the **safety corridor**: if the"
        " plan is carried out as it stands, stock ends the day inside it nine times in ten, and"
        " below it one time in twenty; the dashed line in it is the median. ▼ likely to be out of"
        " stock, ▽ may be: the corridor touches zero. The first to run out comes first."
    )
    absent = items.filter(plan_words.absent())["item"].to_list()
    present = [number for number in map(int, titles) if number not in absent]
    if item is not None:
        shown = _titled(rows, titles, [int(item)])
        st.vega_lite_chart(plan_charts.stock(shown, ink=ink, tall=True))
        unfold("These figures as a table", lambda: _stocks(shown), key="stock table")
        return
    if present:
        soon = _titled(rows, titles, present[:SOON])
        st.vega_lite_chart(plan_charts.stock(soon, ink=ink, tall=False))
    if len(present) > SOON:
        others = _titled(rows, titles, present[SOON:])
        unfold(
            f"Further items ({len(present) - SOON})",
            lambda: st.vega_lite_chart(plan_charts.stock(others, ink=ink, tall=False)),
            key="stock",
        )
    st.caption(plan_words.left_out(items))
    unfold(
        "These figures as a table",
        lambda: _stocks(_titled(rows, titles, present)),
        key="stock table",
    )


def _titled(rows: pl.DataFrame, titles: dict[str, str], items: list[int]) -> pl.DataFrame:
    """The rows of some items with their titles, in the order of `titles`."""
    title = pl.col("item").cast(pl.String).replace(titles).cast(pl.Enum(list(titles.values())))
    return (
        rows.filter(pl.col("item").is_in(items))
        .with_columns(title.alias("title"))
        .sort("title", "starts_at")
    )


def _stocks(named: pl.DataFrame) -> None:
    st.dataframe(
        named.select(
            pl.col("item").alias("Item"),
            pl.col("day").alias("Day"),
            pl.col("words").alias("State"),
            pl.col("made").alias("Made, net"),
            pl.col("demand").alias("Demand"),
            pl.col("lost").alias("Lost sales"),
            pl.col("stock").alias("Stock"),
            pl.col("low").alias("Corridor from"),
            pl.col("middle").alias("Median"),
            pl.col("high").alias("Corridor to"),
            pl.col("lost_expected").alias("Lost sales expected"),
        ),
        hide_index=True,
        column_config={"Lost sales expected": st.column_config.NumberColumn(format="%.2f")},
    )


def spent(costs: pl.DataFrame, *, ink: str) -> None:
    """Cost broken down, as it was and as it is expected."""
    st.caption(
        "Cost units a day of the whole plant. Left of the dashed line what the day cost, right of"
        " it, light, what the plan is expected to cost. A diamond is what the day was expected to"
        " cost when it was decided: bars above it had more demand than usual, or lost more."
    )
    past = pl.col("state") == "past"  # of one whose outcome is not known nothing is drawn
    cost = pl.when(past).then("realised").otherwise("expected")
    parts = costs.with_columns(cost.alias("cost"))
    totals = (
        costs.filter(past, pl.col("realised").is_not_null())
        .group_by("day", maintain_order=True)
        .agg(pl.col("expected", "realised").sum())
    )
    st.vega_lite_chart(plan_charts.costs(parts, totals, ink=ink))
    known = costs.drop_nulls("realised")
    if known.is_empty():
        return
    by_part = known.group_by("part", maintain_order=True).agg(pl.col("realised", "expected").sum())
    whole = by_part.select(pl.lit("all").alias("part"), pl.col("realised", "expected").sum())
    by_part = pl.concat([by_part, whole])
    tables.text(
        by_part.select(
            pl.col("part").alias(f"Over the {known['period'].n_unique()} days before"),
            pl.Series("Realised, cost units", [f"{each:.1f}" for each in by_part["realised"]]),
            pl.Series("Expected when decided", [f"{each:.1f}" for each in by_part["expected"]]),
        )
    )


def learned(domain: str) -> None:
    """Learning curves beside what does not learn."""
    curves = queries.read("plan/curves", domain=domain)
    if curves.is_empty():
        st.info(
            "No policy has recorded how it learned yet: the first curves come with the first"
            " candidates that are trained."
        )
        return
    st.caption(
        "Cost of a period of each policy as it was trained, with the interval around it; one line"
        " a seed. What lies far above the others is cut off. The level lines are what heuristics"
        " reach without learning, and the lower bound that no policy can go below."
    )
    references = (
        _standing(domain)
        .filter(pl.col("role") == "estimate")
        .sort("cost", descending=True)
        .with_columns(pl.format("{}: {}", "name", pl.col("cost").round(2)).alias("label"))
    )
    st.vega_lite_chart(plan_charts.learning(curves, references))


def gap(domain: str, *, ink: str) -> None:
    """The champion between the bound, the heuristics and its candidates."""
    standing = _standing(domain)
    if standing.is_empty():
        st.info(
            "Nothing has been evaluated against the champion yet: its gap to the bound is not"
            " known before the first candidates are judged."
        )
        return
    champion = standing.row(by_predicate=pl.col("role") == "champion", named=True)
    st.caption(
        f"Mean cost of a period over {champion['n']:,} simulated episodes, the same for all, with"
        f" its {100 * champion['level']:.4g} % interval; written above each mark is how far it"
        " lies above the lower bound, the dashed line. Evaluated"
        f" {champion['evaluated_at'].strftime('%-d %b %Y %H:%M UTC')}."
    )
    share = champion["bound_share"]
    columns = st.columns(2)
    columns[0].metric(
        "Champion above the bound, cost units a period",
        _money(champion["above_bound"]),
        None if share is None else f"{100 * share:+.1f} %",
        delta_color="off",
        help="And as a share of the bound: so much at most can still be gained by any policy.",
    )
    columns[1].metric(
        "Champion against H2, cost units a period",
        _money(champion["above_rotation"]),
        help="Below zero the champion is cheaper than the grouped rotation.",
    )
    bound = standing.filter(pl.col("name") == BOUND)["cost"]
    rows = standing.with_columns(
        pl.when(pl.col("generation").is_null())
        .then("name")
        .otherwise(pl.format("{}: {}", "generation", "name"))
        .alias("title"),
        pl.Series(
            "gap",
            [
                "" if name == BOUND else _gap(*figures)
                for name, *figures in standing["name", "above_bound", "bound_share"].rows()
            ],
        ),
    )
    st.vega_lite_chart(
        plan_charts.standing(rows, bound=bound[0] if bound.len() else None, ink=ink)
    )
    sign_in.link("off_policy", "All estimates", domain=domain)


states.shown("plan", page)
