"""What the commands that write pages of CVAT's faces share: pictures from the server, and where the page goes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from auto_annotator.commands.cvat.options import connect
from auto_annotator.commands.progress import progress_bar
from auto_annotator.config import load_settings
from auto_annotator.errors import ConfigError

if TYPE_CHECKING:
    from auto_annotator.bridge.plan import FaceRef, Plan
    from auto_annotator.bridge.server import Server, TaskInfo
    from auto_annotator.reports.frame_pictures import FacePicture
    from auto_annotator.reports.sheet_people import Place


def add_page_options(parser: argparse.ArgumentParser, default: str) -> None:
    """Where the page goes, and whether it shows faces."""
    text = f"the page, readable by you only (default: {default})"
    parser.add_argument("--output", type=Path, metavar="FILE.html", help=text)
    text = "do not fetch frames: faces are links without pictures"
    parser.add_argument("--no-pictures", action="store_true", help=text)


def check_folder(option: str, path: Path | None) -> None:
    """A folder that is missing is told before an hour of work, not after.

    Raises:
        ConfigError: if a file cannot be written there.
    """
    if path is not None and not path.absolute().parent.is_dir():
        raise ConfigError(f"{option} {path}: its folder does not exist: make it first")
    if path is not None and path.is_dir():
        raise ConfigError(f"{option} {path}: got a folder, expected a file to write")


def server_of(args: argparse.Namespace, plan: Plan) -> Server:
    """The server of the options, which must be the one that the plan was made for.

    Raises:
        ConfigError: if it is another.
        ServerError: if it cannot be used.
    """
    from auto_annotator.bridge.push import check_server

    server = connect(args)
    check_server(server, plan.server, f"plan {args.plan}")
    return server


def fetch_pictures(server: Server, tasks: Sequence[TaskInfo], refs: Sequence[FaceRef], margin: float) -> dict[Place, FacePicture]:
    """Pictures of faces by their place, with a bar over frames.

    Raises:
        ServerError: if the server cannot be reached.
    """
    from auto_annotator.reports.frame_pictures import face_pictures, frames_of

    total = sum(len(frames) for frames in frames_of(refs).values())
    with progress_bar(total, "frame", "pictures") as bar:
        found = face_pictures(server, tasks, refs, margin=margin, max_pixels=load_settings().max_pixels, progress=bar.update)
        pictures = {ref.place: picture for ref, picture in found}
    if missing := len({ref.place for ref in refs}) - len(pictures):
        sys.stderr.write(f"note: {missing} faces without a picture (frames that are deleted or cannot be read)\n")
    return pictures
