"""Rows of published segmentation sets for the cache: images and their train-ids, decoded and resized once."""

from __future__ import annotations

import warnings
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from harness.data import voc
from harness.data.cityscapes import list_part, list_source
from harness.data.fields import Array, Storage
from harness.data.label_files import read_numbers, read_red16
from harness.data.label_ids import CITYSCAPES, CITYSCAPES_PALETTE, IGNORE, TABLES, VOC, to_train_ids, voc_palette
from harness.data.label_pairs import Division, Options, Pair, divide, shuffled
from harness.data.listing import given_root
from harness.data.masks import picked
from harness.data.pictures import FILTERS, open_picture
from harness.data.sources import SHARD_ROWS, code_digest, rows_of
from harness.types import DataError, DataSpec

LICENCES = {
    "cityscapes": "Cityscapes: own terms, non-commercial, no redistribution",
    "gta_cityscapes": "GTA5: research and education only; Cityscapes: own terms, non-commercial, no redistribution",
    "synthia_cityscapes": "SYNTHIA: CC BY-NC-SA 3.0; Cityscapes: own terms, non-commercial, no redistribution",
    "voc": "PASCAL VOC: terms of Flickr; SBD: research",
}
MEAN_COLOUR = (124, 116, 104)  # ImageNet's, around a padded picture
PADS = {"ignore": IGNORE, "background": 0}


