"""Do good and bad generations alternate, why, and what helps?"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import choice
import glance
import oscillation_charts
import polars as pl
import queries
import sign_in
import streamlit as st
from details import unfold
from measures import MOVES_WITH, PANELS, Panel
from quoting import prose, quoted
from states import empty, shown
from units import Unit, domain_of, unit_of

from decisions.flow.measuring import LOOKED_BACK

COLUMNS = 4  # of small charts: as many as the largest group has
LEVELS, RHYTHM, MOVES = "Policy and control", "Rhythm", "What moves with it"


def page() -> None:
    latest = queries.read("diagnosis/latest")
    if latest.is_empty():
        empty(
            "Nothing has been diagnosed yet: that takes a generation. Run `make run` (or"
            " `decisions run`); each cycle is diagnosed when its candidates are judged."
        )
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        worst_first = glance.in_order(latest.to_dicts())
        domain = choice.domain(list(dict.fromkeys(row["domain"] for row in worst_first)))
        found = [row for row in worst_first if row["domain"] == domain]
        names = [row["series"] for row in found]
        series = choice.series(names, {name: _title(name) for name in names})
    newest = found[names.index(series)]
    statistics = json.loads(newest["statistics"])
    unit = unit_of(domain)
    verdict(newest, statistics, unit)
    sign_in.link("generations", f"Generations of {domain}", domain=domain)
    cycles = queries.read("oscillation/cycles", domain=domain, series=series)
    over_time(cycles, statistics, unit, reference=_reference(domain))
    everyone(found, unit)
    closer(cycles, statistics, unit)


def _reference(name: str) -> str:
    domain = domain_of(name)
    return "the control" if domain is None else domain.reference


def _title(series: str) -> str:
    return "deployed: all traffic as it ran" if series == "deployed" else f"candidate {series}"


def verdict(newest: Mapping[str, Any], statistics: Mapping[str, Any], unit: Unit) -> None:
    """The verdict in words, what to do, and the four numbers it rests on."""
    with st.container(border=True):
        color, icon = glance.BADGES[glance.VERDICTS[newest["verdict"]]]
        since = f"; it was {newest['previous']}" if newest["previous"] != newest["verdict"] else ""
        word = newest["verdict"].capitalize()
        st.markdown(f"#### :{color}-badge[{icon} {word}] {quoted(_title(newest['series']))}")
        st.caption(
            f"After {glance.counted(newest['cycles'], 'cycle')}, the newest until"
            f" {newest['cutoff']:%-d %B %Y, %H:%M} UTC"
            f"{since if newest['previous'] is not None else ''}."
        )
        told = [prose(newest["explanation"])] if newest["explanation"] else []
        if newest["action"]:
            told.append(f"**Recommended:** {prose(newest['action'])}")
        reasons = glance.texts(newest["reasons"])
        if reasons:
            told.append("**Why this verdict**")
        if told:
            st.markdown("\n\n".join(told))
        if reasons:
            st.text("\n".join(f"• {each}" for each in reasons))
        numbers(statistics, unit)


def numbers(statistics: Mapping[str, Any], unit: Unit) -> None:
    """Swing, what would be seen, rhythm and how sure; a dash where there are too few cycles."""
    columns = st.columns(5)
    columns[0].metric(
        "Swing",
        _number(statistics["swing"], ".2f", unit.scale),
        help=f"In {unit.points}: mean change from one cycle to the next. One standard error of a"
        f" cycle's value is {_number(statistics['rms_se'], '.2f', unit.scale)}.",
    )
    columns[1].metric(
        "Visible swing",
        _number(statistics.get("visible_swing"), ".2f", unit.scale),
        help=f"In {unit.points}: a swing from one cycle to the next of this size would be called"
        " four times of five. A smaller one may pass unseen; a dash: so few cycles that any may.",
    )
    columns[2].metric(
        "Lag-1 correlation",
        _number(statistics["r1"], "+.2f"),
        help="Of a cycle with the one before it, without the trend. A series without rhythm lies"
        f" between {_number(statistics['r1_null_low'], '+.2f')} and"
        f" {_number(statistics['r1_null_high'], '+.2f')} in nine of ten cases.",
    )
    columns[3].metric(
        "p",
        _number(statistics["p_holm"], ".1%"),
        help="How often a shuffled series alternates as much; for candidates, corrected for their"
        " number (Holm). Below 1 % it counts as oscillating when the swing is large enough.",
    )
    period = statistics["period"]
    columns[4].metric(
        "Strongest period",
        "–" if period is None else f"{period:.3g} cycles",
        help=f"{_number(statistics['period_share'], '.0%')} of the variance has it. Two cycles:"
        " good and bad alternate.",
    )


def _number(value: float | None, form: str, scale: float = 1.0) -> str:
    return "–" if value is None else f"{value * scale:{form}}"


def over_time(
    cycles: pl.DataFrame, statistics: Mapping[str, Any], unit: Unit, *, reference: str
) -> None:
    """The value of each cycle, and what was expected of its policy."""
    st.subheader("The series")
    controlled = _controlled(cycles)
    shown = with_expected(cycles, statistics.get("expected") or [])
    value(shown, unit, controlled=controlled, reference=reference)
    named = {
        "value": f"Value, {unit.points if controlled else unit.symbol}",
        "lower": "From",
        "upper": "To",
        "level": f"Policy, {unit.symbol}",
        "control": f"Control, {unit.symbol}",
    }
    unfold(
        "The series as a table", lambda: _table(_scaled(cycles, named, unit.scale)), key="series"
    )


def _controlled(cycles: pl.DataFrame) -> bool:
    return not (cycles["control"].is_null() & cycles["gain"].is_null()).all()


def with_expected(cycles: pl.DataFrame, expected: Sequence[Sequence[float]]) -> pl.DataFrame:
    """`cycles` with `expected`, by cycle, from (position in the diagnosed series, value).

    The series begins with the first cycle that has a value, and goes back at most LOOKED_BACK.
    """
    valued = cycles.with_row_index("row").filter(pl.col("value").is_not_null())["row"]
    begun = 0 if valued.is_empty() else max(int(valued[0]), cycles.height - LOOKED_BACK)
    rows = pl.DataFrame(
        [(begun + int(position), value) for position, value in expected],
        schema={"row": pl.UInt32(), "expected": pl.Float64()},
        orient="row",
    )
    return (
        cycles.with_row_index("row")
        .join(rows, on="row", how="left", validate="1:1", maintain_order="left")
        .drop("row")
    )


def value(cycles: pl.DataFrame, unit: Unit, *, controlled: bool, reference: str) -> None:
    """The value of each cycle, minus that of the reference where there is one."""
    missing = cycles["value"].null_count()
    if missing == cycles.height:
        st.info("This series has no value yet: its decisions wait for their outcomes.")
        return
    words = (
        f"Its value in each cycle minus that of {reference} (dashed), with its 95 % interval."
        if controlled
        else "Its value in each cycle, with its 95 % interval. There is nothing to compare with,"
        " so a change of the whole market looks like one of the policy."
    )
    if not cycles["expected"].is_null().all():
        words += (
            " The orange line is what was expected of the same policies, held against one model of"
            " rewards: there, chance and the market are taken out, and oscillation shows."
        )
    if missing:
        words += (
            f" Not measured in {missing} of {glance.counted(cycles.height, 'cycle')}: outcomes or"
            " something to compare with are missing there."
        )
    st.caption(words)
    st.vega_lite_chart(oscillation_charts.gain(cycles, unit, controlled=controlled))


def closer(cycles: pl.DataFrame, statistics: Mapping[str, Any], unit: Unit) -> None:
    """Levels, rhythm, what moves with the value, and what changed beside it: a part at a time.

    A dozen charts at once take a browser most of a second to draw; nobody looks at them at once.
    """
    st.subheader("A closer look")
    st.caption("Choose what to unfold.")
    measured = [each for each in PANELS if each.measured(cycles)]
    groups = list(dict.fromkeys(each.group for each in measured))
    part = choice.part([*([LEVELS] if _controlled(cycles) else []), RHYTHM, MOVES, *groups])
    if part == LEVELS:
        levels(cycles, unit)
    elif part == RHYTHM:
        rhythm(statistics)
    elif part == MOVES:
        moves_with(statistics)
    elif part is not None:
        beside(cycles, [each for each in measured if each.group == part])
    absent = [f"{each.group}: {each.title}".lower() for each in PANELS if each not in measured]
    if absent:
        st.caption(f"Not measured for this series: {', '.join(absent)}.")


def levels(cycles: pl.DataFrame, unit: Unit) -> None:
    """The policy's own level and that of the control."""
    st.caption(
        f"The same in absolute terms: {unit.reward}, {unit.symbol}. What moves both lines is the"
        " world, what moves one of them is the policy."
    )
    st.vega_lite_chart(oscillation_charts.levels(cycles, unit))


