"""Airflow DAGs for payments: decide at midnight, settle a little later, a new generation at two.

Triage notes
------------
A red run loses nothing: each step starts from what the database says is due, and the next run, or
"clear" on the failed task, does what is missing.

- **decide** red: `StoreError` means the database does not answer (it is retried for about a
  minute; then start it and clear the task). `DataError` names the column that the arriving
  transactions lack: see docs/transactions.md. Payments wait as pending units meanwhile.
- **settle** red: as decide. Outcomes arrive with the next run.
- **train** red for one candidate: the others are trained, none is judged, the champion stays.
  Read the task's log, mend, clear the failed map index.
- **judge** green without a promotion: look at the verdict's reasons. Hold means that the evidence
  is too weak, reject that it is against. Nobody needs to act.
- **`LeaseLost`**: another worker took the work over and its result stands. Clear the task.
- **`ArtifactAltered`**: stored bytes differ from their digest. Do not clear: run `decisions audit
  verify` first, and promote an older generation.
- **publish** red: MLflow is away. Champion, verdicts, diagnoses and decisions are in SQL; clear
  the task when MLflow answers.
- **alert** red: the webhook (DECISIONS_ALERT_WEBHOOK) or the mail server (connection smtp_default)
  does not answer. The next run tells what this one could not; what was told is not told again.
- **alert** says that a series is oscillating: open its page, read the recommended action there.
"""

from typing import TYPE_CHECKING

from spine import decide_dag, generation_dag, settle_dag

if TYPE_CHECKING:
    from decisions.domain import Domain


def payments() -> "Domain":
    """Payments over your own transactions where they are configured, else simulated ones.

    With a table `decisions` your own system decides, and the log is learned from; without one,
    decisions are taken here.
    """
    from decisions.domains.payments import DOMAIN
    from decisions.settings import settings

    source = settings().payments_transactions
    if source is None:
        return DOMAIN
    from decisions.domains.payments.parquet import has_table, parquet_reader
    from decisions.domains.payments.tables import TIME_COLUMN
    from decisions.domains.payments.transactions import with_log, with_transactions

    if source.startswith("sql:"):
        from edge import database

        from decisions.store.own_tables import OwnTables

        tables = OwnTables(database(), source.removeprefix("sql:"), {**TIME_COLUMN})
        return (with_log if tables.has("decisions") else with_transactions)(DOMAIN, tables)
    from pathlib import Path

    folder = Path(source)
    chosen = with_log if has_table(folder, "decisions") else with_transactions
    return chosen(DOMAIN, parquet_reader(folder))


NOTES = __doc__ or ""

decide = decide_dag("payments", payments, schedule="0 0 * * *", doc=NOTES)
settle = settle_dag("payments", payments, schedule="30 0 * * *", doc=NOTES)
generation = generation_dag("payments", payments, schedule="0 2 * * *", doc=NOTES)
