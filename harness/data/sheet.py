"""Contact sheets: what a data set looks like, for the eye of a reviewer."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from harness.data import defects, objects, rooms_sheet, segmentation_sheet, streets_sheet
from harness.data.fields import Array
from harness.data.sources import open_source
from harness.types import DataSpec

Picture = NDArray[np.uint8]
PALETTE: Picture = np.array(
    [(26, 26, 26)]
    + [[round(255 * c) for c in colorsys.hsv_to_rgb(k * 0.381 % 1, 0.75, 0.95 - 0.12 * (k % 3))] for k in range(1, 64)],
    np.uint8,
)
_COLUMNS, _GAP = 8, 2


def tiled(images: Sequence[Picture], columns: int, scale: int = 1) -> Picture:
    """Images of one size [H,W,3] in rows of ``columns`` on white, enlarged by whole pixels."""
    height, width = (side * scale for side in images[0].shape[:2])
    rows = -(-len(images) // columns)
    canvas = np.full((rows * (height + _GAP) + _GAP, columns * (width + _GAP) + _GAP, 3), 255, np.uint8)
    for k, image in enumerate(images):
        top, left = (
            _GAP + place * (side + _GAP) for place, side in zip(divmod(k, columns), (height, width), strict=True)
        )
        canvas[top : top + height, left : left + width] = image.repeat(scale, 0).repeat(scale, 1)
    return canvas


def normal_colours(normal: NDArray[np.float32]) -> Picture:
    """Camera-frame normals [H,W,3] as colours ((x, -y, -z) + 1) / 2; none is black."""
    shown = (normal * np.array([1, -1, -1]) + 1) * 127.5
    return np.where((normal != 0).any(-1, keepdims=True), np.rint(shown), 0).astype(np.uint8)


def depth_greys(depth: NDArray[np.float32]) -> Picture:
    """z-depth [H,W] as grey, near is bright; none is black."""
    seen = depth > 0
    low, high = (depth[seen].min(), depth[seen].max()) if seen.any() else (0.0, 1.0)
    grey = np.where(seen, 255 - 205 * (depth - low) / max(high - low, 1e-6), 0)
    return np.repeat(np.rint(grey).astype(np.uint8)[..., None], 3, -1)


def sheet(spec: DataSpec, samples: int = 40, split: str = "train", scale: int | None = None) -> Picture:
    """``samples`` images, then one object over eight poses as image, labels, normals and depth: uint8 [H,W,3].

    A folder of images gives its first ``samples`` training images only, above their depth where it has some, or, with
    labels, what ``segmentation_sheet.label_rows`` says; ``defects`` see ``defect_rows``, ``streets``
    ``streets_sheet.street_rows``, ``rooms`` ``rooms_sheet.room_rows``.
    """
    size = scale or max(1, 128 // spec.resolution)
    if spec.family == "defects":
        return defect_rows(spec, size)
    if spec.family == "streets":
        return tiled(streets_sheet.street_rows(spec), streets_sheet.COLUMNS, size)
    if spec.family == "rooms":
        return tiled(rooms_sheet.room_rows(spec), rooms_sheet.COLUMNS, size)
    if spec.family == "folder" and "setting" in spec.options:
        return tiled(segmentation_sheet.label_rows(spec), segmentation_sheet.COLUMNS, size)
    if spec.family == "folder":
        rows_found = open_source(spec).produce("train", 0, min(samples, spec.splits["train"]))
        if "depth_coded" in rows_found:
            return tiled(_above_depth(rows_found), _COLUMNS, size)
        return tiled(list(rows_found["image"]), _COLUMNS, size)
    assert spec.prior is not None
    shown = [objects.sample(spec, split, k, ("image",))["image"] for k in range(samples)]
    reach = min(spec.prior.azimuth[1] * (2 if spec.prior.kind == "gauss" else 1), np.pi * (1 - 1 / _COLUMNS))
    rows: list[list[Picture]] = [[], [], [], []]
    solid = objects.build_solid(spec, split, 3)
    for azimuth in np.linspace(-reach, reach, _COLUMNS):
        angles = (spec.prior.azimuth[0] + float(azimuth), spec.prior.elevation[0])
        fields = ("image", "label", "normal", "depth")
        record = objects.sample(spec, split, 3, fields, solid=solid, angles=angles)
        turned = (
            record["image"],
            PALETTE[record["label"]],
            normal_colours(record["normal"]),
            depth_greys(record["depth"]),
        )
        for row, picture in zip(rows, turned, strict=True):
            row.append(picture)
    return tiled([*shown, *(picture for row in rows for picture in row)], _COLUMNS, size)


def _above_depth(record: Mapping[str, Array]) -> list[Picture]:
    """Pictures in rows of ``_COLUMNS``, every row above one with its coded depth."""
    images, blank = list(record["image"]), np.full_like(record["image"][0], 255)
    depths = [rooms_sheet.depth_greys(code) for code in record["depth_coded"]]
    lines = [part[k : k + _COLUMNS] for k in range(0, len(images), _COLUMNS) for part in (images, depths)]
    return [picture for line in lines for picture in line + [blank] * (_COLUMNS - len(line))]


def defect_rows(spec: DataSpec, scale: int, good: int = 3) -> Picture:
    """One row per category of the test split: ``good`` normal images, then an image and its mask for every kind of
    defect; a category that is not normal as a whole (task semantic) shows one image and its mask."""
    places = [defects.address(spec, "test", row) for row in range(spec.splits["test"])]
    lines: list[list[Picture]] = []
    for category in range(len(defects.categories(spec))):
        own = [row for row, place in enumerate(places) if place.category == category]
        clean = [row for row in own if not places[row].label][:good]
        line = [defects.sample(spec, "test", row)["image"] for row in clean]
        first = {places[row].label: row for row in reversed(own) if places[row].label}
        for _, row in sorted(first.items()):
            record = defects.sample(spec, "test", row)
            line += [record["image"], np.repeat(record["mask"][..., None] * np.uint8(255), 3, -1)]
        lines.append(line)
    columns = max(len(line) for line in lines)
    blank = np.full((spec.resolution, spec.resolution, 3), 255, np.uint8)
    return tiled([picture for line in lines for picture in line + [blank] * (columns - len(line))], columns, scale)


def write_sheet(spec: DataSpec, path: Path) -> None:
    """Write the contact sheet of ``spec`` as a PNG with the recipe's digest printed below it."""
    picture = sheet(spec)
    caption = f"{spec.name} v{spec.version}, {spec.resolution} px, recipe {spec.recipe_digest[:16]}"
    canvas = Image.new("RGB", (picture.shape[1], picture.shape[0] + 14), "white")
    canvas.paste(Image.fromarray(picture))
    ImageDraw.Draw(canvas).text((4, picture.shape[0] + 1), caption, fill="black")
    path.parent.mkdir(parents=True, exist_ok=True)
    canvas.save(path, optimize=True)
