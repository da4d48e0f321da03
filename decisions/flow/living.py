"""The days of a domain: its units arrive, are decided, and their outcomes become known."""

from datetime import datetime, timedelta

import polars as pl

from decisions.domain import Domain
from decisions.flow.deciding import decide
from decisions.flow.references import NO_UNIT, identified, with_parents
from decisions.flow.rows import history, payload, unit_columns, world_of
from decisions.flow.steps import DAY, GRACE, LOOKBACK, batch_name, day_of, days, latest, sealed
from decisions.frames import OUTCOMES, conform
from decisions.store import decision_log, generations
from decisions.store.database import Database
from decisions.store.decision_log import Appended

INSTANT = timedelta(microseconds=1)  # the least by which two times of the store differ


def due_days(db: Database, domain: Domain, *, until: datetime) -> list[datetime]:
    """Starts of the days whose units should have arrived by `until` and did not, oldest first.

    None lies more than LOOKBACK before `until`. They begin with the day the domain began, or with
    an earlier one that arrived, or with the day before `until`, whichever is first. Where units
    are successive none lies before the domain began: no history can be put before the one that
    there is. A day that brought nothing is due again.
    """
    done = sealed(db, domain, "unit")
    recent = days(until - LOOKBACK, until)
    missing = [day for day in recent if batch_name("arrive", day) not in done]
    first = day_of(generations.generation(db, domain.name, 0).cutoff)
    if not domain.successive:
        first = min([first, recent[-1], *(day for day in recent if day not in missing)])
    return [day for day in missing if day >= first]


def arrive(
    db: Database, domain: Domain, *, start: datetime, end: datetime, holder: str
) -> Appended:
    """Stores the units observed in [start, end); those stored before are recognised."""
    with latest(db, f"{domain.name}/arrive", holder) as lease:
        arrivals = _arrivals(db, domain, start=start, end=end)
        units = decision_log.assign_units(db, domain.name, arrivals)
        return decision_log.append(
            db, domain.name, "unit", batch_name("arrive", start), units, now=end, lease=lease
        )


def arrive_late(
    db: Database, domain: Domain, *, start: datetime, end: datetime, now: datetime, holder: str
) -> Appended:
    """Stores the units observed in [start, end) that their source wrote down after they arrived.

    One that is stored, by its reference, stays as it is, whatever the source says of it now.
    """
    with latest(db, f"{domain.name}/arrive", holder) as lease:
        arrivals = _arrivals(db, domain, start=start, end=end)
        with db.reading() as connection:
            stored = decision_log.units_of(connection, domain.name, arrivals["reference"])
        late = arrivals.join(stored, on="reference", how="anti")
        units = decision_log.assign_units(db, domain.name, late)
        return decision_log.append(
            db, domain.name, "unit", batch_name("arrive", start), units, now=now, lease=lease
        )


def _arrivals(db: Database, domain: Domain, *, start: datetime, end: datetime) -> pl.DataFrame:
    """The units of [start, end) as the domain's world brings them, with their payload."""
    settled = _settled(db, domain, start=start, end=end)
    arrived = world_of(domain).arrivals(start, end, settled)
    return payload(with_parents(db, domain, arrived), domain)


def _settled(db: Database, domain: Domain, *, start: datetime, end: datetime) -> pl.DataFrame:
    """The history that may lead to units of [start, end): of as much time before them.

    [start - length, start), or (start - length, start] where units are successive.
    """
    shift = INSTANT if domain.successive else timedelta(0)
    since, until = start - (end - start) + shift, start + shift
    return history(db, domain, since=since, until=until, as_of=start)


def settle(db: Database, domain: Domain, *, as_of: datetime, holder: str) -> int:
    """Stores the outcomes that became known up to `as_of`; how many were new.

    Asks for decisions up to maturity and LOOKBACK old, so that a day without a settle run loses
    nothing. An outcome whose reference matches nothing goes to quarantine once it is older than
    GRACE: until then its unit may still be written at the source, and decided. One of no unit that
    became known up to LOOKBACK after the domain began, or earlier, is passed over: it may be of a
    unit of the time before.
    """
    with latest(db, f"{domain.name}/settle", holder) as lease:
        unsettled = decision_log.unsettled(
            db, domain.name, as_of=as_of, maturity=domain.maturity + LOOKBACK
        )
        outcomes = world_of(domain).outcomes(
            unit_columns(unsettled, domain).drop("payload"), as_of
        )
        batch = batch_name("settle", as_of)
        if "reference" in outcomes.columns:
            outcomes, strangers = identified(
                db, domain, outcomes, unsettled.filter(pl.col("slot") == 0)
            )
            astray = _astray(db, domain, strangers, as_of=as_of)
            decision_log.set_aside(
                db, domain.name, "outcome", batch, astray, now=as_of, lease=lease
            )
        return decision_log.append(
            db,
            domain.name,
            "outcome",
            batch,
            conform(outcomes, OUTCOMES, f"outcomes of {domain.name}"),
            now=as_of,
            lease=lease,
        ).written


def _astray(
    db: Database, domain: Domain, strangers: pl.DataFrame, *, as_of: datetime
) -> pl.DataFrame:
    """Those of `strangers` whose decision will not come, and is not of before the domain began."""
    begun = generations.generation(db, domain.name, 0).cutoff
    earlier = (pl.col("observed_at") < begun + LOOKBACK) & (pl.col("problem") == NO_UNIT)
    return strangers.filter(pl.col("observed_at") < as_of - GRACE, ~earlier)


def catch_up(db: Database, domain: Domain, *, until: datetime, holder: str) -> int:
    """Processes every day before `until` that was not processed; how many decisions it took.

    A day's units may follow up outcomes of the day before, so each day settles what is known at
    its start, then receives its units, then decides them at its end. A scheduler may lose, merge
    or double its events: what is due is read from the store. Units that a run received and was
    stopped before deciding are decided first, as of the end of their day.

    The days of the last GRACE are asked again on every run, for rows that were written at their
    source after their day was read: those are decided as of `until`. Not so where units are
    successive: there the next day has begun without them.
    """
    taken = 0
    due = due_days(db, domain, until=until)
    arrived = sealed(db, domain, "unit")
    for start in due:
        taken += decide(db, domain, now=start, holder=holder)
        settle(db, domain, as_of=start, holder=holder)
        arrive(db, domain, start=start, end=start + DAY, holder=holder)
        taken += decide(db, domain, now=start + DAY, holder=holder)
    for start in [] if domain.successive else days(until - GRACE, until):
        if batch_name("arrive", start) in arrived:
            arrive_late(db, domain, start=start, end=start + DAY, now=until, holder=holder)
    for moment in sorted({day_of(until), until}):
        taken += decide(db, domain, now=moment, holder=holder)
    return taken
