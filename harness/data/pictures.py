"""Reading ordinary image files: defined conversions, and one clear error for everything else.

Converted: palette and 8-bit or 1-bit grayscale images to RGB; an alpha channel that is opaque everywhere is dropped.
Refused: unreadable and truncated files, animations, 16-bit and floating-point images, CMYK and other colour spaces,
transparency, and (in ``load_folder``) images of different sizes unless a resolution is given.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from harness.types import DataError

Images = NDArray[np.uint8]
Filter = Literal["box", "bilinear", "bicubic", "lanczos"]
FILTERS: dict[str, Image.Resampling] = {
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".ppm", ".tif", ".tiff", ".gif")
_GRAY_OR_RGB = ("RGB", "L", "1", "P")


def image_paths(folder: Path) -> list[Path]:
    """All image files below ``folder`` in the order of their relative paths; hidden ones are left out.

    Raises DataError if the folder does not exist or holds no image.
    """
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        raise DataError(what, where=str(folder), remedy="Give the path of a folder of images.")
    found = [path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file()]
    kept = {path.relative_to(folder).as_posix(): path for path in found}
    names = sorted(name for name in kept if not any(piece.startswith(".") for piece in name.split("/")))
    if not names:
        raise DataError(
            "the folder holds no images", where=str(folder), remedy=f"Known endings: {', '.join(SUFFIXES)}."
        )
    return [kept[name] for name in names]


def load_picture(path: Path) -> Images:
    """One image file as uint8 [H,W,3]; EXIF orientation is ignored. Raises DataError, see above."""
    return np.asarray(open_picture(path))


def open_picture(path: Path) -> Image.Image:
    """One image file as a Pillow image of mode RGB. Raises DataError, see above."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as picture:
                _refuse(picture, path)
                picture.load()
                return _as_rgb(picture, path)
    except UnidentifiedImageError as error:
        raise DataError(
            "is not an image that can be read", where=str(path), remedy="Remove or replace the file."
        ) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError("is too large to be decoded safely", where=str(path), remedy="Shrink it first.") from error
    except FileNotFoundError as error:
        raise DataError("does not exist", where=str(path)) from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        remedy = "The file is truncated or damaged: copy it again or remove it."
        raise DataError(f"cannot be decoded ({error})", where=str(path), remedy=remedy) from error


def _refuse(picture: Image.Image, path: Path) -> None:
    where = str(path)
    if getattr(picture, "n_frames", 1) > 1:
        raise DataError("is an animation", where=where, remedy="Save the frames as single images.")
    if picture.mode.startswith(("I", "F")) or _png_depth(picture, path) == 16:
        raise DataError("has more than 8 bits per channel", where=where, remedy="Convert it to 8 bits per channel.")
    if picture.mode not in (*_GRAY_OR_RGB, "RGBA", "LA", "PA"):
        raise DataError(f"has colour mode {picture.mode}", where=where, remedy="Convert it to RGB.")


def _png_depth(picture: Image.Image, path: Path) -> int:
    """Bits per channel of a PNG: Pillow opens 16-bit RGB silently as 8-bit."""
    if picture.format != "PNG":
        return 8
    with path.open("rb") as file:
        return file.read(25)[24]


def _as_rgb(picture: Image.Image, path: Path) -> Image.Image:
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        alpha = np.asarray(picture.convert("RGBA"))[..., 3]
        if alpha.min() < 255:
            raise DataError("has transparent pixels", where=str(path), remedy="Put it on an opaque background first.")
    return picture if picture.mode == "RGB" else picture.convert("RGB")


def filter_called(name: object) -> Filter:
    """The filter of that name, one of ``FILTERS``."""
    known: tuple[Filter, ...] = ("box", "bilinear", "bicubic", "lanczos")
    return next(kind for kind in known if kind == name)


def resized(picture: Image.Image, resolution: int, crop: int = 0, kind: Filter = "box") -> Images:
    """Centre-crop to a square (of side ``crop``, 0: the shorter side) and resize: uint8 [resolution, resolution, 3]."""
    width, height = picture.size
    side = crop or min(width, height)
    if side > min(width, height):
        raise DataError(
            f"a crop of {side} px does not fit into {width}x{height} px", remedy="Choose a smaller crop=, or crop=0."
        )
    left, top = (width - side) // 2, (height - side) // 2
    square = picture.crop((left, top, left + side, top + side))
    return np.asarray(square if side == resolution else square.resize((resolution, resolution), FILTERS[kind]))


def load_folder(
    path: Path | str, *, resolution: int | None = None, kind: Filter = "box", limit: int | None = None
) -> Images:
    """All images below a folder as uint8 [N,H,W,3], ordered by relative path.

    Without ``resolution`` all images must have one size; with it each is centre-cropped and resized. ``limit`` keeps
    the first ones. Raises DataError that names the file.
    """
    paths = image_paths(Path(path))[:limit]
    if resolution is not None:
        return np.stack([resized(open_picture(p), resolution, 0, kind) for p in paths])
    first = load_picture(paths[0])
    images = np.empty((len(paths), *first.shape), np.uint8)
    for k, p in enumerate(paths):
        image = load_picture(p)
        if image.shape != first.shape:
            (h, w), (h0, w0) = image.shape[:2], first.shape[:2]
            raise DataError(
                f"is {w}x{h} px, but {paths[0].name} is {w0}x{h0} px",
                where=str(p),
                remedy="Give images of one size, or a resolution to which all are cropped and resized.",
            )
        images[k] = image
    return images


def folder_digest(root: Path, paths: Sequence[Path], labels: Sequence[tuple[object, ...]] = ()) -> str:
    """SHA-256 over the relative name, size and first 4 KiB of every file, quick even for 70,000 of them, and over what
    ``labels`` say of each."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            head = hashlib.sha256(file.read(4096)).hexdigest()
        digest.update(f"{path.relative_to(root).as_posix()} {path.stat().st_size} {head}\n".encode())
    for label in labels:
        digest.update(f"{label}\n".encode())
    return digest.hexdigest()
