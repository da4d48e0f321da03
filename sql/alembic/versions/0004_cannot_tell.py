"""The verdict "cannot tell": sql/migrations/0004."""

from decisions.store.migrations import apply

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Run the file, once."""
    apply("0004_cannot_tell.sql")
