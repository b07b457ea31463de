"""The regression gate: a candidate against a stored baseline."""
