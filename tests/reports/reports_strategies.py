"""Ready records, and hypothesis strategies for any record."""

from __future__ import annotations

from hypothesis import strategies as st

from auto_annotator.errors import ImageError
from auto_annotator.reports.records import FaceRecord, Record, from_error
from auto_annotator.types import LANDMARK_NAMES, Problem

MEMBERS = ("yunet", "centerface")


def make_face(box=(10.0, 20.0, 50.0, 80.0), *, score=0.97, review=False, points=True, votes=None):
    x1, y1, x2, y2 = box
    shares = ((0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.34, 0.8), (0.66, 0.8))
    landmarks = tuple((round(x1 + u * (x2 - x1), 2), round(y1 + v * (y2 - y1), 2)) for u, v in shares)
    return FaceRecord(
        box=box,
        score=score,
        landmarks=landmarks if points else (None,) * 5,
        votes=votes if votes is not None else {"yunet": 0.98, "centerface": None if review else 0.9},
        review=review,
        reasons=("few_votes",) if review else (),
    )


def make_records():
    """A picture with two faces, one without, one with a failed member, one that could not be read."""
    return [
        Record(image="party/a.jpg", width=120, height=100, faces=(make_face(), make_face((60.0, 5.0, 110.0, 70.0), review=True))),
        Record(image="empty.png", width=64, height=48),
        Record(
            image="c.png",
            width=90,
            height=90,
            faces=(make_face(points=False),),
            problems=(Problem(member="yunet", reason="raised"),),
        ),
        from_error("broken.jpg", ImageError("truncated", "got 12 bytes, expected a whole picture")),
    ]


pixels = st.floats(-50, 5000, allow_nan=False).map(lambda v: round(v, 2) + 0.0)
scores = st.floats(0, 1).map(lambda v: round(v, 4) + 0.0)
points = st.none() | st.tuples(pixels, pixels)
names = st.text(max_size=40) | st.text(st.characters(categories=["Cs", "Cc", "Cf", "L"]), max_size=20)
faces = st.builds(
    lambda a, b, **rest: FaceRecord(box=(min(a[0], b[0]), min(a[1], b[1]), max(a[0], b[0]), max(a[1], b[1])), **rest),
    st.tuples(pixels, pixels),
    st.tuples(pixels, pixels),
    score=scores,
    landmarks=st.tuples(*[points] * 5),
    votes=st.dictionaries(st.text(min_size=1, max_size=8), st.none() | scores, max_size=4),
    review=st.booleans(),
    reasons=st.lists(st.text(max_size=12), max_size=3).map(tuple),
    hidden=st.lists(st.sampled_from(LANDMARK_NAMES), max_size=2, unique=True).map(tuple),
)
problems = st.builds(Problem, member=names, reason=names, detail=names)
good_records = st.builds(
    Record,
    image=names,
    width=st.integers(1, 30_000),
    height=st.integers(1, 30_000),
    faces=st.lists(faces, max_size=4).map(tuple),
    problems=st.lists(problems, max_size=2).map(tuple),
)
bad_records = st.builds(lambda name, reason, message: from_error(name, ImageError(reason, message)), names, names, names)
any_record = good_records | bad_records
