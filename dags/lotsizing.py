"""Airflow DAGs for lot sizing: plan at midnight, settle a little later, new planners on Mondays.

Triage notes
------------
A red run loses nothing: each step starts from what the database says is due, and the next run, or
"clear" on the failed task, does what is missing.

- **decide** red with `DataError` about an instance: the champion plans another plant than the one
  that is run. Promote a generation trained for this plant as of the first midnight that failed,
  `decisions promote lotsizing N --reason ... --since 2026-03-05` (a run takes the champion of its
  own date), then clear the task.
- A plant that begins anew (`period` 0) though it ran the day before: its last unit was not decided
  at midnight. Look for it in quarantine; its reason says why.
- **train** red for one candidate: the others are trained, none is judged, the champion stays. Out
  of memory or time: clear the failed map index, training is repeated to the bit.
- **train** red with `ModuleNotFoundError: torch`: the extra `rl` is not installed where tasks run.
- **judge** green without a promotion: look at the verdict's reasons. `difference_from_rotation`
  says whether the candidate beats the tuned rotation at all; `demand_drift` above its limit says
  that demand is no longer what the model states, so that no simulation can be trusted: mend the
  instance's demand law first.
- **`ArtifactAltered`**: stored bytes differ from their digest, or a policy's files contradict each
  other. Do not clear: run `decisions audit verify` first, and promote an older generation.
- **publish** red: MLflow is away; clear the task when it answers.
- **alert** red: the webhook or the mail server does not answer; the next run tells what is due.
"""

from typing import TYPE_CHECKING

from spine import decide_dag, generation_dag, settle_dag

if TYPE_CHECKING:
    from decisions.domain import Domain


def lotsizing() -> "Domain":
    """The packaged plants, or those of a JSON file where one is configured."""
    from decisions.configured import configured_domain

    return configured_domain("lotsizing")


NOTES = __doc__ or ""

decide = decide_dag("lotsizing", lotsizing, schedule="0 0 * * *", doc=NOTES)
settle = settle_dag("lotsizing", lotsizing, schedule="30 0 * * *", doc=NOTES)
generation = generation_dag("lotsizing", lotsizing, schedule="0 2 * * 1", doc=NOTES)
