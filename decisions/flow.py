"""The spine: the steps a DAG runs, for any domain. Each finds its own result when run twice."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from functools import partial
from math import isfinite
from typing import TYPE_CHECKING, cast

import numpy as np
import polars as pl

from decisions.actions import ActionSet
from decisions.code_version import code_version
from decisions.diagnostics.churn import greedy_churn, normalised_entropy, total_variation
from decisions.domain import Domain, World
from decisions.errors import DataError
from decisions.evaluation import Evaluation, unknown
from decisions.frames import (
    DECISIONS,
    OUTCOMES,
    SLOTS,
    UTC_TIME,
    conform,
    decided,
    decision_id,
    month_bounds,
)
from decisions.gate import Verdict
from decisions.judging import judge_together
from decisions.policy import BoolArray, FinitePolicy, Policy
from decisions.seeds import RowKeys, stream
from decisions.store import artifacts, decision_log, generations, leases, undecided
from decisions.store.database import Database
from decisions.store.decision_log import Appended
from decisions.store.generations import Generation
from decisions.store.leases import Lease

if TYPE_CHECKING:
    from decisions.store.tracking import Record

DAY = timedelta(days=1)
LEASE_SECONDS = 6 * 3600.0  # how long another holder waits for a worker that died
LOOKBACK = timedelta(days=7)
PREDECESSORS = 4  # how many earlier champions a trainer is shown
GRACE = timedelta(days=2)  # how long after a day's end its rows may still be written at the source
BATCH = 50_000  # decisions a transaction
BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


def _leased(db: Database, name: str, holder: str) -> AbstractContextManager[Lease]:
    """The lease of a long step: training, evaluation.

    It lasts longer than any training should, since nobody renews it; running out costs nothing
    while no one else takes it. The retry of a killed worker, of the same holder's name, takes
    over at once.
    """
    return leases.leased(db, name, holder=holder, seconds=LEASE_SECONDS)


def _latest(db: Database, name: str, holder: str) -> AbstractContextManager[Lease]:
    """The lease of a short step, which whoever comes last takes from whoever has it.

    So a killed worker never keeps another one waiting. Two that are alive do no harm either: the
    earlier one's token is stale, its next write raises LeaseLost, and repeating it finds what the
    later one wrote.
    """
    held = db.read("lease/holder", name=name)["holder"]
    return _leased(db, name, held[0] if len(held) else holder)


def begin(db: Database, domain: Domain, *, now: datetime, seed: int) -> None:
    """Makes the baseline generation 0 and champion, so that an incumbent always exists.

    It is champion of every time before the first promotion, also of days before `now` that are
    made up for later.
    """
    generations.begin(
        db,
        domain.name,
        policy="baseline",
        cutoff=now,
        seed=seed,
        config=_config(domain),
        code_version=code_version(),
        now=now,
    )
    begun = generations.generation(db, domain.name, 0).cutoff
    if not _trained(db, domain, 0):
        content = artifacts.pack(domain.dump(domain.baseline))
        generations.record_artifact(db, domain.name, 0, content, rows=0, details={}, now=begun)
    if db.read("promotion/champion", domain=domain.name).is_empty():
        generations.promote(
            db,
            domain.name,
            0,
            by="begin",
            reason="the baseline comes first",
            now=begun,
            since=BEGINNING,
        )


def _trained(db: Database, domain: Domain, number: int) -> bool:
    return number in db.read("generation/told", domain=domain.name)["number"].to_list()


def planned_generations(db: Database, domain: Domain, cutoff: datetime) -> list[Generation]:
    """The candidates of a cut-off, by number; generation 0 is none."""
    return [
        each
        for each in generations.generations(db, domain.name)
        if each.cutoff == cutoff and each.parent is not None
    ]


def champions(db: Database, domain: Domain, *, until: datetime) -> list[int]:
    """Generations promoted up to `until`, each once, the latest promoted first."""
    promoted = db.read("promotion/before", domain=domain.name, time=until)["number"]
    return list(dict.fromkeys(promoted.to_list()))


def _day(time: datetime) -> datetime:
    return time.replace(hour=0, minute=0, second=0, microsecond=0)


def _days(first: datetime, until: datetime) -> list[datetime]:
    """Starts of the whole UTC days from that of `first` to `until`."""
    return [_day(first) + DAY * i for i in range(max(0, (until - _day(first)) // DAY))]


def _sealed(db: Database, domain: Domain, kind: str) -> set[str]:
    """The names of the batches of a kind that are stored."""
    return set(db.read("seal/batches", domain=domain.name, kind=kind)["batch"].to_list())


def due_days(db: Database, domain: Domain, *, until: datetime) -> list[datetime]:
    """Starts of the days whose units should have arrived by `until` and did not, oldest first.

    The day before `until` is always among them. No other lies before the domain began, or more
    than LOOKBACK before `until`: an older gap is filled by runs for its own days. A day that
    brought nothing is due again.
    """
    begun = generations.generation(db, domain.name, 0).cutoff
    first = min(max(_day(begun), _day(until) - LOOKBACK), _day(until) - DAY)
    done = _sealed(db, domain, "unit")
    return [day for day in _days(first, until) if _name("arrive", day) not in done]


def unit_columns(frame: pl.DataFrame, domain: Domain) -> pl.DataFrame:
    """`frame` with its `payload` decoded into the domain's unit columns.

    A unit column that `frame` has already under the same name (a retry's `parent_id`, say) keeps
    the value of `frame`.
    """
    fresh = [name for name in domain.units if name not in frame.columns]
    payload = pl.col("payload").str.json_decode(pl.Struct(dict(domain.units)))
    return frame.with_columns(payload).with_columns(
        pl.col("payload").struct.field(name) for name in fresh
    )


def _payload(arrivals: pl.DataFrame, domain: Domain) -> pl.DataFrame:
    """`reference`, `observed_at`, and the domain's unit columns as one JSON text."""
    wanted = pl.Schema({"reference": pl.String(), "observed_at": UTC_TIME} | dict(domain.units))
    return conform(arrivals, wanted, f"arrivals of {domain.name}").select(
        "reference",
        "observed_at",
        pl.struct(list(domain.units)).struct.json_encode().alias("payload"),
    )


def history(
    db: Database, domain: Domain, *, since: datetime, until: datetime, as_of: datetime
) -> pl.DataFrame:
    """Decisions taken in [since, until) with their units' columns and what was known at `as_of`.

    `reward` and `reward_at` are null where no outcome was known then. Ordered by decision id.
    """
    stored = decision_log.history(db, domain.name, since=since, until=until, as_of=as_of)
    return unit_columns(stored, domain).drop("payload")


def _name(what: str, time: datetime) -> str:
    return f"{what}/{time:%Y-%m-%dT%H:%M:%S.%fZ}"


def _world(domain: Domain) -> World:
    if domain.world is None:
        raise DataError(f"{domain.name} has no world: its decisions are taken elsewhere, ingest")
    return domain.world


def arrive(
    db: Database, domain: Domain, *, start: datetime, end: datetime, holder: str
) -> Appended:
    """Stores the units observed in [start, end); those stored before are recognised."""
    with _latest(db, f"{domain.name}/arrive", holder) as lease:
        settled = history(db, domain, since=start - (end - start), until=start, as_of=start)
        arrivals = _payload(_world(domain).arrivals(start, end, settled), domain)
        units = decision_log.assign_units(db, domain.name, arrivals)
        return decision_log.append(
            db, domain.name, "unit", _name("arrive", start), units, now=end, lease=lease
        )


def arrive_late(
    db: Database, domain: Domain, *, start: datetime, end: datetime, now: datetime, holder: str
) -> Appended:
    """Stores the units observed in [start, end) that their source wrote down after they arrived.

    One that is stored, by its reference, stays as it is, whatever the source says of it now.
    """
    with _latest(db, f"{domain.name}/arrive", holder) as lease:
        settled = history(db, domain, since=start - (end - start), until=start, as_of=start)
        arrivals = _payload(_world(domain).arrivals(start, end, settled), domain)
        references = arrivals["reference"].drop_nulls().to_list()
        known = db.read("unit/ids_of_references", domain=domain.name, reference_list=references)
        late = arrivals.join(known, on="reference", how="anti")
        units = decision_log.assign_units(db, domain.name, late)
        return decision_log.append(
            db, domain.name, "unit", _name("arrive", start), units, now=now, lease=lease
        )


def decisions_for(
    domain: Domain,
    policy: Policy,
    units: pl.DataFrame,
    *,
    seed: int,
    generation: int,
    now: datetime,
) -> pl.DataFrame:
    """The DECISIONS frame of `policy` for a UNITS frame; it depends on nothing else.

    Neither the order nor the number of `units` changes a row: the draw of a row is counted by its
    decision id. A unit column `parent_id` names the decision that a unit follows up.
    """
    columns = unit_columns(units, domain)
    if "parent_id" not in columns.columns:
        columns = columns.with_columns(pl.lit(None, dtype=pl.Int64()).alias("parent_id"))
    keyed = columns.with_columns(pl.lit(0, dtype=pl.Int16()).alias("slot"))
    ids = keyed.select(decision_id(pl.col("unit_id"), pl.col("slot"))).to_series()
    context = domain.observe(keyed.select(list(domain.units)).lazy()).collect()
    eligible = domain.eligible(context)
    draw = policy.act(context, eligible, RowKeys(seed, ids.to_numpy()))
    return decided(keyed, draw, eligible, generation=generation, now=now)


def decide(db: Database, domain: Domain, *, now: datetime, holder: str) -> int:
    """Decides every unit observed before `now` that has no decision; how many were stored.

    The champion of that time acts. A unit for which it fails (no eligible action, a payload that
    cannot be read), and a decision that breaks a rule of `frames.decision_problems`, go to
    quarantine with the reason; the others are decided. Such a unit stays pending: the generation
    that failed does not try it again, the next champion does, once. Reasons that time mends, as a
    parent decision that is missing yet, are tried again on every run.

    Raises:
        Exception: what the policy raised, where it can decide neither any unit of a batch nor a
            sample of the domain's own: then the policy is broken, not the units.
    """
    with _latest(db, f"{domain.name}/decide", holder) as lease:
        number = generations.champion_at(db, domain.name, now)
        seed = generations.generation(db, domain.name, number).seed
        policy = load_policy(db, domain, number)
        pending = decision_log.pending(db, domain.name, now)
        if pending.height:
            failed_before = undecided.undecidable(db, domain.name, number)
            pending = pending.filter(~pl.col("unit_id").is_in(failed_before.implode()))
        take = partial(decisions_for, domain, policy, seed=seed, generation=number, now=now)
        written = 0
        for units in pending.iter_slices(BATCH):
            made, failed = _tried(take, units)
            if not made:
                _act_on_sample(domain, policy, seed)
            batch = f"{_name('decide', now)}/{units['unit_id'][0] * SLOTS}"
            undecided.set_aside(
                db, domain.name, batch, _failures(failed), generation=number, now=now, lease=lease
            )
            if made:
                written += decision_log.append(
                    db, domain.name, "decision", batch, pl.concat(made), now=now, lease=lease
                ).written
    return written


def _tried(
    take: Callable[[pl.DataFrame], pl.DataFrame], units: pl.DataFrame
) -> tuple[list[pl.DataFrame], list[tuple[int, str]]]:
    """Decisions of the units that can be decided, and (unit id, why) of those that cannot.

    A batch that fails is halved until the units at fault stand alone.
    """
    try:
        return [take(units)], []
    except Exception as error:
        if units.height == 1:
            return [], [(int(units["unit_id"][0]), f"{type(error).__name__}: {error}")]
    half = units.height // 2
    made, failed = _tried(take, units.head(half))
    more, also_failed = _tried(take, units.tail(-half))
    return made + more, failed + also_failed


def _failures(failed: list[tuple[int, str]]) -> pl.DataFrame:
    schema = {"unit_id": pl.Int64(), "reason": pl.String()}
    return pl.DataFrame(failed, schema=schema, orient="row")


def _act_on_sample(domain: Domain, policy: Policy, seed: int) -> None:
    """Raises whatever a policy raises that cannot even decide the domain's own sample."""
    rng = stream(seed, domain.name, "probe")
    context = domain.observe(domain.sample(16, rng).lazy()).collect()
    policy.act(context, domain.eligible(context), RowKeys(seed, np.arange(16)))


def settle(db: Database, domain: Domain, *, as_of: datetime, holder: str) -> int:
    """Stores the outcomes that became known up to `as_of`; how many were new.

    Asks for decisions up to maturity and LOOKBACK old, so that a day without a settle run loses
    nothing.
    """
    with _latest(db, f"{domain.name}/settle", holder) as lease:
        unsettled = decision_log.unsettled(
            db, domain.name, as_of=as_of, maturity=domain.maturity + LOOKBACK
        )
        outcomes = _world(domain).outcomes(unit_columns(unsettled, domain).drop("payload"), as_of)
        return decision_log.append(
            db,
            domain.name,
            "outcome",
            _name("settle", as_of),
            conform(outcomes, OUTCOMES, f"outcomes of {domain.name}"),
            now=as_of,
            lease=lease,
        ).written


def catch_up(db: Database, domain: Domain, *, until: datetime, holder: str) -> int:
    """Lives through every day up to `until` that was not lived yet; how many decisions it took.

    A day's units may follow up outcomes of the day before, so each day settles what is known at
    its start, then receives its units, then decides them at its end. A scheduler may lose, merge
    or double its events: what is due is read from the store. Units that a run received and was
    stopped before deciding are decided first, as of the end of their day.

    The days of the last GRACE are asked again on every run, for rows that were written at their
    source after their day was read: those are decided as of `until`.
    """
    taken = 0
    due = due_days(db, domain, until=until)
    arrived = _sealed(db, domain, "unit")
    for start in due:
        taken += decide(db, domain, now=start, holder=holder)
        settle(db, domain, as_of=start, holder=holder)
        arrive(db, domain, start=start, end=start + DAY, holder=holder)
        taken += decide(db, domain, now=start + DAY, holder=holder)
    for start in _days(until - GRACE, until):
        if _name("arrive", start) in arrived:
            arrive_late(db, domain, start=start, end=start + DAY, now=until, holder=holder)
    for moment in sorted({_day(until), until}):
        taken += decide(db, domain, now=moment, holder=holder)
    return taken


def ingest_log(
    db: Database,
    domain: Domain,
    *,
    start: datetime,
    end: datetime,
    holder: str,
    known_at: datetime | None = None,
) -> int:
    """Stores the decisions that others took in [start, end), with outcomes; how many were new.

    They are kept under generation 0, the domain's stand-in for whoever took them. Outcomes
    observed after `known_at` (default: `end`) are left for a later call. Units, decisions and
    outcomes are three transactions in this order; repeating the call stores what is missing.

    Raises:
        DataError: the domain brings no log, or a decision names a unit that did not arrive.
    """
    if domain.logged is None:
        raise DataError(f"{domain.name} brings no log: its decisions are taken here, decide")
    log = domain.logged(start, end)
    with _latest(db, f"{domain.name}/ingest", holder) as lease:
        units = decision_log.assign_units(db, domain.name, _payload(log.arrivals, domain))
        put = partial(decision_log.append, db, domain.name, now=known_at or end, lease=lease)
        put("unit", _name("ingest", start), units)
        ids = units.select("reference", "unit_id").drop_nulls().unique()
        decisions = _identified(log.decisions, ids).with_columns(
            decision_id(pl.col("unit_id"), pl.col("slot")).alias("decision_id")
        )
        taken = put(
            "decision",
            _name("ingest", start),
            conform(decisions.drop("reference"), DECISIONS, f"log of {domain.name}"),
        )
        if "slot" not in log.outcomes.columns:
            log_outcomes = log.outcomes.with_columns(pl.lit(0, dtype=pl.Int16()).alias("slot"))
        else:
            log_outcomes = log.outcomes
        outcomes = (
            _identified(log_outcomes, ids)
            .select(
                decision_id(pl.col("unit_id"), pl.col("slot")).alias("decision_id"),
                "reward",
                "observed_at",
            )
            .filter(pl.col("observed_at") <= (known_at or end))
        )
        put("outcome", _name("ingest", start), outcomes)
    return taken.written


def _identified(frame: pl.DataFrame, ids: pl.DataFrame) -> pl.DataFrame:
    joined = frame.join(ids, on="reference", how="left", validate="m:1", maintain_order="left")
    unknown_units = joined.filter(pl.col("unit_id").is_null())["reference"]
    if len(unknown_units):
        raise DataError(
            f"{len(unknown_units)} logged rows name units that did not arrive, first"
            f" {unknown_units.head(5).to_list()}: bring every unit in `arrivals`"
        )
    return joined


def plan_generations(db: Database, domain: Domain, *, cutoff: datetime, seed: int) -> list[int]:
    """Numbers of the candidates that `cutoff` trains; empty while there is no matured history.

    Planned twice, a candidate keeps its number. Its parent is the champion at the cut-off.
    """
    planned = planned_generations(db, domain, cutoff)
    if planned:
        return [generation.number for generation in planned]
    since, until = _training_span(domain, cutoff)
    matured = db.read(
        "decision/count",
        domain=domain.name,
        since=since,
        until=until,
        high=month_bounds(until)[1],
    )
    if matured["decisions"][0] == 0:
        return []
    return generations.plan(
        db,
        domain.name,
        cutoff=cutoff,
        policies=sorted(domain.candidates),
        seed=seed,
        config=_config(domain),
        code_version=code_version(),
        now=cutoff,
    )


def prepare(db: Database, domain: Domain, *, cutoff: datetime, seed: int, holder: str) -> None:
    """What a cut-off needs before it is planned: a champion, and others' logs where they decide.

    A logged domain ingests the days of its training window and holdout. A day is done once its
    outcomes, which are stored last, are there and no more are to come: days younger than the
    maturity and GRACE are asked for again, and so is one that a kill interrupted.
    """
    if domain.logged is None:
        begin(db, domain, now=cutoff, seed=seed)
        return
    first = _day(_training_span(domain, cutoff)[0])
    begin(db, domain, now=first, seed=seed)
    done = _sealed(db, domain, "outcome")
    for start in _days(first, cutoff):
        final = start + DAY + domain.maturity + GRACE <= cutoff
        if not (final and _name("ingest", start) in done):
            ingest_log(db, domain, start=start, end=start + DAY, known_at=cutoff, holder=holder)


def _config(domain: Domain) -> dict[str, object]:
    return {
        "maturity_hours": domain.maturity / timedelta(hours=1),
        "holdout_hours": domain.holdout / timedelta(hours=1),
        "window_hours": domain.window / timedelta(hours=1),
        "gate_margin": domain.gate.margin,
    }


def _training_span(domain: Domain, cutoff: datetime) -> tuple[datetime, datetime]:
    until = cutoff - domain.maturity - domain.holdout
    return until - domain.window, until


def _held_out(db: Database, domain: Domain, cutoff: datetime) -> pl.DataFrame:
    until = cutoff - domain.maturity
    return history(db, domain, since=until - domain.holdout, until=until, as_of=cutoff)


def load_policy(db: Database, domain: Domain, number: int) -> Policy:
    """The policy of a generation, from its artefact.

    Raises:
        ArtifactAltered: the stored bytes do not have the recorded digest; no parser saw them.
    """
    return domain.load(artifacts.unpack(generations.artifact(db, domain.name, number)))


def train_generation(db: Database, domain: Domain, number: int, *, holder: str) -> int:
    """Trains a planned generation and stores its artefact; the number, also when it was there.

    The trainer sees decisions of [cutoff - maturity - holdout - window, cutoff - maturity -
    holdout) with outcomes as known at the cut-off, and earlier champions; nothing newer.
    """
    if _trained(db, domain, number):
        return number
    with _leased(db, f"{domain.name}/train/{number}", holder) as lease:
        planned = generations.generation(db, domain.name, number)
        since, until = _training_span(domain, planned.cutoff)
        seen = history(db, domain, since=since, until=until, as_of=planned.cutoff)
        predecessors = champions(db, domain, until=planned.cutoff)[:PREDECESSORS]
        policy = domain.candidates[planned.policy](
            seen.lazy(),
            [load_policy(db, domain, each) for each in predecessors],
            stream(planned.seed, domain.name, "train", planned.policy, planned.cutoff.isoformat()),
        )
        generations.record_artifact(
            db,
            domain.name,
            number,
            artifacts.pack(domain.dump(policy)),
            rows=seen.height,
            details={
                "since": since.isoformat(),
                "until": until.isoformat(),
                "predecessors": predecessors,
                "unresolved_share": _unresolved(seen),
            },
            lease=lease,
            now=planned.cutoff,
        )
    return number


def _unresolved(seen: pl.DataFrame) -> float:
    return seen["reward"].null_count() / max(seen.height, 1)


def evaluate_generation(db: Database, domain: Domain, number: int, *, holder: str) -> int:
    """Compares a trained generation with its parent on the held-out history; the number.

    Without any held-out decision the evaluation is a refusal, on which the gate holds.
    """
    if generations.evaluation(db, domain.name, number) is not None:
        return number
    with _leased(db, f"{domain.name}/evaluate/{number}", holder) as lease:
        planned = generations.generation(db, domain.name, number)
        parent = _parent(planned)
        held_out = _held_out(db, domain, planned.cutoff)
        evaluation = (
            domain.evaluate(
                load_policy(db, domain, number),
                load_policy(db, domain, parent),
                held_out.lazy(),
                stream(planned.seed, domain.name, "evaluate", planned.cutoff.isoformat()),
            )
            if held_out.height
            else _refused("no matured decision in the held-out span")
        )
        generations.record_evaluation(
            db, domain.name, number, parent, evaluation, lease=lease, now=planned.cutoff
        )
    return number


def _parent(planned: Generation) -> int:
    if planned.parent is None:
        raise DataError(f"generation {planned.number} is the baseline: it is compared with none")
    return planned.parent


def _refused(why: str) -> Evaluation:
    nothing = unknown(n=0)
    return Evaluation(candidate=nothing, champion=nothing, difference=nothing, refusal=why)


def judge_cutoff(
    db: Database, domain: Domain, *, cutoff: datetime, holder: str
) -> dict[int, Verdict]:
    """The verdict on each generation of a cut-off; promotes at most one of them.

    The intervals are corrected for the number of candidates. A candidate is promoted only while
    the champion it was compared with still is champion, and nobody became it for a later time; a
    candidate that passes otherwise, as of an older cut-off made up for later, is held, saying so.
    Verdicts and promotion are one transaction under the lease. Promoting by hand (a rollback) is
    `generations.promote`.

    Raises:
        DataError: a planned generation is not evaluated yet.
    """
    planned = planned_generations(db, domain, cutoff)
    with _latest(db, f"{domain.name}/judge", holder) as lease:
        stored = generations.verdicts(db, domain.name, cutoff)
        verdicts = {each.number: each.verdict for each in stored}
        missing = [item.number for item in planned if item.number not in verdicts]
        if missing:
            judged = judge_together(
                {item.number: _evaluated(db, domain, item.number) for item in planned},
                domain.gate,
                candidates=len(planned),
            )
            verdicts |= generations.conclude(
                db,
                domain.name,
                {number: judged[number] for number in missing},
                reason=f"passed at {cutoff.isoformat()}",
                now=cutoff,
                lease=lease,
            )
    return verdicts


def _evaluated(db: Database, domain: Domain, number: int) -> Evaluation:
    found = generations.evaluation(db, domain.name, number)
    if found is None:
        raise DataError(
            f"generation {number} of {domain.name} is not evaluated, so its cut-off cannot be"
            " judged: run its train and evaluate steps again"
        )
    return found[1]


def diagnose(db: Database, domain: Domain, *, cutoff: datetime) -> None:
    """Records, for each generation of a cut-off, how far it moved from its parent.

    `decisions` held out; `unresolved_share` of them without a known outcome; `reward_mean` of the
    known; `churn_total_variation` and `churn_greedy` against the parent, `entropy_normalised`, all
    three over the held-out contexts (finite actions only).

    Measured once, with outcomes as known at the cut-off: one of before the cut-off that is stored
    later would change the figures, and those that stand are those that could be known.
    """
    measured = set(db.read("diagnostic/all", domain=domain.name)["number"].to_list())
    planned = [
        item for item in planned_generations(db, domain, cutoff) if item.number not in measured
    ]
    if not planned:
        return
    held_out = _held_out(db, domain, cutoff)
    common = {
        "decisions": float(held_out.height),
        "unresolved_share": _unresolved(held_out),
        "reward_mean": float(held_out["reward"].drop_nulls().to_numpy().mean())
        if held_out["reward"].count()
        else float("nan"),
    }
    context = domain.observe(held_out.select(list(domain.units)).lazy()).collect()
    eligible = domain.eligible(context)
    for item in planned:
        values = common | _churn(db, domain, item, context, eligible)
        generations.record_diagnostics(
            db,
            domain.name,
            item.number,
            {name: value for name, value in values.items() if isfinite(value)},
            now=cutoff,
        )


def _churn(
    db: Database, domain: Domain, item: Generation, context: pl.DataFrame, eligible: BoolArray
) -> dict[str, float]:
    if not isinstance(domain.actions, ActionSet) or not context.height:
        return {}
    own, before = (
        cast("FinitePolicy", load_policy(db, domain, number)).probabilities(context, eligible)
        for number in (item.number, _parent(item))
    )
    return {
        "churn_total_variation": total_variation(own, before),
        "churn_greedy": greedy_churn(own, before),
        "entropy_normalised": normalised_entropy(own, eligible),
    }


def track(db: Database, domain: Domain, url: str | None) -> None:
    """Mirrors every judged generation, its evaluation and the champion to the MLflow at `url`.

    The baseline is never judged and always mirrored.

    Does nothing without a `url`. The challenger is the newest judged generation that is not
    champion.

    Raises:
        StoreError: MLflow cannot be reached. The store is complete without it.
    """
    if url is None:
        return
    from decisions.store.tracking import Tracker  # MLflow takes seconds to import

    records = _records(db, domain)
    champion = generations.champion(db, domain.name)
    others = [
        record.number
        for record in records
        if record.verdict is not None and record.number != champion
    ]
    Tracker(url, domain.name).publish(
        records,
        context=domain.observe(pl.LazyFrame(schema=domain.units)).collect_schema(),
        reward=domain.reward,
        champion=champion,
        challenger=max(others, default=None),
    )


def _records(db: Database, domain: Domain) -> "list[Record]":
    from decisions.store.tracking import Record

    told = db.read("generation/told", domain=domain.name)["number"].to_list()
    measured = db.read("diagnostic/all", domain=domain.name)
    found: list[Record] = []
    for each in generations.generations(db, domain.name):
        verdict = generations.verdict(db, domain.name, each.number)
        if each.number not in told or (verdict is None and each.parent is not None):
            continue
        evaluated = generations.evaluation(db, domain.name, each.number)
        diagnostics = measured.filter(pl.col("number") == each.number)
        found.append(
            Record(
                number=each.number,
                policy=each.policy,
                parent=each.parent,
                cutoff=each.cutoff,
                seed=each.seed,
                code_version=each.code_version,
                config=each.config,
                content=partial(generations.artifact, db, domain.name, each.number),
                champion=None if evaluated is None else evaluated[0],
                evaluation=None if evaluated is None else evaluated[1],
                verdict=verdict,
                diagnostics=dict(
                    zip(diagnostics["name"].to_list(), diagnostics["value"].to_list(), strict=True)
                ),
            )
        )
    return found
