import subprocess
import sys
from pathlib import Path

import pytest

from decisions.settings import Settings
from decisions.stack import doctor
from decisions.stack.processes import mark


def test_an_idle_machine_has_no_complaint(tmp_path: Path) -> None:
    given = Settings(database_url=None)

    findings = {finding.check: finding for finding in doctor.examine(tmp_path, given)}

    assert findings["database"].seen == "none yet: `decisions up` starts one"
    assert findings["left-over processes"].ok
    assert findings["DAGs"].ok


@pytest.mark.parametrize(("version", "ok"), [((3, 10), False), ((3, 11), True), ((3, 14), False)])
def test_the_python_version_is_judged(version: tuple[int, int], ok: bool) -> None:
    finding = doctor.python(version)

    assert finding.ok is ok
    assert bool(finding.remedy) is not ok


def test_a_missing_package_is_named_with_the_way_out() -> None:
    finding = doctor.packages(("no-such-package",))

    assert not finding.ok
    assert "no-such-package" in finding.seen
    assert finding.remedy == "make install"


def test_a_full_disk_is_told_before_it_hurts(tmp_path: Path) -> None:
    finding = doctor.disk(tmp_path / "new", wanted=1 << 60)

    assert not finding.ok
    assert "DECISIONS_HOME" in finding.remedy


def test_an_unreachable_database_is_told_without_its_password() -> None:
    finding = doctor.database("postgresql://someone:hunter2@127.0.0.1:9/decisions")

    assert not finding.ok
    assert "DECISIONS_DATABASE_URL" in finding.remedy
    assert "hunter2" not in finding.seen


def test_left_over_processes_are_counted(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import time; time.sleep(600)"]
    with subprocess.Popen(command, env=mark(tmp_path)) as left:
        finding = doctor.leftovers(tmp_path, None)
        left.kill()

    assert not finding.ok
    assert str(left.pid) in finding.seen
    assert finding.remedy == "decisions down"
