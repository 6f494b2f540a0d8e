"""Face detectors, one file per model family. A new one is a file with a `Detector` and one `use:` line in an ensemble YAML."""
