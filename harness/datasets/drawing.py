"""Drawing 64 x 64 pictures with what PIL has built in, the same with every FreeType."""

from __future__ import annotations

from PIL import Image, ImageDraw, ImageFont

SIDE = 64
COLOURS = {
    "red": (214, 40, 40),
    "blue": (40, 70, 200),
    "green": (20, 140, 60),
    "black": (20, 20, 20),
    "orange": (240, 140, 20),
    "purple": (130, 40, 150),
}
PAPERS = ((255, 255, 255), (245, 240, 220), (225, 235, 245))
SHAPES = ("circle", "square", "triangle")
_FONT = ImageFont.load_default_imagefont()
# Where a capital letter lies inside the font's cell.
_GLYPH = (0, 3, 6, 10)


def blank(paper: int = 0) -> Image.Image:
    """An empty picture."""
    return Image.new("RGB", (SIDE, SIDE), PAPERS[paper])


def draw_shape(
    picture: Image.Image, shape: str, colour: str, centre: tuple[int, int], radius: int
) -> None:
    """Draw a filled ``shape`` of ``SHAPES``."""
    x, y = centre
    box = (x - radius, y - radius, x + radius, y + radius)
    draw = ImageDraw.Draw(picture)
    if shape == "circle":
        draw.ellipse(box, fill=COLOURS[colour])
    elif shape == "square":
        draw.rectangle(box, fill=COLOURS[colour])
    else:
        corners = [(x, y - radius), (x - radius, y + radius), (x + radius, y + radius)]
        draw.polygon(corners, fill=COLOURS[colour])


def draw_word(
    picture: Image.Image, word: str, colour: str, corner: tuple[int, int], pitch: int
) -> None:
    """Write capital letters ``pitch`` apart, at twice the size of the built-in bitmap font."""
    for position, letter in enumerate(word):
        mask = Image.new("1", (_GLYPH[2] - _GLYPH[0], _GLYPH[3] - _GLYPH[1]))
        ImageDraw.Draw(mask).text((-_GLYPH[0], -_GLYPH[1]), letter, fill=1, font=_FONT)
        mask = mask.resize((2 * mask.width, 2 * mask.height), Image.Resampling.NEAREST)
        picture.paste(COLOURS[colour], (corner[0] + pitch * position, corner[1]), mask)
