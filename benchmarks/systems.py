"""Systems side by side on the development data: members, rules of fusion, older systems, peers, the ensemble.

The same as `auto-annotator evaluate`, over all sets at once, and beside the ensemble as it ships what it is worth with a
calibration that never saw the event of the picture. `SYSTEMS_ENSEMBLE` names another ensemble than the packaged default,
`SYSTEMS_LIMIT` takes only so many pictures of each set.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from auto_annotator.commands.evaluate import describe
from auto_annotator.config import Settings, load_settings
from auto_annotator.ensemble import build_ensemble
from auto_annotator.evaluation.comparison import compare
from auto_annotator.evaluation.labels import LabelledPicture
from auto_annotator.evaluation.learning import cross_validated
from auto_annotator.evaluation.looks import Cache, looks
from auto_annotator.evaluation.pictures import Prepared, prepare
from auto_annotator.evaluation.readers import read_labelled
from auto_annotator.evaluation.systems import KINDS, Kind, System, systems
from auto_annotator.evaluation.tables import markdown
from benchmarks.common import NotAvailable, need

FOLDS = 5
SETS: dict[str, tuple[int | None, tuple[Kind, ...]]] = {
    "wider_val_subset": (None, KINDS),
    "helen": (None, ("member", "peer", "ensemble")),
    "lfw": (150, ("member", "peer", "ensemble")),
    "aflw_crops": (300, ("member", "peer", "ensemble")),
}
"""Set -> (how many pictures, which systems): rules of fusion differ in boxes, not in points."""


def unseen(shown: Sequence[Prepared], labels: Sequence[LabelledPicture], settings: Settings, cache: Cache) -> System:
    """The ensemble's boxes with a calibration fitted to the other events; without refiners and the precedence of tiles."""
    ensemble = build_ensemble(settings, calibrated=False)
    fused, _ = cross_validated(ensemble, looks(ensemble, shown, settings, cache), labels, count=FOLDS)
    name = f"{ensemble.config.name}, cross-validated"
    return System(name=name, kind="ensemble", faces=[f.faces for f in fused], threshold=ensemble.config.threshold)


def main() -> None:
    """Print the tables of every set."""
    settings = load_settings(ensemble=os.environ.get("SYSTEMS_ENSEMBLE"), threads=1)
    most = int(os.environ.get("SYSTEMS_LIMIT", "0")) or None
    cache = Cache(settings.models.parent / "evaluation")
    for name, (limit, kinds) in SETS.items():
        try:
            pictures = read_labelled(need(name))[:limit][:most]
        except NotAvailable as error:
            print(f"\n## {name}\n\nnot available: {error}")
            continue
        shown, labels = prepare(pictures, settings.max_pixels)
        found = list(systems(shown, settings, kinds=kinds, cache=cache))
        if len({p.event for p in labels}) >= FOLDS:
            found.append(unseen(shown, labels, settings, cache))
        print(markdown(compare(found, labels), title=f"{name}, development half", protocol=describe(settings, labels)))


if __name__ == "__main__":
    main()
