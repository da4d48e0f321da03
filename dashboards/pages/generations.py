"""Did each generation earn its place?"""

from datetime import datetime, timedelta

import charts
import choice
import generation_detail
import glance
import polars as pl
import queries
import states
import streamlit as st
import tables
import verdicts
from details import unfold
from provenance import DATE
from quoting import quoted
from units import Unit, unit_of

_PICKED = "a generation was picked"

STEPS = {"train": "being trained", "evaluate": "being evaluated"}
UNJUDGED = (*STEPS.values(), "waiting", "not judged")
LATELY = 6  # generations, at least, that are told in full; those of a cut-off stay together
DRAWN = 40  # newest generations of the charts
VERDICTS = {"promote": "passed", "hold": "held", "reject": "rejected", "unchanged": "unchanged"}


def presented(
    timeline: pl.DataFrame, promotions: pl.DataFrame, in_work: pl.DataFrame, unit: Unit
) -> pl.DataFrame:
    """Generations but the baseline, in the domain's unit; what has no finite interval has none.

    One that passed the gate is "promoted" when it did become champion. `in_work` has those that a
    worker trains or evaluates now.
    """
    numbers = [
        f"{name}{end}" for name in ("value", "difference") for end in ("", "_lower", "_upper")
    ]
    became = pl.col("number").is_in(promotions["number"].implode())
    newest = pl.col("cutoff") == pl.col("cutoff").max()
    waiting = "waiting" if in_work.height else "not judged"
    steps: dict[int, str] = dict(in_work.select("number", "step").iter_rows())
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
            .when(pl.col("verdict").is_null() & pl.col("number").is_in(list(steps)))
            .then(pl.col("number").replace_strict(steps, default="").replace(STEPS))
            .when(pl.col("verdict").is_null() & newest)
            .then(pl.lit(waiting))
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
    waiting = newest.filter(pl.col("verdict").is_in(UNJUDGED))
    if made.height:
        became = made.row(-1, named=True)
        name = f"{became['number']} ({quoted(became['policy'])})"
        result = f"**generation {name} became champion**"
        gain = interval(newest, "difference").to_list()[
            newest["number"].to_list().index(became["number"])
        ]
        if gain != "unknown":
            result += f", estimated {gain} {unit.points} against the champion before it"
        if became["promoted_by"] != "gate":
            result += f", promoted by {quoted(became['promoted_by'])}"
    elif waiting.height:
        result = f"{_unjudged(waiting)}, and none has become champion"
    else:
        result = "none became champion: **the champion stays**"
    candidates = glance.counted(newest.height, "candidate")
    st.markdown(f"{candidates} of {newest['cutoff'][0].strftime(DATE)}: {result}.")
    columns = st.columns([2, 1.3, 1, 1])
    columns[0].metric("Champion", f"{champion['number']}: {quoted(champion['policy'])}")
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
        judged = (~generations["verdict"].is_in(UNJUDGED)).sum()
        columns[2].metric("Candidates judged", f"{judged}")
    columns[3].metric("Decisions logged", f"{timeline['decisions_logged'].sum():,}")


def _unjudged(waiting: pl.DataFrame) -> str:
    """How many candidates wait for a verdict, and what is done about it."""
    states = waiting.group_by("verdict", maintain_order=True).len().rows()
    words = {"waiting": "waiting for it", "not judged": "not judged"}
    told = ", ".join(f"{count} {words.get(state, state)}" for state, count in states)
    return f"**no verdict yet on {waiting.height}** ({told})"


def lately(generations: pl.DataFrame, why: pl.DataFrame, unit: Unit) -> None:
    """The newest generations with the gate's verdict on each, in full."""
    st.subheader("Did the last ones earn their place?")
    newest = generations.tail(LATELY)
    newest = generations.filter(pl.col("cutoff") >= newest["cutoff"].min())
    tables.text(
        newest.join(why, on="number", how="left", maintain_order="left")
        .select(
            pl.format("{}: {}", "number", "policy").alias("Generation"),
            pl.col("cutoff").dt.strftime("%-d %b %Y, %H:%M").alias("Data until (UTC)"),
            pl.col("verdict").alias("Verdict"),
            interval(newest, "difference").alias(f"Against the champion, {unit.points}"),
            pl.col("why").fill_null("").alias("Why"),
        )
        .reverse(),
        whole=("Data until (UTC)", "Verdict"),
    )


