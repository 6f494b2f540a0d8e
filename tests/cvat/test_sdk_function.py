"""The ensemble as an auto-annotation function of cvat-sdk, driven by the SDK's own code."""

from __future__ import annotations

import io
import logging
from types import SimpleNamespace

import numpy as np
import PIL.Image
import pytest
from contract_fakes import FakePipeline, png

from auto_annotator.config import Settings
from auto_annotator.cvat import function
from auto_annotator.cvat.labels import label_constructor
from auto_annotator.errors import ConfigError, DeviceError, ImageError
from auto_annotator.pipeline import FaceDetection


def picture(mode="RGB", size=(50, 40)):
    return PIL.Image.new("RGB", size, (200, 150, 120)).convert(mode)


def context(threshold=None):
    return SimpleNamespace(frame_name="CANARY.jpg", conf_threshold=threshold, conv_mask_to_poly=False)


@pytest.fixture
def server(monkeypatch):
    """A stand-in for a CVAT task of three pictures; records what the SDK would upload."""
    from cvat_sdk import models
    from cvat_sdk.auto_annotation import driver

    number = iter(range(500, 1000))

    def label(entry):
        attributes = [models.Attribute(**a, id=next(number)) for a in entry["attributes"]]
        points = [
            models.Sublabel(name=s["name"], type="points", id=next(number), attributes=[]) for s in entry.get("sublabels", [])
        ]
        return models.Label(name=entry["name"], type=entry["type"], id=next(number), attributes=attributes, sublabels=points)

    pictures = [picture(), picture("L"), PIL.Image.open(io.BytesIO(png()[:70]))]
    samples = [
        SimpleNamespace(frame_index=i, frame_name=f"{i}.png", media=SimpleNamespace(load_image=lambda image=image: image))
        for i, image in enumerate(pictures)
    ]
    dataset = SimpleNamespace(labels=[label(e) for e in label_constructor()], samples=samples)
    monkeypatch.setattr(driver, "TaskDataset", lambda client, task, load_annotations: dataset)
    uploads = []
    api = SimpleNamespace(
        partial_update_annotations=lambda action, task, patched_labeled_data_request: uploads.append(patched_labeled_data_request)
    )
    client = SimpleNamespace(logger=logging.getLogger("client"), tasks=SimpleNamespace(api=api))
    return SimpleNamespace(client=client, uploads=uploads, dataset=dataset)


def test_annotate_task_takes_what_we_give(server):
    from cvat_sdk.auto_annotation import annotate_task

    pipeline = FakePipeline()
    annotate_task(server.client, 1, function.FaceDetectionFunction(pipeline), conf_threshold=0.5)
    (data,) = server.uploads
    assert [s.frame for s in data.shapes] == [0, 0, 1, 1] and pipeline.thresholds == [0.5, 0.5]
    assert [(t.frame, t.attributes[0].value) for t in data.tags] == [(2, "broken")], "a damaged picture does not end the run"
    assert {s.label_id for s in data.shapes} == {server.dataset.labels[0].id}
    assert {s.source for s in data.shapes} == {"auto"}


def test_labels_that_the_task_lacks(server):
    from cvat_sdk.auto_annotation import BadFunctionError, annotate_task

    server.dataset.labels = server.dataset.labels[:1]
    with pytest.raises(BadFunctionError, match="face_landmarks"):
        annotate_task(server.client, 1, function.FaceDetectionFunction(FakePipeline()))
    annotate_task(server.client, 1, function.FaceDetectionFunction(FakePipeline()), allow_unmatched_labels=True)
    assert len(server.uploads[0].shapes) == 6 and server.uploads[0].tags == []


@pytest.mark.parametrize(
    ("ours", "theirs", "passed"), [(None, None, None), (0.4, None, 0.4), (0.4, 0.8, 0.8), (0.4, 0, 0.0), (None, 1, 1.0)]
)
def test_the_callers_threshold_goes_before_ours(ours, theirs, passed):
    pipeline = FakePipeline()
    function.FaceDetectionFunction(pipeline, threshold=ours).detect(context(theirs), picture())
    assert pipeline.thresholds == [passed]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "I", "F", "I;16"])
def test_every_mode_becomes_rgb(mode):
    if mode in ("I", "F", "I;16"):
        grey = np.linspace(0, 65535, 2000).reshape(40, 50)
        image = PIL.Image.fromarray(grey.astype({"I": np.int32, "F": np.float32, "I;16": np.uint16}[mode]))
    else:
        image = picture("RGBA").convert("P").convert("PA") if mode == "PA" else picture(mode)
    array = function.rgb(image, max_pixels=2000)
    assert array.shape == (40, 50, 3) and array.dtype == np.uint8
    if mode in ("I", "F", "I;16"):
        assert len(np.unique(array)) > 200, "scaled, not clipped"
    elif mode not in ("1", "L", "LA"):
        assert np.abs(array[5, 5].astype(int) - [200, 150, 120]).max() <= 30


