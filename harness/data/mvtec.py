"""The folder layout of MVTec-AD and the sets that copy it: which image is normal, which has which defect, which mask.

``<category>/train/good/*``, ``<category>/test/good/*``, ``<category>/test/<defect>/*`` and the masks in
``<category>/ground_truth/<defect>/<name>_mask.*``. The folder says whether an image is normal, never its mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from harness.data.pictures import SUFFIXES
from harness.types import ConfigError, DataError

GOOD = "good"
LAYOUT = (
    "Expected <category>/train/good/NNN.png, <category>/test/good/NNN.png, <category>/test/<defect>/NNN.png and "
    "<category>/ground_truth/<defect>/NNN_mask.png."
)
# Images in train/good, test/good and test/<defect> of MVTec-AD, from the lists that UniAD's code is trained on.
OFFICIAL: dict[str, tuple[int, int, int]] = {
    "bottle": (209, 20, 63),
    "cable": (224, 58, 92),
    "capsule": (219, 23, 109),
    "carpet": (280, 28, 89),
    "grid": (264, 21, 57),
    "hazelnut": (391, 40, 70),
    "leather": (245, 32, 92),
    "metal_nut": (220, 22, 93),
    "pill": (267, 26, 141),
    "screw": (320, 41, 119),
    "tile": (230, 33, 84),
    "toothbrush": (60, 12, 30),
    "transistor": (213, 60, 40),
    "wood": (247, 19, 60),
    "zipper": (240, 32, 119),
}


@dataclass(frozen=True)
class Item:
    """One image: its ``category`` and ``defect`` (0 = good) as places in the tree's names, and its ``mask`` if any."""

    path: Path
    category: int
    defect: int = 0
    mask: Path | None = None


@dataclass(frozen=True)
class Tree:
    """Images by category, then defect, then name; ``defects`` begins with good; ``notes`` are for the user."""

    root: Path
    categories: tuple[str, ...]
    defects: tuple[str, ...]
    train: tuple[Item, ...]
    test: tuple[Item, ...]
    notes: tuple[str, ...]


def list_tree(root: Path, only: str = "all") -> Tree:
    """Everything below ``root``, without opening an image; ``only`` keeps categories, joined by ``+``.

    Raises DataError for a folder without the layout, a defective image without its mask and two files of one name,
    ConfigError for a category that does not exist.
    """
    notes: list[str] = []
    found = _categories(root, notes)
    categories = _chosen(found, only)
    defects = sorted({name for category in categories for name in _defects(root / category)})
    names = (GOOD, *defects)
    train: list[Item] = []
    test: list[Item] = []
    for number, category in enumerate(categories):
        folder = root / category
        train += [Item(path, number) for path in _images(folder / "train" / GOOD, notes).values()]
        others = sorted(path.name for path in _folders(folder / "train") if path.name != GOOD)
        notes += [f"{category}/train/{name} is left out: only train/good is trained on" for name in others]
        test += [Item(path, number) for path in _images(folder / "test" / GOOD, notes).values()]
        for defect in _defects(folder):
            images = _images(folder / "test" / defect, notes)
            masks = _masks(folder, defect, images, notes)
            test += [Item(path, number, names.index(defect), masks[stem]) for stem, path in images.items()]
        strangers = {path.name for path in _folders(folder / "ground_truth")} - set(_defects(folder))
        notes += [f"{category}/ground_truth/{name} is left out: no defect of the test" for name in sorted(strangers)]
    if OFFICIAL.keys() >= set(found):
        notes += _counts(categories, train, test)
    return Tree(root, categories, names, tuple(train), tuple(test), tuple(notes))


def check_splits(tree: Tree) -> None:
    """Raise DataError for a category without images to train on or without normal images to test on."""
    for number, category in enumerate(tree.categories):
        for part, items in (("train", tree.train), ("test", tree.test)):
            if not any(item.category == number and item.defect == 0 for item in items):
                raise DataError(
                    f"category {category} has no {'training' if part == 'train' else 'good test'} images",
                    where=str(tree.root / category / part / GOOD),
                    remedy="Add them, or leave the category out with data.options.only=first+second.",
                )


