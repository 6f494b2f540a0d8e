"""`auto-annotator calibrate`: what an ensemble learns from labelled pictures, into its calibration file."""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auto_annotator.commands.options import add_settings_options, count, settings_of

if TYPE_CHECKING:
    import numpy as np

    from auto_annotator.ensemble import Ensemble
    from auto_annotator.evaluation.labels import LabelledPicture
    from auto_annotator.evaluation.looks import Look
    from auto_annotator.evaluation.pictures import Prepared

FOLDS = 5
FLAGGED = 0.2
"""Share of the shown boxes that a person is willing to look at; the printed limit of the review flags exactly that many."""

ABOUT = (
    "members: by member and view raw score -> probability (x, y), size: terms of the face's size, edges: bias and spread of the"
    " box's edges as shares of its side; final: fused score -> probability; score, right: weights of the models of a face and of a"
    " box that needs no correction"
)


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the subcommand."""
    parser = subparsers.add_parser("calibrate", help="fit an ensemble's scores and boxes to labelled pictures")
    parser.add_argument("data", type=Path, metavar="DATA", help="labelled pictures: as for `evaluate`")
    parser.add_argument("--output", type=Path, metavar="FILE.json", help="default: NAME.calibration.json in the current folder")
    parser.add_argument(
        "--folds", type=count, default=FOLDS, metavar="N", help=f"parts of the cross-validation; 0 = none (default: {FOLDS})"
    )
    parser.add_argument("--cache", type=Path, metavar="FOLDER", help="where answers of models are kept for the next run")
    parser.add_argument("--no-cache", action="store_true", help="keep nothing")
    add_settings_options(parser)
    parser.set_defaults(run=run, parser=parser)


def run(args: argparse.Namespace) -> int:
    """Look, learn, write, and say what it is worth on pictures that were not learned from."""
    from auto_annotator.ensemble import build_ensemble
    from auto_annotator.evaluation.learning import learn
    from auto_annotator.evaluation.looks import Cache, looks
    from auto_annotator.evaluation.pictures import prepare
    from auto_annotator.evaluation.readers import read_labelled

    settings = settings_of(args)
    ensemble = build_ensemble(settings, calibrated=False)
    pictures = read_labelled(args.data)
    if not any(len(p.boxes) for p in pictures):
        args.parser.error("the labelled set holds no face")
    shown, labels = prepare(pictures, settings.max_pixels)
    folder = None if args.no_cache else args.cache or settings.models.parent / "evaluation"
    seen = looks(ensemble, shown, settings, Cache(folder))
    path = args.output or Path(f"{ensemble.config.name}.calibration.json")
    write(path, learn(ensemble, seen, labels), provenance(args.data, settings.ensemble, shown))
    if args.folds > 1:
        sys.stdout.write(held_out(ensemble, seen, labels, args.folds))
    sys.stderr.write(f"{len(labels)} pictures, {sum(len(p.boxes) for p in labels)} faces: {path}\n")
    sys.stderr.write(f"Name it in the ensemble file: `calibration: {path.name}` (a file beside it).\n")
    return 0


def provenance(data: Path, ensemble: str, pictures: Sequence[Prepared]) -> dict[str, str]:
    """Where the numbers come from: no path of this machine, but names and hashes."""
    from auto_annotator.evaluation.readers import ANNOTATIONS

    digest = hashlib.sha256("".join(p.digest for p in pictures).encode())
    for name in ANNOTATIONS:
        if (data / name).is_file():
            digest.update((data / name).read_bytes())
    command = f"auto-annotator calibrate {shlex.quote(data.resolve().name)} --ensemble {shlex.quote(Path(ensemble).name)}"
    return {"about": ABOUT, "command": command, "data": data.resolve().name, "data_sha256": digest.hexdigest()[:16]}


def write(path: Path, calibration: Any, head: dict[str, str]) -> None:
    """The calibration file, whole or not at all; the numbers of a row stand on one line."""
    from auto_annotator.calibration import calibration_json
    from auto_annotator.reports.files import replacing

    text = json.dumps(head | calibration_json(calibration), indent=1, allow_nan=False)
    with replacing(path) as stream:
        stream.write(re.sub(r"\[[^][]*\]", lambda m: " ".join(m[0].split()), text) + "\n")


def held_out(ensemble: Ensemble, seen: Sequence[Sequence[Look]], pictures: Sequence[LabelledPicture], folds: int) -> str:
    """A table of what the ensemble is worth when it is fitted without the pictures that it is judged on."""
    import numpy as np

    from auto_annotator.evaluation.detection import pair
    from auto_annotator.evaluation.learning import LEVEL, cross_validated
    from auto_annotator.evaluation.summary import all_counts, summary

    fused, wrong = cross_validated(ensemble, seen, pictures, count=folds)
    faces = [f.faces for f in fused]
    threshold = ensemble.config.threshold
    found = summary(faces, pictures, threshold)
    rows: list[tuple[str, ...]] = [("level", "AP 0.5", "AP 0.7", "C100", "recall at 1 false box a picture")]
    for level in found.ap:
        values = (found.ap[level], found.ap_tight[level], found.corrections[level].per_100, found.recall_at_one[level])
        rows.append((level, *(f"{v:.3f}" if v < 1 else f"{v:.1f}" for v in values)))
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines.insert(1, "|" + " --- |" * len(rows[0]))
    sizes = ", ".join(f"{name}: {ece:.3f} ({n})" for name, (ece, n) in found.ece_by_size.items())
    lines += ["", f"D-ECE {found.ece:.3f}; {sizes}"]
    lines += [f"{name} seen: {g.seen:.2f}" for name, g in found.groups.items() if name.startswith("size")]
    if all(w is not None for w in wrong):
        matches = pair(faces, [p.boxes for p in pictures]).matches(all_counts(pictures, LEVEL))
        lines += ["", _review(matches, threshold, np.concatenate([np.asarray(w) for w in wrong]))]
    return f"Cross-validated over events in {folds} parts, threshold {threshold:g}\n\n" + "\n".join(lines) + "\n"


def _review(matches: Any, threshold: float, need: np.ndarray) -> str:
    import numpy as np

    from auto_annotator.evaluation.review import review_efficiency

    shown = need[matches.row[matches.scores >= threshold]]
    if not len(shown):
        return "no box is shown"
    limit = float(np.quantile(shown, 1 - FLAGGED))
    worth = review_efficiency(matches, threshold, need > limit, need)
    return (
        f"review.error_above {limit:.3f} flags {worth.flagged:.0%} of the boxes, {worth.errors_inside:.0%} of the wrong ones and"
        f" {worth.false_boxes_inside:.0%} of the false ones; of the others {worth.unflagged_faces:.1%} are faces and"
        f" {worth.unflagged_right:.1%} need no correction"
    )
