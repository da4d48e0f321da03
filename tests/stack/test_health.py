import json
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

from decisions.stack import ports, running


@contextmanager
def answering(status: int, body: object) -> Generator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer((ports.LOOPBACK, 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://{ports.LOOPBACK}:{server.server_port}/health"
        server.shutdown()
        thread.join()


def test_a_service_that_answers_is_healthy() -> None:
    with answering(200, {"scheduler": {"status": "healthy"}}) as url:
        assert running.ailment(url, None) is None
        assert running.ailment(url, "scheduler") is None


def test_a_part_that_has_not_reported_is_named() -> None:
    with answering(200, {"scheduler": {"status": None}}) as url:
        assert running.ailment(url, "scheduler") == "scheduler is not started"


def test_an_error_status_is_told() -> None:
    with answering(503, {}) as url:
        assert "answers 503" in str(running.ailment(url, None))


def test_no_answer_is_told_with_the_address() -> None:
    port = ports.choose({"none": 0})["none"]
    url = f"http://{ports.LOOPBACK}:{port}/"

    stack = running.Stack(
        supervisor=(1, 0.0), phase="services", addresses={}, checks={"mlflow": (url, None)}
    )

    assert running.ailments(stack) == {"mlflow": f"no answer at {url} (ConnectError)"}
