"""A verdict for candidates that decide as the champion does: sql/migrations/0003."""

from decisions.store.migrations import apply

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Run the file, once."""
    apply("0003_unchanged.sql")
