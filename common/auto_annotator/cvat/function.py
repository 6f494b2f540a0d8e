r"""The ensemble as an auto-annotation function of cvat-sdk.

    cvat-cli task auto-annotate 42 --function-module auto_annotator.cvat.function \
        -p ensemble=str:embedded -p device=str:cpu -p threshold=float:0.3

Works with any CVAT server and needs no Nuclio; AUTO_ANNOTATOR_* variables hold for what is not given. The labels of the task
must be those of `auto-annotator labels`, or `--allow-unmatched-labels` drops what the task does not have.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageOps

from auto_annotator.config import Settings, load_settings
from auto_annotator.cvat import shapes
from auto_annotator.cvat.failures import failure_place, failure_reason
from auto_annotator.cvat.labels import sdk_labels
from auto_annotator.errors import ConfigError, ImageError
from auto_annotator.imageio import decode
from auto_annotator.pipeline import build_pipeline
from auto_annotator.types import Detection, Image

log = logging.getLogger(__name__)


class FaceDetectionFunction:
    """A detection function as `cvat_sdk.auto_annotation` wants it: a `spec` and a `detect`.

    Args:
        pipeline: called with an RGB picture and a threshold.
        settings: `max_pixels` and `on_error` are used here; None = from the environment. With `on_error="tag"` a picture that
            cannot be worked on gets a `face_error` tag; with `fail` the error ends the run, and with it all annotations of the
            run, because the SDK uploads once at the end.
        threshold: faces below it are left out when the caller names none, 0..1; None = the ensemble's own.

    Raises:
        ConfigError: if the threshold or a variable of the environment is wrong.
    """

    def __init__(
        self, pipeline: Callable[..., Detection], settings: Settings | None = None, *, threshold: float | None = None
    ) -> None:
        if threshold is not None and not 0 <= threshold <= 1:
            raise ConfigError(f"threshold: got {threshold}, expected 0..1")
        self._pipeline, self._settings, self._threshold = pipeline, settings or load_settings(), threshold

    @cached_property
    def spec(self) -> Any:
        """`DetectionFunctionSpec` with the whole label schema."""
        from cvat_sdk.auto_annotation import DetectionFunctionSpec

        return DetectionFunctionSpec(labels=sdk_labels())

    def detect(self, context: Any, image: PIL.Image.Image) -> list[Any]:
        """Annotate one picture.

        Args:
            context: `DetectionFunctionContext`; its `conf_threshold`, if given, takes the place of ours.
            image: as the SDK loaded it, any mode.

        Returns:
            A rectangle and, where points were seen, a skeleton for each face, tied by `group`; or one `face_error` tag.
        """
        threshold = self._threshold if context.conf_threshold is None else float(context.conf_threshold)
        try:
            return shapes.sdk_annotations(self._pipeline(rgb(image, max_pixels=self._settings.max_pixels), threshold=threshold))
        except Exception as error:
            if self._settings.on_error == "fail":
                raise
            reason = failure_reason(error)
            log.warning("picture left with a face_error tag: %s (%s at %s)", reason, type(error).__name__, failure_place(error))
            return shapes.sdk_error(reason)


def rgb(picture: PIL.Image.Image, *, max_pixels: int) -> Image:
    """The upright RGB array of a Pillow picture, by the same rules as `imageio` for files.

    Args:
        picture: opened by Pillow; its pixels need not be loaded yet.
        max_pixels: largest accepted width x height, checked before they are.

    Raises:
        ImageError: `too_many_pixels`; `broken` or `unsupported` if Pillow cannot load or convert it.
        MemoryError: if its pixels do not fit.
    """
    if picture.width * picture.height > max_pixels:
        size = f"{picture.width} x {picture.height} pixels"
        raise ImageError("too_many_pixels", f"got {size}, expected at most {max_pixels} in all: make it smaller or raise the limit")
    try:
        upright = PIL.ImageOps.exif_transpose(picture)
    except MemoryError:
        raise
    except Exception:
        raise ImageError("broken", "the picture cannot be loaded; export it again") from None
    try:
        if upright.mode.startswith(("I", "F")):
            # More than 8 bits: Pillow would clip them, imageio scales them. TIFF holds each of these modes as it is.
            buffer = io.BytesIO()
            upright.save(buffer, "TIFF")
            return decode(buffer.getvalue(), max_pixels=max_pixels)
        if upright.mode in ("P", "PA"):
            upright = upright.convert("RGBA")  # a palette with alpha has no direct way to RGB
        return np.array(upright.convert("RGB"))
    except (OSError, ValueError):
        raise ImageError("unsupported", f"got a picture of mode {upright.mode}, expected one that converts to RGB") from None


def create(
    ensemble: str | None = None,
    device: str | None = None,
    threshold: float | None = None,
    models: str | None = None,
    allow_cpu: bool | None = None,
    on_error: str | None = None,
) -> FaceDetectionFunction:
    """Build the function; each argument is a `-p name=type:value` of cvat-cli, and what is left out comes from the environment.

    Args:
        ensemble: name of a packaged ensemble or path of an ensemble file.
        device: `auto`, `cpu`, `cuda` or `tensorrt`.
        threshold: faces below it are left out, 0..1; None = the ensemble's own. cvat-cli's `--conf-threshold` goes before it.
        models: folder of the weights.
        allow_cpu: whether the CPU may stand in for a GPU that is not there.
        on_error: `tag` or `fail`, see `FaceDetectionFunction`; None = `AUTO_ANNOTATOR_ON_ERROR`, and `tag` without it.

    Raises:
        AutoAnnotatorError: if an argument, the weights or the device are wrong.
    """
    settings = load_settings(ensemble=ensemble, device=device, models=models, allow_cpu=allow_cpu, on_error=on_error)
    return FaceDetectionFunction(build_pipeline(settings), settings, threshold=threshold)
