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
    """Payments over your own transactions where they are configured, else simulated ones."""
    from decisions.configured import configured_domain

    return configured_domain("payments")


NOTES = __doc__ or ""

decide = decide_dag("payments", payments, schedule="0 0 * * *", doc=NOTES)
settle = settle_dag("payments", payments, schedule="30 0 * * *", doc=NOTES)
generation = generation_dag("payments", payments, schedule="0 2 * * *", doc=NOTES)
