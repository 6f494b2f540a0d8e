"""Landmark refiners: models that look at the crop of a face again and give the five points another opinion."""
