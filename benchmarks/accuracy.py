"""Boxes against truth on the development half of the WIDER FACE subset: members, fusion rules, the ensemble.

Calibrated rows are cross-validated: curves are fitted on the events of one half and judged on the other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from auto_annotator.evaluation.detection import average_precision, calibration_error, corrections_per_100, match
from auto_annotator.fusion.boxes import FusionSettings
from auto_annotator.types import Faces
from benchmarks.calibrate import fit
from benchmarks.common import LabelledPicture, table, wider
from benchmarks.raw import Look, ensemble_without_calibration, fuse, looks

HEADER = ["system", "AP easy", "AP medium", "AP hard", "medium at IoU 0.7", "C100 medium", "D-ECE hard"]
THRESHOLDS = [i / 50 for i in range(1, 50)]


def judged(name: str, faces: Sequence[Faces], pictures: Sequence[LabelledPicture]) -> list[object]:
    """One row of the table."""
    levels = {level: match(faces, [p.truth(level) for p in pictures]) for level in ("easy", "medium", "hard")}
    tight = match(faces, [p.truth("medium") for p in pictures], iou=0.7)
    corrections = min(corrections_per_100(levels["medium"], t) for t in THRESHOLDS)
    ap = [average_precision(m) for m in levels.values()]
    return [name, *ap, average_precision(tight), f"{corrections:.1f}", calibration_error(levels["hard"])]


def cross_validated(
    pictures: Sequence[LabelledPicture], seen: Sequence[Sequence[Look]], members: Sequence[str], settings: FusionSettings
) -> list[Faces]:
    """Fused faces of every picture with curves that never saw its event."""
    events = sorted({p.event for p in pictures})
    half = set(events[::2])
    out: list[Faces] = [Faces.empty()] * len(pictures)
    for side in (True, False):
        learn = [i for i, p in enumerate(pictures) if (p.event in half) != side]
        judge = [i for i, p in enumerate(pictures) if (p.event in half) == side]
        curves, final = fit([pictures[i] for i in learn], [seen[i] for i in learn], members, settings)
        for i in judge:
            out[i] = fuse(seen[i], members, settings, curves, final)
    return out


def main() -> None:
    """Print the table."""
    ensemble = ensemble_without_calibration()
    pictures = wider()
    seen = looks(ensemble, [p.path for p in pictures])
    members = [m.name for m in ensemble.members]

    def fused(settings: FusionSettings, keep: Callable[[Look], bool] = lambda look: True) -> list[Faces]:
        return [fuse([look for look in row if keep(look)], members, settings, {}, None) for row in seen]

    rows = []
    for look in seen[0]:
        faces = [next(k.faces for k in row if (k.member, k.view) == (look.member, look.view)) for row in seen]
        rows.append(judged(f"{look.member} {look.view}", faces, pictures))
    for member in members:
        rows.append(judged(f"{member}, its views, WBF", fused(FusionSettings(), lambda k, m=member: k.member == m), pictures))
    for rule in ("nms", "soft_nms", "nmw", "wbf"):
        rows.append(judged(f"all, {rule}, raw", fused(FusionSettings(rule=rule)), pictures))
    rows.append(judged("all, 2 votes, raw", fused(FusionSettings(rule="vote", min_votes=2)), pictures))
    for rule in ("nms", "wbf"):
        faces = cross_validated(pictures, seen, members, FusionSettings(rule=rule))
        rows.append(judged(f"all, {rule}, calibrated", faces, pictures))
    print(table(f"Boxes, wider_val_subset development half, {len(pictures)} pictures", HEADER, rows))
    print("C100 at the threshold that is best for each row; calibrated rows are cross-validated over events.")


if __name__ == "__main__":
    main()
