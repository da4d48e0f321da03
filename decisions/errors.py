"""Every error this library raises on purpose."""


class DecisionsError(Exception):
    """Root of all of them: a DAG task, a command or a page catches this, and nothing broader.

    A message names what was seen, what was wanted, and the way out.
    """


class DataError(DecisionsError):
    """A frame does not have the columns, types or ranges it was promised to have."""


class NoEligibleAction(DataError):
    """A context row leaves a policy nothing to choose from."""


class UnsupportedEvidence(DecisionsError):
    """Logs cannot answer the question asked: no support, or too small an effective sample."""


class ArtifactAltered(DecisionsError):
    """The bytes of a policy do not have the digest that was recorded for them."""


class StoreError(DecisionsError):
    """The database refused, or cannot be reached."""


class ConflictingRecord(StoreError):
    """A record with this key is stored already, with other content."""


class LeaseLost(StoreError):
    """Another worker took this work over; what this one made was not written."""


class StackError(DecisionsError):
    """A part of the local stack did not start, or is not healthy."""
