"""The verdict "cannot tell": sql/migrations/0005."""

from decisions.store.migrations import apply

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Run the file, once."""
    apply("0005_cannot_tell.sql")
