"""The environment as typed values; read at the edges only (commands, DAG tasks, pages)."""

import json
from pathlib import Path
from typing import Annotated, Any, cast

from pydantic import Field, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from decisions.errors import StackError

_DATABASES = ("postgresql", "postgres")


class Settings(BaseSettings):
    """Each field is the variable DECISIONS_<FIELD>; one that is empty is as one that is not set.

    But not the file of sign-in: nobody shall be let in by a variable that lost its value.
    """

    model_config = SettingsConfigDict(env_prefix="DECISIONS_", hide_input_in_errors=True)

    home: Path = Path(".decisions")  # data, logs and checkpoints of the local stack
    database_url: str | None = None  # postgresql://...; yours, or the embedded server's
    mlflow_url: str | None = None
    airflow_url: str | None = None
    dashboard_url: str | None = None
    seed: Annotated[int, Field(ge=0)] = 20_260_101  # of everything random that is not a study's
    alert_webhook: str | None = None  # where changes of verdict are posted, as JSON
    alert_email: str | None = None  # addresses that are told of them, by Airflow's SMTP connection
    payments_transactions: str | None = None  # a folder or sql:SCHEMA; None: the simulator
    lotsizing_plant: Path | None = None  # JSON of a plant of your own; None: the packaged 20x10
    sign_in_file: Path | None = None  # Streamlit secrets with [auth]; None: no sign-in, loopback
    roles_file: Path | None = None  # who is viewer, manager or auditor of the dashboard

    @field_validator("*", mode="before")
    @classmethod
    def _set_or_default(cls, value: object, info: ValidationInfo) -> object:
        name = str(info.field_name)
        if not isinstance(value, str) or value.strip():
            return value
        if name == "sign_in_file":
            raise ValueError("it is empty: name the file, or unset it for no sign-in at all")
        return cls.model_fields[name].default

    @field_validator("mlflow_url", "airflow_url", "dashboard_url", "alert_webhook")
    @classmethod
    def _is_web_address(cls, value: str | None) -> str | None:
        scheme, _, rest = (value or "").partition("://")
        if value is not None and (scheme not in ("http", "https") or not rest.strip("/")):
            raise ValueError("it is no address: wanted http://HOST:PORT, or https")
        return value

    @field_validator("database_url")
    @classmethod
    def _is_postgresql(cls, value: str | None) -> str | None:
        scheme, _, rest = (value or "").partition("://")
        if value is not None and (scheme.partition("+")[0] not in _DATABASES or not rest):
            raise ValueError("it is no address: wanted postgresql://USER:PASSWORD@HOST:PORT/NAME")
        return value

    @property
    def stack_file(self) -> Path:
        """Where a running local stack writes its addresses, for commands in other terminals."""
        return self.home / "stack.json"


def configured() -> Settings:
    """The environment's values alone.

    Raises:
        StackError: a variable has a value that it cannot have; it is named, its value is not.
    """
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        name = f"DECISIONS_{str(first['loc'][0]).upper()}"
        raise StackError(f"{name}: {first['msg'].removeprefix('Value error, ')}") from None


def settings() -> Settings:
    """The environment's values, completed from a running local stack's own file.

    Raises:
        StackError: as `configured`; or the file is not one that a stack wrote.
    """
    given = configured()
    if not given.stack_file.exists():
        return given
    running = _addresses(given.stack_file)
    absent = {key for key, value in given.model_dump().items() if value is None}
    return given.model_copy(update={key: value for key, value in running.items() if key in absent})


def _addresses(file: Path) -> dict[str, Any]:
    try:
        running = json.loads(file.read_text())
    except FileNotFoundError:  # the stack ended meanwhile
        return {}
    except (OSError, ValueError) as error:
        raise StackError(_broken(file, str(error))) from error
    if not isinstance(running, dict):
        raise StackError(_broken(file, "it holds no JSON object"))
    return cast("dict[str, Any]", running)


def _broken(file: Path, why: str) -> str:
    return (
        f"{file}, where a local stack writes its addresses, cannot be read: {why}; `decisions"
        " down` removes it, or set DECISIONS_DATABASE_URL and DECISIONS_HOME to a stack elsewhere"
    )


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
