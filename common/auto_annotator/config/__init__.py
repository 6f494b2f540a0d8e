"""Ensemble files (YAML) and settings from the environment (AUTO_ANNOTATOR_*)."""

from auto_annotator.config.ensembles import EnsembleConfig, ensemble_path, load_ensemble, packaged_ensembles
from auto_annotator.config.imports import import_object
from auto_annotator.config.parts import (
    DescriptorConfig,
    FusionConfig,
    IdentityReviewConfig,
    MemberConfig,
    PartConfig,
    RefinerConfig,
    ReviewConfig,
    ViewConfig,
)
from auto_annotator.config.settings import Rotations, Settings, load_settings

__all__ = [
    "DescriptorConfig",
    "EnsembleConfig",
    "FusionConfig",
    "IdentityReviewConfig",
    "MemberConfig",
    "PartConfig",
    "RefinerConfig",
    "ReviewConfig",
    "Rotations",
    "Settings",
    "ViewConfig",
    "ensemble_path",
    "import_object",
    "load_ensemble",
    "load_settings",
    "packaged_ensembles",
]
