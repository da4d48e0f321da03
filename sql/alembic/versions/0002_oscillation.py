"""Measurements over cycles, diagnoses, announcements and tallies: sql/migrations/0002."""

from decisions.store.migrations import apply

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Run the file, once."""
    apply("0002_oscillation.sql")
