"""Plans made by hand, for the contact sheet and the queue."""

from __future__ import annotations

from auto_annotator.bridge.plan import Change, FaceRef, Pair, Plan, PlannedFace, PlannedPerson, Suggestion

HOST = "https://cvat.example.com"


def planned_face(number, person="", *, was=None, name="", named="", task=1, job=11, frame=None, kind="shape", **more):
    """Face `number`; `was` is its person before (None = the same), `name` its name after, `named` its name before."""
    ref = FaceRef(
        task=task, job=job, frame=number if frame is None else frame, kind=kind, id=100 + number, label=1,
        box=(10.0, 20.0, 50.0, 70.0), key=f"f{number:016x}",
    )  # fmt: skip
    before = {"person": person if was is None else was, "name": named, "face_key": ""}
    after = {"person": person, "name": name or named, "face_key": ref.key}
    return PlannedFace(ref=ref, before=before, after=after, **{"confidence": 0.8, "quality": 0.6, "score": 90, **more})


def make_plan(**changes):
    """Two people in rows, one seen once, nobody, left out; faces of every kind of doubt."""
    faces = (
        planned_face(1, "p0001", confidence=0.9),
        planned_face(2, "p0001", confidence=0.3, reasons=("doubtful_person",), nearest="p0002", nearest_score=0.41),
        planned_face(3, "p0001", was="p0002", confidence=0.7),
        planned_face(4, "p0001", was=""),
        planned_face(5, "p0002", name="Ada", was="p0009"),
        planned_face(6, "p0002", name="Ada", detector_reasons=("low_score", "few_votes"), score=30, task=2, job=21),
        planned_face(7, "p0003"),
        planned_face(8, reasons=("blurred", "identity_doubtful"), nearest="p0002", nearest_score=0.31),
        planned_face(9, "none", human=True),
        planned_face(10, "p0002", was="p0002", named="Grace", kind="track", score=-1),
        planned_face(11, "", was="p0003"),
    )
    values = {
        "server": HOST,
        "tasks": (1, 2),
        "created": "2026-01-02T03:04:05+00:00",
        "model_set": "fakes",
        "model_hash": "abc",
        "threshold": 0.4,
        "faces": faces,
        "people": (
            PlannedPerson(id="p0001", faces=4, purity=0.7),
            PlannedPerson(id="p0002", name="Ada", faces=3, purity=0.95, aliases=("p0009",)),
            PlannedPerson(id="p0003", faces=1),
        ),
        "changes": (
            Change(kind="merged", person="p0002", others=("p0009",), reason="they look alike; the older id stays"),
            Change(kind="split", person="p0001", others=("p0003",), reason="a person said so"),
        ),
        "pairs": (Pair(first="p0001", second="p0003", score=0.38, reason="look_alike"),),
        "suggestions": (
            Suggestion(
                kind="two_names", person="p0002", text="Are they one person?", names=("Ada", "Grace"),
                faces=(f"f{5:016x}", f"f{10:016x}"),
            ),
        ),
        "notes": ("Half of the faces are tiny.",),
    }  # fmt: skip
    return Plan(**(values | changes))
