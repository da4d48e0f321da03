"""The small picture of the overview: the deployed policy against the control, cycle by cycle.

A drawing, not a chart: what draws charts takes a browser a third of a second to load. The page on
oscillation has the same figures as a chart.
"""

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

import charts
import polars as pl
from units import Unit

_WIDTH, _HEIGHT = 300, 120
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 8, 12, 20
_INK = "#808495"  # legible on a light and on a dark page
Point = tuple[float, float]


def spark(cycles: pl.DataFrame, unit: Unit) -> str:
    """An SVG of deployed minus control with its interval; the control is the dashed line at zero.

    `cycles` has `cutoff`, `gain`, `lower` and `upper`; cycles without a value are gaps.
    """
    scaled = cycles.select(
        pl.int_range(pl.len()).alias("cycle"),
        *(pl.col(name) * unit.scale for name in ("gain", "lower", "upper")),
    )
    known: list[float] = scaled.drop("cycle").unpivot()["value"].drop_nulls().to_list()
    low, high = min([0.0, *known]), max([0.0, *known])

    def at(cycle: int, value: float) -> Point:
        across, down = cycle / max(cycles.height - 1, 1), (high - value) / ((high - low) or 1.0)
        x = _LEFT + across * (_WIDTH - _LEFT - _RIGHT)
        return x, _TOP + down * (_HEIGHT - _TOP - _BOTTOM)

    first, last = cycles["cutoff"][0], cycles["cutoff"][-1]
    zero, right, bottom = at(0, 0.0)[1], _WIDTH - _RIGHT, _HEIGHT - 5
    return _svg(
        *(_band(run, at) for run in _runs(scaled, "lower", "upper")),
        f'<path d="M{_LEFT} {zero:.1f}H{right}" stroke="{_INK}" stroke-dasharray="6 4"/>',
        *(_line([at(cycle, gain) for cycle, gain in run]) for run in _runs(scaled, "gain")),
        *(_words(_LEFT - 6, at(0, y)[1] + 4, f"{y:+.2g}", "end") for y in sorted({low, high})),
        _words(_LEFT, bottom, f"{first:%-d %b}", "start"),
        _words(right, bottom, f"{last:%-d %b}", "end"),
    )


def _runs(scaled: pl.DataFrame, *names: str) -> list[list[tuple[Any, ...]]]:
    """Cycles that follow each other and have all these values, as (cycle, value...)."""
    rows = scaled.select("cycle", *names).rows()
    return [list(run) for known, run in groupby(rows, lambda row: None not in row) if known]


def _band(run: Sequence[tuple[Any, ...]], at: Callable[[int, float], Point]) -> str:
    edge = [at(cycle, upper) for cycle, _, upper in run]
    edge += [at(cycle, lower) for cycle, lower, _ in reversed(run)]
    return f'<polygon points="{_points(edge)}" fill="{charts.BLUE}" opacity=".25"/>'


def _line(points: Sequence[Point]) -> str:
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.2"/>' for x, y in points)
    line = f'<polyline points="{_points(points)}" fill="none" stroke-width="1.8"/>'
    return f'<g fill="{charts.BLUE}" stroke="{charts.BLUE}">{line}{dots}</g>'


def _points(points: Sequence[Point]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _words(x: float, y: float, words: str, anchor: str) -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}">{words}</text>'


def _svg(*drawn: str) -> str:
    style = f'fill="{_INK}" font-family="sans-serif" font-size="11"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}"'
        f' width="{_WIDTH}" height="{_HEIGHT}" {style}>{"".join(drawn)}</svg>'
    )
