"""The contact sheet of a published segmentation set: images of every split above their labels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.data.sources import open_source
from harness.types import DataSpec

Picture = NDArray[np.uint8]
COLUMNS = 6
IGNORED = (224, 224, 192)  # VOC's colour for it


def label_rows(spec: DataSpec) -> list[Picture]:
    """Pictures for rows of ``COLUMNS``: the first images of each split, then their labels in the set's palette.

    Ignored pixels are pale; a split with fewer images is filled up with white.
    """
    shown: list[Picture] = []
    source = open_source(spec)
    for split, rows in spec.splits.items():
        record = source.produce(split, 0, min(COLUMNS, rows))
        colours = np.tile(np.array(IGNORED, np.uint8), (256, 1))
        palette = source.schema(split)["palette"]
        colours[: len(palette)] = palette
        for pictures in (record["image"], colours[record["label"]]):
            blank = np.full(record["image"].shape[1:], 255, np.uint8)
            shown += [*pictures, *[blank] * (COLUMNS - len(pictures))]
    return shown
