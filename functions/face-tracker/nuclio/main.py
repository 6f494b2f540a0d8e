"""Nuclio handler: the same person in the next frames. Everything it does is in the library."""

from auto_annotator.serving import nuclio


def init_context(context: object) -> None:
    """Load and warm up the models before the worker reports ready."""
    nuclio.load(context, "auto-annotator-face-tracker")


def handler(context: object, event: object) -> object:
    """Answer one request from CVAT."""
    return nuclio.respond(context, event)
