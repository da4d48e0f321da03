"""The domains as this installation runs them: over data of its own where that is configured.

Commands, tasks and pages get their domains here, so that all of them speak of the same one.
"""

from pathlib import Path

from decisions.domain import Domain
from decisions.domains import all_domains, domain_named
from decisions.settings import Settings, required_database_url, settings

SPECIMEN = "payments_published"  # simulated payments under a policy that swings, to be looked at


def configured_domain(name: str, given: Settings | None = None) -> Domain:
    """The domain of that name, over an own plant or own transactions where those are configured.

    Raises:
        DataError: there is no such domain, or what is configured cannot be read.
    """
    given = given or settings()
    if name == "payments" and given.payments_transactions is not None:
        return _own_payments(given.payments_transactions, given)
    if name == "lotsizing" and given.lotsizing_plant is not None:
        return _own_plants(given.lotsizing_plant)
    return domain_named(name)


def configured_domains(given: Settings | None = None) -> tuple[Domain, ...]:
    """Every domain there is, by name; see `configured_domain`.

    Over transactions of your own nobody runs simulated ones to see them swing.
    """
    given = given or settings()
    own = given.payments_transactions is not None
    names = [domain.name for domain in all_domains()]
    return tuple(
        configured_domain(name, given) for name in names if not (own and name == SPECIMEN)
    )


def _own_payments(source: str, given: Settings) -> Domain:
    """Payments over a folder of Parquet, or over the tables of sql:SCHEMA.

    With a table `decisions` your own system decides, and the log is learned from; without one,
    decisions are taken here.
    """
    from decisions.domains.payments import DOMAIN
    from decisions.domains.payments.parquet import has_table, parquet_reader
    from decisions.domains.payments.tables import TIME_COLUMN
    from decisions.domains.payments.transactions import with_log, with_transactions

    if source.startswith("sql:"):
        from decisions.store.database import Database
        from decisions.store.own_tables import OwnTables

        database = Database(required_database_url(given))
        tables = OwnTables(database, source.removeprefix("sql:"), {**TIME_COLUMN})
        return (with_log if tables.has("decisions") else with_transactions)(DOMAIN, tables)
    folder = Path(source)
    chosen = with_log if has_table(folder, "decisions") else with_transactions
    return chosen(DOMAIN, parquet_reader(folder))


def _own_plants(file: Path) -> Domain:
    """Lot sizing on plants of the instance that a JSON file describes."""
    from decisions.domains.lotsizing import plants_of
    from decisions.domains.lotsizing.instance import read_instance

    return plants_of(read_instance(file))
