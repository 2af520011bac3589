"""Pictures with depth maps in a folder (``folder/rgbd``), such as LSUN with depth by a network: recipe and rows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from harness.data import rooms_fields
from harness.data.depth_files import centre_square, read_depth, resized_depth
from harness.data.fields import Array, Storage
from harness.data.listing import given_root, one_of
from harness.data.pictures import FILTERS, filter_called, folder_digest, open_picture, resized
from harness.data.rgbd_pairs import UNUSABLE, RgbdListing, RgbdPair, check_pair, list_pairs
from harness.data.sources import SHARD_ROWS, Source, code_digest, rows_of
from harness.data.splits import RESOLUTIONS
from harness.types import ConfigError, DataError, DataSpec, PosePrior, Tier, digest_of

assert rooms_fields  # imported for the entry of coded depth in the table of fields

VERSION = "1"  # raise it when the rows made of the same files change
OPTIONS: dict[str, dict[str, str | int | float]] = {
    "rgbd": {
        "filter": "bilinear", "holdout": 0.1, "subset": 0, "unusable": "error", "fov": "wide", "coding": "per_image",
        "depth_unit": 1.0,
    }
}  # fmt: skip
SIDES = (16, 32, 64, 128, 256, 512)
CODINGS = ("per_image", "common")
FOVS = {"wide": 2 * math.atan(0.5 / 1.016), "narrow": 2 * math.atan(0.5 / 2.03)}
"""Full angles for 260 pixels of focal length at 256 and at 128 px, which the published warp takes."""
OFFSET = 0.13  # of the nearest depth, in units: see ``prior_of``
LICENCE = "LSUN: research only, the images belong to their owners; depth maps: terms of the network that made them"


def spec(
    kind: str,
    *,
    tier: Tier,
    resolution: int | None,
    prior: PosePrior | None,
    seed: int,
    root: str | Path | None,
    options: Mapping[str, str | int | float | bool],
) -> DataSpec:
    """The specification of ``folder/rgbd``; which files belong where: see ``rgbd_pairs.list_pairs``.

    Options: ``filter`` reduces the pictures; ``holdout`` is the share of test images where the folder names none;
    ``subset`` N keeps the first N training pairs in an order shuffled by the seed (0: all); ``unusable`` error or skip;
    ``fov`` wide or narrow, ``coding`` per_image (60000 is the farthest depth of each picture) or common (of all), and
    ``depth_unit`` (what 60000 is beyond 0, in your unit of length) say what such folders do not know. Raises
    ConfigError with the nearest valid names, DataError for a folder that does not fit.
    """
    name = f"folder/{kind}"
    root = given_root(root, name)
    side = resolution or RESOLUTIONS[tier]
    if side not in SIDES:
        raise ConfigError(
            f"resolution {side} is not supported", where=name, remedy=f"Use one of {', '.join(map(str, SIDES))}."
        )
    values: dict[str, str | int | float | bool] = dict(OPTIONS[kind])
    for option, value in options.items():
        if option not in values:
            near = get_close_matches(option, values, n=2)
            raise ConfigError(
                f"unknown option '{option}'", where=name, nearest=near, remedy=f"Known: {', '.join(values)}."
            )
        values[option] = value
    known = {"filter": tuple(FILTERS), "unusable": UNUSABLE, "fov": tuple(FOVS), "coding": CODINGS}
    for key, words in known.items():
        one_of(values, key, words, name)
    unit = values["depth_unit"]
    if isinstance(unit, (str, bool)) or not 0 < unit < math.inf:
        raise ConfigError(f"depth_unit is {unit!r}", where=name, remedy="Give a length above 0.")
    values["depth_unit"] = float(unit)
    place = Path(root)
    found = list_pairs(place, values, seed)
    files = [path for pairs in found.splits.values() for pair in pairs for path in (pair.image, pair.depth) if path]
    order = {split: [pair.name for pair in pairs] for split, pairs in found.splits.items()}
    return DataSpec(
        name=name,
        resolution=side,
        splits={split: len(pairs) for split, pairs in found.splits.items()},
        prior=prior or prior_of(str(values["fov"]), float(unit)),
        options=values,
        version=VERSION,
        seed=seed,
        root=root,
        content=digest_of({"files": folder_digest(place, [*files, *found.lists]), "order": order}),
    )


def prior_of(fov: str, unit: float) -> PosePrior:
    """Yaw uniform in 15 degrees to either side at level height about the middle of the depths, 0.13 to 1.13 units."""
    near, far = OFFSET * unit, (OFFSET + 1) * unit
    return PosePrior("yaw15_level", "uniform", (0.0, math.pi / 12), (0.0, 0.0), FOVS[fov], (near + far) / 2, near, far)


def open_source(spec: DataSpec) -> Source:
    """The source of such a specification."""
    return RgbdSource(spec)


class RgbdSource:
    """Implements ``Source`` by reading pictures and depth maps below ``spec.root``.

    Both are cropped to the square in their centre; pictures are reduced with a low-pass filter, depth maps bilinearly
    without one, as published.
    """

    def __init__(self, spec: DataSpec) -> None:
        self.spec = spec

    @property
    def listing(self) -> RgbdListing:
        """Files of the user's folder by split."""
        spec = self.spec
        return _listing(given_root(spec.root, spec.name), tuple(spec.options.items()), spec.seed, spec.content)

    def rows(self, split: str) -> int:
        return rows_of(self.spec, split)

    def storage(self, split: str) -> dict[str, Storage]:
        return {"image": "plain", "depth_coded": "plain", "identity": "plain"}

    def shard_rows(self, split: str) -> int:
        side = self.spec.resolution
        return SHARD_ROWS if side <= 64 else SHARD_ROWS // 2 if side <= 256 else SHARD_ROWS // 16

    def produce(self, split: str, first: int, count: int) -> dict[str, Array]:
        size = self.spec.resolution
        images, depths = np.empty((count, size, size, 3), np.uint8), np.empty((count, size, size), np.uint16)
        problems: list[DataError] = []
        for k, pair in enumerate(self.listing.splits[split][first : first + count]):
            try:
                images[k], depths[k] = self._read(pair)
            except DataError as error:
                problems.append(error)
        if problems:
            one = problems[0]
            more = f" (and {len(problems) - 1} more of {count})" if problems[1:] else ""
            remedy = f"{one.remedy} Or leave such pairs out with data.options.unusable=skip."
            raise DataError(f"{one.what}{more}", where=one.where, remedy=remedy.strip())
        return {"image": images, "depth_coded": depths, "identity": np.arange(first, first + count, dtype=np.int32)}

    def _read(self, pair: RgbdPair) -> tuple[Array, Array]:
        check_pair(pair)
        assert pair.depth is not None
        kind = filter_called(self.spec.options["filter"])
        image = resized(open_picture(pair.image), self.spec.resolution, 0, kind)
        return image, resized_depth(centre_square(read_depth(pair.depth)), self.spec.resolution)

    def extras(self, split: str, first: int, count: int) -> dict[str, Array]:
        return {}

    def schema(self, split: str) -> dict[str, Any]:
        return {
            "factors": [],
            "parts": [],
            "keypoints": [],
            "keypoint_mirror": [],
            "licence": LICENCE,
            "notes": list(self.listing.notes),
        }

    def code(self) -> str:
        return code_digest("pictures", "decoding", "subsets", "depth_files", "rgbd_pairs", "rgbd_folders")


@lru_cache(maxsize=4)
def _listing(
    root: str, options: tuple[tuple[str, str | int | float | bool], ...], seed: int, content: str
) -> RgbdListing:
    return list_pairs(Path(root), dict(options), seed)
