"""What is measured and diagnosed after each cycle, for every domain."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache

import numpy as np
import polars as pl

from decisions.diagnostics.oscillation import Series, diagnose_all
from decisions.domain import Domain
from decisions.flow import gains, measures
from decisions.flow.learning import cached_policy, planned_generations
from decisions.flow.measures import Measures, Seen
from decisions.flow.rows import history, unresolved_share
from decisions.policy import FloatArray, Policy
from decisions.seeds import stream
from decisions.store import cycles, generations
from decisions.store.database import Database
from decisions.store.generations import Generation

DEPLOYED = "deployed"
LOOKED_BACK = 32  # cycles that are held against a common model of rewards
_ABOUT_VALUE = tuple(
    name + end
    for name in ("value", "level", "control", "over_control", "nothing", "gain")
    for end in ("", "_se")
)
_AGAINST = ("control", "gain")  # one of them is there where a value is against a reference


@dataclass(frozen=True, eq=False)
class _Cycle:
    """Rows of one cycle, and what generations make of fixed contexts: nothing is done twice.

    Both functions are None for a generation that is not trained, or is of no finite actions.
    """

    rows: pl.DataFrame  # history
    newest: pl.DataFrame  # of them, the last ones with a known outcome
    on_reference: Callable[[int | None], Seen | None]
    on_newest: Callable[[int | None], Seen | None]
    trained: frozenset[int]  # numbers of generations
    cutoffs: frozenset[datetime]  # planned or diagnosed, between which cycles lie


def diagnose(db: Database, domain: Domain, *, cutoff: datetime) -> None:
    """Measures the cycle that ends at a cut-off, and says what the series up to it show.

    A cycle is what matured since the cut-off before: decisions taken in [previous - maturity,
    cutoff - maturity), of no more than the training window and holdout. Its series are `deployed`,
    all that traffic as it ran against doing nothing (`measures.traffic`, `gains`), and each
    candidate of the cut-off by name, as its evaluation found it (`measures.estimated`); both with
    what policies do on a fixed batch of contexts and with the window that trained them. Series of
    earlier cycles are diagnosed again, also where this cycle has nothing of them. Each candidate
    is also compared with its parent on the cycle's newest contexts (`_diagnose_generations`).

    Measured once, with outcomes as known at the cut-off: one of before the cut-off that is stored
    later would change the figures, and those that stand are those that could be known. A cut-off
    that is made up for is measured and diagnosed among the cycles before it, whose neighbours it
    then is; diagnoses of later cut-offs stand as they were made, and the next one sees all.
    """
    diagnosed = cycles.diagnosed(db, domain.name)
    told = set(db.read("diagnostic/all", domain=domain.name)["number"].to_list())
    planned = planned_generations(db, domain, cutoff)
    fresh = [item for item in planned if item.number not in told]
    if cutoff in diagnosed and not fresh:
        return
    known = [each for each in diagnosed if each < cutoff]
    cycle = _cycle(db, domain, cutoff, known)
    if cutoff not in diagnosed:
        _diagnose_cycle(db, domain, cutoff, cycle, planned=planned, known=known)
    _diagnose_generations(db, domain, cycle, fresh)


def _cycle(db: Database, domain: Domain, cutoff: datetime, known: list[datetime]) -> _Cycle:
    """The cycle that ends at `cutoff`, after those `known`."""
    planned = {each.cutoff for each in generations.generations(db, domain.name)}
    cutoffs = frozenset({*planned, *known, cutoff})
    since, until = _span(domain, cutoff, cutoffs)
    rows = history(db, domain, since=since, until=until, as_of=cutoff)
    newest = rows.filter(pl.col("reward").is_finite()).tail(measures.JUDGED_ROWS)
    trained = frozenset(db.read("generation/told", domain=domain.name)["number"].to_list())

    @cache
    def policy(number: int) -> Policy:
        return cached_policy(db, domain, number)

    def acting(batch: measures.Batch | None) -> Callable[[int | None], Seen | None]:
        @cache
        def seen(number: int | None) -> Seen | None:
            if batch is None or number not in trained:
                return None
            return measures.act_on(domain, policy(number), batch)

        return seen

    return _Cycle(
        rows=rows,
        newest=newest,
        on_reference=acting(measures.reference_batch(domain)),
        on_newest=acting(measures.batch_of(domain, newest) if newest.height else None),
        trained=trained,
        cutoffs=cutoffs,
    )


def _span(
    domain: Domain, cutoff: datetime, others: Iterable[datetime]
) -> tuple[datetime, datetime]:
    """When the decisions of the cycle that ends at `cutoff` were taken: [since, until)."""
    until = cutoff - domain.maturity
    longest = until - max(domain.window + domain.holdout, domain.maturity)
    starts = (each - domain.maturity for each in others if each < cutoff)
    return max([longest, *starts]), until


def _diagnose_cycle(
    db: Database,
    domain: Domain,
    cutoff: datetime,
    cycle: _Cycle,
    *,
    planned: list[Generation],
    known: list[datetime],
) -> None:
    before = cycles.measurements(db, domain.name).filter(pl.col("cutoff") < cutoff)
    measured = _measured(db, domain, cutoff, cycle, planned, before)
    rows = [
        {"cutoff": cutoff, "series": series, "name": name, "value": value}
        for series, found in measured.items()
        for name, value in found.items()
    ]
    seen = pl.concat([before, pl.DataFrame(rows, schema=before.schema)])
    names = sorted({*seen["series"].unique(), *measured})
    series = {name: _series(seen, name, [*known, cutoff]) for name in names}
    series[DEPLOYED] = _by_part(
        db, domain, series[DEPLOYED], seen, [*known, cutoff], cycle.cutoffs
    )
    found = diagnose_all(
        series,
        stream(0, domain.name, "diagnose", cutoff.isoformat()),
        material=domain.material,
        unit=domain.reward_unit,
        headline=DEPLOYED,
    )
    told = {
        name: replace(each, reasons=(*each.reasons, *_missing(seen, name)))
        for name, each in found.items()
    }
    cycles.record(db, domain.name, cutoff, measured, told, now=cutoff)


def _measured(
    db: Database,
    domain: Domain,
    cutoff: datetime,
    cycle: _Cycle,
    planned: list[Generation],
    before: pl.DataFrame,
) -> dict[str, Measures]:
    """What the cycle shows, by series: `deployed`, then each candidate that is trained."""
    deployed = measures.traffic(domain, cycle.rows)
    deployed |= gains.gained(domain, cycle.rows.filter(pl.col("reward").is_finite()))
    acting = deployed.get("generation")
    if acting is not None:
        number = int(acting)
        if domain.gain is not None:
            deployed |= gains.simulated(domain, cached_policy(db, domain, number), cutoff)
        then = cycle.on_reference(_acting_before(before))
        deployed |= measures.moved(cycle.on_reference(number), then)
        deployed |= {
            name: value
            for name, value in _window(db, domain, number).items()
            if name != "unresolved_share"
        }
    found = {DEPLOYED: deployed}
    for item in planned:
        if item.number in cycle.trained:
            now = cycle.on_reference(item.number)
            found[item.policy] = {
                **_explored(now),
                **measures.moved(now, cycle.on_reference(_earlier_of(db, domain, item))),
                **_predicted(cycle, item.number),
                **_window(db, domain, item.number),
                **_estimated(db, domain, item.number),
                "generation": float(item.number),
            }
    return found


def _acting_before(before: pl.DataFrame) -> int | None:
    """The generation that decided most of the newest cycle that decided anything."""
    acting = before.filter(pl.col("series") == DEPLOYED, pl.col("name") == "generation")
    return None if acting.is_empty() else int(acting.sort("cutoff")["value"][-1])


def _earlier_of(db: Database, domain: Domain, item: Generation) -> int | None:
    """The same candidate of the cut-off before; its parent where it is the first of its kind."""
    same = [
        each
        for each in generations.generations(db, domain.name)
        if each.policy == item.policy and each.cutoff < item.cutoff
    ]
    return max(same, key=lambda each: each.cutoff).number if same else item.parent


def _explored(seen: Seen | None) -> Measures:
    if seen is None:
        return {}
    return measures.explored(seen.probabilities, seen.eligible, seen.propensity)


def _predicted(cycle: _Cycle, number: int) -> Measures:
    """How right a candidate's predictions are about the newest logged rows."""
    seen = cycle.on_newest(number)
    if seen is None or seen.scores is None:
        return {}
    return measures.predicted(seen.scores, seen.eligible, cycle.newest)


