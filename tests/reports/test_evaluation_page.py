"""The page of an evaluation: self-contained, and its lines where its figures say."""

import re

import pytest

from auto_annotator.reports.evaluation_page import SHOWN, write_evaluation_page
from auto_annotator.reports.plots import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, line_plot, share_axis


def boxes(ap):
    levels = dict.fromkeys(("easy", "medium", "hard"), ap)
    group = {"faces": 3, "ap": ap, "recall": ap, "seen": ap}
    mended = {"faces": 3, "missed": 1, "false_boxes": 0, "loose": 0, "bad_landmarks": 0, "per_100": 33.3}
    return {
        "ap": levels, "ap_tight": levels, "ece": 0.01, "threshold": 0.4, "corrections": dict.fromkeys(levels, mended),
        "groups": {"size: under 16 px": group, "size: 16 px and more": group | {"ap": None}, "blur: heavy": group},
    }  # fmt: skip


def system(name, kind, ap=0.8, **changes):
    curves = {"medium": [[0.0, 1.0], [0.5, 0.5]], "hard": [], "reliability": [[0.5, 0.4, 9.0]], "review": [[0, 0], [1, 1]]}
    base = {"system": name, "kind": kind, "note": "", "seconds": 0.1, "own_threshold": True, "boxes": boxes(ap), "best_c100": 30.0}
    return base | {"points": None, "review": None, "against": {}, "curves": curves} | changes


def page(tmp_path, systems, title="Evaluation"):
    path = tmp_path / "evaluation.html"
    write_evaluation_page({"title": title, "protocol": ["how it was done"], "systems": systems}, path)
    return path.read_text()


def test_it_loads_nothing_and_runs_nothing(tmp_path):
    hostile = '<script>alert(1)</script>"><img src=x onerror=alert(1)>'
    text = page(tmp_path, [system(hostile, "ensemble"), system("gone", "peer", note=hostile)], title=hostile)
    assert "<script" not in text
    assert "<img" not in text
    assert not re.search(r"<[^>]*\b(src|href)\s*=|url\(|@import", text)
    assert "default-src 'none'" in text
    assert "personal data" not in text


def test_key_figures_and_gains(tmp_path):
    gap = {"value": 0.031, "low": 0.012, "high": None}
    review = {"errors_inside": 0.85, "flagged": 0.18, "area": 0.9}
    text = page(
        tmp_path, [system("ours", "ensemble", 0.871, against={"ap_medium": gap}, review=review), system("m", "member", 0.84)]
    )
    assert "<b>0.871</b>" in text
    assert "+3.1 points on the best member [+1.2, -]" in text
    assert "in the 18 % of boxes that are flagged" in text


def test_a_system_that_is_not_available_has_no_row(tmp_path):
    gone = system("peer x", "peer", boxes=None, note="package x is not installed", curves={})
    text = page(tmp_path, [system("ours", "ensemble"), gone])
    assert text.count("peer x") == 1
    assert "package x is not installed" in text


def test_a_set_of_points_alone_has_its_own_plot(tmp_path):
    points = {"moved": 0.04, "raw": 0.05, "failures_moved": 0.01, "failures_all": 0.02, "curve": [[0, 0], [0.05, 0.5], [0.1, 1]]}
    text = page(tmp_path, [system("ours", "ensemble", boxes=None, points=points, curves={})])
    assert "Landmark errors" in text
    assert "Precision and recall" not in text


def test_only_so_many_lines_are_drawn_and_the_ensemble_is_among_them(tmp_path):
    text = page(tmp_path, [*(system(f"rule {i}", "rule") for i in range(20)), system("ours", "ensemble")])
    first = text.split("</figure>")[0]
    assert first.count("<li><svg") == SHOWN
    assert "ours" in first


def test_lines_go_from_corner_to_corner():
    axis = share_axis("x")
    plot = line_plot("t", "", axis, axis, [("a", "", 0, [[0, 0], [1, 1], [1, 3]]), ("empty", "", 1, [])], dots=True)
    (line,) = plot.lines
    assert line.dots == ((LEFT, HEIGHT - BOTTOM), (WIDTH - RIGHT, TOP), (WIDTH - RIGHT, TOP))
    assert line.path == f"M{LEFT} {HEIGHT - BOTTOM}L{WIDTH - RIGHT} {TOP}L{WIDTH - RIGHT} {TOP}"
    assert [t.text for t in plot.x_ticks] == ["0", "0.2", "0.4", "0.6", "0.8", "1"]
    assert plot.x_ticks[1].at == pytest.approx(LEFT + 0.2 * (WIDTH - LEFT - RIGHT), abs=0.1)
