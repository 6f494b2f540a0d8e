"""What a learned calibration is worth, as text: beside the one that the ensemble has, on the same pictures, and what to do."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from auto_annotator.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np

    from auto_annotator.calibration import Calibration
    from auto_annotator.ensemble import Ensemble
    from auto_annotator.evaluation.choices import Choice
    from auto_annotator.evaluation.labels import LabelledPicture
    from auto_annotator.evaluation.looks import Look
    from auto_annotator.evaluation.summary import Summary

FLAGGED = 0.2
"""Share of the shown boxes that a person is willing to look at; the printed limit of the review flags exactly that many."""

LEARNED, NOW = "learned here", "as it is now"


def judgement(
    ensemble: Ensemble,
    name: str,
    seen: Sequence[Sequence[Look]],
    labels: Sequence[LabelledPicture],
    folds: int,
    data_sha256: str,
) -> tuple[str, Choice | None]:
    """Tables of both calibrations on the same pictures, and in one line which is better; and the choice that is recommended.

    Args:
        ensemble: built without its calibration.
        name: of the ensemble, or its file, for the calibration that it has.
        seen: looks at each picture, scores raw.
        labels: the truth, same order.
        folds: parts of the cross-validation.
        data_sha256: of these pictures, to know whether the present calibration was learned from them.
    """
    from auto_annotator.evaluation.choices import choices, recommended
    from auto_annotator.evaluation.learning import cross_validated, fuse_looks
    from auto_annotator.evaluation.learning import folds as parts_of
    from auto_annotator.evaluation.summary import summary

    pictures = [replace(p, landmarks=None) for p in labels]  # points come from the refiners, which do not run here
    parts = parts_of(pictures, folds)
    if len(parts) < 2:
        return "All pictures are of one event: nothing was left to judge on. Label pictures of other events too.\n", None
    try:
        fused, wrong = cross_validated(ensemble, seen, pictures, count=folds)
    except ValueError as error:
        text = f"Cannot be judged: a part of the pictures is too poor to learn from ({error}). Label more, or use fewer --folds.\n"
        return text, None
    threshold = ensemble.config.threshold
    faces = {LEARNED: [f.faces for f in fused]}
    present, problem = _present(ensemble, name)
    if present is not None:
        faces[NOW] = [fuse_looks(ensemble, present, row, p).faces for row, p in zip(seen, pictures, strict=True)]
    found = {who: summary(those, pictures, threshold) for who, those in faces.items()}
    lines = [f"Cross-validated over events in {len(parts)} parts, threshold {threshold:g}", "", *_levels(found), ""]
    lines += _details(found[LEARNED])
    lines += _review(faces[LEARNED], pictures, threshold, wrong)
    listed = choices(faces.get(NOW), faces[LEARNED], pictures, parts, threshold)
    lines += ["", *_verdict(listed, problem)]
    if _is_of(name, ensemble, data_sha256):
        lines.append("The calibration that it has now was learned from these very pictures: its figures here flatter it.")
    return "\n".join(lines) + "\n", recommended(listed)


def _present(ensemble: Ensemble, name: str) -> tuple[Calibration | None, str]:
    """The calibration that the ensemble has, or why there is nothing to compare with."""
    from auto_annotator.calibration import load_calibration

    try:
        return load_calibration(name, ensemble.config), ""
    except ConfigError as error:
        return None, str(error)


def _is_of(name: str, ensemble: Ensemble, data_sha256: str) -> bool:
    """Whether the present calibration says that it was learned from the data of that hash."""
    from auto_annotator.config import ensemble_path

    if ensemble.config.calibration is None:
        return False
    try:
        data = json.loads((ensemble_path(name).parent / ensemble.config.calibration).read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(data, dict) and data.get("data_sha256") == data_sha256


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines.insert(1, "|" + " --- |" * len(rows[0]))
    return lines


def _figure(value: float) -> str:
    return f"{value:.3f}" if value < 1 else f"{value:.1f}"


def _levels(found: dict[str, Summary]) -> list[str]:
    """The figures by level; one row where all levels are the same, as in sets that know no levels."""
    rows = [["level", "calibration", "AP 0.5", "AP 0.7", "C100", "recall at 1 false box a picture"]]
    first = next(iter(found.values()))
    levels = list(first.ap) if len(set(first.faces.values())) > 1 else [list(first.ap)[-1]]
    for level in levels:
        for who, one in found.items():
            values = (one.ap[level], one.ap_tight[level], one.corrections[level].per_100, one.recall_at_one[level])
            rows.append([level if len(levels) > 1 else "all faces", who, *map(_figure, values)])
    return _table(rows)


def _details(found: Summary) -> list[str]:
    sizes = ", ".join(f"{name}: {ece:.3f} ({n})" for name, (ece, n) in found.ece_by_size.items())
    lines = [f"D-ECE {found.ece:.3f}; {sizes}"]
    return lines + [f"{name} seen: {g.seen:.2f}" for name, g in found.groups.items() if name.startswith("size")]


def _review(
    faces: Sequence[Any], pictures: Sequence[LabelledPicture], threshold: float, wrong: Sequence[np.ndarray | None]
) -> list[str]:
    """What the model of errors is worth as a review flag; [] where there is none."""
    import numpy as np

    from auto_annotator.evaluation.detection import pair
    from auto_annotator.evaluation.learning import LEVEL
    from auto_annotator.evaluation.review import review_efficiency
    from auto_annotator.evaluation.summary import all_counts

    if any(w is None for w in wrong):
        return []
    need = np.concatenate([np.asarray(w) for w in wrong])
    matches = pair(faces, [p.boxes for p in pictures]).matches(all_counts(pictures, LEVEL))
    shown = need[matches.row[matches.scores >= threshold]]
    if not len(shown):
        return ["", "no box is shown"]
    limit = float(np.quantile(shown, 1 - FLAGGED))
    worth = review_efficiency(matches, threshold, need > limit, need)
    return [
        "",
        f"review.error_above {limit:.3f} flags {worth.flagged:.0%} of the boxes, {worth.errors_inside:.0%} of the wrong ones and"
        f" {worth.false_boxes_inside:.0%} of the false ones; of the others {worth.unflagged_faces:.1%} are faces and"
        f" {worth.unflagged_right:.1%} need no correction",
    ]


def _verdict(found: Sequence[Choice], problem: str) -> list[str]:
    """The choices as a table, and in one line what to do."""
    from auto_annotator.evaluation.bootstrap import DRAWS
    from auto_annotator.evaluation.choices import recommended

    rows = [["calibration", "threshold", "C100", "AP 0.5", "AP 0.7", "fewer corrections", "higher AP"]]
    for one in found:
        shares = ["" if share is None else f"{share:.0%}" for share in (one.fewer, one.higher)]
        moved = " (fewest corrections)" if one.moved else ""
        rows.append(
            [LEARNED if one.learned else NOW, f"{one.threshold:g}{moved}", *map(_figure, (one.c100, one.ap, one.ap_tight)), *shares]
        )
    lines = [
        *_table(rows),
        f"in % of {DRAWS} draws of pictures; a moved threshold is judged on pictures that it was not chosen on",
        "",
    ]
    if problem:
        return [*lines, f"There is nothing to compare with: {problem}"]
    return [*lines, _advice(found[0], recommended(found), found)]


def _advice(now: Choice, best: Choice, found: Sequence[Choice]) -> str:
    from auto_annotator.evaluation.choices import SURE

    if best is now:
        rival = min((one for one in found if one.learned), key=lambda one: one.c100)
        return (
            f"Keep the calibration and the threshold that it has now: no change needs fewer corrections in {SURE:.0%} of the draws"
            f" (the learned one at best {rival.c100:.1f} against {now.c100:.1f} per 100 faces, in {rival.fewer or 0:.0%})."
        )
    what = "Use the learned calibration" if best.learned else "Keep the calibration that it has now"
    how = f"with `threshold: {best.threshold:g}`" if best.moved else f"with the threshold {best.threshold:g} as before"
    return (
        f"{what}, {how}: {best.c100:.1f} corrections per 100 faces against {now.c100:.1f} now, fewer in {best.fewer or 0:.0%} of"
        " the draws."
    )
