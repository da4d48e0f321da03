"""Ways in which a change of verdict reaches people: Airflow's log, a webhook, e-mail."""

import logging
from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING

from decisions.errors import DecisionsError
from decisions.settings import settings

if TYPE_CHECKING:
    from datetime import datetime

    from decisions.domain import Domain
    from decisions.store.cycles import Channel
    from decisions.store.database import Database

TIMEOUT_S = 10.0
_LOG = logging.getLogger("decisions.alerts")
Send = Callable[[dict[str, str]], None]


class AlertFailed(DecisionsError):
    """A channel did not take a message."""


def tell(db: "Database", domain: "Domain", *, now: "datetime") -> None:
    """Announces changes of verdict on every channel; one that fails keeps no other waiting.

    Raises:
        ExceptionGroup: what the channels that failed raised.
    """
    from decisions import flow

    failed: list[Exception] = []
    for channel, send in channels().items():
        try:
            flow.announce(db, domain, channel, send, now=now)
        except Exception as error:
            error.add_note(f"channel: {channel}")
            failed.append(error)
    if failed:
        raise ExceptionGroup(f"{len(failed)} channels could not be told", failed)


def channels() -> "dict[Channel, Send]":
    """The log always; a webhook and e-mail where DECISIONS_ALERT_WEBHOOK and _EMAIL name them."""
    given = settings()
    found: dict[Channel, Send] = {"log": log}
    if given.alert_webhook:
        found["webhook"] = webhook(given.alert_webhook)
    if given.alert_email:
        found["email"] = email(given.alert_email)
    return found


def log(message: dict[str, str]) -> None:
    """One line in the log of the task."""
    _LOG.warning("verdict changed: %s", message["text"])


def webhook(url: str) -> Send:
    """Posts the message as JSON; any answer but a success raises, and Airflow tries again.

    Neither what is raised nor the log names the address: often it is all it takes to post there.
    """

    def send(message: dict[str, str]) -> None:
        import httpx

        logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs addresses at INFO
        try:
            answer = httpx.post(url, json=message, timeout=TIMEOUT_S)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise AlertFailed(f"the webhook cannot be reached: {type(error).__name__}") from None
        if not answer.is_success:
            raise AlertFailed(f"the webhook answered {answer.status_code}")

    return send


def email(addresses: str) -> Send:
    """Sends the message through Airflow's connection `smtp_default`, to addresses with commas."""

    def send(message: dict[str, str]) -> None:
        from airflow.providers.smtp.hooks.smtp import SmtpHook

        with SmtpHook() as smtp:
            smtp.send_email_smtp(
                to=addresses,
                subject=f"{message['domain']}/{message['series']} is {message['verdict']}",
                html_content=f"<p>{escape(message['text'])}</p>",
            )

    return send
