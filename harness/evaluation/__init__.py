"""The task seam: what measures a model."""
