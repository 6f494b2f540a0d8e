"""auto-annotator: pre-label people's faces in CVAT with ensembles of deep networks."""

__version__ = "0.1.0"
