"""Attention that caches latents instead of keys and values."""
