"""Where rows come from: the interface between a family of data and the cache that keeps them."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from harness.codedigest import source_digest
from harness.data.fields import Array, Storage
from harness.types import DataError, DataSpec, digest_of

SHARD_ROWS = 512  # 256 above 64 px


class Source(Protocol):
    """Produces the rows of a data set's splits; equal arguments give equal bytes."""

    def rows(self, split: str) -> int:
        """Number of samples of the split; raises DataError for a split that does not exist."""
        ...

    def storage(self, split: str) -> Mapping[str, Storage]:
        """The fields kept for the split and how."""
        ...

    def shard_rows(self, split: str) -> int:
        """Rows per shard."""
        ...

    def produce(self, split: str, first: int, count: int) -> dict[str, Array]:
        """Rows ``first`` to ``first + count``, field by field in declared types."""
        ...

    def extras(self, split: str, first: int, count: int) -> dict[str, Array]:
        """Arrays that are not one row per sample (meshes), for the same rows; concatenated along their first axis."""
        ...

    def schema(self, split: str) -> dict[str, Any]:
        """What the index says about the split beyond its fields: factors, parts, keypoints (plain JSON)."""
        ...

    def code(self) -> str:
        """Digest of the code that makes the rows; a cache made by other code is not reused."""
        ...


def open_source(spec: DataSpec) -> Source:
    """The source of ``spec``'s family."""
    if spec.name in ("folder/mvtec", "folder/cifar10"):
        from harness.data import anomaly_folders

        return anomaly_folders.open_source(spec)
    if spec.name == "folder/rgbd":
        from harness.data import rgbd_folders

        return rgbd_folders.open_source(spec)
    if spec.family == "folder" and "setting" in spec.options:
        from harness.data import segmentation_folders

        return segmentation_folders.open_source(spec)
    if spec.family == "folder":
        from harness.data.folders_source import FoldersSource

        return FoldersSource(spec)
    if spec.family == "defects":
        from harness.data.defects_source import DefectsSource

        return DefectsSource(spec)
    if spec.family == "streets":
        from harness.data.streets_source import StreetsSource

        return StreetsSource(spec)
    if spec.family == "rooms":
        from harness.data.rooms_source import RoomsSource

        return RoomsSource(spec)
    from harness.data.objects_source import ObjectsSource

    return ObjectsSource(spec)


def rows_of(spec: DataSpec, split: str) -> int:
    """Number of samples of a split; raises DataError, with the nearest, for a split that does not exist."""
    if split not in spec.splits:
        near = get_close_matches(split, spec.splits, n=1)
        raise DataError(
            f"no split '{split}'", where=spec.name, nearest=near, remedy=f"Splits: {', '.join(spec.splits)}."
        )
    return spec.splits[split]


@lru_cache(maxsize=8)
def code_digest(*modules: str) -> str:
    """SHA-256 of the source of modules of this folder without comments, docstrings and layout."""
    folder = Path(__file__).parent
    return digest_of({name: source_digest((folder / f"{name}.py").read_text(encoding="utf-8")) for name in modules})


def finite(arrays: Mapping[str, Array]) -> list[str]:
    """Names of the arrays that hold NaN or infinity."""
    return [name for name, values in arrays.items() if values.dtype.kind == "f" and not np.isfinite(values).all()]