def _categories(root: Path, notes: list[str]) -> list[str]:
    if not root.is_dir():
        what = "is not a folder" if root.exists() else "does not exist"
        raise DataError(what, where=str(root), remedy=f"Give the folder that holds the categories. {LAYOUT}")
    if (root / "test").is_dir() and (root / "train").is_dir():
        raise DataError(
            "this is one category, not a folder of categories",
            where=str(root),
            remedy=f"Give its parent folder and data.options.only={root.resolve().name}.",
        )
    folders = _folders(root)
    found = sorted(folder.name for folder in folders if any((folder / part).is_dir() for part in ("train", "test")))
    if not found:
        raise DataError("no category found", where=str(root), remedy=LAYOUT)
    strangers = sorted(folder.name for folder in folders if folder.name not in found)
    if strangers:
        notes.append(f"folders without train or test are left out: {', '.join(strangers)}")
    return found


def _chosen(found: Sequence[str], only: str) -> tuple[str, ...]:
    if only == "all":
        return tuple(found)
    wanted = only.split("+")
    for name in wanted:
        if name not in found:
            near = get_close_matches(name, found, n=2)
            raise ConfigError(f"unknown category '{name}'", nearest=near, remedy=f"Found: {', '.join(found)}.")
    return tuple(name for name in found if name in wanted)


def _defects(category: Path) -> list[str]:
    return sorted(folder.name for folder in _folders(category / "test") if folder.name != GOOD)


def _folders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return [path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]


def _images(folder: Path, notes: list[str]) -> dict[str, Path]:
    """Images directly in ``folder`` by name without ending, sorted; none if there is no such folder."""
    if not folder.is_dir():
        return {}
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    images: dict[str, Path] = {}
    for path in files:
        if path.suffix.lower() not in SUFFIXES:
            notes.append(f"{path} is left out: no image by its ending")
        elif path.stem in images:
            raise DataError(
                f"has the same name as {images[path.stem].name}", where=str(path), remedy="Keep one of them."
            )
        else:
            images[path.stem] = path
    nested = [path.name for path in _folders(folder)]
    if nested or not images:
        notes.append(f"{folder} holds {'folders that are left out' if nested else 'no images'}")
    return images


def _masks(category: Path, defect: str, images: dict[str, Path], notes: list[str]) -> dict[str, Path]:
    """The mask of each image by the image's name: ``<name>_mask.*``, or ``<name>.*`` as some copies have it."""
    folder = category / "ground_truth" / defect
    found = _images(folder, notes)
    masks: dict[str, Path] = {}
    for stem, path in images.items():
        mask = found.pop(f"{stem}_mask", None) or found.pop(stem, None)
        if mask is None:
            raise DataError(
                "a defective image without its mask",
                where=str(path),
                remedy=f"Expected {folder / f'{stem}_mask.png'}.",
            )
        masks[stem] = mask
    if found:
        notes.append(
            f"{len(found)} masks in {folder} belong to no image, the first is {next(iter(found.values())).name}"
        )
    return masks


def _counts(categories: Sequence[str], train: Sequence[Item], test: Sequence[Item]) -> list[str]:
    """A note for the categories of MVTec-AD whose number of images is another than the published one."""
    differing = []
    for number, name in enumerate(categories):
        found = (
            sum(item.category == number for item in train) or OFFICIAL[name][0],  # none are needed to score maps
            sum(item.category == number and item.defect == 0 for item in test),
            sum(item.category == number and item.defect > 0 for item in test),
        )
        if found != OFFICIAL[name]:
            differing.append(f"{name} {found} and not {OFFICIAL[name]}")
    if not differing:
        return []
    return ["images for training, good and defective ones for the test differ from MVTec-AD: " + "; ".join(differing)]
