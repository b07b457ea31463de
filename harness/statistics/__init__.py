"""Streaming statistics of the activations each layer reads."""
