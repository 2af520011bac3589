"""Rows of a folder in the layout of MVTec-AD for the cache: decoded and resized once."""

from __future__ import annotations

import warnings
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from harness.data import defect_fields  # noqa: F401  (registers mask and defect)
from harness.data.fields import Array, Storage
from harness.data.listing import given_root
from harness.data.masks import picked, read_mask
from harness.data.mvtec import Item, Tree, check_splits, list_tree
from harness.data.pictures import FILTERS, open_picture
from harness.data.sources import SHARD_ROWS, code_digest, rows_of
from harness.types import DataSpec

LICENCE = "MVTec-AD: CC BY-NC-SA 4.0; other sets in its layout: their owner's"


class MvtecSource:
    """Implements ``Source`` by reading image and mask files below ``spec.root``.

    The whole picture is resized to a square with ``filter`` (antialiased, the aspect ratio is given up, as the papers
    do); masks pick the nearest pixel. ``category`` and ``defect`` come from the folders.
    """

    def __init__(self, spec: DataSpec) -> None:
        self.spec = spec

    @property
    def tree(self) -> Tree:
        """Files and labels of the user's folder."""
        spec = self.spec
        return _tree(given_root(spec.root, spec.name), str(spec.options["only"]), spec.content)

    def rows(self, split: str) -> int:
        return rows_of(self.spec, split)

    def storage(self, split: str) -> dict[str, Storage]:
        return dict.fromkeys(("image", "category") + ("mask", "defect") * (split == "test"), "plain")

    def shard_rows(self, split: str) -> int:
        return SHARD_ROWS if self.spec.resolution <= 64 else SHARD_ROWS // 2

    def produce(self, split: str, first: int, count: int) -> dict[str, Array]:
        size = self.spec.resolution
        items = (self.tree.train if split == "train" else self.tree.test)[first : first + count]
        images = np.empty((count, size, size, 3), np.uint8)
        masks = np.zeros((count, size, size), np.uint8)
        kind = FILTERS[str(self.spec.options["filter"])]
        grey: list[Path] = []
        for k, item in enumerate(items):
            picture = open_picture(item.path)
            images[k] = np.asarray(picture.resize((size, size), kind))
            if item.mask is not None:
                mask = read_mask(item.mask, picture.size)
                masks[k] = picked(mask.pixels, size, size)
                grey += [item.mask] * mask.grey
        record: dict[str, Array] = {
            "image": images,
            "category": np.array([item.category for item in items], np.int32),
        }
        if split == "test":
            record |= {"mask": masks, "defect": np.array([item.defect for item in items], np.int32)}
            _warn(grey, [item for item, mask in zip(items, masks, strict=True) if item.defect and not mask.any()], size)
        return record

    def extras(self, split: str, first: int, count: int) -> dict[str, Array]:
        return {}

    def schema(self, split: str) -> dict[str, Any]:
        tree = self.tree
        return {
            "factors": [],
            "parts": [],
            "keypoints": [],
            "keypoint_mirror": [],
            "categories": list(tree.categories),
            "defects": list(tree.defects),
            "stochastic": [False] * len(tree.categories),
            "licence": LICENCE,
            "notes": list(tree.notes),
        }

    def code(self) -> str:
        return code_digest("pictures", "masks", "mvtec", "mvtec_source")


def contents(root: Path, options: dict[str, str]) -> tuple[dict[str, int], int, list[Path]]:
    """Rows per split, number of categories and all files; raises DataError where a split lacks what it needs."""
    tree = list_tree(root, options["only"])
    check_splits(tree)
    items = (*tree.train, *tree.test)
    files = [item.path for item in items] + [item.mask for item in items if item.mask is not None]
    return {"train": len(tree.train), "test": len(tree.test)}, len(tree.categories), files


@lru_cache(maxsize=4)
def _tree(root: str, only: str, content: str) -> Tree:
    """The listing, kept while the folder's ``content`` digest is the same."""
    return list_tree(Path(root), only)


def _warn(grey: list[Path], vanished: list[Item], size: int) -> None:
    if grey:
        warnings.warn(
            f"{len(grey)} masks have grey levels; every level above 0 counts as anomalous. The first is {grey[0]}",
            stacklevel=2,
        )
    if vanished:
        warnings.warn(
            f"{len(vanished)} masks have no pixel left at {size} px; their images stay defective. "
            f"The first is {vanished[0].mask}",
            stacklevel=2,
        )
