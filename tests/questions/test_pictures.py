"""Pictures: which pixels a model sees, and what cannot be shown."""

from __future__ import annotations

import io
import warnings

import datasets
import pytest
from PIL import Image

from harness.questions.pictures import Picture, UnreadableImageError, absent, decoded

MODES = ["RGB", "RGBA", "L", "LA", "1", "P", "CMYK", "I;16"]


def colourful(mode: str) -> Image.Image:
    image = Image.new("RGB", (5, 3))
    image.putdata([(x * 17 % 256, x * 40 % 256, x * 90 % 256) for x in range(15)])
    if mode == "I;16":
        return Image.frombytes("I;16", (5, 3), bytes(range(30)))
    if mode in {"RGBA", "LA"}:
        image.putalpha(100)
    return image.convert(mode)


def saved(image: Image.Image, form: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def picture(data: bytes) -> Picture:
    return Picture("some.png", lambda: decoded(data))


def as_lmms_eval_reads(data: bytes) -> Image.Image:
    """Its tasks convert what ``datasets`` decodes."""
    return datasets.Image().decode_example({"bytes": data, "path": None}).convert("RGB")


@pytest.mark.parametrize("mode", MODES)
def test_pixels_are_those_that_lmms_eval_shows(mode):
    data = saved(colourful(mode), "TIFF" if mode == "CMYK" else "PNG")
    shown = picture(data).open()
    assert shown.mode == "RGB"
    assert shown.tobytes() == as_lmms_eval_reads(data).tobytes()


def test_a_palette_with_transparent_colours():
    data = saved(colourful("P"), transparency=bytes([0, 128, 255]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        shown = picture(data).open()
    assert shown.tobytes() == colourful("P").convert("RGB").tobytes()


def test_transparency_is_dropped_not_blended():
    image = Image.new("RGBA", (2, 2), (10, 20, 30, 0))
    assert picture(saved(image)).open().getpixel((0, 0)) == (10, 20, 30)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_an_orientation_is_applied(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(colourful("RGB"), exif=exif)
    shown = picture(data).open()
    assert shown.size == ((3, 5) if orientation in {6, 8} else (5, 3))
    assert shown.tobytes() == as_lmms_eval_reads(data).tobytes()


def test_of_an_animation_the_first_frame_is_shown():
    frames = [Image.new("RGB", (2, 2), colour) for colour in ("red", "blue")]
    data = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert picture(data).open().getpixel((0, 0)) == (255, 0, 0)


WHOLE = saved(colourful("RGB").resize((64, 64)))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "no image that PIL knows"),
        (b"<html>404</html>", "no image that PIL knows"),
        (WHOLE[: len(WHOLE) // 2], "truncated"),
        (WHOLE[:20], "some.png cannot be shown"),
        (WHOLE[:60] + b"\x00" * 20 + WHOLE[80:], "some.png cannot be shown"),
        (b"BM" + bytes(8) + b"\x36\0\0\0\x28\0\0\0" + bytes(40), "some.png cannot be shown"),
    ],
    ids=["empty", "a page", "half", "a header", "damaged", "no pixels"],
)
def test_what_cannot_be_shown(data, said):
    with pytest.raises(UnreadableImageError, match=said):
        picture(data).open()


def test_images_without_pixels():
    with pytest.raises(UnreadableImageError, match="it has no pixels"):
        Picture("some.png", lambda: Image.new("RGB", (0, 3))).open()


def test_large_images_are_shown_up_to_a_bound(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert picture(saved(Image.new("1", (12, 12)))).open().size == (12, 12)
        with pytest.raises(UnreadableImageError, match="exceeds limit of 200 pixels"):
            picture(saved(Image.new("1", (15, 15)))).open()


def test_running_out_of_memory_is_not_the_pictures_fault():
    def load():
        raise MemoryError

    with pytest.raises(MemoryError):
        Picture("some.png", load).open()


def test_a_picture_that_should_be_there():
    with pytest.raises(UnreadableImageError, match="question 3 cannot be shown: there is no image"):
        absent("question 3").open()
