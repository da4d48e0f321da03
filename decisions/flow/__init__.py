"""The spine: the steps a DAG runs, for any domain. Each finds its own result when run twice."""

from decisions.flow.announcing import announce
from decisions.flow.comparing import evaluate_generation, judge_cutoff
from decisions.flow.cutoffs import (
    AT,
    decide_due,
    plan_cutoff,
    process_cutoff,
    process_cutoffs,
    scheduled,
    settle_due,
)
from decisions.flow.deciding import decide, decisions_for
from decisions.flow.ingesting import ingest_log
from decisions.flow.learning import (
    begin,
    champions,
    load_policy,
    plan_generations,
    planned_generations,
    prepare,
    train_generation,
)
from decisions.flow.living import arrive, arrive_late, catch_up, due_days, settle
from decisions.flow.measuring import diagnose
from decisions.flow.mirroring import track
from decisions.flow.rows import history, unit_columns
from decisions.flow.steps import DAY, GRACE, LOOKBACK, day_of

__all__ = [
    "AT",
    "DAY",
    "GRACE",
    "LOOKBACK",
    "announce",
    "arrive",
    "arrive_late",
    "begin",
    "catch_up",
    "champions",
    "day_of",
    "decide",
    "decide_due",
    "decisions_for",
    "diagnose",
    "due_days",
    "evaluate_generation",
    "history",
    "ingest_log",
    "judge_cutoff",
    "load_policy",
    "plan_cutoff",
    "plan_generations",
    "planned_generations",
    "prepare",
    "process_cutoff",
    "process_cutoffs",
    "scheduled",
    "settle",
    "settle_due",
    "track",
    "train_generation",
    "unit_columns",
]
