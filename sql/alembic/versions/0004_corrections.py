"""Corrections of outcomes: sql/migrations/0004."""

from decisions.store.migrations import apply

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Run the file, once."""
    apply("0004_corrections.sql")
