"""Is what is stored what was sealed, and who changed what?"""

import io
import json
import zipfile
from collections.abc import Callable
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import choice
import polars as pl
import queries
import states
import streamlit as st
import tables
from details import unfold
from pressing import pressed
from quoting import quoted

from decisions.settings import required_database_url, settings
from decisions.store import audit
from decisions.store.database import Database

if TYPE_CHECKING:
    from collections.abc import Generator

    from decisions.store.seals import Seal

TIME = "%-d %b %Y %H:%M:%S UTC"
ROWS_A_PRESS = 2_000_000  # rows that a press of "Verify now" reads; more take a command
ROWS_A_DOWNLOAD = 200_000  # rows that a page packs; more take a command
SOME_SEALS = 100
LATELY = 8  # changes of champion that are told at once
MOST_REASONS = 20


def page() -> None:
    summary = queries.read("seal/summary")
    if summary.is_empty():
        states.empty(
            "Nothing is sealed yet: the ledger is empty. Run `make run` (or `decisions run`), and"
            " every batch that is stored gets its seal."
        )
        return
    newest = queries.read("seal/newest", count=20)
    chain(summary, newest)
    promotions()
    quarantine()
    unfold("Which code made it?", versions, key="versions")


def chain(summary: pl.DataFrame, newest: pl.DataFrame) -> None:
    """How much is sealed, and the head of the chain."""
    head = newest.row(0, named=True)
    columns = st.columns(4)
    columns[0].metric("Seals", f"{head['number']:,}")
    columns[1].metric("Rows sealed", f"{summary['rows'].sum():,}")
    columns[2].metric("Last sealed for", f"{summary['last_sealed_at'].max():%Y-%m-%d}")
    columns[3].metric("Head of the chain", head["digest"][:8], help=f"SHA-256 {head['digest']}")
    st.caption(
        f"The head is seal {head['number']}, SHA-256 `{head['digest']}`. A superuser can rewrite"
        " rows and chain alike; what nobody can rewrite is a head that is kept elsewhere. The"
        " database does not know where it was anchored: `decisions audit anchor FILE` writes it,"
        " and a file given below is checked against the chain."
    )
    unfold(
        "Verify: is what is stored what was sealed?",
        lambda: verification(summary, newest),
        key="verification",
    )
    asked = st.query_params
    unfold(
        "Take evidence elsewhere",
        lambda: export(summary),
        key="export",
        opened="since" in asked or "until" in asked,
    )
    unfold(
        "Seals by domain and kind, and the newest links of the chain",
        lambda: seals(summary, newest),
        key="seals",
    )


def seals(summary: pl.DataFrame, newest: pl.DataFrame) -> None:
    """How much each domain has sealed, and the newest seals."""
    st.dataframe(
        summary.select(
            pl.col("domain").alias("Domain"),
            pl.col("kind").alias("Kind"),
            pl.col("seals").alias("Seals"),
            pl.col("rows").alias("Rows"),
            _naive("first_sealed_at", "First sealed (UTC)"),
            _naive("last_sealed_at", "Last sealed (UTC)"),
        ),
        hide_index=True,
        height="content",
    )
    st.dataframe(
        newest.select(
            pl.col("number").alias("Seal"),
            pl.col("domain").alias("Domain"),
            pl.col("kind").alias("Kind"),
            pl.col("batch").alias("Batch"),
            pl.col("row_count").alias("Rows"),
            _naive("sealed_at", "Sealed (UTC)"),
            pl.col("digest").alias("SHA-256"),
        ),
        hide_index=True,
    )


def _naive(column: str, title: str) -> pl.Expr:
    return pl.col(column).dt.strftime("%Y-%m-%d %H:%M").alias(title)


