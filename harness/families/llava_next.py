"""LLaVA-NeXT (v1.6): LLaVA's layout; large images are seen in tiles."""

from __future__ import annotations

from dataclasses import replace

from harness.families import llava

family = replace(llava.family, model_type="llava_next")
