"""What was decided about one unit, why, and would it be decided again?"""

import actions
import choice
import opened
import polars as pl
import queries
import replaying
import search
import states
import streamlit as st
from details import unfold
from quoting import code, quoted
from units import unit_of


def page() -> None:
    sealed = queries.read("seal/summary").filter(pl.col("kind").is_in(["unit", "decision"]))
    if sealed.is_empty():
        states.empty(
            "No decision has been taken yet. Run `make run` (or `decisions run`): the first appear"
            " a minute after it starts."
        )
        return
    domain = choice.domain(sealed["domain"].unique(maintain_order=True).to_list())
    chosen = st.query_params.get("decision", "")
    if chosen:
        one(domain, chosen)
    else:
        many(domain)


def one(domain: str, chosen: str) -> None:
    """The decision of the address (`?decision=...`)."""
    st.button("Back to the search", icon=":material/arrow_back:", on_click=_close)
    number = int(chosen) if chosen.isdecimal() and int(chosen) <= search.LARGEST_ID else -1
    found = queries.read("decision/opened", domain=domain, decision_id=number)
    if found.is_empty():
        st.warning(
            f"No decision {quoted(chosen)} is stored in this domain. Search for it by its unit's"
            " reference, or choose another domain."
        )
        return
    row = found.row(0, named=True)
    opened.show(domain, row)
    replaying.show(domain, row)


def _close() -> None:
    st.query_params.pop("decision", None)


def many(domain: str) -> None:
    """The search, and a page of what it finds."""
    tallies = queries.read("tally/by_arm", domain=domain)
    if tallies.is_empty():
        states.empty(
            "Units of this domain have arrived, and none is decided yet: the next run of its"
            f" decide step does that. ({code(f'{domain}_decide')} in Airflow, or `decisions run`.)"
        )
        return
    _fields(domain, tallies)
    wanted = _wanted(domain, tallies)
    rows = search.found(wanted, tallies)
    if rows.is_empty():
        st.info(_nothing(wanted))
        return
    _results(domain, rows)
    if wanted.below is not None:
        st.button("Newest again", icon=":material/first_page:", on_click=_turn, args=(None,))
    if rows.height == search.PAGE:
        last = int(rows["decision_id"][-1])
        st.button("Older", icon=":material/chevron_right:", on_click=_turn, args=(last,))


def _turn(below: int | None) -> None:
    if below is None:
        st.query_params.pop("below", None)
    else:
        st.query_params["below"] = str(below)


def _fields(domain: str, tallies: pl.DataFrame) -> None:
    """The fields of the search: what they say is in the address."""
    choice.text("unit", "Unit or decision", placeholder="a reference, or an id")
    asked = st.query_params
    unfold(
        "Narrow it down: by generation, arm, or day",
        lambda: _narrower(domain, tallies),
        key="search",
        opened=any(name in asked for name in ("generation", "arm", "since", "until")),
    )


def _narrower(domain: str, tallies: pl.DataFrame) -> None:
    policies = queries.read("generation/described", domain=domain)
    titles: dict[str, str] = dict(
        policies.select(
            pl.col("number").cast(pl.String), name=pl.format("{}: {}", "number", "policy")
        ).iter_rows()
    )
    numbers = tallies["generation"].unique().sort(descending=True).cast(pl.String)
    columns = st.columns(4)
    with columns[0]:
        choice.some("generation", "Decided by", numbers.to_list(), titles)
    with columns[1]:
        choice.some("arm", "Arm", tallies["arm"].unique().sort().to_list(), {})
    with columns[2]:
        choice.day("since", "Arrived from")
    with columns[3]:
        choice.day("until", "Arrived until")


def _wanted(domain: str, tallies: pl.DataFrame) -> search.Wanted:
    """What the address asks for; what does not exist is not asked for."""
    asked = st.query_params
    numbers = tallies["generation"].unique().cast(pl.String).to_list()
    generation, arm, below = (asked.get(name, "") for name in ("generation", "arm", "below"))
    return search.Wanted(
        domain=domain,
        name=asked.get("unit", "").strip() or None,
        generation=int(generation) if generation in numbers else None,
        arm=arm if arm in tallies["arm"].to_list() else None,
        since=choice.asked_day("since"),
        until=choice.asked_day("until"),
        below=int(below) if below.isdecimal() else None,
    )


def _nothing(wanted: search.Wanted) -> str:
    if wanted.name is None:
        return "No decision matches. Leave a field open, or choose other days."
    units = queries.read("unit/of_reference", domain=wanted.domain, reference=wanted.name)
    if units.is_empty():
        return (
            f"Nothing is stored under “{quoted(wanted.name)}”. A reference must be given whole, as"
            " the source writes it."
        )
    arrived = units["observed_at"][0].strftime(opened.TIME)
    return (
        f"Unit {quoted(wanted.name)} arrived {arrived}. No decision about it matches: it waits for"
        " one, was set aside (the audit page says why), or a field excludes it."
    )


def _results(domain: str, rows: pl.DataFrame) -> None:
    unit = unit_of(domain)
    st.caption(
        f"{rows.height} decisions, the newest first, by the time their units arrived. Reward:"
        f" {unit.reward}; empty while it is not known. Choose a row to open it."
    )
    shown = rows.select(
        pl.col("reference").alias("Unit"),
        pl.col("observed_at").dt.replace_time_zone(None).alias("Arrived (UTC)"),
        pl.Series("Action", [actions.name(domain, each) for each in rows["action"].to_list()]),
        pl.col("arm").alias("Arm"),
        pl.col("propensity").alias("Propensity"),
        pl.col("reward").alias("Reward"),
        pl.col("generation").alias("Generation"),
        pl.col("decision_id").cast(pl.String).alias("Decision"),
        pl.col("decided_at").dt.replace_time_zone(None).alias("Decided (UTC)"),
    )

    labels: dict[str, str] = dict(
        shown.select(
            "Decision", name=pl.format("{}: {} ({})", "Unit", "Action", "Arm")
        ).iter_rows()
    )
    given = st.selectbox(
        "Open one",
        list(labels),
        index=None,
        format_func=lambda each: labels[each],
        placeholder="one of the decisions below",
    )
    if given is not None:
        st.query_params["decision"] = given
        st.rerun()

    def choose() -> None:
        picked = st.session_state["decisions table"]["selection"]["rows"]
        if picked:
            st.query_params["decision"] = shown["Decision"][picked[0]]

    st.dataframe(
        shown,
        hide_index=True,
        key="decisions table",
        on_select=choose,
        selection_mode="single-row",
        column_config={
            "Arrived (UTC)": st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm:ss"),
            "Decided (UTC)": st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm:ss"),
            "Propensity": st.column_config.NumberColumn(format="%.4f"),
            "Reward": st.column_config.NumberColumn(format="%g"),
        },
    )


states.shown("decisions", page)
