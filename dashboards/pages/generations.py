"""Did each generation earn its place?"""

from datetime import datetime, timedelta

import charts
import choice
import lineage
import polars as pl
import provenance
import queries
import sign_in
import states
import streamlit as st
import verdicts
from provenance import DATE
from units import Unit, unit_of

VERDICTS = {"promote": "passed", "hold": "held", "reject": "rejected", "unchanged": "unchanged"}


def presented(timeline: pl.DataFrame, promotions: pl.DataFrame, unit: Unit) -> pl.DataFrame:
    """Generations but the baseline, in the domain's unit; what has no finite interval has none.

    One that passed the gate is "promoted" when it did become champion.
    """
    numbers = [
        f"{name}{end}" for name in ("value", "difference") for end in ("", "_lower", "_upper")
    ]
    became = pl.col("number").is_in(promotions["number"].implode())
    return (
        timeline.filter(pl.col("number") > 0)
        .with_columns(
            (pl.when(pl.col(name).is_finite()).then(pl.col(name)) * unit.scale).alias(name)
            for name in numbers
        )
        .with_columns(
            pl.when(pl.col("refusal").is_not_null())
            .then(pl.lit("refused"))
            .when((pl.col("verdict") == "promote") & became)
            .then(pl.lit("promoted"))
            .otherwise(pl.col("verdict").replace(VERDICTS).fill_null("not judged"))
            .alias("verdict")
        )
    )


def reigns(promotions: pl.DataFrame, *, last: datetime) -> pl.DataFrame:
    """Each champion with the end of its reign.

    The last one has no end: its bar goes a little beyond `last`, the newest date known, so that
    it is seen when it has just begun.
    """
    began = promotions["promoted_at"]
    newest = max(last, began[-1])
    beyond = newest + max((newest - began[0]) * 0.06, timedelta(hours=1))
    ended = pl.col("promoted_at").shift(-1)
    return promotions.with_columns(
        pl.format("{}: {}", "number", "policy").alias("name"),
        ended.fill_null(beyond).alias("until"),
        ended.dt.strftime("%d %b %Y %H:%M").fill_null("champion now").alias("ended"),
    )


def headline(
    generations: pl.DataFrame, promotions: pl.DataFrame, timeline: pl.DataFrame, unit: Unit
) -> None:
    """Who is champion, what was tried, and what came of it, in one sentence and four figures."""
    champion = promotions.row(-1, named=True)
    newest = generations.filter(pl.col("cutoff") == pl.col("cutoff").max())
    made = promotions.filter(pl.col("number").is_in(newest["number"].implode()))
    waiting = newest.filter(pl.col("verdict") == "not judged").height
    if made.height:
        became = made.row(-1, named=True)
        result = f"**generation {became['number']} ({became['policy']}) became champion**"
        gain = interval(newest, "difference").to_list()[
            newest["number"].to_list().index(became["number"])
        ]
        if gain != "unknown":
            result += f", estimated {gain} {unit.points} against the champion before it"
        if became["promoted_by"] != "gate":
            result += f", promoted by {became['promoted_by']}"
    elif waiting:
        result = f"**{waiting} are not judged yet**, and none has become champion"
    else:
        result = "none became champion: **the champion stays**"
    st.markdown(
        f"Of the {newest.height} candidates of {newest['cutoff'][0].strftime(DATE)}, {result}."
    )
    columns = st.columns(4)
    columns[0].metric("Champion", f"{champion['number']}: {champion['policy']}")
    columns[1].metric(
        "Champion since",
        "the beginning"
        if champion["promoted_by"] == "begin"
        else champion["promoted_at"].strftime("%-d %b %Y"),
    )
    value = generations.filter(pl.col("number") == champion["number"])["value"].drop_nulls()
    if value.len():
        columns[2].metric(
            "Its estimated value",
            f"{value[0]:.1f}" + (f" {unit.symbol}" if len(unit.symbol) < 5 else ""),
            help=f"{unit.reward}, in {unit.symbol}",
        )
    else:
        judged = (generations["verdict"] != "not judged").sum()
        columns[2].metric("Candidates judged", f"{judged}")
    columns[3].metric("Decisions logged", f"{timeline['decisions_logged'].sum():,}")


