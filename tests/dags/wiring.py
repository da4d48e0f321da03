"""Prints ids, schedules, edges, retries and the processor time to parse the DAG files, as JSON."""

import json
import sys
import time
from importlib import import_module

import_module("airflow.sdk")  # its own import is not the file's

found: dict[str, object] = {}
seconds: dict[str, float] = {}
heavy = ("polars", "numpy", "lightgbm", "mlflow", "sqlalchemy.orm", "decisions.flow")
before = {name for name in heavy if name in sys.modules}
for file in sys.argv[1:]:
    began = time.process_time()
    module = import_module(file)
    seconds[file] = time.process_time() - began
    for name in ("decide", "settle", "generation"):
        dag = getattr(module, name, None)
        if dag is not None and hasattr(dag, "task_dict"):
            found[dag.dag_id] = {
                "schedule": dag.schedule,
                "edges": {task.task_id: sorted(task.downstream_task_ids) for task in dag.tasks},
                "catchup": dag.catchup,
                "max_active_runs": dag.max_active_runs,
                "notes": "Triage" in (dag.doc_md or ""),
                "retries": sorted({task.retries for task in dag.tasks if not task.is_mapped}),
            }
loaded = sorted(name for name in heavy if name in sys.modules and name not in before)
sys.stdout.write(json.dumps({"dags": found, "seconds": seconds, "heavy": loaded}) + "\n")
