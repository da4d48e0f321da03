"""The environment as typed values; read at the edges only (commands, DAG tasks, pages)."""

import json
from pathlib import Path

from pydantic_settings import BaseSettings, SettingsConfigDict

from decisions.errors import StackError


class Settings(BaseSettings):
    """Each field is the variable DECISIONS_<FIELD>."""

    model_config = SettingsConfigDict(env_prefix="DECISIONS_")

    home: Path = Path(".decisions")  # data, logs and checkpoints of the local stack
    database_url: str | None = None  # postgresql://...; yours, or the embedded server's
    mlflow_url: str | None = None
    airflow_url: str | None = None
    dashboard_url: str | None = None
    seed: int = 20_260_101  # of everything random that is not a study's
    alert_webhook: str | None = None  # where changes of verdict are posted, as JSON
    alert_email: str | None = None  # addresses that are told of them, by Airflow's SMTP connection
    payments_transactions: str | None = None  # a folder or sql:SCHEMA; None: the simulator
    lotsizing_plant: Path | None = None  # JSON of a plant of your own; None: the packaged 20x10
    sign_in_file: Path | None = None  # Streamlit secrets with [auth]; None: no sign-in, loopback
    roles_file: Path | None = None  # who is viewer, manager or auditor of the dashboard

    @property
    def stack_file(self) -> Path:
        """Where a running local stack writes its addresses, for commands in other terminals."""
        return self.home / "stack.json"


def settings() -> Settings:
    """The environment's values, completed from a running local stack's own file."""
    given = Settings()
    if not given.stack_file.exists():
        return given
    running = json.loads(given.stack_file.read_text())
    absent = {key for key, value in given.model_dump().items() if value is None}
    return given.model_copy(update={key: value for key, value in running.items() if key in absent})


def required_database_url(given: Settings) -> str:
    """The database's address.

    Raises:
        StackError: none is configured and no local stack runs.
    """
    if given.database_url is None:
        raise StackError(
            "no database: set DECISIONS_DATABASE_URL to your PostgreSQL server, or start the local"
            " one with `decisions up`"
        )
    return given.database_url
