"""Airflow DAG for Open Bandit: generations from real logs of 24-30 November 2019.

The logs are a week long and years old, so the DAG has no clock of its own: trigger it with a
logical date of that week (`decisions run` does) and it ingests the days before, trains on the
earlier ones and judges on the later ones.

Triage notes
------------
- **train** and **evaluate** skipped: no matured day of logs lies before the date given, so that
  there is nothing to judge. Trigger it with a later day of that week.
- **plan** red with `DataError`: the `obp` wheel with the logs is missing or altered.
- **judge** holds with a refusal: the logs cannot support the answer (too small an effective
  sample, or no support). That is the right result for women/bts, not a failure.
- **publish** red: MLflow is away; clear the task when it answers.
- **alert** red: the webhook or the mail server does not answer; the next run tells what is due.
"""

from typing import TYPE_CHECKING

from spine import generation_dag

if TYPE_CHECKING:
    from decisions.domain import Domain


def open_bandit() -> "Domain":
    """The domain, imported when a task runs."""
    from decisions.domains.open_bandit import DOMAIN

    return DOMAIN


generation = generation_dag("open_bandit", open_bandit, schedule=None, doc=__doc__ or "")
