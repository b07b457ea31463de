"""Images, opened when they are shown and always in the same way.

The pixels are those that lmms-eval gives a model: an EXIF orientation is applied (as ``datasets``
does on reading), then PIL's plain conversion to RGB. That conversion drops an alpha channel
rather than blending it, repeats grey values, and converts palettes and CMYK without a colour
profile. Of an animation the first frame is shown.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image, ImageOps, UnidentifiedImageError


class UnreadableImageError(Exception):
    """An image that cannot be shown; the message says why."""


@dataclass(frozen=True)
class Picture:
    """An image that is read each time it is opened; ``name`` is the file it lies in."""

    name: str
    load: Callable[[], Image.Image]

    def open(self) -> Image.Image:
        """The image in RGB.

        Raises:
            UnreadableImageError: it is missing, damaged, empty, or larger than PIL allows
                (``2 * PIL.Image.MAX_IMAGE_PIXELS``, 179 million pixels).
        """
        try:
            image = self.load()
            if 0 in image.size:
                raise ValueError("it has no pixels")  # noqa: TRY301
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return image.convert("RGB")
        except MemoryError:
            raise
        # Decoders fail in as many ways as files can be broken.
        except Exception as error:
            raise UnreadableImageError(f"{self.name} cannot be shown: {_reason(error)}") from error


def decoded(data: bytes) -> Image.Image:
    """The image in a file's bytes, upright."""
    with warnings.catch_warnings():
        # A warning for large images, which are fine, and for sloppy metadata.
        warnings.simplefilter("ignore")
        image = Image.open(io.BytesIO(data))
        image.load()
        return ImageOps.exif_transpose(image)


def absent(name: str) -> Picture:
    """The picture of a question that should have one and has none."""

    def load() -> Image.Image:
        raise FileNotFoundError("there is no image")

    return Picture(name, load)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    if isinstance(error, UnidentifiedImageError):
        return "it is no image that PIL knows"
    return str(error) or type(error).__name__
