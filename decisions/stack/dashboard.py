"""The dashboard by itself, over any database: for tests and benchmarks."""

import os
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import httpx

from decisions.errors import StackError
from decisions.stack.logs import tail
from decisions.stack.ports import LOOPBACK, choose
from decisions.stack.services import PORTS, services

_LOG = "dashboard.log"


@contextmanager
def serving_dashboard(
    database_url: str, home: Path, *, port: int | None = None, patience_s: float = 120.0
) -> Generator[str]:
    """The address of a dashboard that was started as `decisions up` does; it ends with the block.

    `home` holds its log. Sign-in is as the environment says.

    Raises:
        StackError: it did not start; the message holds the end of its log.
    """
    home = home.resolve()
    port = port or choose({"dashboard": 0})["dashboard"]
    ports = {**dict.fromkeys(PORTS, 0), "dashboard": port}
    [service] = [each for each in services(home, ports) if each.name == "dashboard"]
    variables = {
        "DECISIONS_DATABASE_URL": database_url,
        "DECISIONS_HOME": str(home),
        "OMP_NUM_THREADS": "1",
        "POLARS_MAX_THREADS": "1",
    }
    with (home / _LOG).open("w") as log:
        process = subprocess.Popen(
            service.command, env={**os.environ, **variables}, stdout=log, stderr=log, cwd=home
        )
        try:
            _wait(service.health_url, process, home / _LOG, patience_s=patience_s)
            yield f"http://{LOOPBACK}:{port}"
        finally:
            process.terminate()
            process.wait(timeout=30)


def _wait(
    health_url: str, process: "subprocess.Popen[bytes]", log: Path, *, patience_s: float
) -> None:
    deadline = time.monotonic() + patience_s
    while process.poll() is None and time.monotonic() < deadline:
        try:
            if httpx.get(health_url, timeout=2).is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise StackError(f"the dashboard did not start (status {process.poll()}):\n{tail(log)}")
