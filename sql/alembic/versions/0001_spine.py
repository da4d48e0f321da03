"""The spine: runs sql/migrations/0001_spine.sql."""

from decisions.store.migrations import apply

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Run the file, once."""
    apply("0001_spine.sql")
