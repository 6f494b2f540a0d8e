"""The calibration file of an ensemble: which curve belongs to which member and view, and the models of the fused face."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from auto_annotator.config import EnsembleConfig, ensemble_path
from auto_annotator.errors import ConfigError
from auto_annotator.fusion.calibration import Curve, SizedCurve
from auto_annotator.fusion.edges import EdgeHabit
from auto_annotator.fusion.stacking import Evidence, Stack
from auto_annotator.geometry import box_sides
from auto_annotator.types import Faces

VERSION = 2
"""Of the file format. Files without a number hold curves only and are still read."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ViewCalibration:
    """What was measured of one member in one view.

    Attributes:
        curve: raw score -> probability; with the size of the face as second input if it is a `SizedCurve`.
        edges: how it places the edges of a box; None = not measured.
    """

    curve: Curve | SizedCurve
    edges: EdgeHabit | None = None

    def __call__(self, faces: Faces, scale: float) -> Faces:
        """The faces with probabilities for scores, and the habit taken off their boxes.

        Args:
            faces: in picture pixels, scores raw.
            scale: canvas pixels per picture pixel.
        """
        sides = box_sides(faces.boxes.astype(np.float64))
        seen = sides * scale
        scores = self.curve(faces.scores, seen) if isinstance(self.curve, SizedCurve) else self.curve(faces.scores)
        boxes = faces.boxes
        if self.edges is not None:
            moved = np.asarray(boxes - self.edges.bias_at(seen) * sides[:, None], np.float32)
            # A habit is a share of the mean side: it may be more than all of a narrow box, such as that of a face at the border.
            still = (moved[:, 2:] > moved[:, :2]).all(axis=1, keepdims=True)
            boxes = np.asarray(np.where(still, moved, boxes), np.float32)
        return Faces(boxes=boxes, scores=np.clip(np.asarray(scores, np.float32), 0, 1), landmarks=faces.landmarks)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Calibration:
    """A calibration file, read.

    Attributes:
        views: member -> view -> what was measured of it.
        final: curve of the fused score, for the rules that average; None = keep it.
        score: model of the fused score, for the rule `stack`; None = there is none.
        right: model of the probability that a face needs no correction (a face, IoU at least 0.7); None = there is none.
    """

    views: Mapping[str, Mapping[str, ViewCalibration]] = field(default_factory=dict)
    final: Curve | None = None
    score: Stack | None = None
    right: Stack | None = None

    def final_scores(self, evidence: Evidence) -> np.ndarray:
        """(n,) final scores: by the model if there is one, else the fused score on its curve."""
        if self.score is not None:
            return self.score(evidence.inputs())
        return evidence.together if self.final is None else self.final(evidence.together)

    def wrong(self, evidence: Evidence) -> np.ndarray | None:
        """(n,) probability that a face needs a correction; None without a model."""
        return None if self.right is None else 1 - self.right(evidence.inputs())


def load_calibration(ensemble: str, config: EnsembleConfig) -> Calibration:
    """The calibration of an ensemble; an empty one if its file names none.

    Raises:
        ConfigError: if the file named by the ensemble is missing or malformed, or was fitted for other members.
    """
    if config.calibration is None:
        _require_model("of the ensemble", config, Calibration())
        return Calibration()
    path = ensemble_path(ensemble).parent / config.calibration
    try:
        calibration = parse_calibration(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"calibration {path.name}: cannot be used ({type(error).__name__}: {error})") from error
    _require_fit(path.name, config, calibration.views)
    _require_model(path.name, config, calibration)
    return calibration


def parse_calibration(data: Mapping[str, Any]) -> Calibration:
    """The plain values of a calibration file, checked.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: if they are not so.
    """
    if data.get("version", 1) not in (1, VERSION):
        raise ValueError(f"version {data['version']}, expected {VERSION}")
    return Calibration(
        views={m: {v: _view(entry) for v, entry in views.items()} for m, views in data["members"].items()},
        final=_curve(data.get("final")),
        score=_stack(data.get("score")),
        right=_stack(data.get("right")),
    )


