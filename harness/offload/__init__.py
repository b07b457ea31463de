"""Models bigger than memory: their blocks stay on disk and come in one at a time."""
