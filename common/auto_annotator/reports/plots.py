"""Line plots as figures of a page: scales, ticks and strokes worked out here, drawn by the template as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 520, 340
LEFT, RIGHT, TOP, BOTTOM = 52, 14, 12, 44
COLOURS = 8
"""Strokes that the style sheet tells apart; further lines begin anew."""

Points = Sequence[Sequence[float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A place on an axis, in pixels of the plot, and what stands beside it."""

    at: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line of a plot: its name, a figure beside the name, its stroke, its points as SVG has them."""

    name: str
    figure: str
    stroke: int
    path: str
    dots: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """A plot ready to draw."""

    title: str
    about: str
    x_label: str
    y_label: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    lines: tuple[Line, ...]
    diagonal: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """An axis: its name, its range, and its ticks as (value, text)."""

    label: str
    low: float
    high: float
    ticks: Sequence[tuple[float, str]]


def share_axis(label: str, *, low: float = 0.0, high: float = 1.0) -> Axis:
    """An axis of shares, ticks every fifth of its range."""
    steps = [low + (high - low) * i / 5 for i in range(6)]
    return Axis(label=label, low=low, high=high, ticks=[(v, f"{v:.2f}".rstrip("0").rstrip(".")) for v in steps])


def line_plot(
    title: str,
    about: str,
    x: Axis,
    y: Axis,
    lines: Sequence[tuple[str, str, int, Points]],
    *,
    dots: bool = False,
    diagonal: bool = False,
) -> Plot:
    """Lay out a plot.

    Args:
        title: heading of the figure.
        about: one sentence on how to read it.
        x: horizontal axis.
        y: vertical axis.
        lines: (name, figure beside it, number of its stroke, points in the units of the axes); lines without points are left out.
        dots: mark the points.
        diagonal: draw where both axes are equal.
    """

    def across(value: float) -> float:
        return round(LEFT + (WIDTH - LEFT - RIGHT) * (value - x.low) / (x.high - x.low), 1)

    def up(value: float) -> float:
        inside = min(max(value, y.low), y.high)
        return round(HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (inside - y.low) / (y.high - y.low), 1)

    drawn = []
    for name, figure, stroke, points in lines:
        places = tuple((across(p[0]), up(p[1])) for p in points)
        if places:
            path = "M" + "L".join(f"{a:g} {b:g}" for a, b in places)
            drawn.append(Line(name=name, figure=figure, stroke=stroke % COLOURS, path=path, dots=places if dots else ()))
    return Plot(
        title=title,
        about=about,
        x_label=x.label,
        y_label=y.label,
        x_ticks=tuple(Tick(at=across(v), text=text) for v, text in x.ticks),
        y_ticks=tuple(Tick(at=up(v), text=text) for v, text in y.ticks),
        lines=tuple(drawn),
        diagonal=f"M{across(x.low)} {up(x.low)}L{across(x.high)} {up(x.high)}" if diagonal else "",
    )