def rhythm(statistics: Mapping[str, Any]) -> None:
    """Spectrum and autocorrelation."""
    shares = pl.DataFrame(
        _complete(statistics["spectrum"]),
        schema={"period": pl.Float64(), "share": pl.Float64()},
        orient="row",
    ).with_columns(pl.col("share") * 100)
    lags = pl.DataFrame(
        [row for row in statistics["autocorrelation"] or [] if row[1] is not None],
        schema={"lag": pl.Int64(), "r": pl.Float64(), "low": pl.Float64(), "high": pl.Float64()},
        orient="row",
    ).with_columns(
        pl.when(pl.col("r") < pl.col("low"))
        .then(pl.lit("below the band"))
        .when(pl.col("r") > pl.col("high"))
        .then(pl.lit("above the band"))
        .otherwise(pl.lit("inside"))
        .alias("side")
    )
    if shares.is_empty() and lags.is_empty():
        st.info("Too few cycles, or a value that never changes: there is no rhythm to look for.")
        return
    left, right = st.columns(2)
    if not shares.is_empty():
        with left:
            st.caption(
                "**Which period?** How the variance divides over periods, without the trend. A bar"
                " at two cycles far above the dashed line, which is what pure noise shows, means"
                " that good and bad cycles alternate."
            )
            st.vega_lite_chart(oscillation_charts.spectrum(shares))
    if not lags.is_empty():
        with right:
            st.caption(
                "**More than chance?** Correlation of each cycle with the one so many cycles"
                " earlier. Nine of ten shuffled series lie within the grey band; lag 1 below it is"
                " the mark of oscillation."
            )
            st.vega_lite_chart(oscillation_charts.autocorrelation(lags))
    unfold("These figures as tables", lambda: _rhythm_tables(shares, lags), key="rhythm")


