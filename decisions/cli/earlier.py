"""`python -m decisions.cli.earlier DOMAIN FIRST CUTOFF...`: the earlier days of one domain.

One process runs them all, so that nothing is imported or started again for each step. A line of
standard output says what begins: the cut-off and the step, with a tab between.
"""

import sys
import traceback
from datetime import datetime

from decisions import flow
from decisions.configured import configured_domain
from decisions.errors import DecisionsError
from decisions.settings import required_database_url, settings
from decisions.store.database import Database


def _say(cutoff: datetime, step: str) -> None:
    sys.stdout.write(f"{cutoff.isoformat()}\t{step}\n")
    sys.stdout.flush()  # fails where nobody reads any more, which ends this process


def main() -> None:
    """Processes the cut-offs given; an error is one line after its cause, and exit status 2."""
    name, first, *cutoffs = sys.argv[1:]
    try:
        given = settings()
        flow.process_cutoffs(
            Database(required_database_url(given)),
            configured_domain(name, given),
            [datetime.fromisoformat(cutoff) for cutoff in cutoffs],
            first=datetime.fromisoformat(first),
            seed=given.seed,
            holder=f"earlier/{name}",
            report=_say,
        )
    except DecisionsError as error:
        if error.__cause__ and not isinstance(error.__cause__, DecisionsError):
            traceback.print_exception(error.__cause__)
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
