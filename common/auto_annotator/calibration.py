"""The calibration file of an ensemble: which curve belongs to which member and view."""

from __future__ import annotations

import json
from collections.abc import Mapping

from auto_annotator.config import EnsembleConfig, ensemble_path
from auto_annotator.errors import ConfigError
from auto_annotator.fusion.calibration import Curve


def load_calibration(ensemble: str, config: EnsembleConfig) -> tuple[dict[str, dict[str, Curve]], Curve | None]:
    """The curves of an ensemble by member and view, and the one of the fused score.

    Raises:
        ConfigError: if the file named by the ensemble is missing or malformed.
    """
    if config.calibration is None:
        return {}, None
    path = ensemble_path(ensemble).parent / config.calibration
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        views = {m: {v: Curve(**knots) for v, knots in curves.items()} for m, curves in data["members"].items()}
        final = Curve(**data["final"]) if data.get("final") else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"calibration {path.name}: cannot be used ({type(error).__name__}: {error})") from error
    _require_fit(path.name, config, views)
    return views, final


def _require_fit(file: str, config: EnsembleConfig, curves: Mapping[str, Mapping[str, Curve]]) -> None:
    """Refuse a calibration of other members or views: raw and calibrated scores of one member must not be mixed.

    Raises:
        ConfigError: names the member and the view.
    """
    unknown = sorted(set(curves) - {m.name for m in config.members})
    if unknown:
        raise ConfigError(f"calibration {file}: has curves of {', '.join(unknown)}, which the ensemble does not have")
    for member in config.members:
        for view in member.views:
            wanted = view.curve or view.name
            if (member.name in curves or view.curve) and wanted not in curves.get(member.name, {}):
                raise ConfigError(
                    f"calibration {file}: has no curve {wanted!r} of member {member.name}, for its view {view.name}; fit it again"
                )
