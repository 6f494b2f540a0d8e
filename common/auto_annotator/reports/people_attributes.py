"""What clusters know about the faces of a record, as values of CVAT's attributes."""

from __future__ import annotations

from auto_annotator.exchange.clusters_file import ClusteredFace, ClusterFile
from auto_annotator.exchange.keys import face_keys
from auto_annotator.reports.records import FaceRecord, Record

NOBODY = "none"
"""`person` of a face that is never to be clustered."""
DOUBTFUL = "doubtful_person"
"""Code in `review.REASONS`."""


class PeopleAttributes:
    """A record -> attribute values of each of its faces; to be given to `write_cvat_xml`.

    A face that the clusters do not know gets its key only. What the descriptors note about a face joins its reasons; the review
    flag is raised only where the person itself is doubtful, for the notes concern identity and not the box.
    """

    def __init__(self, content: ClusterFile) -> None:
        self._faces = {face.key: face for face in content.faces}
        self._doubtful = set(content.doubtful)
        self._names = content.names

    def __call__(self, record: Record) -> list[dict[str, str]]:
        """Values by attribute name for each face of the record."""
        keys = face_keys(record.image, [face.box for face in record.faces])
        return [self._values(key, face) for key, face in zip(keys, record.faces, strict=True)]

    def _values(self, key: str, face: FaceRecord) -> dict[str, str]:
        known = self._faces.get(key)
        if known is None:
            return {"face_key": key}
        doubtful = key in self._doubtful
        reasons = dict.fromkeys((*face.reasons, *known.notes, *([DOUBTFUL] if doubtful else [])))
        return {
            "face_key": key,
            "person": self._person(known),
            "name": self._names.get(known.person, ""),
            "quality": str(round(100 * known.quality)),
            "review": "true" if face.review or doubtful else "false",
            "reasons": ",".join(reasons),
        }

    def _person(self, face: ClusteredFace) -> str:
        return NOBODY if face.state == "rejected" else face.person
