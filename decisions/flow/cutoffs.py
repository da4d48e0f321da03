"""The steps of one cut-off in their order, as the DAGs run them one by one."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from time import sleep

from decisions.domain import Domain
from decisions.errors import DataError, LeaseLost
from decisions.flow.comparing import evaluate_generation, judge_cutoff
from decisions.flow.learning import begin, plan_generations, prepare, train_generation
from decisions.flow.living import catch_up, due_days, settle
from decisions.flow.measuring import diagnose
from decisions.flow.steps import DAY
from decisions.store import cycles
from decisions.store.database import Database

AT = timedelta(hours=2)  # after midnight: by then the day before is decided and stored
PAUSES_S = (0.5, 2.0, 8.0)  # before a step that another worker took over is repeated
FIRST = datetime(2019, 11, 4, tzinfo=UTC)  # a Monday, from which cadences are counted


def scheduled(domain: Domain, days: Sequence[datetime]) -> list[datetime]:
    """The cut-offs that a domain's own schedule has on these days (midnights, UTC), in order.

    A domain of a longer cadence than a day has them on the same days whenever it is asked: its
    weeks begin on Mondays.
    """
    cadence = max(domain.cadence, DAY)
    return [day + AT for day in days if (day - FIRST) % cadence < DAY]


def decide_due(db: Database, domain: Domain, *, until: datetime, seed: int, holder: str) -> int:
    """Decides the units of every day that is due by `until`; how many decisions were taken.

    The domain begins with its baseline where it has not. Where others decide there is nothing to
    do: their log comes with the next generation.
    """
    if domain.world is None:
        return 0
    begin(db, domain, now=until - DAY, seed=seed)
    return catch_up(db, domain, until=until, holder=holder)


def settle_due(db: Database, domain: Domain, *, as_of: datetime, holder: str) -> int:
    """Stores the outcomes that became known by `as_of`; how many were new, 0 for others' logs."""
    if domain.world is None:
        return 0
    return settle(db, domain, as_of=as_of, holder=holder)


def plan_cutoff(
    db: Database, domain: Domain, *, cutoff: datetime, seed: int, holder: str
) -> list[int]:
    """Brings in what a cut-off needs, and numbers its candidates; none without matured history."""
    prepare(db, domain, cutoff=cutoff, seed=seed, holder=holder)
    return plan_generations(db, domain, cutoff=cutoff, seed=seed)


def process_cutoff(
    db: Database,
    domain: Domain,
    *,
    cutoff: datetime,
    seed: int,
    holder: str,
    report: Callable[[str], None] = lambda _: None,
) -> None:
    """Decides, settles, trains, evaluates, judges and diagnoses one cut-off in this process.

    These are the steps of the domain's DAGs, one after another; a step that was done before finds
    its result, so that a second call resumes where a killed one was. `report` is told of each step
    before it begins. MLflow and alerts are left to the caller.
    """
    report("decide")
    decide_due(db, domain, until=cutoff, seed=seed, holder=holder)
    settle_due(db, domain, as_of=cutoff, holder=holder)
    planned = plan_cutoff(db, domain, cutoff=cutoff, seed=seed, holder=holder)
    for number in planned:
        report(f"train {number}")
        train_generation(db, domain, number, holder=holder)
    for number in planned:
        report(f"evaluate {number}")
        evaluate_generation(db, domain, number, holder=holder)
    report("diagnose")
    judge_cutoff(db, domain, cutoff=cutoff, holder=holder)
    diagnose(db, domain, cutoff=cutoff)


def process_cutoffs(
    db: Database,
    domain: Domain,
    cutoffs: Sequence[datetime],
    *,
    first: datetime,
    seed: int,
    holder: str,
    report: Callable[[datetime, str], None],
) -> None:
    """Processes the cut-offs that have not been processed, the oldest first.

    The day before `first` is decided before them: a domain that has not begun begins with it, and
    of one that began later the days from then on are due (not where units are successive, see
    `due_days`). `report` is called with the cut-off and the name of each of its steps before that
    step begins, and with "done" after the last, or "failed".

    A step that another worker took over is repeated. A cut-off that fails, for whatever reason,
    keeps none from the next, as in the DAGs.

    Raises:
        DataError: some cut-offs failed; the message tells of the first, which is its cause.
    """
    _repeated(lambda: decide_due(db, domain, until=first, seed=seed, holder=holder))
    failed: list[tuple[datetime, Exception]] = []
    processed = set(cycles.diagnosed(db, domain.name))
    for cutoff in sorted(cutoffs):
        step = partial(
            process_cutoff if cutoff not in processed else _decide_left,
            db,
            domain,
            cutoff=cutoff,
            seed=seed,
            holder=holder,
            report=partial(report, cutoff),
        )
        try:
            _repeated(step)
        except Exception as error:
            failed.append((cutoff, error))
            report(cutoff, "failed")
        else:
            report(cutoff, "done")
    if failed:
        at, error = failed[0]
        many = "1 cut-off" if len(failed) == 1 else f"{len(failed)} cut-offs"
        what = f"{type(error).__name__}: {error}"
        raise DataError(f"{many} failed; the first, {at:%Y-%m-%d}: {what}") from error


def _decide_left(
    db: Database,
    domain: Domain,
    *,
    cutoff: datetime,
    seed: int,
    holder: str,
    report: Callable[[str], None],
) -> None:
    """Decides the days before a processed cut-off that a run of earlier ones made due."""
    if domain.world is not None and due_days(db, domain, until=cutoff):
        report("decide")
        decide_due(db, domain, until=cutoff, seed=seed, holder=holder)


def _repeated(step: Callable[[], object]) -> None:
    """Does a step, again where another worker took it over: it then finds what that one wrote."""
    for pause_s in PAUSES_S:
        try:
            step()
        except LeaseLost:
            sleep(pause_s)
        else:
            return
    step()