def _window(db: Database, domain: Domain, number: int) -> Measures:
    found = db.read("training/of_generation", domain=domain.name, number=number)
    if found.is_empty() or number == 0:
        return {}
    return measures.window(json.loads(found["details"][0]), int(found["row_count"][0]))


def _estimated(db: Database, domain: Domain, number: int) -> Measures:
    found = generations.evaluation(db, domain.name, number)
    return {} if found is None else measures.estimated(found[1])


def _series(seen: pl.DataFrame, name: str, cutoffs: list[datetime]) -> Series:
    """One series from its first value on, NaN where a cycle has nothing of it.

    A cycle whose value is measured against nothing is left out where others have a control.
    """
    own = seen.filter(pl.col("series") == name)
    cutoffs = _begun(own, cutoffs)
    table = {
        quantity: _aligned(rows, cutoffs)
        for (quantity,), rows in own.group_by("name")
        if isinstance(quantity, str)
    }
    nothing = np.full(len(cutoffs), np.nan)
    value = table.get("value", nothing)
    compared = np.any([np.isfinite(table.get(name, nothing)) for name in _AGAINST], axis=0)
    if compared.any():
        value = np.where(compared, value, np.nan)
    return Series(
        value=value,
        standard_error=table.get("value_se", nothing),
        measures={key: each for key, each in table.items() if key not in _ABOUT_VALUE},
    )