def verification(summary: pl.DataFrame, newest: pl.DataFrame) -> None:
    """The button that recomputes seals, and what came of its last press."""
    rows, seals = int(summary["rows"].sum()), int(newest["number"][0])
    everything, some = f"All {seals:,} seals", f"The newest {SOME_SEALS} seals"
    choices = [everything, some] if seals > SOME_SEALS else [everything]
    if rows > ROWS_A_PRESS:
        choices.remove(everything)
        st.info(
            f"All {rows:,} rows take minutes to read, so a page does not. This does, at a terminal"
            " or as a scheduled task:"
        )
    st.caption(
        "Recomputes each seal from the stored rows and its link to the seal before, and names the"
        " first row that was edited, added, removed or reordered. With all seals, also every"
        " policy's bytes and every count of decisions."
    )
    st.code("decisions audit verify --anchor FILE", language="shell")
    if not choices:
        return
    chosen = st.radio("What to check", choices, horizontal=True)
    given = st.file_uploader(
        "An anchor (a file of `decisions audit anchor`): the chain must contain the head it names",
        type="json",
    )
    if pressed("Verify now", key="verify", icon=":material/verified_user:", primary=True):
        anchor = None if given is None else given.getvalue()
        st.session_state["verified"] = _verified(chosen == everything, seals, anchor)
    if "verified" in st.session_state:
        _verdict(st.session_state["verified"])


def _database() -> Database:
    return Database(required_database_url(settings()))


def _verified(everything: bool, seals: int, anchor: bytes | None) -> audit.Audit:
    db = _database()
    scope = audit.ALL if everything else audit.newest(db, SOME_SEALS)
    with _progress("Checking", seals - scope.after) as progress, TemporaryDirectory() as scratch:
        file = None
        if anchor is not None:
            file = Path(scratch) / "anchor.json"
            file.write_bytes(anchor)
        return audit.verify(db, anchor=file, scope=scope, progress=progress)


@contextmanager
def _progress(what: str, seals: int) -> "Generator[Callable[[Seal], None]]":
    """A bar that counts the seals told to it."""
    bar, done = st.progress(0.0, text=f"{what} {seals:,} seals"), 0

    def told(seal: "Seal") -> None:
        nonlocal done
        done += 1
        bar.progress(
            min(done / max(seals, 1), 1.0), text=f"{what} seal {seal.number}: {seal.kind}"
        )

    yield told
    bar.empty()


def _verdict(found: audit.Audit) -> None:
    if found.broken is not None:
        st.error(
            f"**Broken** at {quoted(found.broken)}. Nothing below is to be trusted before this is"
            " understood: keep a copy of the database, and compare with an export or a backup.",
            icon=":material/gpp_bad:",
        )
        return
    seals = found.head.number - found.scope.after
    part = "" if found.scope.whole else " The seals before them were not checked."
    st.success(
        f"Intact: {seals:,} seals over {found.rows:,} rows, up to seal {found.head.number}"
        f" (`{found.head.digest.hex()}`).{part}",
        icon=":material/verified_user:",
    )


def export(summary: pl.DataFrame) -> None:
    """Evidence of a domain and a span as a file, or the command that writes it."""
    st.caption(
        "Rows as Parquet, policies, and the part of the chain that seals them: `decisions audit"
        " verify-export FOLDER` checks it on any machine, without this database."
    )
    names = summary["domain"].unique(maintain_order=True).to_list()
    columns = st.columns(3)
    with columns[0]:
        domain = choice.domain(names)
    with columns[1]:
        since = choice.day("since", "Sealed from (UTC)")
    with columns[2]:
        until = choice.day("until", "Sealed until (UTC)")
    begin = None if since is None else datetime(since.year, since.month, since.day, tzinfo=UTC)
    end = None
    if until is not None:
        end = datetime(until.year, until.month, until.day, tzinfo=UTC) + timedelta(days=1)
    size = queries.read("seal/size", domain=domain, since=begin, until=end).row(0, named=True)
    if size["rows"] == 0:
        st.info(f"Nothing of {quoted(domain)} was sealed in that span: choose other days.")
        return
    command = ["decisions audit export FOLDER", f"--domain {domain}"]
    command += [] if begin is None else [f"--since {begin:%Y-%m-%d}"]
    command += [] if end is None else [f"--until {end:%Y-%m-%d}"]
    st.code(" ".join(command), language="shell")
    if size["rows"] > ROWS_A_DOWNLOAD:
        st.info(
            f"{size['rows']:,} rows are too many for a download: run the command, or choose fewer"
            " days."
        )
        return
    st.markdown(f"{size['seals']:,} seals over {size['rows']:,} rows.")
    key = f"evidence {domain} {begin} {end}"
    if pressed("Pack the evidence", key="pack", icon=":material/inventory_2:"):
        st.session_state[key] = _packed(domain, begin, end)
    if key in st.session_state:
        st.download_button(
            "Download the evidence",
            st.session_state[key],
            file_name=f"evidence-{domain}.zip",
            mime="application/zip",
            icon=":material/download:",
        )


