"""Nuclio handler: faces and five landmarks. Everything it does is in the library."""

from auto_annotator.serving import nuclio


def init_context(context: object) -> None:
    """Load and warm up the ensemble before the worker reports ready."""
    nuclio.load(context)


def handler(context: object, event: object) -> object:
    """Answer one picture from CVAT."""
    return nuclio.respond(context, event)
