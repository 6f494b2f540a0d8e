"""`auto-annotator cluster`: descriptors in, who is who out; ids stay the same from run to run."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from auto_annotator.commands.describe import finder
from auto_annotator.commands.options import fraction
from auto_annotator.commands.run import make_folder
from auto_annotator.errors import ConfigError
from auto_annotator.exchange.clusters_file import ClusterFile, read_clusters, write_clusters
from auto_annotator.exchange.descriptors_file import DescribedFaces
from auto_annotator.exchange.merging import read_all
from auto_annotator.exchange.pairs_file import read_faces, read_names, read_pairs

if TYPE_CHECKING:
    from auto_annotator.commands.clustering import Said

MAX_TOLD = 5
"""Contradictions on the terminal; the file has all."""
METHODS = ("potts", "dbscan", "hdbscan")


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the subcommand."""
    parser = subparsers.add_parser("cluster", help="who is who among described faces")
    parser.add_argument("descriptors", type=Path, nargs="+", metavar="FILE.npz", help="what describe wrote, of one ensemble")
    parser.add_argument("--output", type=Path, required=True, metavar="clusters.json", help="who is who")
    text = "the result of an earlier run: ids, names and what people said go on (default: the output, if it is there)"
    parser.add_argument("--previous", type=Path, metavar="clusters.json", help=text)
    parser.add_argument("--fresh", action="store_true", help="forget the earlier result, new ids for all")
    add_word_options(parser)
    add_clustering_options(parser)
    text = "cosine from which two faces are one person (default: measured for the ensemble, else found from the faces)"
    parser.add_argument("--threshold", type=fraction, metavar="0..1", help=text)
    text = "a Dask scheduler, such as tcp://10.0.0.1:8786; its workers must see the output's folder under the same path"
    parser.add_argument("--scheduler", metavar="ADDRESS", help=text)
    page = parser.add_argument_group("contact sheet")
    page.add_argument("--page", type=Path, metavar="people.html", help="also write the page of people; needs --images")
    page.add_argument("--images", type=Path, nargs="+", metavar="DIR", help="the folders that detect looked at")
    parser.set_defaults(run=run, parser=parser)


def add_word_options(parser: argparse.ArgumentParser) -> None:
    """What people say about faces, for every command that clusters."""
    words = parser.add_argument_group("what people say (columns separated by a tab, # begins a comment)")
    words.add_argument("--must", type=Path, metavar="PAIRS.tsv", help="two face keys a line that are one person")
    words.add_argument("--cannot", type=Path, metavar="PAIRS.tsv", help="two face keys a line that are two people")
    words.add_argument("--never", type=Path, metavar="KEYS.txt", help="one face key a line that is never to be clustered")
    words.add_argument("--names", type=Path, metavar="NAMES.tsv", help="a face key or person id and a name a line")


def add_clustering_options(parser: argparse.ArgumentParser) -> None:
    """How faces are clustered, for every command that does."""
    parser.add_argument("--method", choices=METHODS, default="potts", help="potts is ours, the others are for comparison")


def run(args: argparse.Namespace) -> int:
    """Cluster, write, and say what was found and what to do next."""
    from auto_annotator.clustering.settings import ClusteringSettings
    from auto_annotator.commands.clustering import cluster_faces, workspace_of
    from auto_annotator.pipeline import FaceClustering

    if args.page is not None and not args.images:
        args.parser.error("--page needs --images, the folders that detect looked at")
    if args.fresh and args.previous is not None:
        args.parser.error("give --previous or --fresh, not both")
    if args.output.suffix != ".json":
        raise ConfigError(f"{args.output}: expected a name that ends in .json")
    find = finder(args.images) if args.page is not None else None
    faces = read_all(args.descriptors)
    source = None if args.fresh else args.previous or (args.output if args.output.exists() else None)
    previous = read_clusters(source) if source is not None else None
    said = said_of(args, faces, previous)
    make_folder(args.output.parent)
    content = cluster_faces(
        faces,
        FaceClustering(ClusteringSettings(method=args.method)),
        previous=previous,
        said=said,
        threshold=args.threshold,
        workspace=workspace_of(args.output),
        progress=True,
        scheduler=args.scheduler,
    )
    write_clusters(args.output, content)
    written = [args.output]
    if find is not None:
        from auto_annotator.reports.people_page import write_people_page

        write_people_page(content, find, args.page, subtitle=f"ensemble {faces.model_set}")
        written.append(args.page)
    sys.stderr.write(f"{summary(content)}\n{advice(content, args.page)}")
    for path in written:
        sys.stdout.write(f"{path}\n")
    return 0


def said_of(args: argparse.Namespace, faces: DescribedFaces, previous: ClusterFile | None) -> Said:
    """The files of `add_word_options`, read.

    Raises:
        ConfigError: names the file and the line that is wrong.
    """
    from auto_annotator.commands.clustering import Said

    rows = {key: row for row, key in enumerate(faces.keys)}
    ids = {entry["id"] for entry in previous.registry.get("people", ())} if previous is not None else set()
    said = Said()
    if args.must is not None:
        said = replace(said, must=read_pairs(args.must, rows))
    if args.cannot is not None:
        said = replace(said, cannot=read_pairs(args.cannot, rows))
    if args.never is not None:
        said = replace(said, never=read_faces(args.never, rows))
    if args.names is not None:
        said = replace(said, names=read_names(args.names, rows, ids))
    return said


def summary(content: ClusterFile) -> str:
    """What was found, in one line."""
    several = sum(person.faces > 1 for person in content.people)
    states = [face.state for face in content.faces]
    parts = [
        f"{len(content.faces)} faces: {_count(several, 'person with several faces', 'people with several faces')}",
        f"{len(content.people) - several} seen once",
        f"{states.count('unknown')} unknown",
        *([f"{n} without descriptor"] if (n := states.count("failed")) else []),
        *([f"{n} left out"] if (n := states.count("rejected")) else []),
    ]
    look = [
        _count(len(content.suggestions), "pair of people may be one", "pairs of people may be one"),
        f"{_count(len(content.doubtful), 'face', 'faces')} to check",
        *([_count(n, "contradiction", "contradictions")] if (n := len(content.conflicts)) else []),
    ]
    return f"{', '.join(parts)}; {', '.join(look)}"


def _count(n: int, one: str, many: str) -> str:
    return f"{n} {one if n == 1 else many}"


def advice(content: ClusterFile, page: Path | None = None) -> str:
    """Warnings, contradictions and what to do next, as lines; `page` is the contact sheet if there is one."""
    lines = [f"note: {warning}" for warning in content.warnings]
    for conflict in content.conflicts[:MAX_TOLD]:
        # Without the detail: it may hold names of people, and a terminal may be a log.
        lines.append(f"contradiction: {conflict.kind.replace('_', ' ')} {' '.join(conflict.faces[:2])}".rstrip())
    if content.suggestions or content.doubtful:
        look = str(page) if page is not None else "the page of people (--page people.html --images DIR)"
        lines.append(f"next: look at {look}; write pairs of face keys that are one person into must.tsv,")
        lines.append("  that are two into cannot.tsv, names into names.tsv, and run again with --must, --cannot, --names: ids stay")
    return "".join(f"{line}\n" for line in lines)
