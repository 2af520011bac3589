"""Score maps that somebody already has: which file belongs to which test image, and its scores beside the mask."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from harness.data.decoding import decoding
from harness.data.masks import picked, read_mask
from harness.data.mvtec import Item, Tree
from harness.types import DataError

ENDINGS = (".npy", ".tif", ".tiff")
_DAMAGE = (OSError, ValueError, EOFError, KeyError, IndexError, struct.error, zlib.error, MemoryError)


def find_maps(folder: Path, tree: Tree) -> tuple[dict[Path, Path], list[str]]:
    """The map file of every test image of ``tree`` by the image's path, and notes on files that belong to none.

    Looked for at ``<category>/test/<defect>/<name>`` and ``<category>/<defect>/<name>``, ending in .npy, .tif or .tiff.
    Raises DataError where an image has no map, or more than one.
    """
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        raise DataError(what, where=str(folder), remedy="Give the folder of score maps.")
    found: dict[tuple[str, ...], list[Path]] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in ENDINGS and path.is_file():
            found.setdefault((*path.relative_to(folder).parent.parts, path.stem), []).append(path)
    maps: dict[Path, Path] = {}
    missing: list[tuple[str, ...]] = []
    for item in tree.test:
        place = _place(tree, item)
        candidates = found.pop(place, []) + found.pop((place[0], *place[2:]), [])
        if len(candidates) > 1:
            raise DataError(
                f"test image {'/'.join(place)} has {len(candidates)} score maps",
                where=" and ".join(str(path) for path in candidates),
                remedy="Keep one of them.",
            )
        if candidates and candidates[0].resolve() == item.path.resolve():
            raise DataError("this is the image itself", where=str(item.path), remedy="Give another folder with maps=.")
        if candidates:
            maps[item.path] = candidates[0]
        else:
            missing.append(place)
    if missing:
        raise DataError(
            f"{len(missing)} of {len(tree.test)} test images have no score map, the first is {'/'.join(missing[0])}",
            where=str(folder),
            remedy=f"Expected {'/'.join(missing[0])}.npy, .tif or .tiff; only=first+second keeps some categories.",
        )
    extra = [path for paths in found.values() for path in paths]
    if not extra:
        return maps, []
    return maps, [f"{len(extra)} score maps belong to no test image and are left out, the first is {extra[0]}"]


def _place(tree: Tree, item: Item) -> tuple[str, ...]:
    return tree.categories[item.category], "test", tree.defects[item.defect], item.path.stem


def load_category(
    items: Sequence[Item], files: Mapping[Path, Path], size: int | None, smoothing: float
) -> tuple[NDArray[np.floating], NDArray[np.bool_], list[str]]:
    """Maps [N,H,W] and masks bool [N,H,W] of one category's images, and notes on masks that are not plain.

    Maps are resized bilinearly to ``size`` px, or to the size of each image, which all must share then, and smoothed by
    a Gaussian of ``smoothing`` px; masks change only with ``size``, by picking the nearest pixel. Maps stay float64
    where one is. Raises DataError for images, masks and maps that cannot be used.
    """
    stack: NDArray[np.floating] | None = None
    masks = np.zeros((0, 0, 0), bool)
    grey, vanished = 0, 0
    for k, item in enumerate(items):
        with decoding(item.path, "an image", "Remove or replace the file."), Image.open(item.path) as picture:
            width, height = picture.size
        shape = (height, width) if size is None else (size, size)
        if stack is None:
            stack, masks = np.empty((len(items), *shape), np.float32), np.zeros((len(items), *shape), bool)
        if shape != masks.shape[1:]:
            raise DataError(
                f"the image is {width}x{height} px, but {items[0].path.name} is {masks.shape[2]}x{masks.shape[1]} px",
                where=str(item.path),
                remedy="Give size=, to which maps and masks are resized.",
            )
        scores = _fitted(read_map(files[item.path]), shape, smoothing)
        if scores.dtype == np.float64 and stack.dtype == np.float32:
            done, stack = stack[:k], np.empty(stack.shape)  # float32 would tie scores that differ
            stack[:k] = done
        stack[k] = scores
        if item.mask is not None:
            mask = read_mask(item.mask, (width, height))
            masks[k] = mask.pixels if size is None else picked(mask.pixels, *shape)
            grey += mask.grey
            vanished += not masks[k].any()
    place = items[0].path.parents[2].name
    notes = [f"{grey} masks of {place} have grey levels; every level above 0 counts as anomalous"] * bool(grey)
    notes += [f"{vanished} masks of {place} have no pixel left at this size; their images stay defective"] * bool(
        vanished
    )
    assert stack is not None
    return stack, masks, notes


def _fitted(scores: NDArray[np.floating], shape: tuple[int, int], smoothing: float) -> NDArray[np.floating]:
    if scores.shape != shape:
        whole = torch.from_numpy(np.ascontiguousarray(scores))[None, None]
        # Antialiasing only matters for maps that shrink.
        scores = torch.nn.functional.interpolate(whole, shape, mode="bilinear", antialias=True)[0, 0].numpy()
    return np.asarray(gaussian_filter(scores, smoothing)) if smoothing else scores


def read_map(path: Path) -> NDArray[np.floating]:
    """One score map, float32 or float64 [H,W]: smaller types become float32, 32-bit and larger integers float64.

    Raises DataError for a file that cannot be read, pickled objects, another number of dimensions, and NaN or infinity.
    """
    where = str(path)
    try:
        values = _npy(path) if path.suffix.lower() == ".npy" else _tiff(path)
    except _DAMAGE as error:
        raise DataError(
            f"cannot be read as a score map ({error})",
            where=where,
            remedy="Save a plain two-dimensional array of numbers with numpy.save, or an uncompressed 32-bit TIFF.",
        ) from error
    if values.ndim != 2 or not values.size:
        raise DataError(
            f"the score map has shape {list(values.shape)}, not [height, width]",
            where=where,
            remedy="Save one map of one channel per file.",
        )
    if values.dtype.kind not in "fiub":
        raise DataError(f"the score map holds {values.dtype}, not numbers", where=where, remedy="Save it as float32.")
    if values.dtype not in (np.float32, np.float64):
        values = values.astype(np.float32 if values.dtype.itemsize <= 2 else np.float64)
    bad = int(values.size - np.isfinite(values).sum())
    if bad:
        raise DataError(
            f"the score map holds {bad} NaN or infinite values",
            where=where,
            remedy="They have no rank: repair the method, nothing is put in their place.",
        )
    return np.asarray(values)


def _npy(path: Path) -> NDArray[np.generic]:
    values = np.load(path, allow_pickle=False)
    if not isinstance(values, np.ndarray):
        raise ValueError("it is an archive of arrays")
    return values


def _tiff(path: Path) -> NDArray[np.generic]:
    import tifffile

    return np.asarray(tifffile.imread(path))
