"""Systems side by side on the development data: members, rules of fusion, older systems, peers, the ensemble.

The same as `auto-annotator evaluate`, over all sets at once. `SYSTEMS_ENSEMBLE` names another ensemble than the packaged default.
"""

from __future__ import annotations

import os

from auto_annotator.commands.evaluate import describe
from auto_annotator.config import load_settings
from auto_annotator.evaluation.comparison import compare
from auto_annotator.evaluation.looks import Cache
from auto_annotator.evaluation.pictures import prepare
from auto_annotator.evaluation.readers import read_labelled
from auto_annotator.evaluation.systems import KINDS, Kind, systems
from auto_annotator.evaluation.tables import markdown
from benchmarks.common import need

SETS: dict[str, tuple[int | None, tuple[Kind, ...]]] = {
    "wider_val_subset": (None, KINDS),
    "helen": (None, ("member", "peer", "ensemble")),
    "lfw": (150, ("member", "peer", "ensemble")),
    "aflw_crops": (300, ("member", "peer", "ensemble")),
}
"""Set -> (how many pictures, which systems): rules of fusion differ in boxes, not in points."""


def main() -> None:
    """Print the tables of every set."""
    settings = load_settings(ensemble=os.environ.get("SYSTEMS_ENSEMBLE"), threads=1)
    cache = Cache(settings.models.parent / "evaluation")
    for name, (limit, kinds) in SETS.items():
        shown, labels = prepare(read_labelled(need(name))[:limit], settings.max_pixels)
        results = compare(list(systems(shown, settings, kinds=kinds, cache=cache)), labels)
        print(markdown(results, title=f"{name}, development half", protocol=describe(settings, labels)))


if __name__ == "__main__":
    main()
