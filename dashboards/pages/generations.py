"""Did each generation earn its place?"""

from datetime import datetime, timedelta

import charts
import choice
import polars as pl
import queries
import streamlit as st
from states import shown

from decisions.domains import all_domains

VERDICTS = {"promote": "passed", "hold": "held", "reject": "rejected"}
DATE = "%-d %B %Y, %H:%M UTC"


def presented(timeline: pl.DataFrame, promotions: pl.DataFrame) -> pl.DataFrame:
    """Generations but the baseline, in per cent; what has no finite interval has none.

    One that passed the gate is "promoted" when it did become champion.
    """
    numbers = [
        f"{name}{end}" for name in ("value", "difference") for end in ("", "_lower", "_upper")
    ]
    became = pl.col("number").is_in(promotions["number"].implode())
    return (
        timeline.filter(pl.col("number") > 0)
        .with_columns(
            (pl.when(pl.col(name).is_finite()).then(pl.col(name)) * 100).alias(name)
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
    generations: pl.DataFrame, promotions: pl.DataFrame, timeline: pl.DataFrame, reward: str
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
            result += f", estimated {gain} points against the champion before it"
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
    columns[1].metric("Champion since", champion["promoted_at"].strftime("%-d %b %Y"))
    value = generations.filter(pl.col("number") == champion["number"])["value"].drop_nulls()
    if value.len():
        columns[2].metric(
            "Its estimated value", f"{value[0]:.1f} %", help=f"In per cent: {reward}"
        )
    else:
        judged = (generations["verdict"] != "not judged").sum()
        columns[2].metric("Candidates judged", f"{judged}")
    columns[3].metric("Decisions logged", f"{timeline['decisions_logged'].sum():,}")


def table(generations: pl.DataFrame, why: pl.DataFrame) -> None:
    """One row a generation, the newest first."""
    rows = generations.join(why, on="number", how="left", maintain_order="left").select(
        pl.col("number").alias("Generation"),
        pl.col("policy").alias("Policy"),
        pl.col("cutoff").dt.replace_time_zone(None).alias("Data until (UTC)"),
        pl.col("decisions_logged").alias("Decisions taken"),
        interval(generations, "value").alias("Value, %"),
        interval(generations, "difference").alias("Difference, points"),
        pl.col("verdict").alias("Verdict"),
        pl.col("why").fill_null("").alias("Why"),
    )
    st.dataframe(
        rows.reverse(),
        hide_index=True,
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


def page() -> None:
    timeline, promotions = queries.timeline(), queries.promotions()
    if timeline.is_empty():
        st.info(
            "No generation has been trained yet. Run `make run` (or `decisions run`): the first"
            " appear a minute or two after it starts, and this page shows them."
        )
        return
    domain = choice.domain(timeline["domain"].unique(maintain_order=True).to_list())
    mine = timeline.filter(pl.col("domain") == domain)
    changes = promotions.filter(pl.col("domain") == domain)
    generations = presented(mine, changes)
    if generations.is_empty() or changes.is_empty():
        st.info("Only the baseline exists yet. The first generation appears after the next run.")
        return
    reward = {each.name: each.reward for each in all_domains()}.get(domain, "reward")
    headline(generations, changes, mine, reward)
    why = queries.reasons().filter(pl.col("domain") == domain)
    judged = generations.filter(pl.col("difference").is_not_null())
    if judged.height:
        levels = judged["level"].unique().sort()
        level = " and ".join(f"{100 * each:g} %" for each in levels)
        limit = next(iter(why["margin"].drop_nulls().reverse()), 0.0)
        left, right = st.columns(2)
        with left:
            st.subheader("Better than the champion?")
            st.caption(
                "Candidate minus the champion of its time, on the same held-out decisions, with"
                f" its {level} interval. **Only an interval wholly above the dashed line, the"
                f" gate's limit of {limit:+.2f} points, can be promoted**, and the gate asks more"
                " of each where several compete."
            )
            st.altair_chart(charts.difference(judged, limit=limit))
        with right:
            st.subheader("What would it earn?")
            st.caption(
                f"Estimated {reward} of each candidate, in per cent, with its {level} interval. It"
                " also moves with the days it was judged on: compare candidates on the left."
            )
            st.altair_chart(charts.value(judged, reward=reward))
    missing = generations.filter(pl.col("verdict") == "refused")
    if missing.height:
        names = ", ".join(f"{n} ({p})" for n, p in missing.select("number", "policy").iter_rows())
        st.caption(f"Not drawn, since the logs cannot support an answer: generations {names}.")
    st.subheader("Who was champion, and when?")
    st.altair_chart(charts.champions(reigns(changes, last=mine["cutoff"].sort()[-1])))
    st.subheader("Every generation, the newest first")
    st.caption(
        "“Why” names the lower bound that the gate asked for: where several candidates compete it"
        " is below that of the interval shown."
    )
    table(generations, why)


shown("generations", page)
