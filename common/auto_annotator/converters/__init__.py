"""From published training checkpoints to ONNX files; run once, at pull or by hand, never while pictures are annotated."""
