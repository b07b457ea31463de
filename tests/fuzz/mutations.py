"""Small valid inputs, changed a little: bytes, values of JSON, lines of YAML."""

from __future__ import annotations

import json
import random

HOSTILE = (
    None, True, -1, 0, 1, 10**6, 10**30, -(2**63), 0.5, 1e308, float("nan"), float("inf"), "", "x",
    "\ud800", "\x1b[31m\a\n", "\u202eabc", "a" * 5000, "../outside/secret", "someone/kernel",
    "outside.py", "OUTSIDE", "{{ 'x' * 10000000000 }}", "(a+)+$", "__class__", "own.Own", [], {},
    [[]], {"": None}, [1] * 500, {"own.Own": "own.Own"}, ["own.Own", None], "https://0.0.0.0/x",
)  # fmt: skip
"""``OUTSIDE`` becomes the absolute path of a file that nothing has business with."""
KEYS = (
    "auto_map", "quantization_config", "_attn_implementation", "chat_template", "model_type",
    "tokenizer_class", "dtype", "num_hidden_layers", "extra", "", "__class__", "_name_or_path",
    "processor_class", "layers", "files", "path", "image", "text",
)  # fmt: skip
BYTES = (
    b"\x00", b"\xff", b"\n", b'"', b"{", b"[" * 3000, b"}", b"\\ud800", b"\xed\xa0\x80", b"1e999",
    b"NaN", b"\x1b[2J", b"!!python/object/apply:os.system [x]", b"&a [*a, *a]", b": ", b"- ", b"<<",
)  # fmt: skip


def bytes_changed(chance: random.Random, content: bytes) -> bytes:
    for _ in range(chance.choice((1, 1, 2, 5))):
        at = chance.randrange(len(content) + 1)
        end = min(len(content), at + chance.choice((0, 1, 4, 100, len(content))))
        middle = chance.choice(
            (b"", chance.choice(BYTES), chance.randbytes(4), content[at:end] * 2, content[:at])
        )
        content = content[:at] + middle + content[end:]
    return content


def json_changed(chance: random.Random, content: bytes) -> bytes:
    """One or a few values replaced, removed or added; now and then the bytes of it instead."""
    if chance.random() < 0.2:
        return bytes_changed(chance, content)
    value = json.loads(content)
    for _ in range(chance.choice((1, 1, 2, 4))):
        value = _changed(chance, value)
    return json.dumps(value).encode()


def _changed(chance: random.Random, value: object) -> object:
    """Walks down at random and changes what it comes to."""
    if isinstance(value, dict) and value and chance.random() < 0.85:
        key = chance.choice(list(value))
        what = chance.random()
        if what < 0.15:
            return {name: part for name, part in value.items() if name != key}
        if what < 0.3:
            return value | {chance.choice(KEYS): chance.choice(HOSTILE)}
        return value | {key: _changed(chance, value[key])}
    if isinstance(value, list) and value and chance.random() < 0.85:
        at = chance.randrange(len(value))
        return [*value[:at], _changed(chance, value[at]), *value[at + chance.choice((0, 1, 1)) :]]
    if isinstance(value, int) and chance.random() < 0.5:
        return value + chance.choice((-1, 1, 7, 1000, value))
    return chance.choice(HOSTILE)


def text_changed(chance: random.Random, content: bytes) -> bytes:
    """Lines and words replaced, doubled, removed or moved in."""
    if chance.random() < 0.3:
        return bytes_changed(chance, content)
    lines = content.split(b"\n")
    for _ in range(chance.choice((1, 1, 2, 4))):
        lines = lines or [b""]
        at = chance.randrange(len(lines))
        word = str(chance.choice(HOSTILE)).encode("utf-8", "surrogatepass")
        before, colon, _ = lines[at].partition(b":")
        lines[at : at + 1] = chance.choice(
            (
                [],
                [lines[at]] * 2,
                [b"  " + lines[at]],
                [before + colon + b" " + word],
                [lines[at], word],
                [lines[at].replace(b"[", b"{")],
            )
        )
    return b"\n".join(lines)


def header_changed(chance: random.Random, content: bytes) -> bytes:
    """Of a safetensors file: its header, its length, or what follows."""
    if chance.random() < 0.3:
        return bytes_changed(chance, content)
    size = int.from_bytes(content[:8], "little")
    header = json_changed(chance, content[8 : 8 + size])
    told = chance.choice((len(header),) * 5 + (size, 0, 2**40, 2**63))
    return told.to_bytes(8, "little") + header + content[8 + size :]


def start_changed(chance: random.Random, content: bytes) -> bytes:
    """As ``bytes_changed``, mostly where a file that begins with its header has that."""
    size = chance.choice((64, 1024, 8192, len(content)))
    return bytes_changed(chance, content[:size]) + content[size:]
