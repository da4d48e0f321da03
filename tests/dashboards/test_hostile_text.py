"""What was stored, or is in an address, is shown as it is: never read as Markdown or HTML."""

import json
import re
from collections.abc import Iterable
from typing import Any

import numpy as np
import polars as pl
import pytest
from streamlit.testing.v1 import AppTest

from decisions.cli.bench.big_ledger import record_cycles
from decisions.diagnostics.oscillation import Series
from decisions.evaluation import Evaluation, unknown
from decisions.frames import DECISIONS, SLOTS, UNITS, unit_id
from decisions.gate import GateRule, judge
from decisions.store import artifacts, decision_log, generations
from decisions.store.database import Database
from tests.dashboards.reading import unfold
from tests.dashboards.samples import DAY, START, begun, estimate

HOSTILE = (
    "![x](http://evil.example/p.png) :violet[r] :material/home: $a$ <img src=x> `c`"
    " www.evil.example"
)
READ_AS_MARKDOWN = (  # what each piece of it looks like where it would be read as more than text
    r"!\[x\]\(",
    r"(?<!\\):violet\[",
    r":material/home:",
    r"(?<!\\)\$a",
    r"(?<!\\)<img",
    r"http://evil",
    r"www\.evil",
)
DOMAIN = "payments"
NOW = START + DAY


@pytest.fixture
def hostile(database: Database) -> Database:
    """A store whose every text is hostile, as far as its rules let it in."""
    begun(database, DOMAIN)
    numbers = generations.plan(
        database,
        DOMAIN,
        cutoff=NOW,
        policies=[HOSTILE, f"{HOSTILE} two"],
        seed=1,
        config={"text": HOSTILE},
        code_version=HOSTILE,
        now=NOW,
    )
    refused = Evaluation(
        candidate=unknown(n=9), champion=unknown(n=9), difference=unknown(n=9), refusal=HOSTILE
    )
    better = Evaluation(
        candidate=estimate(0.9, 0.01),
        champion=estimate(0.88, 0.01),
        difference=estimate(0.02, 0.005),
        estimates={f"difference {name}": estimate(0.02, 0.005) for name in ("DR", HOSTILE)},
        checks={HOSTILE: 1.0, "ess_share": 0.5},
    )
    for number, evaluation in zip(numbers, (better, refused), strict=True):
        generations.record_artifact(
            database,
            DOMAIN,
            number,
            artifacts.pack({"policy.json": b"1"}),
            rows=10,
            details={"airflow": {"dag": HOSTILE, "run": HOSTILE}, "fallback": HOSTILE},
            now=NOW,
        )
        generations.record_evaluation(database, DOMAIN, number, 0, evaluation, now=NOW)
        generations.record_verdict(
            database, DOMAIN, number, judge(evaluation, GateRule()), now=NOW
        )
    generations.promote(database, DOMAIN, numbers[0], by=HOSTILE, reason=HOSTILE, now=NOW)
    _decided(database, numbers[0])
    values = np.where(np.arange(16) % 2, 0.9, 0.95)
    series = Series(value=values, standard_error=np.full(16, 0.001))
    record_cycles(database, DOMAIN, {HOSTILE: series}, first=NOW, rng=np.random.default_rng(1))
    return database


def _decided(db: Database, generation: int) -> None:
    number = unit_id(int(NOW.timestamp()) // 60, 1)
    unit = {
        "unit_id": number,
        "reference": HOSTILE,
        "observed_at": NOW,
        "payload": json.dumps({HOSTILE: HOSTILE, "plant": HOSTILE}),
    }
    decision = {
        "decision_id": number * SLOTS,
        "unit_id": number,
        "slot": 0,
        "parent_id": None,
        "generation": generation,
        "arm": "exploit",
        "decided_at": NOW,
        "eligible": [0, 1],
        "scores": [0.1, 0.2],
        "probabilities": [0.5, 0.5],
        "action": [1.0],
        "nominal": [1.0],
        "propensity": 0.5,
        "arm_propensity": 0.5,
        "uniform": 0.7,
    }
    now = NOW + DAY
    decision_log.append(db, DOMAIN, "unit", HOSTILE, pl.DataFrame([unit], schema=UNITS), now=now)
    decision_log.append(
        db, DOMAIN, "decision", HOSTILE, pl.DataFrame([decision], schema=DECISIONS), now=now
    )
    broken = {**unit, "unit_id": -1, "reference": f"{HOSTILE} broken"}
    decision_log.append(
        db, DOMAIN, "unit", "broken", pl.DataFrame([broken], schema=UNITS), now=now
    )


def shown(page: AppTest) -> Iterable[tuple[str, str]]:
    """Each text of a page that a browser reads as Markdown, with the kind of its element."""
    for kind in ("markdown", "caption", "subheader", "info", "warning", "error", "success"):
        for each in _of(page, kind):
            yield kind, each.value
    for each in _of(page, "metric"):
        yield "metric", f"{each.label} {each.value} {each.delta}"
    for kind in ("button", "page_link", "selectbox", "radio", "toggle", "expander"):
        for each in _of(page, kind):
            yield kind, each.label


def _of(page: AppTest, kind: str) -> list[Any]:
    return [*page.get(kind)]


def without_code(markdown: str) -> str:
    """Markdown without its spans of code, in which nothing is read."""
    return re.sub(r"(?<![\\`])(`+)(?!`).*?(?<!`)\1(?!`)", "", markdown)


@pytest.mark.parametrize(
    ("name", "asked", "parts"),
    [
        ("overview", {}, ()),
        ("generations", {}, ("values", "champions", "generations", "generation", "compare")),
        ("generations", {"generation": "2"}, ()),
        ("generations", {"domain": HOSTILE, "generation": HOSTILE, "compare": HOSTILE}, ()),
        ("oscillation", {"series": HOSTILE}, ("series",)),
        ("oscillation", {"part": "Rhythm", "domain": HOSTILE}, ("rhythm",)),
        ("off_policy", {"generation": "1"}, ("numbers", "weights")),
        ("off_policy", {"generation": "2"}, ()),
        ("decisions", {"unit": HOSTILE}, ("search",)),
        ("decisions", {"unit": f"{HOSTILE} unknown"}, ()),
        ("decisions", {"decision": HOSTILE, "arm": HOSTILE, "since": HOSTILE}, ()),
        ("decisions", {"decision": "the stored one"}, ()),
        ("plan", {"plant": HOSTILE, "item": HOSTILE}, ()),
        (
            "audit",
            {},
            ("verification", "export", "seals", "promotions", "versions", "quarantined"),
        ),
    ],
)
def test_hostile_text_is_shown_as_it_is(
    dashboard: AppTest,
    hostile: Database,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    asked: dict[str, str],
    parts: tuple[str, ...],
) -> None:
    monkeypatch.setenv("DECISIONS_DATABASE_URL", hostile.url)
    page = dashboard.run().switch_page(f"pages/{name}.py")
    for key, value in asked.items():
        stored = str(unit_id(int(NOW.timestamp()) // 60, 1) * SLOTS)
        page.query_params[key] = stored if value == "the stored one" else value

    unfold(page, *parts)

    assert not page.exception
    for kind, text in shown(page):
        for pattern in READ_AS_MARKDOWN:
            assert not re.search(pattern, without_code(text)), (kind, text)
    for table in _of(page, "html"):
        assert "<img" not in table.proto.body
