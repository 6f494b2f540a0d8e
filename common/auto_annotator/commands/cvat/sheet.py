"""`auto-annotator cvat sheet`: the contact sheet of a plan, to look at before a push; nothing is written to CVAT."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from auto_annotator.commands.cvat.options import add_server_options
from auto_annotator.commands.cvat.page_options import add_page_options, check_folder, fetch_pictures, server_of


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the subcommand."""
    text = "one page with everybody of a plan, doubtful faces first, links into CVAT; nothing is written to CVAT"
    parser = subparsers.add_parser("sheet", help=text, description=text)
    parser.add_argument("plan", type=Path, metavar="PLAN.json", help="what `cvat cluster` wrote")
    add_page_options(parser, "beside the plan, named like it")
    add_server_options(parser)
    parser.set_defaults(run=run, parser=parser)


def run(args: argparse.Namespace) -> int:
    """Write the page and print its path."""
    from auto_annotator.bridge.links import checked_host
    from auto_annotator.bridge.plan import read_plan
    from auto_annotator.reports.sheet_page import MARGIN, write_sheet
    from auto_annotator.reports.sheet_people import SheetPeople

    output = args.output or args.plan.with_suffix(".html")
    check_folder("--output", output)
    plan = read_plan(args.plan)
    checked_host(plan.server)
    who = SheetPeople(plan)
    urls = {}
    if not args.no_pictures:
        server = server_of(args, plan)
        refs = [face.ref for face in who.shown.values()]
        tasks = server.tasks(tasks=sorted({ref.task for ref in refs}))
        urls = {place: picture.url for place, picture in fetch_pictures(server, tasks, refs, MARGIN).items()}
    write_sheet(who, output, urls)
    counts = who.counts
    sys.stderr.write(
        f"{counts['people']} people, {counts['once']} seen once, {counts['look']} faces to check, {len(plan.pairs)} pairs, "
        f"{counts['moved']} faces that go to somebody else\n"
    )
    sys.stdout.write(f"{output}\n")
    return 0
