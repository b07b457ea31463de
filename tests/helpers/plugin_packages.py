"""Packages with entry points, made on the spot as if pip had installed them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

METHOD = """
from dataclasses import dataclass
from typing import Any

from compressors import svd
from harness.compression.compressor import CompressorConfig


@dataclass(frozen=True, kw_only=True)
class Config(CompressorConfig):
    strength: float = 1.0
    seed: int = 7
    shapes: tuple[str, ...] = ("round",)


@dataclass(frozen=True)
class Method:
    summary: str = "third party"
    config: type[Config] = Config

    def needs_mlp_tokens(self, config: Any) -> bool:
        return False

    def compress(self, block, statistics, keep, config):
        factors = svd.plugin.compress(block, statistics, keep, config)
        for factor in factors.values():
            for weight in factor.parameters():
                weight.data *= config.strength
        return factors


plugin = Method()
"""


def install(
    site: Path,
    name: str,
    entries: Mapping[str, Mapping[str, str]],
    modules: Mapping[str, str] | None = None,
    version: str = "1.0",
) -> None:
    """Put distribution ``name`` into ``site``; ``entries`` is group -> name -> object."""
    info = site / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    lines = []
    for group, members in entries.items():
        lines += [f"[{group}]", *(f"{key} = {value}" for key, value in members.items())]
    (info / "entry_points.txt").write_text("\n".join(lines))
    for module, source in (modules or {}).items():
        (site / f"{module}.py").write_text(source)
