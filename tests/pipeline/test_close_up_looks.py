"""Views for faces of some sizes only: `close_up` and `max_face` leave boxes out, and the fusion knows what a view was asked."""

import numpy as np
import pytest
from fakes import SquareDetector, picture, pipeline

from auto_annotator.config import EnsembleConfig, Settings, ViewConfig
from auto_annotator.ensemble import Ensemble, Member
from auto_annotator.evaluation.labels import LabelledPicture
from auto_annotator.evaluation.looks import Cache, looks
from auto_annotator.evaluation.pictures import prepare

SMALL, LARGE = (20, 20, 60, 60), (200, 100, 400, 300)
IMAGE = picture(640, 480, [SMALL, LARGE])  # 40 and 200 pixels, half of it at a size of 320


def sides(views, image=IMAGE):
    faces = pipeline({"a": SquareDetector()}, views=views, threshold=0.1)(image).faces
    return sorted(np.round(faces.boxes[:, 2] - faces.boxes[:, 0]).astype(int).tolist())


@pytest.mark.parametrize(
    ("view", "found"),
    [
        ({"size": 640}, [40, 200]),
        ({"size": 640, "close_up": 41}, [200]),
        ({"size": 320, "close_up": 41}, [200]),
        ({"size": 320, "close_up": 101}, []),
        ({"size": 320, "max_face": 99}, [40]),
        ({"size": 640, "flip": True, "max_face": 199}, [40]),
        ({"tile": 400, "overlap": 0.6, "max_face": 100}, [40]),
    ],
)
def test_boxes_that_a_view_is_not_for_are_left_out(view, found):
    assert sides([view]) == found


def test_a_view_that_was_not_asked_does_not_outvote_the_one_that_was():
    alone = pipeline({"a": SquareDetector()}, views=[{"size": 640}])(IMAGE)
    both = pipeline({"a": SquareDetector()}, views=[{"size": 640, "max_face": 100}, {"size": 320, "close_up": 48}])(IMAGE)
    assert both.faces.scores == pytest.approx(alone.faces.scores, abs=0.01)
    assert len(both.faces) == 2


@pytest.mark.parametrize("limit", ["close_up", "min_face"])
def test_a_view_that_could_see_no_face_is_refused(limit):
    with pytest.raises(ValueError, match="could see no face at all"):
        ViewConfig.model_validate({"size": 320, limit: 50, "max_face": 40})


def test_kept_looks_of_other_limits_are_not_taken(tmp_path):
    import PIL.Image

    PIL.Image.fromarray(IMAGE).save(tmp_path / "a.png")
    shown, _ = prepare([LabelledPicture(path=tmp_path / "a.png", boxes=np.zeros((0, 4), np.float32))], 10**7)

    def kept(view):
        member = {"name": "a", "use": "tests:Fake", "views": [view]}
        config = EnsembleConfig.model_validate({"name": "fakes", "members": [member]})
        ensemble = Ensemble(
            config=config,
            members=(Member(index=0, config=config.members[0], detector=SquareDetector(), curves={}),),
            devices=("cpu",),
        )
        ((look,),) = looks(ensemble, shown, Settings(threads=1, models=tmp_path), Cache(tmp_path / "kept"))
        return len(look.faces)

    views = ({"size": 640, "close_up": 100}, {"size": 640}, {"size": 640, "max_face": 20}, {"size": 640, "max_face": 100})
    assert [kept(view) for view in views] == [1, 2, 0, 1]
    assert len(list((tmp_path / "kept").iterdir())) == 1, "one look serves any limits"
    views = ({"tile": 400, "overlap": 0.6, "max_face": 100}, {"tile": 400, "overlap": 0.6})
    assert [kept(view) for view in views] == [1, 2]
