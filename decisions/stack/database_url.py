"""The database's address: how to show it, and whether something answers there."""

import psycopg
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from decisions.errors import StoreError
from decisions.store.database import address, ends_unclear

_SECRETS = ("password", "passfile", "sslpassword")  # libpq also takes these as ?name=value


def without_password(url: str) -> str:
    """An address that may be shown: no password, wherever in it one was given."""
    if ends_unclear(url):
        return "(not an address)"
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        return "(not an address)"
    masked = {key: "***" for key in parsed.query if key.lower() in _SECRETS}
    hidden = parsed.update_query_dict(masked).render_as_string(hide_password=True)
    return hidden.replace("%2A%2A%2A", "***").replace("%2F", "/")


def ailment(url: str, *, timeout_s: int = 5) -> str | None:
    """Why no connection can be made, on one line without a password; None when one can."""
    try:
        plain = address(url).set(drivername="postgresql").render_as_string(hide_password=False)
        psycopg.connect(plain, connect_timeout=timeout_s).close()
    except StoreError as error:
        return str(error)
    except psycopg.Error as error:
        first = next(iter(str(error).strip().splitlines()), type(error).__name__)
        return f"no answer at {without_password(url)}: {first}"
    return None
