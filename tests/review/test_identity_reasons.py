"""Every reason why a face can hardly be told from others, and that a good face gives none."""

import numpy as np
import pytest

from auto_annotator.config import DescriptorConfig, EnsembleConfig, IdentityReviewConfig, load_ensemble
from auto_annotator.review import REASONS, IdentitySettings, IdentitySigns, identity_reasons

GOOD = {"quality": 0.9, "side": 100, "sharpness": 0.1, "yaw": 0.1, "pitch": 0.05, "mirror": 1.0, "by_box": False, "few": False}


def reasons(settings=None, **signs):
    return identity_reasons(IdentitySigns(**{n: np.array([v]) for n, v in (GOOD | signs).items()}), settings or IdentitySettings())[
        0
    ]


def test_a_good_face_gives_no_reason():
    assert reasons() == ()


@pytest.mark.parametrize(("change", "code"), [
    ({"quality": 0.49}, "identity_doubtful"),
    ({"side": 19.9}, "too_small_to_identify"),
    ({"sharpness": 0.005}, "blurred"),
    ({"yaw": 0.41}, "turned_away"),
    ({"yaw": -0.41}, "turned_away"),
    ({"pitch": 0.31}, "turned_away"),
    ({"mirror": 1.36}, "maybe_occluded"),
    ({"by_box": True}, "aligned_by_box"),
    ({"few": True}, "few_recognisers"),
])  # fmt: skip
def test_each_reason(change, code):
    assert reasons(**change) == (code,) and code in REASONS


def test_at_the_limit_is_still_good():
    assert reasons(quality=0.5, side=20.0, sharpness=0.006, yaw=0.4, pitch=0.3, mirror=1.35) == ()


@pytest.mark.parametrize("name", ["quality", "side", "sharpness", "yaw", "pitch", "mirror"])
def test_what_is_not_known_is_no_reason(name):
    assert reasons(**{name: np.nan}) == ()


def test_what_a_cause_explains_is_not_said_twice():
    assert reasons(side=10, sharpness=0.001, mirror=2.0) == ("too_small_to_identify",)
    assert reasons(yaw=0.6, mirror=2.0) == ("turned_away",)
    assert reasons(sharpness=0.001, mirror=2.0) == ("blurred",)


def test_several_come_in_the_order_of_the_table():
    found = reasons(quality=0.1, yaw=0.6, sharpness=0.001, by_box=True, few=True)
    assert found == tuple(code for code in REASONS if code in found) and len(found) == 5


def test_the_limits_stand_in_the_ensemble_file():
    assert IdentitySettings(**IdentityReviewConfig().model_dump()) == IdentitySettings()
    config = load_ensemble("embedded").model_dump() | {"identity_review": {"side_below": 30}}
    settings = IdentitySettings(**EnsembleConfig.model_validate(config).identity_review.model_dump())
    assert reasons(settings, side=25) == ("too_small_to_identify",)
    assert isinstance(load_ensemble("embedded").descriptors[0], DescriptorConfig)
