"""Ways in which a change of verdict reaches people: Airflow's log, a webhook, e-mail."""

import logging
from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING

from decisions.settings import settings

if TYPE_CHECKING:
    from decisions.store.cycles import Channel

TIMEOUT_S = 10.0
_LOG = logging.getLogger("decisions.alerts")
Send = Callable[[dict[str, str]], None]


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
    """Posts the message as JSON; any answer but a success raises, and Airflow tries again."""

    def send(message: dict[str, str]) -> None:
        import httpx

        httpx.post(url, json=message, timeout=TIMEOUT_S).raise_for_status()

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
