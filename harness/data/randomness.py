"""Counter-based random streams: every sample is a pure function of its address, whatever the order or worker count."""

from __future__ import annotations

from typing import Literal

import numpy as np

Group = Literal["shape", "articulation", "appearance", "texture", "pose", "light", "background", "noise", "variation"]

# Frozen integers: a stored data set depends on them. Add names at the end, never change a number.
FAMILY_IDS: dict[str, int] = {"objects": 1}
CLASS_IDS: dict[str, int] = {"car": 1, "creature": 2, "head": 3, "chair": 4}
GROUP_IDS: dict[str, int] = {
    "shape": 1,
    "appearance": 2,
    "pose": 3,
    "light": 4,
    "background": 5,
    "noise": 6,
    "articulation": 7,
    "texture": 8,
    "variation": 9,
}


def stream(
    seed: int, family: str, version: int, kind: str, split_id: int, index: int, group: Group
) -> np.random.Generator:
    """The Philox stream of one factor group of one sample.

    The 128-bit key holds the master seed and the packed ids (8 bits family, 8 version, 16 class, 16 split, 16 group);
    the upper half of the counter holds the index, so that streams of different samples never overlap (2**130 draws
    apart). Streams of different groups are independent: a factor added to one group leaves the others unchanged.
    """
    packed = (
        FAMILY_IDS[family] << 56 | (version & 0xFF) << 48 | CLASS_IDS[kind] << 32 | split_id << 16 | GROUP_IDS[group]
    )
    key = np.array([seed & 0xFFFFFFFFFFFFFFFF, packed], dtype=np.uint64)
    counter = np.array([0, 0, 0, index], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))
