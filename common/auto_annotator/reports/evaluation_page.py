"""A report of `auto-annotator evaluate` as one page: key figures, plots, a table. It holds no picture and no name of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from auto_annotator.reports.files import printable, replacing
from auto_annotator.reports.plots import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Axis, Plot, line_plot, share_axis
from auto_annotator.reports.templates import template

TEMPLATE = "evaluation.html.j2"
SHOWN = 8
"""Lines of one plot: more cannot be told apart."""

NOTHING = "-"
ORDER = {"ensemble": 0, "member": 1, "older": 2, "peer": 3, "rule": 4}

BOX_COLUMNS = ("system", "AP easy", "AP medium", "AP hard", "medium, IoU 0.7", "C100 medium", "at best threshold", "D-ECE", "CPU s")
POINT_COLUMNS = ("system", "error, raw", "one translation removed", "above 10 %", "above 10 % or not found")
SUBSET_COLUMNS = ("faces", "how many", "AP", "best member, one look", "gain, points", "best member, all views", "gain, points")

System = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A figure on top of the page."""

    name: str
    value: str
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table: its heading, the names of its columns, its rows; the first cell of a row is its name."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def write_evaluation_page(report: Mapping[str, Any], path: Path) -> None:
    """Write the page of a report.

    Args:
        report: what `evaluation.json` holds.
        path: the HTML file.

    Raises:
        OSError: if it cannot be written.
    """
    systems = [s for s in report["systems"] if not s["note"]]
    values: dict[str, Any] = {
        "title": printable(report["title"]),
        "protocol": list(report["protocol"]),
        "keys": key_figures(systems),
        "plots": plots(systems),
        "tables": tables(systems),
        "missing": [(s["system"], s["note"]) for s in report["systems"] if s["note"]],
        "frame": {"width": WIDTH, "height": HEIGHT, "left": LEFT, "right": WIDTH - RIGHT, "top": TOP, "bottom": HEIGHT - BOTTOM},
    }
    with replacing(path) as stream:
        stream.write(template(TEMPLATE).render(**values))


def shown_systems(systems: Sequence[System]) -> list[tuple[int, System]]:
    """The systems that plots show, each with the number of its stroke: the ensemble, members run once, then the others by AP."""

    def rank(system: System) -> tuple[int, bool, float]:
        boxes = system["boxes"]
        return (ORDER[system["kind"]], "all views" in system["system"], -(boxes["ap"]["medium"] or 0) if boxes else 0.0)

    return list(enumerate(sorted(systems, key=rank)[:SHOWN]))


def key_figures(systems: Sequence[System]) -> list[Key]:
    """What a reader wants first, of the ensemble."""
    ours = next((s for s in systems if s["kind"] == "ensemble"), None)
    if ours is None:
        return []
    keys = []
    boxes, review, points = ours["boxes"], ours["review"], ours["points"]
    if boxes:
        keys += [
            Key(name="AP medium", value=figure(boxes["ap"]["medium"]), note=_gain(ours, "ap_medium")),
            Key(name="AP hard", value=figure(boxes["ap"]["hard"]), note=_gain(ours, "ap_hard")),
            Key(
                name="Corrections per 100 faces",
                value=figure(boxes["corrections"]["medium"]["per_100"], 1),
                note=f"medium list, boxes from {boxes['threshold']:g} up",
            ),
            Key(name="D-ECE", value=figure(boxes["ece"]), note="gap between score and truth"),
        ]
    if review:
        note = f"in the {percent(review['flagged'])} of boxes that are flagged"
        keys.append(Key(name="Errors found by review", value=percent(review["errors_inside"]), note=note))
    if points:
        note = f"{percent(points['failures_moved'], 1)} above 10 %, one translation removed"
        keys.append(Key(name="Landmark error", value=percent(points["moved"], 2), note=note))
    return keys


def plots(systems: Sequence[System]) -> list[Plot]:
    """All plots that the report has data for."""
    shown = shown_systems(systems)
    boxes = [(stroke, s) for stroke, s in shown if s["boxes"]]
    made = [
        _precision_recall(boxes, "medium", "medium", "Precision and recall, medium list"),
        _precision_recall(boxes, "hard", "hard", "Precision and recall, hard list"),
        _sizes(boxes),
        _reliability(boxes),
        _review(boxes),
        _errors(shown),
    ]
    return [plot for plot in made if plot.lines]


def _precision_recall(shown: Sequence[tuple[int, System]], curve: str, level: str, title: str) -> Plot:
    lines = [(s["system"], figure(s["boxes"]["ap"][level]), n, s["curves"].get(curve, [])) for n, s in shown]
    return line_plot(title, "Beside each name its AP at IoU 0.5.", share_axis("recall"), share_axis("precision"), lines)


