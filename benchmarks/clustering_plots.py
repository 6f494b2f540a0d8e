"""Plots of the clustering benchmarks, beside the other caches of the checkout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.clustering_measure import Measured
from benchmarks.common import CACHE, NotAvailable

BAR = 0.4


def _pyplot() -> Any:
    try:
        import matplotlib
    except ImportError as error:
        raise NotAvailable("plots: matplotlib is not installed (pip install matplotlib)") from error
    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def draw(results: Mapping[str, Mapping[tuple[str, str], Sequence[Measured]]]) -> Path:
    """Bars of pairwise and BCubed F of every method, one panel for each set."""
    pyplot = _pyplot()
    figure, panels = pyplot.subplots(1, len(results), figsize=(4.5 * len(results), 6), squeeze=False, sharey=True)
    methods = list(dict.fromkeys(f"{name} ({kind})" for rows in results.values() for name, kind in rows))[::-1]
    for panel, (title, rows) in zip(panels[0], results.items(), strict=True):
        named = {f"{name} ({kind})": values for (name, kind), values in rows.items()}
        for shift, measure, colour in ((BAR / 2, "pairwise_f", "tab:blue"), (-BAR / 2, "bcubed_f", "tab:orange")):
            places = [place for place, method in enumerate(methods) if method in named]
            values = [100 * sum(getattr(m, measure) for m in named[methods[p]]) / len(named[methods[p]]) for p in places]
            panel.barh([place + shift for place in places], values, height=BAR, color=colour, label=measure.replace("_f", " F"))
        panel.set(title=title, xlim=(60, 100), xlabel="%", yticks=range(len(methods)), yticklabels=methods)
        panel.grid(axis="x", alpha=0.3)
    figure.legend(*panels[0][0].get_legend_handles_labels(), loc="lower left", ncols=2)  # beside the bars, not over them
    return _save(figure, "clustering.png")


def draw_scale(rows: Sequence[Mapping[str, float]]) -> Path:
    """Seconds by stage and peak memory over the number of faces."""
    pyplot = _pyplot()
    figure, (time_panel, memory_panel) = pyplot.subplots(1, 2, figsize=(11, 4.5))
    faces = [row["faces"] for row in rows]
    stages = [name for name in dict.fromkeys(name for row in rows for name in row) if name not in ("faces", "peak_mb")]
    for stage in stages:
        style = "k-o" if stage == "total" else "--."
        time_panel.plot(faces, [max(row.get(stage, 0.0), 1e-2) for row in rows], style, label=stage)
    time_panel.set(xscale="log", yscale="log", xlabel="faces", ylabel="seconds", title="time")
    time_panel.legend()
    memory_panel.plot(faces, [row["peak_mb"] for row in rows], "k-o")
    memory_panel.set(xscale="log", yscale="log", xlabel="faces", ylabel="MB", title="peak resident memory of the process")
    for panel in (time_panel, memory_panel):
        panel.grid(alpha=0.3, which="both")
    return _save(figure, "clustering-scale.png")


def _save(figure: Any, name: str) -> Path:
    CACHE.mkdir(parents=True, exist_ok=True)
    figure.tight_layout()
    figure.savefig(CACHE / name, dpi=110)
    return CACHE / name
