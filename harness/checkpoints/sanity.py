"""Whether ``config.json`` can be that of the weights beside it, before anything is built by it.

transformers believes what it reads: it would build a million layers, fetch kernels, ask for
packages or for leave to run code.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError, safe_open

from harness.assets.folders import WEIGHTS
from harness.checkpoints.format import is_layout
from harness.checkpoints.standalone import AUTO_MAP
from harness.errors import AssetError

BYTES = 1 << 26
"""Of a ``config.json``; one of a hundred layers has a thousand times less."""
ATTENTION = frozenset({"eager", "sdpa", "flex_attention", "flash_attention_2", "flash_attention_3"})
MOST_LAYERS = 4096
LARGEST = 1 << 28
"""Of a width or a vocabulary, where there are no weights to tell."""
OUR_CODE = ("auto_map", AUTO_MAP)
"""What a saved model says of code that is for others and never run here."""
_COUNT = re.compile(
    r"(^|_)(size|dim|rank|heads?|layers?|channels|depth|experts|embeddings|groups)$|^(num|n)_"
)
_LAYERS = frozenset({"num_hidden_layers", "num_layers", "n_layer", "n_layers", "depth"})
_POSITIVE = frozenset({"hidden_size", "vocab_size", "num_attention_heads", *_LAYERS})
_NO_COUNT = frozenset({"vision_feature_layer"})  # from the end where it is negative
_FREE = frozenset({"max_position_embeddings"})
"""What no weight bounds: rotary positions are computed."""
_AGAIN = "fetch or copy it again"


class Held(NamedTuple):
    """What the weights of a folder hold together."""

    tensors: int
    elements: int


def check_configuration(folder: Path) -> None:
    """Refuse a ``config.json`` that no loading could make a model of.

    Raises:
        AssetError: it is damaged, names code, kernels or a quantisation that is not read, or
            says more than the weights hold; or weights are named that lie elsewhere.
    """
    _check_index(folder)
    path = folder / "config.json"
    held = weights_held(folder)
    for name, value in _entries(_content(path), ""):
        if trouble := _trouble(name.rpartition(".")[2], value, held):
            raise AssetError(f"{path}: {name} {trouble}")


def weights_held(folder: Path) -> Held | None:
    """Tensors and numbers in the safetensors files of ``folder``, None where there are none.

    Only headers are read.

    Raises:
        AssetError: one is damaged.
    """
    files = sorted(path for pattern in WEIGHTS for path in folder.glob(pattern) if path.is_file())
    tensors = elements = 0
    for file in files:
        try:
            with safe_open(file, framework="pt") as opened:
                for name in opened.keys():  # noqa: SIM118 - it is no mapping
                    size = 1
                    for length in opened.get_slice(name).get_shape():
                        size *= length
                    tensors, elements = tensors + 1, elements + size
        except (SafetensorError, OSError) as error:
            raise AssetError(f"{file} is truncated or damaged ({error}); {_AGAIN}") from error
    return Held(tensors, elements) if files else None


def _check_index(folder: Path) -> None:
    for path in sorted(folder.glob("*.index.json")):
        shards = _content(path).get("weight_map")
        for shard in shards.values() if isinstance(shards, dict) else ():
            if not isinstance(shard, str) or Path(shard).name != shard:
                raise AssetError(f"{path} names {shard!r}, which is no file beside it; {_AGAIN}")


def _content(path: Path) -> Mapping[str, Any]:
    try:
        if path.stat().st_size > BYTES:
            raise ValueError(f"it has more than {BYTES >> 20} MiB")  # noqa: TRY301
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise AssetError(f"cannot read {path} ({error.strerror or error}); {_AGAIN}") from error
    except (ValueError, RecursionError) as error:
        raise AssetError(f"{path} is damaged ({error}); {_AGAIN}") from error
    if not isinstance(content, dict):
        raise AssetError(f"{path} is damaged (it is no JSON object); {_AGAIN}")
    return content


def _entries(content: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    """Dotted names and values, those of nested configurations too."""
    for key, value in content.items():
        if (key == "quantization_config" and is_layout(value)) or (key, value) == OUR_CODE:
            continue
        yield f"{prefix}{key}", value
        if isinstance(value, dict):
            yield from _entries(value, f"{prefix}{key}.")


def _trouble(key: str, value: Any, held: Held | None) -> str | None:
    """What is wrong with one entry, and what to do."""
    if value is None:
        return None
    if key == "auto_map":
        return (
            "names program code of the model's own, which is never run; delete it if the "
            "architecture is one of transformers', else choose another model"
        )
    if key in {"quantization_config", "compression_config"}:
        method = value.get("quant_method", "bitsandbytes") if isinstance(value, dict) else value
        return (
            f"says that the weights are quantised ({str(method)[:40]}), which is not read; pass "
            "the model before it was quantised, or a GGUF file of it"
        )
    if key.endswith("attn_implementation"):
        return _foreign_attention(value)
    if key in _NO_COUNT or not _COUNT.search(key):
        return None
    return _impossible_count(key, value, held)


def _foreign_attention(value: Any) -> str | None:
    names = value.values() if isinstance(value, dict) else (value,)
    for name in names:
        if name is not None and name not in ATTENTION:
            return (
                f"is '{str(name)[:80]}', and code of a hub is never fetched; known are "
                f"{', '.join(sorted(ATTENTION))}, or delete the entry"
            )
    return None


def _impossible_count(key: str, value: Any, held: Held | None) -> str | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None  # for transformers, which knows the types
    layers = key in _LAYERS
    most, of = MOST_LAYERS if layers else LARGEST, "more than any model has"
    if held and key not in _FREE:
        limit = held.tensors if layers else held.elements
        if limit < most:
            most, of = limit, f"but the weights hold {limit} {'tensors' if layers else 'numbers'}"
    if value > most:
        return f"is {value:.10g}, {of}; {_AGAIN}"
    if value >= (1 if key in _POSITIVE else 0):
        return None
    return f"is {value:.10g}, which is no count; {_AGAIN}"
