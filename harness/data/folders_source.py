"""Rows of a published image folder for the cache: decoded, cropped and resized once."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from harness.data.fields import Array, Storage
from harness.data.layouts import LAYOUTS, list_layout, matrix
from harness.data.listing import Listing, given_root
from harness.data.pictures import filter_called, open_picture, resized
from harness.data.sources import SHARD_ROWS, code_digest, rows_of
from harness.types import DataError, DataSpec

CELEBA_MIRROR = (1, 0, 2, 4, 3)  # left eye, right eye, nose, left mouth corner, right mouth corner


class FoldersSource:
    """Implements ``Source`` by reading image files below ``spec.root``."""

    def __init__(self, spec: DataSpec) -> None:
        self.spec = spec

    @property
    def listing(self) -> Listing:
        """Files and labels of the user's folder."""
        spec = self.spec
        layout = spec.name.partition("/")[2]
        return _list_files(
            layout, given_root(spec.root, spec.name), tuple(spec.options.items()), spec.seed, spec.content
        )

    def rows(self, split: str) -> int:
        return rows_of(self.spec, split)

    def storage(self, split: str) -> dict[str, Storage]:
        names = ["image", "identity"]
        names += ["category"] * bool(self.listing.categories)
        names += ["attributes"] * bool(self.listing.attributes)
        names += ["kp2d"] * bool(self.listing.landmarks)
        names += ["pose"] * bool(self.listing.poses)
        return dict.fromkeys(names, "plain")

    def shard_rows(self, split: str) -> int:
        side = self.spec.resolution
        return SHARD_ROWS if side <= 64 else SHARD_ROWS // 2 if side <= 256 else SHARD_ROWS // 16

    def produce(self, split: str, first: int, count: int) -> dict[str, Array]:
        options, size = self.spec.options, self.spec.resolution
        crop, kind = int(options["crop"]), filter_called(options["filter"])
        paths = self.listing.splits[split][first : first + count]
        images, points = np.empty((count, size, size, 3), np.uint8), []
        for k, path in enumerate(paths):
            picture = open_picture(path)
            try:
                images[k] = resized(picture, size, crop, kind)
            except DataError as error:
                raise DataError(error.what, where=str(path), remedy=error.remedy) from error
            if self.listing.landmarks:
                side = crop or min(picture.size)
                corner = np.array([(edge - side) // 2 for edge in picture.size])
                points.append((np.array(self.listing.landmarks[path]).reshape(-1, 2) + 0.5 - corner) / side)
        record: dict[str, Array] = {"image": images, "identity": np.arange(first, first + count, dtype=np.int32)}
        if self.listing.categories:
            record["category"] = np.array([self.listing.categories[path] for path in paths], np.int32)
        if self.listing.attributes:
            record["attributes"] = matrix(self.listing.attributes, paths, "int8")
        if self.listing.poses:
            record["pose"] = matrix(self.listing.poses, paths, "float32")
        if points:
            record["kp2d"] = np.stack(points).astype(np.float32)
        return record

    def extras(self, split: str, first: int, count: int) -> dict[str, Array]:
        return {}

    def schema(self, split: str) -> dict[str, Any]:
        listing = self.listing
        layout = LAYOUTS[self.spec.name.partition("/")[2]]
        names = [name.removesuffix("_x") for name in listing.landmark_names[::2]]
        return {
            "factors": [],
            "parts": [],
            "keypoints": names,
            "keypoint_mirror": list(CELEBA_MIRROR) if len(names) == len(CELEBA_MIRROR) else list(range(len(names))),
            "categories": list(listing.category_names),
            "attributes": list(listing.attribute_names),
            "licence": layout.licence,
            "notes": list(listing.notes),
        }

    def code(self) -> str:
        return code_digest("pictures", "subsets", "listing", "layouts", "layouts_faces", "folders_source")


@lru_cache(maxsize=4)
def _list_files(
    layout: str, root: str, options: tuple[tuple[str, str | int | float | bool], ...], seed: int, content: str
) -> Listing:
    """The listing, kept while the folder's ``content`` digest is the same: large sets have 200,000 files."""
    return list_layout(layout, Path(root), dict(options), seed)
