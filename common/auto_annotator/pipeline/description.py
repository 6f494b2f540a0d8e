"""Descriptors of the faces of a picture: an image and its faces in, one vector per face out. Built once, used for many pictures."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from auto_annotator.alignment import TEMPLATES, Alignment, align
from auto_annotator.config import Settings
from auto_annotator.crops import Pyramid
from auto_annotator.descriptor_set import DescriptorMember, DescriptorSet, build_descriptors
from auto_annotator.errors import MemberError
from auto_annotator.fusion.descriptors import fuse_descriptors, unit_rows
from auto_annotator.geometry import box_sides
from auto_annotator.pipeline.detection import require_device
from auto_annotator.pipeline.progress import problem_of
from auto_annotator.quality import FRONTAL_PITCH, FaceMeasures, QualityModel, measure, sharpness
from auto_annotator.review import IdentitySigns, identity_reasons
from auto_annotator.types import Descriptors, Faces, Float32Array, Image, Problem

log = logging.getLogger(__name__)

CHUNK = 128
"""Faces whose crops are in memory at once (150 x 150 crops: 9 MB)."""

WARM_UP_SIDE = 256
"""Side in pixels of the picture that warms the models up."""

SMALL_SIDE = 20.0
"""A face whose box side in pixels is below it is looked at three times, see `SMALL_SHIFTS`. Measured on LFW faces shrunk to 16 px:
equal error rate 6.3 -> 5.8 %; at 24 px and more it gains nothing."""

SMALL_SHIFTS = (0.0, -0.025, 0.025)
"""How far down the crop moves in the looks at a small face, as a share of its height: its points are only known to a pixel."""

NO_DESCRIPTOR = "no_descriptor"
"""Failure code of a face that no member could describe."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Opinions:
    """What each recogniser said of each face, before the fusion.

    Attributes:
        plain: by member (n, d) float32 vectors of the crop as the model gives them, for a small face the mean over several crops;
            a row of zeros = it has none.
        mirrored: by member the same of the mirrored crop; members that do not mirror are absent.
        sharpness: (n,) float32 `quality.sharpness` of the crop that the first member looks at; NaN where there is none.
        by_box: (n,) bool: the box placed the face, its points being missing or absurd.
        failures: for each face an empty text, or the code of why there was no crop.
        problems: members that did not answer for this picture.
    """

    plain: Mapping[str, Float32Array]
    mirrored: Mapping[str, Float32Array]
    sharpness: Float32Array
    by_box: npt.NDArray[np.bool_]
    failures: tuple[str, ...]
    problems: tuple[Problem, ...] = ()

    def together(self) -> dict[str, Float32Array]:
        """By member (n, d) float32 unit vectors of crop and mirrored crop together; zeros where it has none.

        They are added at the length that the model gave them: it is shorter where the model is less sure.
        """
        return {name: unit_rows(rows + self.mirrored.get(name, np.float32(0)))[0] for name, rows in self.plain.items()}


@dataclass(slots=True)
class _Run:
    """What has come together for one picture so far."""

    plain: dict[str, Float32Array]
    mirrored: dict[str, Float32Array]
    sharpness: Float32Array
    problems: dict[str, Problem] = field(default_factory=dict)


