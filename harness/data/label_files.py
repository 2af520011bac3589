"""Label images as they are published: one number per pixel in PNG files of several kinds and in MAT files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from harness.data.decoding import decoding
from harness.data.fields import Array
from harness.types import DataError

_REMEDY = "Give a PNG that holds one number per pixel."
_LOSSY = (".jpg", ".jpeg", ".webp")
_DEPTH, _COLOUR_TYPE, _RGB = 24, 25, 2  # places in the header of a PNG, and the type of three channels


def read_numbers(path: Path) -> Array:
    """The numbers in a label file, integers [H,W]: grey levels, places in the palette, never its colours.

    MAT files are read as SBD's. Raises DataError for files that cannot be read, lossy ones and pictures in colour.
    """
    if path.suffix.lower() == ".mat":
        return _sbd(path)
    if path.suffix.lower() in _LOSSY:
        raise DataError(f"labels in a lossy format ({path.suffix})", where=str(path), remedy=_REMEDY)
    with decoding(path, "a label image", _REMEDY), Image.open(path) as picture:
        if picture.mode not in ("1", "L", "P", "I", "I;16", "I;16B"):
            raise DataError(
                f"a picture of mode {picture.mode} and not one number per pixel",
                where=str(path),
                remedy=f"{_REMEDY} Pictures in the classes' colours cannot be read.",
            )
        values = np.asarray(picture)
    return values.astype(np.uint8) if values.dtype == bool else values


def read_red16(path: Path) -> Array:
    """The red channel of a 16-bit PNG of three channels, uint16 [H,W], as SYNTHIA keeps its classes.

    Pillow reads such a file as 8 bits and drops the low byte of every channel, so all classes would become 0; asked
    for the other byte order it drops the high one. Raises DataError for any other kind of file.
    """
    with decoding(path, "a label image", _REMEDY), path.open("rb") as file:
        head = file.read(26)
    if not head.startswith(b"\x89PNG\r\n\x1a\n") or len(head) < 26 or (head[_DEPTH], head[_COLOUR_TYPE]) != (16, _RGB):
        raise DataError(
            "is not a PNG of three channels of 16 bits",
            where=str(path),
            remedy="Give SYNTHIA's own files from GT/LABELS: a converted copy has lost the classes.",
        )
    high, low = (_bytes_of(path, order)[..., 0] for order in ("RGB;16B", "RGB;16L"))
    return high.astype(np.uint16) * np.uint16(256) + low


def _bytes_of(path: Path, order: str) -> Array:
    with decoding(path, "a label image", _REMEDY), Image.open(path) as picture:
        picture.tile = [tile._replace(args=order) for tile in picture.tile]
        return np.asarray(picture)


def _sbd(path: Path) -> Array:
    """``GTcls.Segmentation`` of a MAT file; objects, functions and code in such files are never run."""
    from scipy.io import loadmat

    try:
        found: Any = loadmat(path, variable_names=("GTcls",))["GTcls"]
        values = np.asarray(found["Segmentation"][0, 0])
    except FileNotFoundError as error:
        raise DataError("does not exist", where=str(path)) from error
    except Exception as error:  # SciPy raises whatever the damage leads to
        raise DataError(
            f"cannot be read as labels of SBD ({type(error).__name__}: {error})",
            where=str(path),
            remedy="Expected a struct GTcls with the field Segmentation: copy the file again.",
        ) from error
    if values.ndim != 2 or values.dtype.kind not in "ui":
        raise DataError(
            f"GTcls.Segmentation is {values.dtype} {list(values.shape)}, not integers [H,W]",
            where=str(path),
            remedy="It is no file of SBD's folder cls.",
        )
    return values
