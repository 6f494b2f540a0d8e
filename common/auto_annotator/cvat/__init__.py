"""The bridge to CVAT: labels, shapes, functions."""