def _packed(domain: str, since: datetime | None, until: datetime | None) -> bytes:
    """An export as one file."""
    db = _database()
    scope = audit.section(db, domain=domain, since=since, until=until)
    with TemporaryDirectory() as scratch:
        folder = Path(scratch) / "evidence"
        with _progress("Packing", (scope.last or 0) - scope.after) as progress:
            audit.export(db, folder, scope=scope, progress=progress)
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(folder.rglob("*")):
                archive.write(path, path.relative_to(folder.parent))
        return packed.getvalue()


def promotions() -> None:
    """The last changes of champion, as they were written down, and the way to all of them."""
    st.subheader("Who promoted what, when and why?")
    st.caption(
        "Every change of champion in every domain, the last written first. “From” is the time it"
        " counts from, “sealed” that of the record. One promoted against the gate's verdict was"
        " promoted by hand."
    )
    rows = queries.read("promotion/recorded").select(
        pl.col("domain").alias("Domain"),
        pl.format("{}: {}", "number", "policy").alias("Generation"),
        pl.when(pl.col("promoted_by") == "begin")
        .then(pl.lit("the beginning"))
        .otherwise(pl.col("promoted_at").dt.strftime("%Y-%m-%d %H:%M"))
        .alias("From (UTC)"),
        pl.col("promoted_by").alias("By"),
        pl.col("reason").alias("Why"),
        pl.col("verdict").fill_null("none").alias("Gate's verdict"),
        pl.col("code_version").alias("Code"),
        pl.col("seal").alias("Seal"),
        _naive("sealed_at", "Sealed (UTC)"),
    )
    tables.text(rows.drop("Code").head(LATELY), whole=("From (UTC)", "Sealed (UTC)"))
    unfold(
        f"All {rows.height:,} changes of champion, with the code that made them",
        lambda: _grid(rows, wide="Why"),
        key="promotions",
    )


def _grid(rows: pl.DataFrame, *, wide: str) -> None:
    st.dataframe(
        rows,
        hide_index=True,
        column_config={wide: st.column_config.TextColumn(width="large")},
    )


def versions() -> None:
    """Which code planned which generations."""
    st.caption(
        "A version is that of the package and a digest of its source, so that an edited file is"
        " another version."
    )
    st.dataframe(
        queries.read("generation/code_versions").select(
            pl.col("domain").alias("Domain"),
            pl.col("code_version").alias("Code"),
            pl.col("generations").alias("Generations"),
            pl.format("{} to {}", "first_number", "last_number").alias("Numbers"),
            _naive("first_planned_at", "First planned (UTC)"),
            _naive("last_planned_at", "Last planned (UTC)"),
        ),
        hide_index=True,
    )


def quarantine() -> None:
    """What was set aside, by reason, and the newest rows of it."""
    st.subheader("What was set aside, and why?")
    reasons = queries.read("quarantine/reasons")
    if reasons.is_empty():
        st.info("Nothing: every row that came in kept the rules.")
        return
    st.caption(
        "Rows that broke a rule are kept as text with the rule, under a seal, and are no part of"
        " the log. Mend them at their source: they come again with the next run."
    )
    rows = reasons.select(
        pl.col("domain").alias("Domain"),
        pl.col("kind").alias("Kind"),
        pl.col("reason").alias("Reason"),
        pl.col("rows").alias("Rows"),
        _naive("first_quarantined_at", "First (UTC)"),
        _naive("last_quarantined_at", "Last (UTC)"),
    )
    tables.text(rows.head(MOST_REASONS), whole=("First (UTC)", "Last (UTC)"))
    if rows.height > MOST_REASONS:
        unfold(f"All {rows.height:,} reasons", lambda: _grid(rows, wide="Reason"), key="reasons")
    unfold("The newest of these rows", newest_quarantined, key="quarantined")


def newest_quarantined() -> None:
    """The last rows that were set aside, as they came."""
    for row in queries.read("quarantine/newest", count=10).iter_rows(named=True):
        st.markdown(
            f"{row['kind']} of {quoted(row['domain'])}, set aside"
            f" {row['quarantined_at'].strftime(TIME)} in seal {row['seal']}:"
            f" {quoted(row['reason'])}"
        )
        st.json(_readable(row["content"]), expanded=False)


def _readable(content: str) -> object:
    try:
        return json.loads(content)
    except ValueError:
        return {"text": content}


states.shown("audit", page)
