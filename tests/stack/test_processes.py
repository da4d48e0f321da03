import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from decisions.errors import StackError
from decisions.stack import processes, running, supervisor, watchdog
from decisions.stack.lock import held
from decisions.stack.logs import ServiceLogs
from decisions.stack.postgres import serving
from decisions.stack.services import Service

# Starts a grandchild in a session of its own and ends: what process groups and parents lose.
FORGETS_A_CHILD = (
    "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time;"
    " time.sleep(600)'], start_new_session=True)"
)
SLEEPS = (sys.executable, "-c", "import time; time.sleep(600)")


def service(name: str, *command: str) -> Service:
    return Service(name=name, command=command, health_url="http://127.0.0.1:9/")


def environment(home: Path) -> dict[str, str]:
    return {**os.environ, **processes.mark(home)}


def identity(process: "subprocess.Popen[bytes]") -> processes.Identity:
    return process.pid, psutil.Process(process.pid).create_time()


def until(claim: Callable[[], bool], *, patience_s: float = 10.0) -> bool:
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        if claim():
            return True
        time.sleep(0.05)
    return False


def test_sweep_ends_what_a_program_forgot(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", FORGETS_A_CHILD], env=environment(tmp_path), check=True)
    [forgotten] = processes.members(tmp_path)

    ended = processes.sweep(tmp_path)

    assert ended == 1
    assert not forgotten.is_running()
    assert processes.members(tmp_path) == []


def test_sweep_leaves_another_stack_alone(tmp_path: Path) -> None:
    with subprocess.Popen(SLEEPS, env=environment(tmp_path / "theirs")) as theirs:
        ended = processes.sweep(tmp_path / "ours")

        assert ended == 0
        assert theirs.poll() is None
        theirs.kill()


def test_a_process_is_known_by_its_creation_time_too() -> None:
    this = psutil.Process()

    assert processes.is_alive(this.pid, this.create_time())
    assert not processes.is_alive(this.pid, this.create_time() - 60)


def test_a_service_that_ends_is_named_and_stops_the_others(tmp_path: Path) -> None:
    logs = ServiceLogs(tmp_path / "logs")
    fails = service("fails", sys.executable, "-c", "print('out of paper'); raise SystemExit(3)")

    with pytest.raises(StackError, match=r"(?s)fails ended with status 3.*out of paper"):
        supervisor.keep([service("sleeps", *SLEEPS), fails], environment(tmp_path), logs)

    assert processes.members(tmp_path) == []


def test_the_log_of_the_run_before_is_kept(tmp_path: Path) -> None:
    speaks = service("speaks", sys.executable, "-c", "print('hello')")
    for _ in range(2):
        with pytest.raises(StackError):
            supervisor.keep([speaks], environment(tmp_path), ServiceLogs(tmp_path))

    assert "hello" in (tmp_path / "speaks.log").read_text()
    assert "hello" in (tmp_path / "speaks.log.1").read_text()


def test_the_watchdog_ends_what_a_killed_supervisor_leaves(tmp_path: Path) -> None:
    (tmp_path / "stack.json").write_text("{}")
    with (
        subprocess.Popen(SLEEPS) as supervising,
        subprocess.Popen(SLEEPS, env=environment(tmp_path)) as left,
    ):
        watched = identity(supervising)
        supervising.kill()

        watchdog.watch(tmp_path, watched)

        assert until(lambda: left.poll() is not None)
        assert not (tmp_path / "stack.json").exists()


def test_the_watchdog_stops_a_supervisor_whose_owner_is_gone(tmp_path: Path) -> None:
    with subprocess.Popen(SLEEPS) as owner, subprocess.Popen(SLEEPS) as supervising:
        owned, watched = identity(owner), identity(supervising)
        owner.kill()
        owner.wait()  # gone before the watchdog came up

        watchdog.watch(tmp_path, watched, owned)

        assert until(lambda: supervising.poll() is not None)


def test_the_watchdog_leaves_a_new_supervisors_processes_alone(tmp_path: Path) -> None:
    with (
        subprocess.Popen(SLEEPS) as supervising,
        subprocess.Popen(SLEEPS, env=environment(tmp_path)) as theirs,
    ):
        watched = identity(supervising)
        supervising.kill()

        with held(tmp_path):
            watchdog.watch(tmp_path, watched)

        assert theirs.poll() is None
        theirs.kill()


def test_only_one_process_holds_a_home(tmp_path: Path) -> None:
    with held(tmp_path), pytest.raises(StackError, match="decisions down"), held(tmp_path):
        pass


def test_a_killed_holders_children_do_not_keep_the_home(tmp_path: Path) -> None:
    code = (
        "import os, time; from pathlib import Path; from decisions.stack.lock import held\n"
        f"with held(Path({str(tmp_path)!r})):\n"
        "    child = os.fork()\n"
        "    if child: print(child, flush=True)\n"
        "    time.sleep(600)\n"
    )
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        child = psutil.Process(int(holder.stdout.readline()))
        holder.kill()

        with held(tmp_path, patience_s=5):
            assert child.is_running()
        child.kill()


def test_a_start_beside_a_running_stack_fails_and_leaves_it_alone(tmp_path: Path) -> None:
    with held(tmp_path), subprocess.Popen(SLEEPS, env=environment(tmp_path)) as theirs:
        supervisor.publish(tmp_path, "services")

        with pytest.raises(StackError, match="another stack runs"):
            running.start(tmp_path, lambda _: None)

        assert theirs.poll() is None
        assert running.find(tmp_path) is not None
        theirs.kill()


def test_a_stack_that_another_took_the_place_of_is_not_stopped(tmp_path: Path) -> None:
    with held(tmp_path), subprocess.Popen(SLEEPS, env=environment(tmp_path)) as theirs:
        supervisor.publish(tmp_path, "services")
        gone = running.Stack(supervisor=(1, 0.0), phase="services", addresses={}, checks={})

        assert running.stop(tmp_path, gone) == 0

        assert theirs.poll() is None
        theirs.kill()


def test_a_database_that_ends_stops_the_services_and_is_named(tmp_path: Path) -> None:
    with serving(tmp_path / "data", env=environment(tmp_path)) as server:
        assert server.process.pid in [process.pid for process in processes.members(tmp_path)]
        server.process.send_signal(signal.SIGQUIT)

        with pytest.raises(StackError, match=r"(?s)PostgreSQL ended with status .*log ends with"):
            supervisor.keep(
                [service("sleeps", *SLEEPS)],
                environment(tmp_path),
                ServiceLogs(tmp_path / "logs"),
                ended=server.ended,
            )

    assert processes.members(tmp_path) == []


def test_a_stack_that_is_still_starting_is_waited_for(tmp_path: Path) -> None:
    supervisor.publish(tmp_path, "preparing")
    told: list[str] = []

    with pytest.raises(StackError, match="not healthy after 0 s: preparing"):
        running.await_health(tmp_path, told.append, patience_s=0.3)

    assert told == ["preparing"]
    (tmp_path / "stack.json").unlink()
    with pytest.raises(StackError, match="start it again"):
        running.await_health(tmp_path, told.append)


def test_a_stack_is_found_while_its_supervisor_lives(tmp_path: Path) -> None:
    assert running.find(tmp_path) is None

    supervisor.publish(
        tmp_path,
        "services",
        airflow_url="http://127.0.0.1:1",
        services={"airflow-scheduler": ["http://127.0.0.1:1/health", "scheduler"]},
    )
    found = running.find(tmp_path)

    assert found is not None
    assert found.addresses == {"airflow_url": "http://127.0.0.1:1"}
    assert found.checks == {"airflow-scheduler": ("http://127.0.0.1:1/health", "scheduler")}


def test_a_stack_whose_owner_is_gone_is_waited_for_not_used(tmp_path: Path) -> None:
    told: list[str] = []
    supervisor.publish(tmp_path, "services", owner=processes.identity())
    assert running.find_lasting(tmp_path, told.append) is not None

    supervisor.publish(tmp_path, "services", owner=(2**22 + 1, 0.0))
    timer = threading.Timer(0.5, (tmp_path / "stack.json").unlink)
    timer.start()

    assert running.find_lasting(tmp_path, told.append) is None
    timer.join()
    assert told == ["waiting for the stack of an earlier run to end"]


def test_a_stack_of_a_dead_supervisor_is_not_found(tmp_path: Path) -> None:
    supervisor.publish(tmp_path, "services")
    file = tmp_path / "stack.json"
    file.write_text(file.read_text().replace('"started": ', '"started": 1'))

    assert running.find(tmp_path) is None


def test_the_file_of_addresses_is_for_its_owner_alone(tmp_path: Path) -> None:
    (tmp_path / "stack.json.tmp").write_text("left by a killed process")
    (tmp_path / "stack.json.tmp").chmod(0o644)

    supervisor.publish(tmp_path, "services", database_url="postgresql://me:secret@db/x")

    assert stat.S_IMODE((tmp_path / "stack.json").stat().st_mode) == 0o600
