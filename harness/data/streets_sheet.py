"""The contact sheet of family ``streets``: both domains with their labels, and one scene under growing shifts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from harness.data import streets
from harness.data.fields import Array
from harness.types import DataSpec

Picture = NDArray[np.uint8]
COLUMNS = 6
SHIFTS = (0.0, 0.25, 0.5, 0.75, 1.0)


def label_colours(spec: DataSpec, label: Array) -> Picture:
    """Train-ids [H,W] in the palette; ignored pixels are black."""
    table = np.zeros((256, 3), np.uint8)
    colours = streets.palette(spec)
    table[: len(colours)] = colours
    return table[label]


def thing_colours(instance: Array) -> Picture:
    """Numbers of persons and cars [H,W] as colours; none is black."""
    shade = instance.astype(int)[..., None] * np.array([67, 131, 197]) % 200 + 55
    return np.where(instance[..., None] > 0, shade, 0).astype(np.uint8)


def depth_greys(depth: Array) -> Picture:
    """z-depth [H,W] on a logarithmic scale from 3 to 100 metres, near is bright; sky is black."""
    grey = np.where(depth > 0, 255 - 215 * np.clip(np.log(np.maximum(depth, 3) / 3) / np.log(100 / 3), 0, 1), 0)
    return np.repeat(np.rint(grey).astype(np.uint8)[..., None], 3, -1)


def street_rows(spec: DataSpec, lines: int = 4) -> list[Picture]:
    """Pictures for rows of ``COLUMNS``: ``lines`` rows of the labelled and of the test split, each followed by its
    labels; then one test scene under five shifts, and two rows of depth beside things of the same split."""
    shown: list[Picture] = []
    for split in ("labelled", "test"):
        count = min(lines * COLUMNS, spec.splits[split] // COLUMNS * COLUMNS)
        for first in range(0, count, COLUMNS):
            records = [streets.sample(spec, split, row) for row in range(first, first + COLUMNS)]
            shown += [record["image"] for record in records]
            shown += [label_colours(spec, record["label"]) for record in records]
    graded = [replace(spec, options={**spec.options, "setting": "uda", "shift": shift}) for shift in SHIFTS]
    for row in (1, 4):
        records = [streets.sample(one, "test", row) for one in graded]
        shown += [*(record["image"] for record in records), label_colours(spec, records[0]["label"])]
    records = [streets.sample(spec, "test", row) for row in range(COLUMNS // 2)]
    for record in records:
        shown += [depth_greys(record["depth"]), thing_colours(record["instance"])]
    return shown
