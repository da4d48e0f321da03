"""What would a policy that never ran have earned, and do the logs support it?"""

import json
import math

import choice
import off_policy_charts
import polars as pl
import provenance
import queries
import sign_in
import states
import streamlit as st
import tables
import verdicts
from details import unfold
from provenance import DATE
from quoting import quoted
from units import Unit, plans, unit_of

ESTIMATORS = {
    "DR": "The reward model's prediction, corrected by the weighted errors it made on the log:"
    " right where either the model or the propensities are.",
    "SNDR": "DR with the weights divided by their sum.",
    "SNIPS": "IPS divided by the sum of its weights: a little bias, much less noise.",
    "IPS": "Each logged reward counts as often as the policy would have taken its action: no bias"
    " where propensities are right, and the most noise.",
    "loss-form IPS": "IPS of what was lost rather than earned: less noise where most is earned.",
    "clipped IPS": "IPS with its largest weights cut: less noise, some bias.",
    "Switch-DR": "DR where weights are small, the model alone where they are large.",
    "DRos": "DR with weights shrunk as far as the data advise.",
    "DM": "The reward model's prediction alone: no noise of weights, all of the model's bias.",
}
IDLE = "idle"
BIASED = ("DM", "Switch-DR", "DRos", "clipped IPS")
WEIGHTS = {
    "weight_median": "half of the log is below",
    "weight_90_percent": "90 % of the log is below",
    "weight_99_percent": "99 % of the log is below",
    "max_weight": "the largest",
}


def page() -> None:
    timeline = queries.timeline()
    evaluated = timeline.filter(pl.col("champion").is_not_null())
    if evaluated.is_empty():
        states.empty(
            "No generation has been evaluated yet. Run `make run` (or `decisions run`): the first"
            " estimates appear a minute or two after it starts."
        )
        return
    domain = choice.domain(evaluated["domain"].unique(maintain_order=True).to_list())
    unit = unit_of(domain)
    mine = evaluated.filter(pl.col("domain") == domain).reverse()
    titles: dict[int, str] = dict(
        mine.select(
            "number", title=pl.format("{}: {} against {}", "number", "policy", "champion")
        ).iter_rows()
    )
    number = choice.generation(mine["number"].to_list(), titles, label="Candidate")
    evaluation = queries.read("evaluation/of_generation", domain=domain, number=number)
    verdict = queries.read("verdict/of_generation", domain=domain, number=number)
    if simulated(evaluation):
        from_simulation(domain, number, evaluation, verdict, unit)
        return
    headline(domain, number, evaluation, unit)
    if not refused(evaluation):
        estimates(evaluation, verdict, unit)
    support(evaluation, verdict, unit)


def simulated(evaluation: pl.DataFrame) -> bool:
    """Whether the answer came from running both policies in a simulator, not from a log."""
    main = evaluation.filter(pl.col("role") == "difference").row(0, named=True)
    return str(main["method"]).startswith("paired over episodes")


def from_simulation(
    domain: str, number: int, evaluation: pl.DataFrame, verdict: pl.DataFrame, unit: Unit
) -> None:
    """What a simulator said of a candidate: no log, so no weights and no support to show."""
    main = evaluation.filter(pl.col("role") == "difference").row(0, named=True)
    st.markdown(
        f"No log was asked: generation {number} and generation {evaluation['champion'][0]}, the"
        f" champion of its time, each ran the same {main['n']:,} simulated episodes. Candidate"
        f" minus champion: **{provenance.interval(main, unit)}** ({100 * main['level']:.4g} %"
        f" interval); evaluated {evaluation['evaluated_at'][0].strftime(DATE)}."
    )
    with st.container(horizontal=True):
        sign_in.link(
            "generations", "Its verdict and lineage", domain=domain, generation=str(number)
        )
        if plans(domain):
            sign_in.link("plan", "Its learning curve and gap to the bound", domain=domain)
    st.subheader("What would each earn?")
    idle = evaluation.filter(pl.col("name") == IDLE)["value"]
    st.caption(
        f"{unit.reward[:1].upper()}{unit.reward[1:]} in {unit.symbol}; more is better."
        + (f" Doing nothing earns {unit.value(idle[0])}, off this scale." if idle.len() else "")
    )
    rows = (
        evaluation.filter(
            pl.col("role").is_in(["candidate", "champion", "estimate"]),
            pl.col("lower").is_finite(),
            pl.col("name") != IDLE,
        )
        .with_columns(
            pl.when(pl.col("name") == "").then("role").otherwise("name").alias("name"),
            pl.when(pl.col("role") == "estimate")
            .then(pl.lit("baseline"))
            .otherwise("role")
            .alias("whose"),
            pl.col("value", "lower", "upper") * unit.scale,
        )
        .sort("value", descending=True)
    )
    if rows.height:
        st.vega_lite_chart(off_policy_charts.intervals(rows, title=f"Value, {unit.symbol}"))
    st.subheader("What else was checked?")
    checked(evaluation, verdict, unit)


