"""The contact sheet of family ``rooms``: many rooms, their depth and labels, and rooms from five yaws."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.data import rooms
from harness.data.fields import Array
from harness.types import DataSpec

Picture = NDArray[np.uint8]
COLUMNS = 10
YAWS = 5
TURNED = (1, 4, 6, 9)  # rooms of the training split shown from five yaws
PALETTE = (
    (0, 0, 0), (150, 110, 80), (200, 195, 180), (240, 235, 225), (120, 190, 240), (200, 70, 80), (230, 160, 60),
    (130, 85, 40), (250, 220, 90), (150, 80, 170), (60, 80, 190), (220, 110, 160), (70, 150, 70),
)  # fmt: skip


def label_colours(label: Array) -> Picture:
    """Labels [H,W] in the palette."""
    return np.array(PALETTE, np.uint8)[label]


def depth_greys(code: Array) -> Picture:
    """Coded depth [H,W] as grey: far is bright, as networks read it."""
    return np.repeat(np.rint(code[..., None] * (255 / rooms.CODES)).astype(np.uint8), 3, -1)


def _layers(records: list[dict[str, Array]]) -> list[Picture]:
    shown = [record["image"] for record in records]
    shown += [depth_greys(record["depth_coded"]) for record in records]
    return shown + [label_colours(record["label"]) for record in records]


def room_rows(spec: DataSpec, lines: int = 4) -> list[Picture]:
    """Pictures for rows of ``COLUMNS``: ``lines`` rows of training rooms, one more row with its depth and labels, and
    pairs of rooms from five yaws over the prior with their depth and labels."""
    assert spec.prior is not None
    shown = [rooms.sample(spec, "train", row)["image"] for row in range(COLUMNS, (lines + 1) * COLUMNS)]
    shown += _layers([rooms.sample(spec, "train", row) for row in range(COLUMNS)])
    yaws = np.linspace(-1, 1, YAWS) * spec.prior.azimuth[1]
    for pair in (TURNED[:2], TURNED[2:]):
        records = []
        for row in pair:
            furnished = rooms.furnish(spec, rooms.address(spec, "train", row)[0])
            records += [rooms.sample(spec, "train", row, furnished=furnished, yaw=float(yaw)) for yaw in yaws]
        shown += _layers(records)
    return shown