class FaceDescription:
    """Faces described by an ensemble of recognisers.

    Attributes:
        descriptors: the built recognisers.
        model_set: name of the ensemble.
        model_hash: short hex of all that the vectors depend on; vectors of two hashes never compare.
        dimension: numbers of a vector.
        threshold: cosine from which two faces are more likely one person than two, None = nobody has measured it.
        members: names of the recognisers.
        device: where the models really run, for example `cpu` or `cuda+cpu`.
    """

    def __init__(self, descriptors: DescriptorSet) -> None:
        self.descriptors = descriptors
        self.model_set = descriptors.name
        self.model_hash = descriptors.model_hash
        self.dimension = descriptors.calibration.dimension
        self.threshold = descriptors.calibration.threshold
        self.members = tuple(m.name for m in descriptors.members)
        self.device = "+".join(descriptors.devices) or "cpu"
        self._quality = QualityModel.from_json(descriptors.calibration.quality)

    @classmethod
    def from_settings(cls, settings: Settings) -> FaceDescription:
        """Build the recognisers of the ensemble that the settings name.

        Raises:
            AutoAnnotatorError: whatever is wrong with the file, the weights or the device.
        """
        return cls(build_descriptors(settings))

    def warm_up(self) -> None:
        """Run every model once, so that the first real picture does not pay for it.

        Raises:
            MemberError: if a member fails on a plain grey picture; better at the start than at each picture.
        """
        grey = np.full((WARM_UP_SIDE, WARM_UP_SIDE, 3), 127, np.uint8)
        problems = self.opinions(grey, Faces.of([[64, 64, 192, 192]], [1.0])).problems
        if problems:
            raise MemberError("; ".join(f"member {p.member}: {p.reason} ({p.detail})" for p in problems))

    def __call__(self, image: Image, faces: Faces) -> Descriptors:
        """Describe the faces of one picture.

        Args:
            image: RGB (h, w, 3) uint8, upright.
            faces: boxes and points in pixels of the picture; any value is taken. Scores count for the quality.

        Returns:
            Rows as in `faces`. Two rows compare by their inner product; a row of zeros has its reason in `failures`.

        Raises:
            ValueError: for an array that is not RGB uint8.
            MemberError: only if every member broke: no descriptors would then be a lie about the faces.
        """
        opinions = self.opinions(image, faces)
        if len(opinions.problems) == len(self.members):
            raise MemberError("no member answered: " + "; ".join(f"{p.member}: {p.reason}" for p in opinions.problems))
        together = opinions.together()
        vectors = fuse_descriptors(together, self.descriptors.calibration)
        described = np.linalg.norm(vectors, axis=1) > 0
        failures = tuple(f or ("" if ok else NO_DESCRIPTOR) for f, ok in zip(opinions.failures, described, strict=True))
        measures = measure(faces, opinions.sharpness, opinions.plain, opinions.mirrored)
        quality = np.where(described, self._quality(measures), 0)
        notes = self._notes(opinions, measures, quality, described)
        return Descriptors(
            vectors=vectors,
            quality=np.asarray(np.clip(np.nan_to_num(quality), 0, 1), np.float32),  # a caller's score may be anything
            failures=failures,
            notes=notes,
            model_set=self.model_set,
            model_hash=self.model_hash,
        )

    def _notes(
        self, opinions: Opinions, measures: FaceMeasures, quality: npt.NDArray[np.floating], described: npt.NDArray[np.bool_]
    ) -> tuple[tuple[str, ...], ...]:
        """For each face that has a descriptor the codes of `review.REASONS` that say how far it can be trusted."""
        missing = np.any([~rows.any(axis=1) for rows in opinions.plain.values()], axis=0)
        signs = IdentitySigns(
            quality=quality,
            side=measures.side,
            sharpness=measures.sharpness,
            yaw=measures.yaw,
            pitch=np.abs(measures.pitch - FRONTAL_PITCH),
            mirror=mirror_ratio(measures, self._quality),
            by_box=opinions.by_box,
            few=missing,
        )
        notes = identity_reasons(signs, self.descriptors.review)
        return tuple(note if ok else () for note, ok in zip(notes, described, strict=True))

    def opinions(self, image: Image, faces: Faces) -> Opinions:
        """What each member says of each face, for measuring and for the fusion; members that break are in `problems`.

        Raises:
            ValueError: for an array that is not RGB uint8.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
            raise ValueError(f"image: got {image.dtype} {image.shape}, expected uint8 (h, w, 3)")
        height, width = image.shape[:2]
        names = dict.fromkeys(m.recogniser.template for m in self.descriptors.members)
        alignments = {name: align(faces, TEMPLATES[name], width=width, height=height) for name in names}
        pyramid = Pyramid(image)
        run = _Run(
            plain={m.name: np.zeros((len(faces), m.recogniser.dimension), np.float32) for m in self.descriptors.members},
            mirrored={m.name: np.zeros((len(faces), m.recogniser.dimension), np.float32) for m in self._mirroring()},
            sharpness=np.full(len(faces), np.nan, np.float32),
        )
        for alignment in alignments.values():
            rows = np.flatnonzero([not f for f in alignment.failures])
            small = box_sides(faces.boxes[rows]) < SMALL_SIDE
            self._look(pyramid, alignment, rows[~small], (0.0,), run)
            self._look(pyramid, alignment, rows[small], SMALL_SHIFTS, run)
        first_alignment = next(iter(alignments.values()))
        return Opinions(
            plain=run.plain,
            mirrored=run.mirrored,
            sharpness=run.sharpness,
            by_box=np.any([a.by_box for a in alignments.values()], axis=0),
            failures=first_alignment.failures,
            problems=tuple(run.problems.values()),
        )

    def _mirroring(self) -> list[DescriptorMember]:
        return [m for m in self.descriptors.members if m.config.flip]

    def _look(self, pyramid: Pyramid, alignment: Alignment, rows: npt.NDArray[np.intp], shifts: Sequence[float], run: _Run) -> None:
        """Look at some faces once for each shift of the crop; their vectors are the means over the looks."""
        for first in range(0, len(rows), CHUNK):
            for shift in shifts:
                self._describe(pyramid, alignment, rows[first : first + CHUNK], run, down=shift, say=1 / len(shifts))

    def _describe(
        self, pyramid: Pyramid, alignment: Alignment, rows: npt.NDArray[np.intp], run: _Run, *, down: float, say: float
    ) -> None:
        """All members of one template look at some faces; whatever happens to one, the others go on."""
        template = alignment.template
        matrices = alignment.matrices[rows]
        matrices[:, 1, 2] += down * template.height
        found = [(row, pyramid.crop(m, template.size, cubic=True)) for row, m in zip(rows, matrices, strict=True)]
        kept = np.array([row for row, crop in found if crop is not None], np.intp)
        crops = [crop for _, crop in found if crop is not None]
        if not down and template is self.descriptors.members[0].template:
            run.sharpness[kept] = [sharpness(crop) for crop in crops]
        for member in self.descriptors.members:
            if member.template is not template or member.name in run.problems or not crops:
                continue
            try:
                run.plain[member.name][kept] += say * _vectors(member, crops)
                if member.config.flip:
                    mirrored = [np.ascontiguousarray(crop[:, ::-1]) for crop in crops]
                    run.mirrored[member.name][kept] += say * _vectors(member, mirrored)
            except Exception as error:
                problem = run.problems[member.name] = problem_of(member.name, error)
                log.warning("descriptor %s left out for this picture: %s (%s)", member.name, problem.reason, problem.detail)
                for columns in (run.plain, run.mirrored):
                    if member.name in columns:
                        columns[member.name][:] = 0


def _vectors(member: DescriptorMember, crops: Sequence[Image]) -> Float32Array:
    """(n, d) float32 rows of crops as the model gives them; zeros where the member gave no vector.

    Raises:
        MemberError: if the answer has another shape, or no finite row at all.
    """
    raw = np.asarray(member.recogniser.describe(crops))
    expected = (len(crops), member.recogniser.dimension)
    if raw.shape != expected or raw.dtype.kind != "f":
        raise MemberError(f"vectors of {raw.dtype} {raw.shape}, expected float {expected}")
    finite = np.asarray(np.isfinite(raw).all(axis=1), np.bool_)
    if not finite.any():
        raise MemberError(f"vectors of {len(raw)} crops, none of them finite")
    return np.asarray(np.where(finite[:, None], raw, 0), np.float32)


def mirror_ratio(measures: FaceMeasures, model: QualityModel) -> npt.NDArray[np.float64]:
    """(n,) largest over the members: angle between crop and mirrored crop over that of a typical face; NaN where none is known."""
    ratios = [np.full(len(measures), np.nan)]
    for name, cosines in measures.agreement.items():
        typical = model.ingredients.get(f"agreement/{name}")
        if typical is not None and typical.typical < 0:
            ratios.append(np.arccos(np.clip(cosines, -1, 1)) / -typical.typical)
    return np.asarray(np.fmax.reduce(ratios), np.float64)


def build_description(settings: Settings) -> FaceDescription:
    """The description of a service: on the device that was asked for, and warm.

    Raises:
        AutoAnnotatorError: if settings, weights or the device are wrong, or a member fails on a plain picture.
    """
    description = FaceDescription.from_settings(settings)
    require_device(settings, description.device)
    description.warm_up()
    return description