def test_exif_orientation_is_undone():
    image = PIL.Image.new("RGB", (50, 40), "black")
    image.paste((255, 255, 255), (0, 0, 25, 40))
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", exif=exif)
    array = function.rgb(PIL.Image.open(io.BytesIO(buffer.getvalue())), max_pixels=2000)
    assert array.shape == (50, 40, 3) and array[:20].mean() > 250 and array[30:].mean() < 5


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (PIL.Image.new("La", (4, 4)), "unsupported"),
        (PIL.Image.open(io.BytesIO(png()[:70])), "broken"),
        (PIL.Image.new("RGB", (2001, 1)), "too_many_pixels"),
        (PIL.Image.open(io.BytesIO(png((50, 41))[:70])), "too_many_pixels"),  # before the pixels, which are cut off, are loaded
    ],
)
def test_pictures_that_cannot_be_used(image, reason):
    with pytest.raises(ImageError) as caught:
        function.rgb(image, max_pixels=2000)
    assert caught.value.reason == reason


def test_a_failing_pipeline(caplog):
    failing = FakePipeline(RuntimeError("CANARY"))
    (tag,) = function.FaceDetectionFunction(failing).detect(context(), picture())
    assert (tag.label_id, tag.attributes[0].value) == (3, "internal_error")
    assert "internal_error" in caplog.text and "CANARY" not in caplog.text
    with pytest.raises(RuntimeError):
        function.FaceDetectionFunction(failing, Settings(on_error="fail")).detect(context(), picture())


@pytest.mark.parametrize("threshold", [1.5, -0.1, float("nan")])
def test_wrong_thresholds(threshold):
    with pytest.raises(ConfigError, match="threshold"):
        function.FaceDetectionFunction(FakePipeline(), threshold=threshold)


@pytest.fixture
def built(monkeypatch):
    """The fake pipeline that `create` gets, and the settings that it asked for."""
    fake, seen = FakePipeline(), []
    monkeypatch.setattr(FaceDetection, "from_settings", classmethod(lambda cls, settings: seen.append(settings) or fake))
    return SimpleNamespace(pipeline=fake, settings=seen)


def test_create_is_what_cvat_cli_calls(monkeypatch, built):
    seen = built.settings
    monkeypatch.setenv("AUTO_ANNOTATOR_THREADS", "3")
    made = function.create(ensemble="embedded", device="cpu", threshold=0.3)
    assert (seen[0].ensemble, seen[0].device, seen[0].threads) == ("embedded", "cpu", 3)
    assert len(made.detect(context(), picture())) == 3
    assert [label.name for label in made.spec.labels] == ["face", "face_landmarks", "face_error"] and made.spec is made.spec
    with pytest.raises(ConfigError, match="AUTO_ANNOTATOR_DEVICE"):
        function.create(device="gpu")
    assert built.pipeline.warm


@pytest.mark.parametrize(
    ("variable", "argument", "fails"), [(None, None, False), ("fail", None, True), ("fail", "tag", False), ("tag", "fail", True)]
)
def test_what_an_error_does_comes_from_the_argument_or_the_environment(monkeypatch, built, variable, argument, fails):
    if variable:
        monkeypatch.setenv("AUTO_ANNOTATOR_ON_ERROR", variable)
    made = function.create(on_error=argument)
    built.pipeline.error = RuntimeError("broken")
    if fails:
        with pytest.raises(RuntimeError):
            made.detect(context(), picture())
    else:
        assert made.detect(context(), picture())[0].attributes[0].value == "internal_error"
    with pytest.raises(ConfigError, match="AUTO_ANNOTATOR_ON_ERROR"):
        function.create(on_error="ignore")


def test_create_refuses_a_gpu_that_is_not_there(built):
    with pytest.raises(DeviceError, match="asked for 'cuda'"):
        function.create(device="cuda")
    assert function.create(device="cuda", allow_cpu=True)


def test_the_pixel_limit_of_the_settings_holds(monkeypatch, built):
    monkeypatch.setenv("AUTO_ANNOTATOR_MAX_PIXELS", "1999")
    (tag,) = function.create().detect(context(), picture())
    assert tag.attributes[0].value == "too_many_pixels" and built.pipeline.pictures == []
