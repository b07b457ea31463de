"""The parts of ``twinroot``."""
