"""The product's callables, one file each: faces of a picture, descriptors of faces, people of descriptors."""

from auto_annotator.pipeline.clustering import FaceClustering
from auto_annotator.pipeline.description import FaceDescription, build_description
from auto_annotator.pipeline.detection import FaceDetection, build_pipeline, require_device

__all__ = ["FaceClustering", "FaceDescription", "FaceDetection", "build_description", "build_pipeline", "require_device"]