def table(generations: pl.DataFrame, why: pl.DataFrame, unit: Unit) -> None:
    """One row a generation, the newest first; a click opens one."""
    st.caption(
        "“Why” names the lower bound that the gate asked for: where several candidates compete it"
        " is below that of the interval shown. Choose a row to read its verdict in full."
    )
    rows = (
        generations.join(why, on="number", how="left", maintain_order="left")
        .select(
            pl.col("number").alias("Generation"),
            pl.col("policy").alias("Policy"),
            pl.col("cutoff").dt.replace_time_zone(None).alias("Data until (UTC)"),
            pl.col("verdict").alias("Verdict"),
            interval(generations, "difference").alias(f"Difference, {unit.points}"),
            interval(generations, "value").alias(f"Value, {unit.symbol}"),
            pl.col("decisions_logged").alias("Decisions taken"),
            pl.col("why").fill_null("").alias("Why"),
        )
        .reverse()
    )

    def choose() -> None:
        picked = st.session_state["generations table"]["selection"]["rows"]
        if picked:
            st.query_params["generation"] = str(rows["Generation"][picked[0]])
            st.session_state["unfolded generation"] = st.session_state[_PICKED] = True

    st.dataframe(
        rows,
        hide_index=True,
        key="generations table",
        on_select=choose,
        selection_mode="single-row",
        column_config={
            "Generation": st.column_config.NumberColumn(width=80),
            "Why": st.column_config.TextColumn(width="large"),
            "Data until (UTC)": st.column_config.DatetimeColumn(format="D MMM YYYY, HH:mm"),
        },
    )
    if st.session_state.pop(_PICKED, False):
        st.rerun()  # the whole page: what is opened is another part of it


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


def differences(generations: pl.DataFrame, why: pl.DataFrame, unit: Unit) -> None:
    """Difference of each of the newest generations from the champion of its time."""
    newest = generations.tail(DRAWN)
    judged = newest.filter(pl.col("difference").is_not_null())
    if judged.height:
        limit = next(iter(why["margin"].drop_nulls().reverse()), 0.0) * unit.scale
        older = generations.height - newest.height
        st.caption(
            "Candidate minus the champion of its time, on the same held-out decisions or simulated"
            f" episodes, with its {_levels(judged)} interval. **Only an interval wholly above the"
            f" dashed line, the gate's limit of {limit:+.2f} {unit.points}, can be promoted**, and"
            " the gate asks more of each where several compete."
            + (f" The newest {newest.height}; {older} older ones are below." if older else "")
        )
        st.vega_lite_chart(charts.difference(judged, limit=limit, points=unit.points))
    missing = newest.filter(pl.col("verdict") == "refused")
    if missing.height:
        names = ", ".join(
            f"{number} ({quoted(policy)})"
            for number, policy in missing.select("number", "policy").iter_rows()
        )
        st.caption(f"Not drawn, since the logs cannot support an answer: generations {names}.")


def _levels(judged: pl.DataFrame) -> str:
    levels = judged["level"].unique().sort()
    return " and ".join(f"{100 * each:.4g} %" for each in levels)


def values(generations: pl.DataFrame, unit: Unit) -> None:
    """Value of each of the newest generations."""
    judged = generations.tail(DRAWN).filter(pl.col("value").is_not_null())
    if judged.is_empty():
        st.info("Nothing has been evaluated yet.")
        return
    st.caption(
        f"Estimated {unit.reward} of each candidate, in {unit.symbol}, with its"
        f" {_levels(judged)} interval. It also moves with the days it was judged on: compare"
        " candidates by their difference."
    )
    st.vega_lite_chart(charts.value(judged, reward=unit.reward, symbol=unit.symbol))


def champions(changes: pl.DataFrame, *, last: datetime) -> None:
    """Who was champion, and when."""
    st.caption("One bar a reign, from its promotion to the next. Dates are those decided for.")
    st.vega_lite_chart(charts.champions(reigns(changes, last=last)))


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
    in_work = queries.read("generation/in_work", domain=domain)
    generations = presented(mine, changes, in_work, unit)
    if generations.is_empty() or changes.is_empty():
        states.empty(
            "Only the baseline exists yet. The first generation appears after the next run."
        )
        return
    headline(generations, changes, mine, unit)
    why = verdicts.reasons(domain, first=generations.tail(DRAWN)["number"][0])
    lately(generations, why, unit)
    differences(generations, why, unit)
    unfold("What would each earn?", lambda: values(generations, unit), key="values")
    unfold(
        "Who was champion, and when?",
        lambda: champions(changes, last=mine["cutoff"].sort()[-1]),
        key="champions",
    )
    unfold(
        "Every generation, the newest first",
        lambda: table(generations, verdicts.reasons(domain, first=0), unit),
        key="generations",
    )
    asked = st.query_params
    unfold(
        "One generation: the gate's rules, its reigns, where it came from",
        lambda: generation_detail.one(domain, changes, unit),
        key="generation",
        opened="generation" in asked,
    )
    unfold(
        "What differs between two?",
        lambda: generation_detail.compare(domain, unit),
        key="compare",
        opened="compare" in asked,
    )


states.shown("generations", page)
