"""What a task reads from its environment: the database, MLflow, the seed."""

from decisions.settings import required_database_url, settings
from decisions.store.database import Database


def database() -> Database:
    """The store that DECISIONS_DATABASE_URL, or a running local stack, names."""
    return Database(required_database_url(settings()))


def mlflow_url() -> str | None:
    """Where MLflow answers; None when there is none, and nothing is published."""
    return settings().mlflow_url


def seed() -> int:
    """The seed of everything random."""
    return settings().seed
