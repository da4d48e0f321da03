"""One decision, opened: what was known, what could be done, what was drawn, and who decided."""

import json
import math
from datetime import datetime, timedelta
from typing import Any

import actions
import decision_charts
import lineage
import polars as pl
import provenance
import queries
import sign_in
import streamlit as st
from quoting import code, quoted
from units import Unit, plans, unit_of

Row = dict[str, Any]
TIME = "%-d %b %Y %H:%M:%S UTC"


def show(domain: str, row: Row) -> None:
    """The whole of a row of `decision/opened`; `replay.show` follows it on the page."""
    unit = unit_of(domain)
    described = queries.read("generation/described", domain=domain)
    policy = _policy(described, row["generation"])
    st.subheader(f"Decision {row['decision_id']}")
    st.markdown(_summary(domain, row, policy, unit))
    _plan(domain, row)
    left, right = st.columns([2, 3])
    with left:
        _context(row)
    with right:
        _stack(domain, row, described)
    _options(domain, row, unit)
    _draw(domain, row)
    st.subheader("Where it is written, and by which run")
    _lineage(domain, row)


def _policy(described: pl.DataFrame, number: int) -> str:
    return str(described.filter(pl.col("number") == number)["policy"][0])


def _summary(domain: str, row: Row, policy: str, unit: Unit) -> str:
    action = actions.name(domain, row["action"])
    meaning = actions.meaning(domain, int(row["action"][0])) if row["eligible"] else ""
    said = f"**{action}**" + (f" ({meaning})" if meaning else "")
    # A nominal action may be a whole plan: it begins with what would have been done now.
    nominal = actions.name(domain, row["nominal"][: len(row["action"])])
    without = {
        "not told": "what it would have done without exploring was not told",
        action: "it would have done the same without exploring",
    }.get(nominal, f"without exploring it would have been {nominal}")
    chance = (
        f"with probability {100 * row['propensity']:.3g} %"
        if row["eligible"] or row["propensity"] <= 1
        else f"with probability density {row['propensity']:.4g}"
    )
    follows = (
        ""
        if row["parent_id"] is None
        else f" It follows up decision `{row['parent_id']}`: search for that number to open it."
    )
    return (
        f"About unit **{quoted(row['reference'])}**, which arrived"
        f" {row['observed_at'].strftime(TIME)}. On {row['decided_at'].strftime(TIME)} generation"
        f" {row['generation']} ({quoted(policy)}) chose {said}, in the arm"
        f" “{quoted(row['arm'])}”, {chance}; {without}.{follows}"
        f"\n\n{_outcome(row, unit)}"
    )


def _outcome(row: Row, unit: Unit) -> str:
    if row["reward"] is None:
        return "**Outcome: not known yet.**"
    later = _duration(row["reward_at"] - row["decided_at"])
    first = row["first_reward"]
    return (
        f"**Outcome: reward {row['reward']:g}** ({unit.reward}), known {later} after the decision."
        + ("" if first is None else f" It corrects the first outcome, {first:g}; both are stored.")
    )


def _duration(length: timedelta) -> str:
    seconds = length.total_seconds()
    for size, name in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {name}"
    return "at once" if seconds == 0 else f"{seconds:.0f} s"


def _context(row: Row) -> None:
    st.markdown("##### What was known")
    st.caption("The unit as it came from its source; the policy reads no more than this.")
    payload = json.loads(row["payload"])
    st.dataframe(
        pl.DataFrame(
            {
                "Field": [name.replace("_", " ") for name in payload],
                "Value": [_plain(value) for value in payload.values()],
            }
        ),
        hide_index=True,
        height="content",
    )


def _plan(domain: str, row: Row) -> None:
    """The way to the plan that a decision is part of."""
    payload = json.loads(row["payload"])
    if plans(domain) and "plant" in payload:
        plant = str(payload["plant"])
        sign_in.link("plan", f"The plan of {plant}", domain=domain, plant=plant)


def _plain(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, list):
        return ", ".join(_plain(each) for each in value) or "none"
    return (
        f"{value:g}"
        if isinstance(value, float)
        else str(value).replace("True", "yes").replace("False", "no")
    )


def _stack(domain: str, row: Row, described: pl.DataFrame) -> None:
    st.markdown("##### Who decided")
    st.caption(
        "The generation that decided, then the one it was compared with before it became"
        " champion, and so on: when each became champion, who promoted it, and why."
    )
    promotions = queries.promotions().filter(
        (pl.col("domain") == domain) & (pl.col("promoted_at") <= row["decided_at"])
    )
    st.dataframe(
        pl.DataFrame(_reigns(described, promotions, row["generation"])),
        hide_index=True,
        column_config={"Why": st.column_config.TextColumn(width="medium")},
    )
    sign_in.link(
        "generations",
        f"Generation {row['generation']} and its verdict",
        domain=domain,
        generation=str(row["generation"]),
    )


def _reigns(described: pl.DataFrame, promotions: pl.DataFrame, number: int | None) -> list[Row]:
    """The generation and its ancestors, each with its last promotion before the decision."""
    rows: list[Row] = []
    by_number = {row["number"]: row for row in described.iter_rows(named=True)}
    while number is not None and len(rows) < 5:
        known = by_number[number]
        reign = promotions.filter(pl.col("number") == number).tail(1).to_dicts()
        last = reign[0] if reign else None
        rows.append(
            {
                "Generation": f"{number}: {known['policy']}",
                "Data until": _day(known["cutoff"]),
                "Champion from": _since(last) if last else "was not",
                "Promoted by": last["promoted_by"] if last else "",
                "Why": last["reason"] if last else "",
            }
        )
        number = known["parent"]
    return rows


