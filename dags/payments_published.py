"""Airflow DAGs for payments as published practice runs them, three generations a week.

A specimen over simulated payments, to show what retraining without memory or gate does. It never
reads transactions of your own, and has no schedule where those are configured.

Triage notes
------------
As for payments. That its series oscillates, and that it earns less than doing nothing, is what it
is there to show: nobody needs to act.
"""

import os
from typing import TYPE_CHECKING

from spine import decide_dag, generation_dag, settle_dag

if TYPE_CHECKING:
    from decisions.domain import Domain


def payments_published() -> "Domain":
    """The domain, imported when a task runs."""
    from decisions.domains.payments import PUBLISHED

    return PUBLISHED


NAME, NOTES = "payments_published", __doc__ or ""
OWN = bool(
    os.environ.get("DECISIONS_PAYMENTS_TRANSACTIONS", "").strip()
)  # of yours: no specimen is needed

decide = decide_dag(NAME, payments_published, schedule=None if OWN else "0 0 * * *", doc=NOTES)
settle = settle_dag(NAME, payments_published, schedule=None if OWN else "30 0 * * *", doc=NOTES)
generation = generation_dag(
    NAME, payments_published, schedule=None if OWN else "0 2 * * 1,4,6", doc=NOTES
)
