"""The folder layout of Cityscapes, and the two sets of drawn streets that are its labelled source in domain adaptation.

``leftImg8bit/<part>/<city>/<name>_leftImg8bit.png`` with ``gtFine/<part>/<city>/<name>_gtFine_labelIds.png``; GTA5's
``images/NNNNN.png`` with ``labels/NNNNN.png``; SYNTHIA-RAND-CITYSCAPES' ``RGB`` with ``GT/LABELS``.
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from harness.data.decoding import decoding
from harness.data.label_pairs import Pair, count_note, matched
from harness.types import ConfigError, DataError

LAYOUT = (
    "Expected leftImg8bit/{train,val}/<city>/NAME_leftImg8bit.png and "
    "gtFine/{train,val}/<city>/NAME_gtFine_labelIds.png (or _labelTrainIds)."
)
KINDS = ("labelIds", "labelTrainIds")
OFFICIAL = {"train": 2975, "val": 500, "gta5": 24966, "synthia": 9400}
IMAGE = "_leftImg8bit.png"
SOURCES = {"gta5": ("gta", "images", "labels"), "synthia": ("synthia", "RGB", "GT/LABELS")}


def list_part(root: Path, part: str, ids: str, notes: list[str]) -> list[Pair]:
    """Images and labels of part ``train`` or ``val``, sorted by name; ``ids`` names the files: labelIds,
    labelTrainIds, or auto for the first of them that is there.

    Raises ConfigError for another word, DataError for a folder without the layout and images without labels.
    """
    if ids not in ("auto", *KINDS):
        raise ConfigError(f"unknown ids '{ids}'", where="folder/cityscapes", remedy=f"Known: auto, {', '.join(KINDS)}.")
    folder = root / "leftImg8bit" / part
    if not folder.is_dir():
        raise DataError("is not a folder", where=str(folder), remedy=LAYOUT)
    images = {path.name.removesuffix(IMAGE): path for path in sorted(folder.glob(f"*/*{IMAGE}"))}
    if not images:
        raise DataError("no images found", where=str(folder), remedy=LAYOUT)
    truth = root / "gtFine" / part
    found = {kind: _labels(truth, kind) for kind in KINDS}
    kind = ids if ids != "auto" else next((kind for kind in KINDS if found[kind]), KINDS[0])
    extra = len(set(found[kind]) - set(images))
    notes += [f"{extra} label files in {truth} belong to no image"] * bool(extra)
    notes += count_note(f"Cityscapes {part}", len(images), OFFICIAL[part])
    return matched(images, found[kind], kind, f"{truth}/<city>/NAME_gtFine_{kind}.png")


def list_source(root: Path, ids: str, notes: list[str]) -> list[Pair]:
    """Images and labels of GTA5 (``gta5``) or SYNTHIA (``synthia``) below ``root``, sorted by name.

    Of GTA5, pairs of different sizes are left out, counted in ``notes``. Raises DataError for a folder without the
    layout, images without labels and files that cannot be read.
    """
    name, images, labels = SOURCES[ids]
    folders = [root / name / images, root / name / labels]
    for folder in folders:
        if not folder.is_dir():
            raise DataError(
                "is not a folder", where=str(folder), remedy=f"Expected {name}/{images}/NAME.png, {name}/{labels}/..."
            )
    found = [{path.stem: path for path in sorted(folder.glob("*.png"))} for folder in folders]
    if not found[0]:
        raise DataError("no images found", where=str(folders[0]), remedy=f"Expected {name}/{images}/NAME.png.")
    extra = sorted(set(found[1]) - set(found[0]))
    notes += [f"{len(extra)} files in {folders[1]} have no image, the first is {extra[0]}.png"] if extra else []
    notes += count_note(name, len(found[0]), OFFICIAL[ids])
    pairs = matched(found[0], found[1], ids, f"{folders[1]}/NAME.png")
    if ids != "gta5":
        return pairs
    kept = [pair for pair in pairs if size_of(pair.image) == size_of(pair.label)]
    left_out = sorted({pair.name for pair in pairs} - {pair.name for pair in kept})
    if not kept:
        raise DataError("no image has the size of its label", where=str(folders[0]), remedy="Unpack the set again.")
    if left_out:
        notes.append(f"{len(left_out)} images of another size than their labels are left out, first {left_out[0]}.png")
    return kept


def size_of(path: Path) -> tuple[int, int]:
    """Width and height, from the file's header."""
    with decoding(path, "an image", "Copy it again."), Image.open(path) as picture:
        return picture.size


def _labels(folder: Path, kind: str) -> dict[str, Path]:
    ending = f"_gtFine_{kind}.png"
    return {path.name.removesuffix(ending): path for path in folder.glob(f"*/*{ending}")}
