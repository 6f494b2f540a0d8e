"""Nuclio handler: one vector for each face of a picture. Everything it does is in the library."""

from auto_annotator.serving import nuclio


def init_context(context: object) -> None:
    """Load and warm up the models before the worker reports ready."""
    nuclio.load(context, "auto-annotator-face-descriptor")


def handler(context: object, event: object) -> object:
    """Answer one picture."""
    return nuclio.respond(context, event)
