"""The digest of the code changes with every file that decides what a run does."""

from pathlib import Path

import pytest

from decisions.code_version import code_version, source_digest


@pytest.mark.parametrize("changed", ["decisions/flow.py", "sql/queries/a.sql", "dags/spine.py"])
def test_a_changed_file_changes_the_digest(tmp_path: Path, changed: str) -> None:
    for name in ("decisions/flow.py", "sql/queries/a.sql", "dags/spine.py", "docs/a.md"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("first")
    before = source_digest(tmp_path / "decisions")
    (tmp_path / "docs/a.md").write_text("second")
    same = source_digest(tmp_path / "decisions")

    (tmp_path / changed).write_text("second")

    assert same == before
    assert source_digest(tmp_path / "decisions") != before


def test_a_package_alone_has_a_digest(tmp_path: Path) -> None:
    (tmp_path / "decisions").mkdir()
    (tmp_path / "decisions" / "flow.py").write_text("")

    assert len(source_digest(tmp_path / "decisions")) == 64
    assert "+" in code_version()
