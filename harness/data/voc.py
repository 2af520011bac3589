"""The folder layout of PASCAL VOC 2012 for segmentation, with the further labels of SBD where they are there.

``VOCdevkit/VOC2012/{JPEGImages,SegmentationClass,ImageSets/Segmentation}``; further labels in ``SegmentationClassAug``,
or ``benchmark_RELEASE/dataset/{cls,train.txt,val.txt}`` as SBD comes. Training images are (SBD and VOC train) minus
VOC val; where VOC labels an image itself, its label is used.
"""

from __future__ import annotations

from pathlib import Path

from harness.data.label_pairs import Pair, count_note, matched
from harness.types import DataError

LAYOUT = "Expected VOCdevkit/VOC2012/{JPEGImages,SegmentationClass,ImageSets/Segmentation/{train,val}.txt}."
FAMILIES = ("classic", "blender")
OFFICIAL = {"train": 1464, "val": 1449, "trainaug": 10582}


def list_voc(root: Path, notes: list[str]) -> tuple[list[Pair], list[Pair], list[Pair]]:
    """VOC's own training images, the further ones of SBD (none where its labels are missing) and VOC's val, by name.

    Raises DataError for a folder without the layout, listed images that are missing and images without labels.
    """
    base = next((place for place in (root / "VOCdevkit" / "VOC2012", root / "VOC2012") if place.is_dir()), root)
    lists = base / "ImageSets" / "Segmentation"
    parts = {part: _names(lists / f"{part}.txt") for part in ("train", "val")}
    both = sorted(set(parts["train"]) & set(parts["val"]))
    if both:
        raise DataError(f"{both[0]} is in train.txt and in val.txt", where=str(lists), remedy="Use the official lists.")
    truth = {path.stem: path for path in (base / "SegmentationClass").glob("*.png")}
    found = {
        part: matched(_images(base, names, None), truth, "voc", f"{base / 'SegmentationClass'}/NAME.png")
        for part, names in parts.items()
    }
    for part in parts:
        notes += count_note(f"VOC {part}", len(found[part]), OFFICIAL[part])
    further = _further(root, base)
    names = sorted(set(further) - set(parts["train"]) - set(parts["val"]))
    if not further:
        notes.append("neither SegmentationClassAug nor benchmark_RELEASE is there: only VOC's own training images")
    else:
        notes += count_note("VOC and SBD train", len(names) + len(found["train"]), OFFICIAL["trainaug"])
    images = _images(base, names, root / "benchmark_RELEASE" / "dataset" / "img")
    return found["train"], [Pair(name, images[name], further[name], "voc") for name in names], found["val"]


def _further(root: Path, base: Path) -> dict[str, Path]:
    """Labels beside VOC's own, by image."""
    folder = base / "SegmentationClassAug"
    if folder.is_dir():
        return {path.stem: path for path in folder.glob("*.png")}
    release = root / "benchmark_RELEASE" / "dataset"
    if not release.is_dir():
        return {}
    names = [*_names(release / "train.txt"), *_names(release / "val.txt")]
    labels = {name: release / "cls" / f"{name}.mat" for name in names}
    missing = [path for path in labels.values() if not path.is_file()]
    if missing:
        raise DataError(f"{len(missing)} listed label files are missing", where=str(missing[0]), remedy="Unpack again.")
    return labels


def _names(path: Path) -> list[str]:
    try:
        names = [line.split()[0] for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"the list cannot be read ({error})", where=str(path), remedy=LAYOUT) from error
    if not names:
        raise DataError("the list is empty", where=str(path), remedy=LAYOUT)
    return names


def _images(base: Path, names: list[str], other: Path | None) -> dict[str, Path]:
    folders = [base / "JPEGImages", *([other] if other is not None else [])]
    found: dict[str, Path] = {}
    for name in names:
        path = next((folder / f"{name}.jpg" for folder in folders if (folder / f"{name}.jpg").is_file()), None)
        if path is None:
            raise DataError("a listed image is missing", where=str(folders[0] / f"{name}.jpg"), remedy=LAYOUT)
        found[name] = path
    return found