def headline(domain: str, number: int, evaluation: pl.DataFrame, unit: Unit) -> None:
    """Who is compared with whom on what, and the answer that the gate reads."""
    rows = {row["role"]: row for row in evaluation.iter_rows(named=True) if not row["name"]}
    checks = checks_of(evaluation)
    champion, difference = evaluation["champion"][0], rows["difference"]
    st.markdown(
        f"Generation {number} against generation {champion}, the champion of its time, on"
        f" {difference['n']:,} held-out decisions, newer than those it was trained on; evaluated"
        f" {evaluation['evaluated_at'][0].strftime(DATE)}."
    )
    columns = st.columns(4)
    columns[0].metric(
        f"Difference, {unit.points}",
        "unknown" if refused(evaluation) else f"{difference['value'] * unit.scale:+.2f}",
        help="Candidate minus champion, by the estimator that the gate reads.",
    )
    columns[1].metric(
        "Effective sample size",
        _short("ess", checks, unit),
        help=verdicts.check("ess").tells,
    )
    columns[2].metric(
        "Share that informs",
        _short("ess_share", checks, unit),
        help=verdicts.check("ess_share").tells,
    )
    columns[3].metric(
        "Largest weight",
        _short("max_weight", checks, unit),
        help=verdicts.check("max_weight").tells,
    )
    if "refusal" in rows:
        st.warning(
            f"**The logs cannot answer.** {quoted(rows['refusal']['note'])}. No value is shown,"
            " the gate holds the candidate, and the champion stays. What helps: more exploration"
            " in the log, a longer holdout, or a candidate nearer to what was logged.",
            icon=":material/block:",
        )
    left, right = st.columns(2)
    with left:
        sign_in.link(
            "generations", "Its verdict and lineage", domain=domain, generation=str(number)
        )
    with right:
        sign_in.link("oscillation", "Estimates over the cycles", domain=domain)


def _short(name: str, checks: dict[str, float], unit: Unit) -> str:
    """A check as a figure has room for it."""
    return verdicts.measured(name, checks[name], unit) if name in checks else "unknown"


def refused(evaluation: pl.DataFrame) -> bool:
    """Whether the evaluation knows no value."""
    return "refusal" in evaluation["role"].to_list()


def checks_of(evaluation: pl.DataFrame) -> dict[str, float]:
    """The checks of an evaluation, by name."""
    return dict(evaluation.filter(pl.col("role") == "check").select("name", "value").iter_rows())


def estimates(evaluation: pl.DataFrame, verdict: pl.DataFrame, unit: Unit) -> None:
    """Every estimator of the difference and of both values, with the baselines."""
    main = evaluation.filter(pl.col("role") == "difference").row(0, named=True)
    primary, level = str(main["method"]).partition(",")[0], 100 * main["level"]
    read = quoted(primary)
    rows = scaled(evaluation, unit)
    differences = rows.filter(pl.col("of") == "difference").with_columns(
        whose=pl.when(pl.col("name") == primary)
        .then(pl.lit("the gate's"))
        .otherwise(pl.lit("further"))
    )
    values = rows.filter(pl.col("of") != "difference").with_columns(
        whose=pl.when(pl.col("name") == "logged")
        .then(pl.lit("the log itself"))
        .when(pl.col("of") == "")
        .then(pl.lit("baseline"))
        .otherwise("of")
    )
    limit = gate_limit(verdict) * unit.scale
    left, right = st.columns(2)
    with left:
        st.subheader("Does it earn more?")
        st.caption(
            f"Candidate minus champion in {unit.points}, by each estimator, with its {level:g} %"
            f" interval; the dashed line is the gate's limit. **The gate reads {read}.** Where"
            " several estimators agree, no single assumption carries the answer."
        )
        if differences.height:
            st.vega_lite_chart(
                off_policy_charts.intervals(
                    differences, title=f"Difference, {unit.points}", zero=limit
                )
            )
    with right:
        st.subheader("What would each earn?")
        st.caption(
            f"{unit.reward[:1].upper()}{unit.reward[1:]} in {unit.symbol}, of candidate and"
            f" champion by each estimator, of the baselines by {read}, and as it was logged."
        )
        if values.height:
            st.vega_lite_chart(off_policy_charts.intervals(values, title=f"Value, {unit.symbol}"))
    if set(BIASED) & set(rows["name"]):
        st.caption(
            "The intervals of DM, Switch-DR, DRos and clipped IPS do not know of their own bias: a"
            " narrow one is no stronger evidence."
        )
    unfold(
        "Every estimate in numbers, and what each estimator does",
        lambda: in_numbers(rows),
        key="numbers",
    )


