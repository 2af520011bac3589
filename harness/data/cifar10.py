"""CIFAR-10 (binary version) as an anomaly data set: some classes are normal, the images of the others anomalous.

A record is one label byte and 3,072 bytes (red, green and blue plane, row by row). ``normal`` is one class (one versus
rest) or one of the four halves of UniAD's 5-versus-5 protocol.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from harness.data import defect_fields  # noqa: F401  (registers mask and defect)
from harness.data.fields import Array, Storage
from harness.data.listing import given_root
from harness.data.pictures import FILTERS
from harness.data.sources import SHARD_ROWS, code_digest, rows_of
from harness.types import ConfigError, DataError, DataSpec

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
HALVES = ("01234", "56789", "02468", "13579")
FILES: dict[str, tuple[str, ...]] = {
    "train": tuple(f"data_batch_{k}.bin" for k in range(1, 6)),
    "test": ("test_batch.bin",),
}
SIDE = 32
PIXELS = SIDE * SIDE
RECORD = 1 + 3 * PIXELS
OFFICIAL = 10_000  # records in each file
FOLDER = "cifar-10-batches-bin"
LICENCE = "CIFAR-10: no explicit licence; cite Krizhevsky, 2009"


class Cifar10Source:
    """Implements ``Source`` by reading the binary files below ``spec.root``.

    ``category`` of a training image is the place of its class among the normal ones. All test images are one group
    with category 0, as the protocol scores them together; ``defect`` is 0 for a normal image, else 1 + the place of
    its class among the anomalous ones; masks are all 0 or all 1.
    """

    def __init__(self, spec: DataSpec) -> None:
        self.spec = spec

    def rows(self, split: str) -> int:
        return rows_of(self.spec, split)

    def storage(self, split: str) -> dict[str, Storage]:
        return dict.fromkeys(("image", "category") + ("mask", "defect") * (split == "test"), "plain")

    def shard_rows(self, split: str) -> int:
        return 8 * SHARD_ROWS

    def produce(self, split: str, first: int, count: int) -> dict[str, Array]:
        folder, options = self._folder(), self.spec.options
        normal = _normal(options)
        records = _records(folder, split, self.spec.content)
        rows = records[_chosen(records[:, 0], split, options, self.spec.seed)[first : first + count]]
        planes = rows[:, 1:].reshape(-1, 3, SIDE, SIDE)
        images = _resized(planes.transpose(0, 2, 3, 1), self.spec.resolution, str(options["filter"]))
        labels = rows[:, 0].astype(np.int32)
        if split == "train":
            return {"image": images, "category": np.searchsorted(normal, labels).astype(np.int32)}
        others = [label for label in range(len(CLASSES)) if label not in normal]
        defect = np.where(np.isin(labels, normal), 0, 1 + np.searchsorted(others, labels)).astype(np.int32)
        mask = np.broadcast_to((defect > 0)[:, None, None], images.shape[:3]).astype(np.uint8)
        return {"image": images, "category": np.zeros(count, np.int32), "mask": mask, "defect": defect}

    def extras(self, split: str, first: int, count: int) -> dict[str, Array]:
        return {}

    def schema(self, split: str) -> dict[str, Any]:
        normal = _normal(self.spec.options)
        names = [CLASSES[label] for label in normal]
        categories = names if split == "train" or len(names) == 1 else [f"classes-{self.spec.options['normal']}"]
        return {
            "factors": [],
            "parts": [],
            "keypoints": [],
            "keypoint_mirror": [],
            "categories": categories,
            "defects": ["good", *(name for label, name in enumerate(CLASSES) if label not in normal)],
            "stochastic": [False] * len(categories),
            "licence": LICENCE,
            "notes": _notes(self._folder()),
        }

    def code(self) -> str:
        return code_digest("pictures", "cifar10")

    def _folder(self) -> Path:
        return _batches(Path(given_root(self.spec.root, self.spec.name)))


def contents(root: Path, options: Mapping[str, str], seed: int) -> tuple[dict[str, int], int, list[Path]]:
    """Rows per split, number of normal classes and all files; raises DataError for files that are no CIFAR-10."""
    folder = _batches(root)
    normal = _normal(options)
    splits = {}
    for split in FILES:
        labels = np.concatenate([_open(folder / name)[:, 0] for name in FILES[split]])
        splits[split] = len(_chosen(labels, split, options, seed))
        found = np.isin(labels, normal)
        if not found.any() or (split == "test" and found.all()):
            kind = "anomalous" if found.any() else "normal"
            raise DataError(f"split {split} has no {kind} images", where=str(folder), remedy="Use the whole files.")
    return splits, len(normal), [folder / name for names in FILES.values() for name in names]


def check_options(options: Mapping[str, str]) -> None:
    """Raise ConfigError for a set of normal classes or a sampling of anomalies that the protocols do not know."""
    normal, anomalies = options["normal"], options["anomalies"]
    if normal not in HALVES and not (len(normal) == 1 and normal.isdigit()):
        raise ConfigError(
            f"normal={normal} is not a set of normal classes",
            where="folder/cifar10",
            remedy=f"Give one class from 0 to 9 (one versus rest) or {', '.join(HALVES)} (5 versus 5).",
        )
    if anomalies not in ("equal", "all"):
        raise ConfigError(
            f"anomalies={anomalies} is unknown",
            where="folder/cifar10",
            remedy="equal: as many anomalous test images as normal ones, drawn by the seed; all: every one.",
        )


def _normal(options: Mapping[str, Any]) -> list[int]:
    return [int(digit) for digit in str(options["normal"])]


def _chosen(labels: Array, split: str, options: Mapping[str, Any], seed: int) -> Array:
    """Records of the split in file order: normal ones, and for the test the anomalous ones (drawn by ``seed``)."""
    normal = np.isin(labels, _normal(options))
    if split == "train":
        return np.flatnonzero(normal)
    anomalous = np.flatnonzero(~normal)
    wanted = int(normal.sum())
    if options["anomalies"] == "equal" and wanted < len(anomalous):
        anomalous = np.random.Generator(np.random.Philox(seed)).choice(anomalous, wanted, replace=False)
    return np.sort(np.concatenate([np.flatnonzero(normal), anomalous]))


def _batches(root: Path) -> Path:
    """The folder with the files: ``root`` or ``cifar-10-batches-bin`` below it."""
    if not root.is_dir():
        what = "is not a folder" if root.exists() else "does not exist"
        raise DataError(what, where=str(root), remedy=f"Give the folder that holds {FOLDER}.")
    names = [name for part in FILES.values() for name in part]
    folder = next((place for place in (root / FOLDER, root) if (place / names[0]).is_file()), root / FOLDER)
    missing = [name for name in names if not (folder / name).is_file()]
    if not missing:
        return folder
    python = (root / "cifar-10-batches-py", root)
    if any((place / "data_batch_1").is_file() for place in python):
        raise DataError(
            "this is the Python version of CIFAR-10, whose files are pickles and can run any code when opened",
            where=str(root),
            remedy=f"Use the binary version (cifar-10-binary.tar.gz, folder {FOLDER}).",
        )
    raise DataError(
        f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing",
        where=str(folder),
        remedy=f"Expected {FOLDER}/data_batch_1.bin to data_batch_5.bin and test_batch.bin.",
    )


def _open(path: Path) -> Array:
    """Records of one file, uint8 [n,3073], memory-mapped."""
    size = path.stat().st_size
    if not size or size % RECORD:
        raise DataError(
            f"{size:,} bytes are not a whole number of records of {RECORD:,} bytes",
            where=str(path),
            remedy=f"The file is truncated or another one: it should have {OFFICIAL * RECORD:,} bytes.",
        )
    records = np.memmap(path, np.uint8, "r").reshape(-1, RECORD)
    if records[:, 0].max() >= len(CLASSES):
        raise DataError(
            f"label {records[:, 0].max()} is above 9",
            where=str(path),
            remedy="It is no file of CIFAR-10: copy it again.",
        )
    return records


@lru_cache(maxsize=2)
def _records(folder: Path, split: str, content: str) -> Array:
    return np.concatenate([_open(folder / name) for name in FILES[split]])


def _notes(folder: Path) -> list[str]:
    found = [(folder / name).stat().st_size // RECORD for names in FILES.values() for name in names]
    if all(n == OFFICIAL for n in found):
        return []
    return [f"the files have {', '.join(map(str, found))} records, those of CIFAR-10 have {OFFICIAL} each"]


def _resized(images: Array, size: int, kind: str) -> Array:
    if size == SIDE:
        return np.ascontiguousarray(images)
    return np.stack([np.asarray(Image.fromarray(image).resize((size, size), FILTERS[kind])) for image in images])