def table(generations: pl.DataFrame, why: pl.DataFrame, unit: Unit) -> None:
    """One row a generation, the newest first; a click chooses one."""
    rows = (
        generations.join(why, on="number", how="left", maintain_order="left")
        .select(
            pl.col("number").alias("Generation"),
            pl.col("policy").alias("Policy"),
            pl.col("cutoff").dt.replace_time_zone(None).alias("Data until (UTC)"),
            pl.col("decisions_logged").alias("Decisions taken"),
            interval(generations, "value").alias(f"Value, {unit.symbol}"),
            interval(generations, "difference").alias(f"Difference, {unit.points}"),
            pl.col("verdict").alias("Verdict"),
            pl.col("why").fill_null("").alias("Why"),
        )
        .reverse()
    )

    def choose() -> None:
        picked = st.session_state["generations table"]["selection"]["rows"]
        if picked:
            st.query_params["generation"] = str(rows["Generation"][picked[0]])

    st.dataframe(
        rows,
        hide_index=True,
        key="generations table",
        on_select=choose,
        selection_mode="single-row",
        column_config={
            "Why": st.column_config.TextColumn(width="large"),
            "Data until (UTC)": st.column_config.DatetimeColumn(format="D MMM YYYY, HH:mm"),
        },
    )


def interval(generations: pl.DataFrame, name: str) -> pl.Series:
    """A value and its interval as text; "unknown" where there is none."""
    sign = "+" if name == "difference" else ""
    rows = generations.select(name, f"{name}_lower", f"{name}_upper").iter_rows()
    return pl.Series(
        [
            "unknown"
            if None in row
            else "{} [{} to {}]".format(*(f"{each:{sign}.2f}" for each in row))
            for row in rows
        ],
        dtype=pl.String,
    )


def estimates(generations: pl.DataFrame, why: pl.DataFrame, unit: Unit) -> None:
    """Difference and value of each generation, side by side."""
    judged = generations.filter(pl.col("difference").is_not_null())
    if judged.height:
        levels = judged["level"].unique().sort()
        level = " and ".join(f"{100 * each:.4g} %" for each in levels)
        limit = next(iter(why["margin"].drop_nulls().reverse()), 0.0) * unit.scale
        left, right = st.columns(2)
        with left:
            st.subheader("Better than the champion?")
            st.caption(
                "Candidate minus the champion of its time, on the same held-out decisions or"
                f" simulated episodes, with its {level} interval. **Only an interval wholly above"
                f" the dashed line, the gate's limit of {limit:+.2f} {unit.points}, can be"
                " promoted**, and the gate asks more of each where several compete."
            )
            st.altair_chart(charts.difference(judged, limit=limit, points=unit.points))
        with right:
            st.subheader("What would it earn?")
            st.caption(
                f"Estimated {unit.reward} of each candidate, in {unit.symbol}, with its {level}"
                " interval. It also moves with the days it was judged on: compare candidates on"
                " the left."
            )
            st.altair_chart(charts.value(judged, reward=unit.reward, symbol=unit.symbol))
    missing = generations.filter(pl.col("verdict") == "refused")
    if missing.height:
        names = ", ".join(f"{n} ({p})" for n, p in missing.select("number", "policy").iter_rows())
        st.caption(f"Not drawn, since the logs cannot support an answer: generations {names}.")


def one(domain: str, described: pl.DataFrame, promotions: pl.DataFrame, unit: Unit) -> None:
    """The chosen generation: the gate's rules in full, its reigns, where it came from."""
    numbers: list[int] = described["number"].reverse().to_list()
    titles: dict[int, str] = dict(
        described.select("number", name=pl.format("{}: {}", "number", "policy")).iter_rows()
    )
    number = choice.generation(numbers, titles)
    row = described.row(by_predicate=pl.col("number") == number, named=True)
    verdict(row, unit)
    if fallback := provenance.details_of(row).get("fallback"):
        st.warning(f"It learned nothing, and takes every action alike: {fallback}.")
    ruled = promotions.filter(pl.col("number") == number)
    for reign in ruled.iter_rows(named=True):
        st.markdown(
            f"Champion from the beginning: {reign['reason']}."
            if reign["promoted_by"] == "begin"
            else f"Champion from {reign['promoted_at'].strftime(DATE)}, promoted by"
            f" {reign['promoted_by']}: {reign['reason']}."
        )
    st.markdown(
        f"- Trained by {lineage.trained_by(domain, row['cutoff'], provenance.details_of(row))}"
        f"\n- Mirrored in MLflow as {lineage.tracked(domain, number)}"
        f"\n- Planned under seal {row['seal']}; the audit page verifies it"
    )
    left, right = st.columns(2)
    with left:
        sign_in.link("off_policy", "Its estimates", domain=domain, generation=str(number))
    with right:
        sign_in.link("decisions", "Its decisions", domain=domain, generation=str(number))