def _since(promotion: Row) -> str:
    begun = promotion["promoted_by"] == "begin"
    return "the beginning" if begun else _day(promotion["promoted_at"])


def _day(time: datetime) -> str:
    return time.strftime("%Y-%m-%d %H:%M")


def _options(domain: str, row: Row, unit: Unit) -> None:
    st.markdown("##### What could be done")
    table = actions.by_place(domain, row["action"])
    if table is not None:
        st.caption("Decided for all places at once; nothing is left to chance.")
        st.dataframe(
            table.rename({name: name[:1].upper() + name[1:] for name in table.columns}),
            hide_index=True,
            height="content",
        )
        return
    if not row["eligible"]:
        st.info(
            "The actions are a range of numbers, not a list: there is one density and no table of"
            " propensities."
            if actions.are_vectors(domain)
            else "Whoever took this decision kept the chance of the action taken and no other."
        )
        return
    options = _table(domain, row, unit)
    drawn, rest = actions.name(domain, row["action"]), options.height
    st.caption(
        f"The {rest} actions that were eligible, by number. A propensity is the chance of the"
        " action over everything random, the arm included; all of them add up to 100 %."
        f" “{drawn}” was drawn."
    )
    if options["score"].null_count() < options.height:
        left, right = st.columns(2)
        with left:
            st.vega_lite_chart(
                decision_charts.scores(options, reward=unit.reward, symbol=unit.symbol)
            )
        with right:
            st.vega_lite_chart(decision_charts.propensities(options, symbol=unit.symbol))
    else:
        st.vega_lite_chart(decision_charts.propensities(options, symbol=unit.symbol))
    st.dataframe(
        options.select(
            pl.col("number").alias("Number"),
            pl.col("action").alias("Action"),
            pl.col("meaning").alias("What it does"),
            pl.col("score").alias(f"Score, {unit.symbol}"),
            pl.col("share").alias("Propensity, %"),
            pl.col("role").replace("other", "").alias("Note"),
        ),
        hide_index=True,
        height="content",
        column_config={
            "What it does": st.column_config.TextColumn(width="large"),
            f"Score, {unit.symbol}": st.column_config.NumberColumn(format="%.3f"),
            "Propensity, %": st.column_config.NumberColumn(format="%.4f"),
        },
    )


def _table(domain: str, row: Row, unit: Unit) -> pl.DataFrame:
    """The eligible actions with names, scores and propensities in per cent."""
    scores = [each * unit.scale for each in row["scores"]] or [None] * len(row["eligible"])
    drawn = int(row["action"][0])
    return pl.DataFrame(
        [
            {
                "number": number,
                "action": actions.name(domain, [float(number)]),
                "meaning": actions.meaning(domain, number),
                "score": score,
                "share": 100 * share,
                "role": "drawn"
                if number == drawn
                else "without exploring"
                if [float(number)] == row["nominal"]
                else "other",
            }
            for number, score, share in zip(
                row["eligible"], scores, row["probabilities"], strict=True
            )
        ],
        schema_overrides={"score": pl.Float64()},
    )


def _draw(domain: str, row: Row) -> None:
    st.markdown("##### The draw")
    if math.isnan(row["uniform"]):
        st.info("The number it was drawn with was not kept: others took this decision.")
        return
    number = f"The number drawn was {row['uniform']:.6f}"
    if row["eligible"] and row["arm_propensity"] == row["propensity"]:
        strip(domain, row, row["probabilities"], f"{number}: the action it falls on was taken.")
    elif row["arm_propensity"] == 1:
        st.markdown(
            f"The unit fell into the arm “{quoted(row['arm'])}”, where nothing is left to chance:"
            f" it takes this action. ({number}, which changes nothing there.)"
        )
    else:
        st.markdown(
            f"The unit fell into the arm “{quoted(row['arm'])}”, and there the action had the"
            f" chance {100 * row['arm_propensity']:.3g} %. {number}. The chances within an arm are"
            " not kept, for they follow from the policy: “Replay now” computes them again and"
            " shows where the number fell."
        )


def strip(domain: str, row: Row, shares: list[float], words: str) -> None:
    """Where the number drawn fell among the actions' `shares` of the arm."""
    st.caption(
        f"{words} Each action holds an interval as long as its chance in the arm"
        f" “{quoted(row['arm'])}”, in the order of their numbers."
    )
    high = pl.Series(shares).cum_sum()
    drawn = int(row["action"][0])
    frame = pl.DataFrame(
        {
            "action": [actions.name(domain, [float(each)]) for each in row["eligible"]],
            "low": high - pl.Series(shares),
            "high": high,
            "role": ["drawn" if each == drawn else "other" for each in row["eligible"]],
        }
    ).filter(pl.col("high") > pl.col("low"))
    st.vega_lite_chart(decision_charts.draw(frame, uniform=row["uniform"]))


def _lineage(domain: str, row: Row) -> None:
    described = queries.read("generation/described", domain=domain)
    planned = described.row(by_predicate=pl.col("number") == row["generation"], named=True)
    trained = (
        "it was not trained"
        if planned["row_count"] in (None, 0)
        else lineage.trained_by(domain, planned["cutoff"], provenance.details_of(planned))
    )
    st.markdown(
        f"- Decided by {lineage.decided_by(domain, row['batch'])}\n"
        f"- Policy: generation {row['generation']}, {trained};"
        f" artefact SHA-256 {code(planned['digest'])}, code {quoted(planned['code_version'])},"
        f" seed {planned['seed']}\n"
        f"- MLflow: {lineage.tracked(domain, row['generation'])}\n"
        f"- Sealed in seal {row['seal']} (batch {code(row['batch'])}) on"
        f" {row['sealed_at'].strftime(TIME)}, digest {code(row['seal_digest'])}"
    )