class SegmentationSource:
    """Implements ``Source`` by reading images and label files below ``spec.root``.

    Pictures of streets are resized to H x 2H (the aspect ratio is given up, as the papers do), those of VOC until they
    fit into a square and padded on both sides; labels always pick the nearest pixel.
    """

    def __init__(self, spec: DataSpec) -> None:
        self.spec = spec

    @property
    def division(self) -> Division:
        """Files of the user's folder by split."""
        spec = self.spec
        return _division(
            _kind(spec), given_root(spec.root, spec.name), tuple(spec.options.items()), spec.seed, spec.content
        )

    def rows(self, split: str) -> int:
        return rows_of(self.spec, split)

    def storage(self, split: str) -> dict[str, Storage]:
        return {"image": "plain", "label": "plain"}

    def shard_rows(self, split: str) -> int:
        return max(8, SHARD_ROWS * 64 * 64 // self.spec.resolution**2 // 2)

    def produce(self, split: str, first: int, count: int) -> dict[str, Array]:
        pairs = self.division.splits[split][first : first + count]
        size = self.spec.resolution
        width = size if _kind(self.spec) == "voc" else 2 * size
        images = np.empty((count, size, width, 3), np.uint8)
        labels = np.empty((count, size, width), np.uint8)
        kind = FILTERS[str(self.spec.options["filter"])]
        for k, pair in enumerate(pairs):
            picture = open_picture(pair.image)
            truth = read_pair_labels(pair)
            if truth.shape != picture.size[::-1]:
                (high, wide), (across, down) = truth.shape, picture.size
                raise DataError(
                    f"the labels are {wide}x{high} px, but the image {pair.image.name} is {across}x{down} px",
                    where=str(pair.label),
                    remedy="Image and labels need one size: copy them again.",
                )
            images[k], labels[k] = self._fitted(picture, truth, kind)
        empty = [pair.label for pair, label in zip(pairs, labels, strict=True) if (label == IGNORE).all()]
        if empty:
            warnings.warn(f"{len(empty)} label files have no pixel that counts, the first is {empty[0]}", stacklevel=2)
        return {"image": images, "label": labels}

    def extras(self, split: str, first: int, count: int) -> dict[str, Array]:
        return {}

    def schema(self, split: str) -> dict[str, Any]:
        streets = _kind(self.spec) != "voc"
        names = CITYSCAPES if streets else VOC
        return {
            "factors": [],
            "parts": list(names),
            "keypoints": [],
            "keypoint_mirror": [],
            "classes": list(names),
            "palette": [list(colour) for colour in (CITYSCAPES_PALETTE if streets else voc_palette(len(names)))],
            "licence": LICENCES[_kind(self.spec)],
            "notes": [*self.division.notes, *(self._absent() if split == "labelled" else [])],
        }

    def code(self) -> str:
        return code_digest(
            *("pictures", "masks", "label_ids", "label_files", "label_pairs", "cityscapes", "voc"),
            "segmentation_source",
        )

    def _fitted(self, picture: Image.Image, truth: Array, kind: Image.Resampling) -> tuple[Array, Array]:
        size = self.spec.resolution
        if _kind(self.spec) != "voc":
            return np.asarray(picture.resize((2 * size, size), kind)), picked(truth, size, 2 * size)
        scale = size / max(picture.size)
        wide, high = (max(1, round(side * scale)) for side in picture.size)
        left, top = (size - wide) // 2, (size - high) // 2
        image = np.empty((size, size, 3), np.uint8)
        image[:] = MEAN_COLOUR
        image[top : top + high, left : left + wide] = np.asarray(picture.resize((wide, high), kind))
        label = np.full((size, size), PADS[str(self.spec.options["pad"])], np.uint8)
        label[top : top + high, left : left + wide] = picked(truth, high, wide)
        return image, label

    def _absent(self) -> list[str]:
        """A note on the classes of the set that no labelled image shows; stops reading once all have been seen.

        Raises DataError where none is: nothing could be learned.
        """
        pairs = self.division.splits["labelled"]
        all_classes = set(TABLES[pairs[0].ids].classes)
        wanted = set(all_classes)
        for pair in pairs:
            wanted -= set(np.unique(read_pair_labels(pair)).tolist())
            if not wanted:
                return []
        if wanted == all_classes:
            raise DataError(
                f"none of the {len(pairs)} labelled images has a pixel that counts",
                where=str(pairs[0].label.parent),
                remedy="Name images with labels in data.options.list, or copy the label files again.",
            )
        names = CITYSCAPES if _kind(self.spec) != "voc" else VOC
        return [f"no labelled image shows {', '.join(names[k] for k in sorted(wanted))}"]


def list_files(kind: str, root: Path, options: Options, seed: int) -> Division:
    """Which files belong to which split of ``folder/<kind>``; raises ConfigError and DataError as the readers do."""
    notes: list[str] = []
    if kind == "voc":
        own, further, test = voc.list_voc(root, notes)
        if options["family"] == "blender" and not further:
            raise DataError(
                "family=blender draws labelled images from VOC and SBD together, but SBD is not there",
                where=str(root),
                remedy="Add SegmentationClassAug or benchmark_RELEASE, or choose data.options.family=classic.",
            )
        if options["family"] == "classic":
            order = [*shuffled(own, seed), *shuffled(further, seed)]
            found = divide(order, root, options, len(own))
        else:
            found = divide(shuffled(sorted([*own, *further], key=lambda pair: pair.name), seed), root, options)
        resolved: dict[str, str | int] = {}
    else:
        base = root if kind == "cityscapes" else root / "cityscapes"
        train = list_part(base, "train", str(options["ids"]), notes)
        test = list_part(base, "val", train[0].ids, notes)
        found = divide(shuffled(train, seed), root, options)
        resolved = {"ids": train[0].ids}
        if kind != "cityscapes":
            source = "gta5" if kind == "gta_cityscapes" else "synthia"
            labelled = tuple(list_source(root, source, notes))
            found = Division({"labelled": labelled, **found.splits}, (), found.files, found.options)
            resolved["source_ids"] = source
    splits = {**found.splits, "test": tuple(test)}
    return Division(splits, tuple(notes), found.files, {**found.options, **resolved})


def read_pair_labels(pair: Pair) -> Array:
    """Train-ids uint8 [H,W] of a pair, 255 = ignored; raises DataError."""
    numbers = read_red16(pair.label) if pair.ids == "synthia" else read_numbers(pair.label)
    return to_train_ids(numbers, TABLES[pair.ids], pair.label)


def _kind(spec: DataSpec) -> str:
    return spec.name.partition("/")[2]


@lru_cache(maxsize=4)
def _division(
    kind: str, root: str, options: tuple[tuple[str, str | int | float | bool], ...], seed: int, content: str
) -> Division:
    """The division, kept while the folder's ``content`` digest is the same."""
    return list_files(kind, Path(root), dict(options), seed)
