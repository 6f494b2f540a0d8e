"""A report of `compare` as Markdown tables."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from auto_annotator.evaluation.bootstrap import Interval
from auto_annotator.evaluation.comparison import MEASURES, Result
from auto_annotator.evaluation.subsets import FEW, ONCE, worst
from auto_annotator.evaluation.summary import Summary

NOTHING = "-"
MEASURE_NAMES = {
    "ap_medium": "AP medium",
    "ap_hard": "AP hard",
    "ap_medium_tight": "AP medium, IoU 0.7",
    "c100_medium": "C100 medium",
}


def markdown(results: Sequence[Result], *, title: str, protocol: Sequence[str]) -> str:
    """All tables of a report.

    Args:
        results: the systems.
        title: heading.
        protocol: sentences on how it was measured, below the heading.
    """
    parts = [f"# {title}", "", *(f"- {line}" for line in protocol), ""]
    judged = [r for r in results if r.summary is not None]
    if judged:
        parts += boxes_table(judged) + official_table(judged) + gains_table(judged) + groups_table(judged)
    parts += points_table(results) + review_table(results)
    missing = [r for r in results if r.note]
    if missing:
        parts += ["## Not available", "", *(f"- {r.system}: {r.note}" for r in missing), ""]
    return "\n".join(parts)


def boxes_table(results: Sequence[Result]) -> list[str]:
    """Boxes: one row per system."""
    header = [
        "system",
        "AP easy",
        "medium",
        "hard",
        "medium, IoU 0.7",
        "medium, IoU 0.5:0.95",
        "recall hard, 1 false box a picture",
    ]
    header += ["C100 medium (threshold)", "C100 medium at best threshold", "untouched pictures", "D-ECE", "CPU s a picture"]
    rows = []
    for result in results:
        s = _summary(result)
        own = f"{number(s.c100(), 1)} ({s.threshold:g})" if result.own_threshold else NOTHING
        rows.append(
            [
                result.system,
                *(number(s.ap[level]) for level in ("easy", "medium", "hard")),
                number(s.ap_tight["medium"]),
                number(s.ap_range["medium"]),
                number(s.recall_at_one["hard"]),
                own,
                f"{number(result.best_c100, 1)} ({result.best_threshold:g})",
                number(s.zero_touch["medium"]),
                number(s.ece),
                number(result.seconds),
            ]
        )
    return _table("Boxes", header, rows)


def official_table(results: Sequence[Result]) -> list[str]:
    """AP as the script of WIDER FACE works it out: the figures to set beside published ones, on the whole set."""
    rows = [[r.system, *(number(_summary(r).ap_official[level]) for level in ("easy", "medium", "hard"))] for r in results]
    return _table("AP by the official script", ["system", "easy", "medium", "hard"], rows)


def gains_table(results: Sequence[Result]) -> list[str]:
    """Differences to the best member that is run alone, once, in points."""
    rows = [
        [r.system, *(_interval(r, measure) for measure in MEASURES)]
        for r in results
        if r.against and r.kind in ("ensemble", "older", "peer")
    ]
    return _table("Against the best member, one look (95 % of paired draws of pictures)", ["system", *MEASURE_NAMES.values()], rows)


def groups_table(results: Sequence[Result]) -> list[str]:
    """AP by size and attribute: the ensemble beside the members run alone, once; and calibration by size."""
    alone = [r for r in results if r.kind == "member" and r.system.endswith(ONCE)]
    ours = [r for r in results if r.kind == "ensemble"]
    if not ours:
        return []
    shown = [*ours, *alone]
    own = _summary(ours[0])
    rows = []
    for name, group in own.groups.items():
        cells = [number(_summary(r).groups[name].ap) for r in shown]
        rows.append([name, str(group.faces), *cells, number(group.recall), number(group.seen)])
    header = ["faces", "how many", *(f"AP {r.system}" for r in shown), "recall, 1 false box a picture", "seen at 0.05"]
    out = _table("By size and attribute, hard list", header, rows)
    for result in ours:
        out += subsets_table(result)
    sizes = [[r.system, *(f"{number(v)} ({n})" for v, n in _summary(r).ece_by_size.values())] for r in shown]
    return out + _table("D-ECE by height of the box (boxes from 0.1 up)", ["system", *own.ece_by_size], sizes)


def subsets_table(result: Result) -> list[str]:
    """AP of an ensemble minus that of the best member, by size and attribute, in points; and where it gains least."""
    some = next((s for s in result.subsets.values() if s.against), None)
    if some is None:
        return []
    rows = []
    for name, subset in result.subsets.items():
        cells = []
        for how in some.against:
            gain = subset.against[how]
            cells += [f"{number(gain.ap)} ({gain.system.removesuffix(how).rstrip(', ')})", interval(gain.difference)]
        rows.append([name, str(subset.faces), number(subset.ap), *cells])
    header = ["faces", "how many", "AP"]
    for how in some.against:
        header += [f"best member, {how}", "gain, points"]
    lines = _table(f"Where {result.system} gains: AP by size and attribute, hard list (95 % of paired draws)", header, rows)
    for how in some.against:
        least = worst(result.subsets, how)
        if least is not None:
            gap = interval(result.subsets[least].against[how].difference)
            lines += [f"Least gain on the best member, {how}, in subsets of {FEW} faces and more: {gap} ({least}).", ""]
    return lines


def points_table(results: Sequence[Result]) -> list[str]:
    """Landmarks: one row per system that has points."""
    rows = []
    for result in results:
        p = result.points
        if p is not None:
            errors = [
                f"{number(100 * v, 2)} ({number(100 * f, 1)})" for v, f in ((p.raw, p.failures_raw), (p.moved, p.failures_moved))
            ]
            rows.append([result.system, *errors, number(100 * p.failures_all, 1), number(p.area), f"{p.found} of {p.faces}"])
            common = p.common
    if not rows:
        return []
    header = ["system", "NME % (share above 10 %)", "translation removed", "all faces: share above 10 % or not found"]
    header += ["area of errors up to 10 %", "found"]
    return _table(f"Landmarks, over the {common} faces that all found", header, rows)


def review_table(results: Iterable[Result]) -> list[str]:
    """What the review flag is worth."""
    rows = []
    for result in results:
        r = result.review
        if r is not None:
            shares = [
                r.flagged,
                r.errors_inside,
                r.false_boxes_inside,
                r.errors_inside_with_missed,
                r.unflagged_faces,
                r.unflagged_right,
            ]
            first = [r.first[key] for key in ("10", "20", "30")]
            rows.append([result.system, f"{r.boxes}, {r.errors}, {r.missed}", *(number(v) for v in (*shares, *first, r.area))])
    header = [
        "system",
        "boxes, wrong ones, missed faces",
        "flagged",
        "errors inside",
        "false boxes inside",
        "errors inside, missed counted",
    ]
    header += ["unflagged: faces", "unflagged: nothing to mend", "errors in first 10 %", "20 %", "30 %", "area"]
    return _table("Review, medium list (shares)", header, rows) if rows else []


def number(value: float | None, digits: int = 3) -> str:
    """A figure, or a dash where there is none."""
    return NOTHING if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def signed(value: float) -> str:
    """A difference with its sign."""
    return NOTHING if not math.isfinite(value) else f"{value:+.1f}"


def interval(gap: Interval, unit: float = 100) -> str:
    """A difference and its interval, in points unless another unit is given."""
    return f"{signed(unit * gap.value)} [{signed(unit * gap.low)}, {signed(unit * gap.high)}]"


def _interval(result: Result, measure: str) -> str:
    gap = result.against.get(measure)
    if gap is None:
        return NOTHING
    return interval(gap, 1 if measure.startswith("c100") else 100)


def _summary(result: Result) -> Summary:
    assert result.summary is not None
    return result.summary


def _table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    if not rows:
        return []
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in (header, *rows)]
    return [f"## {title}", "", lines[0], "|" + " --- |" * len(header), *lines[1:], ""]
