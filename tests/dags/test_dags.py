"""The DAGs are wired as drawn, parse fast, and run a day on a real database."""

import json
import socketserver
import threading
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from decisions.diagnostics.oscillation import Diagnosis, Statistics
from decisions.domains.lotsizing.instance import packaged, to_json
from decisions.store import cycles, generations
from decisions.store.database import Database
from tests.dags.conftest import Run
from tests.integration.coins import COINS

GENERATION = {
    "plan": ["train"],
    "train": ["evaluate"],
    "evaluate": ["judge"],
    "judge": ["diagnose"],
    "diagnose": ["alert", "publish"],
    "publish": [],
    "alert": [],
}
USUAL = {"catchup": False, "max_active_runs": 1, "notes": True, "retries": [2]}
WIRING = {
    "payments_decide": {"schedule": "0 0 * * *", "edges": {"decide": []}, **USUAL},
    "payments_settle": {"schedule": "30 0 * * *", "edges": {"settle": []}, **USUAL},
    "payments_generation": {"schedule": "0 2 * * *", "edges": GENERATION, **USUAL},
    "payments_published_decide": {"schedule": "0 0 * * *", "edges": {"decide": []}, **USUAL},
    "payments_published_settle": {"schedule": "30 0 * * *", "edges": {"settle": []}, **USUAL},
    "payments_published_generation": {
        "schedule": "0 2 * * 1,4,6",
        "edges": GENERATION,
        **USUAL,
    },
    "lotsizing_decide": {"schedule": "0 0 * * *", "edges": {"decide": []}, **USUAL},
    "lotsizing_settle": {"schedule": "30 0 * * *", "edges": {"settle": []}, **USUAL},
    "lotsizing_generation": {"schedule": "0 2 * * 1", "edges": GENERATION, **USUAL},
    "open_bandit_generation": {"schedule": None, "edges": GENERATION, **USUAL},
}


def test_dags_have_the_wiring_that_was_drawn_and_parse_without_heavy_imports(
    in_airflow: Run,
) -> None:
    done = in_airflow(
        "-m",
        "wiring",
        "payments",
        "payments_published",
        "lotsizing",
        "open_bandit",
        DECISIONS_RETRIES="2",
    )

    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout.splitlines()[-1])
    assert seen["dags"] == WIRING
    assert seen["heavy"] == []
    assert max(seen["seconds"].values()) < 0.3


def test_without_a_schedule_every_dag_waits_to_be_triggered(in_airflow: Run) -> None:
    done = in_airflow("-m", "wiring", "payments", DECISIONS_SCHEDULE="off")

    seen = json.loads(done.stdout.splitlines()[-1])
    assert {each["schedule"] for each in seen["dags"].values()} == {None}


def test_a_plant_of_one_s_own_is_planned_where_its_file_is_named(
    in_airflow: Run, tmp_path: Path
) -> None:
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    plant = json.loads(to_json(packaged("tiny_2x1"))) | {"name": "press shop"}
    good.write_text(json.dumps(plant))
    bad.write_text(json.dumps(plant | {"production": [[4, -3]]}))
    code = "import lotsizing; print(lotsizing.lotsizing().world.names)"

    read = in_airflow("-c", code, DECISIONS_LOTSIZING_PLANT=str(good))
    refused = in_airflow("-c", code, DECISIONS_LOTSIZING_PLANT=str(bad))

    assert read.stdout.splitlines()[-1] == "['press shop/1', 'press shop/2']"
    assert refused.returncode != 0
    assert "bad.json: production[0][1] is -3" in refused.stderr


@contextmanager
def serving(handler: type[socketserver.BaseRequestHandler]) -> Generator[int]:
    """The port of a server that handles requests in a thread."""
    server: socketserver.TCPServer = HTTPServer(("127.0.0.1", 0), handler)  # type: ignore[arg-type]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Webhook(BaseHTTPRequestHandler):
    posted: list[dict[str, str]] = []  # noqa: RUF012  (what this test's server was sent)

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        self.posted.append(json.loads(self.rfile.read(length)))
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        del format, args


class Mail(socketserver.StreamRequestHandler):
    """As much of RFC 5321 as a client without a password needs."""

    letters: list[str] = []  # noqa: RUF012

    def handle(self) -> None:
        self.wfile.write(b"220 test\r\n")
        while line := self.rfile.readline():
            command = line[:4].upper()
            if command == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                letter = b""
                while (text := self.rfile.readline()) != b".\r\n":
                    letter += text
                self.letters.append(letter.decode())
            self.wfile.write(b"221 bye\r\n" if command == b"QUIT" else b"250 ok\r\n")
            if command == b"QUIT":
                return


def swinging(db: Database, cutoff: datetime) -> None:
    """A first diagnosis, of a time before the days that are lived, that the next one changes."""
    found = Diagnosis(
        verdict="oscillating",
        reasons=("test",),
        explanation="It swings.",
        action="Look.",
        statistics=Statistics(generations=9),
    )
    cycles.record(db, COINS.name, cutoff, {}, {"deployed": found}, now=cutoff)


def test_three_days_of_dags_bring_a_new_champion_and_tell_once_of_a_changed_verdict(
    in_airflow: Run, database: Database
) -> None:
    start = datetime(2026, 3, 2, tzinfo=UTC)
    days = [(start + timedelta(days=day)).isoformat() for day in range(3)]
    swinging(database, start - timedelta(days=1))

    with serving(Webhook) as hook, serving(Mail) as smtp:
        done = in_airflow(
            "-m",
            "live",
            *days,
            days[-1],  # repeated: it finds everything told
            DECISIONS_DATABASE_URL=database.url,
            DECISIONS_ALERT_WEBHOOK=f"http://127.0.0.1:{hook}/",
            DECISIONS_ALERT_EMAIL="owner@example.org",
            AIRFLOW_CONN_SMTP_DEFAULT=json.dumps(
                {
                    "conn_type": "smtp",
                    "host": "127.0.0.1",
                    "port": smtp,
                    "extra": {
                        "disable_ssl": True,
                        "disable_tls": True,
                        "from_email": "decisions@example.org",
                    },
                }
            ),
        )

    assert [(told["series"], told["verdict"], told["previous"]) for told in Webhook.posted] == [
        ("deployed", "inconclusive", "oscillating")
    ]
    assert len(Mail.letters) == 1
    assert "Subject: coins/deployed is inconclusive" in Mail.letters[0]
    logged = done.stdout + done.stderr
    assert logged.count("verdict changed: coins/deployed is inconclusive") == 1
    assert done.returncode == 0, done.stderr[-4000:]
    states = json.loads(done.stdout.splitlines()[-1])
    assert set(states.values()) <= {"success", "skipped"}, states
    champion = generations.champion(database, COINS.name)
    assert generations.generation(database, COINS.name, champion).policy == "means"
