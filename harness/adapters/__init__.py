"""Adapters beside a model: low-rank additions that somebody trained."""
