"""Calibration data: where it comes from and what is drawn from it."""
