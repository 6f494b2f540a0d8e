"""Many opinions in, one value plus its disagreement out: pure numpy, no model, no I/O."""
