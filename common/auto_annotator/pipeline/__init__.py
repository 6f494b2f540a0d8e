"""The product's callables, one file each: faces of a picture, descriptors of faces, people of descriptors."""

from auto_annotator.pipeline.detection import FaceDetection, build_pipeline, require_device

__all__ = ["FaceDetection", "build_pipeline", "require_device"]
