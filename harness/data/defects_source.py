"""Rows of family ``defects`` for the cache."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from difflib import get_close_matches
from typing import Any

from harness.data import defect_fields, defects
from harness.data.defects_categories import CATEGORIES
from harness.data.fields import Array, Storage
from harness.data.sources import SHARD_ROWS, code_digest, rows_of
from harness.types import ConfigError, DataSpec, Tier

assert defect_fields  # imported for its entries in the table of fields

# Every module that can change a pixel.
_CODE = (
    "splits", "textures", "defects", "defects_categories", "defects_faults", "defects_objects", "defects_relief",
    "defects_textures",
)  # fmt: skip
_TRAIN = ("image", "category", "factors")
_HELD_OUT = ("image", "twin", "mask", "foreground", "category", "defect", "factors")
_TIERS: tuple[Tier, ...] = ("smoke", "micro", "small", "paper")
_RESOLUTIONS = (32, 64, 128, 256)
_TRAINING = (8, 150, 200, 250)  # images per category
_GOOD = {"val": (2, 10, 15, 15), "test": (4, 20, 30, 30)}
_DEFECTIVE = {"val": (6, 12, 18, 18), "test": (6, 36, 60, 60)}
_TASKS = ("localise", "semantic")


def spec(
    tier: Tier,
    resolution: int | None,
    seed: int,
    splits: Mapping[str, int],
    options: Mapping[str, str | int | float | bool],
) -> DataSpec:
    """The specification of ``defects`` at a tier.

    Options: ``categories`` 1 to 15; ``contrast`` in (0, 1] blends every defect with its twin; ``task`` localise, or
    semantic (every second category is normal, the others are anomalies as a whole; ``half`` 0 or 1 says which);
    ``val_good`` and ``test_good`` good images per category, the remaining rows of these splits are defective. Raises
    ConfigError.
    """
    column = _TIERS.index(tier)
    values: dict[str, str | int | float | bool] = {
        "categories": 6,
        "contrast": 1.0,
        "task": "localise",
        "half": 0,
        "val_good": _GOOD["val"][column],
        "test_good": _GOOD["test"][column],
    }
    unknown = sorted(set(options) - set(values))
    if unknown:
        raise ConfigError(
            f"unknown option of defects '{unknown[0]}'", nearest=get_close_matches(unknown[0], values, n=2),
            remedy=f"Known: {', '.join(values)}.",
        )  # fmt: skip
    values |= options
    count = _whole(values, "categories", 1, len(CATEGORIES))
    _whole(values, "half", 0, 1)
    for name in ("val_good", "test_good"):
        _whole(values, name, 0, 10**6)
    values["contrast"] = _contrast(values["contrast"])
    if values["task"] not in _TASKS:
        raise ConfigError(f"task '{values['task']}'", where="defects", remedy=f"Known: {', '.join(_TASKS)}.")
    if values["task"] == "semantic" and count < 2:
        raise ConfigError(
            "task semantic needs two categories", where="defects", remedy="Raise data.options.categories."
        )
    normal = len(range(int(values["half"]), count, 2)) if values["task"] == "semantic" else count
    sizes = {"train": _TRAINING[column] * normal}
    sizes |= {split: (_GOOD[split][column] + _DEFECTIVE[split][column]) * count for split in _GOOD}
    for split, number in splits.items():
        if split not in sizes or int(number) < 1:
            raise ConfigError(
                f"{number} rows of split '{split}'", where="defects", remedy="Splits: train, val, test; at least 1 row."
            )
        sizes[split] = int(number)
    side = resolution or _RESOLUTIONS[column]
    if side not in _RESOLUTIONS:
        raise ConfigError(f"resolution {side} is not supported", where="defects", remedy="Use 32, 64, 128 or 256.")
    return DataSpec("defects", side, sizes, None, values, defects.VERSION, seed)


def _whole(values: dict[str, str | int | float | bool], name: str, low: int, high: int) -> int:
    value = values[name]
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float))
        or value != int(value)
        or not low <= value <= high
    ):
        raise ConfigError(f"{name} is {value!r}", where="defects", remedy=f"A whole number from {low} to {high}.")
    values[name] = int(value)
    return int(value)


def _contrast(value: str | int | float | bool) -> float:
    if isinstance(value, (bool, str)) or not 0 < value <= 1:
        raise ConfigError(f"contrast is {value!r}", where="defects", remedy="Above 0 and at most 1: 1, 0.5 or 0.25.")
    return float(value)


class DefectsSource:
    """Implements ``Source`` by drawing."""

    def __init__(self, spec: DataSpec) -> None:
        self.spec = spec

    def rows(self, split: str) -> int:
        return rows_of(self.spec, split)

    def storage(self, split: str) -> dict[str, Storage]:
        return dict.fromkeys(_TRAIN if split == "train" else _HELD_OUT, "plain")

    def shard_rows(self, split: str) -> int:
        return SHARD_ROWS // 4 if self.spec.resolution <= 64 else SHARD_ROWS // 16  # a second or two of drawing

    def produce(self, split: str, first: int, count: int) -> dict[str, Array]:
        return defects.samples(self.spec, split, first, count, tuple(self.storage(split)))

    def extras(self, split: str, first: int, count: int) -> dict[str, Array]:
        return {}

    def schema(self, split: str) -> dict[str, Any]:
        shown = defects.categories(self.spec)
        return {
            "factors": [asdict(factor) for factor in defects.FACTORS],
            "parts": [],
            "keypoints": [],
            "keypoint_mirror": [],
            "categories": [category.name for category in shown],
            "defects": list(defects.defect_names(self.spec)),
            "stochastic": [category.stochastic for category in shown],
        }

    def code(self) -> str:
        return code_digest(*_CODE)
