"""Airflow DAGs for payments as published practice runs them, three generations a week.

A specimen over simulated payments, to show what retraining without memory or gate does; it never
reads transactions of your own.

Triage notes
------------
As for payments. That its series oscillates, and that it earns less than doing nothing, is what it
is there to show: nobody needs to act.
"""

from typing import TYPE_CHECKING

from spine import decide_dag, generation_dag, settle_dag

if TYPE_CHECKING:
    from decisions.domain import Domain


def payments_published() -> "Domain":
    """The domain, imported when a task runs."""
    from decisions.domains.payments import PUBLISHED

    return PUBLISHED


NAME, NOTES = "payments_published", __doc__ or ""

decide = decide_dag(NAME, payments_published, schedule="0 0 * * *", doc=NOTES)
settle = settle_dag(NAME, payments_published, schedule="30 0 * * *", doc=NOTES)
generation = generation_dag(NAME, payments_published, schedule="0 2 * * 1,4,6", doc=NOTES)
