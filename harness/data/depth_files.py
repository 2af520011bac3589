"""Depth maps as files: 16-bit single-channel PNG whose numbers 0 to 60000 stand for -1 to 1, far is large."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from harness.data.decoding import decoding
from harness.types import DataError

Codes = NDArray[np.uint16]
LAST = 60000
"""The largest number of the format; the half of it is 0."""
_FORM = "Save it as a 16-bit PNG of one channel with numbers from 0 to 60000."


def depth_size(path: Path) -> tuple[int, int]:
    """Width and height, read from the head of the file. Raises DataError unless it is a 16-bit grey PNG."""
    try:
        with path.open("rb") as file:
            head = file.read(26)
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})", where=str(path)) from error
    if len(head) < 26 or not head.startswith(b"\x89PNG\r\n\x1a\n") or head[12:16] != b"IHDR":
        raise DataError("is no PNG", where=str(path), remedy=_FORM)
    width, height, bits, colour = struct.unpack(">IIBB", head[16:26])
    if colour != 0:
        raise DataError("has several channels or a palette", where=str(path), remedy=_FORM)
    if bits != 16:
        raise DataError(f"has {bits} bits per pixel, and depth needs 16", where=str(path), remedy=_FORM)
    return int(width), int(height)


def read_depth(path: Path) -> Codes:
    """The numbers of a depth map, uint16 [H,W].

    Raises DataError for another form, a damaged file, a number above 60000 (infinity is often written so) and a map
    that is the same everywhere (all 0 or all 60000 say that the depth is missing).
    """
    depth_size(path)
    with decoding(path, "a depth map", _FORM), Image.open(path) as picture:
        picture.load()
        codes = np.asarray(picture).astype(np.uint16)
    low, high = int(codes.min()), int(codes.max())
    if high > LAST:
        raise DataError(
            f"holds the number {high}, and the format ends at {LAST}",
            where=str(path),
            remedy="Clip what is infinitely far at 60000, or leave the pair out.",
        )
    if low == high:
        raise DataError(
            f"is {low} everywhere, which is no depth", where=str(path), remedy="Make it anew, or leave the pair out."
        )
    return codes


def centre_square(codes: Codes) -> Codes:
    """The largest square in the centre, as pictures are cropped."""
    height, width = codes.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return codes[top : top + side, left : left + side]


def resized_depth(codes: Codes, resolution: int) -> Codes:
    """A square map at another size, bilinear between pixel centres and without a low-pass filter, as published.

    uint16 [resolution, resolution]. Borders of things mix near and far, and strong reductions skip pixels.
    """
    side = len(codes)
    if side == resolution:
        return codes
    place = np.clip((np.arange(resolution) + 0.5) * side / resolution - 0.5, 0, side - 1)
    low = np.floor(place).astype(int)
    high, share = np.minimum(low + 1, side - 1), place - low
    values = codes.astype(np.float64)
    rows = values[low] * (1 - share)[:, None] + values[high] * share[:, None]
    mixed = rows[:, low] * (1 - share) + rows[:, high] * share
    return np.rint(mixed).astype(np.uint16)