def _sizes(shown: Sequence[tuple[int, System]]) -> Plot:
    names = [name for name in (shown[0][1]["boxes"]["groups"] if shown else {}) if name.startswith("size: ")]
    axis = Axis(
        label="height of the face",
        low=-0.25,
        high=max(1, len(names) - 1) + 0.25,
        ticks=[(i, name.removeprefix("size: ")) for i, name in enumerate(names)],
    )
    lines = []
    for number, system in shown:
        groups = system["boxes"]["groups"]
        points = [(i, groups[name]["ap"]) for i, name in enumerate(names) if groups[name]["ap"] is not None]
        lines.append((system["system"], "", number, points))
    return line_plot("AP by size of the face, hard list", "Higher is better.", axis, share_axis("AP"), lines, dots=True)


def _reliability(shown: Sequence[tuple[int, System]]) -> Plot:
    lines = [
        (s["system"], figure(s["boxes"]["ece"]), n, [p[:2] for p in s["curves"].get("reliability", [])])
        for n, s in shown
        if s["kind"] in ("ensemble", "member")
    ]
    about = "On the diagonal a score is the share of true faces. Beside each name its D-ECE."
    x, y = share_axis("score"), share_axis("share of true faces")
    return line_plot("Reliability of scores", about, x, y, lines, dots=True, diagonal=True)


def _review(shown: Sequence[tuple[int, System]]) -> Plot:
    lines = [(s["system"], figure(s["review"]["area"]), n, s["curves"].get("review", [])) for n, s in shown if s["review"]]
    about = "How many of the wrong boxes are met by whoever looks at the first ones of the queue."
    x, y = share_axis("share of boxes looked at"), share_axis("share of wrong boxes met")
    return line_plot("Review queue", about, x, y, lines, diagonal=True)


def _errors(shown: Sequence[tuple[int, System]]) -> Plot:
    lines = [(s["system"], percent(s["points"]["moved"], 2), n, s["points"]["curve"]) for n, s in shown if s["points"]]
    about = "Over the faces that all found, one translation removed. Beside each name its mean error."
    axis = share_axis("error as a share of the eye distance", high=0.1)
    return line_plot("Landmark errors", about, axis, share_axis("share of faces"), lines)


def tables(systems: Sequence[System]) -> list[Table]:
    """The figures behind the plots."""
    out = []
    boxes = [s for s in systems if s["boxes"]]
    if boxes:
        out.append(Table(title="Boxes", header=BOX_COLUMNS, rows=tuple(_box_row(s) for s in boxes)))
    points = [s for s in systems if s["points"]]
    if points:
        out.append(Table(title="Landmarks", header=POINT_COLUMNS, rows=tuple(_point_row(s["system"], s["points"]) for s in points)))
    for system in systems:
        rows = tuple(_subset_row(name, subset) for name, subset in (system.get("subsets") or {}).items() if subset["against"])
        if rows:
            title = f"{printable(system['system'])}: AP by size and attribute, hard list, against the best member there"
            out.append(Table(title=title, header=SUBSET_COLUMNS, rows=rows))
    return out


def _subset_row(name: str, subset: Mapping[str, Any]) -> tuple[str, ...]:
    cells = []
    for how in ("one look", "all views"):
        gain = subset["against"].get(how)
        cells += [NOTHING, NOTHING] if gain is None else [figure(gain["ap"]), _points(gain["difference"])]
    return (name, str(subset["faces"]), figure(subset["ap"]), *cells)


def _points(gap: Mapping[str, float | None]) -> str:
    low, high = (NOTHING if gap[end] is None else f"{100 * gap[end]:+.1f}" for end in ("low", "high"))  # type: ignore[operator]
    return NOTHING if gap["value"] is None else f"{100 * gap['value']:+.1f} [{low}, {high}]"


def _box_row(system: System) -> tuple[str, ...]:
    b = system["boxes"]
    own = figure(b["corrections"]["medium"]["per_100"], 1) if system["own_threshold"] else NOTHING
    ap = [figure(b["ap"][level]) for level in ("easy", "medium", "hard")]
    rest = (figure(b["ap_tight"]["medium"]), own, figure(system["best_c100"], 1), figure(b["ece"]), figure(system["seconds"]))
    return (system["system"], *ap, *rest)


def _point_row(name: str, p: Mapping[str, Any]) -> tuple[str, ...]:
    return (name, percent(p["raw"], 2), percent(p["moved"], 2), percent(p["failures_moved"], 1), percent(p["failures_all"], 1))


def figure(value: float | None, digits: int = 3) -> str:
    """A number, or a dash where there is none."""
    return NOTHING if value is None else f"{value:.{digits}f}"


def percent(value: float | None, digits: int = 0) -> str:
    """A share in per cent, or a dash where there is none."""
    return NOTHING if value is None else f"{100 * value:.{digits}f} %"


def _gain(system: System, measure: str) -> str:
    gap = system["against"].get(measure)
    if gap is None or gap["value"] is None:
        return ""
    value, _, rest = _points(gap).partition(" ")
    return f"{value} points on the best member {rest}"