def verdict(row: provenance.Row, unit: Unit) -> None:
    """What the gate said of a generation, rule by rule."""
    if row["outcome"] is None:
        st.info(
            "This is the baseline: it came first, and nothing was asked of it."
            if row["parent"] is None
            else "The gate has not judged this generation yet: its run is under way, or stopped."
        )
        return
    note = f": {row['note']}" if row["note"] else ""
    st.markdown(
        f"The gate's verdict of {row['judged_at'].strftime(DATE)}: **{row['outcome']}**{note}."
    )
    if row["outcome"] == "unchanged":
        st.caption(
            "It decides as the champion does: nothing was compared, no error was spent, and the"
            " candidates that wait go on waiting."
        )
        return
    st.caption(
        "Each rule of the gate, what was measured and what is allowed. One that is not kept holds"
        " the candidate; it is rejected where the whole interval of the difference is against it."
    )
    st.table(
        verdicts.rules(row["reasons"], unit).select(
            pl.when("kept").then(pl.lit("✓ kept")).otherwise(pl.lit("✗ not kept")).alias("Kept"),
            pl.col("title").alias("Rule"),
            pl.col("measured").alias("Measured"),
            pl.col("allowed").alias("Allowed"),
            pl.col("tells").alias("What it tells"),
        ),
        hide_index=True,
        border="horizontal",
    )


def compare(domain: str, described: pl.DataFrame, unit: Unit) -> None:
    """What differs between two generations; `?compare=a,b` in the address."""
    names = [str(number) for number in described["number"].reverse()]
    titles: dict[str, str] = dict(
        described.select(
            pl.col("number").cast(pl.String), name=pl.format("{}: {}", "number", "policy")
        ).iter_rows()
    )
    asked = [each for each in st.query_params.get("compare", "").split(",") if each in names]
    chosen = st.query_params.get("generation", names[0])
    parent = described.filter(pl.col("number").cast(pl.String) == chosen)["parent"].to_list()
    usual = [str(parent[0]) if parent and parent[0] is not None else names[-1], chosen]
    begin = asked if len(asked) == 2 else usual
    given: list[str] = []
    for column, label, name in zip(st.columns(2), ("One", "The other"), begin, strict=True):
        with column:
            index = names.index(name) if name in names else 0
            given.append(
                st.selectbox(label, names, index=index, format_func=lambda each: titles[each])
            )
    if given != begin:
        st.query_params["compare"] = ",".join(given)
        st.rerun()  # or the fields would lose the next choice: see `choice`
    first, second = (
        provenance.fields(
            described.row(by_predicate=pl.col("number") == int(each), named=True),
            queries.read("evaluation/of_generation", domain=domain, number=int(each)),
            unit,
        )
        for each in given
    )
    if given[0] == given[1]:
        st.info("Choose two generations: this is one and the same.")
        return
    both = provenance.differences(
        first, second, names=(f"Generation {given[0]}", f"Generation {given[1]}")
    )
    if not st.toggle("Also what is the same"):
        both = both.filter(~pl.col("Same"))
    if both.is_empty():
        st.info("Nothing that is recorded differs.")
        return
    st.dataframe(
        both.with_columns(pl.when("Same").then(pl.lit("=")).otherwise(pl.lit("≠")).alias("Same")),
        hide_index=True,
        height="content",
        column_config={
            "Of": st.column_config.TextColumn(width=90),
            "Field": st.column_config.TextColumn(width=330),
            "Same": st.column_config.TextColumn(width=50),
        },
    )


def page() -> None:
    timeline, promotions = queries.timeline(), queries.promotions()
    if timeline.is_empty():
        states.empty(
            "No generation has been trained yet. Run `make run` (or `decisions run`): the first"
            " appear a minute or two after it starts, and this page shows them."
        )
        return
    domain = choice.domain(timeline["domain"].unique(maintain_order=True).to_list())
    unit = unit_of(domain)
    mine = timeline.filter(pl.col("domain") == domain)
    changes = promotions.filter(pl.col("domain") == domain)
    generations = presented(mine, changes, unit)
    if generations.is_empty() or changes.is_empty():
        states.empty(
            "Only the baseline exists yet. The first generation appears after the next run."
        )
        return
    headline(generations, changes, mine, unit)
    why = verdicts.reasons().filter(pl.col("domain") == domain)
    estimates(generations, why, unit)
    st.subheader("Who was champion, and when?")
    st.caption("One bar a reign, from its promotion to the next. Dates are those decided for.")
    st.altair_chart(charts.champions(reigns(changes, last=mine["cutoff"].sort()[-1])))
    st.subheader("Every generation, the newest first")
    st.caption(
        "“Why” names the lower bound that the gate asked for: where several candidates compete it"
        " is below that of the interval shown. Choose a row to read its verdict below."
    )
    table(generations, why, unit)
    described = queries.read("generation/described", domain=domain)
    st.subheader("One generation")
    one(domain, described, changes, unit)
    st.subheader("What differs between two?")
    st.caption(
        "Everything that is recorded of two generations: recipe, data, code, seeds, configuration,"
        " artefact, verdict and evaluation."
    )
    compare(domain, described, unit)


states.shown("generations", page)
