"""Runs the coins DAGs, in order, for each of the days given; the last line says how it went."""

import json
import sys
from datetime import datetime

from coins_dags import (  # pyright: ignore[reportMissingImports]  (on PYTHONPATH when run)
    decide,
    generation,
    settle,
)

states: dict[str, str] = {}
for day in sys.argv[1:]:
    for dag in (decide, settle, generation):
        run = dag.test(run_after=datetime.fromisoformat(day), logical_date=None)
        states[f"{dag.dag_id} {day}"] = str(run.state)
        for instance in run.get_task_instances():
            states[f"{dag.dag_id}.{instance.task_id}[{instance.map_index}] {day}"] = str(
                instance.state
            )
sys.stdout.write(json.dumps(states) + "\n")
