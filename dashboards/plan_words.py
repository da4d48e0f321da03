"""What a planner reads first: the coming day in a sentence, and what each item stands at."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any

import polars as pl

NAMED = 4  # items that are named; of more, how many there are
Row = dict[str, Any]


def day(time: datetime) -> str:
    """The day of the week and of the month: "Thu 29 Jan"."""
    return f"{time:%a %-d %b}"


def stale(newest: datetime, *, today: date) -> str | None:
    """What to say of a plan whose day has passed; None of one that still holds."""
    if newest.date() >= today:
        return None
    return (
        f"The newest plan is of {newest:%a %-d %b %Y}: the decide step has not run since, and what"
        " follows is out of date. Look at the decide step in Airflow, or run `decisions run`."
    )


def relative(time: datetime, *, today: date) -> str:
    """As `day`, with "today" and "tomorrow" said."""
    said = {timedelta(0): "today, ", timedelta(days=1): "tomorrow, "}
    return said.get(time.date() - today, "") + day(time)


def headline(machines: pl.DataFrame, items: pl.DataFrame, expected: Row, *, today: date) -> str:
    """The coming day: who changes over, what runs out, what it is expected to cost.

    `machines` are the cells of `plan/machines`, `items` the rows of `plan/items`, `expected` the
    expected costs of the day by part, in cost units.
    """
    now = machines.filter(pl.col("state") == "now")
    when = relative(now["starts_at"][0], today=today)
    total = sum(expected.values())
    parts = ", ".join(f"{cost:.1f} {part}" for part, cost in expected.items() if cost >= 0.05)
    return " ".join(
        [
            f"**{when[:1].upper()}{when[1:]}:** {_changes(now)}.",
            _running_out(items),
            f"The day is expected to cost **{total:.1f} cost units**"
            + (f" ({parts})." if parts else "."),
        ]
    )


def _changes(now: pl.DataFrame) -> str:
    changing = now.filter("set_up")
    idle = now.filter(pl.col("item") == 0, pl.col("item_before") == 0)["machine"].to_list()
    stopped = now.filter(pl.col("item") == 0, pl.col("item_before") > 0)
    if changing.is_empty():
        said = f"no machine of {now.height} changes over"
    else:
        verb = "machine changes" if changing.height == 1 else "machines change"
        moves = [
            f"machine {machine} from {f'item {before}' if before else 'idle'} to {item}"
            for machine, before, item in changing.select("machine", "item_before", "item").rows()
        ]
        more = f" and {len(moves) - NAMED} more" if len(moves) > NAMED else ""
        said = f"**{changing.height} {verb} over** ({'; '.join(moves[:NAMED])}{more})"
    if stopped.height:
        numbers, made = stopped["machine"].to_list(), stopped["item_before"].to_list()
        verb = "stops" if stopped.height == 1 else "stop"
        said += f", {_numbered('machine', numbers)} {verb} (made {_numbered('item', made)})"
    return f"{said}, {_numbered('machine', idle)} idle" if idle else said


def _running_out(items: pl.DataFrame) -> str:
    """What the plan makes and still lets run out; what it does not make is another matter."""
    made = items.filter("made", pl.col("stock") > 0)
    likely = made.drop_nulls("likely_out_at").sort("likely_out_at", "item")
    may = made.filter(pl.col("likely_out_at").is_null()).drop_nulls("may_run_out_at")
    out = items.filter("made", pl.col("stock") == 0)["item"].to_list()
    said: list[str] = []
    if out:
        said.append(
            f"{_numbered('item', out)} {'is' if len(out) == 1 else 'are'} **out of stock**"
        )
    if likely.height:
        first, when = _first(likely, "likely_out_at")
        verb = "is" if len(first) == 1 else "are"
        said.append(f"{_numbered('item', first)} {verb} **likely to run out on {when}**")
    if may.height:
        first, when = _first(may, "may_run_out_at")
        said.append(f"{_numbered('item', first)} may run out on {when}")
    sentence = "; ".join(said) or "nothing that the plan makes is about to run out"
    return f"{sentence[:1].upper()}{sentence[1:]}.{_not_made(items)}"


def _first(items: pl.DataFrame, column: str) -> tuple[list[int], str]:
    """The items that come first by a date, and that day; how many come later."""
    first = items.filter(pl.col(column) == pl.col(column).min())
    later = items.height - first.height
    more = f", {_count(later, 'more item')} later" if later else ""
    return first["item"].to_list(), f"{day(first[column][0])}{more}"


def _not_made(items: pl.DataFrame) -> str:
    """What is not in the plan: gone already, or going."""
    gone = items.filter(absent()).height
    going = items.filter(pl.col("stock") > 0, ~pl.col("made")).drop_nulls("likely_out_at")
    said = [f"{_count(gone, 'item')} out of stock"] if gone else []
    if going.height:
        number = f"{going.height} more" if gone else _count(going.height, "item")
        said.append(f"{number} out by {day(going['likely_out_at'].sort()[-1])}")
    return f" Not in the plan: {', '.join(said)}." if said else ""


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")


def _numbered(what: str, numbers: Sequence[int]) -> str:
    """One numbered thing, a few, or how many there are: "items 3 and 10"."""
    if len(numbers) > NAMED:
        return _count(len(numbers), what)
    if len(numbers) == 1:
        return f"{what} {numbers[0]}"
    return f"{what}s {', '.join(map(str, numbers[:-1]))} and {numbers[-1]}"


def absent() -> pl.Expr:
    """Whether an item of `plan/items` is out of stock and not made: no chart tells more of it."""
    return (pl.col("stock") == 0) & ~pl.col("made")


def titles(items: pl.DataFrame) -> dict[int, str]:
    """What is written above the chart of each item, those that run out first the first."""
    order = (~pl.col("made"), "likely_out_at", "may_run_out_at", "item")
    ordered = items.sort(*order, nulls_last=True)
    return {row["item"]: f"Item {row['item']}{_note(row)}" for row in ordered.to_dicts()}


def _note(row: Row) -> str:
    if row["stock"] == 0 and not row["made"]:
        return " · not in the plan"
    if row["stock"] == 0:
        return " ▼ out of stock"
    when = row["likely_out_at"] or row["may_run_out_at"]
    if when is None:
        return ""
    mark = "▽ may be out" if row["likely_out_at"] is None else "▼ out"
    return f" {mark} {when:%-d %b}" + ("" if row["made"] else " · not made")


def left_out(items: pl.DataFrame) -> str:
    """The items without a chart, and what they are expected to lose."""
    gone = items.filter(absent())
    if gone.is_empty():
        return ""
    names = ", ".join(map(str, gone["item"]))
    return (
        "Not drawn, since they are out of stock and not in the plan:"
        f" {_count(gone.height, 'item')} ({names}). Over the coming days they are expected to lose"
        f" {gone['lost_expected'].sum():,.0f} units of demand. Choose one above to see it."
    )
