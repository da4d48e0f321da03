"""One way of telling people that fails keeps no other waiting, and gives no secret away."""

import logging
from datetime import UTC, datetime

import alerts
import httpx
import pytest

from decisions.store.database import Database
from tests.dags.test_dags import swinging
from tests.integration.coins import COINS

BEGUN = datetime(2026, 3, 1, tzinfo=UTC)
URL = "https://example.org/secret-token"
TEXT = {"text": "coins/deployed is oscillating"}


def test_a_channel_that_fails_is_tried_again_and_the_others_are_told_once(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    broken = [True]

    def webhook(message: dict[str, str]) -> None:
        if broken:
            raise alerts.AlertFailed("away")
        told.append(f"webhook {message['series']}")

    def email(message: dict[str, str]) -> None:
        told.append(f"email {message['series']}")

    monkeypatch.setattr(alerts, "channels", lambda: {"webhook": webhook, "email": email})
    swinging(database, BEGUN)

    with pytest.raises(ExceptionGroup, match="1 channels") as raised:
        alerts.tell(database, COINS, now=BEGUN)
    broken.clear()
    alerts.tell(database, COINS, now=BEGUN)
    alerts.tell(database, COINS, now=BEGUN)

    assert raised.value.exceptions[0].__notes__ == ["channel: webhook"]
    assert told == ["email deployed", "webhook deployed"]


@pytest.mark.parametrize("status", [None, 302, 500])
def test_a_webhook_that_fails_does_not_name_its_address(
    status: int | None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if status is None:
            raise httpx.ConnectError(f"no route to {request.url}")
        return httpx.Response(status, request=request)

    client = httpx.Client(transport=httpx.MockTransport(answer))
    monkeypatch.setattr(httpx, "post", client.post)
    caplog.set_level(logging.INFO)

    with pytest.raises(alerts.AlertFailed) as raised:
        alerts.webhook(URL)(TEXT)

    assert "secret" not in f"{raised.value!r} {raised.value.__cause__!r} {caplog.text}"
    assert raised.value.__suppress_context__ or raised.value.__context__ is None
