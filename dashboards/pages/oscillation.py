"""Do good and bad generations alternate, why, and what helps?"""

from states import empty, shown


def page() -> None:
    empty("Nothing yet.")


shown("oscillation", page)