def _rhythm_tables(shares: pl.DataFrame, lags: pl.DataFrame) -> None:
    named = {
        "lag": "Lag, cycles",
        "r": "Correlation",
        "low": "Band from",
        "high": "Band to",
        "side": "Where",
    }
    left, right = st.columns(2)
    with left:
        _table(shares.rename({"period": "Period, cycles", "share": "Share of variance, %"}))
    with right:
        _table(lags.rename(named))


def _complete(rows: Sequence[Sequence[Any]] | None) -> list[Sequence[Any]]:
    return [row for row in rows or [] if None not in row]


def moves_with(statistics: Mapping[str, Any]) -> None:
    """The mechanism panel."""
    panel = pl.DataFrame(
        _complete(statistics["mechanism"]),
        schema={"measure": pl.String(), "r": pl.Float64(), "n": pl.Int64()},
        orient="row",
    ).with_columns(pl.col("measure").replace(MOVES_WITH))
    if panel.is_empty():
        st.info("Nothing was measured beside the value in enough cycles to compare it with.")
        return
    st.caption(
        "Correlation of the value with what was measured beside it, over the cycles. A mark to"
        " follow, not a proof of a cause; “value of the cycle before” far to the left is the"
        " oscillation itself."
    )
    ordered = panel.sort(pl.col("r").abs(), descending=True)
    st.vega_lite_chart(oscillation_charts.mechanism(ordered))
    named = {"measure": "Measure", "r": "Correlation", "n": "Cycles"}
    unfold("These figures as a table", lambda: _table(ordered.rename(named)), key="moves")


