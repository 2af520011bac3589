"""Masks of anomalous pixels in image files: every level above 0 is anomalous, and sizes change by picking pixels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from harness.data.decoding import decoding
from harness.types import DataError

Mask = NDArray[np.bool_]
_LOSSY = (".jpg", ".jpeg", ".webp")


@dataclass(frozen=True)
class ReadMask:
    """``pixels`` bool [H,W]; ``grey`` says that the file holds levels between 0 and its highest one."""

    pixels: Mask
    grey: bool


def read_mask(path: Path, size: tuple[int, int]) -> ReadMask:
    """The mask in ``path`` for an image of ``size`` (width, height); a colour other than black is anomalous.

    Raises DataError for a file that cannot be read, a lossy one (compression noise would count as anomalous), a mask of
    another size than its image and a mask without any anomalous pixel.
    """
    where = str(path)
    if path.suffix.lower() in _LOSSY:
        raise DataError(
            f"a mask in a lossy format ({path.suffix}) has noise around its edges that would count as anomalous",
            where=where,
            remedy="Binarise it and save it as PNG.",
        )
    levels = _levels(path)
    if levels.shape != size[::-1]:
        (height, width), (wide, high) = levels.shape, size
        raise DataError(
            f"the mask is {width}x{height} px, but its image is {wide}x{high} px",
            where=where,
            remedy="Give mask and image the same size.",
        )
    pixels = levels > 0
    if not pixels.any():
        raise DataError(
            "the mask has no anomalous pixel, but its image lies in the folder of a defect",
            where=where,
            remedy="Draw the defect, or move the image to test/good.",
        )
    return ReadMask(pixels, bool((pixels & (levels < levels.max())).any()))


def picked(mask: Mask, height: int, width: int) -> Mask:
    """The mask at another size, each pixel that of the nearest centre: bool [height, width]; never interpolated."""
    rows = ((np.arange(height) + 0.5) * mask.shape[0] / height).astype(np.intp)
    columns = ((np.arange(width) + 0.5) * mask.shape[1] / width).astype(np.intp)
    return mask[rows[:, None], columns]


def _levels(path: Path) -> NDArray[np.integer]:
    """Brightest channel of the file, int32 [H,W]; palettes are looked up and an opaque alpha channel is left out."""
    with decoding(path, "a mask", "Save it as PNG with 0 and 255."), Image.open(path) as picture:
        plain = picture.convert("RGB") if picture.mode in ("P", "PA", "RGBA", "LA") else picture
        values = np.asarray(plain)
    if values.dtype.kind == "f":
        raise DataError("a mask of floating-point numbers", where=str(path), remedy="Save it as PNG with 0 and 255.")
    return values.astype(np.int32).max(-1) if values.ndim == 3 else values.astype(np.int32)
