"""What Airflow's scheduler imports before it forks its workers.

A task is a fork of a worker, which is a fork of the scheduler: whatever is imported here, once, a
task need not import again (three to four seconds of it). Only imports: a thread or a connection
would not survive the fork.
"""

import sys

__all__: list[str] = []  # Airflow would copy every other name into its own settings

if "scheduler" in sys.argv:
    import decisions.flow
    import decisions.store.tracking  # noqa: F401 - a task uses it
    from decisions.domains import all_domains

    all_domains()
