"""All that is known of a generation, field by field, and what differs between two."""

import json
import math
from typing import Any

import polars as pl
from units import Unit
from verdicts import CHECKS, check, measured

DATE = "%-d %b %Y %H:%M UTC"
Row = dict[str, Any]
Fields = dict[tuple[str, str], str]  # (group, field) to what is written there


def fields(generation: Row, evaluation: pl.DataFrame, unit: Unit) -> Fields:
    """What is recorded of a row of `generation/described` and of its evaluation, in words."""
    details = details_of(generation)
    given: Fields = {
        ("policy", "recipe"): generation["policy"],
        ("policy", "parent"): _or(generation["parent"], "none: the baseline"),
        ("code", "version"): generation["code_version"],
        ("code", "seed of everything random"): str(generation["seed"]),
        ("data", "known until"): _date(generation["cutoff"]),
        ("data", "trained on decisions from"): _iso(details.get("since")),
        ("data", "trained on decisions until"): _iso(details.get("until")),
        ("data", "decisions trained on"): _count(generation["row_count"]),
        ("data", "of them without an outcome"): _share(details.get("unresolved_share")),
        ("data", "earlier champions shown to the trainer"): _list(details.get("predecessors")),
        ("artefact", "SHA-256"): _or(generation["digest"], "not trained yet"),
        ("verdict", "outcome"): _or(generation["outcome"], "not judged"),
        ("verdict", "note"): generation["note"] or "none",
    }
    config = json.loads(generation["config"])
    given |= {
        ("config", name.replace("_", " ")): _written(value) for name, value in config.items()
    }
    told = {"since", "until", "unresolved_share", "predecessors", "airflow", "curve"}
    given |= {
        ("training", name.replace("_", " ")): _written(value)
        for name, value in details.items()
        if name not in told
    }
    return given | _evaluated(evaluation, unit)


def details_of(generation: Row) -> Row:
    """What was recorded of a generation's training; empty before it."""
    return json.loads(generation["details"] or "{}")


def _evaluated(evaluation: pl.DataFrame, unit: Unit) -> Fields:
    if evaluation.is_empty():
        return {}
    rows = {(row["role"], row["name"]): row for row in evaluation.iter_rows(named=True)}
    given: Fields = {
        ("evaluation", "compared with generation"): str(evaluation["champion"][0]),
        ("evaluation", "held-out decisions"): _count(rows["difference", ""]["n"]),
    }
    for role in ("difference", "candidate", "champion"):
        given["evaluation", role] = interval(rows[role, ""], unit)
    if ("refusal", "") in rows:
        given["evaluation", "refused"] = rows["refusal", ""]["note"]
    return given | {
        ("evaluation", check(name).title): measured(name, rows["check", name]["value"], unit)
        for name in CHECKS
        if ("check", name) in rows
    }


def interval(row: Row, unit: Unit) -> str:
    """An estimate with its interval in the domain's unit; "unknown" where there is none."""
    sign = "+" if row["role"] == "difference" else ""
    symbol = unit.points if sign else unit.symbol
    numbers = [row["value"], row["lower"], row["upper"]]
    if any(each is None or not math.isfinite(each) for each in numbers):
        return "unknown"
    value, lower, upper = (f"{each * unit.scale:{sign}.2f}" for each in numbers)
    return f"{value} [{lower} to {upper}] {symbol}"


def differences(first: Fields, second: Fields, *, names: tuple[str, str]) -> pl.DataFrame:
    """One row a field of either: its group, name, both values, and whether they are the same."""
    keys = list(dict.fromkeys([*first, *second]))
    groups = list(dict.fromkeys(group for group, _ in keys))
    keys.sort(key=lambda key: groups.index(key[0]))
    absent = "not recorded"
    return pl.DataFrame(
        [
            {
                "Of": group,
                "Field": name,
                names[0]: first.get((group, name), absent),
                names[1]: second.get((group, name), absent),
                "Same": first.get((group, name)) == second.get((group, name)),
            }
            for group, name in keys
        ]
    )


def _or(value: Any, absent: str) -> str:
    return absent if value is None else str(value)


def _date(time: Any) -> str:
    return time.strftime(DATE)


def _iso(text: Any) -> str:
    return "not recorded" if text is None else f"{str(text)[:16].replace('T', ' ')} UTC"


def _count(number: int | None) -> str:
    return "not recorded" if number is None else f"{number:,}"


def _share(value: float | None) -> str:
    return "not recorded" if value is None else f"{100 * float(value):.2f} %"


def _list(values: Any) -> str:
    if values is None:
        return "not recorded"
    return ", ".join(str(each) for each in values) or "none"


def _written(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
