"""Class lists of published segmentation sets and the tables from the numbers in their files to train-ids."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from harness.data.fields import Array
from harness.types import DataError

IGNORE = 255
CITYSCAPES = (
    "road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation", "terrain",
    "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle",
)  # fmt: skip
VOC = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "dining table", "dog", "horse", "motorbike", "person", "potted plant", "sheep", "sofa", "train", "tv monitor",
)  # fmt: skip
CITYSCAPES_PALETTE = (
    (128, 64, 128), (244, 35, 232), (70, 70, 70), (102, 102, 156), (190, 153, 153), (153, 153, 153), (250, 170, 30),
    (220, 220, 0), (107, 142, 35), (152, 251, 152), (70, 130, 180), (220, 20, 60), (255, 0, 0), (0, 0, 142), (0, 0, 70),
    (0, 60, 100), (0, 80, 100), (0, 0, 230), (119, 11, 32),
)  # fmt: skip
_LABEL_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)  # by train-id
_SYNTHIA_IDS = (3, 4, 2, 21, 5, 7, 15, 9, 6, 16, 1, 10, 17, 8, 18, 19, 20, 12, 11)


@dataclass(frozen=True)
class IdTable:
    """``train`` maps numbers in a label file to train-ids; the other ``known`` ones are ignored, the rest are wrong."""

    name: str
    train: MappingProxyType[int, int]
    known: frozenset[int]

    @property
    def classes(self) -> tuple[int, ...]:
        """Train-ids that can occur and do in the published files, in order."""
        never = _NEVER_IN_SYNTHIA if self.name == "synthia" else ()
        return tuple(sorted(set(self.train.values()) - set(never)))

    def file_id(self, train_id: int) -> int:
        """The number that stands for ``train_id`` in a file."""
        return next(number for number, to in self.train.items() if to == train_id)


_NEVER_IN_SYNTHIA = (9, 14, 16)  # numbers 16, 18 and 20


def _table(name: str, ids: tuple[int, ...], known: set[int]) -> IdTable:
    return IdTable(name, MappingProxyType({number: k for k, number in enumerate(ids)}), frozenset(known))


# A licence plate, -1, is 34 in GTA5's palettes and 255 where a byte wraps.
TABLES: dict[str, IdTable] = {
    table.name: table
    for table in (
        _table("labelIds", _LABEL_IDS, {*range(35), 255}),
        _table("labelTrainIds", tuple(range(19)), {*range(19), 255}),
        _table("gta5", _LABEL_IDS, {*range(35), 255}),
        _table("synthia", _SYNTHIA_IDS, set(range(23))),
        _table("voc", tuple(range(21)), {*range(21), 255}),
    )
}


def to_train_ids(numbers: Array, table: IdTable, path: Path) -> NDArray[np.uint8]:
    """Train-ids uint8 [H,W] of the ``numbers`` in label file ``path``; 255 is ignored.

    Raises DataError for a number outside the table, which means another table or another kind of file.
    """
    lookup = np.full(256, IGNORE, np.uint8)
    lookup[list(table.train)] = list(table.train.values())
    known = np.zeros(256, bool)
    known[list(table.known)] = True
    low, high = int(numbers.min()), int(numbers.max())
    if low < 0 or high > 255 or not known[numbers].all():
        wrong = next(int(value) for value in np.unique(numbers) if int(value) not in table.known)
        raise DataError(
            f"label {wrong} is no number of table {table.name} ({len(table.known)} known, up to {max(table.known)})",
            where=str(path),
            remedy="Is it a label file of this data set, and of the kind that was asked for?",
        )
    return lookup[numbers]


def voc_palette(count: int = 256) -> tuple[tuple[int, int, int], ...]:
    """The colour map of PASCAL VOC: the bits of a number, dealt to red, green and blue from the highest bit down."""
    colours = []
    for number in range(count):
        bits = [sum(((number >> 3 * k + c) & 1) << 7 - k for k in range(3)) for c in range(3)]
        colours.append((bits[0], bits[1], bits[2]))
    return tuple(colours)
