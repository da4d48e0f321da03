"""Is what is stored what was sealed, and who changed what?"""

from states import empty, shown


def page() -> None:
    empty("Nothing has been sealed yet.")


shown("audit", page)
