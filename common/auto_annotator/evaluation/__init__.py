"""Accuracy measures: detections and landmarks against truth."""
