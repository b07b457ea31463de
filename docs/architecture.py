"""The picture of the rooms: ``python docs/architecture.py > docs/architecture.svg``.

Rows are the layers of the import contract in ``pyproject.toml``, arrows the imports between rooms.
An import that others imply is left out; one against the layers is for ``lint-imports`` to refuse.
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from arrangement import MARGIN, WIDTH, Spot, arranged

ROOT = Path(__file__).parents[1]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]
PACKAGES = SETTINGS["root_packages"]
PLAIN = ("harness", "harness.errors")
"""What is no room: the package's own face, and what every room imports."""

HEIGHT, STEP = 36, 74
"""Of a box, and from one row to the next; in pixels."""

Imports = dict[str, set[str]]
"""Each room with the rooms it imports."""


def layers() -> list[list[str]]:
    """The rooms of each layer of the contract, from the top."""
    contracts = (rule["layers"] for rule in SETTINGS["contracts"] if rule["type"] == "layers")
    rows = [re.split(r" *[|:] *", layer.strip("()")) for layer in max(contracts, key=len)]
    return [
        [name if name.partition(".")[0] in PACKAGES else f"harness.{name}" for name in row]
        for row in rows
    ]


def room_of(module: str) -> str | None:
    """The room that a dotted module is in, if it is in one."""
    parts = module.split(".")
    room = ".".join(parts[:2]) if parts[0] == "harness" else parts[0]
    return room if parts[0] in PACKAGES and room not in PLAIN else None


def imports() -> Imports:
    """Every room with all that its files import, those only for type checking included."""
    drawn: Imports = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            room = room_of(".".join(path.relative_to(ROOT).with_suffix("").parts))
            if room and room != "harness.__init__":
                modules = _imported(ast.parse(path.read_text(encoding="utf-8")))
                rooms = {other for module in modules if (other := room_of(module))}
                drawn.setdefault(room, set()).update(rooms - {room})
    return {room: {other for other in others if other in drawn} for room, others in drawn.items()}


def _imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def rows_of(contract: Sequence[Sequence[str]], imported: Imports) -> dict[str, int]:
    """The row of every room, 0 at the top.

    One without a layer stands beside, in the row above the highest room that it imports.
    """
    rows = {room: at for at, layer in enumerate(contract) for room in layer if room in imported}

    def place(room: str) -> int:
        if room not in rows:
            rows[room] = min((place(other) for other in sorted(imported[room])), default=1) - 1
        return rows[room]

    for room in sorted(imported):
        place(room)
    return rows


def thinned(imported: Imports, rows: Mapping[str, int]) -> list[tuple[str, str]]:
    """The imports that point down and that no others imply."""
    down = {a: {b for b in imported[a] if rows[a] < rows[b]} for a in imported}
    reach: Imports = {}
    for room in sorted(down, key=lambda room: -rows[room]):
        reach[room] = set().union(*({other} | reach[other] for other in down[room]))
    return [
        (room, other)
        for room in sorted(down)
        for other in sorted(down[room])
        if not any(other in reach[between] for between in down[room])
    ]


def _ports(ways: Sequence[Sequence[Spot]], end: int) -> dict[int, float]:
    """Where each way, by its number, meets its first (0) or last (-1) box: side by side."""
    met: dict[int, list[int]] = {}
    for number, way in enumerate(ways):
        met.setdefault(id(way[end]), []).append(number)
    places = {}
    for numbers in met.values():
        numbers.sort(key=lambda number: ways[number][1 if end == 0 else -2].x)
        space = min(16, (WIDTH - 28) / len(numbers))
        for at, number in enumerate(numbers):
            places[number] = ways[number][end].x + (at - (len(numbers) - 1) / 2) * space
    return places


def drawing(spots: Mapping[str, Spot], ways: Sequence[Sequence[Spot]], depth: int) -> Iterator[str]:
    """The lines of the SVG."""
    width = max(spot.x + spot.width / 2 for way in ways for spot in way) + MARGIN
    height = depth * STEP + MARGIN + 30
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" '
        f'width="{width:g}" height="{height:g}" role="img" '
        'font-family="system-ui, Segoe UI, Helvetica, Arial, sans-serif">'
    )
    yield "<title>The rooms of the harness and what each imports</title>"
    yield STYLE
    yield f'<rect class="card" x="1" y="1" width="{width - 2:g}" height="{height - 2:g}" rx="10"/>'
    for at in range(depth):
        size = f'width="{width - 24:g}" height="{HEIGHT + 18}"'
        yield f'<rect class="row" x="12" y="{_top(at) - 9}" {size} rx="8"/>'
    starts, ends = _ports(ways, 0), _ports(ways, -1)
    for number, way in enumerate(ways):
        kind = "beside" if way[0].beside or way[-1].beside else "inside"
        yield f'<path class="arrow {kind}" d="{_curve(way, starts[number], ends[number])}"/>'
        yield f'<path class="head {kind}" d="M{ends[number]:g} {_top(way[-1].row)}l-4.5 -9h9z"/>'
    for room, spot in spots.items():
        kind = "beside" if spot.beside else "inside"
        x, y = spot.x - WIDTH / 2, _top(spot.row)
        yield f'<rect class="{kind}" x="{x:g}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="6"/>'
        yield f'<text x="{spot.x:g}" y="{y + 23.5}">{room.removeprefix("harness.")}</text>'
    yield (
        f'<text class="note" x="{width / 2:g}" y="{height - 20:g}">An arrow is an import; those '
        "that others imply are left out. Solid: the layers of harness. Dashed: beside them.</text>"
    )
    yield "</svg>"


STYLE = """<style>
.card { fill: #ffffff; stroke: #d0d7de }
.row { fill: #f2f4f7 }
text { font-size: 15px; text-anchor: middle; fill: #14202b }
.note { font-size: 13px; fill: #3d4954 }
rect.inside { fill: #d9e8f5; stroke: #0072b2; stroke-width: 1.5 }
rect.beside { fill: #fdf0e0; stroke: #b85000; stroke-width: 1.5; stroke-dasharray: 5 3 }
.arrow { fill: none; stroke: #47617a; stroke-width: 1.4 }
.arrow.beside { stroke: #b85000; stroke-dasharray: 5 3 }
.head { fill: #47617a }
.head.beside { fill: #b85000 }
</style>"""


def _top(row: int) -> int:
    return row * STEP + MARGIN


def _curve(way: Sequence[Spot], start: float, end: float) -> str:
    """Down from ``start`` at the first box to ``end`` at the last, upright where it passes rows."""
    x, y = start, _top(way[0].row) + HEIGHT
    path = f"M{x:g} {y}"
    for spot in way[1:]:
        to, below = (end, _top(spot.row) - 8) if spot.room else (spot.x, _top(spot.row))
        bend = (below - y) * 0.55
        path += f"C{x:g} {y + bend:g} {to:g} {below - bend:g} {to:g} {below}"
        x, y = to, below
        if not spot.room:
            y += HEIGHT
            path += f"V{y}"
    return path


def main() -> None:
    """Print the picture."""
    contract, imported = layers(), imports()
    rows = rows_of(contract, imported)
    layered = {room for layer in contract for room in layer if room.startswith("harness.")}
    spots, ways = arranged(rows, thinned(imported, rows), layered)
    sys.stdout.writelines(f"{line}\n" for line in drawing(spots, ways, max(rows.values()) + 1))


if __name__ == "__main__":
    main()
