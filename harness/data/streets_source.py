"""Rows of family ``streets`` for the cache."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from difflib import get_close_matches
from typing import Any

from harness.data import streets, streets_fields
from harness.data.fields import Array, Storage
from harness.data.sources import SHARD_ROWS, code_digest, rows_of
from harness.types import ConfigError, DataSpec, Tier

assert streets_fields  # imported for its entry in the table of fields

# Every module that can change a pixel.
_CODE = (
    "factors", "meshes", "raycast", "textures", "solids", "objects_car", "streets", "streets_cars", "streets_domain",
    "streets_materials", "streets_people", "streets_pieces", "streets_render", "streets_scene",
)  # fmt: skip
_TRAIN = ("image", "label")
_HELD_OUT = ("image", "label", "depth", "instance", "factors")
_TIERS: tuple[Tier, ...] = ("smoke", "micro", "small", "paper")
_RESOLUTIONS = {"smoke": 24, "micro": 48, "small": 64, "paper": 128}
_SIZES = {
    "labelled": (16, 512, 2000, 2000),
    "unlabelled": (16, 512, 2000, 2000),
    "val": (8, 64, 200, 200),
    "test": (8, 300, 500, 500),
}
_LABELLED = (4, 8, 16, 16)  # of the training list of setting ssl
_SETTINGS = ("uda", "ssl")


def spec(
    tier: Tier,
    resolution: int | None,
    seed: int,
    splits: Mapping[str, int],
    options: Mapping[str, str | int | float | bool],
) -> DataSpec:
    """The specification of ``streets`` at a tier; pictures have ``resolution`` rows and twice as many columns.

    Options: ``setting`` uda (labelled = source, all else = target) or ssl (one domain, shifts from 0 to ``shift``);
    ``shift`` in [0, 1]; ``labelled`` images at the head of the training list of setting ssl, whose size is that of
    ``unlabelled`` without them; ``classes`` 8, or 7 where the sidewalk is part of the road; ``layout_shift`` in [0, 1]
    gives the target of setting uda more cars and taller houses. Raises ConfigError.
    """
    column = _TIERS.index(tier)
    values: dict[str, str | int | float | bool] = {
        "setting": "uda", "shift": 1.0, "labelled": _LABELLED[column], "classes": 8, "layout_shift": 0.0,
    }  # fmt: skip
    unknown = sorted(set(options) - set(values))
    if unknown:
        raise ConfigError(
            f"unknown option of streets '{unknown[0]}'", nearest=get_close_matches(unknown[0], values, n=2),
            remedy=f"Known: {', '.join(values)}.",
        )  # fmt: skip
    values |= options
    if values["setting"] not in _SETTINGS:
        raise ConfigError(f"setting '{values['setting']}'", where="streets", remedy=f"Known: {', '.join(_SETTINGS)}.")
    for name in ("shift", "layout_shift"):
        values[name] = _share(name, values[name])
    values["classes"] = _whole("classes", values["classes"], 7, 8)
    sizes = {split: numbers[column] for split, numbers in _SIZES.items()}
    for split, number in splits.items():
        if split not in sizes or int(number) < 1:
            raise ConfigError(
                f"{number} rows of split '{split}'", where="streets", remedy=f"Splits: {', '.join(sizes)}; at least 1."
            )
        sizes[split] = int(number)
    if values["setting"] == "ssl":
        if values["layout_shift"]:
            raise ConfigError("layout_shift needs two domains", where="streets", remedy="Use setting=uda.")
        if "labelled" in splits:
            raise ConfigError("the number of labelled images is the option labelled", where="streets")
        total = sizes["unlabelled"]
        sizes["labelled"] = _whole("labelled", values["labelled"], 1, total - 1)
        sizes["unlabelled"] = total - sizes["labelled"]
        values["labelled"] = sizes["labelled"]
    else:
        values["labelled"] = sizes["labelled"]
    rows = resolution or _RESOLUTIONS[tier]
    if rows not in _RESOLUTIONS.values():
        raise ConfigError(f"resolution {rows} is not supported", where="streets", remedy="Use 24, 48, 64 or 128.")
    return DataSpec("streets", rows, sizes, None, values, streets.VERSION, seed)


def _whole(name: str, value: str | int | float | bool, low: int, high: int) -> int:
    if isinstance(value, (bool, str)) or value != int(value) or not low <= value <= high:
        raise ConfigError(f"{name} is {value!r}", where="streets", remedy=f"A whole number from {low} to {high}.")
    return int(value)


def _share(name: str, value: str | int | float | bool) -> float:
    if isinstance(value, (bool, str)) or not 0 <= value <= 1:
        raise ConfigError(f"{name} is {value!r}", where="streets", remedy="From 0 to 1.")
    return float(value)


class StreetsSource:
    """Implements ``Source`` by drawing."""

    def __init__(self, spec: DataSpec) -> None:
        self.spec = spec

    def rows(self, split: str) -> int:
        return rows_of(self.spec, split)

    def storage(self, split: str) -> dict[str, Storage]:
        return dict.fromkeys(_HELD_OUT if split in ("val", "test") else _TRAIN, "plain")

    def shard_rows(self, split: str) -> int:
        return SHARD_ROWS // 4

    def produce(self, split: str, first: int, count: int) -> dict[str, Array]:
        return streets.samples(self.spec, split, first, count, tuple(self.storage(split)))

    def extras(self, split: str, first: int, count: int) -> dict[str, Array]:
        return {}

    def schema(self, split: str) -> dict[str, Any]:
        names = list(streets.class_names(self.spec))
        return {
            "factors": [asdict(factor) for factor in streets.FACTORS],
            "parts": names,
            "keypoints": [],
            "keypoint_mirror": [],
            "classes": names,
            "palette": [list(colour) for colour in streets.palette(self.spec)],
        }

    def code(self) -> str:
        return code_digest(*_CODE)
