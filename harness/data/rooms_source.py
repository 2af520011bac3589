"""Rows of family ``rooms`` for the cache."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from difflib import get_close_matches
from math import radians
from typing import Any

from harness.data import rooms, rooms_fields
from harness.data.fields import Array, Storage
from harness.data.rooms_furniture import LABELS
from harness.data.sources import SHARD_ROWS, code_digest, rows_of
from harness.types import ConfigError, DataSpec, PosePrior, Tier

assert rooms_fields  # imported for its entries in the table of fields

# Every module that can change a pixel.
_CODE = (
    "factors", "meshes", "raycast", "textures", "rooms", "rooms_furniture", "rooms_layout", "rooms_materials",
    "rooms_pieces", "rooms_render",
)  # fmt: skip
_ALWAYS = (
    "image", "label", "coverage", "depth", "depth_coded", "cam2world", "K", "pose", "pivot", "light", "factors",
    "identity", "view",
)  # fmt: skip
_TIERS: tuple[Tier, ...] = ("smoke", "micro", "small", "paper")
_RESOLUTIONS = {"smoke": 32, "micro": 32, "small": 64, "paper": 128}
_SIZES = {
    "train": (64, 16384, 20480, 50000),
    "val": (16, 1024, 2048, 2048),
    "test": (32, 2048, 2048, 10000),
    "oracle": (64, 4096, 8192, 20480),
}
_IDENTITIES = (4, 128, 256, 256)  # of multiview
_FOV = {"wide": radians(52.4), "narrow": radians(27.7)}  # f = 1.016 R and 2.03 R
_CODINGS = ("common", "per_image")
DEPTH_UNIT = 5.4  # metres


def spec(
    tier: Tier,
    resolution: int | None,
    seed: int,
    splits: Mapping[str, int],
    options: Mapping[str, str | int | float | bool],
) -> DataSpec:
    """The specification of ``rooms`` at a tier.

    Options: ``fov`` wide (52.4 degrees) or narrow (27.7); ``coding`` of field ``depth_coded``: common (one
    ``depth_unit`` in metres for all images) or per_image (the published form); ``views`` per room of ``multiview``.
    Raises ConfigError.
    """
    column = _TIERS.index(tier)
    values: dict[str, str | int | float | bool] = {
        "fov": "wide", "coding": "common", "depth_unit": DEPTH_UNIT, "views": 5,
    }  # fmt: skip
    for name in options:
        if name not in values:
            near = get_close_matches(name, values, n=2)
            raise ConfigError(f"unknown option of rooms '{name}'", nearest=near, remedy=f"Known: {', '.join(values)}.")
    values |= options
    for name, known in (("fov", tuple(_FOV)), ("coding", _CODINGS)):
        if values[name] not in known:
            raise ConfigError(f"{name} '{values[name]}'", where="rooms", remedy=f"Known: {', '.join(known)}.")
    unit, views = values["depth_unit"], values["views"]
    if isinstance(unit, (bool, str)) or not 0 < unit < 1e3:
        raise ConfigError(f"depth_unit is {unit!r}", where="rooms", remedy="Metres, above 0.")
    if isinstance(views, (bool, str)) or views != int(views) or views < 1:
        raise ConfigError(f"views is {views!r}", where="rooms", remedy="A whole number from 1.")
    values |= {"depth_unit": float(unit), "views": int(views)}
    sizes = {split: numbers[column] for split, numbers in _SIZES.items()}
    sizes["multiview"] = _IDENTITIES[column] * int(views)
    for split, number in splits.items():
        if split not in sizes or int(number) < 1:
            raise ConfigError(
                f"{number} rows of split '{split}'", where="rooms", remedy=f"Splits: {', '.join(sizes)}; at least 1."
            )
        sizes[split] = int(number)
    side = resolution or _RESOLUTIONS[tier]
    if side not in (16, 32, 64, 128, 256):
        raise ConfigError(f"resolution {side} is not supported", where="rooms", remedy="Use 16, 32, 64, 128 or 256.")
    prior = PosePrior(
        "yaw15", "uniform", (0.0, radians(15)), (0.15, 0.13), _FOV[str(values["fov"])], 3.1,
        near=rooms.MARGIN * float(unit), far=(1 + rooms.MARGIN) * float(unit),
    )  # fmt: skip
    return DataSpec("rooms", side, sizes, prior, values, rooms.VERSION, seed)


class RoomsSource:
    """Implements ``Source`` by rendering."""

    def __init__(self, spec: DataSpec) -> None:
        self.spec = spec

    def rows(self, split: str) -> int:
        return rows_of(self.spec, split)

    def storage(self, split: str) -> dict[str, Storage]:
        names = (*_ALWAYS, "normal") if split in ("test", "multiview") else _ALWAYS
        return dict.fromkeys(names, "plain")

    def shard_rows(self, split: str) -> int:
        views = int(self.spec.options["views"]) if split == "multiview" else 1
        rows = SHARD_ROWS if self.spec.resolution <= 64 else SHARD_ROWS // 2
        return max(rows // views, 1) * views

    def produce(self, split: str, first: int, count: int) -> dict[str, Array]:
        return rooms.samples(self.spec, split, first, count, tuple(self.storage(split)))

    def extras(self, split: str, first: int, count: int) -> dict[str, Array]:
        return {}

    def schema(self, split: str) -> dict[str, Any]:
        return {
            "factors": [asdict(factor) for factor in rooms.FACTORS],
            "parts": list(LABELS),
            "keypoints": [],
            "keypoint_mirror": [],
        }

    def code(self) -> str:
        return code_digest(*_CODE)
