"""Faces of a picture: an image in, faces with their disagreement out. Built once from settings, used for many pictures."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import zip_longest

import numpy as np

from auto_annotator.config import Settings
from auto_annotator.ensemble import Ensemble, Member, Plan, build_ensemble
from auto_annotator.errors import DeviceError, MemberError
from auto_annotator.fusion.boxes import FusionSettings
from auto_annotator.fusion.candidates import BoolArray
from auto_annotator.fusion.faces import FusedFaces, fuse_evidence
from auto_annotator.pipeline.attention import beside_tiles, smallest_side
from auto_annotator.pipeline.orientations import (
    QUARTERS,
    chosen,
    faces_turned_back,
    joined,
    less_likely,
    rated,
    selected,
    stands_upright,
    turned_back,
    turned_picture,
)
from auto_annotator.pipeline.progress import Run, problem_of
from auto_annotator.pipeline.refining import place_points
from auto_annotator.review import Doubts, ReviewSettings, review_reasons
from auto_annotator.types import Detection, Faces, Image, Problem

log = logging.getLogger(__name__)

WARM_UP_SIDE = 640
"""Side in pixels of the picture that warms the models up: every model runs on it, though not every view (tiles need more)."""


class FaceDetection:
    """Faces with five landmarks by an ensemble.

    Attributes:
        ensemble: the built ensemble.
        members: names of the members that vote on boxes.
        device: where the models really run, for example `cpu` or `cuda+cpu`.
    """

    def __init__(self, ensemble: Ensemble, settings: Settings | None = None) -> None:
        self.ensemble = ensemble
        self.settings = settings or Settings()
        self.members = tuple(m.name for m in ensemble.members)
        self.device = "+".join(ensemble.devices) or "cpu"

    @classmethod
    def from_settings(cls, settings: Settings) -> FaceDetection:
        """Build the ensemble that the settings name.

        Raises:
            AutoAnnotatorError: whatever is wrong with the file, the weights or the device.
        """
        return cls(build_ensemble(settings), settings)

    def warm_up(self) -> None:
        """Run every model once, so that the first real picture does not pay for it.

        Raises:
            MemberError: if a member fails on a plain grey picture; better at the start than at each picture.
        """
        grey = np.full((WARM_UP_SIDE, WARM_UP_SIDE, 3), 127, np.uint8)
        upright = FaceDetection(self.ensemble, self.settings.model_copy(update={"rotations": "off"}))
        detection = upright(grey)
        failed = [p for p in detection.problems if p.reason != "out_of_time"]
        if failed:
            raise MemberError("; ".join(f"member {p.member}: {p.reason} ({p.detail})" for p in failed))
        box = Faces.of([[200, 200, 440, 440]], [0.5])
        for named in self.ensemble.refiners:
            named.refiner.refine(grey, box)

    def __call__(self, image: Image, *, threshold: float | None = None) -> Detection:
        """Find the faces of one picture.

        Args:
            image: RGB (h, w, 3) uint8, upright.
            threshold: faces with a fused score below it are left out, 0..1; None = the ensemble's own.

        Returns:
            Faces best first, who voted for them and why a person should look. A member that breaks is in `problems`.

        Raises:
            ValueError: for an array that is not RGB uint8, or a threshold outside 0..1.
            AutoAnnotatorError: only if every member broke: no faces would then be a lie.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
            raise ValueError(f"image: got {image.dtype} {image.shape}, expected uint8 (h, w, 3)")
        limit = self.ensemble.config.threshold if threshold is None else threshold
        if not 0 <= limit <= 1:
            raise ValueError(f"threshold: got {limit}, expected 0..1")
        run = Run(deadline=time.perf_counter() + self.settings.budget_seconds)
        self._look(image, run)
        if all(run.broken(name) for name in self.members):
            raise MemberError("no member answered: " + "; ".join(f"{p.member}: {p.reason}" for p in run.problems.values()))
        fused = self._fuse(run)
        shown, stands = np.flatnonzero(fused.faces.scores >= limit), stands_upright(fused)
        detection = self._finish(image, run, fused.select(shown))
        # Not the caller's threshold: a higher one must never bring faces that a lower one does not show.
        empty = not (stands & (fused.faces.scores >= self.ensemble.config.threshold)).any()
        if self.settings.rotations == "off" or (self.settings.rotations == "when_empty" and not empty):
            return detection
        return self._look_around(image, run, detection, stands[shown], limit)

    def _look_around(self, image: Image, run: Run, upright: Detection, stands: BoolArray, limit: float) -> Detection:
        """Look at the turned picture too; of a face that is found in several orientations, the best box stays."""
        looks: list[tuple[Run, FusedFaces]] = []
        for quarters in QUARTERS:
            turned, picture = run.turned(quarters), turned_picture(image, quarters)
            if not self._out_of_time(picture, turned):
                self._look(picture, turned)
                fused = self._fuse(turned)
                looks.append((turned, fused.select(np.flatnonzero(fused.faces.scores >= limit))))
            run.learn(turned)
        height, width = image.shape[:2]
        back = [faces_turned_back(fused.faces, turned.quarters, width, height) for turned, fused in looks]
        standing = [stands, *(stands_upright(fused) for _, fused in looks)]
        first, *others = chosen([upright.faces, *back], self.ensemble.config.turned_odds, standing)
        parts = [selected(upright, first.rows)]
        for choice, (turned, fused) in zip(others, looks, strict=True):
            choice = choice.select(np.flatnonzero(choice.scores >= limit))
            if len(choice.rows):
                found = self._finish(turned_picture(image, turned.quarters), turned, rated(fused, choice))
                parts.append(turned_back(found, turned.quarters))
                run.learn(turned)
        return replace(joined(parts), problems=tuple(run.problems.values()))

    def _out_of_time(self, picture: Image, run: Run) -> bool:
        """Whether there is no time left for each member's first look at a turned picture; if so, it is noted."""
        height, width = picture.shape[:2]
        members = [m for m in self.ensemble.members if not run.broken(m.name)]
        expected = sum(run.pace.get(m.name, 0.0) * plan.megapixels for m in members for plan in m.plans(width, height)[:1])
        late = time.perf_counter() + expected > run.deadline
        if late:
            run.problems |= {m.name: Problem(member=m.name, reason="out_of_time", detail="all views left out") for m in members}
        return late

    def _look(self, image: Image, run: Run) -> None:
        """All views of all members: first views first, so that every member has had its say when time runs out."""
        height, width = image.shape[:2]
        plans = [m.plans(width, height) for m in self.ensemble.members]
        looks: list[tuple[Member, Plan, Faces]] = []
        for number, round_ in enumerate(zip_longest(*plans)):
            small = smallest_side([faces for _, _, faces in looks])
            jobs = [
                (m, p)
                for m, p in zip(self.ensemble.members, round_, strict=True)
                if p is not None and (p.view.small_below is None or small < p.view.small_below)
            ]
            for member, plan, answer in self._side_by_side(image, run, jobs, may_skip=number > 0):
                if isinstance(answer, Problem):
                    run.problems[member.name] = answer
                else:
                    looks.append((member, plan, answer))
        looks = [look for look in looks if not run.broken(look[0].name)]
        tiled = any(plan.tiles and member.name not in run.problems for member, plan, _ in looks)
        for member, plan, faces in looks:
            heard, source = beside_tiles(member, plan, faces) if tiled and not plan.tiles else (faces, member.source(plan))
            run.lists.append(heard)
            run.sources.append(source)

    def _side_by_side(
        self, image: Image, run: Run, jobs: Sequence[tuple[Member, Plan]], *, may_skip: bool
    ) -> list[tuple[Member, Plan, Faces | Problem]]:
        def one(job: tuple[Member, Plan]) -> tuple[Member, Plan, Faces | Problem]:
            return (*job, self._guarded(image, run, *job, may_skip=may_skip))

        jobs = [job for job in jobs if not run.broken(job[0].name)]
        if not self.settings.side_by_side or len(jobs) < 2:
            return [one(job) for job in jobs]
        with ThreadPoolExecutor(len(jobs)) as pool:
            return list(pool.map(one, jobs))

    def _guarded(self, image: Image, run: Run, member: Member, plan: Plan, *, may_skip: bool) -> Faces | Problem:
        """One member looks at one view; whatever happens, the others go on."""
        start = time.perf_counter()
        # Tiles stop by themselves. A forecast from the pace would leave them out where shrinking a huge picture took the time.
        expected = run.pace.get(member.name, 0.0) * plan.megapixels if not plan.tiles else 0.0
        if may_skip and start + expected > run.deadline:
            return Problem(member=member.name, reason="out_of_time", detail=f"view {plan.view.name} left out")
        try:
            faces = member.look(image, plan, max_faces=self.settings.max_faces, stop=lambda: run.stops(member.name, plan))
        except Exception as error:
            problem = problem_of(member.name, error)
            log.warning("member %s left out for this picture: %s (%s)", member.name, problem.reason, problem.detail)
            return problem
        finally:
            run.timed(f"members/{member.name}", start)
        spent = time.perf_counter() - start
        run.pace[member.name] = max(run.pace.get(member.name, 0.0), spent / max(plan.megapixels, 1e-6))
        return faces

    def _fuse(self, run: Run) -> FusedFaces:
        start = time.perf_counter()
        config = self.ensemble.config.fusion
        settings = FusionSettings(rule=config.rule, iou=config.iou, min_votes=config.min_votes)
        weights = [self.ensemble.members[s.member].config.landmark_weight for s in run.sources]
        fused = fuse_evidence(run.lists, run.sources, self.members, settings, weights, self.ensemble.calibration.final_scores)
        run.timed("fuse", start)
        return fused

    def _finish(self, image: Image, run: Run, fused: FusedFaces) -> Detection:
        height, width = image.shape[:2]
        placed = place_points(image, run, fused, self.ensemble.refiners)
        start = time.perf_counter()
        faces = Faces(boxes=fused.faces.boxes, scores=fused.faces.scores, landmarks=placed.landmarks)
        votes = replace(fused.votes, landmark_spread=placed.spread)
        failed = any(run.broken(name) for name in self.members)
        pointed = bool(self.ensemble.refiners) or any(m.detector.capabilities.landmarks for m in self.ensemble.members)
        settings = ReviewSettings(**self.ensemble.config.review.model_dump(), landmarks_expected=pointed)
        wrong = self.ensemble.calibration.wrong(fused.evidence)
        if wrong is not None and run.quarters:
            wrong = less_likely(wrong, 1 / self.ensemble.config.turned_odds)
        doubts = Doubts(wrong=wrong, inside=fused.evidence.inside, unseen=placed.unseen)
        reasons = review_reasons(faces, votes, width=width, height=height, settings=settings, failed_members=failed, doubts=doubts)
        run.timed("fuse", start)
        return Detection(
            width=width,
            height=height,
            faces=faces,
            votes=votes,
            reasons=reasons,
            review_scores=None if doubts.wrong is None else np.asarray(doubts.wrong, np.float32),
            problems=tuple(run.problems.values()),
            seconds=run.seconds,
            hidden=placed.hidden,
        )


def build_pipeline(settings: Settings) -> FaceDetection:
    """The pipeline of a service: on the device that was asked for, and warm.

    Raises:
        AutoAnnotatorError: if settings, weights or the device are wrong, or a member fails on a plain picture.
    """
    pipeline = FaceDetection.from_settings(settings)
    require_device(settings, pipeline.device)
    pipeline.warm_up()
    return pipeline


def require_device(settings: Settings, device: str) -> None:
    """Refuse a pipeline that runs on the CPU alone although a GPU was asked for: users notice it weeks later, by the speed.

    Raises:
        DeviceError: unless `AUTO_ANNOTATOR_ALLOW_CPU` is set.
    """
    if settings.device in ("cuda", "tensorrt") and not settings.allow_cpu and device == "cpu":
        raise DeviceError(
            f"device: asked for {settings.device!r}, but the models run on {device!r}. Use a host with an NVIDIA GPU (under Nuclio:"
            " function-gpu.yaml and the NVIDIA container toolkit), or allow the CPU (AUTO_ANNOTATOR_ALLOW_CPU=1)"
        )
