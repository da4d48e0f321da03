"""What cannot be done is said before any work begins: status 2 and no traceback."""

import sys
from pathlib import Path

import pytest

from decisions.cli import app

FILE = "a file in the way"


def ended(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str
) -> tuple[object, str]:
    """The exit status of the command, and what it wrote on standard error."""
    monkeypatch.setattr(sys, "argv", ["decisions", *arguments])
    with pytest.raises(SystemExit) as status:
        app.main()
    return status.value.code, capsys.readouterr().err


@pytest.fixture
def blocked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A path below a file, which cannot be written; no stack, and no database that answers."""
    (tmp_path / FILE).write_text("")
    monkeypatch.setenv("DECISIONS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DECISIONS_DATABASE_URL", "postgresql://u@127.0.0.1:1/x")
    monkeypatch.delenv("DECISIONS_DEBUG", raising=False)
    return tmp_path / FILE / "below"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("lotsizing tune tiny_2x1 --out {blocked}", "cannot be written"),
        ("lotsizing tune tiny_2x1 nosuch.json", "nosuch.json cannot be read"),
        ("audit export {blocked}", "cannot be written"),
        ("audit anchor {blocked}", "cannot"),
        ("replay --sample 5 --domain nosuch", "no domain 'nosuch'"),
        ("replay 12 --domain nosuch", "no domain 'nosuch'"),
        ("replay --sample 5", "cannot be reached"),
        ("backfill --domain nosuch", "no domain 'nosuch'"),
        ("backfill --until 2999-01-01", "is in the future"),
        ("backfill --until 0001-01-01", "too long ago"),
        ("run --until 2999-01-01 --headless", "is in the future"),
        ("study lotsizing --instance nosuch.json", "nosuch.json cannot be read"),
        ("study lotsizing-paper --instance nosuch", "no instance 'nosuch'"),
        ("promote nosuch 1 --reason x", "cannot be reached"),
        ("migrate", "cannot be reached"),
    ],
)
def test_one_line_says_why(
    arguments: str,
    said: str,
    blocked: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = [word.format(blocked=blocked) for word in arguments.split()]

    status, told = ended(capsys, monkeypatch, *words)

    assert (status, said in told) == (2, True), told
    assert "Traceback" not in told
    assert not (blocked.parent.parent / "home" / "postgres").exists()  # no stack was started


@pytest.mark.parametrize(
    "arguments",
    [
        "lotsizing tune tiny_2x1 --seed -1",
        "lotsizing tune tiny_2x1 --chains 0",
        "backfill --days 999999",
        "backfill --days 0",
        "run --days 999999",
        "replay --sample -1",
        "bench dashboard --rows 0",
    ],
)
def test_a_number_out_of_range_is_a_misuse(
    arguments: str,
    blocked: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    status, told = ended(capsys, monkeypatch, *arguments.split())

    assert (status, "Invalid value for" in told) == (2, True), told


def test_a_study_whose_folder_cannot_be_written_does_not_begin(
    blocked: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DECISIONS_HOME", str(blocked))

    status, told = ended(capsys, monkeypatch, "study", "payments-reference")

    assert (status, "cannot be written" in told) == (2, True), told
