"""The entries of an ensemble file: views, models, fusion and review limits."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator


class Strict(BaseModel):
    """Unknown fields are errors, values are final."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ViewConfig(Strict):
    """One way a member looks at the picture.

    Either the whole picture resized so that its long side has `size` pixels, or tiles of `tile` picture pixels, `zoom` times
    as large.
    """

    size: int | None = Field(default=None, ge=32, le=8192)
    tile: int | None = Field(default=None, ge=64, le=8192)
    zoom: float = Field(default=1.0, gt=0, le=8, description="canvas pixels per picture pixel of a tile")
    overlap: float = Field(default=0.2, ge=0, lt=0.9)
    flip: bool = False
    max_enlarge: float = Field(default=4.0, gt=0, description="a small picture is enlarged at most this many times")
    longer_than: int = Field(default=0, ge=0, description="used only for pictures whose long side exceeds this, in pixels")
    small_below: float | None = Field(
        default=None, gt=0, description="used only if the views before it found a face with a smaller side, in pixels, or no face"
    )
    min_face: float = Field(default=0.0, ge=0, description="smallest face on the canvas, in pixels, that the member can see")
    max_face: float = Field(
        default=1e9, gt=0, description="largest face on the canvas, in pixels, that the member can see; larger boxes are left out"
    )
    close_up: float = Field(
        default=0.0, ge=0, description="smaller boxes on the canvas, in pixels, are left out: other views see such faces better"
    )
    sure_face: float = Field(
        default=14.0,  # WIDER development half: recall of the embedded members has levelled off there
        ge=0,
        description="where tiles are looked at too, silence about faces smaller than this on the canvas says nothing",
    )
    weight: float = Field(default=1.0, gt=0)
    curve: str | None = Field(default=None, description="name of the view whose calibration curve is used; default its own")

    @model_validator(mode="after")
    def _one_kind(self) -> ViewConfig:
        if (self.size is None) == (self.tile is None):
            raise ValueError("a view has either `size` (whole picture) or `tile`")
        if self.zoom != 1 and self.tile is None:
            raise ValueError(f"zoom is {self.zoom:g}, but only tiles have a zoom; for the whole picture choose a larger `size`")
        least = max(self.min_face, self.close_up)
        if least > self.max_face:
            raise ValueError(f"the least face is {least:g} and max_face {self.max_face:g}: the view could see no face at all")
        return self

    @property
    def name(self) -> str:
        """Short stable name within a member: `1280`, `1280-flip`, `tile960`, `tile320x2`."""
        enlarged = "" if self.zoom == 1 else f"x{self.zoom:g}"
        return (f"{self.size}" if self.size is not None else f"tile{self.tile}{enlarged}") + ("-flip" if self.flip else "")


class PartConfig(Strict):
    """A model of the ensemble: where its code and weights are."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    use: str = Field(pattern=r"^[\w.]+:\w+$", description="import path of the class, package.module:Class")
    weights: tuple[str, ...] = ()
    options: dict[str, Any] = Field(default_factory=dict)

    @field_validator("weights", mode="before")
    @classmethod
    def _one_or_many(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @field_validator("weights")
    @classmethod
    def _beside_the_file(cls, weights: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        """A model file beside the user's ensemble file is found from any working directory; registered names have no suffix."""
        folder: Path | None = (info.context or {}).get("folder")
        if folder is None:
            return weights
        return tuple(str(folder / w) if Path(w).suffix and (folder / w).is_file() else w for w in weights)


class MemberConfig(PartConfig):
    """A detector that votes on boxes."""

    threshold: float = Field(default=0.02, ge=0, le=1, description="raw scores below it never enter the fusion")
    views: tuple[ViewConfig, ...] = Field(min_length=1)
    landmark_weight: float = Field(default=1.0, ge=0, description="weight of its points in the fused points; 0 = no say")

    @field_validator("views")
    @classmethod
    def _distinct(cls, views: tuple[ViewConfig, ...]) -> tuple[ViewConfig, ...]:
        names = [v.name for v in views]
        if len(set(names)) < len(names):
            raise ValueError(f"views must differ, got {', '.join(names)}")
        if views[0].small_below is not None:
            raise ValueError("the first view has `small_below`, but there is no view before it to say whether faces are small")
        if all(v.longer_than for v in views):
            raise ValueError("every view has `longer_than`: the member would say nothing about small pictures; one must be for all")
        return views


class RefinerConfig(PartConfig):
    """A landmark model that looks at the crop of each fused face."""

    landmark_weight: float = Field(default=1.0, gt=0)


class DescriptorConfig(PartConfig):
    """A recogniser that describes faces by vectors."""

    flip: bool = Field(default=True, description="add the vector of the mirrored crop; twice the time, less error")
    weight: float = Field(
        default=1.0, gt=0, description="say in the fused vector where `descriptor_calibration` does not state a measured one"
    )


class FusionConfig(Strict):
    """How boxes become one; the meaning of each field is that of `fusion.boxes.FusionSettings`."""

    rule: Literal["nms", "soft_nms", "nmw", "wbf", "vote", "stack"] = "wbf"
    iou: float = Field(default=0.5, gt=0, lt=1)
    min_votes: int = Field(default=1, ge=1)


class ReviewConfig(Strict):
    """When a person should look; the codes are those of `review.py`."""

    score_below: float = Field(default=0.5, ge=0, le=1)
    votes_below: float = Field(default=0.6, ge=0, le=1, description="share of the members that saw the face")
    edge_spread_above: float = Field(default=0.08, gt=0, description="of the box side")
    landmark_spread_above: float = Field(default=0.06, gt=0, description="of the box side")
    side_below: float = Field(default=16.0, ge=0, description="pixels")
    duplicate_above: float = Field(default=0.6, gt=0, description="share of the smaller box that lies in a better one")
    error_above: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="if the calibration has a model of errors: flag only boxes more likely wrong",
    )


class IdentityReviewConfig(Strict):
    """Which faces should not decide alone who is who; the meaning of each field is that of `review.IdentitySettings`."""

    quality_below: float = Field(default=0.5, ge=0, le=1)
    side_below: float = Field(default=20.0, ge=0, description="pixels")
    sharpness_below: float = Field(default=0.006, ge=0)
    yaw_above: float = Field(default=0.4, gt=0)
    pitch_above: float = Field(default=0.3, gt=0)
    mirror_above: float = Field(default=1.35, gt=0)
