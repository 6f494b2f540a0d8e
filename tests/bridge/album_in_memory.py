"""Faces of a task in memory, with attributes that a run plans and a person edits; no server."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from auto_annotator.bridge.faces import Look, PulledFace, keys_of
from auto_annotator.bridge.identities import identify
from auto_annotator.bridge.plan import FaceRef
from auto_annotator.bridge.planning import DescribedLooks, Source
from auto_annotator.bridge.state import Identities
from auto_annotator.pipeline import FaceClustering

DIMENSION = 64
SERVER = "http://cvat.test"


def vector_of(who, look, *, noise=0.5):
    """A unit vector of somebody; the same for the same arguments."""
    centre = np.random.default_rng([7, who]).normal(size=DIMENSION)
    own = np.random.default_rng([8, who, look]).normal(size=DIMENSION) / np.sqrt(DIMENSION)
    vector = centre / np.linalg.norm(centre) + noise * own
    return vector / np.linalg.norm(vector)


@dataclass
class Face:
    """A rectangle in CVAT; `who` is the truth, which no run sees."""

    who: int
    look: int
    frame: int
    x: int
    kind: str = "shape"
    task: int = 1
    job: int = 1
    attributes: dict = field(default_factory=lambda: {"person": "", "name": "", "face_key": "", "quality": "0", "score": "90"})

    @property
    def box(self):
        return (float(self.x), 10.0, self.x + 30.0, 50.0)


class Album:
    """A task: add faces, edit attributes, run."""

    def __init__(self):
        self.faces: dict[int, Face] = {}
        self.identities = Identities(server=SERVER)
        self.next_id = 1

    def add(self, who, *, frame=None, **more):
        number, self.next_id = self.next_id, self.next_id + 1
        frame = number if frame is None else frame
        self.faces[number] = Face(who=who, look=number, frame=frame, x=40 * (number % 10), **more)
        return number

    def pulled(self):
        order = sorted(self.faces, key=lambda n: (self.faces[n].frame, n))
        found = [self.faces[n] for n in order]
        keys = keys_of(1, [Look(frame=f.frame, box=f.box) for f in found])
        return [
            PulledFace(
                ref=FaceRef(task=f.task, job=f.job, frame=f.frame, kind=f.kind, id=n, label=1, box=f.box, key=key),
                attributes=dict(f.attributes),
                looks=(Look(frame=f.frame, box=f.box),),
            )
            for n, f, key in zip(order, found, keys, strict=True)
        ]

    def plan(self, **options):
        faces = self.pulled()
        found = [self.faces[face.ref.id] for face in faces]
        rows = [vector_of(f.who, f.look) for f in found]
        looks = DescribedLooks(
            face=np.arange(len(faces)),
            picture=np.array([f.frame for f in found], np.int64),
            vectors=np.array(rows, np.float16).reshape(len(faces), DIMENSION),
            quality=np.full(len(faces), 0.8, np.float32),
            notes=((),) * len(faces),
            failures=("",) * len(faces),
        )
        source = Source(server=SERVER, tasks=(1,), created="2026-01-01T00:00:00Z", model_set="fake", model_hash="0", threshold=0.5)
        return identify(faces, looks, self.identities, FaceClustering(), source, **options)

    def run(self, *, lost_state=False, push=True):
        """Plan and push; returns the plan."""
        if lost_state:
            self.identities = Identities(server=SERVER)
        plan, self.identities = self.plan()
        if push:
            for face in plan.faces:
                self.faces[face.ref.id].attributes.update(face.after)
        return plan

    def person(self, number):
        return self.faces[number].attributes["person"]

    def say(self, number, *, person=None, name=None):
        """A person edits a face in CVAT."""
        attributes = self.faces[number].attributes
        attributes.update({k: v for k, v in (("person", person), ("name", name)) if v is not None})