def _begun(own: pl.DataFrame, cutoffs: list[datetime]) -> list[datetime]:
    """Those of `cutoffs` from the first on in which a series has a value that counts."""
    compared = own.filter(pl.col("name").is_in(_AGAINST))
    first = (own.filter(pl.col("name") == "value") if compared.is_empty() else compared)["cutoff"]
    begun = first.min()
    return [each for each in cutoffs if isinstance(begun, datetime) and each >= begun]


def _by_part(
    db: Database,
    domain: Domain,
    whole: Series,
    seen: pl.DataFrame,
    cutoffs: list[datetime],
    between: frozenset[datetime],
) -> Series:
    """The series of all traffic with its parts, where rewards are modelled, of recent cycles.

    Cycles end at `cutoffs` and lie between those in `between`. Where one of them has a value but
    no row that says by which probabilities it was decided, no cycle is split into parts.
    """
    own = seen.filter(pl.col("series") == DEPLOYED)
    begun = _begun(own, cutoffs)[-LOOKED_BACK:]
    if domain.rewards is None or not begun:
        return whole
    rows: list[pl.DataFrame] = []
    most = min(gains.CYCLE_ROWS, gains.rows_of_each(len(begun)))
    for cutoff in begun:
        since, until = _span(domain, cutoff, between)
        rows.append(gains.sample(db, domain, since=since, until=until, as_of=cutoff, most=most))
    found = gains.expected(domain, rows)
    recent = slice(-len(begun), None)
    valued = np.isfinite(whole.value[recent])
    if found is None or np.isnan(found.parts[:, valued]).any():
        return whole
    level = _aligned(own.filter(pl.col("name") == "level"), begun)
    return replace(
        whole,
        value=whole.value[recent],
        standard_error=whole.standard_error[recent],
        measures={name: each[recent] for name, each in whole.measures.items()},
        parts=found.parts,
        shares=found.shares,
        outcome=level,
    )


def _aligned(rows: pl.DataFrame, cutoffs: list[datetime]) -> FloatArray:
    by_cutoff: dict[datetime, float] = dict(rows.select("cutoff", "value").iter_rows())
    return np.array([by_cutoff.get(each, np.nan) for each in cutoffs])


def _missing(seen: pl.DataFrame, name: str) -> list[str]:
    """What the value of a series is measured against, where it is not a control."""
    own = seen.filter(pl.col("series") == name)
    valued = own.filter(pl.col("name") == "value")["cutoff"].unique()
    controlled = own.filter(pl.col("name").is_in(_AGAINST))["cutoff"].unique()
    if not len(valued) or len(controlled) == len(valued):
        return []
    if len(controlled):
        return [
            f"{len(valued) - len(controlled)} of {len(valued)} cycles left out, with nothing to"
            " compare with: keep a control slice in all traffic"
        ]
    if name == DEPLOYED:
        return [
            "there is nothing to compare with, no control slice and no model of rewards: the value"
            " is the mean reward itself, so it also moves where the world does. Log a small share"
            " of the traffic under the arm 'control'"
        ]
    return [
        "the evaluation estimates no baseline: the value is the difference from the champion of"
        " each cut-off, so it also moves when the champion changes"
    ]


def _diagnose_generations(
    db: Database, domain: Domain, cycle: _Cycle, planned: list[Generation]
) -> None:
    """Records, for each of some generations, how far it moved from its parent.

    `decisions` of the cycle; `unresolved_share` of them without a known outcome; `reward_mean` of
    the known; `churn_total_variation` and `churn_greedy` against the parent, `entropy_normalised`,
    all three over the newest contexts of the cycle (finite actions only).
    """
    reward = cycle.rows["reward"].drop_nulls()
    common = {
        "decisions": float(cycle.rows.height),
        "unresolved_share": unresolved_share(cycle.rows),
        "reward_mean": float(reward.to_numpy().mean()) if len(reward) else float("nan"),
    }
    for item in planned:
        now = cycle.on_newest(item.number)
        moved = measures.moved(now, cycle.on_newest(item.parent)) | _explored(now)
        values = common | {
            name: value
            for name, value in moved.items()
            if name in ("churn_total_variation", "churn_greedy", "entropy_normalised")
        }
        generations.record_diagnostics(
            db,
            domain.name,
            item.number,
            {name: value for name, value in values.items() if np.isfinite(value)},
            now=item.cutoff,
        )
