"""Is it safe, is it better, does it oscillate, and what changed?"""

from states import empty, shown


def page() -> None:
    empty("Nothing yet.")


shown("overview", page)
