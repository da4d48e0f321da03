"""The ledger that pages are tested against holds what it promises."""

from decisions.domains.payments import DOMAIN
from decisions.replay import replay, sample
from decisions.store import audit, generations
from decisions.store.database import Database


def test_each_verdict_has_a_series(ledger: Database) -> None:
    found = ledger.read("diagnosis/latest").select("domain", "series", "verdict").rows()

    assert set(found) == {
        ("payments", "squarecb", "oscillating"),
        ("payments", "deployed", "suspect"),
        ("payments", "fastcb", "stable"),
        ("lotsizing", "pdppo", "inconclusive"),
        ("navigation", "ppo", "degenerate"),
    }


def test_a_person_and_the_gate_have_promoted(ledger: Database) -> None:
    promoted_by = ledger.read("promotion/all")["promoted_by"].unique().to_list()

    assert {"begin", "gate", "ann.lee@example.com"} == set(promoted_by)
    assert generations.champion(ledger, "payments") == 32


def test_its_seals_hold_and_its_decisions_replay(ledger: Database) -> None:
    _, _, ids = sample(ledger, DOMAIN, 200, 1)

    replayed = replay(ledger, DOMAIN, ids)

    assert replayed.equal
    assert replayed.stored.height == 200
    assert audit.verify(ledger).broken is None
