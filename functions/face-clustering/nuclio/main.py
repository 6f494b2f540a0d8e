"""Nuclio handler: who is who among face descriptors. Everything it does is in the library."""

from auto_annotator.serving import nuclio


def init_context(context: object) -> None:
    """Compile the engine before the worker reports ready."""
    nuclio.load(context, "auto-annotator-face-clustering")


def handler(context: object, event: object) -> object:
    """Answer one set of faces."""
    return nuclio.respond(context, event)
