"""Procedural family ``defects``: good and defective images of up to fifteen categories, with exact masks and twins.

Six kinds of defect, a clean twin of every defective image under the same noise, and a mask of exactly the pixels that
the defect changes. After the data sets described by MVTec-AD (Bergmann et al., CVPR 2019) and the many-against-many
task of UniAD (You et al., NeurIPS 2022).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from harness.data.defects_categories import CATEGORIES, Category, draw_light, draw_pose
from harness.data.defects_faults import KINDS, Scene, acceptable, damaged, defect_mask
from harness.data.defects_relief import Float, Light, lattice, picture, reduced
from harness.data.factors import Factor
from harness.data.fields import Array
from harness.data.splits import SPLIT_IDS
from harness.types import DataError, DataSpec

VERSION = "1"  # raise it when a recipe changes the pictures
DEFECTS = ("good", *KINDS)
OTHER = "other"  # the whole image belongs to a category that is not normal (task semantic)
NOISE = 0.012  # standard deviation of sensor noise, encoded units
TRIES = 256
FACTORS = (
    Factor("angle", "articulation", -np.pi, np.pi, "circular"),
    Factor("x", "articulation", -0.1, 0.1),
    Factor("y", "articulation", -0.1, 0.1),
    Factor("light", "appearance", 0.3, 1.3),
    Factor("gain", "appearance", 0.85, 1.15),
    Factor("defect_x", "appearance", -1.0, 1.0),
    Factor("defect_y", "appearance", -1.0, 1.0),
)

Group = Literal["pose", "light", "texture", "noise", "defect"]
# Frozen integers: a stored data set depends on them. Add names at the end, never change a number.
FAMILY_ID = 2
GROUP_IDS: dict[Group, int] = {"pose": 1, "light": 2, "texture": 3, "noise": 4, "defect": 5}


@dataclass(frozen=True)
class Address:
    """What a row shows: the ``index``-th image of ``category`` in ``split`` with ``defect`` (0 = good).

    ``label`` is the number that the row carries: that of the defect, or of ``other`` in the semantic task.
    """

    category: int
    split: str
    index: int
    defect: int
    label: int


def categories(spec: DataSpec) -> tuple[Category, ...]:
    """The categories of ``spec``, in the order of field ``category``."""
    return CATEGORIES[: int(spec.options["categories"])]


def defect_names(spec: DataSpec) -> tuple[str, ...]:
    """Names of the values of field ``defect``."""
    return (*DEFECTS, OTHER) if spec.options["task"] == "semantic" else DEFECTS


def normal_categories(spec: DataSpec) -> tuple[int, ...]:
    """The categories whose good images are normal: all, or every second one in the semantic task (option ``half``
    says which)."""
    count = int(spec.options["categories"])
    return tuple(range(int(spec.options["half"]), count, 2)) if spec.options["task"] == "semantic" else (*range(count),)


def address(spec: DataSpec, split: str, row: int) -> Address:
    """The content of a row: categories in turn, within each the good images before the defective ones, kinds in turn.

    Raises DataError for a row that the split does not have.
    """
    if split not in spec.splits or not 0 <= row < spec.splits[split]:
        raise DataError(f"no row {row} in split '{split}'", where=spec.name)
    normal = normal_categories(spec)
    turns = normal if split == "train" else (*range(int(spec.options["categories"])),)
    number, turn = divmod(row, len(turns))
    category = turns[turn]
    if spec.options["task"] == "semantic":
        label = 0 if category in normal else len(DEFECTS)
        return Address(category, split, number, 0, label)
    good = 0 if split == "train" else int(spec.options[f"{split}_good"])
    if split == "train" or number < good:
        return Address(category, split, number, 0, 0)
    index, kind = divmod(number - good, len(KINDS))
    return Address(category, split, index, kind + 1, kind + 1)


def stream(spec: DataSpec, place: Address, group: Group, attempt: int = 0) -> np.random.Generator:
    """The Philox stream of one factor group of one image.

    The 128-bit key holds the master seed and the packed ids (8 bits family, 8 version, 16 category, 8 split, 8 defect,
    16 group); the counter's upper words hold the index and the attempt, so that streams never overlap. The kind of
    defect is part of the key: without it all kinds would share their places.
    """
    version, number = int(spec.version) & 0xFF, CATEGORIES[place.category].number
    packed = (
        FAMILY_ID << 56 | version << 48 | number << 32 | SPLIT_IDS[place.split] << 24 | place.defect << 16
    ) | GROUP_IDS[group]
    key = np.array([spec.seed & 0xFFFFFFFFFFFFFFFF, packed], np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=np.array([0, 0, attempt, place.index], np.uint64)))


def sample(spec: DataSpec, split: str, row: int) -> dict[str, Array]:
    """One row with all its fields: ``image``, ``twin`` uint8 [H,W,3], ``mask``, ``foreground`` uint8 [H,W] in {0,1},
    ``category``, ``defect`` int32, ``factors`` float32 [F] (see ``FACTORS``)."""
    place, side = address(spec, split, row), spec.resolution
    category = CATEGORIES[place.category]
    factor = max(2, 128 // side)
    pose, light = draw_pose(category, stream(spec, place, "pose")), draw_light(stream(spec, place, "light"))
    scene = Scene(category, pose, lambda: stream(spec, place, "texture"), *lattice(side * factor))
    clean = picture(scene.relief, light, factor)
    shown, mask = clean, np.full((side, side), place.label == len(DEFECTS))
    centre = np.zeros(2)
    if place.defect:
        shown, mask = _broken(spec, place, scene, light, clean)
        centre = (np.argwhere(mask).mean(0)[::-1] + 0.5) * (2 / side) - 1
    noise = stream(spec, place, "noise").standard_normal((3, side, side), np.float32) * np.float32(NOISE)
    gain = float(light.colour.mean())
    return {
        "image": _bytes(shown + noise),
        "twin": _bytes(clean + noise),
        "mask": mask.astype(np.uint8),
        "foreground": (reduced(scene.relief.foreground, factor) > 0.5).astype(np.uint8),
        "category": np.array(place.category, np.int32),
        "defect": np.array(place.label, np.int32),
        "factors": np.array([pose.angle, pose.x, pose.y, light.azimuth, gain, *centre], np.float32),
    }


def _broken(
    spec: DataSpec, place: Address, scene: Scene, light: Light, clean: Float
) -> tuple[Float, NDArray[np.bool_]]:
    """The encoded picture with the defect of ``place`` and its mask; a defect that is not acceptable is drawn anew."""
    kind, contrast = KINDS[place.defect - 1], np.float32(spec.options["contrast"])
    for attempt in range(TRIES):
        relief = damaged(scene, kind, stream(spec, place, "defect", attempt))
        broken = picture(relief, light, scene.x.shape[-1] // clean.shape[-1])
        change = np.abs(broken - clean).max(0)
        mask = defect_mask(change)
        if acceptable(mask, change):
            near = ndimage.binary_dilation(mask, np.ones((3, 3)))
            return np.where(near, clean + (broken - clean) * contrast, clean), mask
    raise DataError(f"no visible {kind} in {TRIES} tries", where=f"{spec.name} {place}")


def samples(spec: DataSpec, split: str, first: int, count: int, fields: Sequence[str]) -> dict[str, Array]:
    """Rows ``first`` to ``first + count``: the named ``fields`` with one row per sample."""
    rows = [sample(spec, split, row) for row in range(first, first + count)]
    return {name: np.stack([row[name] for row in rows]) for name in fields}


def _bytes(shown: Float) -> NDArray[np.uint8]:
    return np.ascontiguousarray(np.rint(np.clip(shown, 0, 1) * np.float32(255)).astype(np.uint8).transpose(1, 2, 0))
