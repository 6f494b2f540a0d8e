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

from auto_annotator.commands.calibration_judged import judgement
from auto_annotator.commands.options import add_settings_options, count, settings_of
from auto_annotator.errors import ConfigError

if TYPE_CHECKING:
    from auto_annotator.calibration import Calibration
    from auto_annotator.ensemble import Ensemble
    from auto_annotator.evaluation.choices import Choice
    from auto_annotator.evaluation.labels import LabelledPicture
    from auto_annotator.evaluation.looks import Look
    from auto_annotator.evaluation.pictures import Prepared

FOLDS = 5
ABOUT = (
    "members: by member and view raw score -> probability (x, y), size: terms of the face's size, edges: bias and spread of the"
    " box's edges as shares of its side; final: fused score -> probability; score, right: weights of the models of a face and of a"
    " box that needs no correction"
)


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the subcommand."""
    text = "fit an ensemble's scores and boxes to labelled pictures, and say whether that is better than what it has"
    parser = subparsers.add_parser("calibrate", help=text, description=text)
    parser.add_argument("data", type=Path, metavar="DATA", help="labelled pictures: as for `evaluate`")
    parser.add_argument("--label", metavar="NAME", help="label of the faces in exports of CVAT and COCO (default: face)")
    parser.add_argument("--output", type=Path, metavar="FILE.json", help="default: NAME.calibration.json in the current folder")
    parser.add_argument(
        "--folds", type=count, default=FOLDS, metavar="N", help=f"parts of the cross-validation; 0 = none (default: {FOLDS})"
    )
    text = "also an ensemble file that does what is recommended, ready for --ensemble; nothing if the present one should be kept"
    parser.add_argument("--write", type=Path, metavar="FILE.yaml", help=text)
    parser.add_argument("--anyway", action="store_true", help="learn even from fewer faces than are known to be enough")
    parser.add_argument("--cache", type=Path, metavar="FOLDER", help="where answers of models are kept for the next run")
    parser.add_argument("--no-cache", action="store_true", help="keep nothing")
    add_settings_options(parser)
    parser.set_defaults(run=run, parser=parser)


def run(args: argparse.Namespace) -> int:
    """Look, learn, write, and say what it is worth on pictures that were not learned from."""
    from auto_annotator.ensemble import build_ensemble
    from auto_annotator.evaluation.looks import Cache, looks
    from auto_annotator.evaluation.pictures import prepare
    from auto_annotator.evaluation.readers import read_labelled

    settings = settings_of(args)
    path = output_of(args, settings.ensemble)
    ensemble = build_ensemble(settings, calibrated=False)
    pictures = read_labelled(args.data, label=args.label)
    check_enough(pictures, anyway=args.anyway)
    shown, labels = prepare(pictures, settings.max_pixels)
    folder = None if args.no_cache else args.cache or settings.models.parent / "evaluation"
    seen = looks(ensemble, shown, settings, Cache(folder))
    check_found(seen, labels)
    head = provenance(args.data, settings.ensemble, shown, pictures)
    calibration = learned_from(ensemble, seen, labels)
    best: Choice | None = None
    if args.folds > 1:
        text, best = judgement(ensemble, settings.ensemble, seen, labels, args.folds, head["data_sha256"])
        sys.stdout.write(text)
    write(path, calibration, head)
    sys.stderr.write(f"{len(labels)} pictures, {sum(len(p.boxes) for p in labels)} faces: {path}\n")
    if args.write is not None and args.folds > 1 and (best is None or not (best.learned or best.moved)):
        sys.stderr.write(f"{args.write} was not written: nothing says that it would be better than the present ensemble\n")
    elif args.write is None:
        sys.stderr.write(f"To use it name it in the ensemble file: `calibration: {path.name}` (a file beside it).\n")
    else:
        write_ensemble(args.write, settings.ensemble, path, best, ensemble.config.threshold)
    return 0


def output_of(args: argparse.Namespace, ensemble: str) -> Path:
    """Where the calibration goes; what cannot work is told before an hour of work, not after.

    Raises:
        ConfigError: if the file of `--write` cannot be made.
    """
    from auto_annotator.commands.ensemble_copy import check_place
    from auto_annotator.config import load_ensemble

    if args.write is None:
        path: Path = args.output or Path(f"{load_ensemble(ensemble).name}.calibration.json")
        return path
    path = args.output or args.write.with_name(f"{args.write.stem}.calibration.json")
    check_place(ensemble, args.write, path)
    return path


def write_ensemble(target: Path, ensemble: str, calibration: Path, best: Choice | None, threshold: float) -> None:
    """The ensemble file of the choice; None = it was not judged, the learned calibration is meant."""
    from auto_annotator.commands.ensemble_copy import write_copy

    learned = calibration if best is None or best.learned else None
    for path in write_copy(ensemble, target, calibration=learned, threshold=threshold if best is None else best.threshold):
        sys.stdout.write(f"{path}\n")
    sys.stderr.write(f"Use it with `--ensemble {target}`.\n")


def check_enough(pictures: Sequence[LabelledPicture], *, anyway: bool) -> None:
    """Refuse what nothing can be learned from.

    Raises:
        ConfigError: says how much is needed.
    """
    from auto_annotator.evaluation.choices import MIN_FACES, MIN_PICTURES
    from auto_annotator.evaluation.learning import LEVEL
    from auto_annotator.evaluation.summary import all_counts

    if any(p.points_only for p in pictures):
        raise ConfigError(
            "the labelled set has the points of one face a picture, expected all faces as boxes: nothing can be learned"
        )
    faces = int(all_counts(pictures, LEVEL).sum())
    if not faces:
        raise ConfigError("the labelled set holds no face that counts")
    if not anyway and (len(pictures) < MIN_PICTURES or faces < MIN_FACES):
        raise ConfigError(
            f"too little to learn from: got {faces} faces in {len(pictures)} pictures, expected at least {MIN_FACES} faces in"
            f" {MIN_PICTURES} pictures; what is learned from fewer is mostly worse than what the ensemble has (--anyway learns it)"
        )


def check_found(seen: Sequence[Sequence[Look]], pictures: Sequence[LabelledPicture]) -> None:
    """Refuse labels that cannot be of these pictures.

    Raises:
        ConfigError: if no member finds a single labelled face.
    """
    from auto_annotator.evaluation.learning import judge
    from auto_annotator.types import Faces

    together = [Faces.concat([look.faces for look in row]) for row in seen]
    if not judge(together, pictures).hits.any():
        raise ConfigError("no member of the ensemble finds any of the labelled faces: are these the labels of these pictures?")


def learned_from(ensemble: Ensemble, seen: Sequence[Sequence[Look]], labels: Sequence[LabelledPicture]) -> Calibration:
    """The calibration of all pictures.

    Raises:
        ConfigError: if too few of the faces are found.
    """
    from auto_annotator.evaluation.learning import learn

    try:
        return learn(ensemble, seen, labels)
    except ValueError as error:
        raise ConfigError(f"too little to learn from: too few of the labelled faces are found ({error})") from error


def provenance(data: Path, ensemble: str, pictures: Sequence[Prepared], labels: Sequence[LabelledPicture] = ()) -> dict[str, str]:
    """Where the numbers come from: no path of this machine, but names and hashes."""
    from auto_annotator.evaluation.readers import ANNOTATIONS

    digest = hashlib.sha256("".join(p.digest for p in pictures).encode())
    files = [data / name for name in ANNOTATIONS if (data / name).is_file()]
    for path in files:
        digest.update(path.read_bytes())
    for picture in () if files else labels:
        digest.update(picture.boxes.tobytes() + repr(sorted(picture.keep.items())).encode())
    command = f"auto-annotator calibrate {shlex.quote(data.resolve().name)} --ensemble {shlex.quote(Path(ensemble).name)}"
    return {"about": ABOUT, "command": command, "data": data.resolve().name, "data_sha256": digest.hexdigest()[:16]}


def write(path: Path, calibration: Any, head: dict[str, str]) -> None:
    """The calibration file, whole or not at all; the numbers of a row stand on one line."""
    from auto_annotator.calibration import calibration_json
    from auto_annotator.reports.files import replacing

    text = json.dumps(head | calibration_json(calibration), indent=1, allow_nan=False)
    with replacing(path) as stream:
        stream.write(re.sub(r"\[[^][]*\]", lambda m: " ".join(m[0].split()), text) + "\n")
