"""A ready clusters file, for the page and the folders."""

from __future__ import annotations

from auto_annotator.exchange.clusters_file import (
    ClusteredFace,
    ClusteredPerson,
    ClusterFile,
    Contradiction,
    Meta,
    Nearest,
    Suggestion,
)

BOX = (10.0, 10.0, 40.0, 40.0)


def make_cluster_face(key, person="", *, image="a.png", box=BOX, state="auto", **changes):
    values = {"label": int(person[1:]) if person else -1, "confidence": 0.6, "quality": 0.8}
    return ClusteredFace(key=key, image=image, box=box, person=person, state=state, **(values | changes))


def make_clusters(*, names=("", "Anna"), image="a.png", key="f{}", **changes):
    """Two people of three and two faces, one seen once, two unknown, one rejected, one without descriptor."""
    faces = (
        *(make_cluster_face(key.format(i), "p0001", image=image, confidence=i / 5) for i in range(1, 4)),
        *(make_cluster_face(key.format(i), "p0002", image="b.png", nearest=Nearest(person="p0001", score=0.4)) for i in (4, 5)),
        make_cluster_face(key.format(6), "p0003", image="b.png"),
        make_cluster_face(key.format(7), state="unknown", nearest=Nearest(person="p0002", score=0.31), quality=0.1),
        make_cluster_face(key.format(8), state="unknown", image="gone.png", notes=("blurred", "no_such_code")),
        make_cluster_face(key.format(9), state="rejected"),
        make_cluster_face(key.format(10), state="failed", failure="missing_picture"),
    )
    values = {
        "meta": Meta(model_set="fakes", model_hash="abc"),
        "people": tuple(
            ClusteredPerson(id=f"p000{i}", name=name, faces=n, purity=0.9)
            for i, (name, n) in enumerate(zip((*names, ""), (3, 2, 1), strict=True), start=1)
        ),
        "suggestions": (Suggestion(first="p0001", second="p0003", score=0.62, reason="look_alike"),),
        "doubtful": (key.format(5), key.format(2)),
        "conflicts": (Contradiction(kind="must_across_cannot", faces=(key.format(1), key.format(4))),),
        "warnings": ("Half of the faces are tiny.",),
        "faces": faces,
    }
    return ClusterFile(**(values | changes))
