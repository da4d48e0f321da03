"""Airflow DAGs of the tests' own domain, wired as the real ones are."""

from typing import TYPE_CHECKING

from spine import decide_dag, generation_dag, settle_dag

if TYPE_CHECKING:
    from decisions.domain import Domain


def coins() -> "Domain":
    from tests.integration.coins import COINS

    return COINS


decide = decide_dag("coins", coins, schedule="0 0 * * *", doc="test")
settle = settle_dag("coins", coins, schedule="0 0 * * *", doc="test")
generation = generation_dag("coins", coins, schedule="0 0 * * *", doc="test")
