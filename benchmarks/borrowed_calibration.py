"""Calibrations of ensembles whose weights cannot be had here, borrowed from small siblings of their members.

`python -m benchmarks.borrowed_calibration [NAME ...]`. Each member is stood in for by a small detector of its family or,
where its own weights are at hand, by itself, and the stand-in is calibrated on the development data. The curves go over member by
member and view by view. The final score is a model whose inputs name no member (their mean, the best of them, votes, agreement,
size, better faces in the same place), so that it goes over as it is. Edges do not: where a network places them is a habit of
its training. What borrowing is worth stands in docs/ensembles.md.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from auto_annotator.calibration import Calibration, ViewCalibration
from auto_annotator.commands.calibrate import provenance, write
from auto_annotator.config import ensemble_path, load_ensemble, load_settings
from auto_annotator.ensemble import Ensemble, build_ensemble
from auto_annotator.evaluation.labels import LabelledPicture
from auto_annotator.evaluation.learning import fuse_looks, judge, learn_right, learn_view, smooth_curve
from auto_annotator.evaluation.looks import Cache, Look, looks
from auto_annotator.evaluation.pictures import prepare
from auto_annotator.evaluation.readers import read_labelled
from auto_annotator.fusion.stacking import fit_stack, joined
from benchmarks.common import CACHE, REPOSITORY, NotAvailable, need

NAMES = ("research", "commercial")
DATA_SET = "wider_val_subset"
MODELS = REPOSITORY.parent / "shared" / "models"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sibling:
    """A small detector of the same family: what it is called, its file, the variant of a RetinaFace checkpoint."""

    name: str
    file: str
    variant: str = ""

    def path(self) -> Path:
        """Its ONNX file.

        Raises:
            NotAvailable: if the weights are not beside the checkout.
        """
        source = MODELS / self.file
        if not source.is_file():
            raise NotAvailable(f"{self.file} is not beside the checkout (../shared/models)")
        if not self.variant:
            return source
        made = CACHE / f"{self.name}.onnx"
        if not made.is_file():  # needs torch once
            from auto_annotator.converters.retinaface import convert

            made.parent.mkdir(parents=True, exist_ok=True)
            convert(source, made, variant=self.variant)
        return made


SIBLINGS: Mapping[str, Sibling] = {
    "scrfd-10g": Sibling(name="scrfd-2.5g", file="scrfd_2.5g_bnkps.onnx"),
    "retinaface-r50": Sibling(name="retinaface-mobilenet0.25", file="retinaface_mobilenet0.25.pth", variant="1mb-mobilenet"),
    "yolov8n-face": Sibling(name="yolov8-lite-t", file="yolov8-lite-t.onnx"),
}
"""Member -> who stands in for it; members that are not here stand for themselves."""


def stand_in(name: str) -> Path:
    """The ensemble file with siblings for the members that cannot be had, without refiners and recognisers."""
    data: dict[str, Any] = yaml.safe_load(ensemble_path(name).read_text())
    for key in ("refiners", "descriptors", "descriptor_calibration", "calibration", "commercial"):
        data.pop(key, None)
    for member in data["members"]:
        if member["name"] in SIBLINGS:
            member["weights"] = str(SIBLINGS[member["name"]].path())
    path = CACHE / f"{name}-stand-in.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    data["fusion"]["rule"] = "wbf"  # a file that says stack needs a calibration
    path.write_text(yaml.safe_dump(data, sort_keys=False))
    return path


def curves(seen: Sequence[Sequence[Look]], pictures: Sequence[LabelledPicture]) -> dict[str, dict[str, ViewCalibration]]:
    """Member -> view -> its curve; edges stay unknown."""
    by_view: dict[tuple[str, str], list[tuple[int, Look]]] = {}
    for number, row in enumerate(seen):
        for look in row:
            by_view.setdefault((look.member, look.curve), []).append((number, look))
    out: dict[str, dict[str, ViewCalibration]] = {}
    for (member, view), rows in by_view.items():
        out.setdefault(member, {})[view] = replace(learn_view(rows, pictures), edges=None)
    return out


def learn_nameless(ensemble: Ensemble, seen: Sequence[Sequence[Look]], pictures: Sequence[LabelledPicture]) -> Calibration:
    """Curves, and models of the score and of errors whose inputs name no member."""
    config = ensemble.config.model_copy(update={"fusion": ensemble.config.fusion.model_copy(update={"rule": "stack"})})
    ensemble = replace(ensemble, config=config)
    calibration = Calibration(views=curves(seen, pictures))
    fused = [fuse_looks(ensemble, calibration, row, p) for row, p in zip(seen, pictures, strict=True)]
    judged = judge([f.faces for f in fused], pictures)
    every = joined([f.evidence.inputs() for f in fused])
    inputs = {name: column[judged.rows] for name, column in every.items() if "/" not in name}
    score = fit_stack(inputs, judged.hits)
    score = replace(score, curve=smooth_curve(score(inputs), judged.hits))
    return replace(calibration, score=score, right=learn_right(inputs, score, judged, config.threshold))


def borrowed(name: str) -> dict[str, str]:
    """Member -> whose scores its curves were measured on."""
    out = {}
    for member in load_ensemble(name).members:
        sibling = SIBLINGS.get(member.name)
        digest = "" if sibling is None else hashlib.sha256((MODELS / sibling.file).read_bytes()).hexdigest()[:16]
        out[member.name] = "itself" if sibling is None else f"{sibling.name} ({sibling.file}, sha256 {digest})"
    return out


def main() -> None:
    """Write the calibration of one or all such ensembles beside its file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.borrowed_calibration", description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; default: all")
    for name in parser.parse_args().names or NAMES:
        settings = load_settings(ensemble=str(stand_in(name)), threads=1)
        ensemble = build_ensemble(settings, calibrated=False)
        data = need(DATA_SET)
        shown, pictures = prepare(read_labelled(data), settings.max_pixels)
        seen = looks(ensemble, shown, settings, Cache(settings.models.parent / "evaluation"))
        path = ensemble_path(name).with_name(f"{name}.calibration.json")
        head: dict[str, Any] = provenance(data, name, shown)
        head |= {"command": f"python -m benchmarks.borrowed_calibration {name}", "borrowed": borrowed(name)}
        write(path, learn_nameless(ensemble, seen, pictures), head)
        print(f"{path.name}: {len(pictures)} pictures, {sum(map(len, (p.boxes for p in pictures)))} faces")


if __name__ == "__main__":
    main()
