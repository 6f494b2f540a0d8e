"""From published training checkpoints to ONNX files that the detectors read; run once, never while pictures are annotated."""