def beside(cycles: pl.DataFrame, panels: Sequence[Panel]) -> None:
    """One group of what was measured beside the value, as small charts."""
    for column, panel in zip(st.columns(COLUMNS), panels, strict=False):
        with column:
            st.caption(f"**{panel.title}.** {panel.tells}")
            st.vega_lite_chart(_drawn(panel, cycles))
    unfold("These figures as tables", lambda: _tables_beside(cycles, panels), key=panels[0].group)


def _tables_beside(cycles: pl.DataFrame, panels: Sequence[Panel]) -> None:
    for panel in panels:
        st.markdown(f"**{panel.title}**, {panel.unit}")
        _table(_scaled(cycles, panel.measured(cycles), panel.scale))


def _drawn(panel: Panel, cycles: pl.DataFrame) -> dict[str, Any]:
    return oscillation_charts.measured(
        cycles,
        panel.measured(cycles),
        unit=panel.unit,
        scale=panel.scale,
        logarithmic=panel.logarithmic,
    )


def everyone(found: Sequence[Mapping[str, Any]], unit: Unit) -> None:
    """All series of the domain side by side, the most serious first."""
    st.subheader("All series of this domain")
    st.caption(
        "“Deployed” is the traffic as it ran; a candidate's series is what it would have earned in"
        f" each cycle, whether or not it was promoted. Swing in {unit.points}, period in cycles;"
        " “by chance” is where nine of ten series without rhythm lie, p is corrected for all"
        " series (Holm)."
    )
    titles = ("Series", "Verdict", "Cycles", "Swing", "Lag-1", "By chance", "p", "Period")
    lines = [titles, ["---", "---", *["---:"] * (len(titles) - 2)]]
    lines += [_compared(row, json.loads(row["statistics"]), unit) for row in found]
    st.markdown("\n".join(f"| {' | '.join(line)} |" for line in lines))


def _compared(row: Mapping[str, Any], statistics: Mapping[str, Any], unit: Unit) -> list[str]:
    """One series as the cells of a line; short, so that all of them are in view."""
    color, icon = glance.BADGES[glance.VERDICTS[row["verdict"]]]
    before = row["previous"]
    null = (
        "–"
        if statistics["r1_null_low"] is None
        else f"{statistics['r1_null_low']:+.2f} to {statistics['r1_null_high']:+.2f}"
    )
    return [
        quoted(row["series"]),
        f":{color}[{icon} {row['verdict']}]"
        + ("" if before in (None, row["verdict"]) else f" (was {before})"),
        str(row["cycles"]),
        _number(statistics["swing"], ".2f", unit.scale),
        _number(statistics["r1"], "+.2f"),
        null,
        _number(statistics["p_holm"], ".4f"),
        _number(statistics["period"], ".3g"),
    ]


def _scaled(cycles: pl.DataFrame, names: Mapping[str, str], scale: float) -> pl.DataFrame:
    return cycles.select(
        pl.col("cycle").alias("Cycle"),
        pl.col("cutoff").dt.replace_time_zone(None).alias("Cut-off (UTC)"),
        *((pl.col(name) * scale).alias(called) for name, called in names.items()),
    )


def _table(rows: pl.DataFrame) -> None:
    st.dataframe(rows, hide_index=True)


shown("oscillation", page)