def calibration_json(calibration: Calibration) -> dict[str, Any]:
    """Plain values, from which `parse_calibration` makes the same again (rounded)."""
    return {
        "version": VERSION,
        "members": {m: {v: _view_json(c) for v, c in views.items()} for m, views in calibration.views.items()},
        "final": _curve_json(calibration.final),
        "score": _stack_json(calibration.score),
        "right": _stack_json(calibration.right),
    }


def _curve(knots: Mapping[str, Any] | None) -> Curve | None:
    return Curve(x=knots["x"], y=knots["y"]) if knots else None


def _view(entry: Mapping[str, Any]) -> ViewCalibration:
    curve = Curve(x=entry["x"], y=entry["y"])
    edges = entry.get("edges")
    return ViewCalibration(
        curve=SizedCurve(curve=curve, terms=entry["size"]) if entry.get("size") else curve,
        edges=EdgeHabit(knots=edges["knots"], bias=edges["bias"], spread=edges["spread"]) if edges else None,
    )


def _stack(entry: Mapping[str, Any] | None) -> Stack | None:
    if not entry:
        return None
    weights = {str(name): float(weight) for name, weight in entry["weights"].items()}
    return Stack(constant=float(entry["constant"]), weights=weights, curve=_curve(entry.get("curve")))


def _rounded(values: Any, digits: int = 5) -> Any:
    return np.round(np.asarray(values, float), digits).tolist()


def _curve_json(curve: Curve | None) -> dict[str, Any] | None:
    return None if curve is None else {"x": _rounded(curve.x), "y": _rounded(curve.y)}


def _view_json(view: ViewCalibration) -> dict[str, Any]:
    sized = isinstance(view.curve, SizedCurve)
    data = dict(_curve_json(view.curve.curve if isinstance(view.curve, SizedCurve) else view.curve) or {})
    if sized:
        data["size"] = _rounded(view.curve.terms)  # type: ignore[union-attr]
    if view.edges is not None:
        data["edges"] = {name: _rounded(getattr(view.edges, name), 4) for name in ("knots", "bias", "spread")}
    return data


def _stack_json(stack: Stack | None) -> dict[str, Any] | None:
    if stack is None:
        return None
    weights = {name: round(weight, 4) for name, weight in stack.weights.items()}
    return {"constant": round(stack.constant, 4), "weights": weights, "curve": _curve_json(stack.curve)}


def _require_fit(file: str, config: EnsembleConfig, views: Mapping[str, Mapping[str, ViewCalibration]]) -> None:
    """Refuse a calibration of other members or views: raw and calibrated scores of one member must not be mixed.

    Raises:
        ConfigError: names the member and the view.
    """
    unknown = sorted(set(views) - {m.name for m in config.members})
    if unknown:
        raise ConfigError(f"calibration {file}: has curves of {', '.join(unknown)}, which the ensemble does not have")
    for member in config.members:
        for view in member.views:
            wanted = view.curve or view.name
            if (member.name in views or view.curve) and wanted not in views.get(member.name, {}):
                raise ConfigError(
                    f"calibration {file}: has no curve {wanted!r} of member {member.name}, for its view {view.name}; fit it again"
                )


def _require_model(file: str, config: EnsembleConfig, calibration: Calibration) -> None:
    """Refuse the rule `stack` without its model, and a model of other members.

    Raises:
        ConfigError: says what is missing.
    """
    hint = "fit it with `auto-annotator calibrate`, or use the rule wbf"
    if config.fusion.rule == "stack" and calibration.score is None:
        raise ConfigError(f"calibration {file}: the rule stack needs a fitted model of the score; {hint}")
    names = {m.name for m in config.members}
    for model in (calibration.score, calibration.right):
        of = {name.split("/", 1)[1] for name in (model.weights if model else ()) if "/" in name}
        if of - names:
            raise ConfigError(f"calibration {file}: its model counts on {', '.join(sorted(of - names))}; {hint}")
