"""One generation, opened, and what differs between two."""

import choice
import lineage
import polars as pl
import provenance
import queries
import sign_in
import streamlit as st
import tables
import verdicts
from provenance import DATE
from quoting import quoted
from units import Unit


def one(domain: str, promotions: pl.DataFrame, unit: Unit) -> None:
    """The chosen generation: the gate's rules in full, its reigns, where it came from."""
    described = queries.read("generation/described", domain=domain)
    numbers: list[int] = described["number"].reverse().to_list()
    titles: dict[int, str] = dict(
        described.select("number", name=pl.format("{}: {}", "number", "policy")).iter_rows()
    )
    number = choice.generation(numbers, titles)
    row = described.row(by_predicate=pl.col("number") == number, named=True)
    verdict(row, unit)
    if fallback := provenance.details_of(row).get("fallback"):
        st.warning(f"It learned nothing, and takes every action alike: {quoted(fallback)}.")
    ruled = promotions.filter(pl.col("number") == number)
    for reign in ruled.iter_rows(named=True):
        st.markdown(
            f"Champion from the beginning: {quoted(reign['reason'])}."
            if reign["promoted_by"] == "begin"
            else f"Champion from {reign['promoted_at'].strftime(DATE)}, promoted by"
            f" {quoted(reign['promoted_by'])}: {quoted(reign['reason'])}."
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
    note = f": {quoted(row['note'])}" if row["note"] else ""
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
    tables.text(
        verdicts.rules(row["reasons"], unit).select(
            pl.when("kept").then(pl.lit("✓ kept")).otherwise(pl.lit("✗ not kept")).alias("Kept"),
            pl.col("title").alias("Rule"),
            pl.col("measured").alias("Measured"),
            pl.col("allowed").alias("Allowed"),
            pl.col("tells").alias("What it tells"),
        ),
        whole=("Kept",),
    )


def compare(domain: str, unit: Unit) -> None:
    """What differs between two generations; `?compare=a,b` in the address."""
    described = queries.read("generation/described", domain=domain)
    st.caption(
        "Everything that is recorded of two generations: recipe, data, code, seeds, configuration,"
        " artefact, verdict and evaluation."
    )
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
    tables.text(
        both.with_columns(pl.when("Same").then(pl.lit("=")).otherwise(pl.lit("≠")).alias("Same"))
    )
