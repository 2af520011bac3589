"""Drawn streets as folders in the published layouts: Cityscapes, and GTA5 for the source of setting uda."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from harness.atomic import write_bytes, write_error
from harness.data.label_ids import CITYSCAPES, CITYSCAPES_PALETTE, IGNORE, TABLES
from harness.data.views import Dataset, Split
from harness.types import DataError

UNLABELED = 0  # the number of Cityscapes for pixels that do not count
NAMES = {"sign": "traffic sign"}  # classes of drawn streets that Cityscapes calls otherwise
LISTS = "lists"


def export(dataset: Dataset, root: Path) -> tuple[int, str]:
    """Write all splits below ``root``; the number of images and the words that read them back.

    Setting ssl: training images are the cities ``labelled``, ``unlabelled`` and ``val`` of part ``train``, the test is
    part ``val``, and ``lists/labelled.txt`` and ``lists/val.txt`` name the first and the last of these splits. Setting
    uda: the labelled source is ``gta/{images,labels}``, the rest ``cityscapes``. Labels hold Cityscapes' numbers (files
    ``_labelIds``). Raises DataError for data without labels of street classes and for a folder that holds something,
    StoreError where the disk fails.
    """
    spec = dataset.spec
    setting = spec.options.get("setting")
    if setting is None or spec.root is not None:
        raise DataError(
            "only drawn streets can be written in Cityscapes' layout", where=spec.name, remedy="Give data=streets."
        )
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise DataError("is not an empty folder", where=str(root), remedy="Name a new one: nothing is overwritten.")
    splits = {name: dataset.split(name) for name in ("labelled", "unlabelled", "val", "test")}
    lookup = file_numbers(splits["test"].index["classes"], spec.name)
    place = root if setting == "ssl" else root / "cityscapes"
    cities = ("labelled", "unlabelled", "val") if setting == "ssl" else ("unlabelled", "val")
    listed = {city: _city(place, "train", city, splits[city], lookup) for city in cities}
    _city(place, "val", "test", splits["test"], lookup)
    words = [f"data.options.val={LISTS}/val.txt", f"data.options.resolution={spec.resolution}"]
    if setting == "ssl":
        words = ["setting=ssl", "data=folder/cityscapes", f"data.options.list={LISTS}/labelled.txt", *words]
    else:
        words = ["setting=uda", "data=folder/gta_cityscapes", *words]
        _source(root / "gta", splits["labelled"], lookup)
    for city in cities:
        if city != "unlabelled":
            write_bytes(root / LISTS / f"{city}.txt", "".join(f"{name}\n" for name in listed[city]).encode())
    return sum(map(len, splits.values())), " ".join([*words, f"root={root}"])


def file_numbers(classes: Sequence[str], where: str) -> NDArray[np.uint8]:
    """The number in a Cityscapes file for every label 0..255 of data whose labels are ``classes``, uint8 [256].

    Raises DataError for a class that Cityscapes does not have.
    """
    lookup = np.full(256, UNLABELED, np.uint8)
    for label, name in enumerate(classes):
        known = NAMES.get(name, name)
        if known not in CITYSCAPES:
            raise DataError(f"Cityscapes has no class {name}", where=where, remedy="Give data=streets.")
        lookup[label] = TABLES["labelIds"].file_id(CITYSCAPES.index(known))
    assert lookup[IGNORE] == UNLABELED
    return lookup


def _city(root: Path, part: str, city: str, split: Split, lookup: NDArray[np.uint8]) -> list[str]:
    names = [f"{city}_{row:06d}_000000" for row in range(len(split))]
    view = split.view(("image", "label"))
    for name, image, label in zip(names, view["image"], view["label"], strict=True):
        _save(root / "leftImg8bit" / part / city / f"{name}_leftImg8bit.png", Image.fromarray(image))
        _save(root / "gtFine" / part / city / f"{name}_gtFine_labelIds.png", Image.fromarray(lookup[label]))
    return names


def _source(root: Path, split: Split, lookup: NDArray[np.uint8]) -> None:
    """Labels as palette pictures, as GTA5 has them."""
    colours = np.zeros((256, 3), np.uint8)
    for train_id, colour in enumerate(CITYSCAPES_PALETTE):
        colours[TABLES["labelIds"].file_id(train_id)] = colour
    view = split.view(("image", "label"))
    for row, (image, label) in enumerate(zip(view["image"], view["label"], strict=True), 1):
        painted = Image.fromarray(lookup[label])
        painted.putpalette(colours.ravel().tolist())
        _save(root / "images" / f"{row:05d}.png", Image.fromarray(image))
        _save(root / "labels" / f"{row:05d}.png", painted)


def _save(path: Path, picture: Image.Image) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path)
    except OSError as error:
        raise write_error(path, error) from error