def in_numbers(rows: pl.DataFrame) -> None:
    """What the charts draw, as a table."""
    st.dataframe(
        numbers(rows),
        hide_index=True,
        height="content",
        column_config={"What it does": st.column_config.TextColumn(width="large")},
    )


def scaled(evaluation: pl.DataFrame, unit: Unit) -> pl.DataFrame:
    """Further estimates with what they are `of` ("" for a baseline), in the domain's unit.

    Those without a finite interval are left out.
    """
    parts = pl.col("name").str.splitn(" ", 2)
    whose = parts.struct.field("field_0")
    several = whose.is_in(["candidate", "champion", "difference"]) & (
        parts.struct.field("field_1").is_in(list(ESTIMATORS))
    )
    order = {name: place for place, name in enumerate(ESTIMATORS)}
    return (
        evaluation.filter(pl.col("role") == "estimate", pl.col("lower").is_finite())
        .with_columns(
            of=pl.when(several).then(whose).otherwise(pl.lit("")),
            name=pl.when(several).then(parts.struct.field("field_1")).otherwise("name"),
        )
        .with_columns(pl.col("value", "lower", "upper") * unit.scale)
        .sort(
            pl.col("name").replace_strict(order, default=len(order), return_dtype=pl.Int64),
            "of",
            maintain_order=True,
        )
    )


def numbers(rows: pl.DataFrame) -> pl.DataFrame:
    """The table under the charts."""
    return rows.select(
        pl.when(pl.col("of") == "").then(pl.lit("baseline")).otherwise("of").alias("Of"),
        pl.col("name").alias("Estimator"),
        pl.col("value").round(3).alias("Value"),
        pl.col("lower").round(3).alias("From"),
        pl.col("upper").round(3).alias("To"),
        pl.col("effective_n").round(0).alias("Effective sample size"),
        pl.col("method").alias("Method"),
        pl.col("name")
        .replace_strict(ESTIMATORS, default="", return_dtype=pl.String)
        .alias("What it does"),
    )


def gate_limit(verdict: pl.DataFrame) -> float:
    """What the lower bound of the difference had to exceed; 0 before the verdict."""
    rules = json.loads(verdict["reasons"][0]) if verdict.height else []
    return next((float(rule["low"]) for rule in rules if rule["rule"] == verdicts.GAIN), 0.0)


def support(evaluation: pl.DataFrame, verdict: pl.DataFrame, unit: Unit) -> None:
    """How far the log carries: weights, and each check with the gate's limit."""
    st.subheader("How far does the log carry?")
    checks = checks_of(evaluation)
    heavy = pl.DataFrame(
        [
            {"share": words, "weight": checks[name]}
            for name, words in WEIGHTS.items()
            if checks.get(name, 0.0) > 0 and math.isfinite(checks[name])
        ],
        schema={"share": pl.String(), "weight": pl.Float64()},
    )
    checked(evaluation, verdict, unit)
    if heavy.height > 1:
        unfold("How heavy are the weights?", lambda: weights(heavy), key="weights")


def weights(heavy: pl.DataFrame) -> None:
    """How heavy a few rows of the log weigh."""
    st.caption(
        "How often the candidate would take a logged action, over how often it was taken. Few"
        " heavy rows carry an estimate where the largest is far beyond the rest; weights of zero,"
        " on actions it would never take, are not drawn."
    )
    st.vega_lite_chart(off_policy_charts.weights(heavy))


def checked(evaluation: pl.DataFrame, verdict: pl.DataFrame, unit: Unit) -> None:
    """Each check of an evaluation with the gate's limit."""
    checks = checks_of(evaluation)
    reasons = verdict["reasons"][0] if verdict.height else "[]"
    limits = {row["rule"]: row for row in verdicts.rules(reasons, unit).iter_rows(named=True)}
    known = [name for name in verdicts.CHECKS if name in checks]
    known += [name for name in checks if name not in verdicts.CHECKS]
    if not known:
        st.info("Nothing was checked in this evaluation.")
        return
    st.caption("Each check, what the gate allows where it has a limit, and what it tells.")
    tables.text(
        pl.DataFrame(
            [
                {
                    "Check": verdicts.check(name).title,
                    "Measured": verdicts.measured(name, checks[name], unit),
                    "Gate": _gate(limits.get(name)),
                    "What it tells": verdicts.check(name).tells,
                }
                for name in known
            ]
        ),
        whole=("Measured", "Gate"),
    )


def _gate(rule: provenance.Row | None) -> str:
    if rule is None:
        return "no limit"
    return f"{'✓' if rule['kept'] else '✗'} {rule['allowed']}"


states.shown("off_policy", page)
